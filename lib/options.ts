/** Options of servers, clients and connections: their meaning, ranges and defaults, and how they are checked. */

import { availableParallelism } from 'node:os'
import type { NativeEngineOptions, NativeProfile } from './binding.js'
import { invalidOption } from './errors.js'
import { bothDirections, framing, type Framing, type FramingOption } from './framing.js'
import { sendRules, type SendRules } from './outgoing.js'
import { MAX_DURATION, OptionReader, toDuration, toInteger, type Duration, type Size } from './validate.js'

const KIB = 1024
const MIB = 1024 * KIB
const MAX_BYTES = 2 ** 40
const MAX_SLOTS = 2 ** 21 - 1

/** When a peer reads more slowly than the program sends. */
export interface BackpressureOptions {
  /** Bytes waiting in a connection above which `send()` says `'queued'`. 1 to 1 TiB; default 1 MiB. */
  highWater?: Size
  /** 'drain' comes when no more than this many bytes wait. 0 to `highWater`; default a quarter of `highWater`. */
  lowWater?: Size
  /** Bytes that may wait at most, whatever `onOverflow` says. `highWater` to 1 TiB; default 16 times `highWater`. */
  hardCap?: Size
  /** Packets that may wait at most. 1 to 2^32 - 1; default 2^32 - 1. */
  hardCapPackets?: number
  /**
   * What happens to a packet that would take the queue above `highWater`:
   * `'queue'` (default) it waits, up to `hardCap`, then it is dropped; `'drop-newest'` it is dropped; `'drop-oldest'`
   * older packets are dropped in its favour; `'close'` the connection closes with cause 'overflow'. An empty queue
   * takes a packet larger than `highWater`.
   */
  onOverflow?: 'queue' | 'drop-newest' | 'drop-oldest' | 'close'
}

/** Probes that find out whether a silent peer still exists. */
export interface KeepAliveOptions {
  /** Silence before the first probe. 1 s to 24 days; default 2 hours. */
  delay?: Duration
  /** Time between probes. 1 s to 24 days; default 1 s. */
  interval?: Duration
  /** Probes without an answer until the connection counts as lost. 1 to 255; default 10. */
  count?: number
}

/** How connections behave, on either side. */
export interface ConnectionOptions {
  /** How the stream is cut into packets. Default: a length of 4 bytes, big-endian, that counts the packet alone. */
  framing?: FramingOption
  /** Reads outstanding per connection. 1 to 64; default 1. */
  pendingReads?: number
  /**
   * `'zero-byte'`: memory is used only once there is data; `'direct'`: a buffer always waits in the kernel;
   * `'adaptive'` (default): the first while a connection is idle, the second while it is busy.
   */
  readMode?: 'adaptive' | 'zero-byte' | 'direct'
  /**
   * `'flowing'` (default): packets come as they arrive. A number: that many may come, then as many as
   * `connection.demand(n)` asks for. 0 to 2^31 - 1.
   */
  receive?: 'flowing' | number
  /** Water marks and what happens above them. */
  backpressure?: BackpressureOptions
  /** Whether a connection stays open for sending after the peer has ended its side. Default false. */
  allowHalfOpen?: boolean
  /** Send small packets at once instead of waiting for more (TCP_NODELAY). Default true. */
  noDelay?: boolean
  /** Keep-alive probes: off (default), on with the defaults, on after this silence, or in detail. */
  keepAlive?: boolean | Duration | KeepAliveOptions
  /** SO_RCVBUF in bytes, 0 for what the system chooses. 0 to 1 GiB; default 0. */
  receiveBuffer?: Size
  /** SO_SNDBUF in bytes, 0 for what the system chooses. 0 to 1 GiB; default 0. */
  sendBuffer?: Size
  /** The IP header's type of service. 0 to 255; default 0. */
  typeOfService?: number
  /** After `end()`: how long the peer may take to end its side before the connection is reset. 0 = for ever; default 10 s. */
  endDeadline?: Duration
  /** Payloads up to this many bytes are copied by `send()`, larger ones are used where they are. 0 to 1 MiB; default 16 KiB. */
  copyThreshold?: Size
}

