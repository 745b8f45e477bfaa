import { describe, expect, test } from 'vitest'
import { IocpError } from '../../lib/common/errors.js'
import { withFraming } from '../../lib/connection/profile.js'
import {
  profileOf,
  readConnection,
  readEngine,
  readListen,
  readProfile,
  readReconnect,
  readServerOptions,
  readTarget
} from '../../lib/endpoint/read_options.js'
import { framing } from '../../lib/packets/framing.js'

const server = (name: string, value: unknown): unknown => readServerOptions({ [name]: value })
const workers = (name: string, value: unknown): unknown =>
  readServerOptions({ workers: { module: 'C:\\jobs.js', [name.replace('workers.', '')]: value } })
const target = (name: string, value: unknown): unknown => readTarget({ port: 1, [name]: value })
const listen = (name: string, value: unknown): unknown => readListen({ [name]: value })

/** Each option with values at and beyond the ends of its range. */
const table: [read: typeof server, name: string, good: unknown[], bad: unknown[]][] = [
  [server, 'ioThreads', [1, 64], [0, 65, 1.5, '2']],
  [server, 'pendingReads', [1, 64], [0, 65]],
  [server, 'readMode', ['adaptive', 'zero-byte', 'direct'], ['fast', 1]],
  [server, 'receive', ['flowing', 0, 7], ['demand', -1, 2 ** 31]],
  [server, 'allowHalfOpen', [true, false], [1]],
  [server, 'noDelay', [true, false], ['yes']],
  [
    server,
    'keepAlive',
    [true, false, 1000, '2h', {}, { delay: '5s', interval: 1000, count: 255 }],
    [999, '1', { count: 0 }, { every: 1 }]
  ],
  [server, 'receiveBuffer', [0, '1MiB'], [-1, '2GiB']],
  [server, 'sendBuffer', [0, '64KiB'], [-1, 'big']],
  [server, 'typeOfService', [0, 255], [256, -1]],
  [server, 'endDeadline', [0, '10s'], [-1, 2 ** 31]],
  [server, 'copyThreshold', [0, '1MiB'], ['2MiB', -1]],
  [
    server,
    'delivery',
    [{ total: '64KiB' }, { perConnection: 4096 }],
    [{ total: 1 }, { total: '64KiB', perConnection: '65KiB' }, 5]
  ],
  [server, 'maxFreeBuffers', [-1, 0, 100], [-2, 1.5]],
  [server, 'maxFreeContexts', [-1, 0, 100], [-2, '3']],
  [server, 'skipOnSuccess', [true, false], [0]],
  [server, 'maxConnections', [1, 2_097_151], [0, 2_097_152]],
  [server, 'onMax', ['reset', 'close', 'stop-accepting'], ['stop', true]],
  [server, 'admission', ['accepted', 'conditional'], ['before', false]],
  [server, 'pendingAccepts', [1, 1024], [0, 1025]],
  [
    server,
    'framing',
    [framing.raw(), { receive: framing.line(), send: framing.raw() }],
    [null, {}, 'raw', { receive: framing.raw() }]
  ],
  [
    server,
    'backpressure',
    [{}, { highWater: 1, lowWater: 0 }, { onOverflow: 'close' }],
    [
      { highWater: 0 },
      { highWater: 5, lowWater: 6 },
      { highWater: 5, hardCap: 4 },
      { onOverflow: 'block' },
      { hardCapPackets: 0 }
    ]
  ],
  [
    workers,
    'workers.resourceLimits',
    [{}, { maxOldGenerationSizeMb: 64, stackSizeMb: 0.5 }, { maxYoungGenerationSizeMb: undefined }],
    [5, { maxOldGenerationSizeMB: 64 }, { maxOldGenerationSizeMb: '64' }, { codeRangeSizeMb: 0 }]
  ],
  [server, 'onHandlerError', ['throw', 'close'], ['ignore', true, null]],
  [listen, 'port', [0, 65_535, '80'], [-1, 65_536, '65536', '80a', '']],
  [listen, 'host', ['::1', 'localhost'], [5]],
  [listen, 'backlog', [1, 65_535], [0]],
  [target, 'host', ['localhost'], [5]],
  [target, 'family', [4, 6], [5]],
  [target, 'localAddress', ['127.0.0.1'], [1]],
  [target, 'localPort', [0, 65_535], [65_536]],
  [target, 'timeout', [0, '1m'], [-1]],
  [target, 'attemptDelay', [10, '1s'], [9]],
  [target, 'signal', [AbortSignal.abort()], [{}]],
  [target, 'lookup', [() => Promise.resolve([])], [5]]
]

