import { once } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Connection, framing, type PacketStream, type ServerOptions } from 'iocp'
import { describe, expect, test } from 'vitest'
import { frame, pattern } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'
import { startServer } from '../helpers/servers.js'
import { never, pause, until } from '../helpers/time.js'
import { catchUncaught } from '../helpers/uncaught.js'

const streaming = framing.lengthField({ maxPacket: '64MiB', streamAbove: '64KiB' })
const LARGE = 100_000

/** How a program may read a stream: each gives all its bytes, and runs on when it has had the end. */
const readers: [name: string, read: (stream: PacketStream) => Promise<Buffer>][] = [
  [
    'for await',
    async (stream) => {
      const pieces: Buffer[] = []
      for await (const piece of stream as AsyncIterable<Buffer>) pieces.push(piece)
      return Buffer.concat(pieces)
    }
  ],
  [
    'for await, slowly',
    async (stream) => {
      const pieces: Buffer[] = []
      for await (const piece of stream as AsyncIterable<Buffer>) {
        pieces.push(piece)
        await pause(2)
      }
      return Buffer.concat(pieces)
    }
  ],
  [
    'a data listener',
    (stream) =>
      new Promise((resolve) => {
        const pieces: Buffer[] = []
        stream.on('data', (piece: Buffer) => pieces.push(piece))
        stream.on('end', () => {
          resolve(Buffer.concat(pieces))
        })
      })
  ],
  [
    'a data listener that comes late and pauses',
    async (stream) => {
      await pause(30)
      const pieces: Buffer[] = []
      stream.on('data', (piece: Buffer) => {
        pieces.push(piece)
        stream.pause()
        setTimeout(() => stream.resume(), 1)
      })
      await once(stream, 'end')
      return Buffer.concat(pieces)
    }
  ],
  [
    'read() a few bytes at a time',
    (stream) =>
      new Promise((resolve) => {
        const pieces: Buffer[] = []
        stream.on('readable', () => {
          for (let piece: unknown; (piece = stream.read(Math.min(1000, stream.readableLength || 1))) !== null;) {
            pieces.push(piece as Buffer)
          }
        })
        stream.on('end', () => {
          resolve(Buffer.concat(pieces))
        })
      })
  ]
]

/** A server that notes what happens, and reads each stream. */
async function startReading(read: (stream: PacketStream) => Promise<Buffer>, options: ServerOptions = {}) {
  const { server, port } = await startServer({ framing: streaming, ...options })
  const seen: string[] = []
  server.on('packet', (packet) => seen.push(`packet ${String(packet)}`))
  server.on('end', () => seen.push('end'))
  server.on('disconnect', (info) => seen.push(`disconnect ${info.cause}`))
  const note = async (stream: PacketStream): Promise<void> => {
    try {
      const bytes = await read(stream)
      seen.push(bytes.equals(pattern(stream.size)) ? 'all of it' : `wrong: ${bytes.length}`)
    } catch (error) {
      seen.push(`error ${String((error as NodeJS.ErrnoException).code)}`)
    }
  }
  server.on('stream', (stream) => {
    seen.push(`stream ${stream.size}`)
    void note(stream)
  })
  return { server, port, seen }
}

/** Waits for 'disconnect', however it came. */
async function untilClosed(seen: readonly string[]): Promise<void> {
  await until(() => seen.at(-1)?.startsWith('disconnect') === true)
}

const drop = (stream: PacketStream): Promise<Buffer> => {
  stream.destroy()
  return Promise.resolve(pattern(stream.size))
}
const leave = (): Promise<Buffer> => never()

