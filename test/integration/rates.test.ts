/** How fast a peer may send: `packetRate` and `byteRate`, over real sockets. */

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { type Connection, createServer, framing, type PacketStream } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { isGone, openSocket } from '../helpers/raw_client.js'
import { counter, nextConnection, nextDisconnect, startClient, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'

/** Numbered packets of four bytes each, behind their headers. */
function numbered(count: number, from = 0): Buffer {
  const bytes = Buffer.alloc(8 * count)
  for (let i = 0; i < count; i++) {
    bytes.writeUInt32BE(4, 8 * i)
    bytes.writeUInt32BE(from + i, 8 * i + 4)
  }
  return bytes
}

describe('pause', () => {
  test('all packets come, in sequence, no faster than the rate', async () => {
    const { server, port } = await startServer({ packetRate: { count: 100, per: '1s', burst: 50 } })
    const got: number[] = []
    server.on('packet', (packet) => got.push(packet.readUInt32BE(0)))
    const socket = await openSocket(port)
    const began = performance.now()
    socket.write(numbered(200))
    await until(() => got.length > 0)
    await pause(100)
    expect(got.length).toBeLessThan(90)
    await until(() => got.length === 200)
    // 50 at once, 150 at 100 a second.
    expect(performance.now() - began).toBeGreaterThan(1400)
    expect(got).toEqual(Array.from({ length: 200 }, (_, i) => i))
  })

  test('with several reads pending nothing spins while a peer waits for its rate', async () => {
    const { server, port } = await startServer({
      packetRate: { count: 5, per: '1s', burst: 5 },
      pendingReads: 4,
      readMode: 'direct'
    })
    let packets = 0
    server.on('packet', () => packets++)
    const socket = await openSocket(port)
    // Each in a read of its own.
    for (let i = 0; i < 20; i++) {
      socket.write(numbered(1, i))
      await pause(10)
    }
    const before = process.cpuUsage()
    await pause(2000)
    const { user, system } = process.cpuUsage(before)
    // One that spins takes all of a processor.
    expect((user + system) / 1000).toBeLessThan(1000)
    await until(() => packets === 20)
  })

  test('bytes likewise, and a peer is throttled by TCP, not by memory', async () => {
    const { server, port } = await startServer({
      byteRate: { bytes: '256KiB', burst: '64KiB' },
      framing: framing.raw(),
      receiveBuffer: 16_384
    })
    let bytes = 0
    server.on('packet', (packet) => (bytes += packet.length))
    const socket = await openSocket(port)
    const began = performance.now()
    const flood = Buffer.alloc(512 * 1024, 1)
    socket.write(flood)
    await until(() => bytes === flood.length)
    const seconds = (performance.now() - began) / 1000
    // What is above the burst, less one read of 64 KiB that may be taken in advance.
    expect(seconds).toBeGreaterThan(1.4)
    expect(server.stats()?.delivery.peakBytes).toBeLessThan(200_000)
  })

  test('one connection waits, the others do not', async () => {
    const { server, port } = await startServer({ packetRate: { count: 5, burst: 5 } })
    server.on('packet', (packet, connection) => connection.send(packet))
    const fast = await openSocket(port)
    fast.resume()
    fast.write(numbered(1000))
    const good = await openSocket(port)
    for (let i = 0; i < 5; i++) {
      const began = performance.now()
      good.write(numbered(1))
      await once(good, 'data')
      expect(performance.now() - began).toBeLessThan(1000)
    }
  })

  test('meetings: pause and resume, another framing, a reset, an end of the peer behind it, a close of the server', async () => {
    const options = { packetRate: { count: 20, burst: 10 } }
    const { server, port } = await startServer(options)
    const got: number[] = []
    const ends: Connection[] = []
    server.on('packet', (packet) => got.push(packet.readUInt32BE(0)))
    server.on('end', (connection) => ends.push(connection))
    const accepted = nextConnection(server)
    const socket = await openSocket(port)
    const connection = await accepted
    socket.write(numbered(30))
    await until(() => got.length >= 10)
    connection.pause()
    await pause(300)
    const held = got.length
    await pause(300)
    expect(got.length).toBe(held)
    connection.resume()
    await until(() => got.length === 30)
    connection.setFraming(framing.lengthField({ bytes: 2 }))
    const small = Buffer.alloc(6 * 20)
    for (let i = 0; i < 20; i++) {
      small.writeUInt16BE(4, 6 * i)
      small.writeUInt32BE(100 + i, 6 * i + 2)
    }
    socket.end(small)
    await until(() => ends.length === 1)
    expect(got.slice(30)).toEqual(Array.from({ length: 20 }, (_, i) => 100 + i))

    const other = await openSocket(port)
    // What has come is delivered first, at the rate.
    other.write(numbered(40))
    await pause(100)
    other.resetAndDestroy()
    await until(() => server.connections.size === 0)

    const last = await openSocket(port)
    last.write(numbered(1000))
    await until(() => server.connections.size === 1)
    await server.close({ deadline: 200 })
    expect(server.connections.size).toBe(0)
  })
})

describe('drop', () => {
  test('packets above the rate are dropped and counted, the others come in sequence', async () => {
    const { server, port } = await startServer({ packetRate: { count: 1, per: '1h', burst: 10, onExceed: 'drop' } })
    const got: number[] = []
    server.on('packet', (packet) => got.push(packet.readUInt32BE(0)))
    const socket = await openSocket(port)
    socket.write(numbered(500))
    await until(() => counter(server, 'rateDrops') === 490 && got.length > 0)
    expect(got).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(server.connections.size).toBe(1)
  })

  test('a packet that is streamed is dropped whole', async () => {
    const { server, port } = await startServer({
      framing: framing.lengthField({ streamAbove: 1000 }),
      packetRate: { count: 1, per: '1h', burst: 1, onExceed: 'drop' }
    })
    const streams: PacketStream[] = []
    let packets = 0
    server.on('stream', (stream) => streams.push(stream.resume()))
    server.on('packet', () => packets++)
    const socket = await openSocket(port)
    const large = Buffer.alloc(200_004)
    large.writeUInt32BE(200_000)
    socket.write(Buffer.concat([numbered(1), large, numbered(1), large, numbered(1)]))
    await until(() => counter(server, 'rateDrops') === 4 && packets > 0)
    expect(packets).toBe(1)
    expect(streams).toHaveLength(0)
  })

  test('by bytes: whole packets', async () => {
    const { server, port } = await startServer({ byteRate: { bytes: 1, per: '1h', burst: 40, onExceed: 'drop' } })
    const got: number[] = []
    server.on('packet', (packet) => got.push(packet.readUInt32BE(0)))
    const socket = await openSocket(port)
    socket.write(numbered(100))
    await until(() => counter(server, 'rateDrops') === 90 && got.length > 0)
    expect(got).toHaveLength(10)
  })
})

test('packets that are discarded count', async () => {
  const { server, port } = await startServer({
    framing: framing.lengthField({ maxPacket: 16, onOversize: 'discard' }),
    packetRate: { count: 10, onExceed: 'drop' }
  })
  let discarded = 0
  server.on('packet', () => undefined)
  server.on('connection', (connection) => connection.on('frameError', () => discarded++))
  const socket = await openSocket(port)
  const large = Buffer.alloc(24)
  large.writeUInt32BE(20)
  socket.write(Buffer.concat(Array.from({ length: 1000 }, () => large)))
  await until(() => counter(server, 'rateDrops') > 900)
  expect(discarded).toBeLessThan(100)
})

describe('what comes late because of this side', () => {
  test.each(['close', 'drop'] as const)('is not punished (%s)', async (onExceed) => {
    const { server, port } = await startServer({ packetRate: { count: 100, burst: 100, onExceed } })
    let packets = 0
    let isClosed = false
    server.on('packet', () => packets++)
    server.on('disconnect', () => (isClosed = true))
    const accepted = nextConnection(server)
    const socket = await openSocket(port)
    const connection = await accepted
    // Half of what it may.
    let sent = 0
    const sending = setInterval(() => socket.write(numbered(1, sent++)), 20)
    await pause(500)
    connection.pause()
    await pause(4000)
    connection.resume()
    await pause(1000)
    clearInterval(sending)
    await until('all have come', () => packets === sent || isClosed)
    expect(isClosed).toBe(false)
    expect(packets).toBe(sent)
    expect(counter(server, 'rateDrops')).toBe(0)
    // From then on it is judged as ever.
    await pause(1500)
    socket.write(numbered(300))
    if (onExceed === 'close') await until('it is cut', () => isClosed)
    else await until('some are dropped', () => counter(server, 'rateDrops') > 150)
  })

  test('one that waits because others have sent much is not punished', async () => {
    const { server, port } = await startServer({
      byteRate: { bytes: 20_000, onExceed: 'close' },
      delivery: { total: '64KiB' }
    })
    server.on('packet', () => undefined)
    let closed = 0
    server.on('disconnect', () => closed++)
    const sender = new Worker(
      `const { workerData, parentPort } = require('node:worker_threads')
       const packet = Buffer.alloc(1000); packet.writeUInt32BE(996)
       for (let i = 0; i < 10; i++) {
         const socket = require('node:net').connect(workerData, '127.0.0.1', () => {
           if (i === 9) parentPort.postMessage('open')
           setInterval(() => socket.write(packet), 100)
         })
         socket.on('error', () => undefined)
       }`,
      { eval: true, workerData: port }
    )
    onTestFinished(async () => {
      await sender.terminate()
    })
    await once(sender, 'message')
    await until('all are in', () => server.connections.size === 10)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4000)
    await pause(1500)
    expect(closed).toBe(0)
  })
})

