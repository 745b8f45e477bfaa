/** A file on its way in. */

import { createHash, randomBytes } from 'node:crypto'
import { realpath, rm, stat } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, relative, resolve, toNamespacedPath } from 'node:path'
import type { NativeFile } from './binding.js'
import type { Connection } from './connection.js'
import { SILENT } from './connection_state.js'
import { IocpError } from './errors.js'
import { hold } from './intake.js'
import { Transfer, hasRoom, requireWritable, settingsOf, transfersOf } from './transfer.js'
import { reasonBytes, tellPeer, transferError } from './transfer_errors.js'
import type { FileEnd, NativeTransferFrame, TransferFrame } from './transfer_frames.js'
import { nameProblem, normalName, otherName } from './transfer_names.js'
import {
  readAccept,
  readReceiveFile,
  type AcceptOptions,
  type AcceptPlan,
  type Overwrite,
  type ReceiveFileOptions,
  type ReceivePlan,
  type TransferSettings
} from './transfer_options.js'
import { fileOutcome, transferKind } from './vocabulary.js'

/** What became of a file that was received. */
export interface ReceivedFile {
  /** Where it is; with `overwrite: 'rename'` this may be another name. */
  readonly path: string
  readonly bytes: number
  readonly seconds: number
  readonly bytesPerSecond: number
  /** Bytes that were there from an earlier attempt. */
  readonly resumedFrom: number
  /** Of the whole file, in hexadecimal digits; there when the sender has sent one to compare. */
  readonly sha256?: string
}


const MOST_NAMES = 10_000

/** A file that the peer wants to send. It is rejected when nobody answers in time. */
export class FileOffer {
  readonly connection: Connection
  /** A name that is safe to use in any folder of Windows, without a path. */
  readonly name: string
  readonly size: number
  /** What the sender gave with it. */
  readonly metadata: Buffer
  /** Whether the sender will send a SHA-256 to compare. */
  readonly isVerified: boolean
  readonly #file: IncomingFile

  /** @internal */
  constructor(file: IncomingFile, frame: TransferFrame, name: string) {
    this.#file = file
    this.connection = file.connection
    this.name = name
    this.size = frame.number
    this.metadata = frame.rest
    this.isVerified = frame.hasHash
  }

  /** Whether it has been accepted or rejected, or is no longer to be had. */
  get isAnswered(): boolean {
    return this.#file._isAnswered
  }

  /**
   * Takes the file. It is written under a name of its own and gets its proper one when it is complete and verified.
   * @returns when it is in its place
   * @throws IocpError ERR_IOCP_INVALID_OPTION; by rejecting: ERR_IOCP_TRANSFER_* and errors of
   *   the file system, the signal's reason
   */
  accept(options: AcceptOptions): Promise<ReceivedFile> {
    const plan = readAccept(options)
    return this.#file._accept(plan, this)
  }

  /** Bytes of this file that an earlier attempt with `resume` has left, so that accepting can go on behind them. */
  async resumable(options: Pick<AcceptOptions, 'directory' | 'path'>): Promise<number> {
    const target = targetOf(readAccept(options), this.name)
    const found = await stat(resumePath(target, this.size)).catch(() => undefined)
    return Math.min(found?.size ?? 0, this.size)
  }

  /** Refuses it. @param reason shown to the sender; at most 1024 bytes of it */
  reject(reason = ''): void {
    this.#file._reject(reason)
  }
}

