/**
 * How a stream of bytes is divided into packets. The builders check every option and return descriptions for native
 * code; no bytes are processed here.
 */

import { invalidOption } from '../common/errors.js'
import { type EachOption, KIB, MIB, OptionReader, type Range, type Size } from '../common/option_reader.js'
import type { NativeFraming } from '../native/types.js'

/** Options of every framing except `raw` and `fixed`. */
export interface PacketLimits {
  /**
   * Largest packet in bytes, as delivered (without stripped bytes and delimiters). 0 to 1 GiB, larger with
   * `streamAbove`; default 1 MiB.
   */
  maxPacket?: Size
  /**
   * A larger packet closes the connection (`'close'`, the default), or only that packet is skipped and the stream stays
   * in sync (`'discard'`). In both cases 'frameError' is emitted.
   */
  onOversize?: 'close' | 'discard'
  /**
   * An invalid header closes the connection, because frame boundaries cannot be found again. `'close'` is the only
   * value.
   */
  onCorrupt?: 'close'
  /**
   * With `onOversize: 'discard'`: report as soon as the size is known, or after the last byte was skipped. Default
   * true.
   */
  failFast?: boolean
  /** The first byte of each packet is its type. It changes nothing on the wire. Default false. */
  typeByte?: boolean
}

/** Options of framings with a length before the packet. */
export interface StreamLimits {
  /** Packets larger than this are delivered by a 'stream' event instead of a Buffer. 0 to 1 GiB; default never. */
  streamAbove?: Size
}

/** A length field before each packet; the terms are those of Netty's LengthFieldBasedFrameDecoder. */
export interface LengthFieldOptions extends PacketLimits, StreamLimits {
  /** Bytes before the length field. 0 to 32 less `bytes`; default 0. */
  offset?: number
  /** Bytes of the length field. 1, 2, 3, 4 or 8; default 4. */
  bytes?: 1 | 2 | 3 | 4 | 8
  /** Order of the length field's bytes. Default `'big'`. */
  endian?: 'big' | 'little'
  /** Added to the field's value to get the bytes that follow the field. A 32-bit integer; default 0. */
  adjustment?: number
  /** Bytes to remove from the front of each frame. 0 to 32; default `offset + bytes`, that is the whole header. */
  strip?: number
}

/** Packets that end with a delimiter. */
export interface DelimiterOptions extends PacketLimits {
  /**
   * 1 to 16 sequences of 1 to 64 bytes (text is UTF-8). The one that results in the shortest packet ends it. When
   * sending, the first one that preserves the packet is appended.
   */
  delimiters: string | Uint8Array | readonly (string | Uint8Array)[]
  /** Whether packets are delivered, and passed to `send`, without their delimiter. Default true. */
  strip?: boolean
}

/** Packets that are lines. */
export interface LineOptions extends Omit<DelimiterOptions, 'delimiters'> {
  /** Appended to each line that is sent; both are accepted from the peer. Default `'\n'`. */
  endOfLine?: '\n' | '\r\n'
}

/** Packets that all have the same size. */
export interface FixedOptions {
  /** Bytes of each packet. 1 to 1 GiB. */
  bytes: Size
  /** The first byte of each packet is its type. Default false. */
  typeByte?: boolean
}

/** HP-Socket's Pack: 10 bits of flag above 22 bits of length, little-endian. */
export interface HpSocketPackOptions extends PacketLimits, StreamLimits {
  /** 0 to 1023; 0 sends 0 and accepts any. Default 0. */
  flag?: number
}

declare const built: unique symbol

/** A framing created by one of the builders. It is immutable. */
export type Framing = NativeFraming & { readonly [built]: true }

/** One framing for both directions, or one for each. */
export type FramingOption = Framing | { readonly receive: Framing; readonly send: Framing }

/** A packet that is delivered as a whole occupies one block of memory. */
const MAX_WHOLE_PACKET = 1024 * MIB
const MAX_HEADER = 32
const MAX_DELIMITER = 64
const MAX_DELIMITERS = 16
const INT32_MAX = 2 ** 31 - 1
/** Larger than any packet: never a stream. */
export const NEVER = Number.MAX_SAFE_INTEGER

// Registered, because a program may load the library both by import and by require.
const mark = Symbol.for('iocp.framing')

function build(framing: NativeFraming): Framing {
  Object.defineProperty(framing, mark, { value: true })
  return Object.freeze(framing) as Framing
}

/** Whether a value comes from one of the builders. */
export function isFraming(value: unknown): value is Framing {
  return typeof value === 'object' && value !== null && mark in value
}

