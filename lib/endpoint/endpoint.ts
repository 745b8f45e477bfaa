/** The common base of servers and clients. */

import { publishStats } from '../common/diagnostics.js'
import { type Emitter, type EventMap, LazyEmitter } from '../common/emitter.js'
import { errorCodes, invalidArgument, invalidOption, IocpError } from '../common/errors.js'
import { type Duration, MAX_DURATION, OptionReader } from '../common/option_reader.js'
import type { Path } from '../common/paths.js'
import { Connection } from '../connection/connection.js'
import { withinConnection } from '../connection/context.js'
import type { ConnectionOwnerEvents } from '../connection/events.js'
import type { SendFileOptions } from '../connection/file_types.js'
import { tellOwner } from '../connection/notify.js'
import type { Profile } from '../connection/profile.js'
import { holdReason } from '../connection/receive_queue.js'
import { type CloseReport, type Engine, whichConnection } from '../engine/engine.js'
import type { WorkersSettings } from '../jobs/options.js'
import type { WorkerExitInfo } from '../jobs/worker_pool.js'
import { JobClient, type Workers } from '../jobs/workers.js'
import { within } from '../native/async_context.js'
import type { EndpointStats } from '../native/stats.js'
import { checkBytes } from '../packets/send_rules.js'
import { broadcastFile, type BroadcastFileResult } from '../transfer/outgoing_file.js'
import { broadcast, type BroadcastResult } from './broadcast.js'

/** Events of a server or client. The last argument of connection events is the connection. */
export interface EndpointEvents<Data = unknown> extends ConnectionOwnerEvents<Data>, WorkerEvents<Data> {
  /** A connection was accepted or made. */
  connection: [connection: Connection<Data>]
  /** Everything has ended: all connections, all threads. */
  close: [report: CloseReport]
}

/** Events of servers and clients that have workers. */
export interface WorkerEvents<Data = unknown> {
  /**
   * The job of a routed packet failed: its handler threw, it took too long, its worker ended, or too many were waiting.
   * The connection continues; it is undefined if it has closed. Jobs added by `run` report failures by their promise
   * only.
   */
  jobError: [error: unknown, connection: Connection<Data> | undefined]
  /** A worker ended unexpectedly; another one replaces it. */
  workerExit: [info: WorkerExitInfo]
}

/** The open connections of a server or client. */
export interface ConnectionList<Data = unknown> extends Iterable<Connection<Data>> {
  /** How many there are. */
  readonly size: number
  /** The connection with this id, if it is open. */
  get(id: number): Connection<Data> | undefined
  has(id: number): boolean
}

/** The receivers of a broadcast. */
export interface BroadcastOptions {
  /** The members of this group only. */
  group?: string
  /** These only. */
  to?: Iterable<Connection>
  /** All except this one. */
  except?: Connection
}

/** How connections are ended. */
export interface DisconnectOptions {
  /** True (default): send queued data and end gracefully. False: close immediately. */
  graceful?: boolean
}

/** How a server or client is ended. */
export interface CloseOptions {
  /** Connections that have not closed gracefully by then are reset. 0 to 24 days; default 10 s. */
  deadline?: Duration
}

const DEFAULT_DEADLINE = 10_000
const broadcastExample = "an object such as { group: 'players' }"

/** The common base of servers and clients: a completion port with connections. */
export abstract class Endpoint<Data, E extends EndpointEvents<Data> & EventMap<E>> extends LazyEmitter<E> {
  /** @internal There while the completion port is. */
  _engine: Engine | undefined = undefined
  /** @internal */
  _isReferenced = true

  /** The open connections. */
  readonly connections: ConnectionList<Data>

  /** @internal */
  readonly _workers: JobClient | undefined

  /** @internal */
  constructor(workers: WorkersSettings | undefined) {
    super()
    this._workers = workers && new JobClient(workers, this, () => this._openForJob())
    const engine = (): Engine | undefined => this._engine
    this.connections = {
      get size() {
        return engine()?.size ?? 0
      },
      get: (id) => engine()?.find(id) as Connection<Data> | undefined,
      has: (id) => engine()?.find(id) !== undefined,
      *[Symbol.iterator]() {
        for (const connection of engine()?.connections ?? [])
          if (connection !== undefined) yield connection as Connection<Data>
      }
    }
  }

