/**
 * What a framing delivers, its encoder takes, and delivers again unchanged at the other end, whatever its options are:
 * the real addon decodes, what it delivered is sent, and the real addon decodes that.
 */

import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { connect, createServer, type Framing, framing, type Server } from 'iocp'
import { expect, test } from 'vitest'
import { frame } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'
import { startEcho, startServer } from '../helpers/servers.js'
import { until } from '../helpers/time.js'

const limits = {
  maxPacket: fc.oneof(fc.integer({ min: 0, max: 12 }), fc.constant(1000)),
  onOversize: fc.constantFrom<'close' | 'discard'>('close', 'discard'),
  failFast: fc.boolean(),
  typeByte: fc.boolean()
}
const streams = {
  ...limits,
  streamAbove: fc.oneof(
    { weight: 2, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 8 }) }
  )
}

/** Only what is given: undefined is no value of an option. */
function given<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}

const lengthFields = fc
  .record({
    ...streams,
    bytes: fc.constantFrom<1 | 2 | 3 | 4 | 8>(1, 2, 3, 4, 8),
    offset: fc.integer({ min: 0, max: 4 }),
    endian: fc.constantFrom<'big' | 'little'>('big', 'little'),
    adjustment: fc.integer({ min: -10, max: 10 }),
    strip: fc.option(fc.integer({ min: 0, max: 14 }), { nil: undefined })
  })
  .map((options) => framing.lengthField(given(options) as Parameters<typeof framing.lengthField>[0]))

const framings: fc.Arbitrary<Framing> = fc.oneof(
  { weight: 4, arbitrary: lengthFields },
  {
    weight: 3,
    arbitrary: fc
      .record({ ...limits, strip: fc.boolean(), endOfLine: fc.constantFrom<'\n' | '\r\n'>('\n', '\r\n') })
      .map((options) => framing.line(options))
  },
  {
    weight: 3,
    arbitrary: fc
      .record({
        ...limits,
        strip: fc.boolean(),
        delimiters: fc.constantFrom(['\n', '\r\n'], ['aa'], ['b', 'ab', 'aab'], ['\r\n\r\n'], ['\r', '\n', 'a'])
      })
      .map((options) => framing.delimiter(options))
  },
  fc.record({ ...streams }).map((options) => framing.varint(given(options) as Parameters<typeof framing.varint>[0])),
  fc
    .record({ ...streams, flag: fc.constantFrom(0, 5) })
    .map((options) => framing.hpSocketPack(given(options) as Parameters<typeof framing.hpSocketPack>[0])),
  fc
    .tuple(fc.constantFrom<1 | 2 | 4>(1, 2, 4), fc.record({ ...streams }))
    .map(([bytes, options]) => framing.erlang(bytes, given(options) as Parameters<typeof framing.erlang>[1])),
  fc.record({ ...streams }).map((options) => framing.iocps(given(options) as Parameters<typeof framing.iocps>[0])),
  fc.record({ bytes: fc.integer({ min: 1, max: 9 }), typeByte: fc.boolean() }).map((options) => framing.fixed(options)),
  fc.constant(framing.raw())
)

/** Bytes that mean something to one framing or other, and frames that are right or nearly so. */
const letters = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(0, 1, 2, 3, 5, 0x0a, 0x0d, 0x61, 0x62, 0x80, 0xf0, 0xf4, 0xff) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 255 }) }
)
const pieces = fc.oneof(
  fc.array(letters, { maxLength: 12 }).map((bytes) => Buffer.from(bytes)),
  fc
    .tuple(
      fc.constantFrom(1, 2, 4, 8),
      fc.boolean(),
      fc.array(letters, { maxLength: 12 }),
      fc.integer({ min: -3, max: 3 })
    )
    .map(([bytes, isBig, body, off]) => {
      const header = Buffer.alloc(bytes)
      header[isBig ? bytes - 1 : 0] = Math.max(0, body.length + off)
      return Buffer.concat([header, Buffer.from(body)])
    }),
  fc.array(letters, { maxLength: 8 }).map((bytes) => Buffer.concat([Buffer.from(bytes), Buffer.from('\r\n')])),
  fc.array(letters, { maxLength: 8 }).map((bytes) => Buffer.concat([Buffer.from(bytes), Buffer.from('\n')]))
)
const inputs = fc.array(pieces, { maxLength: 10 }).map((list) => Buffer.concat(list))

type Deliver = (input: Buffer) => Promise<{ packets: Buffer[]; back: Buffer }>

