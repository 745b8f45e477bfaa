/** Options of file transfers: their meaning, ranges and defaults, and how they are checked. */

import { bound } from '../native/async_context.js'
import { invalidOption } from '../common/errors.js'
import type { NativeFraming } from '../native/types.js'
import { toOptionalPath, toPath, type Path } from '../common/paths.js'
import { MAX_DURATION, OptionReader, type Duration, type Size } from '../common/option_reader.js'

const KIB = 1024
const MIB = 1024 * KIB
const MAX_SIZE = Number.MAX_SAFE_INTEGER
const MAX_METADATA = 16 * KIB
/** Bytes of a chunk's frame before those of the file. */
const CHUNK_HEADER = 5
/** One call of TransmitFile carries no more than 2^31 - 2 bytes, its head included. */
const MAX_CHUNK = 2 ** 31 - 2 - 64

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

/**
 * The option `transfer`; undefined when files are switched off.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readTransfer(value: unknown): TransferSettings | undefined {
  if (value === false) return undefined
  const reader = new OptionReader(value === true ? undefined : value, 'transfer')
  const some = { min: 1, max: 65_535 }
  const settings = {
    answerTimeout: reader.duration('answerTimeout', { min: 1, max: MAX_DURATION }, 30_000),
    stallTimeout: reader.duration('stallTimeout', { min: 0, max: MAX_DURATION }, 30_000),
    maxFileSize: reader.size('maxFileSize', { min: 0, max: MAX_SIZE }, MAX_SIZE),
    directory: toOptionalPath(reader.raw('directory'), reader.name('directory')),
    maxPerConnection: reader.integer('maxPerConnection', some, 16),
    maxTotal: reader.integer('maxTotal', some, 1024),
    partMaxAge: reader.duration('partMaxAge', { min: 0, max: Number.MAX_SAFE_INTEGER }, 0),
    bytesPerSecond: reader.size('bytesPerSecond', { min: 0, max: 2 ** 43 }, 0),
    method: reader.oneOf('method', ['auto', 'transmit', 'read'], 'auto')
  }
  reader.done()
  return settings
}

/** Whether a framing can carry offers and chunks: any bytes, of any length, with a type in front. */
export function carriesFiles(framing: NativeFraming): boolean {
  switch (framing.kind) {
    case 'lengthField':
      return framing.typeByte && framing.strip >= framing.offset + framing.bytes
    case 'varint':
    case 'hpSocketPack':
      return framing.typeByte
    default:
      return false
  }
}

/** The largest packet that a framing carries in one piece. Larger ones come as streams, and those are never about files. */
export function largestPacket(framing: NativeFraming, maxPayload: number): number {
  return 'streamAbove' in framing ? Math.min(maxPayload, framing.streamAbove) : maxPayload
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

/** Options of `sendFile`, checked and completed. */
export interface SendPlan {
  readonly name: string | undefined
  readonly offset: number
  readonly length: number
  readonly framed: boolean
  readonly chunk: number
  readonly verify: boolean
  readonly metadata: Buffer
  readonly sharesWrite: boolean
  readonly bytesPerSecond: number
  readonly signal: AbortSignal | undefined
  readonly onProgress: ((progress: TransferProgress) => void) | undefined
}

/** What happens when there is a file of the name. */
export type Overwrite = 'fail' | 'replace' | 'rename'

/** What the options of both ways of receiving have in common, checked and completed. */
interface Watched {
  readonly overwrite: Overwrite
  readonly signal: AbortSignal | undefined
  readonly onProgress: ((progress: TransferProgress) => void) | undefined
}

/** Options of `offer.accept`, checked and completed. */
export interface AcceptPlan extends Watched {
  readonly directory: string | undefined
  readonly path: string | undefined
  readonly resume: boolean
}

/** Options of `receiveFile`, checked and completed. */
export interface ReceivePlan extends Watched {
  readonly path: string
  readonly bytes: number
  readonly onReady: (() => void) | undefined
}

function readSignal(reader: OptionReader): AbortSignal | undefined {
  const signal = reader.raw('signal')
  if (signal === undefined || signal instanceof AbortSignal) return signal
  throw invalidOption('signal', signal, 'an AbortSignal')
}

/** It runs in the context of whoever gives it. */
function readCallback<A extends unknown[]>(reader: OptionReader, name: string): ((...args: A) => void) | undefined {
  const callback = reader.callback<(...args: A) => void>(name)
  return callback && bound(callback)
}

function readMetadata(reader: OptionReader): Buffer {
  const value = reader.raw('metadata')
  const allowed = `text or a Uint8Array of at most ${MAX_METADATA} bytes`
  if (value === undefined) return Buffer.alloc(0)
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) throw invalidOption('metadata', value, allowed)
  const bytes = typeof value === 'string' ? Buffer.from(value) : Buffer.from(value)
  if (bytes.length > MAX_METADATA) throw invalidOption('metadata', value, allowed)
  return bytes
}

