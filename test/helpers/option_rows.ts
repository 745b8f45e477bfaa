/** What each option of the public API may be, and values that it must not be. */

import { BlockList } from 'node:net'
import fc from 'fast-check'
import { framing } from 'iocp'

export const MIB = 2 ** 20
export const MAX_DURATION = 2 ** 31 - 1
export const MAX_UINT32 = 2 ** 32 - 1
const MAX_BYTES = 2 ** 40

/** Values of every type, also such as have no prototype, getters that throw, or no text. */
export const anything = fc.oneof(
  fc.anything({
    withBigInt: true,
    withBoxedValues: true,
    withDate: true,
    withMap: true,
    withNullPrototype: true,
    withObjectString: true,
    withSet: true,
    withSparseArray: true,
    withTypedArray: true
  }),
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    '',
    ' ',
    0,
    -0,
    -1,
    0.5,
    NaN,
    Infinity,
    -Infinity,
    2 ** 53,
    1e308,
    10n,
    Symbol('s'),
    () => undefined,
    [],
    {},
    new Date(0),
    /x/,
    new Map(),
    new Proxy({}, {}),
    new Uint8Array(3),
    Object.create(null),
    {
      toString: (): never => {
        throw new Error('no text')
      }
    },
    Promise.resolve(1),
    'true',
    'off',
    '1e3',
    '0x10',
    '12 parsecs',
    '-5',
    'constructor',
    '__proto__'
  )
)

/** What an option may be: whether a value may be right, and values just beside it. */
export interface Kind {
  readonly mayBe: (value: unknown) => boolean
  readonly beside?: readonly unknown[]
}

const isNumeral = (value: unknown): boolean => typeof value === 'string' && /^\s*\d/.test(value)
export const isWithin = (value: unknown, min: number, max: number): boolean =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
const isPlain = (value: unknown): boolean => typeof value === 'object' && value !== null

export const boolean: Kind = { mayBe: (value) => typeof value === 'boolean' }
const text: Kind = { mayBe: (value) => typeof value === 'string' }
export const callback: Kind = { mayBe: (value) => typeof value === 'function' }
const signal: Kind = {
  mayBe: (value) => value instanceof AbortSignal,
  beside: [new AbortController(), new EventTarget()]
}
const path: Kind = {
  mayBe: (value) => typeof value === 'string' || value instanceof Uint8Array || value instanceof URL,
  beside: ['a\0b', new URL('http://localhost/a'), Buffer.from('a\0b')]
}
export const integer = (min: number, max: number): Kind => ({
  mayBe: (value) => isWithin(value, min, max),
  beside: [min - 1, max + 1, min + 0.5, String(min), [min]]
})
/** Bytes or times, with a unit. */
export const measure = (min: number, max: number): Kind => ({
  mayBe: (value) => isWithin(value, min, max) || isNumeral(value),
  beside: [max + 1, ...(min > 0 ? [min - 1, String(min - 1)] : [-1]), String(max + 1), '1 lightyear', '5 5', [min]]
})
const port = (min: number): Kind => ({
  mayBe: (value) => isWithin(value, min, 65_535) || isNumeral(value),
  beside: [65_536, '65536', -1, '0x50']
})
const number = (min: number, max: number): Kind => ({
  mayBe: (value) => typeof value === 'number' && value >= min && value <= max,
  beside: [min - 0.001, String(min)]
})
export const oneOf = (...values: readonly unknown[]): Kind => ({
  mayBe: (value) => values.includes(value),
  beside: values.flatMap((value) => [String(value).toUpperCase() + '_', [value]])
})
/** Options of their own; each has a row. */
const options = (...wrong: readonly unknown[]): Kind => ({
  mayBe: isPlain,
  beside: ['{}', 5, [], { noSuchOption: 1 }, new Map(), ...wrong]
})
const orBoolean = ({ mayBe, beside = [] }: Kind): Kind => ({
  mayBe: (value) => typeof value === 'boolean' || mayBe(value),
  beside
})

const isZero = (value: unknown): boolean =>
  value === 0 || (typeof value === 'string' && /^\s*0+(\.0+)?\s*([kmg]i?)?b?\s*$/i.test(value))
const orZero = ({ mayBe, beside = [] }: Kind): Kind => ({
  mayBe: (value) => isZero(value) || mayBe(value),
  beside: [...beside, '0s', '0 bananas', '5', 5]
})

