/** Turns of the event loop. */

import { setImmediate } from 'node:timers'
import { Queue } from './queue.js'

/**
 * Node's own, as they were when this module was loaded: fake timers of a test must not hold packets back. lib never
 * calls those of the process for its own work.
 */
export const nativeSetImmediate: (body: () => void) => unknown = setImmediate
export const nativeNextTick: typeof process.nextTick = process.nextTick.bind(process)
const nativeQueueMicrotask = queueMicrotask

/** Packets per share. */
export const SHARE = 64

/** Shares per turn: together as many packets as a batch of native code has at most. */
const SHARES_PER_TURN = 16
/**
 * A turn of the event loop costs as much as some packets. So up to this many additional shares are given, until the
 * milliseconds have passed that native code's batches have in a turn.
 */
const MORE_SHARES = 112
const TURN_TIME = 8
/** As with {@link nativeSetImmediate}. */
const now = performance.now.bind(performance)

/**
 * Divides each turn of the event loop among the connections that deliver packets which do not come directly from a
 * batch. So they never block the event loop for longer than batches do, and each gets an equal part: a turn has rounds,
 * and each connection has one share of a round. Rounds start after all microtasks, because an iteration uses its share
 * in these, while listeners use theirs immediately.
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
   * Takes a share. False if there is none left, if others are already waiting, or if the caller has had one and may not
   * be the only one.
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

  /** Waits for a share of a later round; it is taken when the function is called. */
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

  /** Starts a round: one share for each waiting caller. */
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
      // Also after a handler threw: those waiting after it continue.
      if (this.#waiting.length > 0 && this.#has()) this.#goRound()
      else if (this.#waiting.length > 0 || this.#left < SHARES_PER_TURN) this.#schedule()
    }
  }
}

export const shares = new Shares()
