/** An outgoing file. */

import { basename, resolve, toNamespacedPath } from 'node:path'
import { type Path, toPath } from '../common/paths.js'
import type { Connection } from '../connection/connection.js'
import type { SendFileOptions, SentFile, TransferSettings } from '../connection/file_types.js'
import { flag } from '../connection/state.js'
import { transferKind } from '../native/protocol.js'
import { transferError } from './errors.js'
import { type FileEnd, LARGEST_NEEDED, MAX_NAME, OFFER_HEADER, type TransferFrame } from './frames.js'
import { sendIocps, speaksIocps } from './iocps.js'
import type { OpenFile } from './native_files.js'
import { carriesFiles, readSendFile, type SendPlan } from './options.js'
import { pieceOf, rangeOf, readError, sentResult } from './source_file.js'
import { largestOf, limitProblem, requireWritable, settingsOf, Transfer, transfersOf } from './transfer.js'

/**
 * Sends a file.
 * @param others names among the options that the caller reads
 * @throws IocpError ERR_IOCP_INVALID_OPTION; other errors by rejecting
 */
export function sendFile(
  connection: Connection,
  path: Path,
  options: SendFileOptions | undefined,
  ...others: string[]
): Promise<SentFile> {
  const source = toPath(path, 'path')
  const settings = settingsOf(connection)
  const plan = readSendFile(options, largestOf(connection), settings.bytesPerSecond, ...others)
  return begin(connection, source, plan, settings)
}

async function begin(
  connection: Connection,
  path: string,
  plan: SendPlan,
  settings: TransferSettings
): Promise<SentFile> {
  requireWritable(connection)
  if (plan.framed && (!carriesFiles(connection._profile.native.send) || largestOf(connection) < LARGEST_NEEDED)) {
    const rule = `framed mode requires a framing with a length before each packet, its option 'typeByte', and packets of at least ${LARGEST_NEEDED} bytes`
    throw transferError('ERR_IOCP_TRANSFER_OFF', rule)
  }
  const limit = limitProblem(connection, settings)
  if (limit !== undefined) throw limit
  if ((connection._flags & flag.peerEnded) !== 0 && (plan.framed || speaksIocps(connection))) {
    // Its answer cannot arrive.
    throw transferError('ERR_IOCP_TRANSFER_CLOSED', 'the peer has ended its side')
  }
  if (!plan.framed && speaksIocps(connection)) return sendIocps(connection, path, plan, settings)
  return new OutgoingFile(connection, settings, plan)._run(path)
}

class OutgoingFile extends Transfer {
  readonly #plan: SendPlan
  #file: OpenFile | undefined
  #path = ''
  #length = 0
  #begun = 0
  #isOffered = false
  #isStored = false
  #hasBegun = false

  constructor(connection: Connection, settings: TransferSettings, plan: SendPlan) {
    super(connection, settings, transfersOf(connection).nextId(), false)
    this.#plan = plan
  }

  override take(frame: TransferFrame): void {
    if (frame.kind === transferKind.stored) this.#isStored = true
    super.take(frame)
  }

  override ended(end: FileEnd): void {
    this.#hasBegun = end.hasBegun
    super.ended(end)
  }

