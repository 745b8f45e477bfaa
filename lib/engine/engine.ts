/**
 * One completion port and everything that belongs to it in JavaScript: its connections, its way in and its way out.
 * A server or client has one while it is in use.
 */

import { BatchReport, publishConnection } from '../common/diagnostics.js'
import { type Emitter, runUncaught } from '../common/emitter.js'
import { invalidArgument, type IocpError } from '../common/errors.js'
import { nativeNextTick, nativeSetImmediate } from '../common/timers.js'
import { abandonPendingData, serverCloses, silenceAll } from '../connection/close.js'
import { Connection } from '../connection/connection.js'
import { withinConnection } from '../connection/context.js'
import type { ConnectionOwnerEvents } from '../connection/events.js'
import { GroupTable } from '../connection/groups.js'
import type { Profile } from '../connection/profile.js'
import { reportDrops } from '../connection/send.js'
import { type ConnectionEngine, extraOf, flag, SILENT } from '../connection/state.js'
import { AddressTable, behindAddresses } from '../native/addresses.js'
import { type Context, within, withoutContext } from '../native/async_context.js'
import { binding } from '../native/binding.js'
import { op, SLOTS } from '../native/protocol.js'
import type { ConnectionStats, EndpointStats } from '../native/stats.js'
import { Submission } from '../native/submission.js'
import { fromNative, systemError } from '../native/system_error.js'
import type {
  NativeAccess,
  NativeBinding,
  NativeConnect,
  NativeEngine,
  NativeEngineOptions,
  NativeJobs,
  NativeListen
} from '../native/types.js'
import { NativeFiles } from '../transfer/native_files.js'
import { FileTransfers } from '../transfer/service.js'
import { type Attempt, ConnectAttempts } from './attempts.js'
import { BatchReader, marksWithKey } from './batch_reader.js'
import { ProfileTable } from './profile_table.js'
import { type EngineSink, type JobSink, RecordDispatch } from './record_dispatch.js'

/** The result of `close`. */
export interface CloseReport {
  /** Connections that closed gracefully. */
  readonly drained: number
  /** Connections that were reset at the deadline. */
  readonly cut: number
}

/** The server or client that an engine works for. */
export interface EngineOwner {
  readonly _common: Pick<Emitter<ConnectionOwnerEvents>, 'emit' | 'listenerCount' | 'rawListeners'>
  /** A connection was accepted or made. */
  _opened(connection: Connection): void
  /** Accepting failed for the moment. */
  _acceptFailed(error: Error): void
  /** Native code is about to go: the last moment to ask it. */
  _ending(): void
  /** Peers were refused: how many for each reason. */
  _refused(counts: Uint8Array): void
  stats(): unknown
}

export class Engine implements ConnectionEngine, EngineSink {
  readonly submission: Submission
  readonly transfers: FileTransfers
  readonly addresses = new AddressTable()
  readonly groups = new GroupTable()
  readonly awaitingReports = new Set<Connection>()
  readonly connections: (Connection | undefined)[] = []
  /** The context of whoever listens. */
  readonly context: Context | undefined
  /** Open connections. */
  size = 0
  /** Where records about jobs go, when there are workers. */
  jobSink: JobSink | undefined = undefined

