/** Thrown values: they may be anything, including objects that throw when they are inspected. */

import { inspect } from 'node:util'

/** A thrown value as text. Never throws. */
export function describeThrown(value: unknown): string {
  try {
    return inspect(value, { depth: 0, customInspect: false })
  } catch {
    return 'something that cannot be shown'
  }
}

/** A thrown value as an error whose name and message are text. Never throws. */
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
