/** Connections that this program makes. */

import { requireWindows } from './binding.js'
import type { Connection } from './connection.js'
import { Endpoint, readDeadline, type CloseOptions, type EndpointEvents } from './endpoint.js'
import { IocpError } from './errors.js'
import { outside } from './events.js'
import { Host, type CloseReport } from './host.js'
import type { ClientOptions, ConnectOptions, ReconnectOptions } from './options.js'
import { knowing, readEngine, readProfile, readReconnect, readTarget, type Profile, type Target } from './settings.js'
import { readWorkers } from './workers_options.js'
import { race } from './racing.js'
import { ReconnectingConnection } from './reconnect.js'
import type { NativeEngineOptions } from './binding.js'

/**
 * Any number of connections that share one completion port and its threads. Made by {@link createClient}; programs
 * that need no more than `connect` have one without seeing it.
 */
export class Client extends Endpoint<EndpointEvents> {
  readonly #options: ClientOptions
  readonly #engine: NativeEngineOptions
  readonly #profile: Profile
  #closing: Promise<CloseReport> | undefined

  /** @internal */
  constructor(options: ClientOptions) {
    const reader = knowing(options, 'connection', 'engine')
    super(readWorkers(reader.raw('workers')))
    reader.done()
    this.#engine = readEngine(options)
    this.#profile = readProfile(options)
    this.#options = options
  }

  /**
   * Connects. A name's addresses are tried as RFC 8305 says: the families take turns, a slow one is not waited for.
   * Connection options that are not given are the client's.
   *
   * Packets that come before anybody listens are kept.
   *
   * @throws IocpError ERR_IOCP_INVALID_OPTION; by rejecting: ECONNREFUSED, ETIMEDOUT, ENOTFOUND and others of the
   *   system, IocpAttemptsError when several addresses failed, the signal's reason, ERR_IOCP_CLOSING
   */
  connect(options: ConnectOptions & { reconnect: true | ReconnectOptions }): Promise<ReconnectingConnection>
  connect(options: ConnectOptions & { reconnect?: false | undefined }): Promise<Connection>
  connect(options: ConnectOptions): Promise<Connection | ReconnectingConnection>
  connect(options: ConnectOptions): Promise<Connection | ReconnectingConnection> {
    const reader = knowing(options, 'connection', 'target')
    const plan = readReconnect(reader.raw('reconnect'))
    reader.done()
    const target = readTarget(options)
    const given = Object.entries(options).filter(([, value]) => value !== undefined)
    const profile = readProfile({ ...this.#options, ...Object.fromEntries(given) })
    const connect = (): Promise<Connection> => this.#connect(target, profile)
    return plan === undefined ? connect() : new ReconnectingConnection(connect, plan, target.signal)._start()
  }

  async #connect(target: Target, profile: Profile): Promise<Connection> {
    if (this.#closing !== undefined) throw new IocpError('ERR_IOCP_CLOSING', 'The client is closing')
    return await race(this.#open(), target, profile)
  }

  #open(): Host {
    if (this._host === undefined) {
      this._host = new Host(this, this.#engine, false)
      this._host.keepAlive(this._isReferenced)
      this._startWorkers(this._host, this.#profile)
      this._workers?._launch()
    }
    return this._host
  }

  override close(options?: CloseOptions): Promise<CloseReport> {
    const deadline = readDeadline(options)
    this._workers?._refuse()
    return (this.#closing ??= this.#close(deadline).finally(() => {
      this.#closing = undefined
    }))
  }

  async #close(deadline: number): Promise<CloseReport> {
    const host = this._host
    if (host === undefined) return { drained: 0, cut: 0 }
    const report = await this._stop(host, deadline)
    this._host = undefined
    outside(() => this.emit('close', report))
    return report
  }

  /** @internal */
  override _openForJob(): Host {
    if (this.#closing !== undefined) throw new IocpError('ERR_IOCP_CLOSING', 'The client is closing')
    return this.#open()
  }

  /** @internal */
  _opened(connection: Connection): void {
    this.emit('connection', connection)
  }

  /** @internal */
  _acceptFailed(error: Error): void {
    throw error
  }
}

/**
 * Makes a client: a completion port of its own for connections that this program makes. It opens with the first
 * `connect`.
 * @throws IocpError ERR_IOCP_INVALID_OPTION; ERR_IOCP_UNSUPPORTED_PLATFORM off Windows
 */
export function createClient(options: ClientOptions = {}): Client {
  const client = new Client(options)
  requireWindows()
  return client
}

let common: Client | undefined

/**
 * Connects, on a completion port that all such connections of this thread share. See {@link Client.connect}.
 * @throws as {@link Client.connect}; ERR_IOCP_UNSUPPORTED_PLATFORM off Windows
 */
export function connect(
  options: ConnectOptions & { reconnect: true | ReconnectOptions }
): Promise<ReconnectingConnection>
export function connect(options: ConnectOptions & { reconnect?: false | undefined }): Promise<Connection>
export function connect(options: ConnectOptions): Promise<Connection | ReconnectingConnection>
export function connect(options: ConnectOptions): Promise<Connection | ReconnectingConnection> {
  requireWindows()
  common ??= new Client({})
  return common.connect(options)
}
