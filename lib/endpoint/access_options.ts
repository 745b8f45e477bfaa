/** Options of who may connect: their meaning, ranges and defaults, and how they are read. */

import { BlockList } from 'node:net'
import { invalidOption } from '../common/errors.js'
import { type Duration, type EachOption, MAX_DURATION, OptionReader } from '../common/option_reader.js'
import { blockListPrefixes, PREFIX_BYTES, prefixBytes, prefixText } from '../native/ip_prefix.js'
import { offence } from '../native/protocol.js'
import type { NativeAccessRules } from '../native/types.js'

/**
 * Addresses and prefixes (`'192.0.2.7'`, `'10.0.0.0/8'`, `'2001:db8::/32'`) without zones, or a `net.BlockList`, whose rules
 * are read now: what is added to it later has no effect.
 */
export type AddressList = readonly string[] | BlockList

const DAY = 86_400_000
/** Ten years. Bans have no timer, whose limit would be 24 days. */
export const MAX_BAN = 3653 * DAY

/** So many within that time. */
export interface RateOptions {
  /** 1 to 2^32 - 1. */
  count: number
  /** 1 ms to 24 days; default 1 s. */
  per?: Duration | undefined
  /** How many may come at once. 1 to 2^32 - 1; default `count`. */
  burst?: number | undefined
}

/** So many of the same kind, within that time, are a ban. */
export interface OffenceOptions {
  /** 1 to 1,000,000; default 1. */
  count?: number | undefined
  /** 1 ms to 24 days; default 10 minutes. */
  within?: Duration | undefined
}

/**
 * Who may connect to a server. Native code decides for each accepted connection, in this sequence: `allow`, `deny` and
 * bans, `maxConnections`, `maxPerAddress` and `maxPerSubnet`, `connectRate`. A mapped address of IPv6 (`::ffff:…`) is the
 * one of IPv4.
 */
export interface AccessOptions {
  /** These are neither denied nor banned, nor limited by address, subnet or rate. Default none. */
  allow?: AddressList | undefined
  /** These may not connect. To admit only those of `allow`: `['0.0.0.0/0', '::/0']`. Default none. */
  deny?: AddressList | undefined
  /** Open connections of one address. 0 to 2^32 - 1; default no limit. */
  maxPerAddress?: number | undefined
  /** Open connections of one subnet: its prefix of IPv4 (0 to 32 bits, default 24) and of IPv6 (0 to 128, default 64). */
  maxPerSubnet?: { count: number; v4?: number | undefined; v6?: number | undefined } | 0 | undefined
  /** New connections of one address. Default no limit. */
  connectRate?: RateOptions | undefined
  /**
   * How long a ban holds (`time`, 1 ms to 10 years; default 10 minutes), how many times as long the next one of the same
   * peer does (`factor`, 1 to 1000; default 2), and the longest (`max`, `time` to 10 years; default a day, or `time`
   * if that is longer).
   */
  ban?: { time?: Duration | undefined; factor?: number | undefined; max?: Duration | undefined } | undefined
  /**
   * What bans a peer: bytes that the framing cannot decode (`protocolError`), connections above `connectRate`, no packet
   * within `timeouts.firstPacket` (`firstPacketTimeout`), more than `packetRate` or `byteRate` allow, where these close
   * (`rateExceeded`). Of IPv6 the subnet is banned. Default nothing.
   */
  banOn?: { readonly [K in keyof typeof offence]?: boolean | OffenceOptions | undefined } | undefined
  /**
   * Addresses without a connection of which something is remembered, and bans: at most so many of each. Above that some
   * are forgotten, first those whose time is over; of bans that hold first those by `banOn`. `stats().access.evictions`
   * counts what is forgotten too early. 1000 to 10,000,000; default 100,000.
   */
  tableSize?: number | undefined
  /** A refused peer sees a reset (default), or a normal end. */
  onRefuse?: 'reset' | 'close' | undefined
}

const MAX_UINT32 = 2 ** 32 - 1

