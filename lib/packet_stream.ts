/** A packet too large for one Buffer, as a stream of known length. */

import { Readable } from 'node:stream'

/** Who feeds a stream; told when it wants no more for now, and when it does again. */
export interface StreamSource {
  _streamFull(stream: PacketStream): void
  _streamReady(stream: PacketStream): void
}

/** Tells the listeners of a stream of an event. */
export type StreamTeller = (stream: PacketStream, event: string | symbol, args: unknown[]) => boolean

/**
 * One packet larger than the framing's `streamAbove`. While nobody reads from it the connection is not read from
 * either, so that TCP slows the peer down. If the connection closes before the packet is complete, the stream ends
 * with an error.
 */
export class PacketStream extends Readable {
  /** Bytes of the whole packet. */
  readonly size: number
  readonly #source: StreamSource
  readonly #tell: StreamTeller | undefined

  /** @internal @param tell calls the listeners instead of Node, because what they throw is not to be thrown */
  constructor(source: StreamSource, size: number, tell?: StreamTeller) {
    super()
    this.size = size
    this.#source = source
    this.#tell = tell
  }

  /** @internal */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    // An error that nobody listens for is Node's own affair.
    if (this.#tell === undefined || (event === 'error' && this.listenerCount('error') === 0)) {
      return super.emit(event, ...args)
    }
    return this.#tell(this, event, args)
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

  /** @internal A stream that was given up swallows the rest of its packet. */
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#source._streamReady(this)
    callback(error)
  }
}
