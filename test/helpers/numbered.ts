/** An endless stream of bytes in which every byte follows from its place. */

import { random } from './load.js'

// The period is a prime and larger than anything that could change places on the way.
const PERIOD = 1_000_003
/** As much as one call of `numbered` gives. */
export const MOST_NUMBERED = 1024 * 1024
const pattern = Buffer.alloc(PERIOD + MOST_NUMBERED)
const draw = random(1)
for (let at = 0; at < PERIOD; at++) pattern[at] = draw(0x1_0000_0000) >>> 13
pattern.copy(pattern, PERIOD, 0, MOST_NUMBERED)

/** Some bytes of an endless stream in which every byte follows from its place. Not to be written to. */
export function numbered(stream: number, at: number, length: number): Buffer {
  const start = (stream * 7919 + at) % PERIOD
  return pattern.subarray(start, start + length)
}

/** Checks that such a stream comes byte for byte. */
export class NumberedStream {
  readonly #stream: number
  /** Bytes that came so far. */
  at = 0

  constructor(stream: number) {
    this.#stream = stream
  }

  take(bytes: Buffer): void {
    for (let done = 0; done < bytes.length; done += MOST_NUMBERED) {
      const piece = bytes.subarray(done, done + MOST_NUMBERED)
      const wanted = numbered(this.#stream, this.at, piece.length)
      if (!piece.equals(wanted)) this.#explain(piece, wanted)
      this.at += piece.length
    }
  }

  #explain(piece: Buffer, wanted: Buffer): never {
    let wrong = 0
    while (piece[wrong] === wanted[wrong]) wrong++
    const bytes = piece.subarray(wrong, wrong + 16)
    const found = pattern.indexOf(bytes)
    const from =
      found === -1 ? 'nowhere in it' : `at byte ${(found + PERIOD - ((this.#stream * 7919) % PERIOD)) % PERIOD}`
    throw new Error(
      `stream ${this.#stream} is wrong from byte ${this.at + wrong} on (piece of ${piece.length} at ${this.at}): ` +
        `${bytes.toString('hex')} belongs ${from}`
    )
  }
}
