/** The workers of a server or client in the main thread: jobs, their results, statistics. */

import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { errorCodes, invalidArgument, IocpError, type IocpErrorCode, show } from '../common/errors.js'
import { toInteger } from '../common/option_reader.js'
import type { Connection } from '../connection/connection.js'
import type { Profile } from '../connection/profile.js'
import type { Engine } from '../engine/engine.js'
import type { JobSink } from '../engine/record_dispatch.js'
import { withoutContext } from '../native/async_context.js'
import { jobOutcome } from '../native/protocol.js'
import type { Distribution, JobStats } from '../native/stats.js'
import {
  callHead,
  checkJobSize,
  cloneError,
  decodeError,
  decodeResult,
  encodeNamed,
  encodeNumber,
  form
} from './job_codec.js'
import { defaultRun, readRun, type RunOptions, type RunSettings, workerRange, type WorkersSettings } from './options.js'
import { SharedSignals } from './shared_signals.js'
import { type WorkerExitInfo, WorkerPool } from './worker_pool.js'

/** The server or client, which emits the events of the workers. */
export interface WorkersOwner {
  _jobError(error: unknown, connection: Connection | undefined): void
  _workerExit(info: WorkerExitInfo): void
}

/** The workers of a server or client. */
export interface Workers {
  /** The requested number of workers. */
  readonly size: number
  /** Workers that have started and run no job. */
  readonly idle: number
  /** Waiting jobs. */
  readonly queued: number
  /** Running jobs. */
  readonly running: number
  /** Jobs that have succeeded. */
  readonly completed: number
  /** Jobs that have failed: thrown, timed out, cancelled, lost with their worker. */
  readonly failed: number
  /** From being added to being taken, in microseconds. */
  readonly waitMicroseconds: Distribution
  /** From being taken to the end, in microseconds. */
  readonly runMicroseconds: Distribution
  /** All statistics at one time; undefined while the server or client is not open. */
  stats(): JobStats | undefined
  /**
   * Changes the number of workers, at any time. With 0, jobs wait. No job is lost or repeated.
   * @param count 0 to 256
   * @returns a promise that resolves when the new workers have started and the surplus ones have finished and ended; it
   *   rejects with ERR_IOCP_WORKERS_FAILED if they do not start
   * @throws IocpError ERR_IOCP_INVALID_OPTION
   */
  resize(count: number): Promise<void>
  /**
   * Runs a job.
   * @param name the handler's name in `defineJobs`
   * @param payload `job.data` in the worker: bytes and text unchanged, everything else cloned
   * @returns a promise of the handler's return value
   * @throws by rejecting: what the handler threw (an error as a plain Error with name, message, stack and code), the
   *   signal's reason, IocpError ERR_IOCP_WORKERS_FULL,
   *   ERR_IOCP_WORKERS_FAILED, ERR_IOCP_JOB_SIZE, ERR_IOCP_JOB_TIMEOUT, ERR_IOCP_JOB_UNKNOWN, ERR_IOCP_WORKER_EXITED,
   *   ERR_IOCP_JOB_CANCELLED, ERR_IOCP_CLOSED, ERR_IOCP_CLOSING, ERR_IOCP_INVALID_OPTION
   */
  run<Result = unknown>(name: string, payload?: unknown, options?: RunOptions): Promise<Result>
}

const NO_DISTRIBUTION: Distribution = { count: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 }

/** A worker that was told to cancel a job and does not answer for this time, in milliseconds, is considered blocked. */
const ABORT_GRACE_MS = 1000

/** After the deadline of `close`, workers have at least this time for their teardown, in milliseconds. */
const LEAST_TEARDOWN = 1000

interface Call {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  readonly timer: NodeJS.Timeout | undefined
  /** When the time limit of a job with a signal is over, by performance.now(); undefined without a limit. */
  readonly deadline: number | undefined
  readonly signal: AbortSignal | undefined
  /** The port that holds the payload, if it is a message. */
  readonly port: MessagePort | undefined
  /** The message's number. The slot of the job would be ambiguous, because later jobs reuse it. */
  readonly message: number
}

interface Session {
  readonly engine: Engine
  readonly pool: WorkerPool
  readonly watch: NodeJS.Timeout | undefined
}

