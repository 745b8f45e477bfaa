/** Exceptions that nobody catches. */

import { onTestFinished } from 'vitest'

/** Errors that reach the process, instead of ending it, until the test is over. */
export function catchUncaught(): unknown[] {
  const caught: unknown[] = []
  const before = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', (error) => caught.push(error))
  onTestFinished(() => {
    process.removeAllListeners('uncaughtException')
    for (const listener of before) process.on('uncaughtException', listener)
  })
  return caught
}
