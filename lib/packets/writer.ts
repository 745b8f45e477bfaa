/** Building a packet. */

import { invalidArgument, notBytes } from '../common/errors.js'
import { checkString, type Endian, isBigEndian, type StringEnd } from './reader.js'

const FIRST_SIZE = 64
const MAX_CAPACITY = 2 ** 31 - 1

/**
 * Writes values one after the other; the memory grows as needed. Numbers out of range throw a RangeError
 * ERR_OUT_OF_RANGE, other invalid arguments an IocpError ERR_INVALID_ARG_TYPE; nothing has been written then.
 */
export class PacketWriter {
  readonly #isBig: boolean
  #bytes: Buffer
  #size = 0

  /**
   * @param endian order of the bytes of numbers. Default `'big'`
   * @param capacity initial size in bytes. Default 64
   */
  constructor(endian: Endian = 'big', capacity = FIRST_SIZE) {
    this.#isBig = isBigEndian(endian)
    if (!Number.isInteger(capacity) || capacity < 0 || capacity > MAX_CAPACITY) {
      throw invalidArgument('capacity', capacity, `a whole number from 0 to ${MAX_CAPACITY}`)
    }
    this.#bytes = Buffer.allocUnsafe(Math.max(1, capacity))
  }

  /** Bytes written so far. */
  get size(): number {
    return this.#size
  }

  u8(value: number): this {
    return this.#wrote(this.#room(1).writeUInt8(whole(value), this.#size))
  }

  i8(value: number): this {
    return this.#wrote(this.#room(1).writeInt8(whole(value), this.#size))
  }

  u16(value: number): this {
    const to = this.#room(2)
    return this.#wrote(
      this.#isBig ? to.writeUInt16BE(whole(value), this.#size) : to.writeUInt16LE(whole(value), this.#size)
    )
  }

  i16(value: number): this {
    const to = this.#room(2)
    return this.#wrote(
      this.#isBig ? to.writeInt16BE(whole(value), this.#size) : to.writeInt16LE(whole(value), this.#size)
    )
  }

  u32(value: number): this {
    const to = this.#room(4)
    return this.#wrote(
      this.#isBig ? to.writeUInt32BE(whole(value), this.#size) : to.writeUInt32LE(whole(value), this.#size)
    )
  }

  i32(value: number): this {
    const to = this.#room(4)
    return this.#wrote(
      this.#isBig ? to.writeInt32BE(whole(value), this.#size) : to.writeInt32LE(whole(value), this.#size)
    )
  }

  u64(value: bigint | number): this {
    const to = this.#room(8)
    const wide = typeof value === 'bigint' ? value : BigInt(whole(value))
    return this.#wrote(this.#isBig ? to.writeBigUInt64BE(wide, this.#size) : to.writeBigUInt64LE(wide, this.#size))
  }

  i64(value: bigint | number): this {
    const to = this.#room(8)
    const wide = typeof value === 'bigint' ? value : BigInt(whole(value))
    return this.#wrote(this.#isBig ? to.writeBigInt64BE(wide, this.#size) : to.writeBigInt64LE(wide, this.#size))
  }

  f32(value: number): this {
    const to = this.#room(4)
    if (typeof value !== 'number') throw invalidArgument('value', value, 'a number')
    return this.#wrote(this.#isBig ? to.writeFloatBE(value, this.#size) : to.writeFloatLE(value, this.#size))
  }

  f64(value: number): this {
    const to = this.#room(8)
    if (typeof value !== 'number') throw invalidArgument('value', value, 'a number')
    return this.#wrote(this.#isBig ? to.writeDoubleBE(value, this.#size) : to.writeDoubleLE(value, this.#size))
  }

  bytes(value: Uint8Array): this {
    checkBytes(value)
    this.#room(value.length).set(value, this.#size)
    this.#size += value.length
    return this
  }

  /**
   * Text.
   * @param end how it ends; default with a NUL byte
   * @throws IocpError ERR_INVALID_ARG_TYPE if text that ends with a NUL contains one; RangeError if its length does not
   *   fit
   */
  string(value: string, end: StringEnd = 'nul', encoding: BufferEncoding = 'utf8'): this {
    checkString(end, encoding)
    if (typeof value !== 'string') throw invalidArgument('value', value, 'text')
    const text = Buffer.from(value, encoding)
    if (end === 'nul') {
      if (text.includes(0)) throw invalidArgument('value', value, 'text without NUL')
      return this.bytes(text).u8(0)
    }
    if (end === 'u8') this.u8(text.length)
    else if (end === 'u16') this.u16(text.length)
    else this.u32(text.length)
    return this.bytes(text)
  }

  /** A copy of the bytes written so far; later writes do not change it. */
  finish(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.#size))
  }

  #room(length: number): Buffer {
    const needed = this.#size + length
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, this.#size)
      this.#bytes = larger
    }
    return this.#bytes
  }

  #wrote(end: number): this {
    this.#size = end
    return this
  }
}

/**
 * Buffer's methods would convert any value: text to 0, 1.5 to 1. They check the range themselves.
 */
function whole(value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value)) return value
  throw invalidArgument('value', value, 'a whole number')
}

function checkList(value: unknown): void {
  if (!Array.isArray(value)) throw invalidArgument('keys', value, 'an array of numbers')
}

function checkBytes(value: unknown): void {
  if (!(value instanceof Uint8Array)) throw notBytes('value', value, 'a Buffer or Uint8Array')
}

/**
 * The package formats of the IOCPS class library: a type byte, then little-endian numbers, then text with a terminating
 * NUL. Read them with `new PacketReader(packet, 'little')`.
 */
export const iocpsPackage = {
  /** Text only, with the type that the protocol has for it. */
  text(type: number, text: string): Buffer {
    return new PacketWriter('little').u8(type).string(text, 'nul', 'latin1').finish()
  },
  /** A type only. */
  type(type: number): Buffer {
    return new PacketWriter('little').u8(type).finish()
  },
  /** A type, some 32-bit numbers (keys), then text. */
  keys(type: number, keys: readonly number[], text: string): Buffer {
    checkList(keys)
    const writer = new PacketWriter('little').u8(type)
    for (const key of keys) writer.u32(key)
    return writer.string(text, 'nul', 'latin1').finish()
  },
  /** A type, a 32-bit number, then bytes. */
  bytes(type: number, key: number, bytes: Uint8Array): Buffer {
    checkBytes(bytes)
    return new PacketWriter('little', 5 + bytes.length).u8(type).u32(key).bytes(bytes).finish()
  }
} as const
