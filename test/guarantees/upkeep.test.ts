/** What a server keeps, and what it tells about itself: pools, broadcasts and groups, options, figures, channels. */

import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type CloseInfo, connect, type Connection, type ConnectionOptions, hostAddresses, type SendState } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { load } from '../helpers/load.js'
import { Deframer, frame } from '../helpers/packets.js'
import { HOST } from '../helpers/ports.js'
import { openSocket } from '../helpers/raw_client.js'
import { counter, startClient, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'
import { many } from './support.js'

const KIB = 1024
const MIB = 1024 * KIB

describe('pools: memory is used again, and given back after a peak', () => {
  test('contexts and buffers of a peak are freed by themselves when it is over', async () => {
    const { server, port } = await startServer({ readMode: 'direct', pendingReads: 4 })
    server.on('packet', () => undefined)
    const sockets = await many(200, () => openSocket(port), 100)
    for (const socket of sockets) socket.write(frame(Buffer.alloc(30_000)))
    await until('all have spoken', () => counter(server, 'packetsIn') === 200)
    await until('each waits with four buffers', () => (server.stats()?.pools.waitBuffers.peak ?? 0) >= 800)
    expect(server.stats()?.pools.contexts).toMatchObject({ inUse: 200, peak: 200 })
    for (const socket of sockets) socket.destroy()
    await until('all are gone', () => server.stats()?.pools.contexts.inUse === 0)
    // Nobody does anything: trimming has a timer of its own.
    await until('their memory is gone too', () => {
      const pools = server.stats()?.pools
      return pools?.contexts.free === 0 && pools.waitBuffers.free === 0 && pools.readBuffers.free === 0
    })
    expect(server.stats()?.pools.contexts.peak).toBe(200)
  })

  test.each([
    { max: -1, kept: 0 },
    { max: 7, kept: 7 }
  ])('`maxFreeContexts` and `maxFreeBuffers` $max: never more than $kept are kept', async ({ max, kept }) => {
    const { server, port } = await startServer({ maxFreeContexts: max, maxFreeBuffers: max, readMode: 'direct' })
    server.on('packet', () => undefined)
    for (let round = 0; round < 3; round++) {
      const sockets = await many(30, () => openSocket(port))
      for (const socket of sockets) socket.end(frame(Buffer.alloc(100)))
      await until('all are gone', () => counter(server, 'closes') === 30 * (round + 1))
      await until('their contexts too', () => server.stats()?.pools.contexts.inUse === 0)
      const pools = server.stats()?.pools
      for (const pool of [pools?.contexts, pools?.waitBuffers, pools?.readBuffers]) {
        expect(pool?.free).toBeLessThanOrEqual(kept)
      }
      if (max === -1) expect(pools?.contexts.allocations).toBe(30 * (round + 1))
    }
  })

  test('a steady coming and going allocates nothing new', async () => {
    const { server, port } = await startServer()
    server.on('packet', (packet, connection) => {
      connection.send(packet)
    })
    const comeAndGo = (): Promise<unknown> =>
      many(40, async () => {
        const socket = await openSocket(port)
        const answer = new Promise((resolve) => {
          socket.once('data', resolve)
        })
        socket.write(frame(Buffer.from('x')))
        await answer
        socket.destroy()
      })
    for (let i = 0; i < 3; i++) await comeAndGo()
    const before = server.stats()?.pools.contexts.allocations ?? 0
    for (let i = 0; i < 10; i++) await comeAndGo()
    const { total } = server.stats()?.connections ?? { total: 0 }
    expect(total).toBe(13 * 40)
    // Trimming may have taken some away in a slow moment; by far the most were recycled.
    expect((server.stats()?.pools.contexts.allocations ?? 0) - before).toBeLessThan(200)
  })

  test(
    `${load(2000, 100_000)} connects and disconnects leave memory where it was`,
    { timeout: load(90_000, 1_800_000) },
    async () => {
      const { server, port } = await startServer({ ioThreads: 2 })
      const mine = startClient()
      let served = 0
      server.on('packet', (packet, connection) => {
        served++
        connection.send(packet)
      })
      let reported = 0
      server.on('disconnect', () => reported++)
      const total = load(2000, 100_000)
      const one = async (index: number): Promise<void> => {
        const connection = await mine.connect({ port, host: HOST })
        connection.send(Buffer.alloc(1 + (index % 3000)))
        for await (const packet of connection) {
          expect(packet.length).toBe(1 + (index % 3000))
          break
        }
        if (index % 3 === 0) connection.end()
        else if (index % 3 === 1) connection.reset()
        else connection.destroy()
        await connection.closed
      }
      // The first of them warm everything up: code, pools, the system's tables.
      const warm = Math.floor(total / 4)
      await many(warm, one)
      await until('all are gone', () => server.connections.size === 0)
      const before = await settledMemory()
      await many(total - warm, one)
      await until('all are gone', () => server.connections.size === 0 && reported === total)
      expect(served).toBe(total)
      for (const endpoint of [server, mine]) {
        const stats = endpoint.stats()
        expect(stats?.connections).toMatchObject({ now: 0, total })
        expect(stats?.connections.peak).toBeLessThan(500)
        expect(stats?.pools.contexts.inUse).toBe(0)
      }
      const after = await settledMemory()
      expect(after.heapUsed - before.heapUsed).toBeLessThan(3 * MIB)
      expect(after.external - before.external).toBeLessThan(3 * MIB)
      // The whole process moves by more than a small leak makes in a short run; in a long one it does not.
      expect(after.rss - before.rss).toBeLessThan(load(64, 24) * MIB)
    }
  )
})

/** What is in use when nothing is left that could be collected. */
async function settledMemory(): Promise<NodeJS.MemoryUsage> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let i = 0; i < 3; i++) {
    collect()
    await pause(20)
  }
  return process.memoryUsage()
}