/** The completion port of a server or client, and what it may use. */
export interface EngineOptions {
  /** Threads that serve the completion port. 1 to 64; default one less than there are processors, 1 to 4. */
  ioThreads?: number
  /** Received bytes that may wait for JavaScript; beyond them reading stops, so that TCP slows the peers down. */
  delivery?: {
    /** All connections together. 64 KiB to 1 TiB; default 16 MiB. */
    total?: Size
    /** One connection. 4 KiB to `total`; default 1 MiB. */
    perConnection?: Size
  }
  /** Free buffers kept for reuse: 0 (default) as many as there were, -1 none, else up to this number. */
  maxFreeBuffers?: number
  /** Free connection contexts kept for reuse: 0 (default) as many as there were, -1 none, else up to this number. */
  maxFreeContexts?: number
  /** Handle operations that succeed at once without a completion packet, where all providers allow it. Default true. */
  skipOnSuccess?: boolean
}

/** Options of `createServer`. */
export interface ServerOptions extends ConnectionOptions, EngineOptions {
  /** Connections at one time; more are accepted and reset at once. 1 to 2,097,151; default 2,097,151. */
  maxConnections?: number
  /** AcceptEx calls outstanding to begin with. 1 to 1024; default 64. */
  accepts?: number
}

/** Options of `createClient`. */
export interface ClientOptions extends ConnectionOptions, EngineOptions {}

/** Options of `server.listen`. */
export interface ListenOptions {
  /** 0 to 65535; 0 (default) lets the system choose, `server.address()` says what. */
  port?: number
  /** Address or name. Default `'::'`, which takes IPv4 too; where there is no IPv6, `'0.0.0.0'`. */
  host?: string
  /** Connections that may wait for being accepted. 1 to 65535; default 511. */
  backlog?: number
}

/** How often and how fast a lost connection is made again. */
export interface ReconnectOptions {
  /** Failures in a row after which it is given up. 1 to 2^31 - 1; default without limit. */
  attempts?: number
  /** The wait before the first new attempt, at most. 1 ms to 24 days; default 250 ms. */
  minDelay?: Duration
  /** The longest wait. `minDelay` to 24 days; default 30 s. */
  maxDelay?: Duration
  /** By how much each wait is longer than the one before. 1 to 100; default 2. */
  factor?: number
  /**
   * The part of each wait that is left to chance, so that many clients do not come back all at once.
   * 0 to 1; default 1, that is anything between nothing and the whole wait.
   */
  jitter?: number
}

/** What `connect` does with a name: as `dns.lookup` with `all: true`. */
export type Lookup = (host: string) => Promise<readonly { address: string; family: number }[]>

/** Where to connect to, and how. */
export interface ConnectTarget {
  /** 1 to 65535. */
  port: number
  /** Address or name; default `'localhost'`. */
  host?: string
  /** Only addresses of this family. Default both. */
  family?: 4 | 6
  /** The local address to connect from. */
  localAddress?: string
  /** The local port to connect from. 1 to 65535; default one that the system chooses. */
  localPort?: number
  /** Time for everything: the name, all addresses. 1 ms to 24 days, 0 for none; default 30 s. */
  timeout?: Duration
  /**
   * After this time without an answer the next address is tried beside it (RFC 8305, section 5: 250 ms is
   * recommended, 10 ms the least). 10 ms to 24 days; default 250 ms.
   */
  attemptDelay?: Duration
  /** Gives up the attempt; afterwards it has no effect. */
  signal?: AbortSignal
  /** Resolves names instead of the system. */
  lookup?: Lookup
}

/** Options of `connect`: where to, and how the connection behaves. */
export interface ConnectOptions extends ConnectTarget, ConnectionOptions {
  /** Make the connection again when it is lost. */
  reconnect?: boolean | ReconnectOptions
}

/** How one kind of connection behaves: what native code is told, and what JavaScript itself decides by. */
export interface Profile {
  readonly native: NativeProfile
  readonly rules: SendRules
  readonly allowHalfOpen: boolean
  readonly copyThreshold: number
  /** Packets that may come to begin with, -1 for flowing. */
  readonly receive: number
}

const connectionNames = [
  'framing',
  'pendingReads',
  'readMode',
  'receive',
  'backpressure',
  'allowHalfOpen',
  'noDelay',
  'keepAlive',
  'receiveBuffer',
  'sendBuffer',
  'typeOfService',
  'endDeadline',
  'copyThreshold',
] as const
const engineNames = ['ioThreads', 'delivery', 'maxFreeBuffers', 'maxFreeContexts', 'skipOnSuccess'] as const
const targetNames = [
  'port',
  'host',
  'family',
  'localAddress',
  'localPort',
  'timeout',
  'attemptDelay',
  'signal',
  'lookup',
] as const