/** The peer offers a file. */
export function offered(connection: Connection, frame: TransferFrame): void {
  const settings = connection._profile.transfer
  const refuse = (error: IocpError): void => {
    connection._host.files.frame(connection, { kind: transferKind.reject, id: frame.id, ...tellPeer(error) })
  }
  if (settings === undefined || (connection._flags & SILENT) !== 0) return
  if (connection._intake?.has(hold.fresh) === true) {
    // Whoever made the connection does not know of it yet, and so cannot listen.
    setImmediate(offered, connection, frame)
    return
  }
  if (transfersOf(connection).received.has(frame.id)) {
    refuse(transferError('ERR_IOCP_TRANSFER_PROTOCOL'))
    return
  }
  if (!hasRoom(connection, settings)) {
    refuse(transferError('ERR_IOCP_TRANSFER_LIMIT'))
    return
  }
  if (frame.number > settings.maxFileSize) {
    refuse(transferError('ERR_IOCP_TRANSFER_TOO_LARGE'))
    return
  }
  const name = normalName(frame.name)
  if (nameProblem(name) !== undefined) {
    refuse(transferError('ERR_IOCP_TRANSFER_NAME'))
    return
  }
  if (connection.listenerCount('file') + connection._host.owner.listenerCount('file') === 0) {
    refuse(transferError('ERR_IOCP_TRANSFER_REJECTED'))
    return
  }
  const file = new IncomingFile(connection, settings, frame)
  const offer = new FileOffer(file, frame, name)
  connection.emit('file', offer)
  connection._host.owner.emit('file', offer, connection)
}

/** Takes the next bytes of a connection as a file. @throws IocpError ERR_IOCP_INVALID_OPTION */
export function receiveFile(connection: Connection, options: ReceiveFileOptions): Promise<ReceivedFile> {
  const settings = settingsOf(connection)
  const plan = readReceiveFile(options)
  return (async () => {
    requireWritable(connection)
    if (!hasRoom(connection, settings)) throw transferError('ERR_IOCP_TRANSFER_LIMIT')
    return new RawIncomingFile(connection, settings)._receive(plan)
  })()
}

function targetOf(plan: Pick<AcceptPlan, 'directory' | 'path'>, name: string): string {
  return toNamespacedPath(plan.path === undefined ? join(resolve(plan.directory ?? '.'), name) : resolve(plan.path))
}

/** A path as people write it. */
function plainPath(path: string): string {
  return path.replace(/^\\\\\?\\UNC\\/, String.raw`\\`).replace(/^\\\\\?\\/, '')
}

/** The same file offered again has the same place for what has come of it. */
function resumePath(target: string, size: number): string {
  const name = createHash('sha256').update(`${basename(target).toLowerCase()}/${size}`).digest('hex').slice(0, 32)
  return join(dirname(target), `.iocp-${name}.part`)
}

/** Neither a path nor a link may lead out of the folder that is allowed. */
async function checkPlace(target: string, allowed: string | undefined): Promise<void> {
  if (allowed === undefined) return
  const [outer, inner] = await Promise.all([realpath(resolve(allowed)), realpath(dirname(target))])
  const way = relative(toNamespacedPath(outer), toNamespacedPath(inner))
  if (way === '..' || way.startsWith(`..\\`) || isAbsolute(way)) throw transferError('ERR_IOCP_TRANSFER_PATH')
}

/** What framed and raw files have in common: a part that becomes the file. */
abstract class FileIn extends Transfer {
  protected part = ''
  protected keepsPart = false
  protected source: NativeFile | undefined

  /** Opens the part beside the target. Gives the bytes that are there already. */
  protected async open(target: string, size: number, overwrite: Overwrite, resume: boolean, hash: boolean): Promise<number> {
    await checkPlace(target, this.settings.directory)
    if (overwrite === 'fail' && (await stat(target).catch(() => undefined)) !== undefined) {
      throw transferError('ERR_IOCP_TRANSFER_EXISTS')
    }
    const part = resume ? resumePath(target, size) : join(dirname(target), `.iocp-${randomBytes(12).toString('hex')}.part`)
    this.source = await this.files.openTarget(part, size, resume, hash)
    this.part = part
    this.keepsPart = resume
    return this.source.size <= size ? this.source.size : 0
  }

