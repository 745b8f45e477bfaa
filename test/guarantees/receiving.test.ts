/** Flow control in: JavaScript that does not keep up makes TCP slow the peers down, and nothing else. */

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { type Connection, framing, type ServerOptions } from 'iocp'
import { describe, expect, test } from 'vitest'
import { load } from '../helpers/load.js'
import { numbered, NumberedStream } from '../helpers/numbered.js'
import { frame } from '../helpers/packets.js'
import { openSocket } from '../helpers/raw_client.js'
import { startClient, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'

const KIB = 1024
const MIB = 1024 * KIB
/** One read: what a thread or a connection may be ahead of the bound by, see docs/threading.md. */
const ONE_READ = 64 * KIB

/** Blocks this thread, and with it the event loop. */
function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}

describe('flow control in: delivery is bounded, per connection and overall', () => {
  test.each([
    { connections: 8, size: 16 * KIB, delivery: { total: MIB, perConnection: 256 * KIB } },
    { connections: 2, size: 124, delivery: { total: 4 * MIB, perConnection: 128 * KIB } }
  ])(
    'a blocked event loop stops the reads: $connections connections, packets of $size bytes',
    { timeout: load(60_000, 600_000) },
    async ({ connections, size, delivery }) => {
      const ioThreads = 4
      const { server, port } = await startServer({ ioThreads, delivery, pendingReads: 2 })
      const next = new Map<number, number>()
      const failures: string[] = []
      let received = 0
      server.on('packet', (packet, connection) => {
        const number = packet.readUInt32BE(4)
        const due = next.get(connection.id) ?? 0
        if (number !== due || packet.length !== size)
          failures.push(`packet ${number} of ${packet.length} bytes for ${due}`)
        next.set(connection.id, due + 1)
        received += packet.length
      })
      const counter = new SharedArrayBuffer(8)
      const pumped = (): number => Number(Atomics.load(new BigUint64Array(counter), 0))
      const bytes = load(size > KIB ? 48 : 32, 200) * MIB
      const worker = new Worker(new URL('pump.mjs', import.meta.url), {
        workerData: { port, connections, bytes, size, counter }
      })
      const done = once(worker, 'message') as Promise<[{ perConnection: number }]>
      await until('the load has begun', () => received > 0)

      const before = process.memoryUsage().rss
      const bound = Math.min(delivery.total, connections * delivery.perConnection)
      let most = 0
      let grown = 0
      const look = (): number => {
        const stats = server.stats()
        if (stats === undefined) throw new Error('the server is gone')
        most = Math.max(most, stats.delivery.bytes)
        grown = Math.max(grown, process.memoryUsage().rss - before)
        return stats.counters.bytesIn
      }
      const atFirst = look()
      let held = look()
      // Until every connection is at its bound, and both ends have been at a stand for a while.
      const areParked = (): boolean => server.stats()?.delivery.parked === connections
      let sent = pumped()
      for (let quiet = 0, turns = 0; (quiet < 80 || !areParked()) && turns < 3000; turns++) {
        block(10)
        const [now, outside] = [look(), pumped()]
        quiet = now === held && outside === sent ? quiet + 1 : 0
        held = now
        sent = outside
      }
      block(300)
      // It has come to a stand, at both ends.
      expect(look()).toBe(held)
      expect(pumped()).toBe(sent)
      expect(sent).toBeLessThan(bytes)
      expect(held - atFirst).toBeLessThanOrEqual(bound + connections * 2 * ONE_READ)
      expect(server.stats()?.delivery.parked).toBe(connections)
      // What is counted is the bytes and what it takes to keep them; the least bound that can hold is the lower one.
      expect(most).toBeLessThanOrEqual(delivery.total + ioThreads * ONE_READ)
      expect(most).toBeLessThanOrEqual(connections * (delivery.perConnection + ONE_READ))
      expect(most).toBeGreaterThan(bound / 4)
      expect(grown).toBeLessThan(64 * MIB)

      // Then everything goes on where it stood, and nothing is lost.
      const [{ perConnection }] = await done
      await until('everything has come', () => received === perConnection * connections * size, 50_000)
      expect(failures).toEqual([])
      expect([...next.values()]).toEqual(Array<number>(connections).fill(perConnection))
      // The last to come are the ends of the connections.
      await until('nothing waits', () => server.stats()?.delivery.bytes === 0)
      expect(server.stats()?.delivery.parked).toBe(0)
      expect(server.stats()?.delivery.timesParked).toBeGreaterThan(0)
      await worker.terminate()
    }
  )

  test('a connection that is not read from does not hold up the others', async () => {
    const { server, port } = await startServer({ delivery: { total: 256 * KIB, perConnection: 64 * KIB } })
    const stuck: Connection[] = []
    let answered = 0
    server.on('connection', (connection) => {
      if (stuck.length < 3) stuck.push(connection.pause())
      else connection.on('packet', () => answered++)
    })
    const full = await Promise.all([openSocket(port), openSocket(port), openSocket(port)])
    await until('three are paused', () => stuck.length === 3)
    for (const socket of full) for (let i = 0; i < 200; i++) socket.write(frame(Buffer.alloc(32 * KIB)))
    const other = await openSocket(port)
    for (let i = 0; i < 500; i++) {
      other.write(frame(Buffer.from('x')))
      if (i % 50 === 0) await pause(1)
    }
    await until('the other one is served', () => answered === 500)
  })
})

