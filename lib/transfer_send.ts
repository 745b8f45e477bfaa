/** A file on its way out. */

import { basename, resolve, toNamespacedPath } from 'node:path'
import type { NativeFile } from './binding.js'
import type { Connection } from './connection.js'
import { invalidOption } from './errors.js'
import { Transfer, hasRoom, requireWritable, settingsOf, transfersOf } from './transfer.js'
import { transferError } from './transfer_errors.js'
import type { FileEnd, NativeTransferFrame } from './transfer_frames.js'
import { carriesFiles, readSendFile, type SendFileOptions, type SendPlan, type TransferSettings } from './transfer_options.js'
import { fileOutcome, transferKind } from './vocabulary.js'

/** What became of a file that was sent. */
export interface SentFile {
  /** Bytes of the file that the receiver has now, those that it had before included. */
  readonly bytes: number
  /** From the first byte to the last word of the receiver. */
  readonly seconds: number
  readonly bytesPerSecond: number
  /** Bytes that were left out, because the receiver had them from an earlier attempt. */
  readonly resumedFrom: number
  /** Of the whole file, in hexadecimal digits. */
  readonly sha256?: string
}

/**
 * Sends a file.
 * @throws IocpError ERR_IOCP_INVALID_OPTION; the rest by rejecting
 */
export function sendFile(connection: Connection, path: string, options: SendFileOptions | undefined): Promise<SentFile> {
  if (typeof path !== 'string' || path === '') throw invalidOption('path', path, 'the path of a file')
  const settings = settingsOf(connection)
  const plan = readSendFile(options, connection._profile.rules.maxPayload, settings)
  return begin(connection, path, plan, settings)
}

async function begin(connection: Connection, path: string, plan: SendPlan, settings: TransferSettings): Promise<SentFile> {
  requireWritable(connection)
  if (plan.framed && !carriesFiles(connection._profile.native.send)) {
    const rule = 'framed mode needs a framing with a length in front and the option typeByte'
    throw transferError('ERR_IOCP_TRANSFER_OFF', rule)
  }
  if (!hasRoom(connection, settings)) throw transferError('ERR_IOCP_TRANSFER_LIMIT')
  return new OutgoingFile(connection, settings, plan)._run(path)
}

class OutgoingFile extends Transfer {
  readonly #plan: SendPlan
  #file: NativeFile | undefined
  #length = 0
  #begun = 0
  #isOffered = false

  constructor(connection: Connection, settings: TransferSettings, plan: SendPlan) {
    super(connection, settings, transfersOf(connection).nextId(), false)
    this.#plan = plan
  }

