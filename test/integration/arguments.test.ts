// The forms of calls, and what is wrong with them: a coded error that names the argument, and nothing has happened.
import { once } from 'node:events'
import { connect as netConnect } from 'node:net'
import { inspect } from 'node:util'
import fc from 'fast-check'
import {
  type CloseInfo,
  connect,
  type Connection,
  createClient,
  createServer,
  framing,
  iocpsPackage,
  PacketReader,
  PacketWriter
} from 'iocp'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { nextConnection, startClient, startEcho, startServer } from '../helpers/servers.js'
import { until } from '../helpers/time.js'

type Anything = (...args: unknown[]) => unknown

describe('forms of', () => {
  test('createServer and listen', async () => {
    const accepted: Connection[] = []
    const server = createServer((connection) => accepted.push(connection))
    onTestFinished(async () => {
      await server.close({ deadline: 0 })
    })
    const listen = server.listen.bind(server) as Anything as (...args: unknown[]) => Promise<{ port: number }>
    let called = 0
    const callback = (): void => {
      called++
    }
    const { port } = await listen(0, '127.0.0.1', callback)
    await server.close()
    const forms: unknown[][] = [
      [String(port), '127.0.0.1', 5, callback],
      [port, '127.0.0.1', undefined, callback],
      [{ port: ` ${port} `, host: '127.0.0.1' }, callback],
      [port, 100, callback],
      [port, callback]
    ]
    for (const form of forms) {
      expect(await listen(...form)).toMatchObject({ port })
      await server.close()
    }
    expect((await listen(callback)).port).toBeGreaterThan(0)
    expect(called).toBe(forms.length + 2)
    const connection = await connect(String(server.address()?.port), '127.0.0.1')
    await until(() => accepted.length === 1)
    connection.destroy()
  })

  test('listen: a callback of an attempt that has failed is not called by the next one', async () => {
    const { server, port } = await startServer()
    const other = createServer()
    onTestFinished(async () => {
      await other.close({ deadline: 0 })
    })
    const called: string[] = []
    const failed = other.listen(port, '127.0.0.1', () => called.push('first'))
    await expect(failed).rejects.toHaveProperty('code')
    await other.listen(0, '127.0.0.1', () => called.push('second'))
    expect(called).toEqual(['second'])
    expect(server.listening).toBe(true)
  })

  test('connect', async () => {
    const { port } = await startEcho()
    const client = startClient()
    for (const open of [connect, client.connect.bind(client)] as Anything[]) {
      const seen: unknown[] = []
      const see = (connection: unknown): void => {
        seen.push(connection)
      }
      const forms: unknown[][] = [
        [port, '127.0.0.1', see],
        [String(port), '127.0.0.1', see],
        [{ port: String(port), host: '127.0.0.1' }, see],
        [port, see]
      ]
      for (const form of forms) {
        const connection = (await open(...form)) as Connection
        expect(seen).toEqual([connection])
        seen.length = 0
        connection.destroy()
      }
    }
  })

  test('end', async () => {
    const { server, port } = await startServer()
    const texts: string[] = []
    server.on('packet', (packet) => texts.push(packet.toString()))
    const infos: CloseInfo[] = []
    const note = (info: CloseInfo): void => {
      infos.push(info)
    }
    const forms: unknown[][] = [
      ['goodbye'],
      [Buffer.from('goodbye'), { deadline: '5s' }],
      ['goodbye', note],
      ['goodbye', { deadline: 0 }, note],
      ['goodbye', undefined, note]
    ]
    for (const form of forms) {
      const connection = await connect({ host: '127.0.0.1', port })
      connection.send('before')
      expect((connection.end as Anything).apply(connection, form)).toBe(connection)
      expect(connection.state).toBe('ending')
      await connection.closed
      await until(() => texts.length === 2)
      expect(texts.splice(0)).toEqual(['before', 'goodbye'])
    }
    for (const form of [[note], [{}, note], [undefined, note]]) {
      const connection = await connect({ host: '127.0.0.1', port })
      ;(connection.end as Anything).apply(connection, form)
      await connection.closed
    }
    const closed = await connect({ host: '127.0.0.1', port })
    closed.destroy()
    await closed.closed
    closed.end(note)
    await until(() => infos.length === 7)
    expect(infos.every(({ cause }) => cause === 'local')).toBe(true)
  })

  test('end that is refused has sent nothing and ended nothing', async () => {
    const { server, port } = await startServer({ framing: framing.line() })
    const texts: string[] = []
    server.on('packet', (packet) => texts.push(packet.toString()))
    const connection = await connect({ host: '127.0.0.1', port, framing: framing.line() })
    const end = connection.end.bind(connection) as Anything
    expect(() => end('two\nlines')).toThrow(expect.objectContaining({ code: 'ERR_IOCP_PACKET_CONTENT' }))
    expect(() => end('x', { dedline: 5 })).toThrow("'dedline'")
    expect(() => end({ dedline: 5 })).toThrow("'dedline'")
    expect(() => end('x', { deadline: -1 })).toThrow("'deadline'")
    expect(() => end('x', 'latin1')).toThrow("'options'")
    expect(() => end(5)).toThrow("'data'")
    expect(() => end(new ArrayBuffer(5))).toThrow("'options'")
    expect(() => end('x', {}, 5)).toThrow("'callback'")
    expect(connection.state).toBe('open')
    connection.end('done')
    await connection.closed
    await until(() => texts.length > 0)
    expect(texts).toEqual(['done'])
  })
})

