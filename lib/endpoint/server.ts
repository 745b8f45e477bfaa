/** A TCP server on a completion port of its own. */

import { isIP } from 'node:net'
import { inspect } from 'node:util'
import { listenArguments, serverArguments } from '../common/arguments.js'
import { publishListening } from '../common/diagnostics.js'
import { runUncaught, tellError } from '../common/emitter.js'
import { IocpError, show } from '../common/errors.js'
import type { Connection } from '../connection/connection.js'
import { tellOwner } from '../connection/notify.js'
import { type CloseReport, Engine } from '../engine/engine.js'
import { resolveHost } from '../engine/resolve.js'
import type { SocketAddress } from '../native/addresses.js'
import { capture, type Context, within } from '../native/async_context.js'
import { requireWindows } from '../native/binding.js'
import { readRefused, type RefusedInfo, ServerAccess } from './access.js'
import { type CloseOptions, Endpoint, type EndpointEvents, readDeadline } from './endpoint.js'
import type { ListenOptions, ServerOptions } from './options.js'
import { MAX_CONNECTIONS, readListen, readServerOptions, type ServerSettings } from './read_options.js'

/** Events of a server. */
export interface ServerEvents<Data = unknown> extends EndpointEvents<Data> {
  /** `listen` has succeeded. */
  listening: []
  /** `listen` failed; it also rejects. Ignored if there is no listener. */
  error: [error: Error]
  /** A connection could not be accepted; the server continues. */
  acceptError: [error: Error]
  /** Peers were refused by `access` or `maxConnections`, at most once a second, all since the last time. */
  refused: [info: RefusedInfo]
}

/** The errors by which Windows reports that there is no IPv6. */
const NO_IPV6 = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EPROTONOSUPPORT', 'EINVAL'])

const TABLE_FULL =
  'More peers than access.tableSize allows for: some bans and rates were forgotten too early, or found no room. Raise it; stats().access.evictions counts them'

function warnOfAdmission(): void {
  process.emitWarning(
    "This system has no SO_CONDITIONAL_ACCEPT (admission: 'conditional'): peers are refused after the handshake",
    { type: 'IocpWarning', code: 'IOCP_NO_CONDITIONAL_ACCEPT' }
  )
}

/** A TCP server. Created by {@link createServer}. */
export class Server<Data = unknown> extends Endpoint<Data, ServerEvents<Data>> {
  readonly #settings: ServerSettings
  #address: SocketAddress | undefined
  #starting: Promise<SocketAddress> | undefined
  #closing: Promise<CloseReport> | undefined
  /** The table of access has been full. */
  #isWarned = false

  /** Who may connect; can be changed at any time. */
  readonly access: ServerAccess

  /** @internal */
  constructor(settings: ServerSettings) {
    super(settings.workers)
    this.#settings = settings
    const { byteRate, packetRate } = settings.profile.native
    const { access, maxConnections, proxyProtocol } = settings
    // Native code bans, and tells of those who are refused, only where there are rules.
    const bans = [byteRate, packetRate].some((rate) => rate?.onExceed === 'ban')
    this.access = new ServerAccess(access, bans || proxyProtocol !== undefined || maxConnections !== MAX_CONNECTIONS)
  }

  /** Whether the server accepts connections. */
  get listening(): boolean {
    return this.#address !== undefined
  }

  /** The address the server listens on; null if it does not listen. */
  address(): SocketAddress | null {
    return this.#address ?? null
  }

  /**
   * Starts to listen. It either succeeds completely or leaves nothing behind. After `close` a server can listen again.
   *
   * @param options.port 0 to 65535; with 0 (default) the system chooses
   * @param options.host address or name, of which the first address is used. Default `'::'`, which includes IPv4; if
   *   there is no IPv6, `'0.0.0.0'`
   * @param options.backlog connections that may wait to be accepted. 1 to 65535; default 4096
   * @param callback a listener for 'listening'
   * @returns the address the server listens on
   * @throws IocpError ERR_IOCP_INVALID_OPTION, ERR_SERVER_ALREADY_LISTEN; by rejecting: EADDRINUSE, EACCES,
   *   EADDRNOTAVAIL, ERR_IOCP_NO_ADDRESS, ERR_IOCP_CLOSING and others of the system
   */
  listen(options?: ListenOptions, callback?: () => void): Promise<SocketAddress>
  listen(callback: () => void): Promise<SocketAddress>
  listen(port: number | string, callback?: () => void): Promise<SocketAddress>
  listen(port: number | string, hostOrBacklog?: string | number, callback?: () => void): Promise<SocketAddress>
  listen(port: number | string, host?: string, backlog?: number, callback?: () => void): Promise<SocketAddress>
  listen(...given: unknown[]): Promise<SocketAddress> {
    const { options: chosen, callback } = listenArguments(given)
    const options = readListen(chosen)
    if (this.#starting !== undefined || this._engine !== undefined) {
      throw new IocpError('ERR_SERVER_ALREADY_LISTEN', 'The server is already listening, or has not finished closing')
    }
    const starting = this.#start(options, capture())
    this.#starting = starting
    if (callback !== undefined) {
      // Not called later by another attempt.
      this.once('listening', callback)
      starting.catch(() => this.off('listening', callback))
    }
    return starting
  }

