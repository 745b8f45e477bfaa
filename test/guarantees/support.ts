/** Many at once, and what becomes of them. */

import type net from 'node:net'
import { onTestFinished } from 'vitest'

/** What was thrown, for where an error is wanted. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}

/** Writes as Node's sockets want it: no further while they say stop. */
export async function write(socket: net.Socket, bytes: Uint8Array): Promise<void> {
  if (!socket.write(bytes) && !socket.destroyed) {
    await new Promise<void>((resolve) => {
      const go = (): void => {
        socket.off('drain', go).off('close', go)
        resolve()
      }
      socket.on('drain', go).on('close', go)
    })
  }
}

/** Opens many at once, but not all at the same moment. */
export async function many<T>(count: number, make: (index: number) => Promise<T>, together = 50): Promise<T[]> {
  const made: T[] = []
  while (made.length < count) {
    const from = made.length
    const size = Math.min(together, count - from)
    made.push(...(await Promise.all(Array.from({ length: size }, (_, index) => make(from + index)))))
  }
  return made
}

/** The smallest and the largest value that something takes while a test goes on. */
export class Watch {
  least = Number.POSITIVE_INFINITY
  most = Number.NEGATIVE_INFINITY
  readonly #timer: NodeJS.Timeout

  constructor(sample: () => number, every = 5) {
    const look = (): void => {
      this.add(sample())
    }
    look()
    this.#timer = setInterval(look, every)
    onTestFinished(() => {
      this.stop()
    })
  }

  add(value: number): void {
    this.least = Math.min(this.least, value)
    this.most = Math.max(this.most, value)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