  /** @internal The same object, for code that uses the common events only. */
  get _common(): Emitter<EndpointEvents> {
    return this
  }

  /**
   * The workers.
   * @throws IocpError ERR_IOCP_NO_WORKERS if it was created without the option `workers`
   */
  get workers(): Workers {
    if (this._workers !== undefined) return this._workers
    throw new IocpError('ERR_IOCP_NO_WORKERS', errorCodes.ERR_IOCP_NO_WORKERS)
  }

  /**
   * Ends one connection.
   * @param which the connection or its id
   * @returns false if it is already closed
   * @throws IocpError ERR_IOCP_INVALID_OPTION, ERR_INVALID_ARG_TYPE
   */
  disconnect(which: number | Connection, options?: DisconnectOptions): boolean {
    const isGraceful = readGraceful(options)
    const connection = whichConnection(this._engine, which)
    if (connection === undefined) return false
    if (isGraceful) connection.end()
    else connection.destroy()
    return true
  }

  /**
   * Ends all connections; a server continues to listen.
   * @returns how many were open
   * @throws IocpError ERR_IOCP_INVALID_OPTION
   */
  disconnectAll(options?: DisconnectOptions): number {
    const isGraceful = readGraceful(options)
    let count = 0
    for (const connection of this.connections) {
      count++
      if (isGraceful) connection.end()
      else connection.destroy()
    }
    return count
  }

  /**
   * Sends one packet to all connections, or to some. A payload larger than the option `copyThreshold` is not copied: do
   * not modify it until it has been sent.
   * @throws IocpError ERR_IOCP_PACKET_SIZE, ERR_IOCP_PACKET_CONTENT, ERR_IOCP_INVALID_OPTION, ERR_INVALID_ARG_TYPE
   */
  broadcast(data: Uint8Array | string, options: BroadcastOptions = {}): BroadcastResult {
    const reader = new OptionReader(options, '', broadcastExample)
    const targets = this.#readTargets(reader)
    reader.rejectUnknown()
    if (typeof data !== 'string') checkBytes(data)
    const engine = this._engine
    if (engine === undefined) return { sent: 0, queued: 0, dropped: 0, closed: 0 }
    return broadcast(engine, typeof data === 'string' ? Buffer.from(data) : data, targets)
  }

  /**
   * Sends a file to all connections, or to some, like `connection.sendFile`. A failure of one of them does not reject
   * it.
   * @throws IocpError ERR_IOCP_INVALID_OPTION
   */
  broadcastFile(path: Path, options: SendFileOptions & BroadcastOptions = {}): Promise<BroadcastFileResult<Data>> {
    const targets = this.#readTargets(new OptionReader(options, '', broadcastExample))
    return broadcastFile(targets as Connection<Data>[], path, options)
  }

