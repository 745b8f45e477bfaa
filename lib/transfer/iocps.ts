/**
 * The file protocol of IOCPS: type 1 offers (size and name), type 2 requests the bytes, which then follow without
 * frames, type 3 rejects. The messages have no number, so each side has one unanswered offer at a time. If both sides
 * offer at the same time, the side that accepted the connection withdraws its offer and repeats it later.
 */

import { basename, resolve, toNamespacedPath } from 'node:path'
import { Deferred } from '../common/deferred.js'
import type { Connection } from '../connection/connection.js'
import type { ReceivedFile, SentFile, TransferSettings } from '../connection/file_types.js'
import { flag, SILENT } from '../connection/state.js'
import { reportedByPeer, transferError } from './errors.js'
import { normalName } from './file_names.js'
import { type FileEnd, IOCPS_OFFER_EXTRA, iocpsType, readIocpsOffer, writeIocpsOffer } from './frames.js'
import { RawIncomingBase } from './incoming_raw_file.js'
import type { OpenFile } from './native_files.js'
import { type Answerable, emitOffer, rejectReason } from './offer.js'
import type { AcceptPlan, SendPlan } from './options.js'
import { pieceOf, rangeOf, readError, sentResult } from './source_file.js'
import { targetOf } from './target_file.js'
import { filesOf, knownTransfers, Transfer, transfersOf } from './transfer.js'

const START = Buffer.from([iocpsType.start])
const REFUSE = Buffer.from([iocpsType.refuse])
/** Limits of IOCPS: bytes of a name, and bytes of a file. */
const MAX_NAME = 502
const MAX_SIZE = 2 ** 32 - 1

/** Which answers are awaited on one connection. */
export class IocpsTurn {
  /** This side's file, from its offer to its last byte. */
  mine: OutgoingIocpsFile | undefined
  /** The peer's offer, until it is answered. */
  theirs: IncomingIocpsFile | undefined
  /** This side's files in the sequence of the send queue; those with `go` wait for their turn. */
  #files: { readonly file: OutgoingIocpsFile; go: (() => void) | undefined }[] = []

  /** Adds a file of this side. */
  enter(file: OutgoingIocpsFile): void {
    this.#files.push({ file, go: undefined })
  }

  /**
   * Waits until an offer of this side is unambiguous, and the earlier files have ended; then it is this file's turn.
   */
  wait(file: OutgoingIocpsFile): Promise<void> {
    return new Promise((resolve) => {
      const entry = this.#files.find((one) => one.file === file)
      if (entry !== undefined) entry.go = resolve
      this.next()
    })
  }

  /** Returns the turn if the peer has made an offer since. */
  givesWay(): boolean {
    if (this.theirs === undefined) return false
    this.mine = undefined
    return true
  }

  /** A file of this side has ended, or will not be offered. */
  leave(file: OutgoingIocpsFile): void {
    this.#files = this.#files.filter((one) => one.file !== file)
    if (this.mine === file) this.mine = undefined
    this.next()
  }

  /** Something was answered or has ended: the first file may be offered. */
  next(): void {
    if (this.mine !== undefined || this.theirs !== undefined) return
    const first = this.#files[0]
    if (first?.go === undefined) return
    const { go } = first
    first.go = undefined
    this.mine = first.file
    go()
  }
}

function turnOf(connection: Connection): IocpsTurn {
  return (transfersOf(connection).iocps ??= new IocpsTurn())
}

/** Whether raw mode uses the protocol of IOCPS. */
export function speaksIocps(connection: Connection): boolean {
  const { send, receive } = connection._profile.native
  return (
    send.kind === 'lengthField' &&
    send.iocpsFiles === true &&
    receive.kind === 'lengthField' &&
    receive.iocpsFiles === true
  )
}

/**
 * Processes type 1, 2 or 3. Without a listener for files, or without an offer, it is an ordinary packet.
 * @returns whether it was about a file
 */
export function iocpsFile(connection: Connection, bytes: Buffer): boolean {
  if (bytes[0] === iocpsType.offer) {
    if (connection.listenerCount('file') + connection._engine.owner.listenerCount('file') === 0) return false
    offered(connection, Buffer.from(bytes))
    return true
  }
  const mine = knownTransfers(connection)?.iocps?.mine
  if (mine === undefined) return false
  if (bytes[0] === iocpsType.start) mine._start()
  else mine._refused()
  return true
}