describe('broadcast and groups', () => {
  test('the result counts every outcome, and each receiver gets it in its place among other packets', async () => {
    const { server, port } = await startServer({
      sendBuffer: 8 * KIB,
      backpressure: { highWater: 64 * KIB, hardCap: 96 * KIB }
    })
    const received = new Map<number, number[]>()
    const connections: Connection[] = []
    const sockets = await many(
      30,
      async (index) => {
        const accepted = new Promise<Connection>((resolve) => {
          server.once('connection', resolve)
        })
        const socket = await openSocket(port)
        connections.push(await accepted)
        const numbers: number[] = []
        received.set(index, numbers)
        const deframer = new Deframer((packet) => numbers.push(packet.readUInt32BE()))
        if (index >= 10) socket.on('data', deframer.feed)
        return socket
      },
      1
    )
    const packet = (number: number, size = 100): Buffer => {
      const bytes = Buffer.alloc(size)
      bytes.writeUInt32BE(number)
      return bytes
    }
    const [full, above, ended] = [connections.slice(0, 5), connections.slice(5, 10), connections.slice(10, 15)]
    // Five are at their cap, five above their mark, five are ending.
    const fill = async (some: readonly Connection[], isFull: (state: SendState) => boolean): Promise<void> => {
      for (const connection of some) {
        for (let quiet = 0; quiet < 3;) {
          quiet = isFull(connection.send(packet(1, 4 * KIB))) ? quiet + 1 : 0
          // The system may still take some of it.
          if (quiet > 0) await pause(5)
        }
      }
    }
    await fill(full, (state) => state === 'dropped')
    await fill(above, (state) => state !== 'sent')
    for (const connection of ended) connection.end()
    for (const connection of full) while (connection.send(packet(1, 4 * KIB)) !== 'dropped');
    const counts = server.broadcast(packet(2, 4 * KIB))
    expect(counts.sent + counts.queued + counts.dropped + counts.closed).toBe(30)
    expect(counts.closed).toBe(5)
    expect(counts.sent).toBeGreaterThanOrEqual(15)
    expect(counts.dropped).toBeGreaterThan(0)
    // Those who got it are as many as it says: the slow ones are let go now.
    for (const [index, socket] of sockets.slice(0, 10).entries()) {
      socket.on('data', new Deframer((one) => received.get(index)?.push(one.readUInt32BE())).feed)
    }
    await until('the queues are empty', () => [...full, ...above].every(({ queuedBytes }) => queuedBytes === 0))
    for (const connection of [...full, ...above]) connection.send(packet(0))
    await until('all have come', () => [...received.values()].slice(0, 10).every((numbers) => numbers.at(-1) === 0))
    const slow = [...received.values()].slice(0, 10).filter((numbers) => numbers.includes(2))
    expect(slow.length).toBe(counts.sent + counts.queued - 15)

    for (const connection of connections.slice(15))
      connection.join(connection.id % 2 === 0 ? 'even' : 'odd').join('all')
    const even = server.group('even').length
    connections[15]?.send(packet(3))
    expect(server.broadcast(packet(4), { group: 'all' })).toEqual({ sent: 15, queued: 0, dropped: 0, closed: 0 })
    connections[15]?.send(packet(5))
    expect(server.broadcast(packet(6), { group: 'even' }).sent).toBe(even)
    expect(server.broadcast(packet(7), { group: 'nobody' })).toEqual({ sent: 0, queued: 0, dropped: 0, closed: 0 })
    const [first, ...rest] = connections.slice(15)
    expect(server.broadcast(packet(8), { to: connections.slice(15), except: first as Connection }).sent).toBe(14)
    await until('the last one has it', () => received.get(29)?.at(-1) === 8)
    await until('the first one has its own', () => (received.get(15)?.length ?? 0) >= 4)
    const parity = (connection: Connection | undefined): number[] =>
      connection !== undefined && connection.id % 2 === 0 ? [6] : []
    expect(received.get(15)).toEqual([2, 3, 4, 5, ...parity(first)])
    for (const [index, connection] of rest.entries()) {
      await until('it has all', () => received.get(16 + index)?.at(-1) === 8)
      expect(received.get(16 + index)).toEqual([2, 4, ...parity(connection), 8])
    }

    // Who closes leaves its groups; who leaves gets nothing more.
    first?.destroy()
    await first?.closed
    expect(server.group('all').length).toBe(14)
    rest[0]?.leave('all')
    expect(server.broadcast(packet(9), { group: 'all' }).sent).toBe(13)
    expect(sockets.length).toBe(30)
  })

  test('one payload for many receivers is kept once, however slowly they read', async () => {
    const { server, port } = await startServer({ sendBuffer: 8 * KIB, backpressure: { highWater: '8MiB' } })
    const sockets = await many(60, () => openSocket(port))
    await until('all are connected', () => server.connections.size === 60)
    for (const socket of sockets) socket.pause()
    const before = process.memoryUsage().rss
    const payload = Buffer.alloc(MIB, 7)
    // 120 MiB, if each had a copy.
    for (let i = 0; i < 2; i++) expect(server.broadcast(payload)).toMatchObject({ dropped: 0, closed: 0 })
    await pause(200)
    expect(process.memoryUsage().rss - before).toBeLessThan(50 * MIB)
    let bytes = 0
    for (const socket of sockets) socket.on('data', (data) => (bytes += data.length)).resume()
    await until('all have it', () => bytes === 60 * 2 * (MIB + 4), 25_000)
  })
})