/** Sets of option names that belong together. */
export type OptionGroup = 'connection' | 'engine' | 'target'

const groups: Readonly<Record<OptionGroup, readonly string[]>> = {
  connection: connectionNames,
  engine: engineNames,
  target: targetNames,
}

/** A reader that knows the names of some groups; the reader of each group reads its own. */
export function knowing(options: unknown, ...known: readonly OptionGroup[]): OptionReader {
  return new OptionReader(options, '').skip(...known.flatMap((group) => groups[group]))
}

function readBackpressure(value: unknown) {
  const reader = new OptionReader(value, 'backpressure')
  const highWater = reader.size('highWater', { min: 1, max: MAX_BYTES }, MIB)
  const marks = {
    highWater,
    lowWater: reader.size('lowWater', { min: 0, max: highWater }, Math.floor(highWater / 4)),
    hardCap: reader.size('hardCap', { min: highWater, max: MAX_BYTES }, Math.min(16 * highWater, MAX_BYTES)),
    hardCapPackets: reader.integer('hardCapPackets', { min: 1, max: 2 ** 32 - 1 }, 2 ** 32 - 1),
    onOverflow: reader.oneOf('onOverflow', ['queue', 'drop-newest', 'drop-oldest', 'close'], 'queue'),
  }
  reader.done()
  return marks
}

function readKeepAlive(value: unknown) {
  const range = { min: 1000, max: MAX_DURATION }
  const off = { keepAlive: 0, keepAliveInterval: 1000, keepAliveCount: 10 }
  const on = { ...off, keepAlive: 7_200_000 }
  if (value === undefined || value === false) return off
  if (value === true) return on
  if (typeof value === 'object') {
    const reader = new OptionReader(value, 'keepAlive')
    const detail = {
      keepAlive: reader.duration('delay', range, on.keepAlive),
      keepAliveInterval: reader.duration('interval', range, on.keepAliveInterval),
      keepAliveCount: reader.integer('count', { min: 1, max: 255 }, on.keepAliveCount),
    }
    reader.done()
    return detail
  }
  return { ...on, keepAlive: toDuration(value, 'keepAlive', range) }
}

function readReceive(reader: OptionReader): number {
  const value = reader.raw('receive')
  if (value === undefined || value === 'flowing') return -1
  if (typeof value !== 'number') throw invalidOption('receive', value, "'flowing' or a number of packets")
  return toInteger(value, 'receive', { min: 0, max: 2 ** 31 - 1 })
}

/**
 * The connection options among some options, checked and completed.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readProfile(options: unknown): Profile {
  const reader = new OptionReader(options, '')
  const given = reader.raw('framing')
  const { receive, send } = bothDirections(given === undefined ? framing.lengthField() : given, 'framing')
  const initial = readReceive(reader)
  const marks = readBackpressure(reader.raw('backpressure'))
  const buffer = { min: 0, max: 1024 * MIB }
  return {
    native: {
      receive,
      send,
      readMode: reader.oneOf('readMode', ['adaptive', 'zero-byte', 'direct'], 'adaptive'),
      pendingReads: reader.integer('pendingReads', { min: 1, max: 64 }, 1),
      ...marks,
      noDelay: reader.boolean('noDelay', true),
      ...readKeepAlive(reader.raw('keepAlive')),
      receiveBuffer: reader.size('receiveBuffer', buffer, 0),
      sendBuffer: reader.size('sendBuffer', buffer, 0),
      typeOfService: reader.integer('typeOfService', { min: 0, max: 255 }, 0),
      endDeadline: reader.duration('endDeadline', { min: 0, max: MAX_DURATION }, 10_000),
      demand: initial !== -1,
    },
    rules: sendRules(send),
    allowHalfOpen: reader.boolean('allowHalfOpen', false),
    copyThreshold: reader.size('copyThreshold', { min: 0, max: MIB }, 16 * KIB),
    receive: initial,
  }
}

/** The same behaviour with another framing. */
export function withFraming(profile: Profile, { receive, send }: { receive: Framing; send: Framing }): Profile {
  return { ...profile, native: { ...profile.native, receive, send }, rules: sendRules(send) }
}

