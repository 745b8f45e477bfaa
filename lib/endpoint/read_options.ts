/** Options, checked and completed: what servers, clients and connections work from. */

import { invalidOption } from '../common/errors.js'
import {
  type EachOption,
  KIB,
  MAX_DURATION,
  MIB,
  OptionReader,
  toDuration,
  toInteger
} from '../common/option_reader.js'
import { checkRates, nativeTimeLimits, readByteRate, readPacketRate, readTimeouts } from '../connection/limits.js'
import type { BackpressureOptions, ConnectionOptions, KeepAliveOptions } from '../connection/options.js'
import type { Profile } from '../connection/profile.js'
import type { Lookup, Target } from '../engine/connect_target.js'
import { type HostTarget, toAddress, toHost, toLocalAddress } from '../engine/resolve.js'
import { readWorkers, type WorkersSettings } from '../jobs/options.js'
import type { NativeEngineOptions, NativeProxyRules } from '../native/types.js'
import { bothDirections, framing } from '../packets/framing.js'
import { largestWhole, sendRules } from '../packets/send_rules.js'
import { readTransfer } from '../transfer/options.js'
import { type AccessRules, readRules } from './access_options.js'
import type {
  ClientOptions,
  ConnectTarget,
  EngineOptions,
  ListenOptions,
  ReconnectOptions,
  ServerOptions
} from './options.js'
import { readProxyHeader, readProxyProtocol } from './proxy_options.js'

const MAX_BYTES = 2 ** 40
export const MAX_CONNECTIONS = 2 ** 21 - 1

/** How one option is read: what it may be, and what it is when it is not given. */
type Reading = (reader: OptionReader, name: string) => unknown

/**
 * How each option of a type is read. An option that the type has and the table lacks does not compile, nor does one that
 * only the table has.
 */
type OptionTable<Options> = Readonly<Record<keyof Options, Reading>>

/** The values of all options of a table. */
type Values<T> = { readonly [K in keyof T]: T[K] extends (...args: never[]) => infer V ? V : never }

function readAll<const T extends Readonly<Record<string, Reading>>>(table: T, reader: OptionReader): Values<T> {
  return Object.fromEntries(Object.entries(table).map(([name, read]) => [name, read(reader, name)])) as Values<T>
}

const bufferRange = { min: 0, max: 1024 * MIB }

/** Options of a connection. Those that have the same name and value in native code need nothing more than this. */
const connectionTable = {
  framing: (reader, name) => {
    const given = reader.raw(name)
    return bothDirections(given === undefined ? framing.lengthField() : given, name)
  },
  receive: readReceive,
  transfer: (reader, name) => readTransfer(reader.raw(name)),
  // Its defaults depend on the framing: see profileOf.
  backpressure: copyBackpressure,
  readMode: (reader, name) => reader.oneOf(name, ['adaptive', 'zero-byte', 'direct'], 'adaptive'),
  pendingReads: (reader, name) => reader.integer(name, { min: 1, max: 64 }, 1),
  allowHalfOpen: (reader, name) => reader.boolean(name, false),
  noDelay: (reader, name) => reader.boolean(name, true),
  keepAlive: (reader, name) => readKeepAlive(reader.raw(name)),
  receiveBuffer: (reader, name) => reader.size(name, bufferRange, 0),
  sendBuffer: (reader, name) => reader.size(name, bufferRange, 0),
  typeOfService: (reader, name) => reader.integer(name, { min: 0, max: 255 }, 0),
  endDeadline: (reader, name) => reader.duration(name, { min: 0, max: MAX_DURATION }, 10_000),
  timeouts: (reader, name) => readTimeouts(reader.raw(name), name),
  packetRate: (reader, name) => readPacketRate(reader.raw(name), name),
  byteRate: (reader, name) => readByteRate(reader.raw(name), name),
  copyThreshold: (reader, name) => reader.size(name, { min: 0, max: MIB }, 16 * KIB),
  onHandlerError: (reader, name) => reader.oneOf(name, ['throw', 'close'], 'throw')
} satisfies OptionTable<ConnectionOptions>

const freeRange = { min: -1, max: 2 ** 31 - 1 }

/** Options of a completion port. */
const engineTable = {
  delivery: readDelivery,
  ioThreads: (reader, name) => reader.integer(name, { min: 1, max: 64 }, 8),
  diskThreads: (reader, name) => reader.integer(name, { min: 1, max: 64 }, 4),
  maxFreeBuffers: (reader, name) => reader.integer(name, freeRange, 0),
  maxFreeContexts: (reader, name) => reader.integer(name, freeRange, 0),
  skipOnSuccess: (reader, name) => reader.boolean(name, true)
} satisfies OptionTable<EngineOptions>

