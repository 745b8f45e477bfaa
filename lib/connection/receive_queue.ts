/**
 * Items that have arrived for a connection and cannot be delivered yet: it is paused, there is no listener, a large
 * packet before them is still being read, or an iteration consumes packets one by one. The queue exists only during
 * such times; a connection whose packets go directly to listeners has none.
 */

import { Queue } from '../common/queue.js'
import { nativeNextTick, nativeSetImmediate, SHARE, shares } from '../common/timers.js'
import { PacketStream } from '../packets/stream.js'
import { type Claim, Claims, type PacketResult } from './claims.js'
import type { CloseInfo } from './close_info.js'

/** The peer has ended its side; it keeps its position after the packets. */
export const END = Symbol('end')

/** Anything that is delivered in the sequence of arrival. */
export type Item = Buffer | PacketStream | CloseInfo | typeof END

/** Why items are not delivered. Several reasons may apply at a time. */
export const holdReason = {
  /** There has been no listener so far. */
  noListener: 1,
  /** `pause()` was called. */
  paused: 2,
  /** A large packet has been delivered, and its reader has not reached its end. */
  streamUnread: 4,
  /** The connection has just been established, and its promise has not been settled yet. */
  justConnected: 8
} as const

/** The connection stops reading when an iteration has this many bytes or packets to consume. */
const READ_AHEAD_BYTES = 256 * 1024
const READ_AHEAD_PACKETS = 64
/** Without a listener so far, the connection continues to read until more bytes than this are waiting. */
const GREETING_BYTES = 4096
/** Packets that are kept while something after them is awaited. */
const KEPT_PACKETS = 4096

/** The interface of the connection for its receive queue. */
export interface ReceiveQueueOwner {
  /** Delivers one item. False if it is a packet or stream without a listener. */
  _handOver(item: Item): boolean
  /** Processes a packet that arrived too early to know whether it is about a file. False if it is not. */
  _consumedAsFile(packet: Buffer): boolean
  /** Starts or stops reading in native code. */
  _reading(on: boolean): void
  /** Whether something other than a packet is awaited, so that packets without a consumer do not stop reading. */
  _readsOn(): boolean
  /** An iteration waits for a packet that has not arrived. */
  _wanted(): void
  /** There is no listener for an item. */
  _noListener(): void
  /** Nothing is held any more: packets may go directly to the listeners. */
  _receiveQueueEmpty(): void
}

export class ReceiveQueue {
  /** Bytes of the packets that wait here. */
  bytes = 0
  readonly #owner: ReceiveQueueOwner
  readonly #items = new Queue<Item>()
  readonly #claims = new Claims()
  #packets = 0
  /** The same bytes and those of the large packets that wait, as far as they have been announced. */
  #aheadBytes = 0
  #reasons = 0
  /** The large packet that is being read. */
  #shown: PacketStream | undefined
  /** The large packet being received has no room for more bytes. */
  #isFull = false
  /** Items at the front that arrived before a listener could be added. */
  #early = 0
  /** Items that may still be delivered before others get a share of the event loop. */
  #share = 0
  /** Of which round that is. */
  #round = 0
  #isScheduled = false
  #isStopped = false
  /** Packets that iterations have consumed: distinguishes an active iteration from an idle one. */
  #taken = 0
  #isClosing = false
  #isWatching = false
  /** It no longer waits for the iterations. */
  #isPassing = false
  #info: CloseInfo | undefined

  constructor(owner: ReceiveQueueOwner) {
    this.#owner = owner
  }

  /** Whether the remaining items are held only because there has been no listener. */
  get hasNoListener(): boolean {
    return this.#reasons === holdReason.noListener && this.#claims.size === 0
  }

  /** Whether an iteration is under way. */
  get hasReaders(): boolean {
    return this.#claims.size > 0
  }

  /** Whether iterations are busy: none of them requests more. */
  get isAtWork(): boolean {
    return this.#claims.size > 0 && this.#claims.waiting === 0
  }

  /** Whether nothing has to be delivered, or read to its end, before the next item. */
  get isEmpty(): boolean {
    return this.#items.length === 0 && this.#shown === undefined
  }

  /** Whether nothing is delivered now, not even to an iteration. */
  get isHeld(): boolean {
    return this.#reasons !== 0
  }

