/** Options, checked and completed: what servers, clients and connections work from. */

import { invalidOption } from '../common/errors.js'
import { MAX_DURATION, OptionReader, toDuration, toInteger } from '../common/option_reader.js'
import type { Profile } from '../connection/profile.js'
import type { Lookup, Target } from '../engine/connect_target.js'
import { type HostTarget, toAddress, toHost, toLocalAddress } from '../engine/resolve.js'
import { readWorkers, type WorkersSettings } from '../jobs/options.js'
import type { NativeEngineOptions } from '../native/types.js'
import { bothDirections, framing } from '../packets/framing.js'
import { largestWhole, sendRules } from '../packets/send_rules.js'
import { readTransfer } from '../transfer/options.js'
import type { ReconnectOptions } from './options.js'

const KIB = 1024
const MIB = 1024 * KIB
const MAX_BYTES = 2 ** 40
const MAX_SLOTS = 2 ** 21 - 1

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
  'transfer',
  'onHandlerError'
] as const
const engineNames = [
  'ioThreads',
  'diskThreads',
  'delivery',
  'maxFreeBuffers',
  'maxFreeContexts',
  'skipOnSuccess'
] as const
const targetNames = [
  'port',
  'host',
  'family',
  'localAddress',
  'localPort',
  'timeout',
  'attemptDelay',
  'signal',
  'lookup'
] as const

/** Sets of option names that belong together. */
export type OptionGroup = 'connection' | 'engine' | 'target'

const groups: Readonly<Record<OptionGroup, readonly string[]>> = {
  connection: connectionNames,
  engine: engineNames,
  target: targetNames
}

/** A reader that knows the names of some groups; the reader of each group reads its own. */
export function readerFor(options: unknown, ...known: readonly OptionGroup[]): OptionReader {
  return new OptionReader(options, '').allow(...known.flatMap((group) => groups[group]))
}

/** @param largest bytes that one packet takes in the queue, at most */
function readBackpressure(value: unknown, largest: number) {
  const reader = new OptionReader(value, 'backpressure')
  const isDefault = reader.raw('highWater') === undefined
  const highWater = reader.size('highWater', { min: 1, max: MAX_BYTES }, MIB)
  // With a mark of the program's own the cap keeps its proportion, even if that is less than a packet.
  const cap = Math.min(Math.max(16 * highWater, isDefault ? largest : 0), MAX_BYTES)
  const marks = {
    highWater,
    lowWater: reader.size('lowWater', { min: 0, max: highWater }, Math.floor(highWater / 4)),
    hardCap: reader.size('hardCap', { min: highWater, max: MAX_BYTES }, cap),
    hardCapPackets: reader.integer('hardCapPackets', { min: 1, max: 2 ** 32 - 1 }, 2 ** 32 - 1),
    onOverflow: reader.oneOf('onOverflow', ['queue', 'drop-newest', 'drop-oldest', 'close'], 'queue')
  }
  reader.rejectUnknown()
  return { marks, hasDefaultCap: isDefault && reader.raw('hardCap') === undefined }
}