describe('close and ban', () => {
  test('a peer that is faster is disconnected, and told of', async () => {
    for (const rate of [
      { packetRate: { count: 10, onExceed: 'close' } },
      { byteRate: { bytes: 100, onExceed: 'close' } }
    ] as const) {
      const { server, port } = await startServer(rate)
      server.on('packet', () => undefined)
      const end = nextDisconnect(server)
      const socket = await openSocket(port)
      socket.write(numbered(100))
      const { info } = await end
      expect(info.cause).toBe('rate-exceeded')
      expect(info.error).toMatchObject({ code: 'ERR_IOCP_RATE_EXCEEDED' })
    }
  })

  test('ban: without rules of its own a server has the default ones', async () => {
    const { server, port } = await startServer({ packetRate: { count: 10, onExceed: 'ban' } })
    server.on('packet', () => undefined)
    const end = nextDisconnect(server)
    const socket = await openSocket(port)
    socket.write(numbered(100))
    expect((await end).info.cause).toBe('rate-exceeded')
    await until(() => server.access.bans().length === 1)
    expect(server.access.bans()).toMatchObject([{ prefix: '127.0.0.1', reason: 'rateExceeded' }])
    const next = await openSocket(port)
    await isGone(next)
  })

  test('banOn.rateExceeded counts those that are closed', async () => {
    const { server, port } = await startServer({
      packetRate: { count: 10, onExceed: 'close' },
      access: { banOn: { rateExceeded: { count: 2 } } }
    })
    server.on('packet', () => undefined)
    for (const bans of [0, 1]) {
      const end = nextDisconnect(server)
      const socket = await openSocket(port)
      socket.write(numbered(100))
      await end
      await until(() => server.access.bans().length === bans)
    }
  })
})

