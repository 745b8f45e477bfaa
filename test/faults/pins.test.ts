/** A payload that is sent from where it is may be collected as soon as it has gone, whatever else is going on. */

import net from 'node:net'
import v8 from 'node:v8'
import vm from 'node:vm'
import { describe, expect, onTestFinished, test } from 'vitest'
import { op } from '../../lib/native/protocol.js'
import { hasFaults } from '../helpers/faults.js'
import { HOST } from '../helpers/ports.js'
import { type Peer, Rig } from './rig.js'

v8.setFlagsFromString('--expose-gc')
const collect = vm.runInNewContext('gc') as () => void

const SIZE = 64 * 1024

function busyFor(milliseconds: number): void {
  const end = performance.now() + milliseconds
  while (performance.now() < end);
}

/** A function's own, so that nothing on the caller's stack holds the payload. */
function sendPinned(rig: Rig, peer: Peer): WeakRef<Uint8Array> {
  const payload = new Uint8Array(SIZE)
  rig.send(peer, payload, { told: false, pinned: true })
  rig.flush()
  return new WeakRef(payload)
}

function held(payloads: readonly WeakRef<Uint8Array>[]): number {
  collect()
  return payloads.filter((payload) => payload.deref() !== undefined).length
}

async function clientOf(port: number): Promise<net.Socket> {
  const client = net.connect({ host: HOST, port, noDelay: true })
  onTestFinished(() => {
    client.destroy()
  })
  await new Promise<void>((resolve) => {
    client.once('connect', resolve)
  })
  client.on('error', () => undefined)
  return client.resume()
}

describe.skipIf(!hasFaults)('what a pinned payload holds', () => {
  test('is given back while more keeps coming than JavaScript can take', async () => {
    const packets = 40_000
    const rig = new Rig({ ioThreads: 1 })
    rig.echo = false
    const payloads: WeakRef<Uint8Array>[] = []
    rig.onPacket = (peer) => {
      busyFor(0.1)
      if (peer.packets % 50 === 1 && payloads.length < 40) payloads.push(sendPinned(rig, peer))
    }
    const { port } = rig.listen()
    const client = await clientOf(port)
    client.write(Buffer.alloc(packets * 4))
    await rig.until('all have been sent', () => client.bytesRead === 40 * (SIZE + 4))
    await rig.until('they are free', () => held(payloads) === 0)
    const [peer] = rig.peers.values()
    expect(peer?.packets).toBeLessThan(packets)
    rig.onPacket = undefined
    await rig.finish()
  })

  test('is given back although it was free while JavaScript was busy and nothing comes after', async () => {
    const rig = new Rig({ ioThreads: 1 })
    rig.echo = false
    const payloads: WeakRef<Uint8Array>[] = []
    // A drain that begins right after a turn of the event loop asks for no other turn.
    rig.onPacket = (peer) => {
      setImmediate(() => {
        rig.order(op.wantDrain, peer)
      })
    }
    rig.onDrain = (peer) => {
      payloads.push(sendPinned(rig, peer))
      busyFor(100)
    }
    const { port } = rig.listen()
    const client = await clientOf(port)
    client.write(Buffer.alloc(4))
    await rig.until('it has been sent', () => client.bytesRead === SIZE + 4)
    await rig.until('it is free', () => held(payloads) === 0, 3000)
    await rig.finish()
  })
})
