/** A connection that is made again when it is lost. */

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

/** Why a connection is about to be made again, and when. */
export interface RetryInfo {
  /** How many times in a row it has failed. */
  readonly failures: number
  /** Milliseconds until the next attempt. */
  readonly delay: number
  /** Why the last attempt failed, or the error that the last connection ended with, if any. */
  readonly error: Error | undefined
}

/** Events of connections that their link has too, one connection after the other. */
type Forwarded = Pick<ConnectionEvents, 'packet' | 'stream' | 'end' | 'drain' | 'drop' | 'frameError' | 'handlerError'>

/** Events of a connection that is made again when it is lost. */
export interface ReconnectingEvents<Data = unknown> extends Forwarded {
  /** Connected, the first time or again. */
  connect: [connection: Connection<Data>]
  /** A connection was lost. */
  disconnect: [info: CloseInfo, connection: Connection<Data>]
  /** The next attempt has been planned. */
  retry: [info: RetryInfo]
  /** It is over: by `end`, `destroy` or the signal (no error), or because it was given up. The last event. */
  close: [error: Error | undefined]
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
export class ReconnectingConnection<Data = unknown> extends LazyEmitter<ReconnectingEvents<Data>> {
  readonly #connect: (signal: AbortSignal) => Promise<Connection<Data>>
  readonly #plan: ReconnectPlan
  readonly #signal: AbortSignal | undefined
  readonly #context = capture()
  /** Breaks the attempt off that is under way. */
  readonly #breaker = new AbortController()
  #current: Connection<Data> | undefined
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  #lastDelay = 0
  /** When there was a connection last. */
  #connectedAt: number | undefined
  #state: 'open' | 'ending' | 'closed' = 'open'
  #error: Error | undefined
  /** Who waits for the first connection. */
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

  /** The connection there is just now. */
  get connection(): Connection<Data> | undefined {
    return this.#current
  }

  /** Whether there is a connection. */
  get connected(): boolean {
    return this.#current !== undefined
  }

  /** Resolves when it is over, with the error for which it was given up, if any. Never rejects. */
  get closed(): Promise<Error | undefined> {
    if (this.#state === 'closed') return Promise.resolve(this.#error)
    this.#closed ??= promised()
    return this.#closed.promise
  }

  /** Sends on the present connection, see {@link Connection.send}; `'closed'` while there is none. */
  send(data: Uint8Array | string, onSent?: SendCallback): SendState {
    if (this.#current !== undefined) return this.#current.send(data, onSent)
    if (onSent !== undefined) nativeNextTick(onSent, 'closed')
    return 'closed'
  }

  /**
   * Ends the present connection in order, and makes no other.
   * @param data a last packet for it
   * @throws as {@link Connection.end}
   */
  end(options?: EndOptions): this
  end(data: Uint8Array | string, options?: EndOptions): this
  end(...given: unknown[]): this {
    const { data, options, callback } = endArguments(given)
    if (callback !== undefined) throw invalidArgument('callback', callback, "left out: there is 'close', and closed")
    const deadline = readEndDeadline(options)
    if (data === undefined) this.#current?.end({ deadline })
    else this.#current?.end(data, { deadline })
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

  /** What console.log shows. */
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

  /** @internal The client closes, and with it the present connection. */
  _end(error: Error): void {
    if (this.#connectedAt === undefined) this.#error ??= error
    this.#finish()
  }

  /** @internal Somebody listens for packets: those that waited for it go out. */
  override _listened(event: string): void {
    this.#current?._listened(event)
  }

  readonly #onAbort = (): void => {
    if (this.#state !== 'open') return
    // The first connection is waited for: then whoever waits gets the reason. Later it is just the end.
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

  /** @internal Its present connection is over. */
  _lostConnection(info: CloseInfo, connection: Connection): void {
    this.#current = undefined
    this.#tellOf(connection, 'disconnect', info, connection)
    // A connection that held as long as the last wait counts as a success; one that broke at once does not.
    if (performance.now() - (this.#connectedAt ?? 0) >= this.#lastDelay) this.#failures = 0
    if (info.cause === 'local' || info.cause === 'server-closing') this.#close()
    else this.#lost(info.error)
  }

  /** What a listener throws changes nothing here, but for what it may do to the connection. */
  #tellOf(connection: Connection, event: 'connect' | 'disconnect', ...args: unknown[]): void {
    within(this.#context, () => {
      runUncaught(() => {
        tellLink(connection, event, ...args)
      })
    })
  }

  /** What a listener throws is an ordinary uncaught exception, and changes nothing here. */
  #tell<K extends keyof ReconnectingEvents>(event: K, ...args: ReconnectingEvents<Data>[K]): void {
    within(this.#context, () => {
      runUncaught(() => this.emit(event, ...args))
    })
  }

  /** No connection: another attempt, unless there have been enough, or this side has ended it. */
  #lost(error: Error | undefined): void {
    if (this.#state !== 'open') {
      this.#close()
      return
    }
    this.#failures++
    if (this.#failures >= this.#plan.attempts) {
      this.#error = error
      this.#close()
      return
    }
    const delay = retryDelay(this.#plan, this.#failures, Math.random())
    this.#lastDelay = delay
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
    // It may have ended this.
    if (this.#timer !== undefined) this.#tell('retry', info)
  }

  /** It was asked to end. */
  #finish(): void {
    if (this.#state !== 'open') return
    this.#state = 'ending'
    clearTimeout(this.#timer)
    this.#timer = undefined
    // Its own end is the end of all.
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
