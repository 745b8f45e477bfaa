/** A connection that is made again when it is lost. */

import type { CloseInfo } from './close_info.js'
import type { Connection, ConnectionEvents, SendState } from './connection.js'
import { IocpError } from './errors.js'
import { LazyEmitter } from './events.js'
import type { ReconnectPlan } from './settings.js'
import type { SendCallback } from './submission.js'
import type { Duration } from './validate.js'

/** Why a connection is about to be made again, and when. */
export interface RetryInfo {
  /** How many times in a row it has failed. */
  readonly failures: number
  /** Milliseconds until the next attempt. */
  readonly delay: number
  /** Why the last attempt failed, or the error that the last connection ended with, if any. */
  readonly error: Error | undefined
}

/** Events of connections that are passed on, one connection after the other. */
type Forwarded = Pick<ConnectionEvents, 'packet' | 'stream' | 'end' | 'drain' | 'drop' | 'frameError'>

/** Events of a connection that is made again when it is lost. */
export interface ReconnectingEvents extends Forwarded {
  /** Connected, the first time or again. */
  connect: [connection: Connection]
  /** A connection was lost. */
  disconnect: [info: CloseInfo, connection: Connection]
  /** The next attempt has been planned. */
  retry: [info: RetryInfo]
  /** It is over: by `end`, `destroy` or the signal (no error), or because it was given up. The last event. */
  close: [error: Error | undefined]
}

const forwarded = ['packet', 'stream', 'end', 'drain', 'drop', 'frameError'] as const

function isForwarded(event: string): event is keyof Forwarded {
  return (forwarded as readonly string[]).includes(event)
}

/**
 * The wait before an attempt, in milliseconds.
 * @param failures in a row, 1 or more
 * @param random from 0 to 1
 */
export function retryDelay(plan: ReconnectPlan, failures: number, random: number): number {
  const longest = Math.min(plan.maxDelay, plan.minDelay * plan.factor ** (failures - 1))
  return Math.round(longest * (1 - plan.jitter * random))
}

/**
 * A connection that is made again when it is lost, with pauses that grow. Made by `connect` with the option
 * `reconnect`. Each connection is a new one with an id of its own; what was queued in a lost one is lost.
 */
export class ReconnectingConnection extends LazyEmitter<ReconnectingEvents> {
  readonly #connect: () => Promise<Connection>
  readonly #plan: ReconnectPlan
  readonly #signal: AbortSignal | undefined
  #current: Connection | undefined
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  #lastDelay = 0
  /** When there was a connection last. */
  #connectedAt: number | undefined
  #state: 'open' | 'ending' | 'closed' = 'open'
  #error: Error | undefined
  /** Events of the present connection that are passed on. */
  readonly #forwarded = new Set<string>()

  /** @internal */
  constructor(connect: () => Promise<Connection>, plan: ReconnectPlan, signal: AbortSignal | undefined) {
    super()
    this.#connect = connect
    this.#plan = plan
    this.#signal = signal
  }

  /** The connection there is just now. */
  get connection(): Connection | undefined {
    return this.#current
  }

  /** Whether there is a connection. */
  get connected(): boolean {
    return this.#current !== undefined
  }

  /** Resolves when it is over, with the error for which it was given up, if any. Never rejects. */
  get closed(): Promise<Error | undefined> {
    if (this.#state === 'closed') return Promise.resolve(this.#error)
    return new Promise((resolve) => {
      this.once('close', resolve)
    })
  }

  /** Sends on the present connection, see {@link Connection.send}; `'closed'` while there is none. */
  send(data: Uint8Array | string, onSent?: SendCallback): SendState {
    if (this.#current !== undefined) return this.#current.send(data, onSent)
    if (onSent !== undefined) process.nextTick(onSent, 'closed')
    return 'closed'
  }

  /** Ends the present connection in order, and makes no other. */
  end(options?: { deadline?: Duration | undefined }): this {
    this.#current?.end(options)
    this.#finish()
    return this
  }

  /** Closes the present connection at once, and makes no other. */
  destroy(): this {
    this.#current?.destroy()
    this.#finish()
    return this
  }

  /** Ends it in order and waits until it is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
    await this.closed
  }

  /** @internal Resolves with the first connection. */
  _start(): Promise<this> {
    return new Promise((resolve, reject) => {
      const onConnect = (): void => {
        this.off('close', onClose)
        resolve(this)
      }
      const onClose = (error: Error | undefined): void => {
        reject(error ?? new IocpError('ERR_IOCP_CLOSED', 'Closed before the first connection'))
      }
      this.once('connect', onConnect)
      this.once('close', onClose)
      this.#signal?.addEventListener('abort', this.#onAbort, { once: true })
      this.#attempt()
    })
  }

  /** @internal The present connection's events are passed on only where somebody wants them. */
  override _listened(event: string): void {
    if (this.#current !== undefined && isForwarded(event)) this.#forward(this.#current, event)
  }

  readonly #onAbort = (): void => {
    // The first connection is waited for: then whoever waits gets the reason. Later it is just the end.
    this.#error = this.#connectedAt === undefined ? (this.#signal?.reason as Error) : undefined
    this.destroy()
  }

  readonly #attempt = (): void => {
    this.#timer = undefined
    this.#connect().then(
      (connection) => {
        this.#connected(connection)
      },
      (error: unknown) => {
        this.#lost(error as Error)
      }
    )
  }

  #connected(connection: Connection): void {
    if (this.#state !== 'open') {
      connection.destroy()
      this.#close()
      return
    }
    this.#current = connection
    const connectedAt = performance.now()
    this.#connectedAt = connectedAt
    connection.once('close', (info) => {
      this.#current = undefined
      const isWanted = this.#state === 'open' && info.cause !== 'local' && info.cause !== 'server-closing'
      try {
        this.emit('disconnect', info, connection)
      } finally {
        // A connection that held as long as the last wait counts as a success; one that broke at once does not.
        if (performance.now() - connectedAt >= this.#lastDelay) this.#failures = 0
        if (isWanted) this.#lost(info.error)
        else this.#close()
      }
    })
    this.#forwarded.clear()
    for (const event of forwarded) if (this.listenerCount(event) > 0) this.#forward(connection, event)
    this.emit('connect', connection)
  }

  #forward<K extends keyof Forwarded>(connection: Connection, event: K): void {
    if (this.#forwarded.has(event)) return
    this.#forwarded.add(event)
    connection.on(event, (...args: ConnectionEvents[K]) => {
      // Both maps have the same arguments for these events.
      this.emit(event, ...(args as unknown as ReconnectingEvents[K]))
    })
  }

  /** No connection: another attempt, unless there have been enough. */
  #lost(error: Error | undefined): void {
    this.#failures++
    if (this.#state !== 'open' || this.#failures >= this.#plan.attempts) {
      this.#error ??= error
      this.#close()
      return
    }
    const delay = retryDelay(this.#plan, this.#failures, Math.random())
    this.#lastDelay = delay
    this.#timer = setTimeout(this.#attempt, delay)
    this.emit('retry', { failures: this.#failures, delay, error })
  }

  /** It was asked to end. */
  #finish(): void {
    if (this.#state !== 'open') return
    this.#state = 'ending'
    if (this.#timer !== undefined && this.#current === undefined) {
      clearTimeout(this.#timer)
      this.#timer = undefined
      process.nextTick(() => {
        this.#close()
      })
    }
  }

  #close(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.emit('close', this.#error)
  }
}
