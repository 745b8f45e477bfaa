/** Turns of the event loop. */

import { setImmediate } from 'node:timers'
import { Queue } from './queue.js'

/**
 * Node's own, as they were when this module was loaded: the fake timers of a test must not hold packets back. Nothing of
 * lib calls those of the process for its own work.
 */
export const nativeSetImmediate: (body: () => void) => unknown = setImmediate
export const nativeNextTick: typeof process.nextTick = process.nextTick.bind(process)
const nativeQueueMicrotask = queueMicrotask

/** How many packets one share is for. */
export const SHARE = 64

/** Shares that each turn has: together as many packets as a batch of native code's has at most. */
const SHARES_PER_TURN = 16
/**
 * A turn of the event loop costs as much as some packets. So up to so many more are given, until as many milliseconds
 * have gone as native code's batches have in a turn.
 */
const MORE_SHARES = 112
const TURN_TIME = 8
/** As with {@link nativeSetImmediate}. */
const now = performance.now.bind(performance)

/**
 * Divides each turn of the event loop among the connections that have packets to hand over which do not come straight
 * from a batch. So they never block the event loop for longer than batches do, and each gets as much as the others: a
 * turn has rounds, and each connection one share of a round. Rounds begin behind all microtasks, for an iteration uses
 * its share up in these, while listeners have had theirs at once.
 */
class Shares {
  /** The number of this round, from 1. */
  round = 1
  #left = SHARES_PER_TURN
  /** When the turn's first share was taken. */
  #began = 0
  /** Shares of this round and of the one before. */
  #taken = 0
  #takenBefore = 0
  #isScheduled = false
  #isRoundDue = false
  readonly #waiting = new Queue<() => void>()

  /**
   * Takes a share. False when there is none left, others have waited for one already, or whoever asks has had one and
   * may not be the only one.
   * @param last the round of the last share
   */
  take(last: number): boolean {
    if (this.#waiting.length > 0 || !this.#has()) return false
    const isOnlyOne = this.#taken <= 1 && this.#takenBefore <= 1
    if (last !== this.round) this.#taken++
    else if (!isOnlyOne) return false
    this.#left--
    this.#schedule()
    return true
  }

  /** Waits for a share of a later round; it has been taken when the function is called. */
  wait(go: () => void): void {
    this.#waiting.push(go)
    if (this.#has()) this.#goRound()
    else this.#schedule()
  }

  #has(): boolean {
    if (this.#left === SHARES_PER_TURN) this.#began = now()
    return this.#left > 0 || (this.#left > -MORE_SHARES && now() - this.#began < TURN_TIME)
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    nativeSetImmediate(this.#renew)
  }

  readonly #renew = (): void => {
    this.#isScheduled = false
    this.#left = SHARES_PER_TURN
    this.#serve()
  }

  #goRound(): void {
    if (this.#isRoundDue) return
    this.#isRoundDue = true
    nativeQueueMicrotask(() => {
      nativeNextTick(() => {
        this.#isRoundDue = false
        this.#serve()
      })
    })
  }

  /** A round begins: one share for each that waits. */
  #serve(): void {
    this.round++
    this.#takenBefore = this.#taken
    this.#taken = 0
    try {
      for (let count = this.#waiting.length; count > 0 && this.#has(); count--) {
        this.#left--
        this.#taken++
        this.#waiting.shift()?.()
      }
    } finally {
      // Also after a handler threw: whoever waits behind it goes on.
      if (this.#waiting.length > 0 && this.#has()) this.#goRound()
      else if (this.#waiting.length > 0 || this.#left < SHARES_PER_TURN) this.#schedule()
    }
  }
}

export const shares = new Shares()
