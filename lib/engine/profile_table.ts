/** The numbers under which native code knows the behaviours of connections. */

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
 * Behaviours that were used lately keep their numbers, so that equal ones are made once. The others are given up: a peer
 * may choose the parameters of a framing, and must not fill the memory with them. What connections use lives on with them.
 */
export class ProfileTable {
  static readonly #MOST = 64

  readonly #native: Pick<NativeEngine, 'addProfile'>
  readonly #submission: Submission
  /** By content, the one that was used last at the end. */
  readonly #entries = new Map<string, Entry>()
  readonly #known = new WeakMap<Profile, Entry>()

  constructor(native: Pick<NativeEngine, 'addProfile'>, submission: Submission) {
    this.#native = native
    this.#submission = submission
  }

  /** The number of a behaviour; good for a call or an operation that is made now. */
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
    // Behind every operation of this tick that names it.
    this.#submission.operation(op.freeProfile, 0, 0, oldest.index)
  }
}