describe('options of sockets', () => {
  const variants: [string, ConnectionOptions][] = [
    ['noDelay off', { noDelay: false }],
    ['keepAlive on', { keepAlive: true }],
    ['keepAlive after a time', { keepAlive: '45s' }],
    ['keepAlive in detail', { keepAlive: { delay: 10_000, interval: 2000, count: 4 } }],
    ['buffer sizes', { receiveBuffer: '64KiB', sendBuffer: 32_768 }],
    ['type of service', { typeOfService: 0x10 }],
    ['a short deadline', { endDeadline: 50 }],
    ['all of them', { noDelay: true, keepAlive: true, receiveBuffer: 8192, sendBuffer: 8192, typeOfService: 8 }]
  ]
  test.each(variants)('%s: taken, and the connection works, on both sides', async (_, options) => {
    const { server, port } = await startServer(options)
    server.on('packet', (packet, connection) => {
      connection.send(packet)
    })
    await using connection = await startClient(options).connect({ port, host: HOST })
    connection.send(Buffer.alloc(100_000, 3))
    let bytes = 0
    for await (const packet of connection) {
      bytes += packet.length
      break
    }
    expect(bytes).toBe(100_000)
  })

  // The system tells what it will about TCP_NODELAY; this is what it does. Without it the second packet waits until the
  // peer has acknowledged the first, which takes 40 ms or more where nothing is sent back.
  test('noDelay: a small packet does not wait until the one before is acknowledged, on the tenth connection either', async () => {
    const { server, port } = await startServer()
    server.on('packet', (packet, connection) => {
      connection.send(packet)
      setTimeout(() => connection.send(packet), 5)
    })
    await many(9, () => openSocket(port))
    const socket = await openSocket(port)
    const gaps: number[] = []
    for (let i = 0; i < 20; i++) {
      let got = 0
      let first = 0
      socket.on('data', (data) => {
        if (got === 0) first = performance.now()
        got += data.length
      })
      socket.write(Buffer.from([0, 0, 0, 1, i]))
      await until('both are there', () => got === 10)
      socket.removeAllListeners('data')
      gaps.push(performance.now() - first)
    }
    expect(gaps.filter((gap) => gap < 30).length, gaps.map(Math.round).join(' ')).toBeGreaterThan(5)
  })
})

