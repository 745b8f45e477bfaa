/** A packet too large for one Buffer, as a stream of known length. */

import { Readable } from 'node:stream'

/** Who feeds a stream; told when it wants no more for now, and when it does again. */
export interface StreamSource {
  _streamFull(stream: PacketStream): void
  _streamReady(stream: PacketStream): void
}

/**
 * One packet larger than the framing's `streamAbove`. While nobody reads from it the connection is not read from
 * either, so that TCP slows the peer down. If the connection closes before the packet is complete, the stream ends
 * with an error.
 */
export class PacketStream extends Readable {
  /** Bytes of the whole packet. */
  readonly size: number
  readonly #source: StreamSource

  /** @internal */
  constructor(source: StreamSource, size: number) {
    super()
    this.size = size
    this.#source = source
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