describe.each(readers)('a stream read by %s', (_, read) => {
  test('is followed by the packets behind it, the end and the close', async () => {
    const { port, seen } = await startReading(read)
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([frame(pattern(LARGE)), frame('next')]))
    client.end()
    await untilClosed(seen)
    expect(seen).toEqual([`stream ${LARGE}`, 'all of it', 'packet next', 'end', 'disconnect peer-end'])
  })

  test('is over before the next packet or stream comes', async () => {
    const { port, seen } = await startReading(read)
    const client = await RawClient.open(port)
    const sizes = [LARGE, 1_000_000, 65_537, 300_000]
    client.socket.write(Buffer.concat(sizes.flatMap((size) => [frame('before'), frame(pattern(size)), frame('')])))
    client.end()
    await untilClosed(seen)
    expect(seen).toEqual([
      ...sizes.flatMap((size) => ['packet before', `stream ${size}`, 'all of it', 'packet ']),
      'end',
      'disconnect peer-end'
    ])
  })

  test('is followed by the close when the peer resets behind it', async () => {
    const { server, port, seen } = await startReading(read)
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([frame(pattern(LARGE)), frame('next')]))
    await until(() => (server.stats()?.counters['bytesIn'] ?? 0) >= LARGE + 12)
    client.reset()
    await untilClosed(seen)
    // The system may show a reset as an end.
    const told = seen.filter((one) => one !== 'end').map((one) => one.replace('peer-end', 'peer-reset'))
    expect(told).toEqual([`stream ${LARGE}`, 'all of it', 'packet next', 'disconnect peer-reset'])
  })

  test.each(['reset', 'end'] as const)(
    'fails when the peer %ss in the middle, and the close comes behind that',
    async (how) => {
      const { server, port, seen } = await startReading(read)
      const failed: unknown[] = []
      server.on('stream', (stream) => stream.on('error', (error: NodeJS.ErrnoException) => failed.push(error.code)))
      const client = await RawClient.open(port)
      await client.write(frame(pattern(LARGE)).subarray(0, 50_000))
      await until(() => seen.length > 0)
      client[how]()
      await until(() => seen.some((one) => one.startsWith('disconnect')))
      // The system may show a reset as an end.
      expect(failed).toEqual([
        expect.stringMatching(how === 'end' ? /^ERR_IOCP_CLOSED$/ : /^(ECONNRESET|ERR_IOCP_CLOSED)$/)
      ])
      expect(seen[0]).toBe(`stream ${LARGE}`)
      expect(seen).not.toContain('all of it')
      expect(seen.filter((one) => one === 'end').length).toBeLessThanOrEqual(1)
      if (how === 'end')
        expect(seen.filter((one) => !one.startsWith('error')).slice(1)).toEqual(['end', 'disconnect peer-end'])
    }
  )
})

describe('a stream that nobody reads', () => {
  test('stops the peer, whatever comes behind it, and other connections go on', async () => {
    const { server, port, seen } = await startReading(leave)
    const client = await RawClient.open(port)
    client.socket.write(frame(pattern(LARGE)))
    // More than all buffers of the system together.
    const behind = Buffer.concat(Array.from({ length: 1024 }, () => frame(pattern(16 * 1024))))
    client.socket.write(behind)
    client.socket.write(behind)
    await until(() => seen.length > 0)
    const other = await RawClient.open(port)
    for (let round = 0; round < 50; round++) {
      await other.write(frame(`other ${round}`))
      await pause(2)
    }
    other.end()
    await until(() => seen.includes('disconnect peer-end'))
    expect(seen).toEqual([
      `stream ${LARGE}`,
      ...Array.from({ length: 50 }, (_, round) => `packet other ${round}`),
      'end',
      'disconnect peer-end'
    ])
    expect(client.socket.writableLength).toBeGreaterThan(0)
    expect(server.stats()?.counters['bytesIn']).toBeLessThan(8 * 2 ** 20)
  })

  test('ends with destroy()', async () => {
    const { server, port, seen } = await startReading(leave)
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([frame(pattern(LARGE)), frame('next')]))
    await until(() => seen.length > 0)
    for (const connection of server.connections) connection.destroy()
    await untilClosed(seen)
    expect(seen).toEqual([`stream ${LARGE}`, 'disconnect local'])
    await client.readToEnd()
  })

  test.each([0, 200])('ends with the server, deadline %d', async (deadline) => {
    const { server, port, seen } = await startReading(leave)
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([frame(pattern(LARGE)), frame('next')]))
    await until(() => seen.length > 0)
    await server.close({ deadline })
    expect(seen[0]).toBe(`stream ${LARGE}`)
    expect(seen.filter((one) => one.startsWith('disconnect'))).toHaveLength(1)
    expect(seen).not.toContain('packet next')
  })

  test('can be given up later: what is behind it comes then', async () => {
    const streams: PacketStream[] = []
    const { port, seen } = await startReading((stream) => {
      streams.push(stream)
      return leave()
    })
    const client = await RawClient.open(port)
    client.socket.write(Buffer.concat([frame(pattern(2_000_000)), frame('next'), frame(pattern(LARGE)), frame('last')]))
    client.end()
    await until(() => seen.length > 0)
    await pause(20)
    expect(seen).toEqual(['stream 2000000'])
    streams[0]?.destroy()
    await until(() => seen.length > 2)
    streams[1]?.destroy()
    await untilClosed(seen)
    expect(seen).toEqual([
      'stream 2000000',
      'packet next',
      `stream ${LARGE}`,
      'packet last',
      'end',
      'disconnect peer-end'
    ])
  })

  test('is kept while nobody listens; resume() throws it away', async () => {
    const { server, port } = await startServer({ framing: streaming })
    const seen: string[] = []
    server.on('disconnect', () => seen.push('disconnect'))
    const accepted = once(server, 'connection') as Promise<[Connection]>
    const client = await RawClient.open(port)
    client.socket.write(Buffer.concat([frame(pattern(2_000_000)), frame('next'), frame(pattern(LARGE))]))
    client.end()
    const [connection] = await accepted
    connection.on('packet', (packet) => seen.push(String(packet)))
    await pause(30)
    expect(seen).toEqual([])
    connection.resume()
    await until(() => seen.length === 2)
    expect(seen).toEqual(['next', 'disconnect'])
  })
})

