/** Waiting: for a time, or for something to be so. */

import { setTimeout as pause } from 'node:timers/promises'

export { pause }

/** Waits until something is so, at most `limit` milliseconds; the error says what has not come. */
export function until(isSo: () => boolean): Promise<void>
export function until(what: string, isSo: () => boolean, limit?: number): Promise<void>
export async function until(
  first: string | (() => boolean),
  isSo = first as () => boolean,
  limit = 25_000
): Promise<void> {
  const end = performance.now() + limit
  // Often it is so in the next millisecond; looking costs something too, and others wait for the processor.
  for (let turn = 1; !isSo(); turn++) {
    if (performance.now() > end) throw new Error(`waited ${limit} ms in vain until ${String(first)}`)
    await pause(Math.min(turn, 10))
  }
}

/** A promise that never settles. */
export function never(): Promise<never> {
  return new Promise(() => {
    // Nothing happens.
  })
}
