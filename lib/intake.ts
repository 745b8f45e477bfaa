/**
 * What has arrived for a connection and cannot be handed over yet: it is paused, nobody listens, or an iteration takes
 * packets one by one. An object of this kind exists only during such times; a connection whose packets go straight to
 * listeners has none.
 */

import type { CloseInfo } from './close_info.js'
import { PacketStream } from './packet_stream.js'

/** The peer has ended its side; keeps its place behind the packets. */
export const END = Symbol('end')

/** Anything that keeps its place in the order of arrival. */
export type Item = Buffer | PacketStream | CloseInfo | typeof END

/** Why items are not handed over. Several may hold at once. */
export const hold = {
  /** Nobody has listened so far. */
  unclaimed: 1,
  /** `pause()` was called. */
  paused: 2,
  /** Somebody reads a large packet more slowly than it comes. */
  stream: 4,
  /** The connection has just been made, and who waits for it does not know yet. */
  fresh: 8
} as const

/** An iteration takes this many bytes or packets ahead before the connection stops reading. */
const READ_AHEAD_BYTES = 256 * 1024
const READ_AHEAD_PACKETS = 64
/** So many packets are kept where something else that comes behind them is waited for. */
const KEPT_PACKETS = 4096

/** The connection of an intake, as the intake sees it. */
export interface IntakeOwner {
  /** Hands over one item. False when it was a packet or stream that nobody listens for. */
  _handOver(item: Item): boolean
  /** Starts or stops the reading of native code. */
  _reading(on: boolean): void
  /** Whether something is waited for that is no packet, so that packets which nobody takes do not stop the reading. */
  _readsOn(): boolean
  /** It turned out that nobody listens. */
  _unclaimed(): void
  /** Nothing is held any more: packets may go straight to the listeners. */
  _intakeEmpty(): void
}

interface Waiter {
  resolve(result: IteratorResult<Buffer, undefined>): void
  reject(error: Error): void
}

const DONE = { done: true, value: undefined } as const

export class Intake {
  /** Bytes of the packets that wait here. */
  bytes = 0
  readonly #owner: IntakeOwner
  readonly #items: Item[] = []
  #reasons = 0
  #readers = 0
  #waiters: Waiter[] = []
  #scheduled = false
  #stopped = false
  #over = false
  #info: CloseInfo | undefined

  constructor(owner: IntakeOwner) {
    this.#owner = owner
  }

  /** Whether the rest is only wanted by nobody so far. */
  get isUnclaimed(): boolean {
    return this.#reasons === hold.unclaimed && this.#readers === 0
  }

  /** Whether an iteration is under way. */
  get hasReaders(): boolean {
    return this.#readers > 0
  }

  get isEmpty(): boolean {
    return this.#items.length === 0
  }

  /** Whether one of the reasons holds. */
  has(reason: number): boolean {
    return (this.#reasons & reason) !== 0
  }

  /** Why nothing is read just now, as the end of a sentence; undefined while it is. */
  get obstacle(): string | undefined {
    if (!this.#stopped) return undefined
    if (this.has(hold.paused)) return 'the connection is paused'
    if (this.has(hold.stream)) return 'a large packet is being read slowly'
    if (this.#readers > 0) return 'an iteration takes the packets slowly'
    return "packets have come that nobody takes: listen for 'packet', or call resume()"
  }

  /** What {@link IntakeOwner._readsOn} says may have changed. */
  reconsider(): void {
    this.#adjust()
  }

  /** Stops handing over for a reason. */
  add(reason: number): void {
    this.#reasons |= reason
    this.#adjust()
  }

  /** A reason has gone. */
  remove(reason: number): void {
    if ((this.#reasons & reason) === 0) return
    this.#reasons &= ~reason
    this.#schedule()
  }

  /** Something arrived. */
  push(item: Item): void {
    this.#items.push(item)
    if (item instanceof Uint8Array) this.bytes += item.length
    if (this.#canStep()) this.#schedule()
    this.#adjust()
  }

  /** Throws everything away that waits. Returns the bytes of it. */
  clear(): number {
    const { bytes } = this
    for (const item of this.#items) if (item instanceof PacketStream) item.destroy()
    this.#items.length = 0
    this.bytes = 0
    return bytes
  }

  /** The connection is over: every iteration ends, one of them with the error that there was. */
  end(info: CloseInfo): void {
    this.#over = true
    this.#info = info
    for (const waiter of this.#waiters.splice(0)) this.#endOne(waiter)
  }

  /** An iteration begins. */
  attach(): void {
    this.#readers++
    this.#reasons &= ~hold.unclaimed
  }

  /** An iteration ends before the connection does; what comes next waits for whoever is next. */
  detach(): void {
    this.#readers--
    if (this.#readers === 0) this.#schedule()
  }

  /** The next packet for an iteration. */
  next(): Promise<IteratorResult<Buffer, undefined>> {
    return new Promise((resolve, reject) => {
      const waiter = { resolve, reject }
      if (this.#over) {
        this.#endOne(waiter)
      } else {
        this.#waiters.push(waiter)
        if (this.#canStep()) this.#schedule()
      }
    })
  }

  #endOne(waiter: Waiter): void {
    const error = this.#info?.error
    this.#info = undefined
    if (error === undefined) waiter.resolve(DONE)
    else waiter.reject(error)
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    process.nextTick(this.#pump)
  }

  /** Hands over what may go; in a tick of its own, so that a handler never runs inside another one. */
  readonly #pump = (): void => {
    this.#scheduled = false
    try {
      while (this.#step());
    } finally {
      // Also after a handler threw: the rest is not lost, it goes in the next tick.
      if (this.#canStep()) this.#schedule()
      else this.#settle()
    }
  }

  #canStep(): boolean {
    if (this.#items.length === 0 || this.#reasons !== 0) return false
    return this.#readers === 0 || this.#waiters.length > 0 || !(this.#items[0] instanceof Uint8Array)
  }

  #step(): boolean {
    if (!this.#canStep()) return false
    const item = this.#items.shift()
    if (item === undefined) return false
    if (item instanceof Uint8Array) {
      this.bytes -= item.length
      const waiter = this.#readers > 0 ? this.#waiters.shift() : undefined
      if (waiter !== undefined) {
        waiter.resolve({ done: false, value: item })
        return true
      }
    }
    if (this.#owner._handOver(item)) return true
    this.#items.unshift(item)
    if (item instanceof Uint8Array) this.bytes += item.length
    this.#reasons |= hold.unclaimed
    this.#owner._unclaimed()
    return false
  }

  #settle(): void {
    this.#adjust()
    if (this.#items.length === 0 && this.#reasons === 0 && this.#readers === 0) this.#owner._intakeEmpty()
  }

  /** Reading goes on unless there is a reason against it, or an iteration is far enough behind. */
  #adjust(): void {
    const readsOn = !this.isEmpty && this.#owner._readsOn()
    const behind = this.bytes > READ_AHEAD_BYTES || this.#items.length > (readsOn ? KEPT_PACKETS : READ_AHEAD_PACKETS)
    const reasons = this.#reasons & ~hold.fresh
    const stop =
      behind ||
      (readsOn
        ? (reasons & ~hold.unclaimed) !== 0
        : reasons !== 0 ||
          (this.#readers === 0 && this.#items.length > 0 && (this.#reasons & hold.fresh) === 0) ||
          (this.#stopped && !this.isEmpty))
    if (stop === this.#stopped) return
    this.#stopped = stop
    this.#owner._reading(!stop)
  }
}