/** How each rule is read: what it may be, and what it is when it is not given. */
const ruleTable = {
  allow: readAddresses,
  deny: readAddresses,
  maxPerAddress: (reader, name) => reader.integer(name, { min: 0, max: MAX_UINT32 }, 0) || MAX_UINT32,
  maxPerSubnet: readSubnet,
  connectRate: readRate,
  ban: readBan,
  banOn: readBanOn,
  tableSize: (reader, name) => reader.integer(name, { min: 1000, max: 10_000_000 }, 100_000),
  onRefuse: (reader, name) => reader.oneOf(name, ['reset', 'close'], 'reset')
} satisfies Readonly<Record<keyof AccessOptions, (reader: OptionReader, name: string) => unknown>>

type RuleName = keyof typeof ruleTable
type RuleValues = { readonly [K in RuleName]: ReturnType<(typeof ruleTable)[K]> }
const ruleNames = Object.keys(ruleTable) as RuleName[]

/** Rules that were read. */
export interface AccessRules {
  readonly native: NativeAccessRules
  /** Each of them. */
  readonly values: RuleValues
  /** Those that were given, as JSON can hold them, and lists as they were read: no change of what was given reaches them. */
  readonly given: Readonly<Partial<Record<RuleName, unknown>>>
}

/**
 * The option `access`, or rules for `server.access.update`.
 * @param before what holds where nothing is given
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readRules(value: unknown, option: string, before?: AccessRules): AccessRules {
  const reader = new OptionReader(value, option)
  const named = ruleNames.filter((name) => reader.raw(name) !== undefined)
  const wanted = before === undefined ? ruleNames : named
  const values = {
    ...before?.values,
    ...Object.fromEntries(wanted.map((name) => [name, ruleTable[name](reader, name)]))
  } as RuleValues
  reader.rejectUnknown()
  const own = named.map((name) => [name, isList(name) ? values[name] : plain(reader.raw(name))])
  const given = { ...before?.given, ...(Object.fromEntries(own) as AccessRules['given']) }
  const { allow, deny, maxPerAddress, tableSize, banOn, onRefuse, maxPerSubnet, connectRate, ban } = values
  const direct = { allow, deny, maxPerAddress, tableSize, banOn, resetRefused: onRefuse === 'reset' }
  return { native: { ...direct, ...maxPerSubnet, ...connectRate, ...ban }, values, given }
}

/** Rules as options, for JSON. */
export function rulesAsOptions({ given }: AccessRules): AccessOptions {
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name, value instanceof Uint8Array ? textsOf(value) : plain(value)])
  )
}

function isList(name: RuleName): boolean {
  return name === 'allow' || name === 'deny'
}

const partNames = ['count', 'v4', 'v6', 'per', 'burst', 'time', 'factor', 'max', 'within', ...Object.keys(offence)]

/** A copy. */
function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const parts = value as Readonly<Record<string, unknown>>
  return Object.fromEntries(
    partNames.filter((name) => parts[name] !== undefined).map((name) => [name, plain(parts[name])])
  )
}

function textsOf(prefixes: Uint8Array): string[] {
  return Array.from({ length: prefixes.length / PREFIX_BYTES }, (_, at) =>
    prefixText(prefixes.subarray(at * PREFIX_BYTES, (at + 1) * PREFIX_BYTES))
  )
}

/** All prefixes one behind the other. */
export function readAddresses(reader: OptionReader, name: string): Uint8Array {
  const value = reader.raw(name)
  const allowed = 'an array of addresses and prefixes, or a net.BlockList'
  if (value === undefined) return new Uint8Array(0)
  if (value instanceof BlockList) return joined(blockListPrefixes(value, reader.name(name)))
  if (!Array.isArray(value)) throw invalidOption(reader.name(name), value, allowed)
  // Also where the array has holes, which map() would leave as they are.
  return joined(Array.from(value, (one: unknown, at) => toListed(one, `${reader.name(name)}[${at}]`)))
}

/** A rule has no zone: it would seem to hold for one network, and hold for all of them. */
function toListed(value: unknown, option: string): Uint8Array {
  if (typeof value === 'string' && value.includes('%')) {
    throw invalidOption(option, value, 'without a zone (%): rules hold for the address in every zone')
  }
  return toPrefix(value, option)
}