/**
 * Both directions of a `framing` option.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function bothDirections(value: unknown, option: string): { receive: Framing; send: Framing } {
  if (isFraming(value)) return { receive: value, send: value }
  const allowed = 'created by a builder such as framing.lengthField(), or an object { receive, send } of two of them'
  if (typeof value !== 'object' || value === null) throw invalidOption(option, value, allowed)
  const reader = new OptionReader(value, option)
  const receive = reader.raw('receive')
  const send = reader.raw('send')
  reader.rejectUnknown()
  if (!isFraming(receive) || !isFraming(send)) throw invalidOption(option, value, allowed)
  return { receive, send }
}

const example = (options: string): string => `an object such as ${options}`
const limitsExample = example("{ maxPacket: '64KiB' }")

/** Options of every framing with packets of different sizes. */
function readLimits(
  reader: OptionReader,
  fallback: number,
  range: Range = { min: 0, max: MAX_WHOLE_PACKET },
  typeByte = false
) {
  const { onCorrupt: _, ...limits } = {
    maxPacket: reader.size('maxPacket', range, fallback),
    onOversize: reader.oneOf('onOversize', ['close', 'discard'], 'close'),
    onCorrupt: reader.oneOf('onCorrupt', ['close'], 'close'),
    failFast: reader.boolean('failFast', true),
    typeByte: reader.boolean('typeByte', typeByte)
  } satisfies EachOption<PacketLimits>
  return limits
}

/** Those of a framing with a length before the packet, too. */
function readStreamLimits(reader: OptionReader, fallback: number, typeByte = false) {
  const streamAbove = reader.size('streamAbove', { min: 0, max: MAX_WHOLE_PACKET }, NEVER)
  const whole = { min: 0, max: MAX_WHOLE_PACKET, note: "; larger ones need 'streamAbove'" }
  const limits = readLimits(reader, fallback, streamAbove === NEVER ? whole : { min: 0, max: NEVER }, typeByte)
  return { ...limits, streamAbove } satisfies Omit<EachOption<PacketLimits & StreamLimits>, 'onCorrupt'>
}

