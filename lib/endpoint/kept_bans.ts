/** Bans of a server that does not listen: there is no native code then that keeps them. */

import { addressIs4, prefixAround, prefixText, V4_BITS } from '../native/ip_prefix.js'
import type { NativeAccessRules } from '../native/types.js'
import type { Ban } from './access.js'

/** Grown by so much, of an eighth at least, a table is brought back to its size: with each ban that would take too long. */
const LEAST_ROOM = 1000

/** As native code keeps them (native/core/access/ban_list.h), with their reasons in full. */
export class KeptBans {
  /** By their prefixes as text; those that were given last are the last. */
  readonly #bans = new Map<string, Ban>()
  readonly #rules: () => NativeAccessRules

  /** @param rules those in force */
  constructor(rules: () => NativeAccessRules) {
    this.#rules = rules
  }

  /**
   * @param time in milliseconds; undefined as the rules say, Infinity for ever
   * @returns when it ends
   */
  ban(prefix: Uint8Array, time: number | undefined, reason: string): number {
    const text = prefixText(prefix)
    const before = this.#remembered(text)
    const { banTime, banFactorThousandths, banMax } = this.#rules()
    const grown = Math.min(banTime * (banFactorThousandths / 1000) ** (before?.times ?? 0), banMax)
    const until = Date.now() + (time ?? grown)
    const times = Math.min((before?.times ?? 0) + 1, 255)
    const ban = { ...longer(before, { prefix: text, until, reason, times, automatic: false }), times }
    this.#set(ban)
    return ban.until
  }

  /** Takes over a ban as it was kept. */
  restore(ban: Ban): void {
    if (!this.#isRemembered(ban)) return
    const before = this.#remembered(ban.prefix)
    this.#set({ ...longer(before, ban), times: Math.max(before?.times ?? 0, ban.times) })
  }

  /** Whether it held. */
  lift(prefix: Uint8Array): boolean {
    const text = prefixText(prefix)
    const held = (this.#bans.get(text)?.until ?? 0) > Date.now()
    this.#bans.delete(text)
    return held
  }

  /** Whether one holds for an address. */
  has(address: Uint8Array): boolean {
    if (this.#bans.size === 0) return false
    const now = Date.now()
    const least = addressIs4(address) ? V4_BITS : 0
    for (let bits = 128; bits >= least; bits--) {
      if ((this.#bans.get(prefixText(prefixAround(address, bits)))?.until ?? 0) > now) return true
    }
    return false
  }

  /** Those that hold, or are over and make the next one longer. */
  all(): Ban[] {
    return [...this.#bans.values()].filter((ban) => this.#isRemembered(ban))
  }

  clear(): void {
    this.#bans.clear()
  }

  /** What is known of a prefix, unless its last ban is over for long. */
  #remembered(text: string): Ban | undefined {
    const ban = this.#bans.get(text)
    return ban !== undefined && this.#isRemembered(ban) ? ban : undefined
  }

  #isRemembered({ until }: Ban): boolean {
    return until + this.#rules().banMax > Date.now()
  }

  #set(ban: Ban): void {
    this.#bans.delete(ban.prefix)
    this.#bans.set(ban.prefix, ban)
    const { tableSize } = this.#rules()
    if (this.#bans.size >= tableSize + Math.max(LEAST_ROOM, tableSize / 8)) this.#makeRoom(tableSize)
  }

  /** Those that are over go first, then automatic ones, then the oldest. */
  #makeRoom(most: number): void {
    const now = Date.now()
    const goes = [({ until }: Ban) => until <= now, ({ automatic }: Ban) => automatic, () => true]
    for (const mayGo of goes) {
      for (const [text, ban] of this.#bans) {
        if (this.#bans.size <= most) return
        if (mayGo(ban)) this.#bans.delete(text)
      }
    }
  }
}

function longer(before: Ban | undefined, next: Ban): Ban {
  return before !== undefined && before.until > next.until ? before : next
}
