/** The common base of outgoing and incoming files: waiting, aborting, and ending exactly once. */

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

/** If native code cannot release a file within this time, the connection is stuck. */
const RELEASE_GRACE_MS = 2000

/** Frames of the peer that can arrive before they are awaited: those that start and end a file. */
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

/** The transfers of one connection. Created with the first one. */
export class TransferTable implements ConnectionTransfers {
  /** Files that go out, by this side's numbers. */
  readonly sent = new Map<number, Transfer>()
  /** Files that come in, by the peer's numbers. */
  readonly received = new Map<number, Transfer>()
  /** Those that use the protocol of IOCPS. Created with the first one. */
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

/** The service of a connection as this folder uses it. */
export interface FileService extends TransferService {
  readonly files: NativeFiles
}

/** The native file operations of a connection. */
export function filesOf(connection: Connection): NativeFiles {
  return (connection._engine.transfers as FileService).files
}

/** The transfers of a connection, if it has had any. Only this folder creates the object that holds them. */
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

/** Why no other transfer may start now; undefined if one may. */
export function limitProblem(
  connection: Connection,
  { maxPerConnection, maxTotal }: TransferSettings
): IocpError | undefined {
  const most =
    transfersOf(connection).size >= maxPerConnection
      ? `${maxPerConnection} on this connection ('transfer.maxPerConnection'), offers without an answer included`
      : filesOf(connection).active >= maxTotal
        ? `${maxTotal} on all connections ('transfer.maxTotal'), offers without an answer included`
        : undefined
  return most === undefined ? undefined : transferError('ERR_IOCP_TRANSFER_LIMIT', `the limit is ${most}`)
}

/** One transfer. The first failure counts; it ends when native code has released the file. */
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
  /** The highest progress that native code has reported. */
  #come = 0
  /** Bytes of the file that existed before native code started. */
  protected base = 0

  /** @param holdsEnd whether this side has to be able to send until it has ended */
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

