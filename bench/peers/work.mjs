// The work of the cases `jobs`: the same for all peers, on whatever thread. Arithmetic, and nothing that threads share:
// Node's hashes take a lock of the process each, so that two threads that hash are slower than one.

/** A number that depends on every round. */
export function work(bytes, rounds) {
  let value = bytes.length
  for (let round = 0; round < rounds; round++) {
    value = Math.imul(value ^ bytes[round % bytes.length], 0x01000193) ^ (value >>> 15)
  }
  return value
}