function offered(connection: Connection, bytes: Buffer): void {
  const settings = connection._profile.transfer
  // Ignore offers after the peer has sent FIN.
  if (settings === undefined || (connection._flags & (SILENT | flag.peerEnded)) !== 0) return
  const turn = turnOf(connection)
  if (turn.mine?._isUnanswered === true) {
    // The other side withdraws its own, and repeats it.
    if ((connection._flags & flag.accepted) === 0) return
    turn.mine._takeBack()
  }
  if (turn.theirs !== undefined) {
    // An answer would be ambiguous, so both are rejected. Unless the earlier one has been rejected already, and only
    // its end is pending.
    if (turn.theirs.isOver) filesOf(connection).control(connection, REFUSE)
    else turn.theirs.fail(transferError('ERR_IOCP_TRANSFER_PROTOCOL', 'an offer while another one is not answered'))
    return
  }
  const { name, size } = readIocpsOffer(bytes)
  const told = { name: normalName(name), size, metadata: Buffer.alloc(0), isVerified: false }
  if (rejectReason(connection, settings, told) === undefined)
    emitOffer(new IncomingIocpsFile(connection, settings, told.size), told)
  else filesOf(connection).control(connection, REFUSE)
}

/** Sends a file by the protocol of IOCPS. */
export function sendIocps(
  connection: Connection,
  path: string,
  plan: SendPlan,
  settings: TransferSettings
): Promise<SentFile> {
  return new OutgoingIocpsFile(connection, settings, plan)._run(path)
}

/** An outgoing file. The call reserves its position in the queue; the offer is sent there when it is its turn. */
class OutgoingIocpsFile extends Transfer {
  readonly #plan: SendPlan
  readonly #turn: IocpsTurn
  /** True if the peer accepted; false if the offer was withdrawn. */
  #answer = new Deferred<boolean>()
  #file: OpenFile | undefined
  #path = ''
  #isOffered = false
  #isRefused = false
  #isAnswered = false

  constructor(connection: Connection, settings: TransferSettings, plan: SendPlan) {
    super(connection, settings, transfersOf(connection).nextId(), false)
    this.#plan = plan
    this.#turn = turnOf(connection)
  }

  /** Whether the peer still has to answer. */
  get _isUnanswered(): boolean {
    return this.#isOffered && !this.#isAnswered
  }

  /** Type 2. Only the first one after an offer is valid. */
  _start(): void {
    if (!this._isUnanswered) return
    this.#isAnswered = true
    this.#answer.resolve(true)
  }

