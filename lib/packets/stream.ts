/** A packet too large for one Buffer, as a stream of known length. */

import { Readable } from 'node:stream'
import { nativeSetImmediate } from '../common/timers.js'

/** The chunks of a Readable: Buffers, or text after `setEncoding`. */
type Pieces = ReturnType<Readable['iterator']>

/** The source of a stream. */
export interface StreamSource {
  /** Its buffer is full. */
  _streamFull(stream: PacketStream): void
  /** It can accept bytes again, or has been destroyed. */
  _streamReady(stream: PacketStream): void
  /** Its reader has reached its end or destroyed it, and has had a turn of the event loop since. */
  _streamOver(stream: PacketStream): void
}

/** Calls the listeners of a stream's event. */
export type StreamTeller = (stream: PacketStream, event: string | symbol, args: unknown[]) => boolean

/**
 * One packet larger than the framing's `streamAbove`. While it is not read, the connection is not read either, so that
 * TCP throttles the peer. Later data waits until the stream has been read to its end, or destroyed. If the connection
 * closes before the packet is complete, the stream ends with an error.
 */
export class PacketStream extends Readable {
  /** Size of the whole packet in bytes. */
  readonly size: number
  readonly #source: StreamSource
  /** Iterations over it that have not reached its end. */
  readonly #iterations = new Set<symbol>()
  #hasEnded = false
  #isOver = false
  readonly #tell: StreamTeller | undefined

  /** @internal @param tell calls the listeners instead of Node, so that their exceptions are handled */
  constructor(source: StreamSource, size: number, tell?: StreamTeller) {
    super()
    this.size = size
    this.#source = source
    this.#tell = tell
  }

  /** @internal */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    // A listener that throws prevents Node from destroying the stream; it ends nevertheless.
    if (event === 'end') this.#ended()
    // An error without a listener is left to Node.
    if (this.#tell === undefined || (event === 'error' && this.listenerCount('error') === 0)) {
      return super.emit(event, ...args)
    }
    return this.#tell(this, event, args)
  }

  /** @internal Whether nobody has started to read it. */
  get _isUntouched(): boolean {
    return this.readableFlowing === null && !this.readableDidRead && this.listenerCount('readable') === 0
  }

  /** @internal */
  _feed(bytes: Buffer): void {
    if (!this.destroyed && !this.push(bytes)) this.#source._streamFull(this)
  }

  /** @internal */
  _finish(): void {
    if (!this.destroyed) this.push(null)
  }

  /** @internal */
  override _read(): void {
    this.#source._streamReady(this)
  }

  /** @internal A destroyed stream discards the rest of its packet. */
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#source._streamReady(this)
    this.#ended()
    callback(error)
  }

  override iterator(options?: { destroyOnReturn?: boolean }): Pieces {
    return this.#watched(super.iterator(options))
  }

  override [Symbol.asyncIterator](): Pieces {
    return this.#watched(super[Symbol.asyncIterator]())
  }

  /** Node ends a stream when its last bytes are read. An iteration reaches the end when it requests the next chunk. */
  #watched(iterator: Pieces): Pieces {
    const key = Symbol('iteration')
    const watched = this.#iterate(iterator, key)
    forgotten.register(watched, () => {
      this.#left(key)
    })
    return watched
  }

  async *#iterate(iterator: Pieces, key: symbol): Pieces {
    this.#iterations.add(key)
    try {
      yield* iterator
    } finally {
      this.#left(key)
    }
  }

  #left(key: symbol): void {
    if (this.#iterations.delete(key) && this.#hasEnded) this.#over()
  }

  #ended(): void {
    this.#hasEnded = true
    if (this.#iterations.size === 0) this.#over()
  }

  /** In a later turn, because the code behind `for await` over the stream runs some ticks after its end. */
  #over(): void {
    if (this.#isOver) return
    this.#isOver = true
    nativeSetImmediate(() => {
      this.#source._streamOver(this)
    })
  }
}

/** Iterators that are garbage-collected without being left. */
const forgotten = new FinalizationRegistry<() => void>((left) => {
  left()
})
