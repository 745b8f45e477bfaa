// The work of the case `jobs`: the same for all peers, on whatever thread.
import { createHash } from 'node:crypto'

/** The last of a chain of SHA-256. */
export function work(bytes, rounds) {
  let hash = bytes
  for (let round = 0; round < rounds; round++) hash = createHash('sha256').update(hash).digest()
  return hash
}
