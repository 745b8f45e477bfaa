/** The threads of the workers: they are started, counted, replaced and ended here. Jobs are handled elsewhere. */

import type { MessagePort, Worker } from 'node:worker_threads'
import { IocpError } from '../common/errors.js'
import { toError } from '../common/thrown.js'
import { addonPath } from '../native/addon.js'
import { withoutContext } from '../native/async_context.js'
import type { NativeFraming, NativeJobs } from '../native/types.js'
import { decodeError } from './job_codec.js'
import type { PayloadMessage, WorkerMessage, WorkerSetup } from './job_runner.js'
import type { WorkersSettings } from './options.js'
import { startThread } from './worker_thread.js'

/** How a worker ended unexpectedly. */
export interface WorkerExitInfo {
  /** Its number. */
  readonly number: number
  /** Node's exit code of the thread. */
  readonly exitCode: number
  /** The error that ended it, if known: an uncaught exception, ERR_WORKER_OUT_OF_MEMORY. */
  readonly error: Error | undefined
  /** Delay until another worker replaces it, in milliseconds. */
  readonly restartDelay: number
}

/** The owner of the pool, which receives its reports. */
export interface PoolOwner {
  /** A worker ended unexpectedly. */
  workerExit(info: WorkerExitInfo): void
  /** There is no worker and none starts; undefined when this no longer applies. */
  workersFail(failure: IocpError | undefined): void
}

/** Data for every worker. */
export type WorkerFacts = Pick<WorkerSetup['iocp'], 'send' | 'endDeadline' | 'transfers'> & {
  readonly send: NativeFraming
}

const FIRST_DELAY = 50
const LONGEST_DELAY = 10_000

/** A worker that has lived this long, in milliseconds, did not fail at its start. */
const STABLE_AFTER_MS = 5_000

/**
 * Failed starts in a row until waiting callers get an error; one start that takes too long is enough.
 */
const TRIES = 3

/**
 * Time limit for a thread to start and load the module, in milliseconds, if less or no time is set for the setup: this
 * time depends on the machine.
 */
const LEAST_TO_LOAD = 10_000
const MOST_TO_LOAD = 60_000

interface Member {
  readonly number: number
  readonly worker: Worker
  readonly started: number
  isReady: boolean
  /** It is expected to end. */
  isLeaving: boolean
  isDefined: boolean
  error: Error | undefined
  /** Terminates it if loading, setup or teardown takes too long. */
  limit: NodeJS.Timeout | undefined
}

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

let lastNumber = 0

export class WorkerPool {
  /** The requested number. */
  size: number
  /** Why there is none; undefined otherwise. */
  failure: IocpError | undefined
  readonly #settings: WorkersSettings
  readonly #facts: WorkerFacts
  readonly #native: NativeJobs
  readonly #key: number
  readonly #owner: PoolOwner
  readonly #members = new Map<number, Member>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #deaths = 0
  /** Failed starts since the last successful one. */
  #failedStarts = 0
  #isClosed = false
  #waiting: Waiting[] = []

  constructor(settings: WorkersSettings, size: number, facts: WorkerFacts, native: NativeJobs, owner: PoolOwner) {
    this.#settings = settings
    this.#facts = facts
    this.#native = native
    this.#owner = owner
    this.size = size
    this.#key = native.openJobs(settings.native)
  }

  /** Starts the workers. */
  start(): void {
    this.#adjust()
  }

  /**
   * Changes their number. Surplus workers finish the jobs they run.
   * @returns a promise that resolves when the requested number is ready, and the others have ended
   * @throws by rejecting: IocpError ERR_IOCP_WORKERS_FAILED
   */
  resize(size: number): Promise<void> {
    this.size = size
    if (this.#failedStarts > 0) this.#startAfresh()
    const settled = this.#settled()
    this.#adjust()
    return settled
  }

  /** Terminates one that does not let go of a job; another one replaces it. */
  terminateStuck(number: number): void {
    const member = this.#members.get(number)
    if (member === undefined) return
    const message = `Worker ${number} went on with a job that had timed out or been aborted, and was terminated`
    member.error ??= new IocpError('ERR_IOCP_WORKER_TIMEOUT', message)
    void member.worker.terminate()
  }

  /** Sends a payload to a worker. */
  post(number: number, payload: number, port: MessagePort): void {
    const message: PayloadMessage = { payload, port }
    this.#members.get(number)?.worker.postMessage(message, [port])
  }

  /** Ends all: gracefully within the time, in milliseconds, then by termination. */
  async close(deadline: number): Promise<void> {
    this.#isClosed = true
    this.size = 0
    this.#clearTimers()
    for (const member of this.#members.values()) {
      member.worker.ref()
      this.#retire(member)
    }
    const all = this.#settled()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadline)
    })
    await Promise.race([all, late])
    clearTimeout(timer)
    await Promise.all([...this.#members.values()].map(({ worker }) => worker.terminate()))
    await all
  }

  #settled(): Promise<void> {
    const settled = new Promise<void>((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
    })
    this.#settle()
    return settled
  }