  /** Gives the part its name. */
  protected async place(target: string, overwrite: Overwrite): Promise<string> {
    for (let n = 1; ; n++) {
      const path = n === 1 ? target : join(dirname(target), otherName(basename(target), n))
      try {
        await this.files.move(this.part, path, overwrite === 'replace')
        this.part = ''
        return path
      } catch (error) {
        const isTaken = error instanceof IocpError && error.code === 'ERR_IOCP_TRANSFER_EXISTS'
        if (!isTaken || overwrite !== 'rename' || n === MOST_NAMES) throw error
      }
    }
  }

  protected override errorOfEnd({ outcome, winCode }: FileEnd): Error {
    if (outcome === fileOutcome.failed) return this.files.error(winCode, 'write')
    if (outcome === fileOutcome.excess) return transferError('ERR_IOCP_TRANSFER_PROTOCOL', 'other bytes than it had offered')
    return transferError('ERR_IOCP_TRANSFER_ABORTED')
  }

  protected async cleanUp(failed: boolean): Promise<void> {
    this.files.close(this.source)
    if (failed && this.part !== '' && !this.keepsPart) await rm(this.part, { force: true }).catch(() => undefined)
  }
}

/** A file that was offered. */
class IncomingFile extends FileIn {
  readonly #size: number
  readonly #hasHash: boolean
  #isDone = false
  #reason: string | undefined
  #decide: (plan: AcceptPlan) => void = () => undefined
  #offer: FileOffer | undefined
  readonly #result: Promise<ReceivedFile>
  _isAnswered = false

