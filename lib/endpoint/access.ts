/** Who may connect to a server, changed while it listens. */

import { invalidOption } from '../common/errors.js'
import { type Duration, isZeroDuration, OptionReader } from '../common/option_reader.js'
import { addressBytes, isInPrefixes, PREFIX_BYTES, prefixText } from '../native/ip_prefix.js'
import { refusal } from '../native/protocol.js'
import type { NativeAccess } from '../native/types.js'
import { type AccessOptions, type AccessRules, MAX_BAN, readRules, rulesAsOptions, toPrefix } from './access_options.js'
import { BanReasons, MANUAL, offenceNames } from './ban_reasons.js'
import { KeptBans } from './kept_bans.js'

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
  /**
   * The text it was given, or what the peer did: `'protocolError'`, `'connectRate'`, `'firstPacketTimeout'`,
   * `'rateExceeded'`.
   */
  readonly reason: string
  /** How often this peer has been banned, without a long break. */
  readonly times: number
  /** Whether it came by `banOn`; otherwise by `ban()`. */
  readonly automatic: boolean
}

/** Options of `server.access.ban`. */
export interface BanOptions {
  /** How long it holds: 1 ms to 10 years, 0 for ever. Default as the rules say, which grows from ban to ban. */
  time?: Duration | undefined
  /** Why; at most 200 characters. Default `'manual'`. */
  reason?: string | undefined
}

/** Rules and bans, as JSON can hold them. */
export interface AccessState {
  /** Of a `net.BlockList` its prefixes. */
  readonly rules: AccessOptions
  /** Also those that are over, as long as they make the next one of the same peer longer. */
  readonly bans: readonly Ban[]
}

/** What `server.access.load` takes. A part that is absent, or undefined, stays as it is. */
export interface KeptAccess {
  /** In place of those there are. */
  readonly rules?: AccessOptions | undefined
  /** Added to those there are. */
  readonly bans?: readonly KeptBan[] | undefined
}

/**
 * A ban in a state, as it comes back from JSON: an end of null is never. Earlier versions did not write `automatic`; then
 * the reason tells.
 */
export type KeptBan = Omit<Ban, 'automatic' | 'until'> & {
  readonly until: number | null
  readonly automatic?: boolean | undefined
}

const MAX_REASON = 200
// A ban of native code: see NativeAccess.
const REASON_AT = PREFIX_BYTES + 1 + 1
const LEFT_AT = REASON_AT + 2
const BAN_BYTES = LEFT_AT + 8
/** The table is copied in so many parts by whoever goes through it one by one. */
const PARTS = 64
const FOREVER = -1

const refusalNames = Object.keys(refusal) as RefusalReason[]

/** Rules and bans of a server. They also hold for the next `listen`. Native code decides, before any JavaScript. */
export class ServerAccess {
  #rules: AccessRules
  /** Whether anything was asked for: without, every peer may connect, and native code counts nothing. */
  #isUsed: boolean
  #native: NativeAccess | undefined
  /** While the server does not listen. */
  readonly #kept = new KeptBans(() => this.#rules.native)
  /** While it does. */
  readonly #reasons = new BanReasons()

