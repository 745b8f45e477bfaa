/** Who may connect to a server, changed while it listens. */

import { invalidOption } from '../common/errors.js'
import { type Duration, OptionReader } from '../common/option_reader.js'
import { addressBytes, PREFIX_BYTES, prefixText } from '../native/ip_prefix.js'
import { offence, refusal } from '../native/protocol.js'
import type { NativeAccess, NativeAccessRules } from '../native/types.js'
import { type AccessOptions, readAccess, toPrefix } from './access_options.js'

/** Why a peer was refused. */
export type RefusalReason = keyof typeof refusal

/** Peers that were refused, by the reason. */
export interface RefusedInfo {
  readonly total: number
  readonly reasons: Readonly<Partial<Record<RefusalReason, number>>>
}

/** A ban that holds. */
export interface Ban {
  /** An address or a prefix. */
  readonly prefix: string
  /** When it ends, in milliseconds as of `Date.now()`; Infinity for never. */
  readonly until: number
  /** The text it was given, or what the peer did: `'protocolError'`, `'connectRate'`. */
  readonly reason: string
  /** How often this peer has been banned, without a long break. */
  readonly times: number
  /** Whether it came by `banOn`; otherwise by `ban()`. */
  readonly automatic: boolean
}

/** Options of `server.access.ban`. */
export interface BanOptions {
  /** How long it holds: 1 ms to 24 days, 0 for ever. Default as the rules say, which grows from ban to ban. */
  time?: Duration
  /** Why; at most 200 characters. Default `'manual'`. */
  reason?: string
}

/** Rules and bans, as JSON can hold them. */
export interface AccessState {
  /** Of a `net.BlockList` its prefixes. */
  readonly rules: AccessOptions
  /** Also those that are over, as long as they make the next one of the same peer longer. */
  readonly bans: readonly KeptBan[]
}

/** A ban in a state. Earlier versions did not write `automatic`; then the reason tells. */
export type KeptBan = Omit<Ban, 'automatic'> & { readonly automatic?: boolean }

const MANUAL = 'manual'
const MAX_REASON = 200
/** Different texts of reasons that are kept apart; bans beyond have {@link MANUAL}. */
const MAX_REASONS = 1000
const FIRST_REASON = 256
const BAN_BYTES = PREFIX_BYTES + 1 + 1 + 2 + 8
/** The table is copied in so many parts by whoever goes through it one by one. */
const PARTS = 64
const MAX_TIME = 2 ** 31 - 1
const FOREVER = -1

const offenceNames = Object.keys(offence)
const refusalNames = Object.keys(refusal) as RefusalReason[]

/** Rules and bans of a server. They also hold for the next `listen`. Native code decides, before any JavaScript. */
export class ServerAccess {
  /** As JSON can hold them: nothing that the program may change later. */
  #rules: AccessOptions
  #read: NativeAccessRules
  /** Whether anything was asked for: without, every peer may connect, and native code counts nothing. */
  #isUsed: boolean
  #native: NativeAccess | undefined
  /** Bans while the server does not listen, by their prefixes. */
  #bans = new Map<string, Ban>()
  readonly #reasons: string[] = []

  /**
   * @internal
   * @param isCounted whether refusals are told although there are no rules
   */
  constructor(rules: AccessOptions | undefined, isCounted = false) {
    this.#rules = plainRules(rules ?? {}, 'access')
    this.#read = readAccess(this.#rules)
    this.#isUsed = rules !== undefined || isCounted
  }

  /**
   * Bans an address or a prefix. Its open connections stay.
   * @param peer such as `'192.0.2.7'` or `'2001:db8::/48'`
   * @returns when it ends, in milliseconds as of `Date.now()`; Infinity for never. A longer ban that holds stays
   * @throws IocpError ERR_IOCP_INVALID_OPTION
   */
  ban(peer: string, options?: BanOptions): number {
    const prefix = toPrefix(peer, 'peer')
    const reader = new OptionReader(options, '')
    const time = readTime(reader)
    const reason = reader.text('reason') ?? MANUAL
    reader.rejectUnknown()
    checkReason(reason, 'reason')
    this.#use()
    return this.#ban(prefix, time, reason)
  }

  /** @param time in milliseconds; undefined as the rules say, Infinity for ever */
  #ban(prefix: Uint8Array, time: number | undefined, reason: string): number {
    if (this.#native !== undefined) {
      return untilOf(this.#native.ban(prefix, time === Infinity ? FOREVER : (time ?? 0), this.#number(reason)))
    }
    const text = prefixText(prefix)
    const before = this.#remembered(text)
    const { banTime, banFactorThousandths, banMax } = this.#read
    const grown = Math.min(banTime * (banFactorThousandths / 1000) ** (before?.times ?? 0), banMax)
    const until = Date.now() + (time ?? grown)
    const times = Math.min((before?.times ?? 0) + 1, 255)
    const ban = { ...longer(before, { prefix: text, until, reason, times, automatic: false }), times }
    this.#bans.set(text, ban)
    return ban.until
  }