  readonly #binding: NativeBinding
  readonly #native: NativeEngine
  readonly #owner: EngineOwner
  readonly #profiles: ProfileTable
  readonly #listeners: Profile[] = []
  readonly #attempts = new ConnectAttempts(() => {
    this.#adjustReference()
  })
  readonly #report = new BatchReport()
  readonly #staysForIdle: boolean
  #droppedThisTick: Connection[] = []
  #stopping: Promise<CloseReport> | undefined
  #reportStop: (report: CloseReport) => void = () => undefined
  #isEnding = false
  #isSilent = false
  /** Connections that came behind that: native code cuts them, and nobody hears of them. */
  #unseen = 0
  #isWanted = true
  #isReferenced = true

  /**
   * @param staysForIdle whether the process is kept alive without any connection, as by a server that listens
   * @param context the context of accepted connections
   * @throws IocpError when the completion port or its threads cannot be made
   */
  constructor(owner: EngineOwner, options: NativeEngineOptions, staysForIdle: boolean, context?: Context) {
    this.#owner = owner
    this.context = context
    this.#staysForIdle = staysForIdle
    this.#binding = binding()
    // The reader needs the engine's words and the engine needs the reader's callback.
    let onBatch: BatchReader['onBatch'] = () => undefined
    try {
      const call: BatchReader['onBatch'] = (records, payload) => {
        onBatch(records, payload)
      }
      const native = { ...options, externalMemory: !marksWithKey }
      this.#native = withoutContext(() => new this.#binding.Engine(native, call, nativeSetImmediate))
    } catch (error) {
      throw fromNative(this.#binding, error)
    }
    this.submission = new Submission(this.#native)
    this.#profiles = new ProfileTable(this.#native, this.submission)
    const files = new NativeFiles(this.#binding, this.#native, () => {
      this.#adjustReference()
    })
    this.transfers = new FileTransfers(files)
    onBatch = new BatchReader(this.#native.batchControl, new RecordDispatch(this)).onBatch
    this.#adjustReference()
  }

  /** The native side of the jobs. */
  get jobs(): NativeJobs {
    return this.#native
  }

  /** The native side of who may connect. */
  get access(): NativeAccess {
    return this.#native
  }

  /** The server or client closes: from now on nothing more is taken over to be sent. */
  beginEnd(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    for (const connection of this.connections) if (connection !== undefined) serverCloses(connection)
  }

  /** Stops accepting; what is open goes on. */
  closeListeners(): void {
    for (const listener of this.#listeners.keys()) this.#native.closeListener(listener)
  }

  get owner(): EngineOwner['_common'] {
    return this.#owner._common
  }

  queued(slot: number, generation: number): number {
    return this.#native.queued(slot, generation)
  }

  queuedPackets(slot: number, generation: number): number {
    return this.#native.queuedPackets(slot, generation)
  }

  /** The number under which native code knows a behaviour; equal ones have the same. */
  profileIndex(profile: Profile): number {
    return this.#profiles.indexOf(profile)
  }

  setTimeLimits(slot: number, generation: number, limits: Uint32Array): void {
    this.#native.setTimeLimits(slot, generation, limits)
  }

  connectionInfo(slot: number, generation: number): ConnectionStats | undefined {
    return this.#native.connectionInfo(slot, generation)
  }

  stats(): EndpointStats {
    return this.#native.stats()
  }

  /** The open connection with an id. */
  find(id: number): Connection | undefined {
    // A program may give anything.
    const connection = typeof id === 'number' ? this.connections[id % SLOTS] : undefined
    return connection?.id === id ? connection : undefined
  }

  /**
   * Opens a listener.
   * @throws IocpError EADDRINUSE and the like
   */
  listen(options: Omit<NativeListen, 'profile'>, profile: Profile): number {
    try {
      const listener = this.#native.listen({ ...options, profile: this.profileIndex(profile) })
      this.#listeners[listener] = profile
      return listener
    } catch (error) {
      throw fromNative(this.#binding, error, options)
    }
  }

  listenerAddress(listener: number): { address: string; family: 'IPv4' | 'IPv6'; port: number } {
    return this.#native.listenerAddress(listener)
  }

  /**
   * Begins an attempt to connect; the attempt is told how it went, in a later tick.
   * @returns how to give it up
   * @throws IocpError when it cannot even begin
   */
  connect(options: Omit<NativeConnect, 'token' | 'profile'>, attempt: Attempt): () => void {
    const begun = this.#attempts.begin(attempt, (token) => {
      try {
        this.#native.connect({ ...options, token, profile: this.profileIndex(attempt.profile) })
      } catch (error) {
        throw fromNative(this.#binding, error)
      }
    })
    return () => {
      attempt.isWanted = false
      if (this.#attempts.isUnderWay(begun)) this.#native.cancelConnect(begun)
    }
  }

  /** The error for a number of Windows. */
  error(winCode: number, syscall: string, address?: string, port?: number): IocpError {
    return systemError(this.#binding, { winCode, syscall, address, port })
  }

  /** Whether {@link Engine.stop} was called. */
  get isStopping(): boolean {
    return this.#stopping !== undefined
  }

  /** Whether somebody waits for a job has changed. */
  jobsChanged(): void {
    this.#adjustReference()
  }

  /** Whether this keeps the process alive. */
  keepAlive(isWanted: boolean): void {
    this.#isWanted = isWanted
    this.#adjustReference()
  }

  /** Ends all connections within the deadline, in milliseconds, and then the threads. */
  stop(deadline: number): Promise<CloseReport> {
    return (this.#stopping ??= new Promise((resolve) => {
      this.#reportStop = resolve
      this.submission.flush()
      this.#native.stop(deadline)
      // The end is waited for, whether or not the rest keeps the process alive.
      this.#isWanted = true
      this.#adjustReference(true)
    }))
  }

  /** Everything is about to be cut by {@link Engine.stop}: from now on its connections emit nothing but 'close'. */
  silence(): void {
    this.#isSilent = true
    silenceAll(this, this.connections)
  }

  reportDrops(connection: Connection): void {
    if (this.#droppedThisTick.push(connection) > 1) return
    nativeNextTick(() => {
      const connections = this.#droppedThisTick
      this.#droppedThisTick = []
      for (const one of connections) reportDrops(one)
    })
  }

  beginBatch(): void {
    this.submission.beginBatch()
  }

  endBatch(records: number, payloadBytes: number): void {
    this.submission.endBatch()
    this.#report.report(this.#owner, records, payloadBytes)
  }

  accepted(slot: number, generation: number, listener: number, addresses: Uint8Array | undefined): void {
    if (this.#isSilent) {
      this.#unseen++
      return
    }
    const profile = this.#listeners[listener]
    if (profile !== undefined) this.#announce(this.#open(slot, generation, profile, addresses, true))
  }

  connected(slot: number, generation: number, token: number, addresses: Uint8Array | undefined): void {
    const attempt = this.#attempts.take(token)
    if (attempt?.isWanted === true) {
      const connection = this.#open(slot, generation, attempt.profile, addresses, false)
      if (attempt.context !== undefined) extraOf(connection).context = attempt.context
      this.#attempts.keepFresh(connection)
      attempt.connected(connection)
      this.#announce(connection)
    } else {
      // Another address was faster, or it was given up: nobody will ever see this one.
      this.submission.operation(op.destroy, slot, generation)
    }
  }

  connectFailed(token: number, winCode: number): void {
    this.#attempts.take(token)?.failed(winCode)
  }

  acceptFailed(winCode: number): void {
    within(this.context, () => {
      this.#owner._acceptFailed(this.error(winCode, 'accept'))
    })
  }

  refused(counts: Uint8Array): void {
    within(this.context, () => {
      this.#owner._refused(counts)
    })
  }

  sent(token: number, outcome: number): void {
    this.submission.complete(token, outcome)
  }

  vacated(slot: number): void {
    this.connections[slot] = undefined
    this.size--
    this.#adjustReference()
  }

  stopped(drained: number, cut: number): void {
    // What JavaScript still has open of files is closed by native threads.
    this.transfers.files.whenIdle(() => {
      this.#leave({ drained, cut: Math.max(0, cut - this.#unseen) })
    })
  }

  #open(
    slot: number,
    generation: number,
    profile: Profile,
    addresses: Uint8Array | undefined,
    accepted: boolean
  ): Connection {
    const connection = new Connection(this, slot, generation, profile, accepted)
    if (this.#isEnding) connection._flags |= flag.ended | flag.unwanted
    if (addresses !== undefined) {
      this.addresses.set(slot, addresses)
      const header = behindAddresses(addresses)
      if (header !== undefined) extraOf(connection).proxyHeader = header
    }
    this.connections[slot] = connection
    this.size++
    this.#adjustReference()
    if (profile.receive > 0) this.submission.operation(op.demand, slot, generation, profile.receive)
    if (this.#isSilent) silenceAll(this, [connection])
    return connection
  }

  /** Tells of a new connection. */
  #announce(connection: Connection): void {
    withinConnection(connection, () => {
      publishConnection(this.#owner, connection)
      this.#owner._opened(connection)
    })
  }

  #leave(report: CloseReport): void {
    // Not in the batch that told: join() gives back the memory that the batch lies in.
    nativeSetImmediate(() => {
      this.#owner._ending()
      this.#native.join()
      this.submission.end()
      this.#tellEnds(report)
    })
  }

  /** What still waits to be told, and then that everything has ended. An iteration that goes on may take some turns. */
  #tellEnds(report: CloseReport): void {
    for (const connection of this.awaitingReports) {
      runUncaught(() => {
        abandonPendingData(connection)
      })
    }
    if (this.awaitingReports.size === 0) {
      this.#reportStop(report)
    } else {
      nativeSetImmediate(() => {
        this.#tellEnds(report)
      })
    }
  }

  #adjustReference(isStopping = this.#stopping !== undefined): void {
    // A file may outlive its connection by what a disk thread still does; whoever waits for it has to hear of its end.
    const hasWork = this.jobSink?.isBusy === true || this.transfers.files.active > 0 || this.#attempts.size > 0
    const isReferenced = this.#isWanted && (hasWork || this.#staysForIdle || this.size > 0 || isStopping)
    if (isReferenced === this.#isReferenced) return
    this.#isReferenced = isReferenced
    if (isReferenced) this.#native.ref()
    else this.#native.unref()
  }
}

/**
 * The open connection that is meant.
 * @throws IocpError ERR_INVALID_ARG_TYPE
 */
export function whichConnection(engine: Engine | undefined, which: number | Connection): Connection | undefined {
  if (typeof which === 'number') return engine?.find(which)
  if (!((which as unknown) instanceof Connection)) throw invalidArgument('which', which, 'a connection or its id')
  return (which._flags & SILENT) === 0 && engine?.find(which.id) === which ? which : undefined
}
