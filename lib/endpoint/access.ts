/** Who may connect to a server, changed while it listens. */

import { invalidOption } from '../common/errors.js'
import { type Duration, OptionReader } from '../common/option_reader.js'
import { addressBytes, PREFIX_BYTES, prefixText } from '../native/ip_prefix.js'
import { offence, refusal } from '../native/protocol.js'
import type { NativeAccess } from '../native/types.js'
import { type AccessOptions, type AddressList, readAccess, toPrefix } from './access_options.js'

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
  readonly bans: readonly Ban[]
}

const MANUAL = 'manual'
const MAX_REASON = 200
/** Different texts of reasons that are kept apart; bans beyond have {@link MANUAL}. */
const MAX_REASONS = 1000
const FIRST_REASON = 256
const BAN_BYTES = PREFIX_BYTES + 1 + 2 + 8
const MAX_TIME = 2 ** 31 - 1
const FOREVER = -1

const offenceNames = Object.keys(offence)
const refusalNames = Object.keys(refusal) as RefusalReason[]

/** Rules and bans of a server. They also hold for the next `listen`. Native code decides, before any JavaScript. */
export class ServerAccess {
  #rules: AccessOptions
  /** Whether anything was asked for: without, every peer may connect, and native code counts nothing. */
  #isUsed: boolean
  #native: NativeAccess | undefined
  /** Bans while the server does not listen. */
  #bans: Ban[] = []
  readonly #reasons: string[] = []

  /** @internal */
  constructor(rules: AccessOptions | undefined) {
    readAccess(rules)
    this.#rules = { ...rules }
    this.#isUsed = rules !== undefined
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
    const time = reader.raw('time') === undefined ? undefined : reader.duration('time', { min: 0, max: MAX_TIME }, 0)
    const reason = reader.text('reason') ?? MANUAL
    reader.rejectUnknown()
    if (reason.length > MAX_REASON) throw invalidOption('reason', reason, `text of at most ${MAX_REASON} characters`)
    this.#use()
    if (this.#native === undefined) {
      const until = time === 0 ? Infinity : Date.now() + (time ?? readAccess(this.#rules).banTime)
      this.#bans.push({ prefix: prefixText(prefix), until, reason, times: 1 })
      return until
    }
    return untilOf(this.#native.ban(prefix, time === undefined ? 0 : time === 0 ? FOREVER : time, this.#number(reason)))
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
    const before = this.#bans.length
    this.#bans = this.#bans.filter((ban) => ban.prefix !== text)
    return this.#bans.length < before
  }

  /** The bans that hold. */
  bans(): Ban[] {
    if (this.#native === undefined) return this.#bans.filter(({ until }) => until > Date.now())
    const bytes = this.#native.bans()
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return Array.from({ length: bytes.length / BAN_BYTES }, (_, index) => {
      const at = index * BAN_BYTES
      const number = view.getUint16(at + PREFIX_BYTES + 1, true)
      return {
        prefix: prefixText(bytes.subarray(at, at + PREFIX_BYTES)),
        until: untilOf(view.getFloat64(at + PREFIX_BYTES + 3, true)),
        reason: offenceNames[number] ?? this.#reasons[number - FIRST_REASON] ?? MANUAL,
        times: bytes[at + PREFIX_BYTES] ?? 0
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
   * Changes rules, all in one step: those that are not given stay. Open connections stay.
   * @throws IocpError ERR_IOCP_INVALID_OPTION, and nothing has changed
   */
  update(rules: AccessOptions): void {
    const next = { ...this.#rules, ...rules }
    const native = readAccess(next, '')
    this.#rules = next
    this.#isUsed = true
    this.#native?.setAccess(native)
  }

  /** Rules and bans, for {@link load}. */
  toJSON(): AccessState {
    const { allow, deny, ...others } = this.#rules
    const list = (name: 'allow' | 'deny', given: AddressList | undefined) =>
      given === undefined ? {} : { [name]: textsOf(readAccess({ [name]: given })[name]) }
    return { rules: { ...others, ...list('allow', allow), ...list('deny', deny) }, bans: this.bans() }
  }

  /**
   * Takes over what {@link toJSON} gave: its rules replace those there are, its bans are added. Bans that have ended
   * meanwhile are not.
   * @throws IocpError ERR_IOCP_INVALID_OPTION, and nothing has changed
   */
  load(state: AccessState): void {
    const reader = new OptionReader(state, '')
    const rules = (reader.raw('rules') ?? {}) as AccessOptions
    const bans = reader.raw('bans') ?? []
    reader.rejectUnknown()
    if (!Array.isArray(bans)) throw invalidOption('bans', bans, 'an array of bans')
    const known = bans.map((ban: unknown, at) => readBan(ban, `bans[${at}]`))
    const native = readAccess(rules, 'rules')
    this.#rules = { ...rules }
    this.#isUsed = true
    this.#native?.setAccess(native)
    this.#restore(known)
  }

  /** @internal The completion port is there. */
  _start(native: NativeAccess): void {
    this.#native = native
    const bans = this.#bans
    this.#bans = []
    if (this.#isUsed) native.setAccess(readAccess(this.#rules))
    this.#restore(bans)
  }

  /** @internal The completion port is about to go. */
  _stop(): void {
    this.#bans = this.bans()
    this.#native = undefined
  }

  #restore(bans: readonly Ban[]): void {
    const now = Date.now()
    for (const { prefix, until, reason } of bans) {
      // In JSON, Infinity is null.
      const left = until === Infinity || (until as number | null) === null ? 0 : Math.min(until - now, MAX_TIME)
      if (left >= 0 && (until > now || left === 0)) this.ban(prefix, { time: Math.ceil(left), reason })
    }
  }

  #use(): void {
    if (this.#isUsed) return
    this.#isUsed = true
    this.#native?.setAccess(readAccess(this.#rules))
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

function untilOf(left: number): number {
  return left < 0 ? Infinity : Date.now() + left
}

function textsOf(prefixes: Uint8Array): string[] {
  return Array.from({ length: prefixes.length / PREFIX_BYTES }, (_, at) =>
    prefixText(prefixes.subarray(at * PREFIX_BYTES, (at + 1) * PREFIX_BYTES))
  )
}

function readBan(value: unknown, option: string): Ban {
  const reader = new OptionReader(value, option)
  const prefix = prefixText(toPrefix(reader.raw('prefix'), reader.name('prefix')))
  const until = reader.raw('until')
  if (until !== null && (typeof until !== 'number' || Number.isNaN(until))) {
    throw invalidOption(reader.name('until'), until, 'a time as of Date.now(), Infinity or null')
  }
  const reason = reader.text('reason') ?? MANUAL
  if (reason.length > MAX_REASON) {
    throw invalidOption(reader.name('reason'), reason, `text of at most ${MAX_REASON} characters`)
  }
  return { prefix, until: until ?? Infinity, reason, times: reader.integer('times', { min: 0, max: 255 }, 1) }
}

/** What a record says of peers that were refused. */
export function refusedInfo(bytes: Uint8Array): RefusedInfo {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const counts = refusalNames.map((name, at) => [name, view.getUint32(4 * at, true)] as const)
  return {
    total: counts.reduce((sum, [, count]) => sum + count, 0),
    reasons: Object.fromEntries(counts.filter(([, count]) => count > 0))
  }
}
