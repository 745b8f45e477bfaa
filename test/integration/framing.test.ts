import { once } from 'node:events'
import {
  connect,
  type Framing,
  framing,
  type IocpFrameError,
  iocpsPackage,
  PacketReader,
  type PacketStream
} from 'iocp'
import { describe, expect, test } from 'vitest'
import { frame, pattern } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'
import { nextConnection, nextDisconnect, startEcho, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'

/** What a server gets, and what it sends back, byte for byte. */
const wire: [name: string, made: Framing, bytes: string | Buffer, packets: (string | Buffer)[]][] = [
  ['length 4 big', framing.lengthField(), '\0\0\0\x02ab\0\0\0\0', ['ab', '']],
  [
    'length at an offset, nothing stripped',
    framing.lengthField({ offset: 1, bytes: 2, strip: 0 }),
    'X\0\x03abcX\0\0',
    ['X\0\x03abc', 'X\0\0']
  ],
  ['length that counts itself', framing.lengthField({ bytes: 2, adjustment: -2 }), '\0\x05abc\0\x02', ['abc', '']],
  ['delimiter', framing.delimiter({ delimiters: ['||', ';'] }), 'a||b||||', ['a', 'b', '']],
  ['delimiter that stays', framing.delimiter({ delimiters: '||', strip: false }), 'a||||', ['a||', '||']],
  ['line', framing.line(), 'one\ntwo\n\n', ['one', 'two', '']],
  ['fixed', framing.fixed({ bytes: 3 }), 'abcdef', ['abc', 'def']],
  [
    'varint',
    framing.varint(),
    Buffer.concat([Buffer.from([0xac, 0x02]), pattern(300), Buffer.from([0])]),
    [pattern(300), '']
  ],
  ['erlang 1', framing.erlang(1), '\x02hi', ['hi']],
  ['erlang 2', framing.erlang(2), '\0\x02hi', ['hi']],
  ['HP-Socket', framing.hpSocketPack({ flag: 5 }), Buffer.from('020040016869', 'hex'), ['hi']],
  ['IOCPS', framing.iocps(), Buffer.from('0100000002' + '0400000000616200', 'hex'), [Buffer.of(2), '\0ab\0']]
]

describe.each(wire)('%s', (_, made, bytes, packets) => {
  const stream = Buffer.from(bytes)

  test('whole, and split at every byte', async () => {
    const { server, port } = await startServer({ framing: made })
    const seen: Buffer[] = []
    server.on('packet', (packet, connection) => {
      seen.push(Buffer.from(packet))
      connection.send(packet)
    })
    const client = await RawClient.open(port)
    const cuts =
      stream.length > 50 ? [1, 2, 3, 150, stream.length - 1] : Array.from({ length: stream.length }, (_, at) => at)
    for (const cut of cuts) {
      seen.length = 0
      await client.write(stream.subarray(0, cut))
      await new Promise(setImmediate)
      await client.write(stream.subarray(cut))
      expect(await client.read(stream.length)).toEqual(stream)
      expect(seen).toEqual(packets.map((packet) => Buffer.from(packet)))
    }
  })

  test('our own client', async () => {
    const { port } = await startEcho({ framing: made })
    const connection = await connect({ host: '127.0.0.1', port, framing: made })
    for (const packet of packets) connection.send(Buffer.from(packet))
    const back: Buffer[] = []
    for await (const packet of connection) if (back.push(Buffer.from(packet)) === packets.length) break
    expect(back).toEqual(packets.map((packet) => Buffer.from(packet)))
    connection.destroy()
  })
})

test('raw: whatever arrives, nothing lost', async () => {
  const { port } = await startEcho({ framing: framing.raw() })
  const client = await RawClient.open(port)
  const bytes = pattern(300_000)
  await client.write(bytes)
  expect((await client.read(bytes.length)).equals(bytes)).toBe(true)
})

describe('what cannot be accepted', () => {
  test.each<[string, Framing, string, string]>([
    ['too large', framing.lengthField({ maxPacket: 10 }), '0000000b', 'ERR_IOCP_FRAME_TOO_LARGE'],
    ['the original, 509 bytes', framing.iocps(), 'fd010000', 'ERR_IOCP_FRAME_TOO_LARGE'],
    ['negative', framing.lengthField({ bytes: 8 }), 'ffffffffffffffff', 'ERR_IOCP_FRAME_NEGATIVE_LENGTH'],
    [
      'shorter than its header',
      framing.lengthField({ bytes: 2, adjustment: -2 }),
      '0001',
      'ERR_IOCP_FRAME_SHORTER_THAN_HEADER'
    ],
    ['shorter than strip', framing.lengthField({ bytes: 2, strip: 6 }), '0003', 'ERR_IOCP_FRAME_SHORTER_THAN_STRIP'],
    ['bad flag', framing.hpSocketPack({ flag: 5 }), '02000002', 'ERR_IOCP_FRAME_BAD_FLAG'],
    ['bad length', framing.hpSocketPack(), '00000000', 'ERR_IOCP_FRAME_BAD_LENGTH'],
    ['bad varint', framing.varint(), 'ffffffffff', 'ERR_IOCP_FRAME_BAD_VARINT'],
    ['line too long', framing.line({ maxPacket: 3 }), '6161616161616161', 'ERR_IOCP_FRAME_TOO_LARGE']
  ])('%s: an event with its code and the bytes, then close', async (_, made, hex, code) => {
    const { server, port } = await startServer({ framing: made })
    const told = once(server, 'frameError') as Promise<[IocpFrameError]>
    const gone = nextDisconnect(server)
    const client = await RawClient.open(port)
    await client.write(Buffer.from(hex, 'hex'))
    const [error] = await told
    const { info } = await gone
    expect(error).toMatchObject({ code, discarded: false })
    expect(hex.startsWith(error.header.toString('hex'))).toBe(true)
    expect(error.header.length).toBeGreaterThan(0)
    expect(info.cause).toBe('protocol-error')
    expect(info.error).toBe(error)
    expect(server.stats()?.counters.protocolErrors).toBe(1)
    await client.readToEnd()
  })

  test('an oversize packet can be skipped: the stream stays in sync', async () => {
    const { server, port } = await startEcho({ framing: framing.lengthField({ maxPacket: 10, onOversize: 'discard' }) })
    const told: unknown[] = []
    server.on('frameError', (error) =>
      told.push([error.code, error.frameSize, error.header.toString('hex'), error.discarded])
    )
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([frame('before'), frame(pattern(100_000)), frame('after')]))
    expect(await client.read(10 + 9)).toEqual(Buffer.concat([frame('before'), frame('after')]))
    expect(told).toEqual([['ERR_IOCP_FRAME_TOO_LARGE', 100_004, '000186a0', true]])
    expect(server.connections.size).toBe(1)
  })
})

