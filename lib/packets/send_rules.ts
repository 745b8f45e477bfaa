/**
 * Which payloads a framing can send. Native code adds the header and the delimiter; this module checks before anything
 * is queued whether it can, so that an invalid `send` throws synchronously.
 */

import { invalidArgument, IocpError, notBytes } from '../common/errors.js'
import { transferKind } from '../native/protocol.js'
import type { NativeFraming } from '../native/types.js'

/** The rules of one framing for payloads. */
export interface SendRules {
  /** Smallest and largest payload, in bytes. */
  readonly minPayload: number
  readonly maxPayload: number
  /** What permits a larger one, as the end of a message; '' if nothing does. */
  readonly remedy: string
  /** Maximum number of bytes that the framing adds. */
  readonly overhead: number
  /** Whether these bytes would reach the peer as this one packet; undefined when only the size matters. */
  readonly accepts: ((payload: Uint8Array) => boolean) | undefined
  /** Packets up to this size may not begin with a type that is reserved for files; 0 when none is. */
  readonly reservedUpTo: number
  /** Whether the contents have to be checked, not only the size. */
  readonly looksInside: boolean
}

/** The rules that depend on the framing only. */
type FramingRules = Omit<SendRules, 'reservedUpTo' | 'looksInside'>

/** The largest send: lengths are 32-bit words with some reserve. */
const MAX_SEND = 2 ** 31 - 1
/** The largest packet of HP-Socket's Pack. */
const MAX_PACK = 2 ** 22 - 1
/** Minimum size of a transfer frame. */
const LEAST_TRANSFER = 5

const RAISE = ": raise 'maxPacket' on both sides"

/** What permits more than this limit, which is the smaller one of the option's and the format's. */
function remedyFor(maxPacket: number, most: number, otherwise = ''): string {
  return maxPacket < most ? RAISE : otherwise
}

/**
 * The rules of a framing.
 * @param transfers whether files may be transferred; packets of their types are reserved then
 */
export function sendRules(framing: NativeFraming, transfers = false): SendRules {
  const rules = rulesOf(framing)
  // A stream is detected before its first byte is examined, also in native code.
  const streamAbove = 'streamAbove' in framing ? framing.streamAbove : MAX_SEND
  const reservedUpTo = transfers && carriesTransfers(framing, rules) ? streamAbove : 0
  return { ...rules, reservedUpTo, looksInside: rules.accepts !== undefined || reservedUpTo > 0 }
}

/** Whether packets of this framing have a type, any bytes and any length; the same rule as in native code. */
function carriesTransfers(framing: NativeFraming, { accepts, maxPayload, minPayload }: FramingRules): boolean {
  if (framing.kind === 'raw' || !framing.typeByte || accepts !== undefined) return false
  return minPayload <= LEAST_TRANSFER && maxPayload > LEAST_TRANSFER
}

function rulesOf(framing: NativeFraming): FramingRules {
  const any = { minPayload: 0, accepts: undefined }
  switch (framing.kind) {
    case 'raw':
      return { ...any, maxPayload: MAX_SEND, remedy: '', overhead: 0 }
    case 'fixed':
      return { ...any, minPayload: framing.bytes, maxPayload: framing.bytes, remedy: '', overhead: 0 }
    case 'varint':
      return {
        ...any,
        maxPayload: Math.min(framing.maxPacket, MAX_SEND),
        remedy: remedyFor(framing.maxPacket, MAX_SEND),
        overhead: 10
      }
    case 'hpSocketPack':
      return {
        ...any,
        minPayload: 1,
        maxPayload: Math.min(framing.maxPacket, MAX_PACK),
        remedy: remedyFor(framing.maxPacket, MAX_PACK),
        overhead: 4
      }
    case 'lengthField':
      return lengthFieldRules(framing)
    case 'delimiter':
      return delimiterRules(framing)
  }
}

/** Frame size of the largest packet that a framing delivers as a whole; 0 if there is no limit. */
export function largestWhole(framing: NativeFraming, { maxPayload, overhead }: SendRules): number {
  if (framing.kind === 'raw') return 0
  return Math.max(0, 'streamAbove' in framing ? Math.min(maxPayload, framing.streamAbove) : maxPayload) + overhead
}

function lengthFieldRules(framing: NativeFraming & { kind: 'lengthField' }): FramingRules {
  const { adjustment, bytes, maxPacket, offset, strip } = framing
  // Encoding adds the bytes that decoding strips; the rest of the header, if any, is already in the payload.
  // value = payload + strip - header - adjustment has to be a number that the field can hold.
  const header = offset + bytes
  const largest = bytes === 8 ? Number.MAX_SAFE_INTEGER : 2 ** (8 * bytes) - 1
  const field = largest + header + adjustment - strip
  const rules = {
    minPayload: Math.max(0, header - strip + Math.max(0, adjustment)),
    // Below 0 for a framing without a valid length, which can carry nothing.
    maxPayload: Math.min(field, maxPacket, MAX_SEND),
    remedy: remedyFor(
      maxPacket,
      Math.min(field, MAX_SEND),
      field < MAX_SEND ? `: a length of ${bytes} bytes holds no more` : ''
    ),
    overhead: strip
  }
  if (strip >= header) return { ...rules, accepts: undefined }
  const from = Math.max(offset, strip)
  return {
    ...rules,
    accepts(payload) {
      const value = BigInt(payload.length + strip - header - adjustment)
      for (let at = from; at < header; at++) {
        const place = framing.endian === 'big' ? header - 1 - at : at - offset
        if (payload[at - strip] !== Number((value >> BigInt(8 * place)) & 0xffn)) return false
      }
      return true
    }
  }
}