/**
 * Who is banned, for example; a zone, which the address of a connection may have, does not count.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function toPrefix(value: unknown, option: string): Uint8Array {
  const prefix = typeof value === 'string' ? prefixBytes(value) : undefined
  if (prefix === undefined) throw invalidOption(option, value, "an address, or a prefix such as '10.0.0.0/8'")
  return prefix
}

function joined(prefixes: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(prefixes.length * PREFIX_BYTES)
  prefixes.forEach((prefix, at) => {
    all.set(prefix, at * PREFIX_BYTES)
  })
  return all
}

function readSubnet(outer: OptionReader, name: string) {
  const given = outer.raw(name)
  const value = given === 0 ? undefined : given
  const reader = new OptionReader(
    value,
    outer.name(name),
    'an object such as { count: 20, v4: 24, v6: 64 }, or 0 for no limit'
  )
  const { count, v4, v6 } = {
    count: reader.integer('count', { min: 0, max: MAX_UINT32 }, 0),
    v4: reader.integer('v4', { min: 0, max: 32 }, 24),
    v6: reader.integer('v6', { min: 0, max: 128 }, 64)
  } satisfies EachOption<Exclude<AccessOptions['maxPerSubnet'], 0 | undefined>>
  reader.rejectUnknown()
  if (value !== undefined && reader.raw('count') === undefined) {
    throw invalidOption(reader.name('count'), undefined, `a whole number from 0 to ${MAX_UINT32}`)
  }
  return { maxPerSubnet: count || MAX_UINT32, v4SubnetBits: v4, v6SubnetBits: v6 }
}

function readRate(outer: OptionReader, name: string) {
  const value = outer.raw(name)
  if (value === undefined || value === 0) return { rateCount: 0, ratePer: 1000, rateBurst: 1 }
  const reader = new OptionReader(
    value,
    outer.name(name),
    "an object such as { count: 10, per: '1s' }, or 0 for no limit"
  )
  const range = { min: 1, max: MAX_UINT32 }
  const least = reader.integer('count', range, 0)
  const { count, per, burst } = {
    count: least,
    per: reader.duration('per', { min: 1, max: MAX_DURATION }, 1000),
    burst: reader.integer('burst', range, Math.max(least, 1))
  } satisfies EachOption<RateOptions>
  reader.rejectUnknown()
  if (count === 0) throw invalidOption(reader.name('count'), undefined, `a whole number from 1 to ${MAX_UINT32}`)
  return { rateCount: count, ratePer: per, rateBurst: burst }
}

function readBan(outer: OptionReader, name: string) {
  const reader = new OptionReader(outer.raw(name), outer.name(name))
  const range = { min: 1, max: MAX_BAN }
  const given = reader.raw('factor')
  const least = reader.duration('time', range, 600_000)
  const { time, factor, max } = {
    time: least,
    factor: given === undefined ? 2 : given,
    max: reader.duration('max', range, Math.max(DAY, least))
  } satisfies EachOption<NonNullable<AccessOptions['ban']>>
  reader.rejectUnknown()
  if (typeof factor !== 'number' || !(factor >= 1 && factor <= 1000)) {
    throw invalidOption(reader.name('factor'), factor, 'a number from 1 to 1000')
  }
  if (max < time) throw invalidOption(reader.name('max'), max, `at least 'time', ${time} milliseconds`)
  return { banTime: time, banFactorThousandths: Math.round(factor * 1000), banMax: max }
}

/** A count and a time for each offence of native code; 0 where it is none. */
function readBanOn(outer: OptionReader, name: string): Uint32Array {
  const reader = new OptionReader(outer.raw(name), outer.name(name), 'an object such as { protocolError: true }')
  const numbers = new Uint32Array(2 * Object.keys(offence).length)
  for (const [kind, number] of Object.entries(offence)) {
    const value = reader.raw(kind)
    if (value === undefined || value === false) continue
    const limit = new OptionReader(value === true ? undefined : value, reader.name(kind), 'true, false or an object')
    const { count, within } = {
      count: limit.integer('count', { min: 1, max: 1_000_000 }, 1),
      within: limit.duration('within', { min: 1, max: MAX_DURATION }, 600_000)
    } satisfies EachOption<OffenceOptions>
    limit.rejectUnknown()
    numbers.set([count, within], 2 * number)
  }
  reader.rejectUnknown()
  return numbers
}
