import { connect as netConnect } from 'node:net'
import { framing } from 'iocp'
import { describe, expect, test } from 'vitest'
import { frame, pattern } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'
import { nextDisconnect, startEcho, startServer } from '../helpers/servers.js'
import { until } from '../helpers/time.js'

describe.each(['big', 'little'] as const)('%s-endian', (endian) => {
  describe.each([1, 2, 3, 4, 8] as const)('a length of %d bytes', (bytes) => {
    test('brings packets back', async () => {
      const { port } = await startEcho({ framing: framing.lengthField({ bytes, endian }) })
      const client = await RawClient.open(port)
      const packets = [0, 1, 2, 100, 255].map((length) => frame(pattern(length, length), bytes, endian))
      for (const packet of packets) await client.write(packet)
      const expected = Buffer.concat(packets)
      expect(await client.read(expected.length)).toEqual(expected)
    })

    test('has the largest packet that it can say', async () => {
      const largest = bytes === 1 ? 255 : bytes === 2 ? 65_535 : 200_000
      const { port } = await startEcho({ framing: framing.lengthField({ bytes, endian, maxPacket: largest }) })
      const client = await RawClient.open(port)
      const packet = frame(pattern(largest), bytes, endian)
      await client.write(packet)
      expect((await client.read(packet.length)).equals(packet)).toBe(true)
    })
  })
})

test('without options the length has 4 bytes, big-endian, and does not count itself', async () => {
  const { port } = await startEcho()
  const client = await RawClient.open(port)
  await client.write('\0\0\0\x05hello\0\0\0\0')
  expect((await client.read(13)).toString('latin1')).toBe('\0\0\0\x05hello\0\0\0\0')
})

test('packets that come split at every byte', async () => {
  const { server, port } = await startServer()
  const lengths: number[] = []
  server.on('packet', (packet, connection) => {
    lengths.push(packet.length)
    connection.send(packet)
  })
  const client = await RawClient.open(port)
  const stream = Buffer.concat([frame('abc'), frame(''), frame('defghij')])
  for (let cut = 0; cut <= stream.length; cut++) {
    await client.write(stream.subarray(0, cut))
    // The first part has arrived before the second one leaves: the server says so.
    const whole = [7, 11, 22].filter((end) => end <= cut).length
    await until(() => lengths.length === 3 * cut + whole)
    await client.write(stream.subarray(cut))
    expect(await client.read(stream.length)).toEqual(stream)
  }
  expect(lengths).toEqual(Array.from({ length: 3 * (stream.length + 1) }, (_, index) => [3, 0, 7][index % 3]))
})

test('packets that come byte by byte', async () => {
  const { port } = await startEcho()
  const client = await RawClient.open(port)
  const stream = Buffer.concat([frame('one'), frame(''), frame(pattern(50))])
  for (const byte of stream) await client.write(Buffer.of(byte))
  expect(await client.read(stream.length)).toEqual(stream)
})

test('many packets in one segment, in order', async () => {
  const { server, port } = await startServer()
  let packets = 0
  server.on('packet', (packet, connection) => {
    packets++
    connection.send(packet)
  })
  const client = await RawClient.open(port)
  const stream = Buffer.concat(Array.from({ length: 5000 }, (_, index) => frame(String(index))))
  await client.write(stream)
  expect((await client.read(stream.length)).equals(stream)).toBe(true)
  expect(packets).toBe(5000)
})

