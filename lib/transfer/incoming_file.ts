/** An incoming file, in framed mode. */

import type { IocpError } from '../common/errors.js'
import type { Connection } from '../connection/connection.js'
import type { ReceivedFile, TransferSettings } from '../connection/file_types.js'
import { SILENT } from '../connection/state.js'
import { transferKind } from '../native/protocol.js'
import { errorToPeer, reasonBytes, transferError } from './errors.js'
import { normalName } from './file_names.js'
import { REASON_HEADER, type TransferFrame } from './frames.js'
import { type Answerable, emitOffer, rejectReason } from './offer.js'
import type { AcceptPlan } from './options.js'
import { IncomingFile, targetOf } from './target_file.js'
import { filesOf, largestOf, transfersOf } from './transfer.js'

/** The peer offers a file. */
export function offered(connection: Connection, frame: TransferFrame): void {
  const settings = connection._profile.transfer
  if (settings === undefined || (connection._flags & SILENT) !== 0) return
  const told = { name: normalName(frame.name), size: frame.number, metadata: frame.rest, isVerified: frame.hasHash }
  const problem: IocpError | undefined = transfersOf(connection).received.has(frame.id)
    ? transferError('ERR_IOCP_TRANSFER_PROTOCOL')
    : rejectReason(connection, settings, told)
  if (problem === undefined) emitOffer(new FramedIncomingFile(connection, settings, frame), told)
  else filesOf(connection).frame(connection, { kind: transferKind.reject, id: frame.id, ...errorToPeer(problem) })
}

/** A file that was offered. */
class FramedIncomingFile extends IncomingFile implements Answerable {
  readonly #size: number
  readonly #hasHash: boolean
  #isDone = false
  #reason: string | undefined
  #decide: (plan: AcceptPlan) => void = () => undefined
  #name: string | undefined
  readonly #result: Promise<ReceivedFile>
  #failure: { error: unknown } | undefined
  _isAnswered = false

  constructor(connection: Connection, settings: TransferSettings, frame: TransferFrame) {
    super(connection, settings, frame.id, true)
    this.#size = frame.number
    this.#hasHash = frame.hasHash
    const decided = new Promise<AcceptPlan>((resolve) => {
      this.#decide = resolve
    })
    this.setDeadline(settings.answerTimeout, 'ERR_IOCP_TRANSFER_ANSWER_TIMEOUT')
    this.#result = this.run(
      async () => this.#receive(await this.orAbort(decided)),
      (failed) => this.cleanUp(failed)
    )
    // A program that never accepts does not observe the outcome.
    this.#result.catch((error: unknown) => {
      this._isAnswered = true
      this.#failure = { error }
    })
  }

  override take(frame: TransferFrame): void {
    if (frame.kind === transferKind.done) this.#isDone = true
    super.take(frame)
  }

  override peerEnded(): void {
    if (!this.#isDone) this.fail(transferError('ERR_IOCP_TRANSFER_CLOSED', 'the peer has ended its side'), false)
  }

  protected override refreshDeadline(): void {
    // While the program decides, incoming data does not extend the time limit.
    if (this._isAnswered) super.refreshDeadline()
  }

  protected override refuse(told: { code: number; rest: Buffer }): void {
    const rest =
      this.#reason === undefined ? told.rest : reasonBytes(this.#reason, largestOf(this.connection) - REASON_HEADER)
    const kind = this.partialFile === '' && this.#name === undefined ? transferKind.reject : transferKind.abort
    this.files.frame(this.connection, { kind, id: this.id, side: 1, code: told.code, rest })
  }

  _accept(plan: AcceptPlan, name: string): Promise<ReceivedFile> {
    if (!this._isAnswered) {
      this._isAnswered = true
      this.#name = name
      this.#decide(plan)
    }
    return this.#result
  }

  _failedBy(error: unknown): boolean {
    return this.#failure !== undefined && this.#failure.error === error
  }

  _reject(reason: string): void {
    if (this._isAnswered) return
    this._isAnswered = true
    this.#reason = reason
    this.fail(transferError('ERR_IOCP_TRANSFER_REJECTED', reason))
  }

  async #receive(plan: AcceptPlan): Promise<ReceivedFile> {
    const target = targetOf(plan, this.#name ?? '')
    this.setDeadline(this.settings.stallTimeout, 'ERR_IOCP_TRANSFER_STALL_TIMEOUT')
    this.watch(plan.signal, this.#size, plan.onProgress)
    await this.throwIfBroken()
    const there = await this.open(target, this.#size, plan.overwrite, plan.resume, this.#hasHash)
    const resumedFrom = await this.#ask(there)
    const begun = performance.now()
    const done = await this.expectFrame(transferKind.done)
    const end = await this.nativeEnd()
    if (end.bytes !== this.#size || done.number !== this.#size) {
      throw transferError('ERR_IOCP_TRANSFER_PROTOCOL', `${end.bytes} bytes instead of ${this.#size}`)
    }
    if (this.#hasHash && done.hash?.equals(end.hash) !== true) {
      this.keepsPartialFile = false
      throw transferError('ERR_IOCP_TRANSFER_CHECKSUM')
    }
    const path = await this.commit(target, plan.overwrite)
    this.tellProgress(this.#size)
    // The file is complete, whether or not the sender is notified.
    this.files.frame(this.connection, { kind: transferKind.stored, id: this.id })
    const result = this.result(path, this.#size, begun, resumedFrom)
    return this.#hasHash ? { ...result, sha256: end.hash.toString('hex') } : result
  }

  /** Accepts the file, and returns the offset at which the sender starts. */
  async #ask(there: number): Promise<number> {
    const file = this.source
    if (file === undefined) throw transferError('ERR_IOCP_TRANSFER_CLOSED')
    const hash = there === 0 ? undefined : await this.hashFirst(file, there, this.#hasHash)
    await this.throwIfBroken()
    const options = { id: this.id, offset: there, bytes: this.#size, raw: false }
    if (!this.files.receive(this.connection, file, options)) throw transferError('ERR_IOCP_TRANSFER_CLOSED')
    this.started()
    this.sendFrame({ kind: transferKind.accept, id: this.id, number: there, hash })
    const { number } = await this.expectFrame(transferKind.start)
    return number
  }
}