const portRange = { min: 1, max: 65_535 }

/** Whom to connect to. What one option says of another is checked by readTarget. */
const targetTable = {
  host: (reader, name) => toHost(reader.text(name) ?? 'localhost', name),
  family: (reader, name) => reader.oneOf(name, [0, 4, 6], 0),
  localAddress: (reader, name) => reader.text(name),
  port: (reader, name) => reader.port(name, portRange) ?? toInteger(undefined, name, portRange),
  localPort: (reader, name) => reader.port(name, { min: 0, max: 65_535 }) ?? 0,
  timeout: (reader, name) => reader.duration(name, { min: 0, max: MAX_DURATION }, 30_000),
  attemptDelay: (reader, name) => reader.duration(name, { min: 10, max: MAX_DURATION }, 250),
  signal: (reader, name) => reader.signal(name),
  lookup: (reader, name) => reader.callback<Lookup>(name),
  proxyProtocol: readProxyHeader
} satisfies OptionTable<ConnectTarget>

/** What a client has beside its port and its connections. */
const clientTable = {
  workers: (reader, name) => readWorkers(reader.raw(name))
} satisfies OptionTable<Omit<ClientOptions, keyof ConnectionOptions | keyof EngineOptions>>

/** What a server has beside its port and its connections. */
const serverTable = {
  maxConnections: (reader, name) => reader.integer(name, { min: 1, max: MAX_CONNECTIONS }, MAX_CONNECTIONS),
  onMax: (reader, name) => reader.oneOf(name, ['reset', 'close', 'stop-accepting'], 'reset'),
  pendingAccepts: (reader, name) => reader.integer(name, { min: 1, max: 1024 }, 64),
  access: (reader, name) => {
    const rules = reader.raw(name)
    return rules === undefined ? undefined : readRules(rules, name)
  },
  proxyProtocol: readProxyProtocol,
  admission: (reader, name) => reader.oneOf(name, ['accepted', 'conditional'], 'accepted'),
  workers: clientTable.workers
} satisfies OptionTable<Omit<ServerOptions, keyof ConnectionOptions | keyof EngineOptions>>

const tables = {
  connection: connectionTable,
  engine: engineTable,
  target: targetTable,
  client: clientTable,
  server: serverTable
} as const

/** Sets of options that belong together. */
export type OptionGroup = keyof typeof tables

/** What the options of a call look like, for those who pass something else in their place. */
const examples: Readonly<Record<OptionGroup, string>> = {
  connection: 'an object such as { noDelay: true }',
  engine: 'an object such as { ioThreads: 8 }',
  target: 'an object such as { port: 9999 }',
  client: 'an object such as { noDelay: true } (connect() takes the port)',
  server: 'an object such as { noDelay: true } (listen() takes the port)'
}

/** A reader that knows the names of some groups; the reader of each group reads its own. */
export function readerFor(options: unknown, ...known: readonly OptionGroup[]): OptionReader {
  return new OptionReader(options, '', examples[known.at(-1) ?? 'connection']).allow(
    ...known.flatMap((group) => Object.keys(tables[group]))
  )
}

const backpressureExample = "an object such as { highWater: '1MiB' }"

/** What was given, as it is now: no later change of it has an effect. */
function copyBackpressure(outer: OptionReader, name: string): EachOption<BackpressureOptions> {
  const reader = new OptionReader(outer.raw(name), name, backpressureExample)
  const given = {
    highWater: reader.raw('highWater'),
    lowWater: reader.raw('lowWater'),
    hardCap: reader.raw('hardCap'),
    hardCapPackets: reader.raw('hardCapPackets'),
    onOverflow: reader.raw('onOverflow')
  } satisfies EachOption<BackpressureOptions>
  reader.rejectUnknown()
  return given
}

/** @param largest bytes that one packet takes in the queue, at most */
function readBackpressure(value: EachOption<BackpressureOptions>, largest: number) {
  const reader = new OptionReader(value, 'backpressure', backpressureExample)
  const isDefault = reader.raw('highWater') === undefined
  const highWater = reader.size('highWater', { min: 1, max: MAX_BYTES }, MIB)
  // With a mark of the program's own the cap keeps its proportion, even if that is less than a packet.
  const cap = Math.min(Math.max(16 * highWater, isDefault ? largest : 0), MAX_BYTES)
  const marks = {
    highWater,
    lowWater: reader.size(
      'lowWater',
      { min: 0, max: highWater, note: ", the value of 'highWater'" },
      Math.floor(highWater / 4)
    ),
    hardCap: reader.size('hardCap', { min: highWater, max: MAX_BYTES, note: ", and not below 'highWater'" }, cap),
    hardCapPackets: reader.integer('hardCapPackets', { min: 1, max: 2 ** 32 - 1 }, 2 ** 32 - 1),
    onOverflow: reader.oneOf('onOverflow', ['queue', 'drop-newest', 'drop-oldest', 'close'], 'queue')
  } satisfies EachOption<BackpressureOptions>
  reader.rejectUnknown()
  return { marks, hasDefaultCap: isDefault && reader.raw('hardCap') === undefined }
}