describe('the limit of a packet', () => {
  test.each([0, 1, 999, 1000])('%d bytes are within it', async (length) => {
    const { port } = await startEcho({ framing: framing.lengthField({ maxPacket: 1000 }) })
    const client = await RawClient.open(port)
    const packet = frame(pattern(length))
    await client.write(packet)
    expect(await client.read(packet.length)).toEqual(packet)
  })

  test('one byte more closes the connection as soon as the header is complete', async () => {
    const { server, port } = await startEcho({ framing: framing.lengthField({ maxPacket: 1000 }) })
    const told: unknown[] = []
    server.on('frameError', (error, connection) =>
      told.push([error.code, error.header.toString('hex'), connection.remotePort])
    )
    const client = await RawClient.open(port)
    const { localPort } = client.socket
    const disconnected = nextDisconnect(server)
    await client.write(frame('fine'))
    expect(await client.read(8)).toEqual(frame('fine'))
    // The header alone: the packet itself never comes.
    await client.write(Buffer.from([0, 0, 3, 0xe9]))
    const { info } = await disconnected
    expect(info.cause).toBe('protocol-error')
    expect(info.error?.code).toBe('ERR_IOCP_FRAME_TOO_LARGE')
    expect(told).toEqual([['ERR_IOCP_FRAME_TOO_LARGE', '000003e9', localPort]])
    await client.readToEnd()
  })

  test('a declared length costs no memory', async () => {
    const { server, port } = await startServer({ framing: framing.lengthField({ maxPacket: 2 ** 30 }) })
    const before = process.memoryUsage().rss
    const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.open(port)))
    // Each says that 1 GiB will come.
    await Promise.all(clients.map((client) => client.write(Buffer.from('400000000000', 'hex'))))
    await until(() => (server.stats()?.counters.bytesIn ?? 0) >= 20 * 6)
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 2 ** 20)
  })
})

test('200 connections at once, each with content of its own', async () => {
  const { server, port } = await startEcho()
  await Promise.all(
    Array.from({ length: 200 }, async (_, index) => {
      const client = await RawClient.open(port)
      const stream = Buffer.concat([0, 1, 700, 20_000].map((length) => frame(pattern(length, index))))
      await client.write(stream)
      const back = await client.read(stream.length)
      expect(back.equals(stream)).toBe(true)
    })
  )
  expect(server.connections.size).toBe(200)
  expect(new Set([...server.connections].map(({ id }) => id)).size).toBe(200)
})

test('300 connects in one burst are all accepted', async () => {
  const { server, port } = await startEcho()
  const sockets = Array.from({ length: 300 }, () => netConnect(port, '127.0.0.1'))
  const results = await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<string>((resolve) => {
          socket.once('connect', () => {
            resolve('connected')
          })
          socket.once('error', (error) => {
            resolve(error.message)
          })
        })
    )
  )
  expect(results.filter((result) => result !== 'connected')).toEqual([])
  await until(() => server.connections.size === 300)
  for (const socket of sockets) socket.destroy()
})

test.each([1, 4])('large packets in both directions at once (%d threads)', async (ioThreads) => {
  const { port } = await startEcho({ ioThreads, framing: framing.lengthField({ maxPacket: '8MiB' }) })
  const client = await RawClient.open(port)
  const stream = Buffer.concat([frame(pattern(3_000_000)), frame(pattern(5)), frame(pattern(8 * 2 ** 20, 3))])
  const [back] = await Promise.all([client.read(stream.length), client.write(stream)])
  expect(back.equals(stream)).toBe(true)
})

test('text, Buffers and Uint8Arrays can be sent', async () => {
  const { server, port } = await startServer()
  server.on('connection', (connection) => {
    connection.send('tëxt')
    connection.send(Buffer.from('buffer'))
    connection.send(new Uint8Array([1, 2, 3]))
    connection.send(new Uint8Array([0, 1, 2, 3, 4]).subarray(1, 3))
    connection.send('')
  })
  const client = await RawClient.open(port)
  const expected = Buffer.concat([
    frame('tëxt'),
    frame('buffer'),
    frame(Buffer.of(1, 2, 3)),
    frame(Buffer.of(1, 2)),
    frame('')
  ])
  expect(await client.read(expected.length)).toEqual(expected)
})

test('a small payload may be changed as soon as send has returned', async () => {
  const { server, port } = await startServer()
  server.on('connection', (connection) => {
    const buffer = Buffer.alloc(16 * 1024, 1)
    connection.send(buffer)
    buffer.fill(2)
    connection.send(buffer)
    buffer.fill(3)
  })
  const client = await RawClient.open(port)
  const back = await client.read(2 * (4 + 16 * 1024))
  expect(back.subarray(4, 4 + 16 * 1024).every((byte) => byte === 1)).toBe(true)
  expect(back.subarray(8 + 16 * 1024).every((byte) => byte === 2)).toBe(true)
})