describe('setFraming', () => {
  test('a handshake in lines, then binary packets that were on their way already', async () => {
    const { server, port } = await startServer({ framing: framing.line(), receive: 1 })
    const seen: string[] = []
    server.on('packet', (packet, connection) => {
      seen.push(String(packet))
      if (seen.length === 1) {
        connection.send('OK')
        connection.setFraming(framing.lengthField({ bytes: 2 }))
      } else {
        connection.send(packet)
      }
      connection.demand()
    })
    const client = await RawClient.open(port)
    const rest = Buffer.concat([frame('a\nb', 2), frame('', 2), frame('end', 2)])
    await client.write(Buffer.concat([Buffer.from('HELLO\n'), rest]))
    expect(await client.read(3 + rest.length)).toEqual(Buffer.concat([Buffer.from('OK\n'), rest]))
    expect(seen).toEqual(['HELLO', 'a\nb', '', 'end'])
  })

  test('both sides of the library', async () => {
    const { server, port } = await startServer({ framing: framing.line() })
    server.on('packet', (packet, connection) => {
      if (String(packet) === 'upgrade') {
        connection.send('upgraded')
        connection.setFraming(framing.varint())
      } else {
        connection.send(packet)
      }
    })
    const connection = await connect({ host: '127.0.0.1', port, framing: framing.line() })
    connection.send('upgrade')
    expect(String(((await once(connection, 'packet')) as [Buffer])[0])).toBe('upgraded')
    connection.setFraming(framing.varint())
    connection.send('binary\n\n\n')
    expect(String(((await once(connection, 'packet')) as [Buffer])[0])).toBe('binary\n\n\n')
    connection.destroy()
  })
})