function delimiterRules(framing: NativeFraming & { kind: 'delimiter' }): FramingRules {
  const delimiters = framing.delimiters.map((one) => Buffer.from(one.buffer, one.byteOffset, one.byteLength))
  const longest = Math.max(...delimiters.map((one) => one.length))
  const shortest = Math.min(...delimiters.map((one) => one.length))
  if (framing.strip) {
    return {
      minPayload: 0,
      maxPayload: framing.maxPacket,
      remedy: RAISE,
      overhead: longest,
      accepts(payload) {
        const bytes = asBuffer(payload)
        if (delimiters.some((one) => bytes.includes(one))) return false
        // With the payload's last bytes a delimiter may form an earlier or a longer one. Native code appends the first
        // one of the list that does not.
        const end = bytes.subarray(Math.max(0, bytes.length - longest))
        return delimiters.some((sent) => {
          const tail = end.length === 0 ? sent : Buffer.concat([end, sent])
          const match = firstMatch(delimiters, tail)
          return match !== undefined && match.end === tail.length && match.length === sent.length
        })
      }
    }
  }
  return {
    minPayload: shortest,
    maxPayload: framing.maxPacket + longest,
    remedy: RAISE,
    overhead: 0,
    accepts(payload) {
      const match = firstMatch(delimiters, asBuffer(payload))
      return match !== undefined && match.end === payload.length && payload.length - match.length <= framing.maxPacket
    }
  }
}

/**
 * The delimiter that ends first, and of those that end there the longest, because it results in the shortest packet.
 */
function firstMatch(delimiters: readonly Buffer[], bytes: Buffer): { end: number; length: number } | undefined {
  let best: { end: number; length: number } | undefined
  for (const one of delimiters) {
    const at = bytes.indexOf(one)
    if (at === -1) continue
    const end = at + one.length
    if (best === undefined || end < best.end || (end === best.end && one.length > best.length)) {
      best = { end, length: one.length }
    }
  }
  return best
}

/**
 * Throws unless these are bytes whose memory exists.
 * @throws IocpError ERR_INVALID_ARG_TYPE
 */
export function checkBytes(data: Uint8Array): void {
  if (!((data as unknown) instanceof Uint8Array)) {
    throw notBytes('data', data, 'a Buffer, a Uint8Array or text')
  }
  // A view of transferred memory has the length 0, like an empty packet.
  if (data.byteLength === 0 && data.buffer instanceof ArrayBuffer && data.buffer.detached) {
    throw invalidArgument('data', data, 'bytes whose ArrayBuffer has not been transferred')
  }
}

/** Whether the peer would interpret the packet as a file frame, and in most cases close the connection. */
function isReserved({ reservedUpTo }: SendRules, payload: Uint8Array): boolean {
  return payload.length <= reservedUpTo && ((payload[0] ?? 0) & 0xf8) === transferKind.offer
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * Throws unless the framing can carry the payload as one packet.
 * @throws IocpError ERR_IOCP_PACKET_SIZE, ERR_IOCP_PACKET_CONTENT
 */
export function checkSize(rules: SendRules, size: number): void {
  if (size >= rules.minPayload && size <= rules.maxPayload) return
  const { maxPayload, minPayload } = rules
  if (maxPayload < minPayload) {
    throw new IocpError('ERR_IOCP_PACKET_SIZE', 'The framing cannot carry any packet: no length would be valid')
  }
  const range = minPayload === maxPayload ? `exactly ${minPayload} bytes` : `${minPayload} to ${maxPayload} bytes`
  const remedy = size > maxPayload ? rules.remedy : ''
  throw new IocpError('ERR_IOCP_PACKET_SIZE', `The framing carries packets of ${range}; this one has ${size}${remedy}`)
}

/** The error for a packet that is larger than the limit of the queue. */
export function neverFits(bytes: number, hardCap: number): IocpError {
  const reason = `The frame has ${bytes} bytes, and at most ${hardCap} may be queued: raise 'backpressure.hardCap'`
  return new IocpError('ERR_IOCP_PACKET_SIZE', reason)
}

/**
 * Throws unless the payload would arrive at the peer as this one packet.
 * @throws IocpError ERR_IOCP_PACKET_CONTENT
 */
export function checkEncodable(rules: SendRules, payload: Uint8Array): void {
  if (isReserved(rules, payload)) {
    throw new IocpError(
      'ERR_IOCP_PACKET_CONTENT',
      `Packets that begin with 0x${(payload[0] ?? 0).toString(16)} are reserved for files; 'transfer: false' on both sides disables this`
    )
  }
  if (rules.accepts === undefined || rules.accepts(payload)) return
  throw new IocpError(
    'ERR_IOCP_PACKET_CONTENT',
    'The framing cannot carry these bytes as one packet: they contain a delimiter, or a header that states another length'
  )
}
