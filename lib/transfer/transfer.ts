/** What files on their way out and in have in common: how one waits, breaks off, and ends exactly once. */

import { Deferred } from '../common/deferred.js'
import { runUncaught } from '../common/emitter.js'
import { IocpError } from '../common/errors.js'
import { timedOut } from '../connection/close.js'
import type { Connection } from '../connection/connection.js'
import type { TransferProgress, TransferSettings } from '../connection/file_types.js'
import { guarded } from '../connection/notify.js'
import { type ConnectionTransfers, extraOf, NOT_WRITABLE, SILENT, type TransferService } from '../connection/state.js'
import { fileOutcome, transferKind } from '../native/protocol.js'
import type { NativeTransferFrame } from '../native/types.js'
import { errorFromPeer, errorToPeer, transferError } from './errors.js'
import type { FileEnd, TransferFrame } from './frames.js'
import type { IocpsTurn } from './iocps.js'
import type { NativeFiles, OpenFile } from './native_files.js'
import { largestPacket } from './options.js'

/** Native code could not let go of a file in this time: then the connection is what is stuck. */
const RELEASE_GRACE_MS = 2000

/** Frames of the peer's that can come before they are waited for: those that begin and end a file. */
const MAX_WAITING = 2

/** The settings of a connection. @throws IocpError ERR_IOCP_TRANSFER_OFF */
export function settingsOf(connection: Connection): TransferSettings {
  const settings = connection._profile.transfer
  if (settings === undefined) throw transferError('ERR_IOCP_TRANSFER_OFF', "option 'transfer' is false")
  return settings
}

/** The largest frame that a connection can send. */
export function largestOf(connection: Connection): number {
  const { native, rules } = connection._profile
  return largestPacket(native.send, rules.maxPayload)
}

/** The transfers of one connection. Made with the first one. */
export class TransferTable implements ConnectionTransfers {
  /** Files that go out, by this side's numbers. */
  readonly sent = new Map<number, Transfer>()
  /** Files that come in, by the peer's numbers. */
  readonly received = new Map<number, Transfer>()
  /** Those that speak as IOCPS does. Made with the first one. */
  iocps: IocpsTurn | undefined
  readonly #connection: Connection
  #nextId = 1
  #holding = 0
  #whenIdle: (() => void) | undefined

  constructor(connection: Connection) {
    this.#connection = connection
  }

  get size(): number {
    return this.sent.size + this.received.size
  }

  nextId(): number {
    const id = this.#nextId
    this.#nextId = (id % 0x7fff_ffff) + 1
    return id
  }