describe('streams', () => {
  const streaming = framing.lengthField({ maxPacket: '64MiB', streamAbove: 1000 })

  test('a packet above streamAbove comes as a stream of known length, small ones as before', async () => {
    const { server, port } = await startServer({ framing: streaming })
    const seen: unknown[] = []
    server.on('packet', (packet) => seen.push(packet.length))
    server.on('stream', (stream) => {
      seen.push(`stream of ${stream.size}`)
      const pieces: Buffer[] = []
      stream.on('data', (piece: Buffer) => pieces.push(piece))
      stream.on('end', () => seen.push(Buffer.concat(pieces).equals(pattern(3_000_000))))
    })
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([frame(pattern(1000)), frame(pattern(3_000_000)), frame(pattern(5))]))
    await until(() => seen.length === 4)
    expect(seen[0]).toBe(1000)
    expect(seen[1]).toBe('stream of 3000000')
    expect(seen.slice(2).toSorted()).toEqual([5, true].toSorted())
  })

  test('a slow reader slows the peer down, and memory stays small', async () => {
    const { server, port } = await startServer({ framing: streaming })
    const opened = once(server, 'stream') as Promise<[PacketStream]>
    const client = await RawClient.open(port)
    const size = 40 * 2 ** 20
    const writing = client.write(frame(pattern(size)))
    const [stream] = await opened
    await until(() => stream.readableLength > 0)
    let held = 0
    for (let turn = 0; turn < 40; turn++) {
      await pause(5)
      held = Math.max(held, stream.readableLength)
    }
    expect(held).toBeLessThan(8 * 2 ** 20)
    // Whether the peer's own system has taken all of it is not the same everywhere; we have not.
    expect(server.stats()?.counters.bytesIn).toBeLessThan(8 * 2 ** 20)
    let received = 0
    for await (const piece of stream) received += (piece as Buffer).length
    expect(received).toBe(size)
    await writing
  })

  test('a connection that ends in the middle ends the stream with an error', async () => {
    const { server, port } = await startServer({ framing: streaming })
    const opened = once(server, 'stream') as Promise<[PacketStream]>
    const client = await RawClient.open(port)
    await client.write(frame(pattern(5000)).subarray(0, 2000))
    const [stream] = await opened
    const failed = new Promise((resolve) => {
      stream.on('error', resolve)
    })
    client.reset()
    expect(await failed).toMatchObject({ code: expect.stringMatching(/ECONNRESET|ERR_IOCP_CLOSED/) as string })
  })

  test('nobody has to listen for that error', async () => {
    const { server, port } = await startServer({ framing: streaming })
    const opened = once(server, 'stream') as Promise<[PacketStream]>
    const client = await RawClient.open(port)
    await client.write(frame(pattern(5000)).subarray(0, 2000))
    const [stream] = await opened
    const closed = new Promise((resolve) => {
      stream.on('close', resolve)
    })
    client.reset()
    await closed
    expect(stream.readableEnded).toBe(false)
  })

  test('one that is given up swallows its rest, and the packets behind it still come', async () => {
    const { server, port } = await startServer({ framing: streaming })
    server.on('stream', (stream) => stream.destroy())
    const packet = once(server, 'packet') as Promise<[Buffer]>
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([frame(pattern(2_000_000)), frame('behind')]))
    expect(String((await packet)[0])).toBe('behind')
  })
})

test('packages of the original are read by the reader', async () => {
  const { server, port } = await startServer({ framing: framing.iocps() })
  const accepted = nextConnection(server)
  const sender = await connect({ host: '127.0.0.1', port, framing: framing.iocps() })
  const connection = await accepted
  sender.send(iocpsPackage.keys(1, [70_000], 'report.pdf'))
  const [packet] = (await once(connection, 'packet')) as [Buffer]
  const reader = new PacketReader(packet, 'little')
  expect([reader.u8(), reader.u32(), reader.string('nul', 'latin1'), reader.remaining]).toEqual([
    1,
    70_000,
    'report.pdf',
    0
  ])
  sender.destroy()
})