  /** The receivers of a broadcast. */
  #readTargets(reader: OptionReader): Connection[] {
    const group = reader.text('group')
    const to = reader.raw('to')
    const except = reader.raw('except')
    if (except !== undefined && !(except instanceof Connection)) throw invalidOption('except', except, 'a connection')
    if (except !== undefined) this.#checkOwn('except', except)
    if (to !== undefined && group !== undefined) throw invalidOption('group', group, "omitted if 'to' is given")
    const engine = this._engine
    const members = group === undefined ? this.connections : (engine?.groups.members(group) ?? [])
    const targets = to === undefined ? members : new Set(toConnections(to))
    if (to !== undefined) for (const one of targets) this.#checkOwn('to', one)
    return [...targets].filter((one) => one !== except && one._engine === engine)
  }

  #checkOwn(option: string, connection: Connection): void {
    if (connection._engine.owner !== this._common)
      throw invalidOption(option, connection, 'a connection of this server or client')
  }

  /** The members of a group, in the sequence in which they joined. */
  group(name: string): readonly Connection<Data>[] {
    if (typeof name !== 'string') throw invalidArgument('name', name, 'text')
    return [...(this._engine?.groups.members(name) ?? [])] as Connection<Data>[]
  }

  /** Submits everything that was sent in this tick to native code now. */
  flush(): void {
    this._engine?.submission.flush()
  }

  /** Statistics; undefined while nothing is open. */
  stats(): EndpointStats | undefined {
    const stats = this._engine?.stats()
    if (stats !== undefined) publishStats(this, stats)
    return stats
  }

  /** Keeps the process alive while there is something to wait for. This is the default. */
  ref(): this {
    this._isReferenced = true
    this._engine?.keepAlive(true)
    return this
  }

  /** Lets the process end even if there is something to wait for. */
  unref(): this {
    this._isReferenced = false
    this._engine?.keepAlive(false)
    return this
  }

  /**
   * Closes everything: sends queued data, ends all connections gracefully, and resets those that are still open at the
   * deadline. Another call returns the same promise. If nothing is open, it resolves immediately.
   * @throws IocpError ERR_IOCP_INVALID_OPTION
   */
  abstract close(options?: CloseOptions): Promise<CloseReport>

  /** Closes everything gracefully. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal A job is added while nothing is open. */
  abstract _openForJob(): Engine

  /** @internal Called when the engine has been created, before there is a connection. */
  _startWorkers(engine: Engine, profile: Profile): void {
    this._workers?._start(engine, profile)
  }

  /** @internal Ends the jobs, the connections and the workers, in this sequence. */
  async _stop(engine: Engine, deadline: number): Promise<CloseReport> {
    const workers = this._workers
    if (workers === undefined) return engine.stop(deadline)
    const begun = performance.now()
    engine.closeListeners()
    await workers._drain(deadline)
    const left = Math.max(0, Math.round(deadline - (performance.now() - begun)))
    const [report] = await Promise.all([engine.stop(left), workers._end(left)])
    workers._ended()
    return report
  }

  /** @internal */
  _jobError(error: unknown, connection: Connection | undefined): void {
    if (connection !== undefined) withinConnection(connection, tellOwner, connection, 'jobError', error, connection)
    else within(this._engine?.context, () => this._common.emit('jobError', error, connection))
  }

  /** @internal */
  _workerExit(info: WorkerExitInfo): void {
    if (within(this._engine?.context, () => this._common.emit('workerExit', info))) return
    const why = info.error?.message ?? `exit code ${info.exitCode}`
    process.emitWarning(`A worker ended: ${why}; another one starts in ${info.restartDelay} ms`, 'IocpWarning')
  }

  /** @internal A listener for packets was added: waiting packets are delivered. Or one for files: reading continues. */
  override _listened(event: string): void {
    const isForPackets = event === 'packet' || event === 'stream'
    if (!isForPackets && event !== 'file') return
    for (const { _receiveQueue: receiveQueue } of this.connections) {
      if (isForPackets) receiveQueue?.remove(holdReason.noListener)
      else receiveQueue?.reconsider()
    }
  }
}

function toConnections(value: unknown): Connection[] {
  const list =
    typeof value === 'object' && value !== null && Symbol.iterator in value
      ? [...(value as Iterable<unknown>)]
      : [value]
  return list.map((one) => {
    if (one instanceof Connection) return one
    throw invalidOption('to', one, 'an iterable of connections')
  })
}

function readGraceful(options: unknown): boolean {
  const reader = new OptionReader(options, '', 'an object such as { graceful: false }')
  const isGraceful = reader.boolean('graceful', true)
  reader.rejectUnknown()
  return isGraceful
}

/**
 * The deadline of `close`, in milliseconds.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readDeadline(options: unknown): number {
  const reader = new OptionReader(options, '', "an object such as { deadline: '10s' } (the promise tells the end)")
  const deadline = reader.duration('deadline', { min: 0, max: MAX_DURATION }, DEFAULT_DEADLINE)
  reader.rejectUnknown()
  return deadline
}
