/** A connection that was fed reads again a little later: never not at all, and not later the longer it is busy. */

import { describe, expect, onTestFinished, test } from 'vitest'
import { OPERATION_WORDS, op } from '../../lib/vocabulary.js'
import { faultAddon, hasFaults, win } from './addon.js'
import { Rig, type Peer } from './rig.js'

const empty = new Uint8Array(0)

/** One rig that listens, one with connections to it. */
async function pair(rig: Rig, sender: Rig, connections: number): Promise<{ peers: Peer[]; to: Peer[] }> {
  const { port } = rig.listen({ accepts: 64 })
  const peers: Peer[] = []
  rig.onConnection = (peer) => peers.push(peer)
  for (let token = 1; token <= connections; token++) sender.connect(token, port)
  await sender.until('all are there', () => sender.peers.size === connections && peers.length === connections)
  return { peers, to: [...sender.peers.values()] }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds)
  })
}

/** Until nobody reads any more. */
async function quiet(rig: Rig): Promise<void> {
  const reads = (): number => rig.stats().counters.zeroReads + rig.stats().counters.recvCalls
  for (let before = -1; before !== reads(); ) {
    before = reads()
    await pause(100)
  }
}

describe.skipIf(!hasFaults)('a read that was put off', () => {
  test('is posted although nothing else happens', async () => {
    const connections = 300
    const rig = new Rig({ ioThreads: 1, profile: { readMode: 'zero-byte' } })
    const sender = new Rig({ ioThreads: 1 })
    rig.echo = false
    const { peers, to } = await pair(rig, sender, connections)
    // Many packets are waiting when the thread comes to look.
    faultAddon().faults.set('completion', { delay: 100, count: 3 })
    for (const peer of to) sender.send(peer, empty, { told: false })
    sender.flush()
    await rig.until('all have come', () => peers.every(({ packets }) => packets === 1))
    await rig.until('all are waited for again', () => rig.stats().counters['zeroReads'] === 2 * connections, 2500)
    await sender.finish()
    await rig.finish()
  })

  test('finds something again and again: it does not ask first', async () => {
    const rig = new Rig({ ioThreads: 1, profile: { readMode: 'zero-byte' } })
    const sender = new Rig({ ioThreads: 1 })
    rig.echo = false
    const { peers, to } = await pair(rig, sender, 1)
    const [peer] = peers
    const [there] = to
    if (peer === undefined || there === undefined) throw new Error('no connection')
    // 128 reads of a packet that has come: each leaves something, so that the next one is put off.
    const shortTo = 8192
    const packet = new Uint8Array(128 * shortTo - 4)
    faultAddon().faults.set('receive_now', { shortTo })
    await rig.until('it is waited for', () => rig.stats().counters.zeroReads === 1)
    sender.send(there, packet, { told: false })
    sender.flush()
    await rig.until('it has come', () => peer.packets === 1)
    const { recvCalls, zeroReads } = rig.stats().counters
    expect(recvCalls).toBeGreaterThanOrEqual(128)
    expect(zeroReads).toBeLessThan(100)
    // Then nothing is there: it waits without a buffer, and hears of what comes.
    await quiet(rig)
    expect(rig.stats().pools.readBuffers.inUse).toBe(0)
    sender.send(there, empty, { told: false })
    sender.flush()
    await rig.until('the next one has come', () => peer.packets === 2)
    await sender.finish()
    await rig.finish()
  })

  test('finds nothing after all, and no memory to look with: it waits without', async () => {
    const rig = new Rig({ ioThreads: 1, profile: { readMode: 'zero-byte' } })
    const sender = new Rig({ ioThreads: 1 })
    rig.echo = false
    const { peers, to } = await pair(rig, sender, 1)
    const [peer] = peers
    const [there] = to
    if (peer === undefined || there === undefined) throw new Error('no connection')
    // The second read finds something at once; the third would find nothing, and fails.
    const { faults } = faultAddon()
    faults.set('receive_now', { error: win.noBuffers, skip: 2, shortTo: 4 })
    sender.send(there, new Uint8Array(4), { told: false })
    sender.flush()
    await rig.until('it has come', () => peer.packets === 1)
    // Longer than all retries of a read that is needed.
    await pause(2000)
    expect(peer.closed).toBe(undefined)
    expect(faults.hits('receive_now')).toBe(1)
    faults.clear()
    sender.send(there, empty, { told: false })
    sender.flush()
    await rig.until('the next one has come', () => peer.packets === 2)
    await sender.finish()
    await rig.finish()
  })

  test('is not the later the longer others ask for more', async () => {
    const rig = new Rig({ ioThreads: 1, profile: { readMode: 'zero-byte' } })
    const sender = new Rig({ ioThreads: 1 })
    rig.echo = false
    const { peers, to } = await pair(rig, sender, 201)
    const last = to.pop()
    if (last === undefined) throw new Error('no connection')
    faultAddon().faults.set('receive_now', { shortTo: 4 })
    faultAddon().faults.set('receive', { shortTo: 4 })
    sender.send(last, empty, { told: false })
    sender.flush()
    await rig.until('it is known', () => peers.some(({ packets }) => packets === 1))
    const others = peers.filter(({ packets }) => packets === 0)
    const quiet = peers.find(({ packets }) => packets === 1)
    if (quiet === undefined) throw new Error('no connection')
    // Each read takes four bytes of it.
    const long = new Uint8Array(1024 * 1024 - 4)
    for (const peer of to) sender.send(peer, long, { told: false })
    sender.flush()
    let asks = true
    const ask = (): void => {
      if (!asks) return
      others.forEach(({ slot, generation }, i) => {
        rig.engine.submitControl.set([op.resume, slot, generation, 0, 0, 0], i * OPERATION_WORDS)
      })
      rig.engine.submit(others.length, [])
      setImmediate(ask)
    }
    onTestFinished(() => {
      asks = false
    })
    ask()
    const reads = (): number => rig.stats().counters.bytesIn / 4
    // The list would now have thousands of entries if a connection were in it more than once.
    await rig.until('they have read a lot', () => reads() > 10_000, 20_000)
    for (let packets = 2; packets <= 4; packets++) {
      const before = reads()
      sender.send(last, empty, { told: false })
      sender.flush()
      await rig.until('its packet comes, or many other reads', () => quiet.packets === packets || reads() - before > 10_000, 20_000)
      expect(quiet.packets).toBe(packets)
    }
    asks = false
    await sender.finish()
    await rig.finish()
  })
})
