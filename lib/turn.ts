/** Turns of the event loop. */

import { setImmediate } from 'node:timers'
import { Queue } from './queue.js'

/** Node's own `setImmediate`, as it was when this module was loaded: fake timers of a test must not hold packets back. */
export const nextTurn: (body: () => void) => unknown = setImmediate

/** How many packets one share is for. */
export const SHARE = 64

/** Shares that each turn has: together as many packets as a batch of native code's has at most. */
const SHARES_PER_TURN = 16
/**
 * A turn of the event loop costs as much as some packets. So up to so many more are given, until as many milliseconds
 * have gone as native code's batches have in a turn.
 */
const MORE_SHARES = 48
const TURN_TIME = 8
/** As with {@link nextTurn}. */
const now = performance.now.bind(performance)

/**
 * Divides each turn of the event loop among the connections that have packets to hand over which do not come straight
 * from a batch. So they never block the event loop for longer than batches do, and each gets as much as the others.
 */
class Shares {
  #left = SHARES_PER_TURN
  /** When the turn's first share was taken. */
  #began = 0
  #isScheduled = false
  readonly #waiting = new Queue<() => void>()

  /** Takes a share of this turn. False when there is none left, or others have waited for one already. */
  take(): boolean {
    if (this.#waiting.length > 0 || !this.#has()) return false
    this.#left--
    this.#schedule()
    return true
  }

  #has(): boolean {
    if (this.#left === SHARES_PER_TURN) this.#began = now()
    return this.#left > 0 || (this.#left > -MORE_SHARES && now() - this.#began < TURN_TIME)
  }

  /** Waits for a share; it has been taken when the function is called, in a later turn. */
  wait(go: () => void): void {
    this.#waiting.push(go)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    nextTurn(this.#renew)
  }

  readonly #renew = (): void => {
    this.#isScheduled = false
    this.#left = SHARES_PER_TURN
    try {
      while (this.#waiting.length > 0 && this.#has()) {
        this.#left--
        this.#waiting.shift()?.()
      }
    } finally {
      // Also after a handler threw: whoever waits behind it goes on in the next turn.
      if (this.#waiting.length > 0 || this.#left < SHARES_PER_TURN) this.#schedule()
    }
  }
}

export const shares = new Shares()