describe('groups and inspection', () => {
  test('groups of a connection', async () => {
    const { server, port } = await startServer()
    const accepted = nextConnection(server)
    const client = await connect({ host: '127.0.0.1', port })
    const connection = await accepted
    expect(connection.groups).toEqual([])
    connection.join('b').join('a').join('b')
    expect(connection.groups).toEqual(['b', 'a'])
    connection.leave('b').leave('none')
    expect(connection.groups).toEqual(['a'])
    client.destroy()
    await connection.closed
    expect(connection.groups).toEqual([])
  })

  test('servers, clients and links show themselves in a line', async () => {
    const server = createServer()
    expect(inspect(server)).toBe("{ server: 'closed', address: null, connections: 0 }")
    const listening = server.listen({ host: '127.0.0.1' })
    expect(inspect(server)).toContain("server: 'starting'")
    const { port } = await listening
    const client = createClient()
    expect(inspect(client)).toBe("{ client: 'closed', connections: 0 }")
    const connection = await client.connect({ host: '127.0.0.1', port })
    await until(() => server.connections.size === 1)
    expect(inspect(client)).toBe("{ client: 'open', connections: 1 }")
    expect(inspect(server, { breakLength: Infinity })).toBe(
      `{ server: 'listening', address: { address: '127.0.0.1', family: 'IPv4', port: ${port} }, connections: 1 }`
    )
    const link = await client.connect({ host: '127.0.0.1', port, reconnect: true })
    expect(inspect(link)).toMatch(/^\{\n? *link: 'open',\s+failures: 0,\s+connection: \{/)
    expect(inspect(connection).split('\n').length).toBeLessThan(10)
    const closing = [server.close({ deadline: 0 }), client.close({ deadline: 0 })]
    expect(inspect(server)).toContain("server: 'closing'")
    expect(inspect(client)).toContain("client: 'closing'")
    await Promise.all(closing)
    expect(inspect(server)).toContain("server: 'closed'")
    expect(inspect(client)).toBe("{ client: 'closed', connections: 0 }")
  })
})

/** What no argument of any call takes, unless it says so. */
const junk: unknown[] = [
  null,
  Number.NaN,
  -1.5,
  10n,
  Symbol('x'),
  [Symbol('y')],
  new Map(),
  new Date(0),
  new ArrayBuffer(1),
  false
]
const someJunk = fc.oneof(
  fc.constantFrom(...junk),
  fc.bigInt(),
  fc.double({ max: -1.25, noNaN: true }),
  fc.array(fc.constant({ a: 1 }), { minLength: 1 }),
  fc.uint8Array().map((bytes) => new DataView(bytes.buffer))
)

/** What a call throws, or its promise is broken with; undefined when it does neither. */
async function errorOf(call: () => unknown): Promise<unknown> {
  try {
    await call()
    return undefined
  } catch (error) {
    return error
  }
}

interface Place {
  server: ReturnType<typeof createServer>
  connection: Connection
  port: number
}

let place: Place

beforeAll(async () => {
  const server = createServer({ framing: framing.lengthField({ typeByte: true }) })
  server.on('packet', (packet, connection) => connection.send(packet))
  const { port } = await server.listen({ host: '127.0.0.1' })
  const connection = await connect({ host: '127.0.0.1', port, framing: framing.lengthField({ typeByte: true }) })
  place = { server, connection, port }
})

afterAll(async () => {
  place.connection.destroy()
  await place.server.close({ deadline: 0 })
})

const onServer =
  (name: string) =>
  (...args: unknown[]): unknown =>
    (place.server as never as Record<string, Anything>)[name]?.(...args)
const onConnection =
  (name: string) =>
  (...args: unknown[]): unknown =>
    (place.connection as never as Record<string, Anything>)[name]?.(...args)
const target = (options: object): object => ({ host: '127.0.0.1', port: place.port, ...options })
const newServer = createServer as Anything
const newClient = createClient as Anything
const open = connect as Anything
const unopened =
  (name: string) =>
  (...args: unknown[]): unknown =>
    (createServer() as never as Record<string, Anything>)[name]?.(...args)

const serverOptions = [
  'framing',
  'pendingReads',
  'readMode',
  'receive',
  'backpressure',
  'allowHalfOpen',
  'noDelay',
  'receiveBuffer',
  'sendBuffer',
  'typeOfService',
  'timeouts',
  'packetRate',
  'byteRate',
  'endDeadline',
  'copyThreshold',
  'ioThreads',
  'delivery',
  'maxFreeBuffers',
  'maxFreeContexts',
  'skipOnSuccess',
  'maxConnections',
  'onMax',
  'admission',
  'pendingAccepts',
  'workers'
]
const targetOptions = [
  'host',
  'port',
  'family',
  'localAddress',
  'localPort',
  'timeout',
  'attemptDelay',
  'signal',
  'lookup'
]
const writing = ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'f32', 'f64', 'bytes', 'string'] as const

/** A call with the junk, the name that its error has, and what it takes all the same. */
const calls: [string, (value: unknown) => unknown, string | RegExp, ...unknown[]][] = [
  ['createServer', (value) => newServer(value), 'options'],
  ['createServer, listener', (value) => newServer({}, value), 'connectionListener'],
  ...serverOptions.map((name): (typeof calls)[number] => {
    const taken = ['allowHalfOpen', 'noDelay', 'skipOnSuccess'].includes(name) ? [false] : []
    return [`createServer: ${name}`, (value) => newServer({ [name]: value }), name, ...taken]
  }),
  ...['highWater', 'lowWater', 'hardCap', 'hardCapPackets', 'onOverflow'].map((name): (typeof calls)[number] => [
    `backpressure.${name}`,
    (value) => newServer({ backpressure: { [name]: value } }),
    `backpressure.${name}`
  ]),
  ...['answerTimeout', 'stallTimeout', 'maxFileSize', 'directory', 'maxPerConnection', 'bytesPerSecond', 'method'].map(
    (name): (typeof calls)[number] => [
      `transfer.${name}`,
      (value) => newServer({ transfer: { [name]: value } }),
      `transfer.${name}`
    ]
  ),
  ['createClient', (value) => newClient(value), 'options'],
  ['listen', (value) => unopened('listen')(value), /options|port|callback/],
  ['listen, host', (value) => unopened('listen')(0, value), /host|backlog/],
  ['listen, backlog', (value) => unopened('listen')(0, '127.0.0.1', value), 'backlog'],
  ['listen, callback', (value) => unopened('listen')(0, '127.0.0.1', 5, value), 'callback'],
  ['listen options, callback', (value) => unopened('listen')({}, value), 'callback'],
  ...['port', 'host', 'backlog', 'exclusive'].map((name): (typeof calls)[number] => [
    `listen: ${name}`,
    (value) => unopened('listen')({ [name]: value }),
    name,
    ...(name === 'exclusive' ? [false] : [])
  ]),
  ['connect', (value) => open(value), /options|port/],
  ['connect, host', (value) => open(place.port, value), 'host'],
  ['connect, listener', (value) => open(target({}), value), 'connectListener'],
  ...targetOptions.map((name): (typeof calls)[number] => [
    `connect: ${name}`,
    (value) => open(target({ [name]: value })),
    name
  ]),
  ['connect: reconnect', (value) => open(target({ reconnect: value })), 'reconnect', false],
  ...['maxAttempts', 'minDelay', 'maxDelay', 'factor', 'jitter', 'onRetry'].map((name): (typeof calls)[number] => [
    `reconnect.${name}`,
    (value) => open(target({ reconnect: { [name]: value } })),
    `reconnect.${name}`
  ]),
  ['lookup gives', (value) => open(target({ host: 'a.test', lookup: () => value })), 'lookup'],
  ['lookup gives a list of', (value) => open(target({ host: 'a.test', lookup: () => [value] })), 'lookup'],
  [
    'lookup gives an address',
    (value) => open(target({ host: 'a.test', lookup: () => [{ address: value }] })),
    'lookup'
  ],
  ['broadcast', (value) => onServer('broadcast')(value), 'data'],
  ['broadcast, options', (value) => onServer('broadcast')('x', value), 'options'],
  ['broadcast: to', (value) => onServer('broadcast')('x', { to: value }), 'to', new Map()],
  ['broadcast: to a list', (value) => onServer('broadcast')('x', { to: [value] }), 'to'],
  ['broadcast: except', (value) => onServer('broadcast')('x', { except: value }), 'except'],
  ['broadcast: group', (value) => onServer('broadcast')('x', { group: value }), 'group'],
  ['broadcastFile', (value) => onServer('broadcastFile')(value), 'path'],
  ['broadcastFile, options', (value) => onServer('broadcastFile')('x', value), 'options'],
  ['broadcastFile: to', (value) => onServer('broadcastFile')('x', { to: value }), 'to', new Map()],
  ['broadcastFile: chunk', (value) => onServer('broadcastFile')('x', { to: [], chunk: value }), 'chunk'],
  ['group', (value) => onServer('group')(value), 'name'],
  ['disconnect', (value) => onServer('disconnect')(value), 'which', Number.NaN, -1.5],
  ['disconnect, options', (value) => onServer('disconnect')(1, value), 'options'],
  ['disconnectAll', (value) => onServer('disconnectAll')(value), 'options'],
  ['close', (value) => onServer('close')(value), 'options'],
  ['close: deadline', (value) => onServer('close')({ deadline: value }), 'deadline'],
  ['send', (value) => onConnection('send')(value), 'data'],
  ['send, onSent', (value) => onConnection('send')('x', value), 'onSent'],
  ['sendAsync', (value) => onConnection('sendAsync')(value), 'data'],
  ['end', (value) => onConnection('end')(value), /options|data/],
  ['end: deadline', (value) => onConnection('end')('x', { deadline: value }), 'deadline'],
  ['demand', (value) => onConnection('demand')(value), 'packets'],
  ['setFraming', (value) => onConnection('setFraming')(value), 'framing'],
  ['join', (value) => onConnection('join')(value), 'group'],
  ['leave', (value) => onConnection('leave')(value), 'group'],
  ['sendFile', (value) => onConnection('sendFile')(value), 'path'],
  ['sendFile, options', (value) => onConnection('sendFile')('x', value), 'options'],
  ...['name', 'offset', 'length', 'mode', 'chunk', 'metadata', 'bytesPerSecond', 'signal', 'onProgress'].map(
    (name): (typeof calls)[number] => [
      `sendFile: ${name}`,
      (value) => onConnection('sendFile')('x', { [name]: value }),
      name
    ]
  ),
  ['receiveFile', (value) => onConnection('receiveFile')(value), /options|path/],
  ['receiveFile: path', (value) => onConnection('receiveFile')({ path: value, bytes: 5 }), 'path'],
  ['receiveFile: bytes', (value) => onConnection('receiveFile')({ path: 'x', bytes: value }), 'bytes'],
  ['PacketReader', (value) => new PacketReader(value as never), 'packet'],
  ['PacketReader, endian', (value) => new PacketReader(Buffer.alloc(1), value as never), 'endian'],
  ['PacketReader.skip', (value) => new PacketReader(Buffer.alloc(1)).skip(value as never), 'length'],
  ['PacketReader.bytes', (value) => new PacketReader(Buffer.alloc(1)).bytes(value as never), 'length'],
  ['PacketReader.string, end', (value) => new PacketReader(Buffer.alloc(1)).string(value as never), 'end'],
  [
    'PacketReader.string, encoding',
    (value) => new PacketReader(Buffer.alloc(1)).string('nul', value as never),
    'encoding'
  ],
  ['PacketWriter, endian', (value) => new PacketWriter(value as never), 'endian'],
  ['PacketWriter, capacity', (value) => new PacketWriter('big', value as never), 'capacity'],
  ['PacketWriter.string, end', (value) => new PacketWriter().string('x', value as never), 'end'],
  ['PacketWriter.string, encoding', (value) => new PacketWriter().string('x', 'nul', value as never), 'encoding'],
  ['iocpsPackage.keys', (value) => iocpsPackage.keys(1, value as never, 'x'), /keys|value/],
  ['iocpsPackage.bytes', (value) => iocpsPackage.bytes(1, 1, value as never), 'value'],
  ...Object.entries(framing)
    .filter(([name]) => name !== 'raw')
    .map(([name, build]): (typeof calls)[number] => [
      `framing.${name}`,
      (value) => (build as Anything)(value),
      /options|bytes/
    ])
]

describe('what is wrong is refused by a coded error that names it', () => {
  test.each(calls)('%s', async (_, call, name, ...taken) => {
    const names = (value: unknown): boolean =>
      taken.some((one) => Object.is(one, value) || (one instanceof Map && value instanceof Map))
    await fc.assert(
      fc.asyncProperty(someJunk, async (value) => {
        if (names(value) || (typeof value === 'number' && taken.some((one) => typeof one === 'number'))) return
        const error = await errorOf(() => call(value))
        expect(error, `${inspect(value)} was taken`).toBeInstanceOf(Error)
        const { code, message } = error as { code?: unknown; message: string }
        expect(typeof code, inspect(error)).toBe('string')
        expect(message).toMatch(name)
      }),
      { examples: junk.map((value): [unknown] => [value]), numRuns: 30 }
    )
    // Nothing has happened.
    expect(place.connection.state).toBe('open')
    expect(place.server.listening).toBe(true)
    expect(place.connection.groups).toEqual([])
  })

  test.each(writing)('PacketWriter.%s, and it has written nothing', (kind) => {
    for (const value of junk) {
      if ((kind === 'f32' || kind === 'f64') && typeof value === 'number') continue
      const writer = new PacketWriter().u8(1)
      const write = (writer as never as Record<string, Anything>)[kind]?.bind(writer) as Anything
      expect(() => write(value), inspect(value)).toThrow(
        expect.objectContaining({ code: expect.any(String) as string })
      )
      expect(() => write(value)).toThrow(/value/)
      expect(writer.size).toBe(1)
    }
    expect(() => new PacketWriter().u64(1.5)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }))
    expect(() => new PacketWriter().i64('x' as never)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' })
    )
    expect(() => new PacketWriter().u64(-1n)).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }))
    expect(() => new PacketWriter().u8(256)).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }))
  })

  test.each<[string, object, string]>([
    ['a local address that is none', { localAddress: 'localhost' }, 'localAddress'],
    ['one of the other family', { localAddress: '::1' }, 'localAddress'],
    [
      'one that contradicts the option family',
      { host: 'a.test', family: 6, localAddress: '127.0.0.1' },
      'localAddress'
    ],
    ['one whose scope does not exist', { host: '::1', localAddress: 'fe80::1%nosuch' }, 'localAddress'],
    ['a host whose scope does not exist', { host: 'fe80::1%nosuch' }, 'host'],
    ['a host whose scope is no number that there is', { host: 'fe80::1%4294967296' }, 'host'],
    ['a host with a byte 0', { host: 'localhost\0.test' }, 'host'],
    ['a port beyond the last', { port: '65536' }, 'port'],
    ['a port that is no number', { port: '80a' }, 'port'],
    ['no port', { port: '' }, 'port'],
    ['a lookup that gives a name', { host: 'a.test', lookup: () => [{ address: 'b.test', family: 4 }] }, 'lookup'],
    ['a lookup that gives nothing', { host: 'a.test', lookup: () => undefined }, 'lookup']
  ])('connect with %s', async (_, options, name) => {
    const error = await errorOf(() => open(target(options)))
    expect(error).toMatchObject({ code: 'ERR_IOCP_INVALID_OPTION', option: name })
  })

  test('listen on a host whose scope does not exist, or with a byte 0', async () => {
    for (const host of ['fe80::1%nosuch', 'localhost\0x']) {
      expect(await errorOf(() => createServer().listen({ host }))).toMatchObject({
        code: 'ERR_IOCP_INVALID_OPTION',
        option: 'host'
      })
    }
  })

  test('a group beside a list of connections', () => {
    expect(() => place.server.broadcast('x', { to: [], group: 'a' })).toThrow("'group'")
  })

  test('framings of protocols take nothing that the protocol says', () => {
    expect(() => (framing.iocps as Anything)({ bytes: 2 })).toThrow("'bytes'")
    expect(() => (framing.erlang as Anything)(4, { endian: 'little' })).toThrow("'endian'")
  })

  test('and all of it goes on', async () => {
    const answer = once(place.connection, 'packet')
    place.connection.send('\x01still')
    expect(String((await answer)[0])).toBe('\x01still')
    expect(place.server.connections.size).toBe(1)
  })
})

test('from an address of one family, only addresses of a name that are of the same are tried', async () => {
  const { port } = await startEcho({}, '::')
  const lookup = (): Promise<{ address: string; family: number }[]> =>
    Promise.resolve([
      { address: '::1', family: 6 },
      { address: '127.0.0.1', family: 4 }
    ])
  for (const [localAddress, family] of [
    ['127.0.0.1', 'IPv4'],
    ['::1', 'IPv6']
  ] as const) {
    const connection = await connect({ host: 'a.test', port, lookup, localAddress })
    expect(connection.remoteFamily).toBe(family)
    connection.destroy()
  }
})

test('a client of another making sees goodbye, and then the end', async () => {
  const { server, port } = await startServer({ framing: framing.raw() })
  server.on('connection', (connection) => connection.end('goodbye'))
  const socket = netConnect(port, '127.0.0.1')
  const pieces: Buffer[] = []
  socket.on('data', (piece) => pieces.push(piece))
  await once(socket, 'end')
  expect(Buffer.concat(pieces).toString()).toBe('goodbye')
  socket.destroy()
})