describe.each(table)('%o %s', (read, name, good, bad) => {
  test.each(good.map((value) => [value]))('takes %j', (value) => {
    expect(() => read(name, value)).not.toThrow()
  })

  test.each(bad.map((value) => [value]))('refuses %j and says which option it is', (value) => {
    let error: unknown
    try {
      read(name, value)
    } catch (caught) {
      error = caught
    }
    expect(error).toBeInstanceOf(IocpError)
    expect(error).toMatchObject({ code: 'ERR_IOCP_INVALID_OPTION' })
    expect((error as IocpError).message).toContain(`'${name}`)
  })
})

test('a misspelt option is not silently left out', () => {
  expect(() => readServerOptions({ maxConnection: 5 })).toThrow("There is no option 'maxConnection'")
})

test.each([
  [{ transfer: 'on' }, "Option 'transfer' must be true, false or an object of limits; it is 'on'"],
  [
    { keepAlive: 'yes' },
    "Option 'keepAlive' must be true, false, a delay from 1 second to 24 days (such as '10s'), or an object"
  ],
  [{ keepAlive: null }, "Option 'keepAlive' must be true, false, a delay"],
  [
    { workers: { module: new URL('file:///C:/jobs.js'), route: [1, 256] } },
    "Option 'workers.route[1]' must be a packet type, a whole number from 0 to 255; it is 256"
  ],
  [
    { workers: { module: new URL('file:///C:/jobs.js'), route: 5 } },
    "Option 'workers.route' must be 'all' or an array of packet types from 0 to 255; it is 5"
  ]
])('%o: the message says what is expected', (options, message) => {
  expect(() => readServerOptions(options)).toThrow(message)
})

test('the port to connect to is needed', () => {
  expect(() => readTarget({})).toThrow("Option 'port' must be a whole number from 1 to 65535; it is missing")
  expect(() => readTarget({ port: 0 })).toThrow("'port'")
})

test('the framing is a length of 4 bytes, big-endian, unless something else is said', () => {
  const { native } = readProfile({})
  expect(native.receive).toMatchObject({ kind: 'lengthField', bytes: 4, endian: 'big', adjustment: 0, strip: 4 })
  expect(native.send).toBe(native.receive)
})

test('the directions may differ', () => {
  const [receive, send] = [framing.line(), framing.erlang(2)]
  const { native, rules } = readProfile({ framing: { receive, send } })
  expect(native).toMatchObject({ receive, send })
  expect(rules.maxPayload).toBe(65_535)
})

test('the water marks follow from highWater', () => {
  expect(readProfile({ backpressure: { highWater: 1000 } }).native).toMatchObject({
    highWater: 1000,
    lowWater: 250,
    hardCap: 16_000,
    onOverflow: 'queue'
  })
})

test('what the framing delivers fits into the queue, unless the program has marks of its own', () => {
  const cap = (options: object): number => readProfile(options).native.hardCap
  const MIB = 2 ** 20
  expect(cap({})).toBe(16 * MIB)
  expect(cap({ framing: framing.varint({ maxPacket: '64MiB' }) })).toBe(64 * MIB + 10)
  expect(cap({ framing: framing.fixed({ bytes: '20MiB' }) })).toBe(20 * MIB)
  expect(cap({ framing: framing.line({ maxPacket: '32MiB' }) })).toBe(32 * MIB + 2)
  expect(cap({ framing: framing.lengthField({ bytes: 8, maxPacket: '100GiB', streamAbove: '20MiB' }) })).toBe(
    20 * MIB + 8
  )
  expect(cap({ framing: framing.raw() })).toBe(16 * MIB)
  expect(cap({ framing: framing.varint({ maxPacket: '64MiB' }), backpressure: { highWater: '1MiB' } })).toBe(16 * MIB)
})

test('keepAlive in its forms', () => {
  expect(readProfile({}).native.keepAlive).toBe(0)
  expect(readProfile({ keepAlive: true }).native.keepAlive).toBe(7_200_000)
  expect(readProfile({ keepAlive: '30s' }).native.keepAlive).toBe(30_000)
  expect(readProfile({ keepAlive: { interval: '2s', count: 3 } }).native).toMatchObject({
    keepAlive: 7_200_000,
    keepAliveInterval: 2000,
    keepAliveCount: 3
  })
})

test('receiving on demand', () => {
  expect(readProfile({})).toMatchObject({ receive: -1, native: { demand: false } })
  expect(readProfile({ receive: 0 })).toMatchObject({ receive: 0, native: { demand: true } })
})

test('another framing leaves the rest as it is', () => {
  const before = readProfile({ noDelay: false, copyThreshold: 5 })
  const after = withFraming(before, { receive: framing.raw(), send: framing.fixed({ bytes: 3 }) })
  expect(after).toMatchObject({ copyThreshold: 5, rules: { minPayload: 3, maxPayload: 3 } })
  expect(after.native).toMatchObject({ noDelay: false, receive: { kind: 'raw' }, send: { kind: 'fixed' } })
})

test('there are eight threads by themselves: the port says how many of them run', () => {
  expect(readEngine({}).ioThreads).toBe(8)
})

