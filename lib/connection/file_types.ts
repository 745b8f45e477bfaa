/** The public types of file transfer: options, offers, results. They are implemented in transfer/. */

import type { Duration, Size } from '../common/option_reader.js'
import type { Path } from '../common/paths.js'
import type { Connection } from './connection.js'

/** File transfer over a connection. */
export interface TransferOptions {
  /** A file is rejected if its offer is not answered within this time. 1 ms to 24 days; default 30 s. */
  answerTimeout?: Duration
  /** A transfer without progress for this long fails. 1 ms to 24 days, 0 for never; default 30 s. */
  stallTimeout?: Duration
  /** Larger files are rejected. 0 to 2^53 - 1; default no limit. */
  maxFileSize?: Size
  /** Files are written to this folder and its subfolders only, regardless of links. Default any folder. */
  directory?: Path
  /** Transfers at a time on one connection, both directions together. 1 to 65535; default 16. */
  maxPerConnection?: number
  /** The same on all connections of the server or client. 1 to 65535; default 1024. */
  maxTotal?: number
  /**
   * Partial files (`.iocp-….part`) in a folder that receives a file are removed if their last write is older than this;
   * see `pruneParts`. 1 ms to 285,000 years, 0 (default) for never.
   */
  partMaxAge?: Duration
  /** Bytes per second of each file that is sent. 0 (default) for no limit, to 2^43. */
  bytesPerSecond?: Size
  /**
   * How files are sent: `'transmit'` by TransmitFile, except files with a checksum; `'read'` by reading and sending;
   * `'auto'` (default) the library chooses, currently reading.
   */
  method?: 'auto' | 'transmit' | 'read'
}

/** The same, checked and completed. */
export interface TransferSettings {
  readonly answerTimeout: number
  readonly stallTimeout: number
  readonly maxFileSize: number
  readonly directory: string | undefined
  readonly maxPerConnection: number
  readonly maxTotal: number
  readonly partMaxAge: number
  readonly bytesPerSecond: number
  readonly method: 'auto' | 'transmit' | 'read'
}

/** The progress of a transfer. */
export interface TransferProgress {
  /** Bytes of the file that have been sent or received, including those skipped by a resume. */
  readonly bytes: number
  /** Size of the file, or of the range that is sent. 0 for an empty file. */
  readonly total: number
  /** `bytes / total`, 0 to 1; 1 for an empty file. */
  readonly fraction: number
}

/** Options of `connection.sendFile`. */
export interface SendFileOptions {
  /** The name offered to the receiver. Default the base name of the path. */
  name?: string
  /** The first byte to send. Default 0. */
  offset?: Size
  /** Bytes to send. Default to the end of the file. */
  length?: Size
  /**
   * `'framed'` (default): offered, accepted, sent in chunks with packets in between, verified at the end. `'raw'`:
   * exactly the bytes of the file, after everything that was sent before; data that is sent later waits.
   */
  mode?: 'framed' | 'raw'
  /** Bytes of the file per chunk. 1 to 2^31 - 66, less if the framing carries less; default 64 KiB, raw 1 MiB. */
  chunk?: Size
  /** Both sides compute and compare a SHA-256 of the whole file. Default `'sha256'` in framed mode. */
  verify?: 'sha256' | false
  /** Data that is delivered with the offer. At most 16 KiB. */
  metadata?: Uint8Array | string
  /**
   * What others may do with the file during the transfer, besides reading, renaming and deleting it: `'write'`
   * (default) write to it, as with `fs.createReadStream`, so that a log that is being written can be sent; `'none'`
   * nobody may change it, and a file that is open for writing is not sent (EBUSY). The size at the beginning is sent.
   */
  share?: 'write' | 'none'
  /** Bytes per second. 0 for no limit, to 2^43; default the option `transfer.bytesPerSecond`. */
  bytesPerSecond?: Size
  /** Aborts the transfer. In raw mode this resets the connection once the first byte has been sent. */
  signal?: AbortSignal
  /** Called at most ten times a second, and with the last byte. */
  onProgress?: (progress: TransferProgress) => void
}

/** Options of `offer.accept`. One of `directory` and `path` is given. */
export interface AcceptOptions {
  /** The folder for the file, under the offered name. */
  directory?: Path
  /** The file to create, regardless of the offered name. */
  path?: Path
  /** If a file of that name exists. Default `'fail'`; `'rename'` appends a number to the name. */
  overwrite?: 'fail' | 'replace' | 'rename'
  /** Keep the received part if the transfer fails, and continue there when the same file is offered again. */
  resume?: boolean
  signal?: AbortSignal
  onProgress?: (progress: TransferProgress) => void
}

/** Options of `connection.receiveFile`. */
export interface ReceiveFileOptions {
  path: Path
  /** How many bytes follow. */
  bytes: Size
  overwrite?: 'fail' | 'replace' | 'rename'
  /** Called when the bytes that arrive from now on belong to the file: request it from the peer here, not before. */
  onReady?: () => void
  /** Aborts. The connection is reset, because the next packet boundary is unknown. */
  signal?: AbortSignal
  onProgress?: (progress: TransferProgress) => void
}

/** A file that the peer offers. It is rejected if it is not answered in time. */
export interface FileOffer<Data = unknown> {
  readonly connection: Connection<Data>
  /** A name that is safe to use in any folder of Windows, without a path. */
  readonly name: string
  readonly size: number
  /** The metadata from the sender. */
  readonly metadata: Buffer
  /** Whether the sender will send a SHA-256 to compare. */
  readonly isVerified: boolean
  /** Whether it has been accepted or rejected, or is no longer available. */
  readonly isAnswered: boolean

  /**
   * Accepts the file. It is written under a temporary name and renamed when it is complete and verified.
   * @returns a promise that resolves when it has its final name
   * @throws IocpError ERR_IOCP_INVALID_OPTION; by rejecting: ERR_IOCP_TRANSFER_* and errors of
   *   the file system, the signal's reason
   */
  accept(options: AcceptOptions): Promise<ReceivedFile>

  /** Bytes of this file that exist from an earlier attempt with `resume`, so that accepting can continue after them. */
  resumable(options: Pick<AcceptOptions, 'directory' | 'path'>): Promise<number>

  /**
   * Rejects it.
   * @param reason shown to the sender; at most 1024 bytes of it
   * @throws IocpError ERR_INVALID_ARG_TYPE if the reason is not text; the file is rejected nevertheless
   */
  reject(reason?: string): void
}

/** The result of sending a file. */
export interface SentFile {
  /** Bytes of the file that the receiver has now, including those it had before. */
  readonly bytes: number
  /** From the first byte to the receiver's confirmation; in raw mode to the last byte that the system has accepted. */
  readonly seconds: number
  readonly bytesPerSecond: number
  /** Bytes that were skipped, because the receiver had them from an earlier attempt. */
  readonly resumedFrom: number
  /** Of the whole file, in hexadecimal digits. */
  readonly sha256?: string
}

/** The result of receiving a file. */
export interface ReceivedFile {
  /** Its path; with `overwrite: 'rename'` this may be another name. */
  readonly path: string
  readonly bytes: number
  readonly seconds: number
  readonly bytesPerSecond: number
  /** Bytes that existed from an earlier attempt. */
  readonly resumedFrom: number
  /** Of the whole file, in hexadecimal digits; present if the sender has sent one to compare. */
  readonly sha256?: string
}
