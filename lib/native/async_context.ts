/**
 * AsyncLocalStorage: the context in which handlers run. Native code calls without any context, so that the context of
 * the first caller is neither kept nor applied to others. A connection's events run in the context of its `connect`, or
 * of the `listen` that accepted it; callbacks run in that of the call they were passed to.
 *
 * Until a storage is known to hold a value, all of this costs one test of a field.
 */

import { AsyncLocalStorage, AsyncResource, executionAsyncResource } from 'node:async_hooks'
import { binding } from './binding.js'

/** A context that can be restored. Its contents stay in memory as long as this does. */
export type Context = AsyncResource

/** Whether any storage is known to hold a value. */
export const contexts = { inUse: false }

const TYPE = 'IOCP'

/** The visible properties of an AsyncResource that depend on the context it was created in. */
interface Traces {
  /** Created without any context. */
  readonly empty: Context
  /** Its properties with a value. The property of an unused storage is undefined. */
  readonly plain: ReadonlySet<symbol>
  /**
   * The property that holds the values of all storages (Node 24 and later). Undefined if each storage adds a property
   * of its own (Node 22), so that values entered by `enterWith` stay on the resource.
   */
  readonly frame: symbol | undefined
}

let known: Traces | undefined

function valueOf(resource: AsyncResource, name: symbol): unknown {
  return (resource as unknown as Readonly<Record<symbol, unknown>>)[name]
}

/** Detects the behaviour of this Node by a storage of its own. */
function findTraces(): Traces {
  const { withoutContext } = binding()
  const make = (): AsyncResource => new AsyncResource(TYPE)
  const empty = withoutContext(make)
  const filled = withoutContext(() => {
    const storage = new AsyncLocalStorage<boolean>()
    try {
      return storage.run(true, make)
    } finally {
      storage.disable()
    }
  })
  const before = Object.getOwnPropertySymbols(empty)
  const plain = new Set(before.filter((name) => valueOf(empty, name) !== undefined))
  const marks = Object.getOwnPropertySymbols(filled).filter(
    (name) => valueOf(filled, name) !== undefined && valueOf(empty, name) === undefined
  )
  // A Node without visible properties: then storages are always considered in use, which costs a little and is correct.
  if (marks.length === 0) contexts.inUse = true
  return { empty, plain, frame: marks.find((name) => before.includes(name)) }
}

/** Whether the caller's context holds a value. Called for each batch, so it is cheap. */
function holdsSomething(): boolean {
  const { frame, plain } = (known ??= findTraces())
  if (frame !== undefined) return valueOf(new AsyncResource(TYPE), frame) !== undefined
  // The object that native code created for the batch has only the properties added by storages.
  if (Object.getOwnPropertySymbols(executionAsyncResource()).length === 0) return false
  const context = new AsyncResource(TYPE)
  return Object.getOwnPropertySymbols(context).some((name) => !plain.has(name) && valueOf(context, name) !== undefined)
}

/** Detects whether a storage is in use, if there may be one. */
export function notice(): void {
  if (!contexts.inUse && holdsSomething()) contexts.inUse = true
}

/** The caller's context; undefined while no storage is in use. */
export function capture(): Context | undefined {
  notice()
  return contexts.inUse ? new AsyncResource(TYPE) : undefined
}

/** A copy of a context, or an empty one. Values that handlers enter in it do not affect others. */
export function like(base: Context | undefined): Context {
  const { empty, frame } = (known ??= findTraces())
  const from = base ?? empty
  return frame === undefined ? from.runInAsyncScope(() => new AsyncResource(TYPE)) : from
}

/** Calls a function in a context, or without one. */
export function within<A extends unknown[], R>(context: Context | undefined, body: (...args: A) => R, ...args: A): R {
  return contexts.inUse ? like(context).runInAsyncScope(body, undefined, ...args) : body(...args)
}

/** The same callback, bound to the caller's context. */
export function bound<A extends unknown[], R>(callback: (...args: A) => R): (...args: A) => R {
  const context = capture()
  return context === undefined ? callback : (...args) => context.runInAsyncScope(callback, undefined, ...args)
}

/** Calls a function that creates objects which outlive the caller: threads, intervals. */
export function withoutContext<T>(body: () => T): T {
  return binding().withoutContext(body)
}
