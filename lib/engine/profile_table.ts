/** The numbers by which native code identifies the profiles of connections. */

import type { Profile } from '../connection/profile.js'
import { op } from '../native/protocol.js'
import type { Submission } from '../native/submission.js'
import type { NativeEngine } from '../native/types.js'

interface Entry {
  readonly index: number
  readonly key: string
  isKnown: boolean
}

/**
 * Profiles that were used recently keep their numbers, so that equal ones are created once. The others are released: a
 * peer may choose the parameters of a framing, and must not fill the memory with them. Connections keep the profiles
 * they use.
 */
export class ProfileTable {
  static readonly #MOST = 64

  readonly #native: Pick<NativeEngine, 'addProfile'>
  readonly #submission: Submission
  /** By content; the most recently used one is the last. */
  readonly #entries = new Map<string, Entry>()
  readonly #known = new WeakMap<Profile, Entry>()

  constructor(native: Pick<NativeEngine, 'addProfile'>, submission: Submission) {
    this.#native = native
    this.#submission = submission
  }

  /** The number of a profile; valid for a call or an operation that is made now. */
  indexOf(profile: Profile): number {
    let entry = this.#known.get(profile)
    if (entry?.isKnown === true) {
      this.#touch(entry)
      return entry.index
    }
    const key = JSON.stringify(profile.native)
    entry = this.#entries.get(key)
    if (entry === undefined) {
      entry = { index: this.#native.addProfile(profile.native), key, isKnown: true }
    }
    this.#known.set(profile, entry)
    this.#touch(entry)
    this.#giveUpOldest()
    return entry.index
  }

  #touch(entry: Entry): void {
    this.#entries.delete(entry.key)
    this.#entries.set(entry.key, entry)
  }

  #giveUpOldest(): void {
    if (this.#entries.size <= ProfileTable.#MOST) return
    const [oldest] = this.#entries.values()
    if (oldest === undefined) return
    this.#entries.delete(oldest.key)
    oldest.isKnown = false
    // After every operation of this tick that refers to it.
    this.#submission.operation(op.freeProfile, 0, 0, oldest.index)
  }
}