describe('a stream that is destroyed', () => {
  test('in its handler: thousands of them, with packets in between', async () => {
    const { port, seen } = await startReading(drop, { framing: framing.lengthField({ streamAbove: 1 }) })
    const client = await RawClient.open(port)
    const one = Buffer.concat([frame('ab'), frame('c')])
    client.socket.write(Buffer.concat(Array.from({ length: 2000 }, () => one)))
    client.end()
    await untilClosed(seen)
    expect(seen.filter((what) => what === 'packet c')).toHaveLength(2000)
    expect(seen.filter((what) => what === 'stream 2')).toHaveLength(2000)
    for (let at = 0; at < 6000; at += 3) expect(seen[at]).toBe('stream 2')
  })

  test('in the middle: what the reader has not taken does not come, what is behind it does', async () => {
    const { port, seen } = await startReading(async (stream) => {
      for await (const piece of stream as AsyncIterable<Buffer>) if (piece.length > 0) break
      return pattern(stream.size)
    })
    const client = await RawClient.open(port)
    client.socket.write(Buffer.concat([frame(pattern(5_000_000)), frame('next')]))
    client.end()
    await untilClosed(seen)
    expect(seen).toEqual(['stream 5000000', 'all of it', 'packet next', 'end', 'disconnect peer-end'])
  })
})