test('options that cannot be are refused', () => {
  const raw = framing.raw()
  expect(() => createServer({ framing: raw, packetRate: { count: 1, onExceed: 'drop' } })).toThrow(
    /packetRate\.onExceed/
  )
  expect(() => createServer({ packetRate: {} as never })).toThrow(/packetRate\.count/)
  // A conforming peer would seem too fast: the clock has ticks.
  expect(() => createServer({ packetRate: { count: 1000, burst: 10 } })).toThrow(/at least 32/)
  expect(() => createServer({ packetRate: { count: 10, per: 10, burst: 32 } })).not.toThrow()
  expect(() => createServer({ byteRate: { bytes: 0 } })).toThrow(/byteRate\.bytes/)
  expect(() => startClient({ packetRate: { count: 1, onExceed: 'ban' } })).toThrow(/only servers ban/)
})

test('setFraming to raw framing is refused where packets are dropped', async () => {
  const { server, port } = await startServer({ packetRate: { count: 5, onExceed: 'drop' } })
  const accepted = nextConnection(server)
  await openSocket(port)
  const connection = await accepted
  expect(() => connection.setFraming(framing.raw())).toThrow(/raw framing has no packets/)
})

test('a client has rates too', async () => {
  const { server, port } = await startServer()
  server.on('connection', (connection) => {
    for (let i = 0; i < 100; i++) connection.send(Buffer.of(i))
  })
  const client = startClient({ packetRate: { count: 10, burst: 20, onExceed: 'close' } })
  const connection = await client.connect({ port, host: '127.0.0.1' })
  let packets = 0
  connection.on('packet', () => packets++)
  expect((await connection.closed).cause).toBe('rate-exceeded')
  expect(packets).toBeLessThanOrEqual(20)
})
