/** Time limits and rates of connections: what they mean, how they are read, and what native code is told of them. */

import { invalidOption, IocpError, show } from '../common/errors.js'
import {
  type Duration,
  type EachOption,
  isRecord,
  isZeroDuration,
  isZeroSize,
  OptionReader,
  type Size,
  toDuration
} from '../common/option_reader.js'
import { timeEvent } from '../native/protocol.js'
import type { NativeProfile, NativeRateLimit } from '../native/types.js'
import type { Connection } from './connection.js'

/** What a connection without activity is a matter of: bytes of the peer, bytes that it takes, or either. */
export interface IdleOptions {
  /** No byte of the peer for so long. 10 ms to 24 days, 0 (default) for no limit. */
  read?: Duration | undefined
  /** No byte that the peer has taken for so long. 10 ms to 24 days, 0 (default) for no limit. */
  write?: Duration | undefined
  /** Neither for so long. 10 ms to 24 days, 0 (default) for no limit. */
  both?: Duration | undefined
  /** `'close'` (default) the connection closes with cause 'idle-timeout'; `'event'` it emits 'idle' and stays open. */
  action?: 'close' | 'event' | undefined
}

/** The least that a peer must send while it is within a packet. */
export interface MinRateOptions {
  /** 1 to 2^32 - 1. */
  bytes: Size
  /** In each period of this length. 10 ms to 24 days; default 1 s. */
  per?: Duration | undefined
  /** The first period of a packet is so much longer. 0 to 24 days; default 5 s. */
  grace?: Duration | undefined
}

/**
 * Time limits of a connection. Time does not pass for a peer while this side does not read from it, nor while the whole
 * process is stopped or the machine sleeps. 0 for no limit, which is the default of all of them; else 10 ms to 24 days.
 */
export interface TimeoutOptions {
  /** From the beginning to the end of the first packet, with raw framing to the first bytes. */
  firstPacket?: Duration | undefined
  /**
   * From the first byte of a packet to its last. Packets that are delivered as streams are not limited. No effect with raw
   * framing, which has no packets: use `idle` and `firstPacket`.
   */
  packet?: Duration | undefined
  /** Without activity. A duration is `{ read: duration }`. */
  idle?: Duration | IdleOptions | undefined
  /** Data waits to be sent, and the peer has taken nothing of it. Progress is seen in steps of up to 64 KiB. */
  sendStall?: Duration | undefined
  /**
   * A peer that is slower within a packet is disconnected with cause 'too-slow'. 0 (default) for no limit. No effect with
   * raw framing, which has no packets: use `idle` and `firstPacket`.
   */
  minRate?: MinRateOptions | 0 | '0' | undefined
  /**
   * The connection is ended gracefully after this time, with cause 'max-life'. Up to a tenth earlier or later, so that
   * connections that began together do not end together.
   */
  life?: Duration | undefined
}

/** The same, checked and completed: milliseconds and bytes, 0 for no limit. */
export interface TimeoutSettings {
  readonly firstPacket: number
  readonly packet: number
  readonly idle: { readonly read: number; readonly write: number; readonly both: number; readonly closes: boolean }
  readonly sendStall: number
  readonly minRate: { readonly bytes: number; readonly per: number; readonly grace: number }
  readonly life: number
}

const NO_LIMITS: TimeoutSettings = {
  firstPacket: 0,
  packet: 0,
  idle: { read: 0, write: 0, both: 0, closes: true },
  sendStall: 0,
  minRate: { bytes: 0, per: 1000, grace: 5000 },
  life: 0
}

const DAY = 86_400_000
/** So long a peer may take to end its side when a life is over, where `endDeadline` has no limit. */
export const LIFE_END = 10_000
const MAX_UINT32 = 2 ** 32 - 1
/** The clock has ticks of 16 ms: shorter limits than these mean nothing. */
const limit = { min: 10, max: 24 * DAY }

/** A time limit: 0 for none. */
function readLimit(reader: OptionReader, name: string, fallback: number): number {
  const value = reader.raw(name)
  return toLimit(value === undefined ? fallback : value, reader.name(name))
}

function toLimit(value: unknown, name: string): number {
  if (isZeroDuration(value)) return 0
  return toDuration(
    value,
    name,
    limit,
    "0, or 10 milliseconds to 24 days (a number of milliseconds, or text like '10s')"
  )
}

