import { describe, expect, test } from 'vitest'
import { IocpError } from '../../lib/common/errors.js'
import { withFraming } from '../../lib/connection/profile.js'
import {
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
