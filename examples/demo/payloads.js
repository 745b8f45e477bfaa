// @ts-check
import { randomBytes, randomInt } from 'node:crypto'

const POOL = 1024 * 1024

/**
 * Packets of random size and content, and the check of what comes back. A packet is a piece of one block of random
 * bytes, so that making it costs nothing and two of them are hardly ever alike.
 * @param {number} largest
 */
export function createPayloads(largest) {
  const pool = randomBytes(POOL + largest)
  return {
    next() {
      const length = randomInt(largest + 1)
      const start = randomInt(POOL)
      return pool.subarray(start, start + length)
    }
  }
}
