/** Putting a packet together. */

import { invalidArgument } from '../common/errors.js'
import { checkString, type Endian, isBigEndian, type StringEnd } from './reader.js'

const FIRST_SIZE = 64
const MAX_CAPACITY = 2 ** 31 - 1

/**
 * Writes values one behind the other; the memory grows as needed. Numbers that do not fit throw a RangeError with the code
 * ERR_OUT_OF_RANGE, everything else that is wrong an IocpError ERR_INVALID_ARG_TYPE; then nothing has been written.
 */
export class PacketWriter {
  readonly #isBig: boolean
  #bytes: Buffer
  #size = 0

  /**
   * @param endian order of the bytes of numbers. Default `'big'`
   * @param capacity bytes to begin with, when the size is about known. Default 64
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
   * @param end how it says where it ends; default by a byte 0
   * @throws IocpError ERR_INVALID_ARG_TYPE when text that ends with a byte 0 has one inside; RangeError when its length
   *   does not fit
   */
  string(value: string, end: StringEnd = 'nul', encoding: BufferEncoding = 'utf8'): this {
    checkString(end, encoding)
    if (typeof value !== 'string') throw invalidArgument('value', value, 'text')
    const text = Buffer.from(value, encoding)
    if (end === 'nul') {
      if (text.includes(0)) throw invalidArgument('value', value, 'text without a byte 0')
      return this.bytes(text).u8(0)
    }
    if (end === 'u8') this.u8(text.length)
    else if (end === 'u16') this.u16(text.length)
    else this.u32(text.length)
    return this.bytes(text)
  }

  /** The packet. The writer goes on behind it; what it writes later is not in this one. */
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

/** Buffer's methods would make a number of anything: 0 of text, 1 of 1.5. Those that do not fit they refuse themselves. */
function whole(value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value)) return value
  throw invalidArgument('value', value, 'a whole number')
}

function checkList(value: unknown): void {
  if (!Array.isArray(value)) throw invalidArgument('keys', value, 'a list of numbers')
}

function checkBytes(value: unknown): void {
  if (!(value instanceof Uint8Array)) throw invalidArgument('value', value, 'a Buffer or Uint8Array')
}

/**
 * The shapes of package that the IOCPS class library can make: a type byte, then numbers in little-endian order, then
 * text with a byte 0 behind it. Read them with `new PacketReader(packet, 'little')`.
 */
export const iocpsPackage = {
  /** Text alone, with the type that the caller's protocol has for it. */
  text(type: number, text: string): Buffer {
    return new PacketWriter('little').u8(type).string(text, 'nul', 'latin1').finish()
  },
  /** A type alone. */
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
