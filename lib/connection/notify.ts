/**
 * Tells the program what happens to a connection: the connection's own listeners first, then those of the link that
 * makes it again when it is lost, then its server's or client's. Hot path.
 *
 * Every listener is called, also when one before it has thrown. What they throw is an ordinary uncaught exception or,
 * with the option `onHandlerError: 'close'`, the end of that connection alone.
 */

import { errorMonitor } from 'node:events'
import { inspect } from 'node:util'
import { type AnyEmitter, anyEmitter, runUncaught } from '../common/emitter.js'
import { errorCodes, IocpError } from '../common/errors.js'
import { nativeNextTick } from '../common/timers.js'
import type { StreamTeller } from '../packets/stream.js'
import type { CloseInfo } from './close_info.js'
import type { Connection } from './connection.js'
import type { ConnectionEvents } from './events.js'
import { extraOf, flag, SILENT } from './state.js'

/** Events during the life of a connection, each with at most one argument. */
export type LiveEvent = Exclude<keyof ConnectionEvents, 'close' | 'error' | 'handlerError'>

/** Events of a server or client about one connection that this does not have itself. */
type OwnerEvent = 'connection' | 'jobError'

/** Events of a link that are about one connection. */
type LinkEvent = 'connect' | 'disconnect'

/** Called first when a handler's promise rejects. @returns whether that is not a failure of the handler */
export type RejectionJudge = (error: unknown) => boolean

/**
 * Emits an event. The listeners of the server or client are not called if the connection was destroyed meanwhile.
 * @returns false if there is no listener
 */
export function tell<K extends LiveEvent>(
  connection: Connection,
  event: K,
  value?: ConnectionEvents[K][0],
  judge?: RejectionJudge
): boolean {
  if ((connection._flags & SILENT) !== 0) return true
  const own = anyEmitter(connection)
  const link = connection._extra?.link
  const owner = anyEmitter(connection._engine.owner)
  if (event === 'packet' && link === undefined && connection._profile.onHandlerError === 'throw') {
    // With one listener an exception cannot prevent the call of others. Its return value is ignored, to save time per
    // packet: no handler of a packet waits for the end of its connection.
    if (own.listenerCount(event) + owner.listenerCount(event) <= 1) {
      const isHeard = own.emit(event, value)
      if ((connection._flags & SILENT) !== 0) return true
      return owner.emit(event, value, connection) || isHeard
    }
  }
  return tellAll(connection, event, value === undefined ? [] : [value], judge)
}

function tellAll(connection: Connection, event: string, values: unknown[], judge: RejectionJudge | undefined): boolean {
  const thrown: unknown[] = []
  let isHeard = callAll(connection, anyEmitter(connection), event, values, thrown, judge)
  const link = connection._extra?.link
  if (link !== undefined && (connection._flags & SILENT) === 0) {
    isHeard = callAll(connection, anyEmitter(link), event, values, thrown, judge) || isHeard
  }
  if ((connection._flags & SILENT) === 0) {
    const args = [...values, connection]
    isHeard = callAll(connection, anyEmitter(connection._engine.owner), event, args, thrown, judge) || isHeard
  } else {
    isHeard = true
  }
  surface(connection, thrown)
  return isHeard
}

/** Calls all listeners of one emitter, and collects what they throw. False when there are none. */
function callAll(
  connection: Connection,
  emitter: AnyEmitter,
  event: string | symbol,
  args: unknown[],
  thrown: unknown[],
  judge?: RejectionJudge
): boolean {
  const listeners = emitter.rawListeners(event)
  for (const listener of listeners) {
    try {
      watch(connection, Reflect.apply(listener, emitter, args), judge)
    } catch (error) {
      thrown.push(error)
    }
  }
  return listeners.length > 0
}

/**
 * An asynchronous handler that fails later has failed too. But rejecting with the error that closed its connection, or
 * that failed the file it was offered, is not a failure of the handler: any peer can cause it.
 */
function watch(connection: Connection, result: unknown, judge?: RejectionJudge): void {
  if (typeof result !== 'object' || result === null) return
  if (connection._profile.onHandlerError === 'throw') {
    // A promise of the program's that is no Promise may do its work only when it is waited for.
    if (!(result instanceof Promise)) return
    result.then(undefined, (error: unknown) => {
      if (judge?.(error) === true || isOwnEnd(connection, error)) return
      throw error // an unhandled rejection, as the handler's own would be
    })
  } else if (typeof (result as PromiseLike<unknown>).then === 'function') {
    ;(result as PromiseLike<unknown>).then(undefined, (error: unknown) => {
      if (judge?.(error) !== true && !isOwnEnd(connection, error)) handlerFailed(connection, error)
    })
  }
}

/**
 * Whether this is the error that the connection, or the packet that it was just receiving as a stream, has ended with.
 */
function isOwnEnd({ _extra: extra }: Connection, error: unknown): boolean {
  if (extra === undefined || !(error instanceof IocpError)) return false
  return extra.streamError === error || (extra.info ?? extra.pending)?.error === error
}

/** A callback that gets a connection which was made: it is treated as a handler, but what it throws is an exception. */
export function callWith(connection: Connection, callback: (connection: Connection) => unknown): void {
  const result = callback(connection)
  if (connection._profile.onHandlerError === 'throw') watch(connection, result)
}

