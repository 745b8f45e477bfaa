/** The frames of file transfer; native code has checked every frame from a peer. */

import { isUtf8 } from 'node:buffer'
import { transferKind } from '../native/protocol.js'

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

const HASH = 32
const EMPTY = Buffer.alloc(0)

/** Reads a frame whose form native code has checked. What is kept of it is copied. */
export function readFrame(bytes: Buffer): TransferFrame {
  const kind = bytes[0] ?? 0
  const frame = {
    kind,
    id: bytes.readUInt32BE(1),
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
      const size = bytes.readUInt16BE(14)
      const name = nameOf(bytes.subarray(16, 16 + size))
      return { ...frame, ...numbered(bytes), name, rest: Buffer.from(bytes.subarray(16 + size)) }
    }
    case transferKind.accept:
    case transferKind.done: {
      const about = numbered(bytes)
      return { ...frame, ...about, hash: about.hasHash ? Buffer.from(bytes.subarray(14, 14 + HASH)) : undefined }
    }
    case transferKind.start:
      return { ...frame, number: Number(bytes.readBigUInt64BE(5)) }
    case transferKind.reject:
      return { ...frame, code: bytes.readUInt16BE(5), rest: Buffer.from(bytes.subarray(7)) }
    case transferKind.abort:
      return { ...frame, side: bytes[5] ?? 0, code: bytes.readUInt16BE(6), rest: Buffer.from(bytes.subarray(8)) }
    default:
      return frame
  }
}

/** Bytes that are not UTF-8 are no name: '' is rejected. Repaired they would be the name of another file. */
function nameOf(bytes: Buffer): string {
  return isUtf8(bytes) ? bytes.toString() : ''
}

function numbered(bytes: Buffer): { number: number; hasHash: boolean } {
  return { number: Number(bytes.readBigUInt64BE(5)), hasHash: ((bytes[13] ?? 0) & 1) !== 0 }
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

/** Reads such a record's payload. */
export function readFileEnd(bytes: Buffer): FileEnd {
  return {
    id: bytes.readUInt32LE(0),
    outcome: bytes.readUInt32LE(4),
    winCode: bytes.readUInt32LE(8),
    hasBegun: bytes.readUInt32LE(12) !== 0,
    bytes: Number(bytes.readBigUInt64LE(16)),
    hash: Buffer.from(bytes.subarray(24, 24 + HASH))
  }
}