describe('figures', () => {
  test('of a server: what went over the wire, to the byte', async () => {
    const { server, port } = await startServer({ pendingAccepts: 16 })
    server.on('packet', (packet, connection) => {
      connection.send(packet)
    })
    const mine = startClient()
    const connections = await many(10, () => mine.connect({ port, host: HOST }))
    for (const connection of connections) for (let i = 0; i < 20; i++) connection.send(Buffer.alloc(96))
    await until('all is echoed', () => counter(mine, 'packetsIn') === 200)
    const wire = 200 * 100
    // A write is counted when it has ended, and the peer may have its bytes before.
    await until('all writes are counted', () => counter(server, 'packetsOut') === 200)
    for (const endpoint of [server, mine]) {
      expect(endpoint.stats()?.counters).toMatchObject({
        bytesIn: wire,
        bytesOut: wire,
        packetsIn: 200,
        packetsOut: 200
      })
      expect(endpoint.stats()?.connections).toEqual({ now: 10, peak: 10, total: 10 })
      expect(endpoint.stats()?.delivery).toMatchObject({ parked: 0 })
      expect(endpoint.stats()?.delivery.peakBytes).toBeGreaterThan(0)
    }
    expect(server.stats()?.counters).toMatchObject({
      accepts: 10,
      refused: 0,
      drops: 0,
      enobufs: 0,
      protocolErrors: 0
    })
    expect(mine.stats()?.counters).toMatchObject({ connects: 10, connectFailures: 0 })
    // It doubles where peers were faster than the accepts: already the second one can be late.
    const [listener] = server.stats()?.listeners ?? []
    expect(listener?.pendingAccepts).toBe(listener?.acceptPool)
    expect(listener?.acceptPool).toBe(16 * 2 ** counter(server, 'acceptDry'))
    for (const connection of connections) {
      expect(connection.stats()).toMatchObject({
        bytesRead: 2000,
        bytesWritten: 2000,
        packetsRead: 20,
        packetsWritten: 20,
        queuedBytes: 0,
        queuedPackets: 0
      })
    }
    for (const connection of connections.slice(5)) connection.destroy()
    await until('five are left', () => server.stats()?.connections.now === 5)
    expect(server.stats()?.connections).toEqual({ now: 5, peak: 10, total: 10 })
    // Figures are a copy: nobody can spoil them.
    const copy = server.stats()
    if (copy !== undefined) (copy.connections as { now: number }).now = 77
    expect(server.stats()?.connections.now).toBe(5)
  })

  test('sizes of batches and the time until JavaScript had them', async () => {
    const { server, port } = await startServer()
    let received = 0
    server.on('packet', () => received++)
    const socket = await openSocket(port)
    for (let i = 0; i < 500; i++) socket.write(frame(Buffer.alloc(10)))
    await until('all have come', () => received === 500)
    const { batchRecords, latencyMicroseconds } = server.stats()?.delivery ?? {}
    for (const histogram of [batchRecords, latencyMicroseconds]) {
      if (histogram === undefined) throw new Error('there is no histogram')
      expect(histogram.count).toBeGreaterThan(0)
      expect(histogram.p50).toBeLessThanOrEqual(histogram.p90)
      expect(histogram.p90).toBeLessThanOrEqual(histogram.p99)
      expect(histogram.p99).toBeLessThanOrEqual(histogram.max)
    }
    expect(counter(server, 'batches')).toBe(batchRecords?.count)
    expect(counter(server, 'records')).toBe(Math.round((batchRecords?.mean ?? 0) * (batchRecords?.count ?? 0)))
  })

  test('node:diagnostics_channel tells of listening, connections, batches, figures and closes', async () => {
    const told: Record<string, unknown[]> = {}
    for (const name of ['listening', 'connection', 'batch', 'stats', 'close']) {
      const messages: unknown[] = []
      told[name] = messages
      const listener = (message: unknown): void => void messages.push(message)
      expect(channel(`iocp:${name}`).hasSubscribers).toBe(false)
      subscribe(`iocp:${name}`, listener)
      onTestFinished(() => {
        unsubscribe(`iocp:${name}`, listener)
      })
    }
    const { server, port } = await startServer()
    const infos: CloseInfo[] = []
    server.on('disconnect', (info) => infos.push(info))
    server.on('packet', (packet, connection) => {
      connection.send(packet)
    })
    const socket = await openSocket(port)
    socket.write(frame(Buffer.from('hello')))
    await new Promise((resolve) => {
      socket.once('data', resolve)
    })
    socket.destroy()
    await until('it is closed', () => infos.length === 1)
    const stats = server.stats()
    expect(told['listening']).toEqual([{ server, address: server.address() }])
    expect(told['connection']).toMatchObject([{ owner: server }])
    expect(told['close']).toMatchObject([{ info: infos[0] }])
    expect(told['stats']?.at(-1)).toEqual({ owner: server, stats })
    const batches = told['batch'] as { owner: unknown; records: number; payloadBytes: number }[]
    expect(batches.reduce((sum, { records }) => sum + records, 0)).toBe(stats?.counters['records'])
    expect(batches.every(({ owner }) => owner === server)).toBe(true)
  })

  test("the machine's own addresses, and those of a connection also after its end", async () => {
    expect(hostAddresses()).toContainEqual(expect.objectContaining({ address: HOST, family: 'IPv4', internal: true }))
    const { server, port } = await startServer()
    const accepted = new Promise<Connection>((resolve) => {
      server.once('connection', resolve)
    })
    const mine = await connect({ port, host: HOST })
    const theirs = await accepted
    const ends = [theirs.localAddress, theirs.localPort, theirs.remoteAddress, theirs.remotePort]
    expect(ends).toEqual([HOST, port, HOST, mine.localPort])
    expect([mine.remoteAddress, mine.remotePort, mine.localAddress]).toEqual([HOST, port, HOST])
    theirs.data = { user: 'somebody' }
    mine.destroy()
    await theirs.closed
    // Whoever has its slot now has other addresses.
    await many(3, () => openSocket(port))
    expect([theirs.localAddress, theirs.localPort, theirs.remoteAddress, theirs.remotePort]).toEqual(ends)
    expect(theirs.data).toEqual({ user: 'somebody' })
  })
})
