/** In which context the events of a connection run: see native/async_context.ts. */

import { contexts, like } from '../native/async_context.js'
import type { Connection } from './connection.js'
import { extraOf } from './state.js'

/** Calls something in the context of a connection. */
export function withinConnection<A extends unknown[], R>(
  connection: Connection,
  body: (...args: A) => R,
  ...args: A
): R {
  if (!contexts.inUse) return body(...args)
  const extra = extraOf(connection)
  extra.context ??= like(connection._engine.context)
  return extra.context.runInAsyncScope(body, undefined, ...args)
}
