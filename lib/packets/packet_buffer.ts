/** The quick way to make the Buffers that packets come as. Hot path. */

/**
 * The class behind Buffer's prototype: `new PacketBuffer(batch, offset, length)` costs a third of what
 * `Buffer.from(batch, offset, length)` does and gives the same object.
 */
export const PacketBuffer = (Buffer as unknown as Record<symbol, unknown>)[Symbol.species] as new (
  memory: ArrayBuffer,
  offset: number,
  length: number
) => Buffer
