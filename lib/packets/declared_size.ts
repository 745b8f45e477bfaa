/** What a peer has declared about a frame that was too large, for messages. Decoding itself is native. */

import type { NativeFraming } from '../native/types.js'

/** The largest packet that a framing receives. */
export function limitOf(framing: NativeFraming): number | undefined {
  return 'maxPacket' in framing ? framing.maxPacket : undefined
}

/**
 * Size of the whole frame as its header declares it; undefined where the header does not tell, or does not exceed the
 * limit: then the framing has been changed since the frame arrived.
 */
export function declaredSize(framing: NativeFraming, header: Buffer): number | undefined {
  switch (framing.kind) {
    case 'lengthField':
      return lengthFieldSize(framing, header)
    case 'varint':
      return varintSize(framing.maxPacket, header)
    case 'hpSocketPack': {
      if (header.length < 4) return undefined
      const length = header.readUInt32LE(0) & 0x3f_ffff
      return length > framing.maxPacket ? 4 + length : undefined
    }
    default:
      return undefined
  }
}

function lengthFieldSize(framing: NativeFraming & { kind: 'lengthField' }, header: Buffer): number | undefined {
  const { adjustment, bytes, endian, maxPacket, offset, strip } = framing
  const field = header.subarray(offset, offset + bytes)
  if (field.length < bytes) return undefined
  let value = 0
  for (const byte of endian === 'big' ? field : field.toReversed()) value = value * 256 + byte
  const size = offset + bytes + value + adjustment
  // A field of 8 bytes may hold more than a number can tell exactly.
  return Number.isSafeInteger(size) && size - strip > maxPacket ? size : undefined
}

function varintSize(maxPacket: number, header: Buffer): number | undefined {
  let value = 0
  for (const [index, byte] of header.entries()) {
    value += (byte & 0x7f) * 2 ** (7 * index)
    if ((byte & 0x80) === 0) return value > maxPacket ? index + 1 + value : undefined
  }
  return undefined
}