function readKeepAlive(value: unknown) {
  const range = { min: 1000, max: MAX_DURATION }
  const toNative = (delay: number, interval: number, count: number) => ({
    keepAlive: delay,
    keepAliveInterval: interval,
    keepAliveCount: count
  })
  const off = toNative(0, 1000, 10)
  const on = toNative(7_200_000, 1000, 10)
  if (value === undefined || value === false) return off
  if (value === true) return on
  const allowed =
    "true, false, a delay from 1 second to 24 days (such as '10s'), or an object { delay, interval, count }"
  if (typeof value === 'object' && value !== null) {
    const reader = new OptionReader(value, 'keepAlive', allowed)
    const { delay, interval, count } = {
      delay: reader.duration('delay', range, on.keepAlive),
      interval: reader.duration('interval', range, on.keepAliveInterval),
      count: reader.integer('count', { min: 1, max: 255 }, on.keepAliveCount)
    } satisfies EachOption<KeepAliveOptions>
    reader.rejectUnknown()
    return toNative(delay, interval, count)
  }
  return { ...on, keepAlive: toDuration(value, 'keepAlive', range, allowed) }
}

function readReceive(reader: OptionReader, name: string): number {
  const value = reader.raw(name)
  if (value === undefined || value === 'flowing') return -1
  if (typeof value !== 'number') throw invalidOption(name, value, "'flowing' or a number of packets")
  return toInteger(value, name, { min: 0, max: 2 ** 31 - 1 })
}

/** The connection options among some options; what one says of another is checked by {@link profileOf}. */
export type ConnectionSettings = Values<typeof connectionTable>

/**
 * The connection options among some options. Inherited ones count, and later changes do not.
 * @param before what holds where nothing is given
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readConnection(options: unknown, before?: ConnectionSettings): ConnectionSettings {
  const reader = new OptionReader(options, '')
  if (before === undefined) return readAll(connectionTable, reader)
  const given = Object.entries(connectionTable).filter(([name]) => reader.raw(name) !== undefined)
  return { ...before, ...readAll(Object.fromEntries(given), reader) }
}

/**
 * The connection options among some options, checked and completed.
 * @param isServer whether they are for connections that are accepted
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readProfile(options: unknown, isServer = false): Profile {
  return profileOf(readConnection(options), isServer)
}

/**
 * Connection options that fit together, completed.
 * @param isServer whether they are for connections that are accepted
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function profileOf(settings: ConnectionSettings, isServer = false): Profile {
  const {
    framing: { receive, send },
    receive: demand,
    transfer,
    backpressure,
    allowHalfOpen,
    keepAlive,
    endDeadline,
    timeouts,
    copyThreshold,
    onHandlerError,
    ...direct
  } = settings
  const rules = sendRules(send, transfer !== undefined)
  checkRates({ receive, ...direct }, isServer)
  const { marks, hasDefaultCap } = readBackpressure(backpressure, largestWhole(send, rules))
  return {
    native: {
      receive,
      send,
      ...direct,
      ...marks,
      ...keepAlive,
      timeLimits: nativeTimeLimits(timeouts, endDeadline),
      demand: demand !== -1,
      transfers: transfer !== undefined
    },
    rules,
    allowHalfOpen,
    endDeadline,
    timeouts,
    copyThreshold,
    receive: demand,
    transfer,
    onHandlerError,
    hasDefaultCap
  }
}

function readDelivery(outer: OptionReader, name: string): { deliveryBytes: number; deliveryPerConnection: number } {
  const reader = new OptionReader(outer.raw(name), name, "an object such as { total: '16MiB' }")
  const most = reader.size('total', { min: 64 * KIB, max: MAX_BYTES }, 16 * MIB)
  const { total, perConnection } = {
    total: most,
    perConnection: reader.size(
      'perConnection',
      { min: 4 * KIB, max: most, note: ", the value of 'total'" },
      Math.min(MIB, most)
    )
  } satisfies EachOption<NonNullable<EngineOptions['delivery']>>
  reader.rejectUnknown()
  return { deliveryBytes: total, deliveryPerConnection: perConnection }
}

/**
 * The engine options among some options, checked and completed.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readEngine(options: unknown): NativeEngineOptions {
  const { delivery, ...direct } = readAll(engineTable, new OptionReader(options, ''))
  return { ...direct, ...delivery }
}

/** Options of a server, checked and completed. */
export interface ServerSettings {
  readonly engine: NativeEngineOptions
  readonly profile: Profile
  readonly maxConnections: number
  readonly onMax: 'reset' | 'close' | 'stop-accepting'
  readonly pendingAccepts: number
  readonly access: AccessRules | undefined
  readonly proxyProtocol: NativeProxyRules | undefined
  readonly admission: 'accepted' | 'conditional'
  readonly workers: WorkersSettings | undefined
}