  /** Aborts it; only the first reason counts. */
  fail(error: unknown, knowsPeer = true): void {
    if (this.#isBroken) return
    this.#isBroken = true
    this.#knowsPeer = knowsPeer
    this.#broken.reject(error)
  }

  /** A frame from the peer. */
  take(frame: TransferFrame): void {
    this.refreshDeadline()
    if (frame.kind === transferKind.reject || frame.kind === transferKind.abort) {
      this.fail(errorFromPeer(frame.code, frame.rest.toString()), false)
    } else if (this.#waiter !== undefined) {
      this.#waiter.resolve(frame)
      this.#waiter = undefined
    } else if (this.#mailbox.push(frame) > MAX_WAITING) {
      this.fail(transferError('ERR_IOCP_TRANSFER_PROTOCOL', 'an unexpected frame'))
    }
  }

  /** Native code has finished and closed the file. A failure there fails the transfer immediately. */
  ended(end: FileEnd): void {
    this.refreshDeadline()
    this.#come = Infinity
    if (end.outcome !== fileOutcome.complete) this.fail(this.errorOfEnd(end))
    this.#nativeEnd.resolve(end)
  }

  /** The bytes sent since native code started, or received of the file. */
  progress(bytes: number): void {
    this.refreshDeadline()
    // Native threads report independently: an earlier count may arrive after a later one, and after the end.
    if (bytes <= this.#come) return
    this.#come = bytes
    this.tellProgress(this.base + bytes)
  }

  /** The connection has closed; native code has closed the file before. */
  closed(error: Error | undefined): void {
    this.fail(transferError('ERR_IOCP_TRANSFER_CLOSED', undefined, error), false)
    this.#nativeEnd.reject(undefined)
  }

  /** The error for an unsuccessful end. */
  protected abstract errorOfEnd(end: FileEnd): Error

  /** Called when the peer has ended its side, so that no more frames will arrive. */
  abstract peerEnded(): void

  /** From now on the signal aborts it, and progress is reported. */
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

  /** Aborts it after this time without progress. */
  protected setDeadline(
    time: number,
    code: 'ERR_IOCP_TRANSFER_STALL_TIMEOUT' | 'ERR_IOCP_TRANSFER_ANSWER_TIMEOUT'
  ): void {
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

  /** Why this side is not reading, so that the peer's answer may be unread. */
  #obstacle(): string | undefined {
    const { _receiveQueue: receiveQueue, _profile: profile } = this.connection
    const demand = profile.native.demand
      ? 'it receives on demand, and no more packets may have been requested'
      : undefined
    const why = receiveQueue?.obstacle ?? demand
    return why === undefined ? undefined : `this side is not reading, because ${why}`
  }

  /** The SHA-256 of the first bytes. This counts as progress, although nothing is sent or received. */
  protected hashFirst(file: OpenFile, bytes: number, keep: boolean): Promise<Uint8Array> {
    const touch = (): void => {
      this.refreshDeadline()
    }
    return this.orAbort(this.files.hashFirst(file, bytes, keep, touch))
  }

  /** Waits for a promise, unless the transfer fails before. */
  protected orAbort<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([this.#broken.promise, promise])
  }

  /** Rejects if the transfer has failed meanwhile. */
  protected throwIfBroken(): Promise<void> {
    return this.orAbort(Promise.resolve())
  }

  /** The next frame, which must be of this kind. */
  protected async expectFrame(kind: number): Promise<TransferFrame> {
    let frame = this.#mailbox.shift()
    if (frame === undefined) {
      this.#waiter = new Deferred()
      frame = await this.orAbort(this.#waiter.promise)
    }
    if (frame.kind !== kind) throw transferError('ERR_IOCP_TRANSFER_PROTOCOL', 'an answer that does not match')
    return frame
  }

  /** Sends a frame, after everything that was sent before. */
  protected sendFrame(frame: NativeTransferFrame): void {
    this.connection._engine.submission.flush()
    if (!this.files.frame(this.connection, frame) && (this.connection._flags & SILENT) === 0) {
      throw transferError('ERR_IOCP_TRANSFER_CLOSED')
    }
  }

  /** Native code has accepted the file. */
  protected started(): void {
    this.#isNative = true
  }

  protected nativeEnd(): Promise<FileEnd> {
    return this.orAbort(this.#nativeEnd.promise)
  }

  /** It has failed, or was rejected; its end may be pending. */
  get isOver(): boolean {
    return this.#isBroken
  }

  /** Reports the failure to the peer. */
  protected abstract refuse(told: { code: number; rest: Buffer }): void

  /** Runs the transfer. At its end all resources are released, also after a failure. */
  protected async run<T>(body: () => Promise<T>, cleanUp: (failed: boolean) => Promise<void>): Promise<T> {
    let failed = true
    try {
      const result = await body()
      failed = false
      return result
    } catch (error) {
      // If the peer or the connection caused the error, it is not reported to the peer.
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
    // The reason of an AbortSignal belongs to the program.
    const isMine = this.#signal?.aborted === true && !(error instanceof IocpError)
    const told = errorToPeer(isMine ? transferError('ERR_IOCP_TRANSFER_ABORTED') : error)
    this.refuse(told)
  }

  /** Whether the peer would interpret the next bytes as the file, so that nothing may be sent. */
  protected get ownsStream(): boolean {
    return false
  }

  /**
   * Waits until native code has closed the file. A write that the peer does not accept ends with the connection only.
   */
  async #releaseNative(): Promise<void> {
    if (!this.#isNative) return
    // A cancelled file releases its position, and later data would be sent.
    if (this.ownsStream) this.connection.reset()
    else this.files.cancel(this.connection, this.isReceived, this.id)
    const timer = setTimeout(() => {
      timedOut(this.connection)
    }, RELEASE_GRACE_MS).unref()
    await this.#nativeEnd.promise.catch(() => undefined)
    clearTimeout(timer)
  }
}

/** Whether a file can be started. @throws IocpError ERR_IOCP_TRANSFER_CLOSED */
export function requireWritable(connection: Connection): void {
  const isOver = (connection._flags & NOT_WRITABLE) !== 0
  if (!isOver && !connection._engine.isStopping) return
  const why = !isOver
    ? 'the server or client is closing'
    : connection.state === 'ending'
      ? 'this side has ended the connection'
      : 'the connection is closed'
  throw new IocpError('ERR_IOCP_TRANSFER_CLOSED', `No transfer can start: ${why}`)
}