describe('reconnect', () => {
  test('is off unless asked for', () => {
    expect(readReconnect(undefined)).toBeUndefined()
    expect(readReconnect(false)).toBeUndefined()
  })

  test('has defaults', () => {
    expect(readReconnect(true)).toEqual({
      maxAttempts: Infinity,
      minDelay: 250,
      maxDelay: 30_000,
      factor: 2,
      jitter: 1
    })
    expect(readReconnect({ minDelay: '1m' })).toMatchObject({ minDelay: 60_000, maxDelay: 60_000 })
  })

  test.each([
    { maxAttempts: 0 },
    { minDelay: 0 },
    { minDelay: 10, maxDelay: 9 },
    { factor: 0.5 },
    { jitter: 2 },
    { tries: 1 },
    5
  ])('refuses %j', (value) => {
    expect(() => readReconnect(value)).toThrow(IocpError)
  })
})

test('what native code does not look at makes no other behaviour there', () => {
  expect(readProfile({ endDeadline: '1s', allowHalfOpen: true, copyThreshold: 1 }).native).toEqual(
    readProfile({}).native
  )
})

// Every option of a type is in its table and no other: the tables do not compile otherwise.
test.each([
  [readProfile({}).native, ['readMode', 'pendingReads', 'noDelay', 'receiveBuffer', 'sendBuffer', 'typeOfService']],
  [readEngine({}), ['ioThreads', 'diskThreads', 'maxFreeBuffers', 'maxFreeContexts', 'skipOnSuccess']]
])('options that have the same name in native code arrive there', (native, names) => {
  for (const name of names) expect(native).toHaveProperty(name)
})

describe('options of a connection beside those of its client', () => {
  test('replace whole options of it', () => {
    const client = readConnection({ timeouts: { idle: '1m', packet: '5s' }, noDelay: false, framing: framing.line() })
    const { timeouts, native } = profileOf(readConnection({ timeouts: { idle: '2m' }, noDelay: undefined }, client))
    expect(timeouts).toMatchObject({ idle: { read: 120_000 }, packet: 0 })
    expect(native).toMatchObject({ noDelay: false, receive: { kind: 'delimiter' } })
  })

  test('count if they are inherited, or come from a getter', () => {
    class Options {
      get noDelay(): boolean {
        return false
      }
    }
    const client = readConnection({})
    const inherited: unknown = Object.create({ typeOfService: 8 })
    expect(profileOf(readConnection(new Options(), client)).native).toMatchObject({ noDelay: false })
    expect(profileOf(readConnection(inherited, client)).native).toMatchObject({ typeOfService: 8 })
  })

  test('are those that the client was given, whatever becomes of them', () => {
    const backpressure = { highWater: 1000 }
    const timeouts = { idle: { read: 1000 } }
    const options = { noDelay: false, backpressure, timeouts }
    const client = readConnection(options)
    options.noDelay = true
    backpressure.highWater = 5
    timeouts.idle.read = 5000
    const { native, timeouts: read } = profileOf(readConnection({ typeOfService: 8 }, client))
    expect(native).toMatchObject({ noDelay: false, highWater: 1000, typeOfService: 8 })
    expect(read.idle.read).toBe(1000)
  })

  test('have defaults that depend on each other only when they are together', () => {
    const client = readConnection({ backpressure: { highWater: undefined } })
    const cap = (options: object): number => profileOf(readConnection(options, client)).native.hardCap
    expect(cap({ framing: framing.fixed({ bytes: '20MiB' }) })).toBe(20 * 2 ** 20)
    expect(() => profileOf(readConnection({ backpressure: { highWater: 0 } }, client))).toThrow(IocpError)
  })
})

test('data of workers is as it was when it was given', () => {
  const data = { list: [1] }
  const { workers: read } = readServerOptions({ workers: { module: 'C:\\jobs.js', data } })
  data.list.push(2)
  expect(read?.data).toEqual({ list: [1] })
})

test('no time limit is 0 in any unit, and nothing that is only nearly so', () => {
  const limits = (timeouts: object) => readProfile({ timeouts }).timeouts
  for (const none of [0, '0', '0s', ' 0 ms ', '0.0d', '00m']) {
    expect(limits({ idle: none, packet: none, life: none })).toEqual(limits({}))
    expect(limits({ idle: { write: none } })).toEqual(limits({}))
  }
  for (const none of [0, '0', '0B', '0.0 KiB']) expect(limits({ minRate: none })).toEqual(limits({}))
  for (const wrong of ['0.4ms', '0 bananas', '', 'x0', '0s0', false, null, [], 9]) {
    expect(() => limits({ packet: wrong })).toThrow(expect.objectContaining({ option: 'timeouts.packet' }))
    expect(() => limits({ minRate: wrong })).toThrow(expect.objectContaining({ option: 'timeouts.minRate' }))
  }
})