  /**
   * @internal
   * @param isCounted whether refusals are told although there are no rules
   */
  constructor(rules: AccessRules | undefined, isCounted = false) {
    this.#rules = rules ?? readRules({}, 'access')
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
    if (this.#native === undefined) return this.#kept.ban(prefix, time, reason)
    return untilOf(this.#native.ban(prefix, time === Infinity ? FOREVER : (time ?? 0), this.#number(reason)))
  }

  /**
   * Ends a ban.
   * @param peer as in {@link ban}
   * @returns whether there was one for exactly this address or prefix
   * @throws IocpError ERR_IOCP_INVALID_OPTION
   */
  lift(peer: string): boolean {
    const prefix = toPrefix(peer, 'peer')
    return this.#native === undefined ? this.#kept.lift(prefix) : this.#native.lift(prefix)
  }

  /**
   * Ends all bans, and forgets how often each peer was banned: the next one is as long as a first one. With very many of
   * them it takes its time.
   */
  clear(): void {
    if (this.#native === undefined) {
      this.#kept.clear()
      return
    }
    for (const bytes of eachBytes(this.#native)) this.#native.lift(bytes.subarray(0, PREFIX_BYTES))
    // Those that have come meanwhile are for what a peer has done, which has a number always.
    this.#reasons.clear()
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
      yield* this.#kept.all()
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
      return {
        prefix: prefixText(bytes.subarray(at, at + PREFIX_BYTES)),
        until: now + view.getFloat64(at + LEFT_AT, true),
        reason: this.#reasons.text(view.getUint16(at + REASON_AT, true)),
        times: bytes[at + PREFIX_BYTES] ?? 0,
        automatic: bytes[at + PREFIX_BYTES + 1] === 1
      }
    })
  }

  /**
   * Why a connection from an address would be refused now; undefined if it would not. `maxConnections` is not asked.
   * Nothing is counted. While the server does not listen nobody is connected, and no rate has been used up.
   * @throws IocpError ERR_IOCP_INVALID_OPTION
   */
  test(address: string): RefusalReason | undefined {
    const bytes = typeof (address as unknown) === 'string' ? addressBytes(address) : undefined
    if (bytes === undefined) throw invalidOption('address', address, 'an IPv4 or IPv6 address')
    return this.#native === undefined ? this.#judge(bytes) : refusalNames[this.#native.testAccess(bytes)]
  }

  /** As native code does (native/core/access/access_table.cc), but that there are no connections. */
  #judge(address: Uint8Array): RefusalReason | undefined {
    const { allow, deny } = this.#rules.native
    if (isInPrefixes(address, allow)) return undefined
    if (isInPrefixes(address, deny)) return 'denied'
    if (this.#kept.has(address)) return 'banned'
    return undefined
  }

  /**
   * Changes rules, all in one step: those that are not given, or undefined, stay; one that is given, such as `banOn`, is
   * replaced as a whole. Open connections stay.
   * @throws IocpError ERR_IOCP_INVALID_OPTION, and nothing has changed
   */
  update(rules: AccessOptions): void {
    if ((rules as unknown) === undefined) throw invalidOption('rules', rules, 'an object of rules')
    this.#change(readRules(rules, 'rules', this.#rules))
  }

  /** Rules and bans, for {@link load}. */
  toJSON(): AccessState {
    return { rules: rulesAsOptions(this.#rules), bans: [...this.#eachKnown()] }
  }

  /**
   * Takes over what {@link toJSON} gave: its rules replace those there are, its bans are added; without either, those there
   * are stay. Bans that have ended meanwhile only make the next ones longer.
   * @throws IocpError ERR_IOCP_INVALID_OPTION, and nothing has changed
   */
  load(state: KeptAccess): void {
    if ((state as unknown) === undefined) throw invalidOption('state', state, 'an object { rules, bans }')
    const reader = new OptionReader(state, '')
    const rules = reader.raw('rules')
    const given = reader.raw('bans') ?? []
    reader.rejectUnknown()
    if (!Array.isArray(given)) throw invalidOption('bans', given, 'an array of bans')
    const bans = Array.from(given, (ban: unknown, at) => readBan(ban, `bans[${at}]`))
    if (rules !== undefined) this.#change(readRules(rules, 'rules'))
    if (bans.length > 0) this.#use()
    this.#restore(bans)
  }

  /** @internal The completion port is there. */
  _start(native: NativeAccess): void {
    this.#native = native
    if (this.#isUsed) native.setAccess(this.#rules.native)
    const bans = this.#kept.all()
    this.#kept.clear()
    this.#restore(bans)
  }

  /** @internal The completion port is about to go. */
  _stop(): void {
    const bans = [...this.#eachKnown()]
    this.#native = undefined
    this.#reasons.clear()
    this.#restore(bans)
  }

  #change(rules: AccessRules): void {
    this.#rules = rules
    this.#isUsed = true
    this.#native?.setAccess(rules.native)
  }

  #restore(bans: readonly Ban[]): void {
    for (const ban of bans) {
      if (this.#native === undefined) this.#kept.restore(ban)
      else this.#native.restoreBan(this.#bytesOf(ban))
    }
  }

  #bytesOf({ prefix, until, reason, times, automatic }: Ban): Uint8Array {
    const bytes = new Uint8Array(BAN_BYTES)
    const view = new DataView(bytes.buffer)
    bytes.set(toPrefix(prefix, 'prefix'))
    bytes.set([times, automatic ? 1 : 0], PREFIX_BYTES)
    view.setUint16(REASON_AT, this.#number(reason), true)
    view.setFloat64(LEFT_AT, Math.ceil(until - Date.now()), true)
    return bytes
  }

  #use(): void {
    if (this.#isUsed) return
    this.#isUsed = true
    this.#native?.setAccess(this.#rules.native)
  }

  #number(reason: string): number {
    const native = this.#native
    return this.#reasons.number(reason, function* () {
      if (native === undefined) return
      for (const bytes of eachBytes(native)) yield (bytes[REASON_AT] ?? 0) | ((bytes[REASON_AT + 1] ?? 0) << 8)
    })
  }
}

/** The bytes of each ban that native code knows. */
function* eachBytes(native: NativeAccess): IterableIterator<Uint8Array> {
  for (let part = 0; part < PARTS; part++) {
    const bytes = native.bans(part, PARTS)
    for (let at = 0; at < bytes.length; at += BAN_BYTES) yield bytes.subarray(at, at + BAN_BYTES)
  }
}

function untilOf(left: number): number {
  return left < 0 ? Infinity : Date.now() + left
}

/** Infinity for ever; a time that is too short to be one is an error, not 0. */
function readTime(reader: OptionReader): number | undefined {
  const given = reader.raw('time')
  if (given === undefined) return undefined
  return isZeroDuration(given) ? Infinity : reader.duration('time', { min: 1, max: MAX_BAN }, 0)
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