/**
 * A length field before each packet. Without options: 4 bytes, big-endian, not counting themselves.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
function lengthField(options: LengthFieldOptions = {}): Framing {
  const reader = new OptionReader(options, '', example('{ bytes: 4 }'))
  const bytes = reader.oneOf('bytes', [1, 2, 3, 4, 8], 4)
  const offset = reader.integer('offset', { min: 0, max: MAX_HEADER - bytes, note: " (32 less 'bytes')" }, 0)
  const framing = {
    offset,
    bytes,
    endian: reader.oneOf('endian', ['big', 'little'], 'big'),
    adjustment: reader.integer('adjustment', { min: -INT32_MAX - 1, max: INT32_MAX }, 0),
    strip: reader.integer('strip', { min: 0, max: MAX_HEADER }, offset + bytes),
    ...readStreamLimits(reader, MIB)
  } satisfies Omit<EachOption<LengthFieldOptions>, 'onCorrupt'>
  reader.rejectUnknown()
  return build({ kind: 'lengthField', ...framing })
}

function toDelimiters(value: unknown): Uint8Array[] {
  const allowed = `text or a Uint8Array of 1 to ${MAX_DELIMITER} bytes, or an array of 1 to ${MAX_DELIMITERS} of them`
  const list: unknown[] = Array.isArray(value) ? value : [value]
  if (list.length < 1 || list.length > MAX_DELIMITERS) throw invalidOption('delimiters', value, allowed)
  // With holes too.
  const delimiters = Array.from(list, (one) => {
    // Copies, so that later changes of the caller's arrays do not affect the framing.
    const bytes = typeof one === 'string' ? Buffer.from(one) : one instanceof Uint8Array ? Buffer.from(one) : undefined
    if (bytes === undefined || bytes.length < 1 || bytes.length > MAX_DELIMITER) {
      throw invalidOption('delimiters', one, allowed)
    }
    return bytes
  })
  for (const [index, delimiter] of delimiters.entries()) {
    for (const [other, shorter] of delimiters.entries()) {
      const at = delimiter.indexOf(shorter)
      if (at === -1 || at + shorter.length === delimiter.length) continue
      const problem = `one that can be found: delimiters[${other}] ends inside it`
      throw invalidOption(`delimiters[${index}]`, list[index], problem)
    }
  }
  return delimiters
}

/**
 * Packets that end with one of some delimiters.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
function delimiter(options: DelimiterOptions): Framing {
  const reader = new OptionReader(options, '', example(String.raw`{ delimiters: ['\r\n'] }`))
  const given = {
    delimiters: reader.raw('delimiters'),
    strip: reader.boolean('strip', true),
    ...readLimits(reader, MIB)
  } satisfies Omit<EachOption<DelimiterOptions>, 'onCorrupt'>
  // First, because a misspelt name is the likely reason for a required option that is missing.
  reader.rejectUnknown()
  return build({ kind: 'delimiter', ...given, delimiters: toDelimiters(given.delimiters) })
}

/**
 * Lines that end with LF or CRLF; packets are delivered without it.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
function line(options: LineOptions = {}): Framing {
  const reader = new OptionReader(options, '', example(String.raw`{ endOfLine: '\r\n' }`))
  const { endOfLine, ...framing } = {
    endOfLine: reader.oneOf('endOfLine', ['\n', '\r\n'], '\n'),
    strip: reader.boolean('strip', true),
    ...readLimits(reader, MIB)
  } satisfies Omit<EachOption<LineOptions>, 'onCorrupt'>
  reader.rejectUnknown()
  return delimiter({ ...framing, delimiters: endOfLine === '\n' ? ['\n', '\r\n'] : ['\r\n', '\n'] })
}

/**
 * Packets of a fixed size.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
function fixed(options: FixedOptions): Framing {
  const reader = new OptionReader(options, '', example('{ bytes: 64 }'))
  const given = {
    bytes: reader.size('bytes', { min: 1, max: MAX_WHOLE_PACKET }, 0),
    typeByte: reader.boolean('typeByte', false)
  } satisfies EachOption<FixedOptions>
  reader.rejectUnknown()
  const missing = given.bytes === 0
  if (missing) throw invalidOption('bytes', undefined, `a number of bytes from 1 to ${MAX_WHOLE_PACKET}`)
  return build({ kind: 'fixed', ...given })
}

/**
 * No framing: a packet contains the bytes of one read, at least one.
 * @param options there are none
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
function raw(options: Readonly<Record<string, never>> = {}): Framing {
  new OptionReader(options, '').rejectUnknown()
  return build({ kind: 'raw' })
}

/**
 * A base-128 length before each packet, as in protobuf's delimited messages.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
function varint(options: PacketLimits & StreamLimits = {}): Framing {
  const reader = new OptionReader(options, '', limitsExample)
  const framing = readStreamLimits(reader, MIB)
  reader.rejectUnknown()
  return build({ kind: 'varint', ...framing })
}

/** A length that counts what follows it, and nothing before it. */
function fieldBefore(bytes: 1 | 2 | 4, endian: 'big' | 'little') {
  return { kind: 'lengthField', offset: 0, bytes, endian, adjustment: 0, strip: bytes } as const
}

/**
 * The wire format of the IOCPS class library: 4 bytes, little-endian, that count what follows them; the first byte of
 * a packet is its type. IOCPS has buffers of 512 bytes, so `maxPacket` is 508 unless another is given.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
function iocps(options: PacketLimits & StreamLimits = {}): Framing {
  const reader = new OptionReader(options, '', limitsExample)
  const limits = readStreamLimits(reader, 508, true)
  reader.rejectUnknown()
  return build({ ...fieldBefore(4, 'little'), ...limits, iocpsFiles: true })
}

/**
 * Erlang's `{packet, N}`: a big-endian length of N bytes that counts the packet only.
 * @param bytes 1, 2 or 4; default 4
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
function erlang(bytes: 1 | 2 | 4 = 4, options: PacketLimits & StreamLimits = {}): Framing {
  if (![1, 2, 4].includes(bytes)) throw invalidOption('bytes', bytes, '1, 2 or 4')
  const reader = new OptionReader(options, '', limitsExample)
  const limits = readStreamLimits(reader, MIB)
  reader.rejectUnknown()
  return build({ ...fieldBefore(bytes, 'big'), ...limits })
}

/**
 * HP-Socket's Pack: packets of 1 byte to 4 MiB - 1.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
function hpSocketPack(options: HpSocketPackOptions = {}): Framing {
  const reader = new OptionReader(options, '', example('{ flag: 5 }'))
  const framing = {
    flag: reader.integer('flag', { min: 0, max: 1023 }, 0),
    ...readStreamLimits(reader, 256 * KIB)
  } satisfies Omit<EachOption<HpSocketPackOptions>, 'onCorrupt'>
  reader.rejectUnknown()
  return build({ kind: 'hpSocketPack', ...framing })
}

/** Builders of framings. Each checks its options immediately and throws ERR_IOCP_INVALID_OPTION. */
export const framing = { lengthField, delimiter, line, fixed, raw, varint, iocps, erlang, hpSocketPack } as const