  async #start(options: ReturnType<typeof readListen>, context: Context | undefined): Promise<SocketAddress> {
    let address: SocketAddress
    try {
      address = await this.#open(options, context)
    } catch (error) {
      const engine = this._engine
      this._engine = undefined
      if (engine !== undefined) await this._stop(engine, 0)
      this.#failed(error as Error)
      throw error
    }
    this.#starting = undefined
    this.#address = address
    this._workers?._launch()
    publishListening(this, address)
    runUncaught(() => this.emit('listening'))
    return address
  }

  #failed(error: Error): void {
    const starting = this.#starting
    // A listener may try again.
    this.#starting = undefined
    // With a listener for 'error', whenever it was added, the promise need not be handled too.
    if (this.listenerCount('error') > 0) starting?.catch(() => undefined)
    runUncaught(() => {
      tellError(this, error)
    })
  }

  async #open(
    { port, host, backlog, exclusive }: ReturnType<typeof readListen>,
    context: Context | undefined
  ): Promise<SocketAddress> {
    const { pendingAccepts, engine, maxConnections, onMax, profile, proxyProtocol: proxy } = this.#settings
    const conditional = this.#settings.admission === 'conditional'
    const addresses =
      host === undefined || host === '' ? ['::', '0.0.0.0'] : [(await resolveHost(host))[0]?.address ?? '']
    // Never in the tick of the call, so that listeners can be added.
    await Promise.resolve()
    if (this.#closing !== undefined) throw new IocpError('ERR_IOCP_CLOSING', 'The server was closed before it listened')
    const opened = new Engine(this, engine, true, context)
    this._engine = opened
    opened.keepAlive(this._isReferenced)
    this.access._start(opened.access)
    this._startWorkers(opened, profile)
    for (const [index, address] of addresses.entries()) {
      const family = isIP(address) === 6 ? 6 : 4
      const dualStack = address === '::'
      const options = {
        ...({ address, port, family, dualStack, exclusive, backlog } as const),
        ...{ pendingAccepts, maxConnections, onMax, conditional, proxy }
      }
      try {
        const listener = opened.listen(options, profile)
        if (conditional && opened.stats().listeners[listener]?.admission !== 'conditional') warnOfAdmission()
        return opened.listenerAddress(listener)
      } catch (error) {
        const isLast = index === addresses.length - 1
        if (isLast || !(error instanceof IocpError) || !NO_IPV6.has(error.code)) throw error
      }
    }
    throw new IocpError('ERR_IOCP_NO_ADDRESS', `The host name ${show(host ?? '')} has no address`)
  }

  override close(options?: CloseOptions): Promise<CloseReport> {
    const deadline = readDeadline(options)
    this._workers?._refuse()
    this._engine?.beginEnd()
    if (deadline === 0 && this.#closing === undefined) this._engine?.silence()
    return (this.#closing ??= this.#close(deadline))
  }

  async #close(deadline: number): Promise<CloseReport> {
    // A start in progress detects that the server closes, and fails.
    await Promise.resolve()
    await this.#starting?.catch(() => undefined)
    const engine = this._engine
    let report: CloseReport = { drained: 0, cut: 0 }
    this.#address = undefined
    try {
      if (engine !== undefined) report = await this._stop(engine, deadline)
    } finally {
      // Before 'close' is emitted: a listener may call listen again.
      this._engine = undefined
      this.#closing = undefined
    }
    if (engine !== undefined) {
      within(engine.context, () => {
        runUncaught(() => this.emit('close', report))
      })
    }
    return report
  }

  /** The output of console.log. */
  [inspect.custom](): unknown {
    const open = this.listening ? 'listening' : this.#starting === undefined ? 'closed' : 'starting'
    const state = this.#closing === undefined ? open : 'closing'
    return { server: state, address: this.address(), connections: this.connections.size }
  }

  /** @internal */
  override _openForJob(): Engine {
    throw new IocpError('ERR_IOCP_CLOSING', 'The server does not listen: its workers run jobs from listen() to close()')
  }

  /** @internal */
  _opened(connection: Connection): void {
    tellOwner(connection, 'connection', connection)
  }

  /** @internal */
  _acceptFailed(error: Error): void {
    this.emit('acceptError', error)
  }

  /** @internal */
  _ending(): void {
    this.access._stop()
  }

  /** @internal */
  _refused(counts: Uint8Array): void {
    const { info, evictions } = readRefused(counts)
    if (evictions > 0 && !this.#isWarned) {
      this.#isWarned = true
      process.emitWarning(TABLE_FULL, { type: 'IocpWarning', code: 'IOCP_ACCESS_TABLE_FULL' })
    }
    if (info.total > 0) this.emit('refused', info)
  }
}

/**
 * Creates a server. It does nothing until `listen` is called.
 * @typeParam Data type of `connection.data`
 * @param connectionListener a listener for 'connection'
 * @throws IocpError ERR_IOCP_INVALID_OPTION; ERR_IOCP_UNSUPPORTED_PLATFORM off Windows
 */
export function createServer<Data = unknown>(connectionListener: (connection: Connection<Data>) => void): Server<Data>
export function createServer<Data = unknown>(
  options?: ServerOptions,
  connectionListener?: (connection: Connection<Data>) => void
): Server<Data>
export function createServer(...given: unknown[]): Server {
  const { options, listener } = serverArguments(given)
  const settings = readServerOptions(options)
  requireWindows()
  const server = new Server(settings)
  if (listener !== undefined) server.on('connection', listener)
  return server
}
