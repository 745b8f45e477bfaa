/**
 * Requests of JavaScript to native code: collected during a tick, submitted in one call. Hot path.
 *
 * Operations are words in a shared array; small payloads are copied into a shared block, large ones are passed by
 * reference. The call is made at the end of a batch, otherwise before the tick ends, and immediately if one of the two
 * is full.
 */

import { nativeNextTick } from '../common/timers.js'
import { bound } from './async_context.js'
import { op, OPERATION_WORDS, outcome } from './protocol.js'
import type { NativeEngine } from './types.js'

/**
 * The outcome of a packet: `'sent'` the system has accepted its last byte, `'dropped'` the overflow policy dropped it,
 * `'closed'` the connection closed before it could be sent, `'detached'` the `ArrayBuffer` of its payload was
 * transferred or resized before the end of the tick, so that there was nothing to send.
 */
export type SendOutcome = 'sent' | 'dropped' | 'closed' | 'detached'

const outcomes: readonly (SendOutcome | undefined)[] = Object.entries(outcome).reduce<SendOutcome[]>(
  (names, [name, number]) => {
    names[number] = name as SendOutcome
    return names
  },
  []
)

/** Called once with the outcome of a packet. */
export type SendCallback = (outcome: SendOutcome) => void

/** An object with packets whose outcome has not been reported. */
export interface SendObserver {
  /** @internal The outcome of one more of them has been reported. */
  _sendReported(): void
}

/** Epochs count submissions; an epoch only has to differ from the last few. */
const EPOCH_MASK = 0x3fff_ffff

/** The part of an engine that takes submissions. */
export type SubmissionEngine = Pick<NativeEngine, 'submit' | 'submitControl' | 'submitPayload'>

export class Submission {
  /** Changes with every submission: data that was counted in another epoch has been submitted. */
  epoch = 1

  readonly #native: SubmissionEngine
  readonly #control: Uint32Array
  readonly #payload: Buffer
  readonly #limit: number
  #words = 0
  #used = 0
  #pinned: Uint8Array[] = []
  #scheduled = false
  #batches = 0
  #ended = false
  readonly #callbacks: (SendCallback | undefined)[] = [undefined]
  readonly #tellers: (SendObserver | undefined)[] = [undefined]
  readonly #freeTokens: number[] = []

  constructor(native: SubmissionEngine) {
    this.#native = native
    this.#control = native.submitControl
    const { buffer, byteOffset, byteLength } = native.submitPayload
    this.#payload = Buffer.from(buffer, byteOffset, byteLength)
    this.#limit = this.#control.length - (this.#control.length % OPERATION_WORDS)
  }

  /** A batch starts: it submits at its end, so no tick has to be scheduled. */
  beginBatch(): void {
    this.#batches++
  }

  /** A batch ends: everything its handlers requested is submitted now. */
  endBatch(): void {
    this.#batches--
    this.flush()
  }

