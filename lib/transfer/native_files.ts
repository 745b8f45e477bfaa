/** The file operations of native code, with their errors converted to this library's. */

import { stat } from 'node:fs/promises'
import { escaped, IocpError } from '../common/errors.js'
import { errnoOf, fromNative, systemError } from '../native/system_error.js'
import type {
  NativeBinding,
  NativeEngine,
  NativeFile,
  NativeReceiveFile,
  NativeSendFile,
  NativeTransferFrame
} from '../native/types.js'
import { fileError } from './errors.js'
import { plainPath } from './file_names.js'

/** The connection that a call is about. */
export interface ConnectionRef {
  readonly _slot: number
  readonly _generation: number
}

/** A file that is open. */
export interface OpenFile extends NativeFile {
  /** As it was opened. */
  readonly path: string
}

/** Numbers of Windows that mean: the disk is full. */
const DISK_FULL = new Set([39, 112])
/** The end of the file came before the size that it had. */
const END_OF_FILE = 38
/** The file system has no such call. */
const NO_SUCH_CALL = new Set([1, 50, 87])
/** The call was cancelled, because the engine is being stopped. */
const CANCELLED = 995
/** Access denied; or the path is a folder. */
const ACCESS_DENIED = 5
/** A file of that name exists. */
const EXISTS = new Set([80, 183])

/** Engines that are creating files, and how many. */
const making = new Map<NativeEngine, number>()
let watchesExit = false

/**
 * The process exits, and the system terminates all threads at any point. A file that has just been created is not
 * deleted with its handle yet, and would remain.
 */
function finishCreations(): void {
  for (const native of making.keys()) native.finishCreations()
}

/** Makes the exit of the process wait while a file is being created. */
async function guarded<T>(native: NativeEngine, opening: Promise<T>): Promise<T> {
  if (!watchesExit) {
    watchesExit = true
    process.on('exit', finishCreations)
  }
  making.set(native, (making.get(native) ?? 0) + 1)
  try {
    return await opening
  } finally {
    const left = (making.get(native) ?? 1) - 1
    if (left === 0) making.delete(native)
    else making.set(native, left)
  }
}

export class NativeFiles {
  #active = 0
  #whenIdle: (() => void) | undefined
  readonly #changed: () => void
  readonly #binding: NativeBinding
  readonly #native: NativeEngine
  /** Operations in progress on disk threads. */
  readonly #work = new WeakMap<OpenFile, Promise<unknown>>()

  /** @param changed called when the first transfer starts, and when the last one has ended */
  constructor(binding: NativeBinding, native: NativeEngine, changed: () => void) {
    this.#binding = binding
    this.#native = native
    this.#changed = changed
  }

  /** Transfers in progress on this engine, until their files are closed. */
  get active(): number {
    return this.#active
  }

