/** What a connection takes while it is busy, it gives back when it has gone quiet. */

import { describe, expect, test } from 'vitest'
import { hasFaults } from '../helpers/faults.js'
import { pause } from '../helpers/time.js'
import { packetOf } from './client.js'
import { type Peer, Rig } from './rig.js'

describe.skipIf(!hasFaults)('a connection that was busy', () => {
  test.each([
    { name: 'falls silent', slowly: false },
    { name: 'has slowed down before', slowly: true }
  ])('and $name waits without buffers again', async ({ slowly }) => {
    const rig = new Rig({ profile: { readMode: 'adaptive', pendingReads: 8 } })
    const { port } = rig.listen()
    const sender = new Rig()
    const accepted: Peer[] = []
    rig.onConnection = (peer) => accepted.push(peer)
    sender.connect(1, port)
    await sender.until('it is there', () => sender.peers.size === 1 && accepted.length === 1)
    const [peer] = sender.peers.values()
    if (peer === undefined) throw new Error('no connection')
    let sent = 0
    for (; sent < 200 && rig.stats().pools.waitBuffers.inUse < 8; sent++) {
      sender.send(peer, packetOf(1, sent, 100))
      sender.flush()
      await pause(2)
    }
    expect(rig.stats().pools.waitBuffers.inUse).toBe(8)
    if (slowly) {
      await pause(200)
      sender.send(peer, packetOf(1, sent++, 100))
      sender.flush()
    }
    await rig.until('the buffers are given back', () => rig.stats().pools.waitBuffers.inUse === 0, 8000)
    expect(rig.stats().pendingDirectReads).toBe(0)
    // It is as good as before.
    const before = accepted[0]?.packets ?? 0
    for (let i = 0; i < 20; i++) sender.send(peer, packetOf(1, sent++, 1000))
    sender.flush()
    await rig.until('what is sent then comes', () => accepted[0]?.packets === sent && before < sent)
    expect(rig.open().length).toBe(1)
    await sender.finish()
    await rig.finish()
  })
})
