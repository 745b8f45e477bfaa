/** A connection that is established again when it is lost. */

import { inspect } from 'node:util'
import { endArguments } from '../common/arguments.js'
import { type Promised, promised } from '../common/deferred.js'
import { LazyEmitter, runUncaught } from '../common/emitter.js'
import { invalidArgument, IocpError } from '../common/errors.js'
import { nativeNextTick } from '../common/timers.js'
import type { CloseInfo } from '../connection/close_info.js'
import type { Connection } from '../connection/connection.js'
import type { ConnectionEvents, SendState } from '../connection/events.js'
import { tellLink } from '../connection/notify.js'
import { type EndOptions, readEndDeadline } from '../connection/options.js'
import { extraOf } from '../connection/state.js'
import { capture, within } from '../native/async_context.js'
import type { SendCallback } from '../native/submission.js'
import type { ReconnectPlan } from './read_options.js'

/** Why and when the next attempt is made. */
export interface RetryInfo {
  /** Failures in a row. */
  readonly failures: number
  /** Milliseconds until the next attempt. */
  readonly delay: number
  /** Why the last attempt failed, or the error that the last connection ended with, if any. */
  readonly error: Error | undefined
}

/** Events of connections that their link has too, one connection after the other. */
type Forwarded = Pick<
  ConnectionEvents,
  'packet' | 'stream' | 'end' | 'idle' | 'drain' | 'drop' | 'frameError' | 'handlerError'
>

/** Events of a connection that is established again when it is lost. */
export interface ReconnectingEvents<Data = unknown> extends Forwarded {
  /** Connected, the first time or again. */
  connect: [connection: Connection<Data>]
  /** A connection was lost. */
  disconnect: [info: CloseInfo, connection: Connection<Data>]
  /** The next attempt is scheduled. */
  retry: [info: RetryInfo]
  /** Reconnecting has stopped: by `end`, `destroy` or the signal (no error), or because it gave up. The last event. */
  close: [error: Error | undefined]
}

/**
 * The longest delay before an attempt, in milliseconds.
 * @param failures in a row, 1 or more
 */
export function longestDelay(plan: ReconnectPlan, failures: number): number {
  return Math.min(plan.maxDelay, plan.minDelay * plan.factor ** (failures - 1))
}

/**
 * The delay before an attempt, in milliseconds.
 * @param failures in a row, 1 or more
 * @param random from 0 to 1
 */
export function retryDelay(plan: ReconnectPlan, failures: number, random: number): number {
  return Math.round(longestDelay(plan, failures) * (1 - plan.jitter * random))
}

/**
 * A connection that is established again when it is lost, with increasing delays. Created by `connect` with the option
 * `reconnect`. Each connection is a new one with its own id; data that was queued in a lost connection is lost.
 */
export class ReconnectingConnection<Data = unknown> extends LazyEmitter<ReconnectingEvents<Data>> {
  readonly #connect: (signal: AbortSignal) => Promise<Connection<Data>>
  readonly #plan: ReconnectPlan
  readonly #signal: AbortSignal | undefined
  readonly #context = capture()
  /** Aborts the attempt in progress. */
  readonly #breaker = new AbortController()
  #current: Connection<Data> | undefined
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  /** How long the next connection has to last to count as a success: the last delay as it is without its random part. */
  #leastLife = 0
  /** When the last connection was established. */
  #connectedAt: number | undefined
  #state: 'open' | 'ending' | 'closed' = 'open'
  #error: Error | undefined
  /** The promise of the first connection. */
  #starter: { keep: () => void; break: (error: Error) => void } | undefined
  #closed: Promised<Error | undefined> | undefined

  /** @internal */
  constructor(
    connect: (signal: AbortSignal) => Promise<Connection<Data>>,
    plan: ReconnectPlan,
    signal: AbortSignal | undefined
  ) {
    super()
    this.#connect = connect
    this.#plan = plan
    this.#signal = signal
  }

  /** The current connection; undefined if there is none. */
  get connection(): Connection<Data> | undefined {
    return this.#current
  }

  /** Whether there is a connection, and neither side has begun to end it. */
  get connected(): boolean {
    return this.#current?.state === 'open'
  }

