/** What was thrown: it may be anything, also something that does not let itself be looked at. */

import { inspect } from 'node:util'

/** A thrown value as text. Does not throw, whatever it is. */
export function describeThrown(value: unknown): string {
  try {
    return inspect(value, { depth: 0, customInspect: false })
  } catch {
    return 'something that cannot be shown'
  }
}

/** A thrown value as an error whose name and message are text. Does not throw, whatever it is. */
export function toError(value: unknown): Error {
  try {
    if (value instanceof Error) {
      const { name, message }: { name: unknown; message: unknown } = value
      if (typeof name === 'string' && typeof message === 'string') return value
    }
  } catch {
    // Described below.
  }
  return new Error(describeThrown(value), { cause: value })
}