  override peerEnded(): void {
    // Framed, the receiver's word is still to come; raw, it says nothing.
    if (this.#plan.framed) this.fail(transferError('ERR_IOCP_TRANSFER_CLOSED', 'the peer has ended its side'), false)
  }

  protected override refuse(told: { code: number; rest: Buffer }): NativeTransferFrame | undefined {
    return this.#isOffered ? { kind: transferKind.abort, id: this.id, side: 0, ...told } : undefined
  }

  _run(path: string): Promise<SentFile> {
    return this.run(
      () => this.#send(toNamespacedPath(resolve(path)), this.#plan.name ?? basename(path)),
      (failed) => {
        this.files.close(this.#file)
        // The peer was promised a number of bytes, and cannot be told otherwise.
        if (failed && !this.#plan.framed && this.#begun !== 0) this.connection.reset()
        return Promise.resolve()
      }
    )
  }

  async #send(path: string, name: string): Promise<SentFile> {
    const plan = this.#plan
    const file = await this.files.openSource(path, plan.verify)
    this.#file = file
    if (plan.offset > file.size) throw invalidOption('offset', plan.offset, `at most the size of the file, ${file.size}`)
    this.#length = Math.min(plan.length, file.size - plan.offset)
    if (this.#length < plan.length && plan.length !== Number.MAX_SAFE_INTEGER) {
      throw invalidOption('length', plan.length, `at most what the file has from there, ${this.#length}`)
    }
    this.watch(plan.signal, this.#length, plan.onProgress)
    await this.until(Promise.resolve())
    const resumedFrom = plan.framed ? await this.#offer(file, name) : 0
    this.#begun = performance.now()
    this.limit(this.settings.stallTimeout, 'ERR_IOCP_TRANSFER_STALLED')
    this.base = resumedFrom
    this.#hand(file, resumedFrom)
    const end = await this.nativeEnd()
    if (plan.framed) await this.frame(transferKind.stored)
    this.tellProgress(this.#length)
    return this.#result(resumedFrom, end)
  }

  /** Offers it, and gives the place to begin at. */
  async #offer(file: NativeFile, name: string): Promise<number> {
    const plan = this.#plan
    const bytes = Buffer.from(name)
    if (bytes.length > 1024 || name === '') throw transferError('ERR_IOCP_TRANSFER_NAME', 'it has to have 1 to 1024 bytes')
    requireWritable(this.connection)
    const { id } = this
    this.say({ kind: transferKind.offer, id, number: this.#length, hasHash: plan.verify, name: bytes, rest: plan.metadata })
    this.#isOffered = true
    // The receiver has a limit of its own, and its answer to that is better than none.
    const { answerTimeout, stallTimeout } = this.settings
    this.limit(stallTimeout === 0 ? 0 : answerTimeout + stallTimeout, 'ERR_IOCP_TRANSFER_UNANSWERED')
    const { number, hash } = await this.frame(transferKind.accept)
    if (number === 0 || hash === undefined || number > this.#length || plan.offset !== 0) return 0
    const mine = await this.until(this.files.hashFirst(file, number, plan.verify))
    if (hash.equals(mine)) return number
    if (plan.verify) await this.until(this.files.hashFirst(file, 0, true))
    return 0
  }

  #hand(file: NativeFile, resumedFrom: number): void {
    const { bytesPerSecond, chunk, framed, offset, verify } = this.#plan
    const { method } = this.settings
    this.#file = undefined
    this.connection._host.submission.flush()
    const taken = this.files.send(this.connection, file, {
      id: this.id,
      offset: offset + resumedFrom,
      length: this.#length - resumedFrom,
      start: resumedFrom,
      // Slow transfers go in small steps, so that their progress can be seen.
      chunk: bytesPerSecond === 0 ? chunk : Math.min(chunk, Math.max(512, Math.floor(bytesPerSecond / 4))),
      framed,
      transmit: !verify && (method === 'transmit' || (method === 'auto' && this.files.transmitsFreely)),
      bytesPerSecond
    })
    if (!taken) throw transferError('ERR_IOCP_TRANSFER_CLOSED')
    this.started()
  }

  protected override errorOfEnd({ outcome, winCode }: FileEnd): Error {
    if (outcome === fileOutcome.failed) return this.files.error(winCode, 'read')
    return transferError('ERR_IOCP_TRANSFER_ABORTED')
  }

  #result(resumedFrom: number, end: FileEnd): SentFile {
    const seconds = (performance.now() - this.#begun) / 1000
    return {
      bytes: this.#length,
      seconds,
      bytesPerSecond: seconds === 0 ? 0 : (this.#length - resumedFrom) / seconds,
      resumedFrom,
      ...(this.#plan.verify && { sha256: end.hash.toString('hex') })
    }
  }
}

/** What became of one file for many. */
export interface BroadcastFileResult {
  readonly sent: { readonly connection: Connection; readonly result: SentFile }[]
  readonly failed: { readonly connection: Connection; readonly error: unknown }[]
}

/** Sends one file to many connections. */
export async function broadcastFile(
  targets: readonly Connection[],
  path: string,
  options: SendFileOptions | undefined
): Promise<BroadcastFileResult> {
  const result: BroadcastFileResult = { sent: [], failed: [] }
  await Promise.all(
    targets.map(async (connection) => {
      try {
        result.sent.push({ connection, result: await sendFile(connection, path, options) })
      } catch (error) {
        result.failed.push({ connection, error })
      }
    })
  )
  return result
}