/**
 * The options of a server.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readServerOptions(options: unknown): ServerSettings {
  const reader = readerFor(options, 'connection', 'engine', 'server')
  const settings = { engine: readEngine(options), profile: readProfile(options, true), ...readAll(serverTable, reader) }
  reader.rejectUnknown()
  return settings
}

/** Options of a client, checked and completed. */
export interface ClientSettings {
  readonly engine: NativeEngineOptions
  readonly connection: ConnectionSettings
  readonly workers: WorkersSettings | undefined
}

/**
 * The options of a client.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readClientOptions(options: unknown): ClientSettings {
  const reader = readerFor(options, 'connection', 'engine', 'client')
  const settings = {
    ...readAll(clientTable, reader),
    engine: readEngine(options),
    connection: readConnection(options)
  }
  reader.rejectUnknown()
  return settings
}

/**
 * The arguments of `listen`.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readListen(options: unknown): {
  port: number
  host: string | undefined
  backlog: number
  exclusive: boolean
} {
  const reader = new OptionReader(options, '', 'an object such as { port: 9999 }')
  const host = reader.text('host')
  const listen = {
    port: reader.port('port', { min: 0, max: 65_535 }) ?? 0,
    host: host === undefined ? undefined : toHost(host, 'host'),
    backlog: reader.integer('backlog', { min: 1, max: 65_535 }, 4096),
    exclusive: reader.boolean('exclusive', true)
  } satisfies EachOption<ListenOptions>
  reader.rejectUnknown()
  return listen
}

/**
 * The target among the options of `connect`.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readTarget(options: unknown): Target {
  const target = readAll(targetTable, new OptionReader(options, ''))
  const { family, host, localAddress } = target
  const local = localAddress === undefined ? undefined : checkLocalAddress(localAddress, host, family)
  return {
    ...target,
    // From an address of one family only those of the same can be reached.
    family: family === 0 ? (local?.family ?? 0) : family,
    localAddress: local?.address
  }
}

function checkLocalAddress(given: string, host: string, family: 0 | 4 | 6): HostTarget {
  const local = toLocalAddress(given, 'localAddress')
  if (family !== 0 && local.family !== family) {
    throw invalidOption('localAddress', given, `an IPv${family} address, as 'family' says`)
  }
  const remote = toAddress(host)?.family ?? local.family
  if (local.family !== remote) throw invalidOption('localAddress', given, `an IPv${remote} address, as 'host' is one`)
  return local
}

/** When to try again, checked and completed. Times in milliseconds. */
export interface ReconnectPlan {
  readonly maxAttempts: number
  readonly minDelay: number
  readonly maxDelay: number
  readonly factor: number
  readonly jitter: number
  readonly onRetry: ReconnectOptions['onRetry']
}

/**
 * The option `reconnect`.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readReconnect(value: unknown): ReconnectPlan | undefined {
  if (value === undefined || value === false) return undefined
  const reader = new OptionReader(value === true ? undefined : value, 'reconnect', 'true, false or an object')
  const minDelay = reader.duration('minDelay', { min: 1, max: MAX_DURATION }, 250)
  const fraction = (name: string, min: number, max: number, fallback: number): number => {
    const given = reader.raw(name)
    if (given === undefined) return fallback
    if (typeof given === 'number' && given >= min && given <= max) return given
    throw invalidOption(reader.name(name), given, `a number from ${min} to ${max}`)
  }
  const plan = {
    maxAttempts: reader.integer('maxAttempts', { min: 1, max: 2 ** 31 - 1 }, Number.POSITIVE_INFINITY),
    minDelay,
    maxDelay: reader.duration(
      'maxDelay',
      { min: minDelay, max: MAX_DURATION, note: ", and not below 'minDelay'" },
      Math.max(30_000, minDelay)
    ),
    factor: fraction('factor', 1, 100, 2),
    jitter: fraction('jitter', 0, 1, 1),
    onRetry: reader.callback<NonNullable<ReconnectOptions['onRetry']>>('onRetry')
  } satisfies EachOption<ReconnectOptions>
  reader.rejectUnknown()
  return plan
}
