/** Outgoing connections. */

import { inspect } from 'node:util'
import { connectArguments } from '../common/arguments.js'
import { runUncaught } from '../common/emitter.js'
import { IocpError } from '../common/errors.js'
import { Connection } from '../connection/connection.js'
import { callWith, tellOwner } from '../connection/notify.js'
import type { Profile } from '../connection/profile.js'
import type { Target } from '../engine/connect_target.js'
import { type CloseReport, Engine } from '../engine/engine.js'
import { race } from '../engine/happy_eyeballs.js'
import { requireWindows } from '../native/binding.js'
import type { NativeEngineOptions } from '../native/types.js'
import { type CloseOptions, Endpoint, type EndpointEvents, readDeadline } from './endpoint.js'
import type { ClientOptions, ConnectOptions, ReconnectOptions } from './options.js'
import {
  type ConnectionSettings,
  profileOf,
  readClientOptions,
  readConnection,
  readerFor,
  readReconnect,
  readTarget
} from './read_options.js'
import { ReconnectingConnection } from './reconnecting.js'

/**
 * Outgoing connections that share one completion port and its threads. Created by {@link createClient}; the function
 * `connect` uses one internally.
 */
export class Client<Data = unknown> extends Endpoint<Data, EndpointEvents<Data>> {
  readonly #connection: ConnectionSettings
  readonly #engine: NativeEngineOptions
  readonly #profile: Profile
  readonly #links = new Set<ReconnectingConnection<Data>>()
  #closing: Promise<CloseReport> | undefined

  /** @internal */
  constructor(options: ClientOptions) {
    const { engine, connection, workers } = readClientOptions(options)
    super(workers)
    this.#engine = engine
    this.#connection = connection
    this.#profile = profileOf(connection)
  }

  /**
   * Connects. The addresses of a name are tried according to RFC 8305: alternating between the families, without
   * waiting for a slow one. Connection options default to those of the client; one that is given replaces the whole of the
   * client's, such as all of its `timeouts`.
   *
   * Packets that arrive before a listener is added are kept.
   *
   * @param listener called with the connection once it is established
   * @throws IocpError ERR_IOCP_INVALID_OPTION; by rejecting: ECONNREFUSED, ETIMEDOUT, ENOTFOUND and others of the
   *   system, IocpAttemptsError when several addresses failed, the signal's reason, ERR_IOCP_CLOSING
   */
  connect(port: number | string, listener: (connection: Connection<Data>) => void): Promise<Connection<Data>>
  connect(
    port: number | string,
    host?: string,
    listener?: (connection: Connection<Data>) => void
  ): Promise<Connection<Data>>
  connect(
    options: ConnectOptions & { reconnect: true | ReconnectOptions },
    listener?: (link: ReconnectingConnection<Data>) => void
  ): Promise<ReconnectingConnection<Data>>
  connect(
    options: ConnectOptions & { reconnect?: false | undefined },
    listener?: (connection: Connection<Data>) => void
  ): Promise<Connection<Data>>
  connect(options: ConnectOptions): Promise<Connection<Data> | ReconnectingConnection<Data>>
  connect(...given: unknown[]): Promise<Connection<Data> | ReconnectingConnection<Data>> {
    const { options, listener } = connectArguments(given)
    const connecting = this.#begin(options)
    if (listener !== undefined) {
      connecting.then(
        (connection) => {
          runUncaught(() => {
            if (connection instanceof Connection) callWith(connection, listener as (connection: Connection) => unknown)
            else (listener as (link: ReconnectingConnection<Data>) => void)(connection)
          })
        },
        () => undefined
      )
    }
    return connecting
  }

