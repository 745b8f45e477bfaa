/** The offer of a peer, as delivered to the program. */

import { stat } from 'node:fs/promises'
import { invalidArgument, type IocpError } from '../common/errors.js'
import type { Connection } from '../connection/connection.js'
import type { AcceptOptions, FileOffer as Offer, ReceivedFile, TransferSettings } from '../connection/file_types.js'
import { tell } from '../connection/notify.js'
import { holdReason } from '../connection/receive_queue.js'
import { transferError } from './errors.js'
import { nameProblem } from './file_names.js'
import { type AcceptPlan, readAccept } from './options.js'
import { resumePath } from './partial_files.js'
import { targetOf } from './target_file.js'
import { limitProblem } from './transfer.js'

/** A file that waits for an answer. */
export interface Answerable {
  readonly connection: Connection
  readonly _isAnswered: boolean
  _accept(plan: AcceptPlan, name: string): Promise<ReceivedFile>
  _reject(reason: string): void
  /** Whether this is the error with which the transfer failed. */
  _failedBy(error: unknown): boolean
}

/** The properties of an offered file. */
export interface OfferedFile {
  /** Checked, in normal form. */
  readonly name: string
  readonly size: number
  readonly metadata: Buffer
  readonly isVerified: boolean
}

/** The argument of 'file' listeners. */
export class FileOffer<Data = unknown> implements Offer<Data> {
  readonly connection: Connection<Data>
  readonly name: string
  readonly size: number
  readonly metadata: Buffer
  readonly isVerified: boolean
  readonly #file: Answerable

  /** @internal */
  constructor(file: Answerable, { name, size, metadata, isVerified }: OfferedFile) {
    this.#file = file
    // What its data are is between the program and its connections.
    this.connection = file.connection as Connection<Data>
    this.name = name
    this.size = size
    this.metadata = metadata
    this.isVerified = isVerified
  }

  get isAnswered(): boolean {
    return this.#file._isAnswered
  }

  accept(options: AcceptOptions): Promise<ReceivedFile> {
    const plan = readAccept(options)
    return this.#file._accept(plan, this.name)
  }

  async resumable(options: Pick<AcceptOptions, 'directory' | 'path'>): Promise<number> {
    const target = targetOf(readAccept(options), this.name)
    const found = await stat(resumePath(target, this.size)).catch(() => undefined)
    return Math.min(found?.size ?? 0, this.size)
  }

  reject(reason = ''): void {
    const isText = typeof (reason as unknown) === 'string'
    this.#file._reject(isText ? reason : '')
    if (!isText) throw invalidArgument('reason', reason, 'text')
  }
}

/** Whether the promise of the connection has not been settled yet, so that there cannot be a listener. */
export function isFresh(connection: Connection): boolean {
  return connection._receiveQueue?.has(holdReason.justConnected) === true
}

/** Why a file cannot be offered to the program. */
export function rejectReason(
  connection: Connection,
  settings: TransferSettings,
  { name, size }: Pick<OfferedFile, 'name' | 'size'>
): IocpError | undefined {
  const limit = limitProblem(connection, settings)
  if (limit !== undefined) return limit
  if (size > settings.maxFileSize) return transferError('ERR_IOCP_TRANSFER_TOO_LARGE')
  if (nameProblem(name) !== undefined) return transferError('ERR_IOCP_TRANSFER_NAME')
  const { owner, isStopping } = connection._engine
  if (isStopping || connection.listenerCount('file') + owner.listenerCount('file') === 0) {
    return transferError('ERR_IOCP_TRANSFER_REJECTED')
  }
  return undefined
}

/**
 * Emits 'file'. A handler that throws or rejects before it has answered will not answer any more, so the sender is
 * notified immediately. Rejecting with the error of its own transfer is not a failure: a peer can cause it.
 */
export function emitOffer(file: Answerable, offered: OfferedFile): void {
  let hasThrown = true
  const isOfTransfer = (error: unknown): boolean => {
    if (file._failedBy(error)) return true
    file._reject('')
    return false
  }
  try {
    tell(file.connection, 'file', new FileOffer(file, offered), isOfTransfer)
    hasThrown = false
  } finally {
    if (hasThrown) file._reject('')
  }
}
