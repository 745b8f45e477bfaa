/** Options of file transfers: their meaning, ranges and defaults, and how they are checked. */

import { invalidOption, IocpError } from '../common/errors.js'
import { type EachOption, KIB, MAX_DURATION, MIB, OptionReader } from '../common/option_reader.js'
import { toOptionalPath, toPath } from '../common/paths.js'
import type {
  AcceptOptions,
  ReceiveFileOptions,
  SendFileOptions,
  TransferOptions,
  TransferProgress,
  TransferSettings
} from '../connection/file_types.js'
import { bound } from '../native/async_context.js'
import type { NativeFraming } from '../native/types.js'
import { CHUNK_HEADER, MAX_METADATA } from './frames.js'

const MAX_SIZE = Number.MAX_SAFE_INTEGER
/** One call of TransmitFile carries no more than 2^31 - 2 bytes, its head included. */
const MAX_CHUNK = 2 ** 31 - 2 - 64

/**
 * The option `transfer`; undefined when files are switched off.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readTransfer(value: unknown): TransferSettings | undefined {
  if (value === false) return undefined
  const reader = new OptionReader(value === true ? undefined : value, 'transfer', 'true, false or an object of limits')
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
  } satisfies EachOption<TransferOptions>
  reader.rejectUnknown()
  return settings
}

/** Whether a framing can carry offers and chunks: any bytes, of any length, with a type byte. */
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

/**
 * The largest packet that a framing carries in one piece. Larger ones come as streams, and those are never interpreted
 * as file frames.
 */
export function largestPacket(framing: NativeFraming, maxPayload: number): number {
  return 'streamAbove' in framing ? Math.min(maxPayload, framing.streamAbove) : maxPayload
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

/** What to do if a file of that name exists. */
export type Overwrite = 'fail' | 'replace' | 'rename'

/** The common options of both ways of receiving, checked and completed. */
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

/** It runs in the context of the call it is passed to. */
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
  if (value !== false && !framed)
    throw invalidOption('verify', value, 'false in raw mode, which cannot carry a checksum')
  return value !== false
}

/**
 * @param others names that the caller reads
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readSendFile(options: unknown, largest: number, bytesPerSecond: number, ...others: string[]): SendPlan {
  const reader = new OptionReader(options, '', "an object such as { name: 'report.pdf' }").allow(...others)
  const mode = reader.oneOf('mode', ['framed', 'raw'], 'framed')
  const framed = mode === 'framed'
  const max = framed ? Math.max(1, Math.min(MAX_CHUNK, largest - CHUNK_HEADER)) : MAX_CHUNK
  const {
    mode: _,
    share,
    ...direct
  } = {
    name: reader.text('name'),
    offset: reader.size('offset', { min: 0, max: MAX_SIZE }, 0),
    length: reader.size('length', { min: 0, max: MAX_SIZE }, MAX_SIZE),
    mode,
    chunk: Math.min(max, reader.size('chunk', { min: 1, max: MAX_CHUNK }, framed ? 64 * KIB : MIB)),
    verify: readVerify(reader, framed),
    metadata: readMetadata(reader),
    share: reader.oneOf('share', ['write', 'none'], 'write'),
    bytesPerSecond: reader.size('bytesPerSecond', { min: 0, max: 2 ** 43 }, bytesPerSecond),
    signal: reader.signal('signal'),
    onProgress: readCallback<[TransferProgress]>(reader, 'onProgress')
  } satisfies EachOption<SendFileOptions>
  reader.rejectUnknown()
  const plan = { ...direct, framed, sharesWrite: share === 'write' }
  if (!framed && plan.metadata.length > 0) {
    throw invalidOption('metadata', plan.metadata, 'omitted in raw mode, which cannot carry it')
  }
  return plan
}

/** @throws IocpError ERR_IOCP_INVALID_OPTION */
export function readAccept(options: unknown): AcceptPlan {
  const reader = new OptionReader(options, '', "an object such as { directory: 'inbox' }")
  const plan = {
    directory: toOptionalPath(reader.raw('directory'), 'directory'),
    path: toOptionalPath(reader.raw('path'), 'path'),
    overwrite: reader.oneOf('overwrite', ['fail', 'replace', 'rename'], 'fail'),
    resume: reader.boolean('resume', false),
    signal: reader.signal('signal'),
    onProgress: readCallback<[TransferProgress]>(reader, 'onProgress')
  } satisfies EachOption<AcceptOptions>
  reader.rejectUnknown()
  if ((plan.directory === undefined) === (plan.path === undefined)) {
    const message =
      plan.path === undefined
        ? "Either 'directory' or 'path' must be given, such as { directory: 'inbox' }"
        : "Only one of 'directory' and 'path' may be given: 'path' is the whole path of the file"
    throw new IocpError('ERR_IOCP_INVALID_OPTION', message, { option: 'path', value: plan.path })
  }
  return plan
}

/** @throws IocpError ERR_IOCP_INVALID_OPTION */
export function readReceiveFile(options: unknown): ReceivePlan {
  const reader = new OptionReader(options, '', "an object such as { path: 'file.bin', bytes: 1024 }")
  const given = {
    path: reader.raw('path'),
    bytes: reader.size('bytes', { min: 0, max: MAX_SIZE }, 0),
    overwrite: reader.oneOf('overwrite', ['fail', 'replace', 'rename'], 'fail'),
    onReady: readCallback<[]>(reader, 'onReady'),
    signal: reader.signal('signal'),
    onProgress: readCallback<[TransferProgress]>(reader, 'onProgress')
  } satisfies EachOption<ReceiveFileOptions>
  // First, because a misspelt name is the likely reason for a required option that is missing.
  reader.rejectUnknown()
  if (reader.raw('bytes') === undefined) throw invalidOption('bytes', undefined, 'a number of bytes')
  return { ...given, path: toPath(given.path, 'path') }
}