  #begin(options: unknown): Promise<Connection<Data> | ReconnectingConnection<Data>> {
    const reader = readerFor(options, 'connection', 'target')
    const plan = readReconnect(reader.raw('reconnect'))
    reader.rejectUnknown()
    const target = readTarget(options)
    const profile = profileOf(readConnection(options, this.#connection))
    if (plan === undefined) return this.#connect(target, profile)
    const connect = (signal: AbortSignal): Promise<Connection<Data>> => this.#connect({ ...target, signal }, profile)
    const link = new ReconnectingConnection<Data>(connect, plan, target.signal)
    this.#links.add(link)
    link.once('close', () => this.#links.delete(link))
    return link._start()
  }

  async #connect(target: Target, profile: Profile): Promise<Connection<Data>> {
    if (this.#closing !== undefined) throw closingError()
    return (await race(this.#open(), target, profile)) as Connection<Data>
  }

  #open(): Engine {
    if (this._engine === undefined) {
      this._engine = new Engine(this, this.#engine, false)
      this._engine.keepAlive(this._isReferenced)
      this._startWorkers(this._engine, this.#profile)
      this._workers?._launch()
    }
    return this._engine
  }

  override close(options?: CloseOptions): Promise<CloseReport> {
    const deadline = readDeadline(options)
    this._workers?._refuse()
    for (const link of this.#links) link._end(closingError())
    const engine = this._engine
    if (engine === undefined) return Promise.resolve({ drained: 0, cut: 0 })
    engine.beginEnd()
    if (deadline === 0 && this.#closing === undefined) engine.silence()
    return (this.#closing ??= this.#close(engine, deadline))
  }

  async #close(engine: Engine, deadline: number): Promise<CloseReport> {
    let report: CloseReport
    try {
      report = await this._stop(engine, deadline)
    } finally {
      // Before 'close' is emitted: a listener may connect again.
      this._engine = undefined
      this.#closing = undefined
    }
    runUncaught(() => this.emit('close', report))
    return report
  }

  /** The output of console.log. */
  [inspect.custom](): unknown {
    const state = this.#closing !== undefined ? 'closing' : this._engine !== undefined ? 'open' : 'closed'
    return { client: state, connections: this.connections.size }
  }

  /** @internal */
  override _openForJob(): Engine {
    if (this.#closing !== undefined) throw closingError()
    return this.#open()
  }

  /** @internal */
  _opened(connection: Connection): void {
    tellOwner(connection, 'connection', connection)
  }

  /** @internal */
  _acceptFailed(error: Error): void {
    throw error
  }

  /** @internal */
  _ending(): void {}

  /** @internal A client listens to nobody. */
  _refused(): void {}
}

function closingError(): IocpError {
  return new IocpError('ERR_IOCP_CLOSING', 'The client is closing')
}

/**
 * Creates a client: a completion port of its own for outgoing connections. It opens with the first `connect`.
 * @throws IocpError ERR_IOCP_INVALID_OPTION; ERR_IOCP_UNSUPPORTED_PLATFORM off Windows
 */
export function createClient<Data = unknown>(options: ClientOptions = {}): Client<Data> {
  const client = new Client<Data>(options)
  requireWindows()
  return client
}

let common: Client | undefined

/**
 * Connects, using a completion port shared by all such connections of this thread. See {@link Client.connect}.
 * @throws as {@link Client.connect}; ERR_IOCP_UNSUPPORTED_PLATFORM off Windows
 */
export function connect<Data = unknown>(
  port: number | string,
  listener: (connection: Connection<Data>) => void
): Promise<Connection<Data>>
export function connect<Data = unknown>(
  port: number | string,
  host?: string,
  listener?: (connection: Connection<Data>) => void
): Promise<Connection<Data>>
export function connect<Data = unknown>(
  options: ConnectOptions & { reconnect: true | ReconnectOptions },
  listener?: (link: ReconnectingConnection<Data>) => void
): Promise<ReconnectingConnection<Data>>
export function connect<Data = unknown>(
  options: ConnectOptions & { reconnect?: false | undefined },
  listener?: (connection: Connection<Data>) => void
): Promise<Connection<Data>>
export function connect<Data = unknown>(
  options: ConnectOptions
): Promise<Connection<Data> | ReconnectingConnection<Data>>
export function connect(...given: unknown[]): Promise<Connection | ReconnectingConnection> {
  requireWindows()
  common ??= new Client({})
  // Every form of it is one of the method's too.
  return common.connect(...(given as [ConnectOptions]))
}