/** Gives `body` what tells which packets a server of this framing delivers of some bytes; each is sent back. */
async function withServer(made: Framing, body: (deliver: Deliver) => Promise<void>): Promise<void> {
  const server: Server = createServer({ framing: made, ioThreads: 1, allowHalfOpen: true })
  let packets: Buffer[] = []
  const failures: unknown[] = []
  const take = (packet: Buffer): unknown => packets.push(packet)
  server.on('packet', (packet, connection) => {
    try {
      take(Buffer.from(packet))
      if (connection.send(packet) !== 'sent') failures.push(new Error('not sent'))
    } catch (error) {
      failures.push(error)
    }
  })
  server.on('stream', (stream, connection) => {
    const parts: Buffer[] = []
    stream.on('data', (part: Buffer) => parts.push(part))
    stream.on('end', () => {
      try {
        take(Buffer.concat(parts))
        connection.send(Buffer.concat(parts))
      } catch (error) {
        failures.push(error)
      }
    })
  })
  server.on('end', (connection) => {
    // Behind the streams, whose ends come in ticks of their own.
    setImmediate(() => connection.end())
  })
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 })
  try {
    await body(async (input) => {
      packets = []
      const client = await RawClient.open(port, { allowHalfOpen: true })
      if (input.length > 0) client.socket.write(input)
      client.end()
      const back = await client.readToEnd()
      expect(failures).toEqual([])
      // A frame that is corrupt, or too large, resets the connection, and what was sent back may be lost with it.
      return { packets, back: client.over === 'end' ? back : Buffer.alloc(0) }
    })
  } finally {
    await server.close({ deadline: 0 })
  }
}

test('every framing, whatever comes', { timeout: 600_000 }, async () => {
  let sent = 0
  await fc.assert(
    fc.asyncProperty(framings, inputs, (made, input) =>
      withServer(made, async (deliver) => {
        const first = await deliver(input)
        if (first.back.length === 0) return
        sent += first.packets.length
        const second = await deliver(first.back)
        // Without a framing the pieces may be others, the bytes are not.
        const shown = (packets: Buffer[]): unknown => (made.kind === 'raw' ? Buffer.concat(packets) : packets)
        expect(shown(second.packets)).toEqual(shown(first.packets))
        // And so for ever: the second time the wire is the same too.
        expect(second.back).toEqual(first.back)
      })
    ),
    { numRuns: 150, seed: 15, endOnFailure: true, interruptAfterTimeLimit: 500_000 }
  )
  expect(sent).toBeGreaterThan(100)
})

test.each<[string, Framing, string]>([
  ['a line that ends with CR', framing.line(), 'a\r\r\n\r\r\nb\n'],
  ['the same with CRLF', framing.line({ endOfLine: '\r\n' }), 'a\r\r\r\nb\r\n'],
  ['with its end', framing.line({ strip: false }), 'a\r\r\nb\n\r\n'],
  ['the seam of the first delimiter', framing.delimiter({ delimiters: ['b', 'ab'] }), 'xaabxb']
])('%s comes back byte for byte', async (_, made, wire) => {
  await withServer(made, async (deliver) => {
    const { back } = await deliver(Buffer.from(wire))
    expect(String(back)).toBe(wire)
  })
})

test('the largest packet comes back with the default marks', { timeout: 120_000 }, async () => {
  const { port } = await startEcho({ framing: framing.lengthField({ maxPacket: '32MiB' }) })
  const client = await RawClient.open(port)
  const large = frame(Buffer.alloc(17 * 2 ** 20, 'large'))
  client.socket.write(large)
  expect((await client.read(large.length)).equals(large)).toBe(true)
})

test('send refuses what would kill the peer: types that are reserved for files', async () => {
  const typed = framing.lengthField({ typeByte: true })
  const { port } = await startEcho({ framing: typed })
  const connection = await connect({ host: '127.0.0.1', port, framing: typed })
  for (const data of [Buffer.of(0xf0), Buffer.of(0xf7, 1, 2), '\u{1f600}']) {
    expect(() => connection.send(data)).toThrow(expect.objectContaining({ code: 'ERR_IOCP_PACKET_CONTENT' }))
  }
  connection.send(Buffer.of(0xf8, 1))
  const [packet] = (await once(connection, 'packet')) as [Buffer]
  expect([...packet]).toEqual([0xf8, 1])
  connection.destroy()
})

test('a worker cannot send what the framing of a connection, changed since, would change', async () => {
  const typed = framing.lengthField({ typeByte: true })
  const module = fileURLToPath(new URL('../fixtures/jobs.mjs', import.meta.url))
  const { server, port } = await startServer({ framing: typed, workers: { module, count: 1, route: [0x10] } })
  const drops: unknown[] = []
  server.on('drop', (info) => drops.push(info))
  server.on('packet', (_, connection) => {
    connection.setFraming({ receive: typed, send: framing.line() })
    connection.send('go')
  })
  const client = await RawClient.open(port)
  await client.write(frame(Buffer.of(1)))
  expect(String(await client.read(3))).toBe('go\n')
  await client.write(Buffer.concat(['\x10one', '\x10a\nb', '\x10two\r', '\x10end'].map((text) => frame(text))))
  const wanted = '\x10one\n\x10two\r\r\n\x10end\n'
  expect(String(await client.read(wanted.length))).toBe(wanted)
  await until(() => drops.length === 1)
  expect(drops).toEqual([{ packets: 1, bytes: 4, reason: 'framing' }])
})
