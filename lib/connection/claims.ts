/** Iterations over a connection's packets: who is under way, and who waits for a packet. */

import { Queue } from '../common/queue.js'
import type { CloseInfo } from './close_info.js'

/** What an iteration gets. */
export type PacketResult = IteratorResult<Buffer, undefined>

/** What an iterator leaves behind when it is forgotten; so it knows nothing of the iterator itself. */
export interface Claim {
  /** Its calls that wait. */
  readonly waiters: Set<Waiter>
  /** It has been told how the connection ended. */
  isOver: boolean
}

interface Waiter {
  readonly claim: Claim
  /** The iterator, which nobody may forget while a call of it waits. */
  readonly iterator: object
  readonly resolve: (result: PacketResult) => void
  readonly reject: (error: Error) => void
}

export const DONE = { done: true, value: undefined } as const

export class Claims {
  readonly #claims = new Set<Claim>()
  /** In the order of the calls. Those that have been settled meanwhile are in no claim's set any more. */
  readonly #waiters = new Queue<Waiter>()
  #waiting = 0
  /** Packets that iterations did not take while the connection was there. */
  readonly #kept = new Queue<Buffer>()

  /** How many iterations are under way. */
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
    // Nobody has to come for these to go: an iterator may be made and left again many times while nothing arrives.
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

  /** Gives a packet to whoever has waited longest. False when nobody waits. */
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

  /** Keeps a packet for the iterations; the connection goes on without them. */
  keep(packet: Buffer): void {
    this.#kept.push(packet)
  }

  /** A packet that was kept. */
  takeKept(): Buffer | undefined {
    return this.#kept.shift()
  }

  /** Throws away what was kept. */
  clear(): void {
    this.#kept.clear()
  }

  /** The connection is over: whatever waits ends. */
  end(info: CloseInfo): void {
    for (let waiter = this.#first(); waiter !== undefined; waiter = this.#first()) {
      this.last(waiter.claim, info).then(waiter.resolve, waiter.reject)
    }
    this.#claims.clear()
  }

  /** The answer to an iteration when the connection is over: what is left, then the error that there was, then the end. */
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