function readIdle(value: unknown, name: string): TimeoutSettings['idle'] {
  if (!isRecord(value)) return { ...NO_LIMITS.idle, read: toLimit(value, name) }
  const reader = new OptionReader(value, name)
  const { action, ...times } = {
    read: readLimit(reader, 'read', 0),
    write: readLimit(reader, 'write', 0),
    both: readLimit(reader, 'both', 0),
    action: reader.oneOf('action', ['close', 'event'], 'close')
  } satisfies EachOption<IdleOptions>
  reader.rejectUnknown()
  return { ...times, closes: action === 'close' }
}

function readMinRate(value: unknown, name: string): TimeoutSettings['minRate'] {
  if (isZeroSize(value)) return NO_LIMITS.minRate
  const reader = new OptionReader(value, name, "an object such as { bytes: 240, per: '1s', grace: '5s' }")
  const minRate = {
    bytes: reader.size('bytes', { min: 1, max: MAX_UINT32 }, 0),
    per: reader.duration('per', limit, 1000),
    grace: reader.duration('grace', { min: 0, max: limit.max }, 5000)
  } satisfies EachOption<MinRateOptions>
  reader.rejectUnknown()
  if (minRate.bytes === 0)
    throw invalidOption(reader.name('bytes'), undefined, `a number of bytes from 1 to ${MAX_UINT32}`)
  if (minRate.per + minRate.grace > limit.max) {
    throw invalidOption(reader.name('grace'), value, "at most 24 days together with 'per'")
  }
  return minRate
}

/**
 * The option `timeouts`, or the argument of `setTimeouts`.
 * @param before what holds where nothing is given
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readTimeouts(value: unknown, name: string, before: TimeoutSettings = NO_LIMITS): TimeoutSettings {
  const reader = new OptionReader(value, name, "an object such as { idle: '2m' }")
  const [idle, minRate] = [reader.raw('idle'), reader.raw('minRate')]
  const settings = {
    firstPacket: readLimit(reader, 'firstPacket', before.firstPacket),
    packet: readLimit(reader, 'packet', before.packet),
    idle: idle === undefined ? before.idle : readIdle(idle, reader.name('idle')),
    sendStall: readLimit(reader, 'sendStall', before.sendStall),
    minRate: minRate === undefined ? before.minRate : readMinRate(minRate, reader.name('minRate')),
    life: readLimit(reader, 'life', before.life)
  } satisfies EachOption<TimeoutOptions>
  reader.rejectUnknown()
  return settings
}

/** In the sequence in which native code reads them (native/napi/args.cc). */
export function nativeTimeLimits(timeouts: TimeoutSettings, endDeadline: number): number[] {
  const { firstPacket, packet, idle, sendStall, minRate, life } = timeouts
  const lifeEnd = life === 0 ? 0 : Math.min(endDeadline || LIFE_END, limit.max)
  const rate = [minRate.bytes, minRate.per, minRate.grace]
  return [firstPacket, packet, idle.read, idle.write, idle.both, sendStall, ...rate, life, lifeEnd, Number(idle.closes)]
}

/** How fast a peer may send. */
export interface PacketRateOptions {
  /** Packets. 1 to 2^32 - 1. */
  count: number
  /** In each period of this length. 1 ms to 1 day; default 1 s. */
  per?: Duration | undefined
  /** How many may come at once. What comes in 32 ms at the rate to 2^32 - 1; default `count`, or that if it is more. */
  burst?: number | undefined
  /**
   * What happens to a peer that is faster: `'pause'` (default) it is read no faster, so that TCP throttles it; `'drop'`
   * packets above the rate are dropped, which `stats().counters.rateDrops` counts; `'close'` the connection closes with
   * cause 'rate-exceeded'; `'ban'` the same, and a server bans the peer as `access.ban` says.
   */
  onExceed?: 'pause' | 'drop' | 'close' | 'ban' | undefined
}

/** The same for bytes, those of headers included unless packets are dropped. */
export interface ByteRateOptions {
  /** Bytes. 1 to 2^32 - 1. */
  bytes: Size
  /** In each period of this length. 1 ms to 1 day; default 1 s. */
  per?: Duration | undefined
  /** How many may come at once. What comes in 32 ms at the rate to 2^32 - 1; default `bytes`, or that if it is more. */
  burst?: Size | undefined
  /** As in {@link PacketRateOptions.onExceed}. `'drop'` drops whole packets. */
  onExceed?: PacketRateOptions['onExceed']
}

const ON_EXCEED = ['pause', 'drop', 'close', 'ban'] as const
const count = { min: 1, max: MAX_UINT32 }
const ratePeriod = { min: 1, max: DAY }

/**
 * Two ticks of the clock by which rates are judged, GetTickCount64, in milliseconds: what comes within them seems to come
 * at once, so a smaller burst would hold up, or punish, who keeps to the rate.
 */
