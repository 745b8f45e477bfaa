/** An incoming file without frames. */

import { resolve, toNamespacedPath } from 'node:path'
import type { Connection } from '../connection/connection.js'
import type { ReceivedFile, ReceiveFileOptions, TransferSettings } from '../connection/file_types.js'
import { DEAD, SILENT } from '../connection/state.js'
import { transferError } from './errors.js'
import type { FileEnd } from './frames.js'
import { type Overwrite, readReceiveFile, type ReceivePlan } from './options.js'
import { IncomingFile } from './target_file.js'
import { limitProblem, settingsOf, transfersOf } from './transfer.js'

/** The error number of Windows for a file that ended too early. */
const END_OF_FILE = 38

/** Takes the next bytes of a connection as a file. @throws IocpError ERR_IOCP_INVALID_OPTION */
export function receiveFile(connection: Connection, options: ReceiveFileOptions): Promise<ReceivedFile> {
  const settings = settingsOf(connection)
  const plan = readReceiveFile(options)
  return (async () => {
    if ((connection._flags & SILENT) !== 0) throw transferError('ERR_IOCP_TRANSFER_CLOSED')
    const limit = limitProblem(connection, settings)
    if (limit !== undefined) throw limit
    return new RawIncomingFile(connection, settings, false)._receive(plan)
  })()
}

/** A number that none of the peer's offers has: it may choose any, although this library's own are below these. */
function freeNumber(connection: Connection): number {
  const transfers = transfersOf(connection)
  for (;;) {
    const number = 0x8000_0000 + transfers.nextId()
    if (!transfers.received.has(number)) return number
  }
}

/** An incoming file without frames: a given number of bytes, from the next packet boundary on. */
export abstract class RawIncomingBase extends IncomingFile {
  #begun = 0

  constructor(connection: Connection, settings: TransferSettings, holdsEnd: boolean) {
    super(connection, settings, freeNumber(connection), true, holdsEnd)
  }

  /** Whether received bytes belong to the file, so that the next packet boundary is unknown. */
  protected get isBegun(): boolean {
    return this.#begun !== 0
  }

  override peerEnded(): void {
    // Native code knows whether bytes are missing.
  }

  protected override errorOfEnd(end: FileEnd): Error {
    if (end.winCode !== END_OF_FILE) return super.errorOfEnd(end)
    return transferError('ERR_IOCP_TRANSFER_CLOSED', 'the peer has ended its side before the last byte')
  }

  protected override async cleanUp(failed: boolean): Promise<void> {
    await super.cleanUp(failed)
    if (failed && this.isBegun) this.connection.reset()
  }

  /** @param onReady called when received bytes belong to the file from now on */
  protected async bring(
    target: string,
    bytes: number,
    overwrite: Overwrite,
    onReady: () => void
  ): Promise<ReceivedFile> {
    await this.open(target, bytes, overwrite, false, false)
    await this.throwIfBroken()
    this.#start(bytes)
    onReady()
    this.setDeadline(this.settings.stallTimeout, 'ERR_IOCP_TRANSFER_STALL_TIMEOUT')
    await this.nativeEnd()
    const path = await this.commit(target, overwrite)
    this.tellProgress(bytes)
    return this.result(path, bytes, this.#begun, 0)
  }

  #start(bytes: number): void {
    const file = this.source
    this.connection._engine.submission.flush()
    if (
      file === undefined ||
      !this.files.receive(this.connection, file, { id: this.id, offset: 0, bytes, raw: true })
    ) {
      // Native code may know of an end that has not been told yet.
      const others = [...transfersOf(this.connection).received.values()]
      const isBusy = others.some((one) => one !== this && one instanceof RawIncomingBase && one.isBegun)
      if (!isBusy || (this.connection._flags & DEAD) !== 0) throw transferError('ERR_IOCP_TRANSFER_CLOSED')
      throw transferError('ERR_IOCP_TRANSFER_LIMIT', 'a connection receives one raw file at a time')
    }
    this.#begun = performance.now()
    this.started()
  }
}

class RawIncomingFile extends RawIncomingBase {
  protected override refuse(): void {
    // The peer sees the reset.
  }

  _receive(plan: ReceivePlan): Promise<ReceivedFile> {
    return this.run(
      () => this.#receive(plan),
      (failed) => this.cleanUp(failed)
    )
  }

  async #receive(plan: ReceivePlan): Promise<ReceivedFile> {
    this.watch(plan.signal, plan.bytes, plan.onProgress)
    await this.throwIfBroken()
    if (plan.bytes > this.settings.maxFileSize) throw transferError('ERR_IOCP_TRANSFER_TOO_LARGE')
    return this.bring(toNamespacedPath(resolve(plan.path)), plan.bytes, plan.overwrite, () => plan.onReady?.())
  }
}
