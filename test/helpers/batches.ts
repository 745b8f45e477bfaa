/** Batches as native code makes them, made by hand. */

import { record, RECORD_WORDS } from '../../lib/native/protocol.js'

/** One record and its payload, if it has one. */
export interface HandMade {
  kind: keyof typeof record
  slot?: number
  generation?: number
  a?: number
  b?: number
  c?: number
  /** Then `a` is its place and `b` its length. */
  payload?: Uint8Array | string
}

/** Writes records to the control words and gives the arguments of onBatch. */
export function makeBatch(control: Uint32Array, records: readonly HandMade[]): [number, ArrayBuffer | undefined] {
  const pieces: Buffer[] = []
  let size = 0
  for (const [index, made] of records.entries()) {
    let { a = 0, b = 0 } = made
    if (made.payload !== undefined) {
      const bytes = Buffer.from(made.payload)
      ;[a, b] = [size, bytes.length]
      pieces.push(bytes)
      size += bytes.length
    }
    const words = [record[made.kind], made.slot ?? 0, made.generation ?? 1, a, b, made.c ?? 0]
    control.set(words, index * RECORD_WORDS)
  }
  const payload = new ArrayBuffer(size)
  Buffer.from(payload).set(Buffer.concat(pieces))
  return [records.length, size === 0 ? undefined : payload]
}