  override peerEnded(): void {
    // In framed mode the receiver's answer may be pending; in raw mode there is none.
    if (this.#plan.framed && !this.#isStored)
      this.fail(transferError('ERR_IOCP_TRANSFER_CLOSED', 'the peer has ended its side'), false)
  }

  protected override refuse(told: { code: number; rest: Buffer }): void {
    if (this.#isOffered) this.files.frame(this.connection, { kind: transferKind.abort, id: this.id, side: 0, ...told })
  }

  _run(path: string): Promise<SentFile> {
    return this.run(
      () => this.#send(toNamespacedPath(resolve(path)), this.#plan.name ?? basename(path)),
      async (failed) => {
        await this.files.close(this.#file)
        // The peer waits for the remaining bytes, and there is no message to abort.
        if (failed && !this.#plan.framed && this.#hasBegun) this.connection.reset()
      }
    )
  }

  async #send(path: string, name: string): Promise<SentFile> {
    const plan = this.#plan
    if (!plan.framed) {
      // From now on later data waits, although the file has to be opened first.
      this.connection._engine.submission.flush()
      if (!this.files.reserve(this.connection, this.id)) throw transferError('ERR_IOCP_TRANSFER_CLOSED')
      this.started()
    }
    const file = await this.files.openSource(path, plan.verify, plan.sharesWrite)
    this.#file = file
    this.#path = file.path
    this.#length = rangeOf(plan, file.size)
    this.watch(plan.signal, this.#length, plan.onProgress)
    await this.throwIfBroken()
    const resumedFrom = plan.framed ? await this.#offer(file, name) : 0
    this.#begun = performance.now()
    this.setDeadline(this.settings.stallTimeout, 'ERR_IOCP_TRANSFER_STALL_TIMEOUT')
    this.base = resumedFrom
    this.#startSending(file, resumedFrom)
    const end = await this.nativeEnd()
    if (plan.framed) await this.expectFrame(transferKind.stored)
    this.tellProgress(this.#length)
    const result = sentResult(this.#length, this.#begun, resumedFrom)
    return plan.verify ? { ...result, sha256: end.hash.toString('hex') } : result
  }

  /** Offers it, and returns the offset to start at. */
  async #offer(file: OpenFile, name: string): Promise<number> {
    const plan = this.#plan
    const bytes = Buffer.from(name)
    if (bytes.length > MAX_NAME || name === '')
      throw transferError('ERR_IOCP_TRANSFER_NAME', `it must have 1 to ${MAX_NAME} bytes`)
    if (bytes.toString() !== name)
      throw transferError('ERR_IOCP_TRANSFER_NAME', 'it has an unpaired surrogate, which UTF-8 cannot represent')
    if (OFFER_HEADER + bytes.length + plan.metadata.length > largestOf(this.connection)) {
      throw transferError('ERR_IOCP_TRANSFER_OFF', "'maxPacket' or 'streamAbove' is too small for the offer")
    }
    const { id } = this
    this.sendFrame({
      kind: transferKind.offer,
      id,
      number: this.#length,
      hasHash: plan.verify,
      name: bytes,
      rest: plan.metadata
    })
    this.#isOffered = true
    // The receiver has its own limit, and its answer to that is better than none.
    const { answerTimeout, stallTimeout } = this.settings
    this.setDeadline(stallTimeout === 0 ? 0 : answerTimeout + stallTimeout, 'ERR_IOCP_TRANSFER_ANSWER_TIMEOUT')
    const { number, hash } = await this.expectFrame(transferKind.accept)
    if (number === 0 || hash === undefined || number > this.#length || plan.offset !== 0) return 0
    const mine = await this.hashFirst(file, number, plan.verify)
    if (hash.equals(mine)) return number
    if (plan.verify) await this.hashFirst(file, 0, true)
    return 0
  }

  #startSending(file: OpenFile, resumedFrom: number): void {
    const { id } = this
    const offset = this.#plan.offset + resumedFrom
    const length = this.#length - resumedFrom
    const piece = pieceOf(this.#plan, this.settings)
    this.connection._engine.submission.flush()
    if (!this.files.send(this.connection, file, { ...piece, id, offset, length, start: resumedFrom, held: false })) {
      throw transferError('ERR_IOCP_TRANSFER_CLOSED')
    }
    this.#file = undefined
    this.started()
  }

  protected override errorOfEnd(end: FileEnd): Error {
    return readError(this.files, end, this.#path)
  }
}

/** The result of sending one file to many connections. */
export interface BroadcastFileResult<Data = unknown> {
  readonly sent: { readonly connection: Connection<Data>; readonly result: SentFile }[]
  readonly failed: { readonly connection: Connection<Data>; readonly error: unknown }[]
}

/** What `broadcastFile` reads by itself. */
const TARGETS = ['group', 'to', 'except']

/**
 * Sends one file to many connections.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function broadcastFile<Data>(
  targets: readonly Connection<Data>[],
  path: Path,
  options: SendFileOptions | undefined
): Promise<BroadcastFileResult<Data>> {
  const source = toPath(path, 'path')
  // Also if there is no connection to send it to.
  readSendFile(options, Number.MAX_SAFE_INTEGER, 0, ...TARGETS)
  return sendToAll(targets, source, options)
}

async function sendToAll<Data>(
  targets: readonly Connection<Data>[],
  path: string,
  options: SendFileOptions | undefined
): Promise<BroadcastFileResult<Data>> {
  const result: BroadcastFileResult<Data> = { sent: [], failed: [] }
  await Promise.all(
    targets.map(async (connection) => {
      try {
        result.sent.push({ connection, result: await sendFile(connection, path, options, ...TARGETS) })
      } catch (error) {
        result.failed.push({ connection, error })
      }
    })
  )
  return result
}