/** The same for what is no text: `'0'` is wrong. */
const orZeroNumber = ({ mayBe, beside = [] }: Kind): Kind => ({
  mayBe: (value) => value === 0 || mayBe(value),
  beside: [...beside, '0', 5, false]
})

/** Values that are wrong for a kind. `undefined` is the same as nothing. */
export function wrongFor({ mayBe, beside = [] }: Kind): fc.Arbitrary<unknown> {
  const others = anything.filter((value) => value !== undefined && !mayBe(value))
  return beside.length === 0 ? others : fc.oneof(fc.constantFrom(...beside), others)
}

/** Options by their paths. */
export type Rows = Readonly<Record<string, Kind>>

const backpressure: Rows = {
  'backpressure.highWater': measure(1, MAX_BYTES),
  'backpressure.lowWater': measure(0, MIB),
  'backpressure.hardCap': measure(MIB, MAX_BYTES),
  'backpressure.hardCapPackets': integer(1, MAX_UINT32),
  'backpressure.onOverflow': oneOf('queue', 'drop-newest', 'drop-oldest', 'close')
}
export const keepAlive: Rows = {
  'keepAlive.delay': measure(1000, MAX_DURATION),
  'keepAlive.interval': measure(1000, MAX_DURATION),
  'keepAlive.count': integer(1, 255)
}
const transfer: Rows = {
  'transfer.answerTimeout': measure(1, MAX_DURATION),
  'transfer.stallTimeout': measure(0, MAX_DURATION),
  'transfer.maxFileSize': measure(0, Number.MAX_SAFE_INTEGER),
  'transfer.directory': path,
  'transfer.maxPerConnection': integer(1, 65_535),
  'transfer.maxTotal': integer(1, 65_535),
  'transfer.partMaxAge': measure(0, Number.MAX_SAFE_INTEGER),
  'transfer.bytesPerSecond': measure(0, 2 ** 43),
  'transfer.method': oneOf('auto', 'transmit', 'read')
}
const DAY = 86_400_000
const MAX_BAN = 3653 * DAY
/** A time limit: 0 for none. */
const limit: Kind = {
  mayBe: (value) => value === 0 || isNumeral(value) || isWithin(value, 10, 24 * DAY),
  beside: [9, '9ms', '0.4ms', '0 bananas', -1, 24 * DAY + 1, '25d', [10]]
}
const idle: Rows = {
  'timeouts.idle.read': limit,
  'timeouts.idle.write': limit,
  'timeouts.idle.both': limit,
  'timeouts.idle.action': oneOf('close', 'event')
}
const minRate: Rows = {
  'timeouts.minRate.bytes': measure(1, MAX_UINT32),
  'timeouts.minRate.per': measure(10, 24 * DAY),
  'timeouts.minRate.grace': measure(0, 24 * DAY)
}
const timeouts: Rows = {
  'timeouts.firstPacket': limit,
  'timeouts.packet': limit,
  'timeouts.idle': {
    mayBe: (value) => isPlain(value) || limit.mayBe(value),
    beside: [9, '9ms', { read: 5 }, { noSuchOption: 1 }]
  },
  'timeouts.sendStall': limit,
  'timeouts.minRate': orZero(options({}, { per: '1s' }, { bytes: 5, per: '24d', grace: '1s' })),
  'timeouts.life': limit,
  ...idle,
  ...minRate
}
const onExceed = oneOf('pause', 'drop', 'close', 'ban')
const packetRate: Rows = {
  'packetRate.count': integer(1, MAX_UINT32),
  'packetRate.per': measure(1, DAY),
  'packetRate.burst': integer(1, MAX_UINT32),
  'packetRate.onExceed': onExceed
}
const byteRate: Rows = {
  'byteRate.bytes': measure(1, MAX_UINT32),
  'byteRate.per': measure(1, DAY),
  'byteRate.burst': measure(1, MAX_UINT32),
  'byteRate.onExceed': onExceed
}
export const connection: Rows = {
  timeouts: options(),
  packetRate: options({}, { per: '1s' }),
  byteRate: options({}, { per: '1s' }),
  ...timeouts,
  ...packetRate,
  ...byteRate,
  framing: {
    mayBe: isPlain,
    beside: [null, 'raw', {}, { receive: {} }, { send: framing.raw() }, { ...framing.raw(), kind: 'x' }]
  },
  pendingReads: integer(1, 64),
  readMode: oneOf('adaptive', 'zero-byte', 'direct'),
  receive: { mayBe: (value) => value === 'flowing' || isWithin(value, 0, 2 ** 31 - 1), beside: [-1, 2 ** 31, '5'] },
  backpressure: options(),
  allowHalfOpen: boolean,
  noDelay: boolean,
  keepAlive: orBoolean({
    mayBe: (value) => isPlain(value) || isNumeral(value) || isWithin(value, 1000, MAX_DURATION),
    beside: [999, '999ms', { count: 0 }]
  }),
  receiveBuffer: measure(0, 1024 * MIB),
  sendBuffer: measure(0, 1024 * MIB),
  typeOfService: integer(0, 255),
  endDeadline: measure(0, MAX_DURATION),
  copyThreshold: measure(0, MIB),
  onHandlerError: oneOf('throw', 'close'),
  transfer: orBoolean(options()),
  ...backpressure,
  ...keepAlive,
  ...transfer
}
export const engine: Rows = {
  ioThreads: integer(1, 64),
  diskThreads: integer(1, 64),
  delivery: options(),
  'delivery.total': measure(65_536, MAX_BYTES),
  'delivery.perConnection': measure(4096, 16 * MIB),
  maxFreeBuffers: integer(-1, 2 ** 31 - 1),
  maxFreeContexts: integer(-1, 2 ** 31 - 1),
  skipOnSuccess: boolean
}
/** A subnet that the library has no prefix for: that of an IPv4 address, with bits of IPv6. */
const strangeList = new BlockList()
strangeList.addSubnet('::ffff:10.0.0.0', 8, 'ipv6')
const addresses: Kind = {
  mayBe: (value) => Array.isArray(value) && value.length === 0,
  beside: [
    ...['10.0.0.0/8', new Array(1), ['10.0.0.0/33'], ['localhost'], [5], ['::1', '::/129'], [['::1']]],
    ...[['fe80::1%3'], ['fe80::1%eth0/128'], strangeList]
  ]
}
/** Of a server. `from` is required, so an empty list is wrong too. */
export const proxyProtocol: Rows = {
  from: { mayBe: () => false, beside: [[], new BlockList(), ...(addresses.beside ?? [])] },
  versions: {
    mayBe: (value) => Array.isArray(value) && value.length > 0 && value.every((one) => one === 1 || one === 2),
    beside: [[], [3], 1, ['1'], [[1]], new Array(1), withHole(1, 2)]
  },
  timeout: measure(1, MAX_DURATION),
  direct: boolean,
  maxHeader: measure(536, 65_551)
}
const end = options(
  ...[{}, { port: 1 }, { address: '::1' }, { address: 'localhost', port: 1 }, { address: 5, port: 1 }],
  ...[
    { address: '::1', port: 65_536 },
    { address: '::1', port: -1 },
    { address: '::1', port: 1, more: 1 }
  ]
)
const someTlv = { type: 1, value: 'h2' }
/** Of `connect`. */
export const proxyHeader: Rows = {
  version: oneOf(1, 2),
  command: oneOf('PROXY', 'LOCAL'),
  source: end,
  destination: end,
  forward: { mayBe: () => false, beside: [{}, 5, null, { remoteAddress: '::1', remotePort: 1 }] },
  tlvs: {
    mayBe: (value) => Array.isArray(value) && value.length === 0,
    beside: [
      ...[{}, 5, new Array(1), withHole(someTlv, someTlv), [undefined], [null], [[1, 'h2']], [{ type: 1 }]],
      ...[[{ value: 'h2' }], [{ type: 256, value: '' }], [{ type: 1, value: 5 }], [someTlv, { ...someTlv, more: 1 }]],
      [{ type: 5, value: 'x'.repeat(129) }]
    ]
  },
  checksum: boolean
}
export const access: Rows = {
  allow: addresses,
  deny: addresses,
  maxPerAddress: integer(0, MAX_UINT32),
  maxPerSubnet: orZeroNumber(options({}, { v4: 24 })),
  'maxPerSubnet.count': integer(0, MAX_UINT32),
  connectRate: orZeroNumber(options({}, { per: '1s' })),
  'connectRate.count': integer(1, MAX_UINT32),
  ban: options({ time: 5, max: 4 }),
  'ban.time': measure(1, MAX_BAN),
  'ban.factor': number(1, 1000),
  'ban.max': measure(600_000, MAX_BAN),
  banOn: options({ noSuchOffence: true }),
  'banOn.protocolError': orBoolean(options()),
  'banOn.protocolError.count': integer(1, 1_000_000),
  'banOn.protocolError.within': measure(1, MAX_DURATION),
  tableSize: integer(1000, 10_000_000),
  onRefuse: oneOf('reset', 'close')
}
export const workers: Rows = {
  count: integer(0, 256),
  route: {
    mayBe: (value) => value === 'all' || Array.isArray(value),
    beside: ['none', new Array(1), [256], [-1], [1, '2'], [0.5]]
  },
  order: oneOf('connection', 'none'),
  maxQueued: integer(1, 2 ** 20),
  maxQueuedBytes: measure(1024, MAX_BYTES),
  onFull: oneOf('pause-reads', 'reject'),
  priority: oneOf('high', 'normal', 'low'),
  onClosed: oneOf('skip', 'run'),
  timeout: measure(0, MAX_DURATION),
  setupTimeout: measure(0, MAX_DURATION),
  resourceLimits: options(),
  'resourceLimits.maxOldGenerationSizeMb': number(Number.MIN_VALUE, Infinity),
  // What can be cloned is right.
  data: {
    mayBe: (value) => typeof value !== 'function' && typeof value !== 'symbol',
    beside: [(): undefined => undefined, Symbol('s')]
  }
}
export const target: Rows = {
  port: port(1),
  host: { mayBe: (value) => typeof value === 'string', beside: ['a\0b', 5] },
  family: oneOf(0, 4, 6),
  localAddress: { mayBe: () => false, beside: ['localhost', '1.2.3', '', '::1'] },
  localPort: port(0),
  timeout: measure(0, MAX_DURATION),
  attemptDelay: measure(10, MAX_DURATION),
  signal,
  lookup: callback,
  proxyProtocol: options()
}
export const reconnect: Rows = {
  reconnect: orBoolean(options()),
  'reconnect.maxAttempts': {
    mayBe: (value) => value === Infinity || isWithin(value, 1, Number.MAX_SAFE_INTEGER),
    beside: [0, 1.5, '3']
  },
  'reconnect.minDelay': measure(1, MAX_DURATION),
  'reconnect.maxDelay': measure(250, MAX_DURATION),
  'reconnect.factor': number(1, Number.MAX_VALUE),
  'reconnect.jitter': number(0, 1),
  'reconnect.onRetry': callback
}
export const listen: Rows = {
  port: port(0),
  host: { mayBe: (value) => typeof value === 'string', beside: ['a\0b', 5] },
  backlog: integer(1, 65_535),
  exclusive: boolean
}
export const limits: Rows = {
  maxPacket: measure(0, 2 ** 31 - 1),
  onOversize: oneOf('close', 'discard'),
  onCorrupt: oneOf('close'),
  failFast: boolean,
  typeByte: boolean
}
export const stream: Rows = { streamAbove: measure(0, Number.MAX_SAFE_INTEGER) }
export const sendFile: Rows = {
  name: { ...text, beside: [5, Buffer.from('a')] },
  offset: measure(0, Number.MAX_SAFE_INTEGER),
  length: measure(0, Number.MAX_SAFE_INTEGER),
  mode: oneOf('framed', 'raw'),
  chunk: measure(1, 2 ** 31 - 66),
  verify: oneOf('sha256', false),
  metadata: {
    mayBe: (value) => typeof value === 'string' || value instanceof Uint8Array,
    beside: ['x'.repeat(100_000), new Uint16Array(4)]
  },
  share: oneOf('write', 'none'),
  bytesPerSecond: measure(0, 2 ** 43),
  signal,
  onProgress: callback
}
const overwrite = oneOf('fail', 'replace', 'rename')
export const accept: Rows = { directory: path, path, overwrite, resume: boolean, signal, onProgress: callback }
export const receiveFile: Rows = {
  path,
  bytes: measure(0, Number.MAX_SAFE_INTEGER),
  overwrite,
  onReady: callback,
  signal,
  onProgress: callback
}
export const run: Rows = {
  transferList: { mayBe: Array.isArray, beside: [5, 'x'] },
  signal,
  priority: oneOf('high', 'normal', 'low'),
  timeout: measure(0, MAX_DURATION),
  connection: { mayBe: () => false, beside: [{}, 5] },
  onClosed: oneOf('skip', 'run')
}