  /** While the server does not listen: what is known of a prefix, unless its last ban is over for long. */
  #remembered(text: string): Ban | undefined {
    const ban = this.#bans.get(text)
    return ban !== undefined && this.#isRemembered(ban) ? ban : undefined
  }

  #isRemembered({ until }: Ban): boolean {
    return until + this.#read.banMax > Date.now()
  }

  /**
   * Ends a ban.
   * @param peer as in {@link ban}
   * @returns whether there was one for exactly this address or prefix
   * @throws IocpError ERR_IOCP_INVALID_OPTION
   */
  lift(peer: string): boolean {
    const prefix = toPrefix(peer, 'peer')
    if (this.#native !== undefined) return this.#native.lift(prefix)
    const text = prefixText(prefix)
    const held = (this.#bans.get(text)?.until ?? 0) > Date.now()
    this.#bans.delete(text)
    return held
  }

  /** The bans that hold. With very many of them it takes its time, see {@link eachBan}. */
  bans(): Ban[] {
    return [...this.eachBan()]
  }

  /**
   * The bans that hold, one by one, each as it is when its part of the table is reached: in 64 steps, between which the
   * program can do something else, or stop. Bans may come and end meanwhile; who is banned all the time is there once,
   * unless the server is closed, which ends it.
   */
  *eachBan(): IterableIterator<Ban> {
    for (const ban of this.#eachKnown()) {
      if (ban.until > Date.now()) yield ban
    }
  }

  /** Also those that are over, and make the next one longer. */
  *#eachKnown(): IterableIterator<Ban> {
    const native = this.#native
    if (native === undefined) {
      for (const ban of [...this.#bans.values()]) if (this.#isRemembered(ban)) yield ban
      return
    }
    // When the server closes between two steps, it ends there.
    for (let part = 0; part < PARTS && this.#native === native; part++) yield* this.#bansIn(native.bans(part, PARTS))
  }

  #bansIn(bytes: Uint8Array): Ban[] {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const now = Date.now()
    return Array.from({ length: bytes.length / BAN_BYTES }, (_, index) => {
      const at = index * BAN_BYTES
      const number = view.getUint16(at + PREFIX_BYTES + 2, true)
      return {
        prefix: prefixText(bytes.subarray(at, at + PREFIX_BYTES)),
        until: now + view.getFloat64(at + PREFIX_BYTES + 4, true),
        reason: offenceNames[number] ?? this.#reasons[number - FIRST_REASON] ?? MANUAL,
        times: bytes[at + PREFIX_BYTES] ?? 0,
        automatic: bytes[at + PREFIX_BYTES + 1] === 1
      }
    })
  }

  /**
   * Why a connection from an address would be refused now; undefined if it would not. `maxConnections` is not asked.
   * Nothing is counted. Always undefined while the server does not listen.
   * @throws IocpError ERR_IOCP_INVALID_OPTION
   */
  test(address: string): RefusalReason | undefined {
    const bytes = typeof (address as unknown) === 'string' ? addressBytes(address) : undefined
    if (bytes === undefined) throw invalidOption('address', address, 'an IPv4 or IPv6 address')
    return this.#native && refusalNames[this.#native.testAccess(bytes)]
  }

  /**
   * Changes rules, all in one step: those that are not given, or undefined, stay. Open connections stay.
   * @throws IocpError ERR_IOCP_INVALID_OPTION, and nothing has changed
   */
  update(rules: AccessOptions): void {
    if ((rules as unknown) === undefined) throw invalidOption('rules', rules, 'an object of rules')
    this.#change({ ...this.#rules, ...plainRules(rules, 'rules') })
  }

  /** Rules and bans, for {@link load}. */
  toJSON(): AccessState {
    return { rules: structuredClone(this.#rules), bans: [...this.#eachKnown()] }
  }

  /**
   * Takes over what {@link toJSON} gave: its rules replace those there are, its bans are added. Bans that have ended
   * meanwhile only make the next ones longer.
   * @throws IocpError ERR_IOCP_INVALID_OPTION, and nothing has changed
   */
  load(state: AccessState): void {
    if ((state as unknown) === undefined) throw invalidOption('state', state, 'an object { rules, bans }')
    const reader = new OptionReader(state, '')
    const rules = reader.raw('rules')
    const given = reader.raw('bans') ?? []
    reader.rejectUnknown()
    if (!Array.isArray(given)) throw invalidOption('bans', given, 'an array of bans')
    const bans = Array.from(given, (ban: unknown, at) => readBan(ban, `bans[${at}]`))
    this.#change(rules === undefined ? this.#rules : plainRules(rules, 'rules'))
    this.#restore(bans)
  }

  /** @internal The completion port is there. */
  _start(native: NativeAccess): void {
    this.#native = native
    if (this.#isUsed) native.setAccess(this.#read)
    const bans = this.#bans
    this.#bans = new Map()
    this.#restore([...bans.values()])
  }

  /** @internal The completion port is about to go. */
  _stop(): void {
    for (const ban of this.#eachKnown()) this.#bans.set(ban.prefix, ban)
    this.#native = undefined
  }

  #change(rules: AccessOptions): void {
    const read = readAccess(rules, 'rules')
    this.#rules = rules
    this.#read = read
    this.#isUsed = true
    this.#native?.setAccess(read)
  }

  #restore(bans: readonly Ban[]): void {
    for (const ban of bans) {
      if (!this.#isRemembered(ban)) continue
      if (this.#native !== undefined) {
        this.#native.restoreBan(this.#bytesOf(ban))
        continue
      }
      const before = this.#remembered(ban.prefix)
      this.#bans.set(ban.prefix, { ...longer(before, ban), times: Math.max(before?.times ?? 0, ban.times) })
    }
  }

  #bytesOf({ prefix, until, reason, times, automatic }: Ban): Uint8Array {
    const bytes = new Uint8Array(BAN_BYTES)
    const view = new DataView(bytes.buffer)
    bytes.set(toPrefix(prefix, 'prefix'))
    bytes.set([times, automatic ? 1 : 0], PREFIX_BYTES)
    view.setUint16(PREFIX_BYTES + 2, this.#number(reason), true)
    view.setFloat64(PREFIX_BYTES + 4, Math.ceil(until - Date.now()), true)
    return bytes
  }

  #use(): void {
    if (this.#isUsed) return
    this.#isUsed = true
    this.#native?.setAccess(this.#read)
  }

  #number(reason: string): number {
    const offended = offenceNames.indexOf(reason)
    if (offended !== -1) return offended
    if (reason === MANUAL) return FIRST_REASON - 1
    const known = this.#reasons.indexOf(reason)
    if (known !== -1) return FIRST_REASON + known
    if (this.#reasons.length === MAX_REASONS) return FIRST_REASON - 1
    return FIRST_REASON + this.#reasons.push(reason) - 1
  }
}

function longer(before: Ban | undefined, next: Ban): Ban {
  return before !== undefined && before.until > next.until ? before : next
}

function untilOf(left: number): number {
  return left < 0 ? Infinity : Date.now() + left
}

const ruleNames = Object.keys({
  allow: 0,
  deny: 0,
  maxPerAddress: 0,
  maxPerSubnet: 0,
  connectRate: 0,
  ban: 0,
  banOn: 0,
  tableSize: 0,
  onRefuse: 0
} satisfies Record<keyof AccessOptions, number>) as (keyof AccessOptions)[]
const partNames = ['count', 'v4', 'v6', 'per', 'burst', 'time', 'factor', 'max', 'within', ...offenceNames]

/**
 * A copy that no change of what was given reaches, with lists as texts.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
function plainRules(given: unknown, option: string): AccessOptions {
  const read = readAccess(given, option)
  const rules = given as Readonly<Record<string, unknown>>
  const named = ruleNames.filter((name) => rules[name] !== undefined)
  return Object.fromEntries(
    named.map((name) => [name, name === 'allow' || name === 'deny' ? textsOf(read[name]) : plain(rules[name])])
  )
}

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

/** Infinity for ever; a time that is too short to be one is an error, not 0. */
function readTime(reader: OptionReader): number | undefined {
  const given = reader.raw('time')
  if (given === undefined) return undefined
  if (given === 0 || (typeof given === 'string' && /^\s*0+\s*[a-z]*\s*$/i.test(given))) return Infinity
  return reader.duration('time', { min: 1, max: MAX_TIME }, 0)
}

function checkReason(reason: string, option: string): void {
  if (reason.length > MAX_REASON) throw invalidOption(option, reason, `text of at most ${MAX_REASON} characters`)
}

function readBan(value: unknown, option: string): Ban {
  if (value === undefined) throw invalidOption(option, value, 'a ban')
  const reader = new OptionReader(value, option)
  const prefix = prefixText(toPrefix(reader.raw('prefix'), reader.name('prefix')))
  // In JSON, Infinity is null.
  const until = reader.raw('until')
  if (until !== null && (typeof until !== 'number' || Number.isNaN(until))) {
    throw invalidOption(reader.name('until'), until, 'a time as of Date.now(), Infinity or null')
  }
  const reason = reader.text('reason') ?? MANUAL
  checkReason(reason, reader.name('reason'))
  const times = reader.integer('times', { min: 0, max: 255 }, 1)
  // States of earlier versions say it by the reason alone.
  const automatic = reader.boolean('automatic', offenceNames.includes(reason))
  reader.rejectUnknown()
  return { prefix, until: until ?? Infinity, reason, times, automatic }
}

/** What a record says of peers that were refused, and of entries that were forgotten too early. */
export function readRefused(bytes: Uint8Array): { info: RefusedInfo; evictions: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const counts = refusalNames.map((name, at) => [name, view.getUint32(4 * at, true)] as const)
  return {
    info: {
      total: counts.reduce((sum, [, count]) => sum + count, 0),
      reasons: Object.fromEntries(counts.filter(([, count]) => count > 0))
    },
    evictions: view.getUint32(4 * refusalNames.length, true)
  }
}