  /** Resolves when reconnecting has stopped, with the error if it gave up. Never rejects. */
  get closed(): Promise<Error | undefined> {
    if (this.#state === 'closed') return Promise.resolve(this.#error)
    this.#closed ??= promised()
    return this.#closed.promise
  }

  /** Sends on the current connection, see {@link Connection.send}; returns `'closed'` if there is none. */
  send(data: Uint8Array | string, onSent?: SendCallback): SendState {
    if (this.#current !== undefined) return this.#current.send(data, onSent)
    if (onSent !== undefined) nativeNextTick(onSent, 'closed')
    return 'closed'
  }

  /**
   * Ends the current connection gracefully, and stops reconnecting.
   * @param data a last packet
   * @throws as {@link Connection.end}
   */
  end(options?: EndOptions): this
  end(data: Uint8Array | string, options?: EndOptions): this
  end(...given: unknown[]): this {
    const { data, options, callback } = endArguments(given)
    if (callback !== undefined) throw invalidArgument('callback', callback, "omitted; use 'close' or closed")
    const deadline = readEndDeadline(options)
    if (data === undefined) this.#current?.end({ deadline })
    else this.#current?.end(data, { deadline })
    this.#finish()
    return this
  }

  /** Closes the current connection immediately, and stops reconnecting. */
  destroy(): this {
    this.#current?.destroy()
    this.#finish()
    return this
  }

  /** Ends it gracefully and waits until it has closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
    await this.closed
  }

  /** The output of console.log. */
  [inspect.custom](): unknown {
    return { link: this.#state, failures: this.#failures, connection: this.#current }
  }

  /** @internal Resolves with the first connection. */
  _start(): Promise<this> {
    return new Promise((resolve, reject) => {
      if (this.#signal?.aborted === true) {
        this.#state = 'closed'
        reject(this.#signal.reason as Error)
        return
      }
      const keep = (): void => {
        resolve(this)
      }
      this.#starter = { keep, break: reject }
      this.#signal?.addEventListener('abort', this.#onAbort, { once: true })
      this.#attempt()
    })
  }

  /** @internal The client closes, and with it the current connection. */
  _end(error: Error): void {
    if (this.#connectedAt === undefined) this.#error ??= error
    this.#finish()
  }

  /** @internal A listener for packets was added: waiting packets are delivered. */
  override _listened(event: string): void {
    this.#current?._listened(event)
  }

  readonly #onAbort = (): void => {
    if (this.#state !== 'open') return
    // While the first connection is awaited, its promise rejects with the reason. Later reconnecting just stops.
    this.#error = this.#connectedAt === undefined ? (this.#signal?.reason as Error) : undefined
    this.destroy()
  }

  readonly #attempt = (): void => {
    this.#timer = undefined
    this.#connect(this.#breaker.signal).then(
      (connection) => {
        this.#connected(connection)
      },
      (error: unknown) => {
        this.#lost(error as Error)
      }
    )
  }

  #connected(connection: Connection<Data>): void {
    if (this.#state !== 'open') {
      connection.destroy()
      return
    }
    this.#current = connection
    this.#connectedAt = performance.now()
    extraOf(connection).link = this
    this.#tellOf(connection, 'connect', connection)
    this.#starter?.keep()
    this.#starter = undefined
  }

  /** @internal Its current connection has closed. */
  _lostConnection(info: CloseInfo, connection: Connection): void {
    this.#current = undefined
    this.#tellOf(connection, 'disconnect', info, connection)
    // A connection that lasted as long as the delay before it counts as a success; one that was lost immediately does
    // not, also where chance has made that delay short.
    if (performance.now() - (this.#connectedAt ?? 0) >= this.#leastLife) this.#failures = 0
    if (info.cause === 'local' || info.cause === 'server-closing') this.#close()
    else this.#lost(info.error, info.cause)
  }

  /** An exception of a listener does not affect the link, except by its effect on the connection. */
  #tellOf(connection: Connection, event: 'connect' | 'disconnect', ...args: unknown[]): void {
    within(this.#context, () => {
      runUncaught(() => {
        tellLink(connection, event, ...args)
      })
    })
  }

  /** An exception of a listener is an ordinary uncaught exception, and does not affect the link. */
  #tell<K extends keyof ReconnectingEvents>(event: K, ...args: ReconnectingEvents<Data>[K]): void {
    within(this.#context, () => {
      runUncaught(() => this.emit(event, ...args))
    })
  }

  /** No connection: schedules another attempt, unless the limit is reached, or this side has ended it. */
  #lost(error: Error | undefined, cause?: CloseInfo['cause']): void {
    if (this.#state !== 'open') {
      this.#close()
      return
    }
    this.#failures++
    if (this.#failures >= this.#plan.maxAttempts) {
      this.#error = error ?? gaveUp(this.#failures, cause)
      this.#close()
      return
    }
    const delay = retryDelay(this.#plan, this.#failures, Math.random())
    this.#leastLife = longestDelay(this.#plan, this.#failures)
    this.#timer = setTimeout(this.#attempt, delay)
    const info = { failures: this.#failures, delay, error }
    this.#tellRetry(info)
  }

  #tellRetry(info: RetryInfo): void {
    const { onRetry } = this.#plan
    if (onRetry !== undefined) {
      within(this.#context, () => {
        runUncaught(() => {
          onRetry(info, this)
        })
      })
    }
    // A listener may have ended the link.
    if (this.#timer !== undefined) this.#tell('retry', info)
  }

  /** It was asked to end. */
  #finish(): void {
    if (this.#state !== 'open') return
    this.#state = 'ending'
    clearTimeout(this.#timer)
    this.#timer = undefined
    // The end of its connection ends the link.
    if (this.#current !== undefined) return
    this.#breaker.abort()
    nativeNextTick(() => {
      this.#close()
    })
  }

  #close(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#starter?.break(this.#error ?? new IocpError('ERR_IOCP_CLOSED', 'Closed before the first connection'))
    this.#starter = undefined
    this.#closed?.resolve(this.#error)
    this.#tell('close', this.#error)
  }
}

/** A connection may end without an error, as when a peer accepts it and ends it at once. Giving up is an error always. */
function gaveUp(failures: number, cause: CloseInfo['cause'] | undefined): IocpError {
  const last =
    cause === 'peer-end' ? 'the peer ended the last connection' : `the last connection: '${cause ?? 'failed'}'`
  return new IocpError('ERR_IOCP_GAVE_UP', `Gave up after ${failures} failures in a row; ${last}`)
}