/** The rows of each type of options, as the sources name it. */
export const byType: Readonly<Record<string, Rows>> = {
  BackpressureOptions: strip(backpressure),
  KeepAliveOptions: strip(keepAlive),
  TransferOptions: strip(transfer),
  TimeoutOptions: strip(timeouts),
  IdleOptions: strip(strip(idle)),
  MinRateOptions: strip(strip(minRate)),
  PacketRateOptions: strip(packetRate),
  ByteRateOptions: strip(byteRate),
  ConnectionOptions: connection,
  ProxyProtocolOptions: proxyProtocol,
  ProxyHeaderOptions: proxyHeader,
  EndOptions: { deadline: measure(0, MAX_DURATION) },
  EngineOptions: engine,
  ServerOptions: {
    maxConnections: integer(1, 2 ** 21 - 1),
    onMax: oneOf('reset', 'close', 'stop-accepting'),
    admission: oneOf('accepted', 'conditional'),
    proxyProtocol: options(),
    pendingAccepts: integer(1, 1024),
    access: options(),
    workers: options()
  },
  ClientOptions: { workers: options() },
  ListenOptions: listen,
  ReconnectOptions: strip(reconnect),
  ConnectTarget: target,
  ConnectOptions: reconnect,
  BroadcastOptions: {
    group: text,
    to: { mayBe: isIterable, beside: [5, {}] },
    except: { mayBe: () => false, beside: [{}, 5] }
  },
  DisconnectOptions: { graceful: boolean },
  CloseOptions: { deadline: measure(0, MAX_DURATION) },
  WorkersOptions: {
    module: {
      mayBe: (value) => typeof value === 'string' || value instanceof URL,
      beside: ['jobs.js', new URL('http://localhost/'), 5]
    },
    ...workers
  },
  RunOptions: run,
  SendFileOptions: sendFile,
  AcceptOptions: accept,
  ReceiveFileOptions: receiveFile,
  PacketLimits: limits,
  StreamLimits: stream,
  LengthFieldOptions: {
    offset: integer(0, 28),
    bytes: oneOf(1, 2, 3, 4, 8),
    endian: oneOf('big', 'little'),
    adjustment: integer(-(2 ** 31), 2 ** 31 - 1),
    strip: integer(0, 32)
  },
  DelimiterOptions: {
    delimiters: {
      mayBe: (value) => [value].flat().every((one) => typeof one === 'string' || one instanceof Uint8Array),
      beside: ['', [], new Array(1), [''], [5], new Uint8Array(0)]
    },
    strip: boolean
  },
  LineOptions: { endOfLine: oneOf('\n', '\r\n') },
  FixedOptions: { bytes: measure(1, 2 ** 31 - 1), typeByte: boolean },
  HpSocketPackOptions: { flag: integer(0, 1023) },
  RateOptions: { count: integer(1, MAX_UINT32), per: measure(1, MAX_DURATION), burst: integer(1, MAX_UINT32) },
  OffenceOptions: { count: integer(1, 1_000_000), within: measure(1, MAX_DURATION) },
  AccessOptions: access,
  BanOptions: {
    time: {
      mayBe: (value) => isNumeral(value) || isWithin(value, 0, MAX_BAN),
      beside: [-1, 0.5, '1 lightyear', '0 bananas', '0.4ms', MAX_BAN + 1, '3654d', Infinity]
    },
    reason: { ...text, beside: ['x'.repeat(201)] }
  },
  PruneOptions: { maxAge: measure(0, Number.MAX_SAFE_INTEGER) }
}

/** An array with a hole between two members, which some of its methods pass over. */
function withHole(before: unknown, behind: unknown): unknown[] {
  const list: unknown[] = [before]
  list[2] = behind
  return list
}

function isIterable(value: unknown): boolean {
  return typeof value === 'string' || (isPlain(value) && Symbol.iterator in (value as object))
}

/** Names without the option that holds them. */
function strip(rows: Rows): Rows {
  return Object.fromEntries(
    Object.entries(rows).flatMap(([name, kind]) =>
      name.includes('.') ? [[name.slice(name.indexOf('.') + 1), kind]] : []
    )
  )
}