  whenIdle(callback: () => void): void {
    if (this.#holding === 0) callback()
    else this.#whenIdle = callback
  }

  add(transfer: Transfer): void {
    ;(transfer.isReceived ? this.received : this.sent).set(transfer.id, transfer)
    this.#connection._receiveQueue?.reconsider()
    if (transfer.holdsEnd && ++this.#holding === 1) filesOf(this.#connection).holdEnd(this.#connection, true)
  }

  remove(transfer: Transfer): void {
    ;(transfer.isReceived ? this.received : this.sent).delete(transfer.id)
    this.#connection._receiveQueue?.reconsider()
    if (!transfer.holdsEnd || --this.#holding > 0) return
    filesOf(this.#connection).holdEnd(this.#connection, false)
    const callback = this.#whenIdle
    this.#whenIdle = undefined
    callback?.()
  }
}

/** What this folder sees of the service that a connection has for its files. */
export interface FileService extends TransferService {
  readonly files: NativeFiles
}

/** What native code does for the files of a connection. */
export function filesOf(connection: Connection): NativeFiles {
  return (connection._engine.transfers as FileService).files
}

/** The transfers of a connection, where it has had any. This folder alone makes what a connection keeps them in. */
export function knownTransfers(connection: Connection): TransferTable | undefined {
  return connection._extra?.transfers as TransferTable | undefined
}

/** The transfers of a connection. */
export function transfersOf(connection: Connection): TransferTable {
  const known = knownTransfers(connection)
  if (known !== undefined) return known
  const made = new TransferTable(connection)
  extraOf(connection).transfers = made
  return made
}

/** Whether another transfer may begin. */
export function hasRoom(connection: Connection, settings: TransferSettings): boolean {
  return transfersOf(connection).size < settings.maxPerConnection && filesOf(connection).active < settings.maxTotal
}

/** One file on its way. What goes wrong first decides; it ends when native code has let go of the file. */
export abstract class Transfer {
  readonly connection: Connection
  readonly id: number
  readonly isReceived: boolean
  readonly holdsEnd: boolean
  protected readonly files: NativeFiles
  protected readonly settings: TransferSettings
  readonly #broken = new Deferred<never>()
  readonly #nativeEnd = new Deferred<FileEnd>()
  #mailbox: TransferFrame[] = []
  #waiter: Deferred<TransferFrame> | undefined
  #isNative = false
  #isBroken = false
  #knowsPeer = true
  #timer: NodeJS.Timeout | undefined
  #signal: AbortSignal | undefined
  #onProgress: ((progress: TransferProgress) => void) | undefined
  #total = 0
  /** The most that native code has told of. */
  #come = 0
  /** Bytes of the file that were there before native code began. */
  protected base = 0

  /** @param holdsEnd whether this side has to be able to speak until it is over */
  constructor(connection: Connection, settings: TransferSettings, id: number, isReceived: boolean, holdsEnd = true) {
    this.connection = connection
    this.settings = settings
    this.id = id
    this.isReceived = isReceived
    this.holdsEnd = holdsEnd
    this.files = filesOf(connection)
    transfersOf(connection).add(this)
    this.files.begin()
  }

  /** Breaks it off; only the first reason counts. */
  fail(error: unknown, knowsPeer = true): void {
    if (this.#isBroken) return
    this.#isBroken = true
    this.#knowsPeer = knowsPeer
    this.#broken.reject(error)
  }

  /** A frame of the peer's. */
  take(frame: TransferFrame): void {
    this.refreshDeadline()
    if (frame.kind === transferKind.reject || frame.kind === transferKind.abort) {
      this.fail(errorFromPeer(frame.code, frame.rest.toString()), false)
    } else if (this.#waiter !== undefined) {
      this.#waiter.resolve(frame)
      this.#waiter = undefined
    } else if (this.#mailbox.push(frame) > MAX_WAITING) {
      this.fail(transferError('ERR_IOCP_TRANSFER_PROTOCOL', 'more frames than there are'))
    }
  }

  /** Native code is through with the file, and has closed it. What failed there fails here at once. */
  ended(end: FileEnd): void {
    this.refreshDeadline()
    this.#come = Infinity
    if (end.outcome !== fileOutcome.complete) this.fail(this.errorOfEnd(end))
    this.#nativeEnd.resolve(end)
  }

  /** So many bytes have gone since native code began, or of the file have come. */
  progress(bytes: number): void {
    this.refreshDeadline()
    // Native threads tell on their own: what one has counted may come behind what another has, and behind the end.
    if (bytes <= this.#come) return
    this.#come = bytes
    this.tellProgress(this.base + bytes)
  }

  /** The connection is closed; native code has closed the file before it told. */
  closed(error: Error | undefined): void {
    this.fail(transferError('ERR_IOCP_TRANSFER_CLOSED', undefined, error), false)
    this.#nativeEnd.reject(undefined)
  }

  /** The error for an end that is not the file's. */
  protected abstract errorOfEnd(end: FileEnd): Error

  /** What this transfer can still do without a word from the peer, when no more will come. */
  abstract peerEnded(): void

  /** From now on the signal breaks it off, and progress is told. */
  protected watch(
    signal: AbortSignal | undefined,
    total: number,
    onProgress: ((progress: TransferProgress) => void) | undefined
  ): void {
    this.#total = total
    this.#onProgress = onProgress
    this.#signal = signal
    if (signal?.aborted === true) this.#aborted()
    else signal?.addEventListener('abort', this.#aborted)
  }

  readonly #aborted = (): void => {
    this.fail(this.#signal?.reason)
  }

  protected tellProgress(bytes: number): void {
    const total = this.#total
    const onProgress = this.#onProgress
    if (onProgress === undefined) return
    const tell = guarded(this.connection, onProgress)
    runUncaught(() => {
      tell({ bytes, total, fraction: total === 0 ? 1 : bytes / total })
    })
  }

  /** Breaks off when the time passes without any progress. */
  protected setDeadline(time: number, code: 'ERR_IOCP_TRANSFER_STALLED' | 'ERR_IOCP_TRANSFER_UNANSWERED'): void {
    clearTimeout(this.#timer)
    this.#timer =
      time === 0
        ? undefined
        : setTimeout(() => {
            this.fail(transferError(code, this.#obstacle()))
          }, time).unref()
  }

  protected refreshDeadline(): void {
    this.#timer?.refresh()
  }

  /** What keeps this side from reading what the peer may have said long ago. */
  #obstacle(): string | undefined {
    const { _receiveQueue: receiveQueue, _profile: profile } = this.connection
    const demand = profile.native.demand
      ? 'it is received on demand, and no more packets may have been asked for'
      : undefined
    const why = receiveQueue?.obstacle ?? demand
    return why === undefined ? undefined : `what comes is not read, because ${why}`
  }

  /** The SHA-256 of the first bytes. That is progress too, although nothing goes or comes. */
  protected hashFirst(file: OpenFile, bytes: number, keep: boolean): Promise<Uint8Array> {
    const touch = (): void => {
      this.refreshDeadline()
    }
    return this.orAbort(this.files.hashFirst(file, bytes, keep, touch))
  }

  /** Waits for something, unless the transfer breaks off before. */
  protected orAbort<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([this.#broken.promise, promise])
  }

  /** Throws when the transfer has broken off meanwhile. */
  protected throwIfBroken(): Promise<void> {
    return this.orAbort(Promise.resolve())
  }

  /** The next frame, which has to be of this kind. */
  protected async expectFrame(kind: number): Promise<TransferFrame> {
    let frame = this.#mailbox.shift()
    if (frame === undefined) {
      this.#waiter = new Deferred()
      frame = await this.orAbort(this.#waiter.promise)
    }
    if (frame.kind !== kind) throw transferError('ERR_IOCP_TRANSFER_PROTOCOL', 'an answer that does not fit')
    return frame
  }

  /** Says something to the peer, behind all that was sent before. */
  protected sendFrame(frame: NativeTransferFrame): void {
    this.connection._engine.submission.flush()
    if (!this.files.frame(this.connection, frame) && (this.connection._flags & SILENT) === 0) {
      throw transferError('ERR_IOCP_TRANSFER_CLOSED')
    }
  }

  /** Native code has taken the file over. */
  protected started(): void {
    this.#isNative = true
  }

  protected nativeEnd(): Promise<FileEnd> {
    return this.orAbort(this.#nativeEnd.promise)
  }

  /** It has failed, or was refused; its end may still be to come. */
  get isOver(): boolean {
    return this.#isBroken
  }

  /** Tells the peer that it has failed. */
  protected abstract refuse(told: { code: number; rest: Buffer }): void

  /** Runs the whole of it. Whatever happens, at the end nothing of it is left. */
  protected async run<T>(body: () => Promise<T>, cleanUp: (failed: boolean) => Promise<void>): Promise<T> {
    let failed = true
    try {
      const result = await body()
      failed = false
      return result
    } catch (error) {
      // What was thrown here may be the peer's or the connection's doing too: then the peer need not be told.
      this.fail(error)
      if (this.#knowsPeer) this.#tellPeer(error)
      await this.#releaseNative()
      throw error
    } finally {
      clearTimeout(this.#timer)
      this.#signal?.removeEventListener('abort', this.#aborted)
      await cleanUp(failed)
      transfersOf(this.connection).remove(this)
      this.files.end()
    }
  }

  #tellPeer(error: unknown): void {
    if ((this.connection._flags & SILENT) !== 0) return
    // An AbortSignal has a reason of the program's own.
    const isMine = this.#signal?.aborted === true && !(error instanceof IocpError)
    const told = errorToPeer(isMine ? transferError('ERR_IOCP_TRANSFER_ABORTED') : error)
    this.refuse(told)
  }

  /** Whether the peer takes what comes next for the file, so that nothing may. */
  protected get ownsStream(): boolean {
    return false
  }

  /** Waits until native code has closed the file. A write that the peer does not take ends with the connection only. */
  async #releaseNative(): Promise<void> {
    if (!this.#isNative) return
    // One that is cancelled gives up its place, and what waits behind it would go.
    if (this.ownsStream) this.connection.reset()
    else this.files.cancel(this.connection, this.isReceived, this.id)
    const timer = setTimeout(() => {
      timedOut(this.connection)
    }, RELEASE_GRACE_MS).unref()
    await this.#nativeEnd.promise.catch(() => undefined)
    clearTimeout(timer)
  }
}

/** Whether a file can be begun. @throws IocpError ERR_IOCP_TRANSFER_CLOSED */
export function requireWritable(connection: Connection): void {
  if ((connection._flags & NOT_WRITABLE) !== 0 || connection._engine.isStopping)
    throw transferError('ERR_IOCP_TRANSFER_CLOSED')
}
