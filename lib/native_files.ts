/** What native code does for file transfers, with its errors as this library's. */

import type { NativeBinding, NativeEngine, NativeFile, NativeReceiveFile, NativeSendFile } from './binding.js'
import { fromNative, systemError } from './system_error.js'
import { transferError } from './transfer_errors.js'
import type { NativeTransferFrame } from './transfer_frames.js'

/** The connection that a call is about. */
export interface Place {
  readonly _slot: number
  readonly _generation: number
}

/** Numbers of Windows that mean: the disk is full. */
const DISK_FULL = new Set([39, 112])
/** The end of the file came before the size that it had. */
const END_OF_FILE = 38
/** A file of that name is there. */
const EXISTS = new Set([80, 183])

export class NativeFiles {
  /** Transfers that are under way on this completion port. */
  active = 0
  readonly #binding: NativeBinding
  readonly #native: NativeEngine
  /** What is being done with a file on a thread. */
  readonly #work = new WeakMap<NativeFile, Promise<unknown>>()

  constructor(binding: NativeBinding, native: NativeEngine) {
    this.#binding = binding
    this.#native = native
  }

  /** Whether this edition of Windows carries out any number of TransmitFile at a time. */
  get transmitsFreely(): boolean {
    return this.#binding.transmitsFreely
  }

  openSource(path: string, hash: boolean): Promise<NativeFile> {
    return this.#try(this.#binding.openSource(path, hash))
  }

  openTarget(path: string, size: number, resume: boolean, hash: boolean): Promise<NativeFile> {
    return this.#try(this.#binding.openTarget(path, size, resume, hash))
  }

  /**
   * The SHA-256 of the first bytes; with `keep` the file's own goes on behind them.
   * @param onProgress called now and then while it goes on
   */
  hashFirst(file: NativeFile, bytes: number, keep: boolean, onProgress: () => void): Promise<Uint8Array> {
    const work = this.#hash(file, bytes, keep, onProgress)
    this.#work.set(file, work)
    return work
  }

  /** Step by step, so that neither a hash of hours nor the thread that computes it outlives this environment. */
  async #hash(file: NativeFile, bytes: number, keep: boolean, onProgress: () => void): Promise<Uint8Array> {
    for (let at = 0; ; ) {
      const reached = await this.#try(this.#binding.hashSome(file.file, at, bytes, keep))
      if (typeof reached !== 'number') return reached
      if (reached > at) onProgress()
      at = reached
    }
  }

  /** @returns when it is closed: a hash that is being computed breaks off first */
  async close(file: NativeFile | undefined): Promise<void> {
    if (file === undefined) return
    this.#binding.closeFile(file.file)
    await this.#work.get(file)?.catch(() => undefined)
  }

  move(from: string, to: string, replace: boolean): Promise<void> {
    return this.#try(this.#binding.moveFile(from, to, replace))
  }

  /** False when the connection does not take it; the file is closed then. */
  send(place: Place, file: NativeFile, options: NativeSendFile): boolean {
    return this.#native.sendFile(place._slot, place._generation, file.file, options)
  }

  receive(place: Place, file: NativeFile, options: NativeReceiveFile): boolean {
    return this.#native.receiveFile(place._slot, place._generation, file.file, options)
  }

  cancel(place: Place, received: boolean, id: number): void {
    this.#native.cancelFile(place._slot, place._generation, received, id)
  }

  /** Takes the place of a raw file in the queue of the connection. */
  reserve(place: Place, id: number): boolean {
    return this.#native.reserveFile(place._slot, place._generation, id)
  }

  /** A file that was held back may go. */
  start(place: Place, id: number): void {
    this.#native.startSentFile(place._slot, place._generation, id)
  }

  /** While it is on, this side's end waits. */
  holdEnd(place: Place, on: boolean): void {
    this.#native.holdEnd(place._slot, place._generation, on)
  }

  /** Sends a packet that is not one of the frames. */
  control(place: Place, packet: Uint8Array): boolean {
    return this.#native.sendControl(place._slot, place._generation, packet)
  }

  frame(place: Place, frame: NativeTransferFrame): boolean {
    return this.#native.transferFrame(place._slot, place._generation, frame)
  }

  /** The error for a number of Windows that a transfer ended with. */
  error(winCode: number, syscall: string): Error {
    return this.#translate(systemError(this.#binding, { winCode, syscall }), winCode)
  }

  #translate(error: Error, winCode: unknown): Error {
    if (typeof winCode !== 'number') return error
    if (DISK_FULL.has(winCode)) return transferError('ERR_IOCP_TRANSFER_DISK_FULL', undefined, error)
    if (winCode === END_OF_FILE) return transferError('ERR_IOCP_TRANSFER_SOURCE_CHANGED', undefined, error)
    if (EXISTS.has(winCode)) return transferError('ERR_IOCP_TRANSFER_EXISTS', undefined, error)
    return error
  }

  async #try<T>(promise: Promise<T>): Promise<T> {
    try {
      return await promise
    } catch (error) {
      throw this.#translate(fromNative(this.#binding, error), (error as { winCode?: unknown }).winCode)
    }
  }
}
