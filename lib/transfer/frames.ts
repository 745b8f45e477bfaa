/**
 * The frames of file transfer, and what native code reports about its part: the only file of lib that knows the offsets.
 * Native code has checked every frame from a peer, and writes the outgoing ones (native/core/transfer_protocol.h has the
 * layouts); a test compares the sizes.
 */

import { isUtf8 } from 'node:buffer'
import { transferKind } from '../native/protocol.js'

/** Bytes of a SHA-256. */
export const HASH_BYTES = 32

/** Where the fields of a frame begin. Each has its kind in front, then the number of the transfer. */
const field = {
  id: 1,
  /** Of offer and done the size, of accept and start an offset. */
  number: 5,
  flags: 13,
  /** Of accept and done, with `HAS_HASH` in the flags. */
  hash: 14,
  /** Of an offer. */
  nameBytes: 14,
  name: 16,
  rejectCode: 5,
  rejectReason: 7,
  abortSide: 5,
  abortCode: 6,
  abortReason: 8
} as const

const HAS_HASH = 1

/** Bytes of a chunk before those of the file. */
export const CHUNK_HEADER = 5
/** Bytes of an offer before the name. */
export const OFFER_HEADER = field.name
/** Bytes of an abort before the reason; a rejection has one less. */
export const REASON_HEADER = field.abortReason
/** What the longest of the frames that every file needs takes: its end, with its SHA-256. */
export const LARGEST_NEEDED = field.hash + HASH_BYTES

/** Bytes that a name, metadata and a reason may have. */
export const MAX_NAME = 1024
export const MAX_METADATA = 16 * 1024
export const MAX_REASON = 1024

/** A frame that came from the peer. */
export interface TransferFrame {
  readonly kind: number
  readonly id: number
  readonly number: number
  readonly hasHash: boolean
  readonly hash: Buffer | undefined
  readonly name: string
  readonly side: number
  readonly code: number
  readonly rest: Buffer
}

const EMPTY = Buffer.alloc(0)

/** Reads a frame whose form native code has checked. What is kept of it is copied. */
export function readFrame(bytes: Buffer): TransferFrame {
  const kind = bytes[0] ?? 0
  const frame = {
    kind,
    id: bytes.readUInt32BE(field.id),
    number: 0,
    hasHash: false,
    hash: undefined,
    name: '',
    side: 0,
    code: 0,
    rest: EMPTY
  }
  switch (kind) {
    case transferKind.offer: {
      const end = field.name + bytes.readUInt16BE(field.nameBytes)
      const name = nameOf(bytes.subarray(field.name, end))
      return { ...frame, ...numbered(bytes), name, rest: Buffer.from(bytes.subarray(end)) }
    }
    case transferKind.accept:
    case transferKind.done: {
      const about = numbered(bytes)
      return { ...frame, ...about, hash: about.hasHash ? hashAt(bytes, field.hash) : undefined }
    }
    case transferKind.start:
      return { ...frame, number: numberOf(bytes) }
    case transferKind.reject:
      return {
        ...frame,
        code: bytes.readUInt16BE(field.rejectCode),
        rest: Buffer.from(bytes.subarray(field.rejectReason))
      }
    case transferKind.abort:
      return {
        ...frame,
        side: bytes[field.abortSide] ?? 0,
        code: bytes.readUInt16BE(field.abortCode),
        rest: Buffer.from(bytes.subarray(field.abortReason))
      }
    default:
      return frame
  }
}

/** Bytes that are not UTF-8 are no name: '' is rejected. Repaired they would be the name of another file. */
function nameOf(bytes: Buffer): string {
  return isUtf8(bytes) ? bytes.toString() : ''
}

function numbered(bytes: Buffer): { number: number; hasHash: boolean } {
  return { number: numberOf(bytes), hasHash: ((bytes[field.flags] ?? 0) & HAS_HASH) !== 0 }
}

function numberOf(bytes: Buffer): number {
  return Number(bytes.readBigUInt64BE(field.number))
}

function hashAt(bytes: Buffer, at: number): Buffer {
  return Buffer.from(bytes.subarray(at, at + HASH_BYTES))
}

/** How the native part of a transfer ended. */
export interface FileEnd {
  readonly id: number
  readonly outcome: number
  readonly winCode: number
  /** Whether bytes of it may have been sent. */
  readonly hasBegun: boolean
  /** Bytes of the file that were sent, or that the file has. */
  readonly bytes: number
  readonly hash: Buffer
}

/** Where its fields begin: little-endian, as `Connection::report_file_end` writes them. */
const endField = { id: 0, outcome: 4, winCode: 8, hasBegun: 12, bytes: 16, hash: 24 } as const

/** Reads such a record's payload. */
export function readFileEnd(bytes: Buffer): FileEnd {
  return {
    id: bytes.readUInt32LE(endField.id),
    outcome: bytes.readUInt32LE(endField.outcome),
    winCode: bytes.readUInt32LE(endField.winCode),
    hasBegun: bytes.readUInt32LE(endField.hasBegun) !== 0,
    bytes: Number(bytes.readBigUInt64LE(endField.bytes)),
    hash: hashAt(bytes, endField.hash)
  }
}

/** The first byte of a package of IOCPS about a file. */
export const iocpsType = { offer: 1, start: 2, refuse: 3 } as const

/** Where the fields of its offer begin: the size, little-endian, and the name with its NUL. */
const iocpsField = { size: 1, name: 5 } as const

/** Bytes of such an offer besides those of the name: in front, and the NUL. */
export const IOCPS_OFFER_EXTRA = iocpsField.name + 1

/** Reads an offer of IOCPS. */
export function readIocpsOffer(bytes: Buffer): { name: string; size: number } {
  const name = bytes.toString('latin1', iocpsField.name, bytes.indexOf(0, iocpsField.name))
  return { name, size: bytes.readUInt32LE(iocpsField.size) }
}

/** Writes one. */
export function writeIocpsOffer(name: Uint8Array, size: number): Buffer {
  const offer = Buffer.alloc(IOCPS_OFFER_EXTRA + name.length)
  offer[0] = iocpsType.offer
  offer.writeUInt32LE(size, iocpsField.size)
  offer.set(name, iocpsField.name)
  return offer
}
