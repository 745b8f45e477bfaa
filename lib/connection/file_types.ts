/** Transfers of files as programs see them: options, offers, results. What carries them out is above: transfer/. */

import type { Duration, Size } from '../common/option_reader.js'
import type { Path } from '../common/paths.js'
import type { Connection } from './connection.js'

/** Transfers of files over a connection. */
export interface TransferOptions {
  /** A file is rejected when nobody has answered the offer by then. 1 ms to 24 days; default 30 s. */
  answerTimeout?: Duration
  /** A transfer without progress for so long fails. 1 ms to 24 days, 0 for never; default 30 s. */
  stallTimeout?: Duration
  /** Larger files are rejected. 0 to 2^53 - 1; default no limit. */
  maxFileSize?: Size
  /** Files are written into this folder and the folders in it only, wherever links lead. Default any folder. */
  directory?: Path
  /** Files under way at a time on one connection, both directions together. 1 to 65535; default 16. */
  maxPerConnection?: number
  /** The same on all connections of the server or client. 1 to 65535; default 1024. */
  maxTotal?: number
  /**
   * Parts of files (`.iocp-….part`) in a folder that a file comes to are removed when they were last written so long
   * ago; see `pruneParts`. 1 ms to 285,000 years, 0 (default) for never.
   */
  partMaxAge?: Duration
  /** Bytes per second of each file that is sent. 0 (default) for no limit, to 2^43. */
  bytesPerSecond?: Size
  /**
   * How files are sent: `'transmit'` by TransmitFile, but for files whose checksum is wanted; `'read'` by reading and
   * sending; `'auto'` (default) as the library thinks best, which is reading.
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

/** How far a transfer is. */
export interface TransferProgress {
  /** Bytes of the file that have gone or come, those that a resume left out included. */
  readonly bytes: number
  /** Bytes that it has, or the range that is sent. 0 for an empty file. */
  readonly total: number
  /** The one divided by the other, 0 to 1; 1 for an empty file. */
  readonly fraction: number
}

/** Options of `connection.sendFile`. */
export interface SendFileOptions {
  /** The name that the receiver is offered. Default the base name of the path. */
  name?: string
  /** The first byte to send. Default 0. */
  offset?: Size
  /** Bytes to send. Default to the end of the file. */
  length?: Size
  /**
   * `'framed'` (default): offered, accepted, sent in chunks between which packets go, checked at its end. `'raw'`: exactly
   * the bytes of the file, behind what was sent before; what is sent later waits.
   */
  mode?: 'framed' | 'raw'
  /** Bytes of the file per chunk. 1 to 2^31 - 66, less where the framing carries less; default 64 KiB, raw 1 MiB. */
  chunk?: Size
  /** Both ends compute a SHA-256 of the whole file, and compare. Default `'sha256'` in framed mode. */
  verify?: 'sha256' | false
  /** Bytes that the receiver sees with the offer. At most 16 KiB. */
  metadata?: Uint8Array | string
  /**
   * What others may do with the file meanwhile, besides reading, renaming and deleting it: `'write'` (default) as with
   * `fs.createReadStream`, so that a log that is being written can be sent; `'none'` nobody may change it, and one that
   * somebody has open for writing is not sent (EBUSY). What is sent is the size that it has at the beginning.
   */
  share?: 'write' | 'none'
  /** Bytes per second. 0 for no limit, to 2^43; default the option `transfer.bytesPerSecond`. */
  bytesPerSecond?: Size
  /** Aborts the transfer. In raw mode that resets the connection once the first byte has gone. */
  signal?: AbortSignal
  /** Called now and then, and with the last byte. */
  onProgress?: (progress: TransferProgress) => void
}

/** Options of `offer.accept`. One of `directory` and `path` is given. */
export interface AcceptOptions {
  /** The folder to put it in, under the name that the peer gave. */
  directory?: Path
  /** The file to make, whatever the peer calls it. */
  path?: Path
  /** When there is a file of that name. Default `'fail'`; `'rename'` puts a number behind the name. */
  overwrite?: 'fail' | 'replace' | 'rename'
  /** Keep what has come when the connection is lost, and go on there when the same file is offered again. */
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
  /** Called when what comes from now on belongs to the file: ask the peer for it here, not before. */
  onReady?: () => void
  /** Aborts. The connection is reset, because nobody knows any more where the next packet begins. */
  signal?: AbortSignal
  onProgress?: (progress: TransferProgress) => void
}

/** A file that the peer wants to send. It is rejected when nobody answers in time. */
export interface FileOffer<Data = unknown> {
  readonly connection: Connection<Data>
  /** A name that is safe to use in any folder of Windows, without a path. */
  readonly name: string
  readonly size: number
  /** What the sender gave with it. */
  readonly metadata: Buffer
  /** Whether the sender will send a SHA-256 to compare. */
  readonly isVerified: boolean
  /** Whether it has been accepted or rejected, or is no longer to be had. */
  readonly isAnswered: boolean

  /**
   * Takes the file. It is written under a name of its own and gets its proper one when it is complete and verified.
   * @returns when it is in its place
   * @throws IocpError ERR_IOCP_INVALID_OPTION; by rejecting: ERR_IOCP_TRANSFER_* and errors of
   *   the file system, the signal's reason
   */
  accept(options: AcceptOptions): Promise<ReceivedFile>

  /** Bytes of this file that an earlier attempt with `resume` has left, so that accepting can go on behind them. */
  resumable(options: Pick<AcceptOptions, 'directory' | 'path'>): Promise<number>

  /**
   * Refuses it.
   * @param reason shown to the sender; at most 1024 bytes of it
   * @throws IocpError ERR_INVALID_ARG_TYPE when the reason is no text; the file is refused all the same
   */
  reject(reason?: string): void
}

/** What became of a file that was sent. */
export interface SentFile {
  /** Bytes of the file that the receiver has now, those that it had before included. */
  readonly bytes: number
  /** From the first byte to the last word of the receiver; in raw mode to the last byte that the system has taken. */
  readonly seconds: number
  readonly bytesPerSecond: number
  /** Bytes that were left out, because the receiver had them from an earlier attempt. */
  readonly resumedFrom: number
  /** Of the whole file, in hexadecimal digits. */
  readonly sha256?: string
}

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