  constructor(connection: Connection, settings: TransferSettings, frame: TransferFrame) {
    super(connection, settings, frame.id, true)
    this.#size = frame.number
    this.#hasHash = frame.hasHash
    const decided = new Promise<AcceptPlan>((resolve) => {
      this.#decide = resolve
    })
    this.limit(settings.answerTimeout, 'ERR_IOCP_TRANSFER_UNANSWERED')
    this.#result = this.run(
      async () => this.#receive(await this.until(decided)),
      (failed) => this.cleanUp(failed)
    )
    // Who never accepts does not see how the offer went.
    this.#result.catch(() => {
      this._isAnswered = true
    })
  }

  override take(frame: TransferFrame): void {
    if (frame.kind === transferKind.done) this.#isDone = true
    super.take(frame)
  }

  override peerEnded(): void {
    if (!this.#isDone) this.fail(transferError('ERR_IOCP_TRANSFER_CLOSED', 'the peer has ended its side'), false)
  }

  protected override touch(): void {
    // While the program thinks about it, nothing that comes prolongs its time.
    if (this._isAnswered) super.touch()
  }

  protected override refuse(told: { code: number; rest: Buffer }): NativeTransferFrame {
    const rest = this.#reason === undefined ? told.rest : reasonBytes(this.#reason)
    const kind = this.part === '' && this.#offer === undefined ? transferKind.reject : transferKind.abort
    return { kind, id: this.id, side: 1, code: told.code, rest }
  }

  _accept(plan: AcceptPlan, offer: FileOffer): Promise<ReceivedFile> {
    if (!this._isAnswered) {
      this._isAnswered = true
      this.#offer = offer
      this.#decide(plan)
    }
    return this.#result
  }

  _reject(reason: string): void {
    if (this._isAnswered) return
    this._isAnswered = true
    this.#reason = reason
    this.fail(transferError('ERR_IOCP_TRANSFER_REJECTED', reason))
  }

  async #receive(plan: AcceptPlan): Promise<ReceivedFile> {
    const target = targetOf(plan, this.#offer?.name ?? '')
    this.limit(this.settings.stallTimeout, 'ERR_IOCP_TRANSFER_STALLED')
    this.watch(plan.signal, this.#size, plan.onProgress)
    await this.until(Promise.resolve())
    const there = await this.open(target, this.#size, plan.overwrite, plan.resume, this.#hasHash)
    const resumedFrom = await this.#ask(there)
    const begun = performance.now()
    this.base = resumedFrom
    const done = await this.frame(transferKind.done)
    const end = await this.nativeEnd()
    if (end.bytes !== this.#size || done.number !== this.#size) {
      throw transferError('ERR_IOCP_TRANSFER_PROTOCOL', `${end.bytes} bytes instead of ${this.#size}`)
    }
    if (this.#hasHash && done.hash?.equals(end.hash) !== true) {
      this.keepsPart = false
      throw transferError('ERR_IOCP_TRANSFER_CHECKSUM')
    }
    const path = await this.place(target, plan.overwrite)
    this.tellProgress(this.#size)
    // It is here, whether the sender still hears of it or not.
    this.files.frame(this.connection, { kind: transferKind.stored, id: this.id })
    const seconds = (performance.now() - begun) / 1000
    return {
      path: plainPath(path),
      bytes: this.#size,
      seconds,
      bytesPerSecond: seconds === 0 ? 0 : (this.#size - resumedFrom) / seconds,
      resumedFrom,
      ...(this.#hasHash && { sha256: end.hash.toString('hex') })
    }
  }

  /** Lets it come, and gives the place where the sender begins. */
  async #ask(there: number): Promise<number> {
    const file = this.source
    if (file === undefined) throw transferError('ERR_IOCP_TRANSFER_CLOSED')
    const hash = there === 0 ? undefined : await this.until(this.files.hashFirst(file, there, this.#hasHash))
    await this.until(Promise.resolve())
    this.source = undefined
    const options = { id: this.id, offset: there, bytes: this.#size, raw: false }
    if (!this.files.receive(this.connection, file, options)) throw transferError('ERR_IOCP_TRANSFER_CLOSED')
    this.started()
    this.say({ kind: transferKind.accept, id: this.id, number: there, hash })
    const { number } = await this.frame(transferKind.start)
    return number
  }
}

/** A file whose bytes come without any frame. */
class RawIncomingFile extends FileIn {
  #begun = 0

  constructor(connection: Connection, settings: TransferSettings) {
    // Numbers of its own: those of the peer's offers are below.
    super(connection, settings, 0x8000_0000 + transfersOf(connection).nextId(), true)
  }

  override peerEnded(): void {
    // Its bytes may all have come, and be on their way to the disk.
    this.limit(1000, 'ERR_IOCP_TRANSFER_STALLED')
  }

  protected override refuse(): undefined {
    return undefined
  }

  _receive(plan: ReceivePlan): Promise<ReceivedFile> {
    return this.run(
      () => this.#receive(plan),
      async (failed) => {
        await this.cleanUp(failed)
        if (failed && this.#begun !== 0) this.connection.reset()
      }
    )
  }

  async #receive(plan: ReceivePlan): Promise<ReceivedFile> {
    const target = toNamespacedPath(resolve(plan.path))
    this.watch(plan.signal, plan.bytes, plan.onProgress)
    await this.until(Promise.resolve())
    if (plan.bytes > this.settings.maxFileSize) throw transferError('ERR_IOCP_TRANSFER_TOO_LARGE')
    await this.open(target, plan.bytes, plan.overwrite, false, false)
    await this.until(Promise.resolve())
    this.#start(plan.bytes)
    plan.onReady?.()
    this.limit(this.settings.stallTimeout, 'ERR_IOCP_TRANSFER_STALLED')
    await this.nativeEnd()
    const path = await this.place(target, plan.overwrite)
    this.tellProgress(plan.bytes)
    const seconds = (performance.now() - this.#begun) / 1000
    return { path: plainPath(path), bytes: plan.bytes, seconds, bytesPerSecond: seconds === 0 ? 0 : plan.bytes / seconds, resumedFrom: 0 }
  }

  #start(bytes: number): void {
    const file = this.source
    this.source = undefined
    this.connection._host.submission.flush()
    if (file === undefined || !this.files.receive(this.connection, file, { id: this.id, offset: 0, bytes, raw: true })) {
      throw transferError('ERR_IOCP_TRANSFER_CLOSED', 'or another file is being received')
    }
    this.#begun = performance.now()
    this.started()
  }
}