  /** Whether one of the reasons holds. */
  has(reason: number): boolean {
    return (this.#reasons & reason) !== 0
  }

  /** Why reading is stopped, as the end of a sentence; undefined if it is not. */
  get obstacle(): string | undefined {
    if (!this.#isStopped) return undefined
    if (this.has(holdReason.paused)) return 'the connection is paused'
    if (this.has(holdReason.streamUnread)) return 'a large packet is being read slowly'
    if (this.hasReaders) return 'an iteration consumes the packets slowly'
    return "packets have arrived that nobody consumes: listen for 'packet', or call resume()"
  }

  /** The result of {@link ReceiveQueueOwner._readsOn} may have changed. */
  reconsider(): void {
    this.#adjust()
  }

  /** Stops delivery for a reason. */
  add(reason: number): void {
    this.#reasons |= reason
    this.#adjust()
  }

  /** A reason no longer applies. */
  remove(reason: number): void {
    if ((this.#reasons & reason) === 0) return
    this.#reasons &= ~reason
    if (reason === holdReason.justConnected) this.#early = this.#items.length
    this.#schedule()
    this.#watchClosing()
  }

  /** A large packet was delivered: later items wait until its reader has reached its end. */
  show(stream: PacketStream): void {
    this.#shown = stream
    this.add(holdReason.streamUnread)
  }

  /** Its reader has reached its end, or has destroyed it. */
  streamOver(stream: PacketStream): void {
    if (this.#shown !== stream) return
    this.#shown = undefined
    this.remove(holdReason.streamUnread)
  }

  /** Whether the large packet being received has no room for more bytes. */
  streamFull(isFull: boolean): void {
    if (this.#isFull === isFull) return
    this.#isFull = isFull
    this.#adjust()
  }

  /** Something arrived. */
  push(item: Item): void {
    if (item instanceof Uint8Array) {
      this.#pushPacket(item)
      return
    }
    this.#count(item, 1)
    this.#items.push(item)
    if (item instanceof PacketStream) {
      // It arrived instead of the packet that an iteration requested.
      if (this.#claims.waiting > 0) this.#owner._wanted()
    } else if (item !== END) {
      this.#isClosing = true
      this.#watchClosing()
    }
    if (this.#canStep()) this.#schedule()
    this.#adjust()
  }

  #pushPacket(packet: Buffer): void {
    if (this.#reasons === 0 && this.#items.length === 0 && this.#give(packet)) return
    const { length } = packet
    this.#packets++
    this.bytes += length
    this.#aheadBytes += length
    this.#items.push(packet)
    if (!this.#isScheduled && this.#canStep()) this.#schedule()
    // One more item is no reason to continue reading.
    if (!this.#isStopped) this.#adjust()
  }

  /** Discards all waiting items. Returns their bytes. */
  clear(): number {
    let { bytes } = this
    for (const item of this.#items.clear()) {
      if (!(item instanceof PacketStream)) continue
      bytes += item.readableLength
      item.destroy()
    }
    this.#claims.clear()
    this.bytes = 0
    this.#aheadBytes = 0
    this.#packets = 0
    this.#early = 0
    this.#shown = undefined
    this.#reasons &= ~holdReason.streamUnread
    return bytes
  }

  /** The connection has closed: iterations get the packets they have not consumed, and end. */
  end(info: CloseInfo): void {
    for (const item of this.#items.clear()) if (item instanceof Uint8Array && this.hasReaders) this.#claims.keep(item)
    this.#info = info
    this.#claims.end(info)
  }

  /** Whether there are packets that iterations did not consume while the connection was open. */
  get keepsPackets(): boolean {
    return this.#claims.hasKept
  }

  /** An iteration starts, or continues after {@link ReceiveQueue.yieldClaims}. */
  attach(claim: Claim): void {
    this.#claims.add(claim)
    this.#reasons &= ~holdReason.noListener
    this.#watchClosing()
  }

  /** An iteration ends before the connection does; later packets wait for the next consumer. */
  detach(claim: Claim): void {
    if (this.#claims.remove(claim)) this.#schedule()
  }

  /** A listener was added: idle iterations hold nothing back until they request a packet again. */
  yieldClaims(): void {
    if (this.#claims.removeResting()) this.#schedule()
  }

  /** The next packet for an iteration. */
  next(claim: Claim, iterator: object): Promise<PacketResult> {
    if (this.#info !== undefined) return this.#claims.last(claim, this.#info)
    if (!this.#claims.has(claim)) this.attach(claim)
    const value = this.#claims.hasKept ? this.#claims.takeKept() : this.#takeNow()
    if (value !== undefined) {
      this.#taken++
      return Promise.resolve({ done: false, value })
    }
    const result = this.#claims.wait(claim, iterator)
    if (this.#claims.waiting > this.#packets) this.#owner._wanted()
    if (this.#canStep()) this.#schedule()
    return result
  }

  /** The first packet, if it is available without waiting. Hot path. */
  #takeNow(): Buffer | undefined {
    if (this.#reasons !== 0 || this.#early > 0 || this.#claims.waiting > 0) return undefined
    const items = this.#items
    const item = items.peek()
    if (!(item instanceof Uint8Array)) return undefined
    if (this.#share === 0) {
      // A pump that waits for a share will answer.
      if (this.#isScheduled || !this.#takeShare()) return undefined
    }
    this.#share--
    items.shift()
    const { length } = item
    const wasFarBehind = this.#aheadBytes > READ_AHEAD_BYTES || items.length >= KEPT_PACKETS
    this.#packets--
    this.bytes -= length
    this.#aheadBytes -= length
    // Nothing else that it depends on can have changed.
    if (this.#isStopped && (wasFarBehind || items.length === 0)) this.#adjust()
    return item
  }

  #give(packet: Buffer): boolean {
    const isTaken = this.#claims.give(packet)
    if (isTaken) this.#taken++
    return isTaken
  }

  #count(item: Item, sign: 1 | -1): void {
    if (item instanceof Uint8Array) {
      this.#packets += sign
      this.bytes += sign * item.length
      this.#aheadBytes += sign * item.length
    } else if (item instanceof PacketStream) {
      this.#aheadBytes += sign * item.size
    }
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    if (this.#share > 0 || this.#takeShare()) nativeNextTick(this.#pump)
    else shares.wait(this.#pumpShare)
  }

  #takeShare(): boolean {
    if (!shares.take(this.#round)) return false
    this.#round = shares.round
    this.#share = SHARE
    return true
  }

  readonly #pumpShare = (): void => {
    this.#round = shares.round
    this.#share = SHARE
    this.#pump()
  }

  /** Delivers what may be delivered, in a tick of its own, so that a handler never runs inside another one. */
  readonly #pump = (): void => {
    this.#isScheduled = false
    try {
      while (this.#share > 0 && this.#step());
    } finally {
      // Also after a handler threw: the rest is not lost, it continues in a tick of its own.
      if (this.#canStep()) this.#schedule()
      else this.#settle()
    }
  }

  #canStep(): boolean {
    if (this.#items.length === 0 || this.#reasons !== 0) return false
    // An iteration has processed a packet when it requests the next one: until then it may reply, so the end has to
    // wait.
    return this.#claims.size === 0 || this.#claims.waiting > 0 || this.#isPassing
  }

  #step(): boolean {
    if (!this.#canStep()) return false
    const item = this.#items.shift()
    if (item === undefined) return false
    this.#share--
    const isEarly = this.#early > 0
    if (isEarly) this.#early--
    this.#count(item, -1)
    if (item instanceof Uint8Array) {
      if ((isEarly && this.#owner._consumedAsFile(item)) || this.#give(item)) return true
      if (this.#claims.size > 0) {
        this.#claims.keep(item)
        return true
      }
    }
    if (this.#owner._handOver(item)) return true
    this.#items.unshift(item)
    if (isEarly) this.#early++
    this.#count(item, 1)
    this.#reasons |= holdReason.noListener
    this.#owner._noListener()
    return false
  }

  #settle(): void {
    this.#adjust()
    if (this.#items.length === 0 && this.#reasons === 0 && this.#claims.size === 0) this.#owner._receiveQueueEmpty()
  }

  /**
   * The connection has closed and packets are left for iterations. An active one gets them before 'close'. An idle one
   * may stay idle indefinitely, so 'close' does not wait for it, and its packets are kept.
   */
  #watchClosing(): void {
    if (!this.#isClosing || this.#isWatching || this.#isPassing) return
    if (this.#reasons !== 0 || this.#claims.size === 0) return
    this.#isWatching = true
    const taken = this.#taken
    nativeSetImmediate(() => {
      this.#isWatching = false
      if (this.#info !== undefined) return
      if (this.#reasons !== 0 || this.#claims.size === 0) return
      if (taken !== this.#taken || this.#claims.waiting > 0) {
        this.#watchClosing()
      } else {
        this.#isPassing = true
        this.#schedule()
      }
    })
  }

  /** Reading continues unless there is a reason against it, or an iteration is far enough behind. */
  #adjust(): void {
    const { length } = this.#items
    const isFresh = (this.#reasons & holdReason.justConnected) !== 0
    const must =
      this.has(holdReason.paused) || this.#isFull || this.#aheadBytes > READ_AHEAD_BYTES || length > KEPT_PACKETS
    const may =
      (this.#claims.size === 0 && length > 0 && !isFresh) ||
      length > READ_AHEAD_PACKETS ||
      (this.#isStopped && length > 0)
    // Without a listener so far, the end of the connection should still be detected, but with bounded memory.
    const isGreeting =
      this.has(holdReason.noListener) && this.#aheadBytes <= GREETING_BYTES && length <= READ_AHEAD_PACKETS
    const stop = must || (may && (length === 0 || !(isGreeting || this.#owner._readsOn())))
    if (stop === this.#isStopped) return
    this.#isStopped = stop
    this.#owner._reading(!stop)
  }
}