  /** A change of the number starts another try immediately. */
  #startAfresh(): void {
    this.#failedStarts = 0
    this.#deaths = 0
    this.#clearTimers()
    this.#fail(undefined)
  }

  #clearTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  #adjust(): void {
    if (this.#isClosed) return
    const staying = [...this.#members.values()].filter((member) => !member.isLeaving)
    // Those that have not started to work are removed first.
    staying.sort((a, b) => Number(b.isReady) - Number(a.isReady) || a.number - b.number)
    for (const member of staying.slice(this.size)) this.#retire(member)
    for (let count = staying.length + this.#timers.size; count < this.size; count++) this.#add()
    this.#settle()
  }

  #retire(member: Member): void {
    if (member.isLeaving) return
    member.isLeaving = true
    this.#native.retireWorker(member.number)
  }

  #add(): void {
    const number = ++lastNumber
    const { data, module, resourceLimits } = this.#settings
    const setup: WorkerSetup = { iocp: { key: this.#key, number, addon: addonPath(), ...this.#facts }, data }
    const options = {
      workerData: setup,
      name: `iocp worker ${number}`,
      ...(resourceLimits !== undefined && { resourceLimits })
    }
    let worker: Worker
    try {
      // It outlives the call that creates it.
      worker = withoutContext(() => startThread(module, options))
    } catch (error) {
      // Not during an adjustment of the number, which would see a failed try before it has started.
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        this.#replace({ number, exitCode: 1, error: toError(error) }, true, true)
      }, 0)
      this.#timers.add(timer)
      return
    }
    const member: Member = {
      number,
      worker,
      started: performance.now(),
      isReady: false,
      isLeaving: false,
      isDefined: false,
      error: undefined,
      limit: undefined
    }
    this.#members.set(number, member)
    const { setupTimeout } = this.#settings
    this.#limit(
      member,
      'did not load its module',
      setupTimeout === 0 ? MOST_TO_LOAD : Math.max(setupTimeout, LEAST_TO_LOAD)
    )
    // The module may post messages of its own; they are ignored.
    worker.on('message', (message: Partial<WorkerMessage> | null | undefined) => {
      this.#told(member, message)
    })
    worker.on('error', (error) => {
      member.error ??= toError(error)
    })
    worker.on('messageerror', (error) => {
      member.error ??= toError(error)
    })
    worker.on('exit', (code) => {
      this.#gone(member, code)
    })
    // Connections and jobs keep the process alive, not the threads that wait for them. After the listeners, because a
    // listener for messages refs the worker again.
    worker.unref()
  }

  #told(member: Member, message: Partial<WorkerMessage> | null | undefined): void {
    switch (message?.iocp) {
      case 'defined':
        member.isDefined = true
        this.#limit(member, 'did not finish its setup')
        break
      case 'ready':
        clearTimeout(member.limit)
        member.isReady = true
        this.#failedStarts = 0
        if (!member.isLeaving) this.#fail(undefined)
        break
      case 'leaving':
        this.#limit(member, 'did not finish its teardown and end')
        break
      case 'failed':
        member.error ??= toError(decodeError(message.error && Buffer.from(message.error)))
        break
    }
    this.#settle()
  }

  #limit(member: Member, what: string, time = this.#settings.setupTimeout): void {
    clearTimeout(member.limit)
    if (time === 0) return
    member.limit = setTimeout(() => {
      member.error ??= new IocpError('ERR_IOCP_WORKER_TIMEOUT', `Worker ${member.number} ${what} within ${time} ms`)
      void member.worker.terminate()
    }, time).unref()
  }

  #gone(member: Member, exitCode: number): void {
    const { number, isReady, started } = member
    clearTimeout(member.limit)
    this.#members.delete(number)
    this.#settle()
    if (!member.isLeaving && !this.#isClosed) {
      const error = member.error ?? (isReady ? undefined : this.#endedEarly(member, exitCode))
      this.#replace({ number, exitCode, error }, !isReady, performance.now() - started < STABLE_AFTER_MS)
    } else if (member.error !== undefined && isReady) {
      process.emitWarning(`A worker failed while it was ending: ${member.error.message}`, 'IocpWarning')
    }
  }

  #endedEarly({ isDefined }: Member, exitCode: number): IocpError {
    const what = isDefined ? 'before its setup had finished' : 'without calling defineJobs'
    const module = String(this.#settings.module)
    return new IocpError('ERR_IOCP_WORKER_MODULE', `'${module}' ended with exit code ${exitCode} ${what}`)
  }

  /** The first failure after a stable time is replaced immediately; repeated early failures increase the delay. */
  #replace(how: Omit<WorkerExitInfo, 'restartDelay'>, isStart: boolean, isYoung: boolean): void {
    if (this.#isClosed) return
    this.#deaths = isYoung ? this.#deaths + 1 : 1
    const restartDelay =
      this.#deaths === 1 ? 0 : Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** Math.min(this.#deaths - 2, 20))
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#adjust()
    }, restartDelay)
    timer.unref()
    this.#timers.add(timer)
    if (isStart && how.error !== undefined) this.#startFailed(how.error)
    this.#owner.workerExit({ ...how, restartDelay })
  }

  #startFailed(cause: Error): void {
    const isLate = cause instanceof IocpError && cause.code === 'ERR_IOCP_WORKER_TIMEOUT'
    this.#failedStarts = isLate ? TRIES : this.#failedStarts + 1
    if (this.#failedStarts < TRIES) return
    const failure = new IocpError(
      'ERR_IOCP_WORKERS_FAILED',
      `No worker starts (${String(this.#settings.module)}): ${cause.message}`,
      { cause }
    )
    for (const { reject } of this.#waiting.splice(0)) reject(failure)
    const isThere = [...this.#members.values()].some(({ isReady, isLeaving }) => isReady && !isLeaving)
    if (!isThere) this.#fail(failure)
  }

  #fail(failure: IocpError | undefined): void {
    if (failure === this.failure) return
    this.failure = failure
    this.#owner.workersFail(failure)
  }

  #settle(): void {
    const members = [...this.#members.values()]
    const isSettled = members.length === this.size && members.every((member) => member.isReady && !member.isLeaving)
    if (!isSettled) return
    for (const { resolve } of this.#waiting.splice(0)) resolve()
  }
}
