/** Why a peer is banned, as a number: native code keeps no text. */

import { offence } from '../native/protocol.js'

/** The reason of a ban without one, and of those for which there is no number left. */
export const MANUAL = 'manual'

/** Different texts that have numbers at a time. */
const MOST = 1000
/** Below are those of offences, and the one of {@link MANUAL}. */
const FIRST = 256
const MANUAL_NUMBER = FIRST - 1
/** For so many bans whose numbers are read when all numbers are taken, one more may ask for a number before the next time. */
const BANS_PER_SEARCH = 1024

/** What peers are banned for by themselves. */
export const offenceNames: readonly string[] = Object.keys(offence)

export class BanReasons {
  readonly #numbers = new Map<string, number>()
  readonly #texts: (string | undefined)[] = []
  #free: number[] = []
  /** How many have been refused a number since the last search for those that no ban has any more, and how many may be. */
  #refused = 0
  #mayBeRefused = 0

  text(number: number): string {
    return offenceNames[number] ?? this.#texts[number - FIRST] ?? MANUAL
  }

  /** @param inUse the numbers of all bans, for when there is none left: it takes the longer the more bans there are */
  number(reason: string, inUse: () => Iterable<number>): number {
    const offended = offenceNames.indexOf(reason)
    if (offended !== -1) return offended
    if (reason === MANUAL) return MANUAL_NUMBER
    const number = this.#numbers.get(reason) ?? this.#next(inUse)
    if (number === undefined) return MANUAL_NUMBER
    this.#numbers.set(reason, number)
    this.#texts[number - FIRST] = reason
    return number
  }

  /** No ban has any of them. */
  clear(): void {
    this.#numbers.clear()
    this.#texts.length = 0
    this.#free = []
    this.#mayBeRefused = 0
  }

  #next(inUse: () => Iterable<number>): number | undefined {
    if (this.#texts.length < MOST) return FIRST + this.#texts.length
    if (this.#free.length === 0) this.#search(inUse)
    return this.#free.pop()
  }

  #search(inUse: () => Iterable<number>): void {
    if (this.#refused++ < this.#mayBeRefused) return
    const used = new Set<number>()
    let bans = 0
    for (const number of inUse()) {
      bans++
      used.add(number)
    }
    for (const [reason, number] of this.#numbers) {
      if (used.has(number)) continue
      this.#numbers.delete(reason)
      this.#texts[number - FIRST] = undefined
      this.#free.push(number)
    }
    this.#refused = 0
    this.#mayBeRefused = Math.floor(bans / BANS_PER_SEARCH)
  }
}
