/** How much the tests do: as much as fits into minutes, or with IOCP_LONG=1 (`npm run test:long`) into a night. */

export const isLong = process.env['IOCP_LONG'] === '1'

/** A size or count for the short run and one for the long run. */
export function load(short: number, long: number): number {
  return isLong ? long : short
}

/** Numbers that look like chance and are the same in each run. */
export function random(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761 + 1) >>> 0
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % below
  }
}