/** What handlers have thrown. */
function surface(connection: Connection, thrown: readonly unknown[]): void {
  if (thrown.length === 0) return
  if (connection._profile.onHandlerError === 'close') {
    for (const error of thrown) handlerFailed(connection, error)
  } else {
    throwAll(thrown)
  }
}

/** Throws the first one here, where the program sees what led to it, and the others in ticks of their own. */
export function throwAll(thrown: readonly unknown[]): void {
  if (thrown.length === 0) return
  const [first, ...others] = thrown
  for (const error of others) {
    nativeNextTick(() => {
      throw error
    })
  }
  throw first
}

/** Tells the server or client alone of what concerns one connection. */
export function tellOwner(connection: Connection, event: OwnerEvent, ...args: unknown[]): void {
  tellOne(connection, connection._engine.owner, event, args)
}

/** Tells the link that makes the connection again of its beginning or its end. */
export function tellLink(connection: Connection, event: LinkEvent, ...args: unknown[]): void {
  const link = connection._extra?.link
  if (link !== undefined) tellOne(connection, link, event, args)
}

function tellOne(connection: Connection, emitter: object, event: string, args: unknown[]): void {
  const thrown: unknown[] = []
  callAll(connection, anyEmitter(emitter), event, args, thrown)
  surface(connection, thrown)
}

/** How the listeners of a stream are called, where what they throw ends the connection. */
export function streamTeller(connection: Connection): StreamTeller | undefined {
  if (connection._profile.onHandlerError === 'throw') return undefined
  return (stream, event, args) => {
    const thrown: unknown[] = []
    const emitter = anyEmitter(stream)
    if (event === 'error') callAll(connection, emitter, errorMonitor, args, thrown)
    const isHeard = callAll(connection, emitter, event, args, thrown)
    surface(connection, thrown)
    return isHeard
  }
}

/**
 * Emits the end: 'error' if there was one and there is a listener, 'close', and 'disconnect' of the server or client.
 * After `destroy` and `reset` there is no 'error', whatever was about to close the connection when they were called.
 */
export function tellClosed(connection: Connection, info: CloseInfo): void {
  const thrown: unknown[] = []
  const own = anyEmitter(connection)
  const isFailure = !isDestroyedByProgram(connection, info)
  // Read only if needed: the error is created on first access.
  if (isFailure && own.listenerCount('error') + own.listenerCount(errorMonitor) > 0 && info.error !== undefined) {
    callAll(connection, own, errorMonitor, [info.error], thrown)
    callAll(connection, own, 'error', [info.error], thrown)
  }
  callAll(connection, own, 'close', [info], thrown)
  try {
    connection._extra?.link?._lostConnection(info, connection)
  } catch (error) {
    thrown.push(error)
  }
  callAll(connection, anyEmitter(connection._engine.owner), 'disconnect', [info, connection], thrown)
  surface(connection, thrown)
}

/** Not for a reason of this library's own: those have left their cause. */
function isDestroyedByProgram({ _flags: flags, _extra: extra }: Connection, info: CloseInfo): boolean {
  return (flags & flag.destroyed) !== 0 && extra?.cause === undefined && info.cause !== 'handler-error'
}

/** A callback of the program's about one connection, treated as a handler of an event is. */
export function guarded<A extends unknown[]>(
  connection: Connection,
  callback: (...args: A) => unknown
): (...args: A) => void {
  if (connection._profile.onHandlerError === 'throw') return callback
  return (...args) => {
    try {
      watch(connection, callback(...args))
    } catch (error) {
      handlerFailed(connection, error)
    }
  }
}

/** A handler has failed, and that closes its connection only. */
export function handlerFailed(connection: Connection, error: unknown): void {
  if ((connection._flags & SILENT) === 0) {
    const message = errorCodes.ERR_IOCP_HANDLER
    extraOf(connection).handlerError = new IocpError('ERR_IOCP_HANDLER', message, { cause: error })
    connection.destroy()
  }
  tellFailure(connection, error)
}

/** Its own listeners are called before 'close' only, which is their last event. */
function tellFailure(connection: Connection, error: unknown): void {
  const owner = connection._engine.owner
  const link = connection._extra?.link
  const listening: [emitter: object, ...args: unknown[]][] = [[owner, error, connection]]
  if ((connection._flags & flag.closed) === 0) {
    if (link !== undefined) listening.unshift([link, error])
    listening.unshift([connection, error])
  }
  let isHeard = false
  for (const [emitter, ...args] of listening) {
    for (const listener of anyEmitter(emitter).rawListeners('handlerError')) {
      isHeard = true
      // These handlers may fail too: then there is nothing left to report it to.
      runUncaught(() => Reflect.apply(listener, emitter, args))
    }
  }
  if (!isHeard) warn(error)
}

let hasWarned = false

/** Once, because a peer may be able to make a handler fail at any rate. */
function warn(error: unknown): void {
  if (hasWarned) return
  hasWarned = true
  process.emitWarning(
    `A handler failed, and there is no listener for 'handlerError' (reported once): ${inspect(error)}`,
    'IocpWarning'
  )
}
