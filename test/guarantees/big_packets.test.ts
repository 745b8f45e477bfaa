/** Big packets are read straight to where they are gathered, in memory that is used again: every byte stays right. */

import { once } from 'node:events'
import { type Connection, framing, type ServerOptions } from 'iocp'
import { describe, expect, test } from 'vitest'
import { faultsOfLibrary } from '../helpers/faults.js'
import { load, random } from '../helpers/load.js'
import { MOST_NUMBERED, numbered } from '../helpers/numbered.js'
import { Deframer, frame } from '../helpers/packets.js'
import { openSocket } from '../helpers/raw_client.js'
import { counter, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'
import { many, write } from './support.js'

const KIB = 1024
const seam = faultsOfLibrary()

/** Most are large, some fit a read, some end where a block or a buffer does. */
const sizes = [
  0,
  1,
  70 * KIB,
  64 * KIB - 4,
  64 * KIB,
  64 * KIB + 1,
  128 * KIB,
  129 * KIB,
  200_000,
  300 * KIB,
  512 * KIB,
  777_777,
  MOST_NUMBERED
]

interface Plan {
  packets: Buffer[]
  wire: Buffer
}

/** What one peer sends. */
function plan(stream: number, count: number): Plan {
  const draw = random(stream + 77)
  let at = 0
  const packets = Array.from({ length: count }, () => {
    const size = sizes[draw(sizes.length)] ?? 0
    const packet = numbered(stream, at, size)
    at += size
    return packet
  })
  return { packets, wire: Buffer.concat(packets.map((packet) => frame(packet))) }
}

/** In pieces that are cut anywhere, with pauses now and then. */
async function sendInPieces(
  port: number,
  stream: number,
  { wire }: Plan,
  onPacket?: (packet: Buffer) => void
): Promise<void> {
  const socket = await openSocket(port)
  if (onPacket) socket.on('data', new Deframer(onPacket).feed)
  else socket.resume()
  const draw = random(stream + 5)
  for (let at = 0; at < wire.length;) {
    const size = 1 + draw(draw(3) === 0 ? 2000 : 400 * KIB)
    await write(socket, wire.subarray(at, at + size))
    at += size
    if (draw(8) === 0) await pause(draw(3))
  }
}

const modes: [string, ServerOptions][] = [
  ['adaptive reads', {}],
  ['zero-byte reads', { readMode: 'zero-byte' }],
  ['four direct reads at once', { readMode: 'direct', pendingReads: 4 }],
  ['one packet at a time, on demand', { receive: 1 }],
  ['no unused buffers kept', { maxFreeBuffers: -1 }],
  ['little room for what waits', { delivery: { total: 2048 * KIB, perConnection: 64 * KIB } }]
]

describe.each(modes)('%s', (_, options) => {
  test('every byte of every packet, also of those that are kept for long', async () => {
    const PEERS = 4
    const plans = Array.from({ length: PEERS }, (_, stream) => plan(stream, load(24, 300)))
    const { server, port } = await startServer({
      framing: framing.lengthField({ maxPacket: MOST_NUMBERED }),
      ...options
    })
    const kept: { stream: number; index: number; packet: Buffer }[] = []
    const seen = new Map<Connection, { stream: number; count: number }>()
    const draw = random(3)
    let got = 0
    server.on('packet', (packet, connection) => {
      got++
      const state = seen.get(connection)
      if (state === undefined) {
        // The first packet of each says which stream it is.
        seen.set(connection, { stream: packet.readUInt32BE(), count: 0 })
      } else {
        const index = state.count++
        if (!packet.equals(plans[state.stream]?.packets[index] ?? Buffer.alloc(0))) {
          throw new Error(`packet ${index} of stream ${state.stream} (${packet.length} bytes) is not what was sent`)
        }
        // A packet belongs to the program: what comes later must not show in it.
        kept.push({ stream: state.stream, index, packet })
        if (kept.length > 40) kept.splice(draw(kept.length), 1)
      }
      if (options.receive !== undefined) connection.demand()
      else if (draw(10) === 0) {
        connection.pause()
        setTimeout(() => connection.resume(), draw(10))
      }
    })
    await Promise.all(
      plans.map((one, stream) => {
        const first = Buffer.alloc(4)
        first.writeUInt32BE(stream)
        return sendInPieces(port, stream, { ...one, wire: Buffer.concat([frame(first), one.wire]) })
      })
    )
    const wanted = plans.reduce((sum, { packets }) => sum + packets.length + 1, 0)
    await until('all packets have come', () => got === wanted)
    for (const { stream, index, packet } of kept)
      expect(packet.equals(plans[stream]?.packets[index] ?? Buffer.alloc(0))).toBe(true)
  })
})

test.skipIf(seam === undefined)('reads that bring less than there is, or nothing for want of memory', async () => {
  const { server, port } = await startServer({
    framing: framing.lengthField({ maxPacket: MOST_NUMBERED }),
    readMode: 'zero-byte'
  })
  server.on('packet', (packet, connection) => connection.send(packet))
  const one = plan(9, 20)
  for (const rule of [
    { shortTo: 100_000, perMille: 500 },
    { shortTo: 1000, perMille: 300 },
    { error: 10055, perMille: 100 }
  ]) {
    seam?.set('receive_now', rule)
    const back: Buffer[] = []
    await sendInPieces(port, 9, one, (packet) => back.push(packet))
    await until('all has come back', () => back.length === one.packets.length)
    expect(back.every((packet, index) => packet.equals(one.packets[index] ?? Buffer.alloc(0)))).toBe(true)
    expect(seam?.hits('receive_now')).toBeGreaterThan(0)
    seam?.clear()
  }
})

test('sent back as they are, by many at once', async () => {
  const { server, port } = await startServer({ framing: framing.lengthField({ maxPacket: MOST_NUMBERED }) })
  server.on('packet', (packet, connection) => connection.send(packet))
  await many(8, async (stream) => {
    const one = plan(stream + 20, load(12, 200))
    let back = 0
    await sendInPieces(port, stream, one, (packet) => {
      if (!packet.equals(one.packets[back] ?? Buffer.alloc(0)))
        throw new Error(`packet ${back} of stream ${stream} came back wrong`)
      back++
    })
    await until('all has come back', () => back === one.packets.length)
  })
})

test('a big packet costs few reads', async () => {
  const { server, port } = await startServer({
    framing: framing.lengthField({ maxPacket: MOST_NUMBERED }),
    readMode: 'zero-byte'
  })
  const socket = await openSocket(port)
  let got = 0
  const [connection] = (
    await Promise.all([
      once(server as unknown as NodeJS.EventEmitter, 'connection'),
      write(socket, frame(Buffer.from('first')))
    ])
  )[0] as [Connection]
  connection.on('packet', () => got++)
  await until('the first is there', () => got === 1)
  // All of it is there before the first read: so the count does not depend on the peer's pace.
  connection.pause()
  const before = counter(server, 'recvCalls')
  const bytes = frame(numbered(1, 0, 1000 * KIB))
  await write(socket, bytes)
  await pause(100)
  connection.resume()
  await until('the big one is there', () => got === 2)
  // Buffers of 64 KiB would be 16.
  expect(counter(server, 'recvCalls') - before).toBeLessThan(15)
})

describe('a connection that ends in the middle of a big packet', () => {
  test.each(['end', 'reset', 'destroyed here'])('%s: nothing of the packet is told, one close', async (how) => {
    const { server, port } = await startServer({ framing: framing.lengthField({ maxPacket: MOST_NUMBERED }) })
    const packets: number[] = []
    const causes: string[] = []
    server.on('packet', (packet) => packets.push(packet.length))
    server.on('disconnect', ({ cause }) => causes.push(cause))
    for (let round = 0; round < 20; round++) {
      const accepted = once(server as unknown as NodeJS.EventEmitter, 'connection') as Promise<[Connection]>
      const socket = await openSocket(port)
      const [connection] = await accepted
      const bytes = frame(numbered(round, 0, 900 * KIB))
      await write(socket, bytes.subarray(0, 80 * KIB + round * 40 * KIB))
      await until('some has been read', () => (connection.stats()?.bytesRead ?? 0) > 70 * KIB)
      if (how === 'end') socket.end()
      else if (how === 'reset') socket.resetAndDestroy()
      else connection.destroy()
      await connection.closed
    }
    expect(packets).toEqual([])
    await until('all have been told', () => causes.length === 20)
    // Wine may look at the error before the read does: then a reset looks like an end.
    const possible = how === 'end' ? ['peer-end'] : how === 'reset' ? ['peer-reset', 'peer-end'] : ['local']
    expect(causes.filter((cause) => !possible.includes(cause))).toEqual([])
    await until(
      'nothing is left',
      () => server.stats()?.pools.contexts.inUse === 0 && server.stats()?.pools.readBuffers.inUse === 0
    )
  })
})

test('a change of framing in the middle of a big packet holds from the next one on', async () => {
  const { server, port } = await startServer({ framing: framing.lengthField({ maxPacket: MOST_NUMBERED }) })
  const accepted = once(server as unknown as NodeJS.EventEmitter, 'connection') as Promise<[Connection]>
  const socket = await openSocket(port)
  const [connection] = await accepted
  const packets: Buffer[] = []
  connection.on('packet', (packet) => packets.push(packet))
  const big = numbered(4, 0, 700 * KIB)
  const bytes = frame(big)
  await write(socket, bytes.subarray(0, 400 * KIB))
  await until('some has been read', () => (connection.stats()?.bytesRead ?? 0) > 300 * KIB)
  connection.setFraming(framing.line())
  // The peer goes on when it is told to.
  const told = once(socket, 'data')
  connection.send(Buffer.from('go on'))
  await told
  await write(socket, Buffer.concat([bytes.subarray(400 * KIB), Buffer.from('one line\n')]))
  await until('both have come', () => packets.length === 2)
  expect(packets[0]?.equals(big)).toBe(true)
  expect(packets[1]?.toString()).toBe('one line')
})