const TICKS = 32

function withBurst(reader: OptionReader, rate: NativeRateLimit): NativeRateLimit {
  const least = Math.min(Math.ceil((rate.count * TICKS) / rate.per), MAX_UINT32)
  if (rate.burst === 0) return { ...rate, burst: Math.max(rate.count, least) }
  if (rate.burst < least) {
    throw invalidOption(reader.name('burst'), rate.burst, `at least ${least}, what may come within 32 milliseconds`)
  }
  return rate
}

/** The option `packetRate`; undefined for no limit. @throws IocpError ERR_IOCP_INVALID_OPTION */
export function readPacketRate(value: unknown, name: string): NativeRateLimit | undefined {
  if (value === undefined) return undefined
  const reader = new OptionReader(value, name, "an object such as { count: 100, per: '1s' }")
  const units = reader.integer('count', count, 0)
  const rate = {
    count: units,
    per: reader.duration('per', ratePeriod, 1000),
    burst: reader.integer('burst', count, 0),
    onExceed: reader.oneOf('onExceed', ON_EXCEED, 'pause')
  } satisfies EachOption<PacketRateOptions>
  reader.rejectUnknown()
  if (units === 0) throw invalidOption(reader.name('count'), undefined, `a whole number from 1 to ${MAX_UINT32}`)
  return withBurst(reader, rate)
}

/** The option `byteRate`; undefined for no limit. @throws IocpError ERR_IOCP_INVALID_OPTION */
export function readByteRate(value: unknown, name: string): NativeRateLimit | undefined {
  if (value === undefined) return undefined
  const reader = new OptionReader(value, name, "an object such as { bytes: '64KiB', per: '1s' }")
  const units = reader.size('bytes', count, 0)
  const { bytes, ...rate } = {
    bytes: units,
    per: reader.duration('per', ratePeriod, 1000),
    burst: reader.size('burst', count, 0),
    onExceed: reader.oneOf('onExceed', ON_EXCEED, 'pause')
  } satisfies EachOption<ByteRateOptions>
  reader.rejectUnknown()
  if (bytes === 0) throw invalidOption(reader.name('bytes'), undefined, `a number of bytes from 1 to ${MAX_UINT32}`)
  return withBurst(reader, { count: bytes, ...rate })
}

/**
 * What a framing and a side demand of rates.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function checkRates(
  native: Pick<NativeProfile, 'packetRate' | 'byteRate' | 'receive'>,
  isServer: boolean
): void {
  for (const name of ['packetRate', 'byteRate'] as const) {
    const how = native[name]?.onExceed
    if (how === 'drop' && native.receive.kind === 'raw') {
      throw invalidOption(
        `${name}.onExceed`,
        how,
        "'pause' or 'close': raw framing has no packets that could be dropped"
      )
    }
    if (how === 'ban' && !isServer) {
      throw invalidOption(`${name}.onExceed`, how, "'pause', 'drop' or 'close': only servers ban peers")
    }
  }
}

/** The argument of 'idle'. */
export interface IdleInfo {
  /** Which limit of `timeouts.idle` has passed. */
  readonly kind: 'read' | 'write' | 'both'
  /** How often it has passed since the last activity of this kind. */
  readonly count: number
}

const idleKinds: Readonly<Record<number, IdleInfo['kind']>> = {
  [timeEvent.idleRead]: 'read',
  [timeEvent.idleWrite]: 'write',
  [timeEvent.idleBoth]: 'both'
}

/** What an event of native code about time is for the program; undefined: the life of the connection is over. */
export function idleInfo(event: number, times: number): IdleInfo | undefined {
  const kind = idleKinds[event]
  return kind === undefined ? undefined : { kind, count: times }
}

/** New time limits for a connection; what is not given stays. No effect when it has closed. @throws IocpError ERR_IOCP_INVALID_OPTION */
export function setTimeouts(connection: Connection, options: unknown): void {
  const { _engine: engine, _profile: profile, _slot: slot, _generation: generation } = connection
  if (!isRecord(options)) {
    const message = `Argument 'options' must be an object such as { idle: '2m' }; it is ${show(options)}`
    throw new IocpError('ERR_IOCP_INVALID_OPTION', message, { option: 'options', value: options })
  }
  const timeouts = readTimeouts(options, '', profile.timeouts)
  connection._profile = { ...profile, timeouts }
  engine.setTimeLimits(slot, generation, Uint32Array.from(nativeTimeLimits(timeouts, profile.endDeadline)))
}
