/** Event emitters whose events have types. */

import { errorMonitor, EventEmitter } from 'node:events'
import { nativeNextTick } from './timers.js'

/** Names of events and the arguments that their listeners get. */
export type EventMap<E> = { [K in keyof E]: unknown[] }

/**
 * A listener for one of some events. It is the type of a method, so that an emitter with more specific event arguments
 * is assignable to one with less specific arguments.
 */
export type Listener<E extends EventMap<E>, K extends keyof E> = { call(...args: E[K]): void }['call']

/** The methods of Node's EventEmitter, for a fixed set of events. */
export interface Emitter<E extends EventMap<E>> {
  on<K extends keyof E>(event: K, listener: Listener<E, K>): this
  /** Node's symbol for observing errors without handling them. */
  on(event: typeof errorMonitor, listener: (error: Error) => void): this
  once<K extends keyof E>(event: K, listener: Listener<E, K>): this
  once(event: typeof errorMonitor, listener: (error: Error) => void): this
  off<K extends keyof E>(event: K, listener: Listener<E, K>): this
  off(event: typeof errorMonitor, listener: (error: Error) => void): this
  addListener<K extends keyof E>(event: K, listener: Listener<E, K>): this
  removeListener<K extends keyof E>(event: K, listener: Listener<E, K>): this
  removeAllListeners(event?: keyof E): this
  prependListener<K extends keyof E>(event: K, listener: Listener<E, K>): this
  prependOnceListener<K extends keyof E>(event: K, listener: Listener<E, K>): this
  emit<K extends keyof E>(event: K, ...args: E[K]): boolean
  listeners<K extends keyof E>(event: K): Listener<E, K>[]
  rawListeners<K extends keyof E>(event: K): Listener<E, K>[]
  listenerCount<K extends keyof E>(event: K, listener?: Listener<E, K>): number
  eventNames(): (string | symbol)[]
  setMaxListeners(n: number): this
  getMaxListeners(): number
}

/**
 * Runs listeners where the caller must continue: their exceptions become ordinary uncaught exceptions.
 */
export function runUncaught(body: () => unknown): void {
  try {
    body()
  } catch (error) {
    nativeNextTick(() => {
      throw error
    })
  }
}

/** Any emitter, whatever its events are. */
export interface AnyEmitter {
  emit(event: string | symbol, ...args: unknown[]): boolean
  listenerCount(event: string | symbol): number
  rawListeners(event: string | symbol): ((...args: unknown[]) => unknown)[]
}

/** An emitter without the types of its events. */
export function anyEmitter(emitter: object): AnyEmitter {
  return emitter as AnyEmitter
}

/** Emits an error if there is a listener, otherwise `errorMonitor`; without either it is ignored. */
export function tellError(emitter: object, error: Error): void {
  const any = anyEmitter(emitter)
  any.emit(any.listenerCount('error') > 0 ? 'error' : errorMonitor, error)
}

/** Calls a method of Node's EventEmitter on an object that need not have run its constructor. */
function addListener(emitter: LazyBase, method: 'on' | 'prependListener', event: string, listener: () => void): void {
  EventEmitter.prototype[method].call(emitter as unknown as EventEmitter, event, listener)
  emitter._listened(event)
}

/** The methods that add listeners: they call Node's own, and then report it. All others come from Node's prototype. */
class LazyBase {
  on(event: string, listener: () => void): this {
    addListener(this, 'on', event, listener)
    return this
  }

  addListener(event: string, listener: () => void): this {
    addListener(this, 'on', event, listener)
    return this
  }

  prependListener(event: string, listener: () => void): this {
    addListener(this, 'prependListener', event, listener)
    return this
  }

  /** @internal A listener was added. */
  _listened(_event: string): void {
    // Only some emitters need this.
  }
}

Object.setPrototypeOf(LazyBase.prototype, EventEmitter.prototype as object)

/**
 * Node's EventEmitter with typed events that allocates no state until a listener is added: Node's methods work on an
 * object whose constructor has not run, and create its fields with the first listener. This saves memory in each of
 * many idle connections (a test verifies it).
 */
export const LazyEmitter = LazyBase as unknown as new <E extends EventMap<E>>() => Emitter<E> & {
  /** @internal */
  _listened(event: string): void
}