/** The one implementation of {@link Workers}. */
export class JobClient implements Workers, JobSink {
  readonly #settings: WorkersSettings
  readonly #owner: WorkersOwner
  readonly #fallback: RunSettings
  readonly #open: () => Engine
  readonly #calls = new Map<number, Call>()
  readonly #signals = new SharedSignals((job, reason) => {
    const deadline = this.#calls.get(job)?.deadline
    this.#giveUp(job, reason, deadline === undefined ? undefined : Math.max(0, deadline - performance.now()))
  })
  #session: Session | undefined
  #size: number
  #messages = 0
  #isClosing = false
  /** Why jobs failed the last time that no worker started. */
  #failure: IocpError | undefined
  #onDrained: () => void = () => undefined

  /** @param open opens the server or client if possible, otherwise throws */
  constructor(settings: WorkersSettings, owner: WorkersOwner, open: () => Engine) {
    this.#settings = settings
    this.#owner = owner
    this.#open = open
    this.#size = settings.count
    this.#fallback = defaultRun(settings)
  }

  get size(): number {
    return this.#size
  }
  get idle(): number {
    return this.stats()?.idle ?? 0
  }
  get queued(): number {
    return this.stats()?.queued ?? 0
  }
  get running(): number {
    return this.stats()?.running ?? 0
  }
  get completed(): number {
    return this.stats()?.completed ?? 0
  }
  get failed(): number {
    return this.stats()?.failed ?? 0
  }
  get waitMicroseconds(): Distribution {
    return this.stats()?.waitMicroseconds ?? NO_DISTRIBUTION
  }
  get runMicroseconds(): Distribution {
    return this.stats()?.runMicroseconds ?? NO_DISTRIBUTION
  }

  stats(): JobStats | undefined {
    return this.#session?.engine.jobs.jobStats()
  }

  resize(count: number): Promise<void> {
    this.#size = toInteger(count, 'count', workerRange)
    return this.#session === undefined || this.#isClosing ? Promise.resolve() : this.#session.pool.resize(this.#size)
  }

  run<Result = unknown>(name: string, payload?: unknown, options?: RunOptions): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      this.#add(name, payload, options, resolve as (value: unknown) => void, reject)
    })
  }

  #add(
    name: string,
    payload: unknown,
    options: RunOptions | undefined,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void
  ): void {
    if (typeof (name as unknown) !== 'string') throw invalidArgument('name', name, 'the name of a job')
    const run = options === undefined ? this.#fallback : readRun(options, this.#fallback)
    run.signal?.throwIfAborted()
    if (this.#isClosing) throw failure('ERR_IOCP_CLOSING')
    const engine = this.#session?.engine ?? this.#open()
    const none = this.#session?.pool.failure
    if (none !== undefined) throw none
    if (run.skipWhenClosed && run.connection?.state === 'closed') throw failure('ERR_IOCP_CLOSED')
    const isMessage = run.transferList !== undefined
    const message = isMessage ? ++this.#messages : 0
    const { form: kind, body } = isMessage
      ? { form: form.message, body: encodeNumber(message) }
      : encodeNamed(payload, () => payloadOf(name))
    const head = callHead(name, kind)
    checkJobSize('A payload', head.length + body.length)
    const { connection, priority, skipWhenClosed } = run
    const slot = connection?._slot ?? 0
    const generation = connection?._generation ?? 0
    const job = engine.jobs.addJob(priority, slot, generation, skipWhenClosed, isMessage, head, body)
    if (job < 0) throw job === -1 ? this.#full() : failure('ERR_IOCP_CLOSING')
    let port: MessagePort | undefined
    try {
      // The payload is cloned and the objects are transferred now, but not for a job that is rejected. The worker gets
      // the port that holds them, at the earliest when this thread learns that it has taken the job.
      port = isMessage ? channelWith(payload, run.transferList) : undefined
    } catch (error) {
      engine.jobs.cancelJob(job)
      throw cloneError(error, payloadOf(name))
    }
    const { signal, timeout } = run
    const deadline = signal === undefined || timeout === 0 ? undefined : performance.now() + timeout
    const timer =
      timeout === 0
        ? undefined
        : setTimeout(() => {
            this.#giveUp(job, failure('ERR_IOCP_JOB_TIMEOUT', `${show(name)} did not finish within ${timeout} ms`), 0)
          }, timeout)
    if (signal !== undefined) this.#signals.add(signal, job)
    this.#calls.set(job, { resolve, reject, timer, deadline, signal, port, message })
    if (this.#calls.size === 1) engine.jobsChanged()
  }

  /**
   * The result is no longer needed. The worker, which may be in an endless loop, has this much time left for the job.
   */
  #giveUp(job: number, reason: unknown, left: number | undefined): void {
    const jobs = this.#session?.engine.jobs
    if (jobs === undefined || !this.#calls.has(job)) return
    // 0: the result is already in transit.
    const found = jobs.cancelJob(job)
    if (found === 0) return
    this.#take(job)?.reject(reason)
    if (found === 2 && left !== undefined) this.#replaceIfStuck(job, left)
  }

  #replaceIfStuck(job: number, left = 0): void {
    const now = this.#session
    setTimeout(() => {
      const worker = now?.engine.jobs.stuckWorker(job) ?? -1
      if (worker !== -1) now?.pool.terminateStuck(worker)
    }, left + ABORT_GRACE_MS).unref()
  }

  #take(job: number): Call | undefined {
    const call = this.#calls.get(job)
    if (call === undefined) return undefined
    this.#calls.delete(job)
    clearTimeout(call.timer)
    if (call.signal !== undefined) this.#signals.delete(call.signal, job)
    call.port?.close()
    if (this.#calls.size === 0) this.#session?.engine.jobsChanged()
    return call
  }

  /** @internal The completion port has opened. */
  _start(engine: Engine, profile: Profile): void {
    const { endDeadline, native } = profile
    const { send, transfers } = native
    const pool = new WorkerPool(this.#settings, this.#size, { send, endDeadline, transfers }, engine.jobs, {
      workerExit: (info) => {
        this.#owner._workerExit(info)
      },
      workersFail: (failure) => {
        if (failure !== undefined) this.#failure = failure
        engine.jobs.refuseJobs(failure !== undefined)
      }
    })
    engine.jobSink = this
    this.#isClosing = false
    this.#session = { engine, pool, watch: this.#watchRouted(engine) }
  }

  /** @internal Starts the threads. */
  _launch(): void {
    this.#session?.pool.start()
  }

  #watchRouted(engine: Engine): NodeJS.Timeout | undefined {
    const { timeout } = this.#settings
    if (timeout === 0) return undefined
    const interval = Math.min(1000, Math.max(10, timeout / 4))
    const watch = (): void => {
      for (const job of engine.jobs.expireJobs(timeout)) this.#replaceIfStuck(job)
    }
    return withoutContext(() => setInterval(watch, interval).unref())
  }

  /** @internal Accepts no more jobs. */
  _refuse(): void {
    this.#isClosing = this.#session !== undefined
  }

  /**
   * @internal Before the connections end: waits for the jobs, at most this long, in milliseconds, and cancels the rest.
   * Nothing is read meanwhile.
   */
  async _drain(deadline: number): Promise<void> {
    const engine = this.#session?.engine
    if (engine === undefined) return
    this.#isClosing = true
    if (deadline > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadline)
        this.#onDrained = () => {
          clearTimeout(timer)
          resolve()
        }
        engine.jobs.drainJobs()
      })
    }
    engine.jobs.closeJobs()
  }

  /** @internal Ends the workers; all promises are settled. */
  async _end(deadline: number): Promise<void> {
    const now = this.#session
    if (now === undefined) return
    clearInterval(now.watch)
    await now.pool.close(Math.max(deadline, LEAST_TEARDOWN))
  }

  /** @internal The completion port has ended. */
  _ended(): void {
    this.#session = undefined
    this.#isClosing = false
    for (const job of [...this.#calls.keys()]) this.#take(job)?.reject(failure('ERR_IOCP_JOB_CANCELLED'))
  }

  /** Whether a result is awaited. */
  get isBusy(): boolean {
    return this.#calls.size > 0
  }

  /** A job of `run` has ended. */
  jobDone(job: number, outcome: number, result: Buffer | undefined): void {
    const call = this.#take(job)
    if (call === undefined) return
    try {
      if (outcome === jobOutcome.done) call.resolve(decodeResult(result))
      else call.reject(this.#errorFor(outcome, result))
    } catch (error) {
      call.reject(error)
    }
  }

  /** A routed packet's job has failed. */
  jobFailed(connection: Connection | undefined, outcome: number, error: Buffer | undefined): void {
    this.#owner._jobError(this.#errorFor(outcome, error), connection)
  }

  #errorFor(outcome: number, bytes: Buffer | undefined): unknown {
    if (outcome === jobOutcome.noWorkers && this.#failure !== undefined) return this.#failure
    if (outcome === jobOutcome.rejected) return this.#full()
    const code = codes[outcome]
    return code === undefined ? decodeError(bytes) : failure(code)
  }

  #full(): IocpError {
    const { maxQueued, maxQueuedBytes } = this.#settings.native
    const message = `${errorCodes.ERR_IOCP_WORKERS_FULL}: the limits are ${maxQueued} jobs ('workers.maxQueued') and ${maxQueuedBytes} bytes ('workers.maxQueuedBytes')`
    return failure('ERR_IOCP_WORKERS_FULL', message)
  }

  /** A worker has taken a job whose payload is a message. */
  jobTaken(job: number, worker: number): void {
    const call = this.#calls.get(job)
    if (call?.port === undefined) return
    this.#session?.pool.post(worker, call.message, call.port)
  }

  /** No job is waiting or running any more. */
  jobsDrained(): void {
    this.#onDrained()
  }
}

const payloadOf = (name: string): string => `The payload of the job ${show(name)}`

function channelWith(payload: unknown, transferList: RunSettings['transferList']): MessagePort {
  const { port1, port2 } = new MessageChannel()
  try {
    port1.postMessage(payload, transferList)
  } catch (error) {
    port1.close()
    throw error
  }
  return port2
}

const codes: Readonly<Record<number, IocpErrorCode>> = {
  [jobOutcome.workerExited]: 'ERR_IOCP_WORKER_EXITED',
  [jobOutcome.connectionClosed]: 'ERR_IOCP_CLOSED',
  [jobOutcome.rejected]: 'ERR_IOCP_WORKERS_FULL',
  [jobOutcome.timedOut]: 'ERR_IOCP_JOB_TIMEOUT',
  [jobOutcome.cancelled]: 'ERR_IOCP_JOB_CANCELLED',
  [jobOutcome.noWorkers]: 'ERR_IOCP_WORKERS_FAILED'
}

function failure(code: IocpErrorCode, message: string = errorCodes[code]): IocpError {
  return new IocpError(code, message)
}
