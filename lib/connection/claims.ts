/** Iterations over a connection's packets: which are active, and which wait for a packet. */

import { Queue } from '../common/queue.js'
import type { CloseInfo } from './close_info.js'

/** What an iteration gets. */
export type PacketResult = IteratorResult<Buffer, undefined>

/** The state that outlives a garbage-collected iterator; so it has no reference to the iterator. */
export interface Claim {
  /** Its calls that wait. */
  readonly waiters: Set<Waiter>
  /** The end of the connection has been reported to it. */
  isOver: boolean
}

interface Waiter {
  readonly claim: Claim
  /** Keeps the iterator from being garbage-collected while one of its calls is pending. */
  readonly iterator: object
  readonly resolve: (result: PacketResult) => void
  readonly reject: (error: Error) => void
}

export const DONE = { done: true, value: undefined } as const

export class Claims {
  readonly #claims = new Set<Claim>()
  /** In the sequence of the calls. Those that have been settled meanwhile are in no claim's set any more. */
  readonly #waiters = new Queue<Waiter>()
  #waiting = 0
  /** Packets that iterations did not consume while the connection was open. */
  readonly #kept = new Queue<Buffer>()

  /** The number of active iterations. */
  get size(): number {
    return this.#claims.size
  }

  /** How many calls wait for a packet. */
  get waiting(): number {
    return this.#waiting
  }

  /** Whether packets are kept that the connection does not wait for. */
  get hasKept(): boolean {
    return this.#kept.length > 0
  }

  has(claim: Claim): boolean {
    return this.#claims.has(claim)
  }

  add(claim: Claim): void {
    this.#claims.add(claim)
  }

  /** An iteration is over: what waits in it ends. True when it was the last. */
  remove(claim: Claim): boolean {
    for (const waiter of claim.waiters) waiter.resolve(DONE)
    this.#waiting -= claim.waiters.size
    claim.waiters.clear()
    // These are removed without an arriving packet: iterators may be created and left many times while nothing arrives.
    if (this.#waiters.length > 2 * this.#waiting) this.#waiters.filter(isWaiting)
    return this.#claims.delete(claim) && this.#claims.size === 0
  }

  /** Iterations in which nothing waits have no claim until they ask again. True when none is left. */
  removeResting(): boolean {
    const before = this.#claims.size
    for (const claim of this.#claims) if (claim.waiters.size === 0) this.#claims.delete(claim)
    return before > 0 && this.#claims.size === 0
  }

  /** Waits for a packet. */
  wait(claim: Claim, iterator: object): Promise<PacketResult> {
    return new Promise((resolve, reject) => {
      const waiter = { claim, iterator, resolve, reject }
      claim.waiters.add(waiter)
      this.#waiters.push(waiter)
      this.#waiting++
    })
  }

  /** Delivers a packet to the call that has waited longest. False if none waits. */
  give(packet: Buffer): boolean {
    const waiter = this.#first()
    waiter?.resolve({ done: false, value: packet })
    return waiter !== undefined
  }

  #first(): Waiter | undefined {
    if (this.#waiting === 0) return undefined
    let waiter = this.#waiters.shift()
    while (waiter !== undefined && !isWaiting(waiter)) waiter = this.#waiters.shift()
    waiter?.claim.waiters.delete(waiter)
    this.#waiting--
    return waiter
  }

  /** Keeps a packet for the iterations; the connection continues without them. */
  keep(packet: Buffer): void {
    this.#kept.push(packet)
  }

  /** A packet that was kept. */
  takeKept(): Buffer | undefined {
    return this.#kept.shift()
  }

  /** Discards what was kept. */
  clear(): void {
    this.#kept.clear()
  }

  /** The connection has closed: pending calls end. */
  end(info: CloseInfo): void {
    for (let waiter = this.#first(); waiter !== undefined; waiter = this.#first()) {
      this.last(waiter.claim, info).then(waiter.resolve, waiter.reject)
    }
    this.#claims.clear()
  }

  /** The result for an iteration when the connection has closed: remaining packets, then the error, then the end. */
  last(claim: Claim, info: CloseInfo): Promise<PacketResult> {
    const value = this.#kept.shift()
    if (value !== undefined) return Promise.resolve({ done: false, value })
    const error = claim.isOver ? undefined : info.error
    claim.isOver = true
    return error === undefined ? Promise.resolve(DONE) : Promise.reject(error)
  }
}

function isWaiting(waiter: Waiter): boolean {
  return waiter.claim.waiters.has(waiter)
}