describe('a stream meets', () => {
  const [, slowly] = readers[1] ?? []
  const read = slowly ?? leave

  test('pause and resume of its connection', async () => {
    const { server, port, seen } = await startReading(read)
    server.on('stream', (_stream, connection) => {
      connection.pause()
      setTimeout(() => connection.resume(), 50)
    })
    const client = await RawClient.open(port)
    client.socket.write(Buffer.concat([frame(pattern(1_000_000)), frame('next')]))
    client.end()
    await untilClosed(seen)
    expect(seen).toEqual(['stream 1000000', 'all of it', 'packet next', 'end', 'disconnect peer-end'])
  })

  test('a pause behind it: the packets wait for both', async () => {
    const { server, port, seen } = await startReading(read)
    let paused: Connection | undefined
    server.on('stream', (stream, connection) => {
      stream.on('end', () => {
        paused = connection.pause()
      })
    })
    const client = await RawClient.open(port)
    client.socket.write(Buffer.concat([frame(pattern(LARGE)), frame('next')]))
    client.end()
    await until(() => seen.includes('all of it'))
    await pause(30)
    expect(seen).toEqual([`stream ${LARGE}`, 'all of it'])
    paused?.resume()
    await untilClosed(seen)
    expect(seen.slice(2)).toEqual(['packet next', 'end', 'disconnect peer-end'])
  })

  test('packets on demand', async () => {
    const { server, port, seen } = await startReading(read, { receive: 1 })
    server.on('packet', (_packet, connection) => connection.demand())
    server.on('stream', (stream, connection) => {
      stream.on('close', () => connection.demand())
    })
    const client = await RawClient.open(port)
    client.socket.write(Buffer.concat([frame('a'), frame(pattern(LARGE)), frame(pattern(LARGE)), frame('b')]))
    client.end()
    await untilClosed(seen)
    expect(seen).toEqual([
      'packet a',
      ...[1, 2].flatMap(() => [`stream ${LARGE}`, 'all of it']),
      'packet b',
      'end',
      'disconnect peer-end'
    ])
  })

  test.each<[string, ServerOptions]>([
    ['flowing', {}],
    ['on demand', { receive: 0 }]
  ])('an iteration, %s: it waits for the end of the stream', async (_, options) => {
    const { server, port, seen } = await startReading(read, options)
    const take = async (connection: Connection): Promise<void> => {
      for await (const packet of connection) seen.push(`taken ${String(packet)}`)
      seen.push('done')
    }
    server.on('connection', (connection) => {
      void take(connection)
    })
    const client = await RawClient.open(port)
    client.socket.write(Buffer.concat([frame('a'), frame(pattern(LARGE)), frame(pattern(LARGE)), frame('b')]))
    client.end()
    await until(() => seen.at(-1) === 'done')
    expect(seen).toEqual([
      'taken a',
      ...[1, 2].flatMap(() => [`stream ${LARGE}`, 'all of it']),
      'taken b',
      'end',
      'disconnect peer-end',
      'done'
    ])
  })

  test('an iteration, and nobody listens for it: the close is told all the same', async () => {
    const { server, port } = await startServer({ framing: streaming })
    const accepted = once(server, 'connection') as Promise<[Connection]>
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([frame('a'), frame(pattern(70_000)), frame('b')]))
    const [connection] = await accepted
    const taken: string[] = []
    const loop = (async () => {
      for await (const packet of connection) taken.push(String(packet))
    })()
    await until(() => taken.length === 1)
    connection.reset()
    await loop
    expect(taken).toEqual(['a'])
    expect(connection.state).toBe('closed')
  })

  test('an iteration over it that is forgotten at its last byte: what is behind it comes', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const { port, seen } = await startReading(async (stream) => {
      const iterator = stream[Symbol.asyncIterator]()
      for (let bytes = 0; bytes < stream.size;) bytes += ((await iterator.next()).value as Buffer).length
      return pattern(stream.size)
    })
    const client = await RawClient.open(port)
    client.socket.write(Buffer.concat([frame(pattern(LARGE)), frame('next')]))
    client.end()
    await until(() => seen.includes('all of it'))
    await until(() => {
      collect()
      return seen.includes('disconnect peer-end')
    })
    expect(seen).toEqual([`stream ${LARGE}`, 'all of it', 'packet next', 'end', 'disconnect peer-end'])
  })

  test('another framing', async () => {
    const { server, port, seen } = await startReading(read, { receive: 1 })
    server.on('stream', (stream, connection) => {
      connection.setFraming(framing.line())
      stream.on('end', () => connection.demand(100))
    })
    const client = await RawClient.open(port)
    client.socket.write(Buffer.concat([frame(pattern(LARGE)), Buffer.from('a line\nanother\n')]))
    client.end()
    await untilClosed(seen)
    expect(seen).toEqual([
      `stream ${LARGE}`,
      'all of it',
      'packet a line',
      'packet another',
      'end',
      'disconnect peer-end'
    ])
  })

  test('an exception from its handler: what is behind it comes', async () => {
    const caught = catchUncaught()
    const { server, port } = await startServer({ framing: streaming })
    const seen: string[] = []
    server.on('packet', (packet) => seen.push(String(packet)))
    server.on('disconnect', () => seen.push('disconnect'))
    server.on('stream', (stream) => {
      if (stream.size === LARGE) throw new Error('before reading')
      stream.resume()
      stream.on('end', () => {
        throw new Error('at its end')
      })
    })
    const client = await RawClient.open(port)
    client.socket.write(Buffer.concat([frame(pattern(LARGE)), frame('a'), frame(pattern(LARGE + 1)), frame('b')]))
    client.end()
    await until(() => seen.length === 3)
    expect(seen).toEqual(['a', 'b', 'disconnect'])
    expect(caught.map((error) => (error as Error).message)).toEqual(['before reading', 'at its end'])
  })
})