  /** Type 3. Once bytes are being sent the connection is lost with the file, since they cannot be stopped otherwise. */
  _refused(): void {
    if (!this.#isOffered) return
    this.#isRefused = !this.#isAnswered
    this.fail(reportedByPeer(this.#isAnswered ? 'ERR_IOCP_TRANSFER_ABORTED' : 'ERR_IOCP_TRANSFER_REJECTED'), false)
    this.#isAnswered = true
  }

  /** The peer's offer goes first. This one keeps its position, and is repeated. */
  _takeBack(): void {
    this.#isOffered = false
    this.#turn.mine = undefined
    this.#answer.resolve(false)
  }

  /** The peer may be waiting for bytes already. */
  protected override get ownsStream(): boolean {
    return this.#isOffered && !this.#isRefused
  }

  override peerEnded(): void {
    if (!this.#isAnswered) this.fail(transferError('ERR_IOCP_TRANSFER_CLOSED', 'the peer has ended its side'), false)
  }

  protected override refuse(): void {
    // The protocol has no message for it.
  }

  protected override errorOfEnd(end: FileEnd): Error {
    return readError(this.files, end, this.#path)
  }

  _run(path: string): Promise<SentFile> {
    return this.run(
      () => this.#send(toNamespacedPath(resolve(path)), this.#plan.name ?? basename(path)),
      async (failed) => {
        await this.files.close(this.#file)
        if (failed && this.ownsStream) this.connection.reset()
        this.#turn.leave(this)
      }
    )
  }

  async #send(path: string, name: string): Promise<SentFile> {
    const plan = this.#plan
    const bytes = Buffer.from(name, 'latin1')
    if (bytes.toString('latin1') !== name || bytes.includes(0) || name === '') {
      throw transferError('ERR_IOCP_TRANSFER_NAME', 'IOCPS supports single-byte characters only')
    }
    if (bytes.length > Math.min(MAX_NAME, this.connection._profile.rules.maxPayload - IOCPS_OFFER_EXTRA)) {
      throw transferError('ERR_IOCP_TRANSFER_NAME', 'it is too long')
    }
    // From now on later data waits, although the file has to be opened first.
    this.connection._engine.submission.flush()
    if (!this.files.reserve(this.connection, this.id)) throw transferError('ERR_IOCP_TRANSFER_CLOSED')
    this.started()
    this.#turn.enter(this)
    const file = await this.files.openSource(path, false, plan.sharesWrite)
    this.#file = file
    this.#path = file.path
    const length = rangeOf(plan, file.size)
    if (length > MAX_SIZE) throw transferError('ERR_IOCP_TRANSFER_TOO_LARGE', 'IOCPS has 32-bit sizes')
    this.watch(plan.signal, length, plan.onProgress)
    await this.#agree(bytes, length)
    const begun = performance.now()
    this.setDeadline(this.settings.stallTimeout, 'ERR_IOCP_TRANSFER_STALL_TIMEOUT')
    if (length > 0) this.files.start(this.connection, this.id)
    await this.nativeEnd()
    this.tellProgress(length)
    return sentResult(length, begun, 0)
  }

  /** Offers it until the peer accepts it. */
  async #agree(name: Buffer, length: number): Promise<void> {
    const { answerTimeout, stallTimeout } = this.settings
    for (;;) {
      // The peer may make an offer at the moment of this file's turn; the peer's offer goes first then.
      do await this.orAbort(this.#turn.wait(this))
      while (this.#turn.givesWay())
      this.#offer(name, length)
      this.setDeadline(stallTimeout === 0 ? 0 : answerTimeout + stallTimeout, 'ERR_IOCP_TRANSFER_ANSWER_TIMEOUT')
      if (await this.orAbort(this.#answer.promise)) return
      this.setDeadline(0, 'ERR_IOCP_TRANSFER_ANSWER_TIMEOUT')
      this.#answer = new Deferred()
    }
  }

  /** Sent before the position of the file, so that nothing can be sent between them. */
  #offer(name: Buffer, length: number): void {
    if (!this.files.control(this.connection, writeIocpsOffer(name, length), this.id))
      throw transferError('ERR_IOCP_TRANSFER_CLOSED')
    this.#isOffered = true
    const file = this.#file
    if (file === undefined) return
    const piece = pieceOf(this.#plan, this.settings)
    // No later bytes can be mistaken for those of an empty file.
    const options = { ...piece, id: this.id, offset: this.#plan.offset, length, start: 0, held: length > 0 }
    if (!this.files.send(this.connection, file, options)) throw transferError('ERR_IOCP_TRANSFER_CLOSED')
    this.#file = undefined
  }
}

/** A file that was offered. */
class IncomingIocpsFile extends RawIncomingBase implements Answerable {
  readonly #size: number
  readonly #turn: IocpsTurn
  #decide: (decision: { plan: AcceptPlan; name: string }) => void = () => undefined
  readonly #result: Promise<ReceivedFile>
  #failure: { error: unknown } | undefined
  _isAnswered = false

  constructor(connection: Connection, settings: TransferSettings, size: number) {
    super(connection, settings, true)
    this.#size = size
    this.#turn = turnOf(connection)
    this.#turn.theirs = this
    const decided = new Promise<{ plan: AcceptPlan; name: string }>((resolve) => {
      this.#decide = resolve
    })
    this.setDeadline(settings.answerTimeout, 'ERR_IOCP_TRANSFER_ANSWER_TIMEOUT')
    this.#result = this.run(
      async () => this.#receive(await this.orAbort(decided)),
      (failed) => {
        this.#answered()
        return this.cleanUp(failed)
      }
    )
    this.#result.catch((error: unknown) => {
      this._isAnswered = true
      this.#failure = { error }
    })
  }

  override peerEnded(): void {
    if (!this.isBegun) this.fail(transferError('ERR_IOCP_TRANSFER_CLOSED', 'the peer has ended its side'), false)
  }

  protected override refuse(): void {
    if (!this.isBegun) this.files.control(this.connection, REFUSE)
  }

  _accept(plan: AcceptPlan, name: string): Promise<ReceivedFile> {
    if (!this._isAnswered) {
      this._isAnswered = true
      this.#decide({ plan, name })
    }
    return this.#result
  }

  _failedBy(error: unknown): boolean {
    return this.#failure !== undefined && this.#failure.error === error
  }

  _reject(reason: string): void {
    if (this._isAnswered) return
    this._isAnswered = true
    this.fail(transferError('ERR_IOCP_TRANSFER_REJECTED', reason))
  }

  #receive({ plan, name }: { plan: AcceptPlan; name: string }): Promise<ReceivedFile> {
    this.setDeadline(this.settings.stallTimeout, 'ERR_IOCP_TRANSFER_STALL_TIMEOUT')
    this.watch(plan.signal, this.#size, plan.onProgress)
    return this.bring(targetOf(plan, name), this.#size, plan.overwrite, () => {
      if (!this.files.control(this.connection, START)) throw transferError('ERR_IOCP_TRANSFER_CLOSED')
      this.#answered()
    })
  }

  #answered(): void {
    if (this.#turn.theirs === this) this.#turn.theirs = undefined
    this.#turn.next()
  }
}