  begin(): void {
    if (this.#active++ === 0) this.#changed()
  }

  end(): void {
    if (--this.#active > 0) return
    this.#changed()
    const callback = this.#whenIdle
    this.#whenIdle = undefined
    callback?.()
  }

  /** Calls back once no transfer is in progress, immediately if none is. */
  whenIdle(callback: () => void): void {
    if (this.#active === 0) callback()
    else this.#whenIdle = callback
  }

  async openSource(path: string, hash: boolean, shareWrite: boolean): Promise<OpenFile> {
    try {
      return await this.#open(this.#native.openSource(path, hash, shareWrite), path)
    } catch (error) {
      // For a folder Windows reports "access denied".
      const isDenied = error instanceof IocpError && error.winCode === ACCESS_DENIED
      if (!isDenied || (await stat(path).catch(() => undefined))?.isDirectory() !== true) throw error
      const plain = plainPath(path)
      const details = { syscall: 'open', errno: errnoOf('EISDIR'), winCode: ACCESS_DENIED, path: plain, cause: error }
      throw new IocpError('EISDIR', `open EISDIR '${escaped(plain)}': The path is a folder`, details)
    }
  }

  openTarget(path: string, size: number, resume: boolean, hash: boolean): Promise<OpenFile> {
    return this.#open(guarded(this.#native, this.#native.openTarget(path, size, resume, hash)), path)
  }

  async #open(opening: Promise<NativeFile>, path: string): Promise<OpenFile> {
    return { ...(await this.#try(opening, { path })), path }
  }

  /**
   * The SHA-256 of the first bytes; with `keep` the hash of the file continues after them.
   * @param onProgress called from time to time
   */
  hashFirst(file: OpenFile, bytes: number, keep: boolean, onProgress: () => void): Promise<Uint8Array> {
    const work = this.#hash(file, bytes, keep, onProgress)
    this.#work.set(file, work)
    return work
  }

  /** In steps, so that neither a long hash nor the thread that computes it outlives this environment. */
  async #hash(file: OpenFile, bytes: number, keep: boolean, onProgress: () => void): Promise<Uint8Array> {
    for (let at = 0; ;) {
      const reached = await this.#try(this.#native.hashSome(file.file, at, bytes, keep), { path: file.path })
      if (typeof reached !== 'number') return reached
      if (reached > at) onProgress()
      at = reached
    }
  }

  /** @returns a promise that resolves when it is closed; a hash in progress is cancelled first */
  async close(file: OpenFile | undefined): Promise<void> {
    if (file === undefined) return
    const work = this.#work.get(file)
    if (work !== undefined) {
      this.#native.stopFile(file.file)
      await work.catch(() => undefined)
    }
    await this.#native.closeFile(file.file)?.catch(() => undefined)
  }

  move(from: string, to: string, replace: boolean): Promise<void> {
    return this.#try(this.#native.moveFile(from, to, replace), { path: from, dest: to })
  }

  /**
   * The same by the handle of a received file.
   * @returns false if the file system does not support it
   */
  async rename(file: OpenFile, to: string, replace: boolean): Promise<boolean> {
    try {
      await this.#try(this.#native.renameFile(file.file, to, replace), { path: file.path, dest: to })
      return true
    } catch (error) {
      if (error instanceof IocpError && error.winCode !== undefined && NO_SUCH_CALL.has(error.winCode)) return false
      throw error
    }
  }

  /**
   * False if the connection does not accept it; the file has to be closed then.
   * @throws IocpError with the system's code, if the file cannot be given to the completion port
   */
  send(place: ConnectionRef, file: OpenFile, options: NativeSendFile): boolean {
    return this.#call(() => this.#native.sendFile(place._slot, place._generation, file.file, options))
  }

  receive(place: ConnectionRef, file: OpenFile, options: NativeReceiveFile): boolean {
    return this.#call(() => this.#native.receiveFile(place._slot, place._generation, file.file, options))
  }

  #call(call: () => boolean): boolean {
    try {
      return call()
    } catch (error) {
      throw fromNative(this.#binding, error)
    }
  }

  cancel(place: ConnectionRef, received: boolean, id: number): void {
    this.#native.cancelFile(place._slot, place._generation, received, id)
  }

  /** Reserves the position of a raw file in the send queue of the connection. */
  reserve(place: ConnectionRef, id: number): boolean {
    return this.#native.reserveFile(place._slot, place._generation, id)
  }

  /** Starts a file that was held back. */
  start(place: ConnectionRef, id: number): void {
    this.#native.startSentFile(place._slot, place._generation, id)
  }

  /** While it is on, the end of this side waits. */
  holdEnd(place: ConnectionRef, on: boolean): void {
    this.#native.holdEnd(place._slot, place._generation, on)
  }

  /**
   * Sends a packet that is not a frame. Held files do not delay it.
   * @param before number of the held file before which it is sent; default the first one
   */
  control(place: ConnectionRef, packet: Uint8Array, before = 0): boolean {
    return this.#native.sendControl(place._slot, place._generation, packet, before)
  }

  frame(place: ConnectionRef, frame: NativeTransferFrame): boolean {
    return this.#native.transferFrame(place._slot, place._generation, frame)
  }

  /** The error for the Windows error number of a transfer. */
  error(winCode: number, syscall: string, path: string): Error {
    return this.#translate(systemError(this.#binding, { winCode, syscall, path: plainPath(path) }))
  }

  #translate(error: Error): Error {
    if (!(error instanceof IocpError) || error.winCode === undefined) return error
    const { winCode } = error
    if (DISK_FULL.has(winCode)) return fileError('ERR_IOCP_TRANSFER_DISK_FULL', error)
    if (winCode === END_OF_FILE) return fileError('ERR_IOCP_TRANSFER_SOURCE_CHANGED', error)
    if (EXISTS.has(winCode)) return fileError('ERR_IOCP_TRANSFER_EXISTS', error)
    if (winCode === CANCELLED) return fileError('ERR_IOCP_TRANSFER_CLOSED', error)
    return error
  }

  async #try<T>(promise: Promise<T>, place: { path: string; dest?: string }): Promise<T> {
    try {
      return await promise
    } catch (error) {
      const dest = place.dest === undefined ? {} : { dest: plainPath(place.dest) }
      throw this.#translate(fromNative(this.#binding, error, { path: plainPath(place.path), ...dest }))
    }
  }
}
