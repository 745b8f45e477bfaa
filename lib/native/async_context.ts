/**
 * AsyncLocalStorage: in which context handlers run. Native code calls without any, so that nothing of the first caller is
 * kept and nobody's context becomes everybody's. A connection's events run in the context of its `connect`, or of the
 * `listen` that accepted it; callbacks run in that of the call that they were given to.
 *
 * Nothing of this costs more than a look at a field until some storage is seen to hold something.
 */

import { AsyncLocalStorage, AsyncResource, executionAsyncResource } from 'node:async_hooks'
import { binding } from './binding.js'

/** A context that somebody may want back. What it holds stays in memory as long as this does. */
export type Context = AsyncResource

/** Whether any storage has been seen to hold something. */
export const contexts = { inUse: false }

const TYPE = 'IOCP'

/** What an AsyncResource shows of the context that it was made in. */
interface Traces {
  /** Made without any context. */
  readonly empty: Context
  /** Its properties that hold something. One of a storage that is there, but not used, holds undefined. */
  readonly plain: ReadonlySet<symbol>
  /**
   * The property that holds all storages' values together (Node 24 and later). Undefined where each storage adds a
   * property of its own (Node 22), and where what `enterWith` enters therefore stays on the resource.
   */
  readonly frame: symbol | undefined
}

let known: Traces | undefined

function valueOf(resource: AsyncResource, name: symbol): unknown {
  return (resource as unknown as Readonly<Record<symbol, unknown>>)[name]
}

/** Finds out by a storage of its own how this Node does it. */
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
  // A Node that shows nothing: then it is always taken for in use, which costs a little and is right.
  if (marks.length === 0) contexts.inUse = true
  return { empty, plain, frame: marks.find((name) => before.includes(name)) }
}

/** Whether the caller's context holds something. Asked for each batch, so cheap for a handler of one. */
function holdsSomething(): boolean {
  const { frame, plain } = (known ??= findTraces())
  if (frame !== undefined) return valueOf(new AsyncResource(TYPE), frame) !== undefined
  // The object that native code has made for the batch has nothing but what storages have put there.
  if (Object.getOwnPropertySymbols(executionAsyncResource()).length === 0) return false
  const context = new AsyncResource(TYPE)
  return Object.getOwnPropertySymbols(context).some((name) => !plain.has(name) && valueOf(context, name) !== undefined)
}

/** Finds out whether a storage is in use, where one may be. */
export function notice(): void {
  if (!contexts.inUse && holdsSomething()) contexts.inUse = true
}

/** The caller's context; undefined while no storage is in use. */
export function capture(): Context | undefined {
  notice()
  return contexts.inUse ? new AsyncResource(TYPE) : undefined
}

/** A context like another one, or an empty one. What handlers enter in it reaches no other. */
export function like(base: Context | undefined): Context {
  const { empty, frame } = (known ??= findTraces())
  const from = base ?? empty
  return frame === undefined ? from.runInAsyncScope(() => new AsyncResource(TYPE)) : from
}

/** Calls something in a context, or in none. */
export function within<A extends unknown[], R>(context: Context | undefined, body: (...args: A) => R, ...args: A): R {
  return contexts.inUse ? like(context).runInAsyncScope(body, undefined, ...args) : body(...args)
}

/** The same callback, but it runs in the caller's context, whoever calls it. */
export function bound<A extends unknown[], R>(callback: (...args: A) => R): (...args: A) => R {
  const context = capture()
  return context === undefined ? callback : (...args) => context.runInAsyncScope(callback, undefined, ...args)
}

/** Calls something that makes what outlives its caller: threads, intervals. */
export function withoutContext<T>(body: () => T): T {
  return binding().withoutContext(body)
}