/**
 * The engine options among some options, checked and completed.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readEngine(options: unknown): NativeEngineOptions {
  const reader = new OptionReader(options, '')
  const delivery = new OptionReader(reader.raw('delivery'), 'delivery')
  const total = delivery.size('total', { min: 64 * KIB, max: MAX_BYTES }, 16 * MIB)
  const perConnection = delivery.size('perConnection', { min: 4 * KIB, max: total }, Math.min(MIB, total))
  delivery.done()
  const free = { min: -1, max: 2 ** 31 - 1 }
  return {
    ioThreads: reader.integer('ioThreads', { min: 1, max: 64 }, Math.min(4, Math.max(1, availableParallelism() - 1))),
    deliveryBytes: total,
    deliveryPerConnection: perConnection,
    maxFreeBuffers: reader.integer('maxFreeBuffers', free, 0),
    maxFreeContexts: reader.integer('maxFreeContexts', free, 0),
    skipOnSuccess: reader.boolean('skipOnSuccess', true),
  }
}

/** Options of a server, checked and completed. */
export interface ServerSettings {
  readonly engine: NativeEngineOptions
  readonly profile: Profile
  readonly maxConnections: number
  readonly accepts: number
}

/**
 * The options of a server.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readServerOptions(options: unknown): ServerSettings {
  const reader = knowing(options, 'connection', 'engine')
  const settings = {
    engine: readEngine(options),
    profile: readProfile(options),
    maxConnections: reader.integer('maxConnections', { min: 1, max: MAX_SLOTS }, MAX_SLOTS),
    accepts: reader.integer('accepts', { min: 1, max: 1024 }, 64),
  }
  reader.done()
  return settings
}

/**
 * The arguments of `listen`.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readListen(options: unknown): { port: number; host: string | undefined; backlog: number } {
  const reader = new OptionReader(options, '')
  const listen = {
    port: reader.integer('port', { min: 0, max: 65_535 }, 0),
    host: reader.text('host'),
    backlog: reader.integer('backlog', { min: 1, max: 65_535 }, 511),
  }
  reader.done()
  return listen
}

/** Where to connect to, checked and completed. */
export interface Target {
  readonly host: string
  readonly port: number
  readonly family: 4 | 6 | 0
  readonly localAddress: string | undefined
  readonly localPort: number
  readonly timeout: number
  readonly attemptDelay: number
  readonly signal: AbortSignal | undefined
  readonly lookup: Lookup | undefined
}

/**
 * The target among the options of `connect`.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readTarget(options: unknown): Target {
  const reader = new OptionReader(options, '')
  const port = reader.raw('port')
  const signal = reader.raw('signal')
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw invalidOption('signal', signal, 'an AbortSignal')
  return {
    host: reader.text('host') ?? 'localhost',
    port: toInteger(port, 'port', { min: 1, max: 65_535 }),
    family: reader.oneOf('family', [0, 4, 6], 0),
    localAddress: reader.text('localAddress'),
    localPort: reader.integer('localPort', { min: 0, max: 65_535 }, 0),
    timeout: reader.duration('timeout', { min: 0, max: MAX_DURATION }, 30_000),
    attemptDelay: reader.duration('attemptDelay', { min: 10, max: MAX_DURATION }, 250),
    signal,
    lookup: reader.callback<Lookup>('lookup'),
  }
}

/** When to try again, checked and completed. Times in milliseconds. */
export interface ReconnectPlan {
  readonly attempts: number
  readonly minDelay: number
  readonly maxDelay: number
  readonly factor: number
  readonly jitter: number
}

/**
 * The option `reconnect`.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readReconnect(value: unknown): ReconnectPlan | undefined {
  if (value === undefined || value === false) return undefined
  const reader = new OptionReader(value === true ? undefined : value, 'reconnect')
  const minDelay = reader.duration('minDelay', { min: 1, max: MAX_DURATION }, 250)
  const fraction = (name: string, min: number, max: number, fallback: number): number => {
    const given = reader.raw(name) ?? fallback
    if (typeof given === 'number' && given >= min && given <= max) return given
    throw invalidOption(reader.name(name), given, `a number from ${min} to ${max}`)
  }
  const plan = {
    attempts: reader.integer('attempts', { min: 1, max: 2 ** 31 - 1 }, Number.POSITIVE_INFINITY),
    minDelay,
    maxDelay: reader.duration('maxDelay', { min: minDelay, max: MAX_DURATION }, Math.max(30_000, minDelay)),
    factor: fraction('factor', 1, 100, 2),
    jitter: fraction('jitter', 0, 1, 1),
  }
  reader.done()
  return plan
}