function readKeepAlive(value: unknown) {
  const range = { min: 1000, max: MAX_DURATION }
  const off = { keepAlive: 0, keepAliveInterval: 1000, keepAliveCount: 10 }
  const on = { ...off, keepAlive: 7_200_000 }
  if (value === undefined || value === false) return off
  if (value === true) return on
  const allowed = "true, false, a delay from 1 second (such as '10s'), or an object { delay, interval, count }"
  if (typeof value === 'object' && value !== null) {
    const reader = new OptionReader(value, 'keepAlive', allowed)
    const detail = {
      keepAlive: reader.duration('delay', range, on.keepAlive),
      keepAliveInterval: reader.duration('interval', range, on.keepAliveInterval),
      keepAliveCount: reader.integer('count', { min: 1, max: 255 }, on.keepAliveCount)
    }
    reader.rejectUnknown()
    return detail
  }
  const isDelay = typeof value === 'number' || (typeof value === 'string' && /^\s*[\d.]/.test(value))
  if (!isDelay) throw invalidOption('keepAlive', value, allowed)
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
  const transfer = readTransfer(reader.raw('transfer'))
  const rules = sendRules(send, transfer !== undefined)
  const { marks, hasDefaultCap } = readBackpressure(reader.raw('backpressure'), largestWhole(send, rules))
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
      transfers: transfer !== undefined
    },
    rules,
    allowHalfOpen: reader.boolean('allowHalfOpen', false),
    copyThreshold: reader.size('copyThreshold', { min: 0, max: MIB }, 16 * KIB),
    receive: initial,
    transfer,
    onHandlerError: reader.oneOf('onHandlerError', ['throw', 'close'], 'throw'),
    hasDefaultCap
  }
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
  delivery.rejectUnknown()
  const free = { min: -1, max: 2 ** 31 - 1 }
  return {
    ioThreads: reader.integer('ioThreads', { min: 1, max: 64 }, 8),
    diskThreads: reader.integer('diskThreads', { min: 1, max: 64 }, 4),
    deliveryBytes: total,
    deliveryPerConnection: perConnection,
    maxFreeBuffers: reader.integer('maxFreeBuffers', free, 0),
    maxFreeContexts: reader.integer('maxFreeContexts', free, 0),
    skipOnSuccess: reader.boolean('skipOnSuccess', true)
  }
}

/** Options of a server, checked and completed. */
export interface ServerSettings {
  readonly engine: NativeEngineOptions
  readonly profile: Profile
  readonly maxConnections: number
  readonly pendingAccepts: number
  readonly workers: WorkersSettings | undefined
}

/**
 * The options of a server.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readServerOptions(options: unknown): ServerSettings {
  const reader = readerFor(options, 'connection', 'engine')
  const settings = {
    engine: readEngine(options),
    profile: readProfile(options),
    maxConnections: reader.integer('maxConnections', { min: 1, max: MAX_SLOTS }, MAX_SLOTS),
    pendingAccepts: reader.integer('pendingAccepts', { min: 1, max: 1024 }, 64),
    workers: readWorkers(reader.raw('workers'))
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
  const reader = new OptionReader(options, '')
  const host = reader.text('host')
  const listen = {
    port: reader.port('port', { min: 0, max: 65_535 }) ?? 0,
    host: host === undefined ? undefined : toHost(host, 'host'),
    backlog: reader.integer('backlog', { min: 1, max: 65_535 }, 4096),
    exclusive: reader.boolean('exclusive', true)
  }
  reader.rejectUnknown()
  return listen
}

/**
 * The target among the options of `connect`.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readTarget(options: unknown): Target {
  const reader = new OptionReader(options, '')
  const ports = { min: 1, max: 65_535 }
  const host = toHost(reader.text('host') ?? 'localhost', 'host')
  const family = reader.oneOf('family', [0, 4, 6], 0)
  const local = readLocalAddress(reader, host, family)
  return {
    host,
    port: reader.port('port', ports) ?? toInteger(undefined, 'port', ports),
    // From an address of one family only those of the same can be reached.
    family: family === 0 ? (local?.family ?? 0) : family,
    localAddress: local?.address,
    localPort: reader.port('localPort', { min: 0, max: 65_535 }) ?? 0,
    timeout: reader.duration('timeout', { min: 0, max: MAX_DURATION }, 30_000),
    attemptDelay: reader.duration('attemptDelay', { min: 10, max: MAX_DURATION }, 250),
    signal: reader.signal('signal'),
    lookup: reader.callback<Lookup>('lookup')
  }
}

function readLocalAddress(reader: OptionReader, host: string, family: 0 | 4 | 6): HostTarget | undefined {
  const given = reader.text('localAddress')
  if (given === undefined) return undefined
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
    maxDelay: reader.duration('maxDelay', { min: minDelay, max: MAX_DURATION }, Math.max(30_000, minDelay)),
    factor: fraction('factor', 1, 100, 2),
    jitter: fraction('jitter', 0, 1, 1),
    onRetry: reader.callback<NonNullable<ReconnectOptions['onRetry']>>('onRetry')
  }
  reader.rejectUnknown()
  return plan
}
