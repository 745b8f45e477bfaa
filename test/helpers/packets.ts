/** Bytes and packets that are made, and taken apart, without the library. */

/** A packet with a length before it; by default as the default framing has it. */
export function frame(
  payload: Uint8Array | string,
  bytes: 1 | 2 | 3 | 4 | 8 = 4,
  endian: 'big' | 'little' = 'big'
): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload) : payload
  const header = Buffer.alloc(8)
  header.writeBigUInt64BE(BigInt(body.length))
  const length = header.subarray(8 - bytes)
  return Buffer.concat([endian === 'big' ? length : Buffer.from(length).reverse(), body])
}

/** Takes packets in the default framing out of a stream, without the library. */
export class Deframer {
  readonly #onPacket: (packet: Buffer) => void
  #rest: Buffer = Buffer.alloc(0)

  constructor(onPacket: (packet: Buffer) => void) {
    this.#onPacket = onPacket
  }

  readonly feed = (data: Buffer): void => {
    let bytes = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data])
    while (bytes.length >= 4) {
      const end = 4 + bytes.readUInt32BE()
      if (bytes.length < end) break
      this.#onPacket(bytes.subarray(4, end))
      bytes = bytes.subarray(end)
    }
    this.#rest = bytes
  }
}

/** Bytes that are easy to recognise: each says where it is. */
export function pattern(length: number, seed = 0): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + (at >> 8) * 7 + seed) & 255
  return bytes
}
