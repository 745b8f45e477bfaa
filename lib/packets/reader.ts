/** Reading values from a packet, never beyond its end. */

import { invalidArgument, IocpError } from '../common/errors.js'

/** Order of bytes. */
export type Endian = 'big' | 'little'

/** How a string ends: with a NUL byte after it, or by its length in bytes before it. */
export type StringEnd = 'nul' | 'u8' | 'u16' | 'u32'

const ENDS: readonly unknown[] = ['nul', 'u8', 'u16', 'u32'] satisfies StringEnd[]

/**
 * Whether an order of bytes is big-endian.
 * @throws IocpError ERR_INVALID_ARG_TYPE
 */
export function isBigEndian(endian: unknown): boolean {
  if (endian === 'big' || endian === 'little') return endian === 'big'
  throw invalidArgument('endian', endian, "'big' or 'little'")
}

/** @throws IocpError ERR_INVALID_ARG_TYPE */
export function checkString(end: unknown, encoding: unknown): void {
  if (!ENDS.includes(end)) throw invalidArgument('end', end, "one of 'nul', 'u8', 'u16', 'u32'")
  if (typeof encoding !== 'string' || !Buffer.isEncoding(encoding)) {
    throw invalidArgument('encoding', encoding, 'an encoding that Buffer supports')
  }
}

/**
 * Reads values one after the other. Reading beyond the end throws ERR_IOCP_READER_BOUNDS and leaves the position
 * unchanged.
 */
export class PacketReader {
  readonly #bytes: Buffer
  readonly #isBig: boolean
  #at = 0

  /**
   * @param packet the packet to read; it is not copied
   * @param endian order of the bytes of numbers. Default `'big'`
   * @throws IocpError ERR_INVALID_ARG_TYPE
   */
  constructor(packet: Uint8Array, endian: Endian = 'big') {
    if (!((packet as unknown) instanceof Uint8Array)) throw invalidArgument('packet', packet, 'a Buffer or Uint8Array')
    this.#bytes = Buffer.from(packet.buffer, packet.byteOffset, packet.byteLength)
    this.#isBig = isBigEndian(endian)
  }

  /** Bytes read so far. */
  get position(): number {
    return this.#at
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#at
  }

  /** Skips bytes. */
  skip(bytes: number): this {
    this.#take(bytes)
    return this
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1))
  }

  i8(): number {
    return this.#bytes.readInt8(this.#take(1))
  }

  u16(): number {
    const at = this.#take(2)
    return this.#isBig ? this.#bytes.readUInt16BE(at) : this.#bytes.readUInt16LE(at)
  }

  i16(): number {
    const at = this.#take(2)
    return this.#isBig ? this.#bytes.readInt16BE(at) : this.#bytes.readInt16LE(at)
  }

  u32(): number {
    const at = this.#take(4)
    return this.#isBig ? this.#bytes.readUInt32BE(at) : this.#bytes.readUInt32LE(at)
  }

  i32(): number {
    const at = this.#take(4)
    return this.#isBig ? this.#bytes.readInt32BE(at) : this.#bytes.readInt32LE(at)
  }

  u64(): bigint {
    const at = this.#take(8)
    return this.#isBig ? this.#bytes.readBigUInt64BE(at) : this.#bytes.readBigUInt64LE(at)
  }

  i64(): bigint {
    const at = this.#take(8)
    return this.#isBig ? this.#bytes.readBigInt64BE(at) : this.#bytes.readBigInt64LE(at)
  }

  f32(): number {
    const at = this.#take(4)
    return this.#isBig ? this.#bytes.readFloatBE(at) : this.#bytes.readFloatLE(at)
  }

  f64(): number {
    const at = this.#take(8)
    return this.#isBig ? this.#bytes.readDoubleBE(at) : this.#bytes.readDoubleLE(at)
  }

  /** A view of the next bytes, not a copy. */
  bytes(length: number): Buffer {
    const at = this.#take(length)
    return this.#bytes.subarray(at, at + length)
  }

  /** A view of the remaining bytes. */
  rest(): Buffer {
    return this.bytes(this.remaining)
  }

  /**
   * Text.
   * @param end how it ends; default with a NUL byte
   * @throws IocpError ERR_IOCP_READER_STRING if there is no NUL, ERR_IOCP_READER_BOUNDS if the length exceeds the
   *   packet
   */
  string(end: StringEnd = 'nul', encoding: BufferEncoding = 'utf8'): string {
    checkString(end, encoding)
    if (end === 'nul') {
      const zero = this.#bytes.indexOf(0, this.#at)
      if (zero === -1) {
        throw new IocpError('ERR_IOCP_READER_STRING', `The string at byte ${this.#at} has no terminating NUL`)
      }
      const text = this.#bytes.toString(encoding, this.#at, zero)
      this.#at = zero + 1
      return text
    }
    const start = this.#at
    try {
      const length = end === 'u8' ? this.u8() : end === 'u16' ? this.u16() : this.u32()
      return this.bytes(length).toString(encoding)
    } catch (error) {
      this.#at = start
      throw error
    }
  }

  /** The place of the next bytes, which are read now. */
  #take(length: number): number {
    const at = this.#at
    if (!Number.isSafeInteger(length) || length < 0)
      throw invalidArgument('length', length, 'a whole number, 0 or more')
    if (length > this.#bytes.length - at) {
      const message = `Cannot read ${length} bytes at offset ${at} of a packet of ${this.#bytes.length} bytes`
      throw new IocpError('ERR_IOCP_READER_BOUNDS', message)
    }
    this.#at = at + length
    return at
  }
}