function readVerify(reader: OptionReader, framed: boolean): boolean {
  const value = reader.raw('verify')
  if (value === undefined) return framed
  if (value !== false && value !== 'sha256') throw invalidOption('verify', value, "'sha256' or false")
  if (value !== false && !framed) throw invalidOption('verify', value, 'false in raw mode, which has no room for a checksum')
  return value !== false
}

/** @throws IocpError ERR_IOCP_INVALID_OPTION */
export function readSendFile(options: unknown, largest: number, bytesPerSecond: number): SendPlan {
  const reader = new OptionReader(options, '')
  const framed = reader.oneOf('mode', ['framed', 'raw'], 'framed') === 'framed'
  const max = framed ? Math.max(1, Math.min(MAX_CHUNK, largest - CHUNK_HEADER)) : MAX_CHUNK
  const plan = {
    name: reader.text('name'),
    offset: reader.size('offset', { min: 0, max: MAX_SIZE }, 0),
    length: reader.size('length', { min: 0, max: MAX_SIZE }, MAX_SIZE),
    framed,
    chunk: Math.min(max, reader.size('chunk', { min: 1, max: MAX_CHUNK }, framed ? 64 * KIB : MIB)),
    verify: readVerify(reader, framed),
    metadata: readMetadata(reader),
    sharesWrite: reader.oneOf('share', ['write', 'none'], 'write') === 'write',
    bytesPerSecond: reader.size('bytesPerSecond', { min: 0, max: 2 ** 43 }, bytesPerSecond),
    signal: readSignal(reader),
    onProgress: readCallback<[TransferProgress]>(reader, 'onProgress')
  }
  reader.done()
  if (!framed && plan.metadata.length > 0) {
    throw invalidOption('metadata', plan.metadata, 'left out in raw mode, which has no room for it')
  }
  return plan
}

/** @throws IocpError ERR_IOCP_INVALID_OPTION */
export function readAccept(options: unknown): AcceptPlan {
  const reader = new OptionReader(options, '')
  const plan = {
    directory: toOptionalPath(reader.raw('directory'), 'directory'),
    path: toOptionalPath(reader.raw('path'), 'path'),
    overwrite: reader.oneOf('overwrite', ['fail', 'replace', 'rename'], 'fail'),
    resume: reader.boolean('resume', false),
    signal: readSignal(reader),
    onProgress: readCallback<[TransferProgress]>(reader, 'onProgress')
  }
  reader.done()
  if ((plan.directory === undefined) === (plan.path === undefined)) {
    throw invalidOption('path', plan.path, 'given when directory is not, and only then')
  }
  return plan
}

/** @throws IocpError ERR_IOCP_INVALID_OPTION */
export function readReceiveFile(options: unknown): ReceivePlan {
  const reader = new OptionReader(options, '')
  const path = toPath(reader.raw('path'), 'path')
  const bytes = reader.raw('bytes')
  if (bytes === undefined) throw invalidOption('bytes', bytes, 'a number of bytes')
  const plan = {
    path,
    bytes: reader.size('bytes', { min: 0, max: MAX_SIZE }, 0),
    overwrite: reader.oneOf('overwrite', ['fail', 'replace', 'rename'], 'fail'),
    onReady: readCallback<[]>(reader, 'onReady'),
    signal: readSignal(reader),
    onProgress: readCallback<[TransferProgress]>(reader, 'onProgress')
  }
  reader.done()
  return plan
}