describe('pause, resume and demand', () => {
  async function stream(options: ServerOptions, total: number) {
    const { server, port } = await startServer({ ...options, framing: framing.raw() })
    const accepted = once(server as unknown as NodeJS.EventEmitter, 'connection') as Promise<[Connection]>
    const socket = await openSocket(port)
    const [connection] = await accepted
    for (let at = 0; at < total; at += 100_000) socket.write(numbered(2, at, Math.min(100_000, total - at)))
    return { server, connection, socket }
  }

  test.each(['zero-byte', 'direct'] as const)(
    'after pause() no packet comes, after resume() the rest does: %s',
    async (readMode) => {
      const total = 8 * MIB
      const { connection } = await stream({ readMode, pendingReads: 4 }, total)
      const seen = new NumberedStream(2)
      let mayCome = true
      let pauses = 0
      connection.on('packet', (packet) => {
        expect(mayCome).toBe(true)
        seen.take(packet)
        if (seen.at > (pauses + 1) * MIB && pauses < 5) {
          pauses++
          mayCome = false
          connection.pause()
          expect(connection.isPaused()).toBe(true)
          setTimeout(() => {
            mayCome = true
            connection.resume()
          }, 30)
        }
      })
      await until('everything has come', () => seen.at === total)
      expect(pauses).toBe(5)
    }
  )

  test('while it is paused it is not read from', async () => {
    const { connection } = await stream({}, 8 * MIB)
    connection.pause()
    await pause(200)
    const read = connection.stats()?.bytesRead
    await pause(300)
    expect(connection.stats()?.bytesRead).toBe(read)
    expect(read).toBeLessThan(2 * MIB)
  })

  test('`receive: n` lets n packets come, demand(m) m more, and TCP holds the rest', async () => {
    const { server, port } = await startServer({ receive: 3, pendingReads: 4, readMode: 'direct' })
    const packets: number[] = []
    server.on('packet', (packet) => packets.push(packet.readUInt32BE()))
    const accepted = once(server as unknown as NodeJS.EventEmitter, 'connection') as Promise<[Connection]>
    const socket = await openSocket(port)
    const [connection] = await accepted
    const one = (number: number): Buffer => {
      const payload = Buffer.alloc(1000)
      payload.writeUInt32BE(number)
      return frame(payload)
    }
    // Many in one write, so that one read has more of them than are asked for.
    socket.write(Buffer.concat(Array.from({ length: 4000 }, (_, number) => one(number))))
    await until('the first have come', () => packets.length === 3)
    await pause(100)
    expect(packets).toEqual([0, 1, 2])
    connection.demand(2)
    await until('two more have come', () => packets.length === 5)
    await pause(50)
    expect(packets.length).toBe(5)
    // Asked for twice in one tick: the sum.
    connection.demand().demand(4)
    await until('five more have come', () => packets.length === 10)
    await pause(50)
    expect(packets.length).toBe(10)
    expect(connection.stats()?.packetsRead).toBe(10)
    expect(connection.stats()?.bytesRead).toBeLessThan(MIB)
    connection.demand(10_000)
    await until('the rest has come', () => packets.length === 4000)
    expect(packets).toEqual(Array.from({ length: 4000 }, (_, number) => number))
  })

  test('an async iteration reads no faster than its packets are taken', async () => {
    const { server, port } = await startServer()
    const accepted = once(server as unknown as NodeJS.EventEmitter, 'connection') as Promise<[Connection]>
    const sender = await startClient().connect({ port, host: '127.0.0.1' })
    const [connection] = await accepted
    for (let number = 0; number < 3000; number++) {
      const payload = Buffer.alloc(4000)
      payload.writeUInt32BE(number)
      sender.send(payload)
    }
    sender.end()
    let next = 0
    for await (const packet of connection) {
      expect(packet.readUInt32BE()).toBe(next++)
      if (next === 10) {
        await pause(200)
        expect(connection.stats()?.bytesRead).toBeLessThan(2 * MIB)
      }
    }
    expect(next).toBe(3000)
    expect((await connection.closed).cause).toBe('peer-end')
  })
})