  /** Makes room for one send, which may submit earlier requests. Call it before checking a connection's queue. */
  reserve(size: number, copyThreshold: number): void {
    if (this.#words === this.#limit || (size <= copyThreshold && size > this.#payload.length - this.#used)) this.flush()
  }

  /** Adds an operation that carries no payload. */
  operation(kind: number, slot: number, generation: number, a = 0): void {
    if (this.#words === this.#limit) this.flush()
    this.#write(kind, slot, generation, a, 0, 0)
  }

  /**
   * Adds a packet, after {@link Submission.reserve} with the same arguments.
   * @param size bytes of `data`; for text in UTF-8
   * @param token from {@link Submission.token}, or 0
   */
  send(
    slot: number,
    generation: number,
    data: Uint8Array | string,
    size: number,
    copyThreshold: number,
    token: number
  ): void {
    if (size <= copyThreshold && size <= this.#payload.length) {
      this.#write(op.send, slot, generation, this.#place(data, size), size, token)
    } else {
      this.#pinned.push(typeof data === 'string' ? Buffer.from(data) : data)
      this.#write(op.sendPinned, slot, generation, this.#pinned.length - 1, size, token)
    }
  }

  /**
   * Stores one payload for many sends.
   * @returns the operation that sends it and its offset; valid while {@link Submission.epoch} stays the same
   */
  share(data: Uint8Array | string, size: number, copyThreshold: number): { kind: number; at: number } {
    this.reserve(size, copyThreshold)
    if (size <= copyThreshold && size <= this.#payload.length) return { kind: op.send, at: this.#place(data, size) }
    this.#pinned.push(typeof data === 'string' ? Buffer.from(data) : data)
    return { kind: op.sendPinned, at: this.#pinned.length - 1 }
  }

  /** Adds a packet whose payload has been stored by {@link Submission.share} in this epoch. */
  sendShared(kind: number, slot: number, generation: number, at: number, size: number): void {
    this.#write(kind, slot, generation, at, size, 0)
  }

  /**
   * Adds an operation with a payload: the first number is for a payload that is copied, the second for one that is not.
   */
  carrying(copied: number, pinned: number, slot: number, generation: number, data: Uint8Array): void {
    const { kind, at } = this.share(data, data.length, this.#payload.length)
    this.#write(kind === op.send ? copied : pinned, slot, generation, at, data.length, 0)
  }

  /** Whether another operation fits without a submission. */
  get hasRoom(): boolean {
    return this.#words < this.#limit
  }

  /** A number under which native code reports the outcome of a packet. */
  token(callback: SendCallback, teller: SendObserver): number {
    const token = this.#freeTokens.pop() ?? this.#callbacks.length
    this.#callbacks[token] = bound(callback)
    this.#tellers[token] = teller
    return token
  }

  /** Native code has reported an outcome. */
  complete(token: number, status: number): void {
    const callback = this.#callbacks[token]
    if (callback === undefined) return
    const teller = this.#tellers[token]
    this.#callbacks[token] = undefined
    this.#tellers[token] = undefined
    this.#freeTokens.push(token)
    try {
      callback(outcomes[status] ?? 'closed')
    } finally {
      teller?._sendReported()
    }
  }

  /** No pending packet will be sent. */
  #settleAll(): void {
    for (let token = 1; token < this.#callbacks.length; token++) this.complete(token, outcome.closed)
  }

  /** The engine has ended: later requests are dropped. */
  end(): void {
    this.#ended = true
    this.#settleAll()
  }

  /** Submits everything now. */
  flush(): void {
    if (this.#words === 0) return
    if (this.#ended) {
      this.#words = 0
      this.#used = 0
      this.#pinned = []
      return
    }
    const operations = this.#words / OPERATION_WORDS
    const pinned = this.#pinned
    this.#words = 0
    this.#used = 0
    this.epoch = (this.epoch + 1) & EPOCH_MASK
    if (pinned.length === 0) {
      this.#native.submit(operations)
    } else {
      this.#pinned = []
      this.#native.submit(operations, pinned)
    }
  }

  #place(data: Uint8Array | string, size: number): number {
    const at = this.#used
    if (typeof data === 'string') this.#payload.write(data, at, size, 'utf8')
    else this.#payload.set(data, at)
    this.#used = at + size
    return at
  }

  #write(kind: number, slot: number, generation: number, a: number, b: number, c: number): void {
    const control = this.#control
    const at = this.#words
    control[at] = kind
    control[at + 1] = slot
    control[at + 2] = generation
    control[at + 3] = a
    control[at + 4] = b
    control[at + 5] = c
    this.#words = at + OPERATION_WORDS
    if (this.#batches === 0 && !this.#scheduled) {
      this.#scheduled = true
      nativeNextTick(this.#flushInTick)
    }
  }

  readonly #flushInTick = (): void => {
    this.#scheduled = false
    this.flush()
  }
}
