/** The threads of the workers: started, counted, replaced when they die, ended. Jobs are none of its business. */

import { Worker, type MessagePort } from 'node:worker_threads'
import { addonPath } from './addon.js'
import type { NativeJobs } from './binding.js'
import { withoutContext } from './context.js'
import { IocpError } from './errors.js'
import type { NativeFraming } from './framing.js'
import type { PayloadMessage, WorkerMessage, WorkerSetup } from './job_runner.js'
import type { WorkersSettings } from './workers_options.js'

/** How a worker ended that nobody had asked to. */
export interface WorkerExitInfo {
  /** Its number. */
  readonly number: number
  /** Node's exit code of the thread. */
  readonly exitCode: number
  /** What ended it, when it is known: an uncaught exception, ERR_WORKER_OUT_OF_MEMORY. */
  readonly error: Error | undefined
  /** When another one takes its place, in milliseconds. */
  readonly replacedIn: number
}

/** What every worker is told. */
export type WorkerFacts = Pick<WorkerSetup['iocp'], 'send' | 'endDeadline'> & { readonly send: NativeFraming }

const FIRST_DELAY = 50
const LONGEST_DELAY = 10_000

/** A worker that has lived so long, in milliseconds, was none of those that die at once. */
const LIVED = 5_000

interface Member {
  readonly number: number
  readonly worker: Worker
  readonly started: number
  isReady: boolean
  /** It is expected to end. */
  isLeaving: boolean
  isDefined: boolean
  error: Error | undefined
}

let lastNumber = 0

export class WorkerPool {
  /** How many there shall be. */
  size: number
  readonly #settings: WorkersSettings
  readonly #facts: WorkerFacts
  readonly #native: NativeJobs
  readonly #key: number
  readonly #exited: (info: WorkerExitInfo) => void
  readonly #members = new Map<number, Member>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #deaths = 0
  #isClosed = false
  #settled: (() => void)[] = []

  constructor(
    settings: WorkersSettings,
    size: number,
    facts: WorkerFacts,
    native: NativeJobs,
    exited: (info: WorkerExitInfo) => void
  ) {
    this.#settings = settings
    this.#facts = facts
    this.#native = native
    this.#exited = exited
    this.size = size
    this.#key = native.openJobs(settings.native)
  }

  /** Starts the workers. */
  start(): void {
    this.#adjust()
  }

  /**
   * Changes their number. Those that are not needed any more finish what they run.
   * @returns a promise for when as many as wanted are ready, and the others have ended
   */
  resize(size: number): Promise<void> {
    this.size = size
    this.#adjust()
    return new Promise((resolve) => {
      this.#settled.push(resolve)
      this.#settle()
    })
  }

  /** Ends one at once; another one takes its place. */
  terminate(number: number): void {
    void this.#members.get(number)?.worker.terminate()
  }

  /** Hands a payload to a worker. */
  post(number: number, payload: number, port: MessagePort): void {
    const message: PayloadMessage = { payload, port }
    this.#members.get(number)?.worker.postMessage(message, [port])
  }

  /** Ends all: in order as far as the time allows, in milliseconds. */
  async close(deadline: number): Promise<void> {
    this.#isClosed = true
    this.size = 0
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    for (const member of this.#members.values()) {
      member.worker.ref()
      this.#retire(member)
    }
    const all = new Promise<void>((resolve) => {
      this.#settled.push(resolve)
      this.#settle()
    })
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadline)
    })
    await Promise.race([all, late])
    clearTimeout(timer)
    await Promise.all([...this.#members.values()].map(({ worker }) => worker.terminate()))
    await all
  }

  #adjust(): void {
    if (this.#isClosed) return
    const staying = [...this.#members.values()].filter((member) => !member.isLeaving)
    // Those that have not begun to work go first.
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
    const options = { workerData: setup, name: `iocp worker ${number}`, ...(resourceLimits !== undefined && { resourceLimits }) }
    // It outlives the call that adds it.
    const worker = withoutContext(() => new Worker(module, options))
    const member: Member = {
      number,
      worker,
      started: performance.now(),
      isReady: false,
      isLeaving: false,
      isDefined: false,
      error: undefined
    }
    this.#members.set(number, member)
    // The module may post messages of its own; they are nobody's here.
    worker.on('message', (message: Partial<WorkerMessage> | null | undefined) => {
      if (message?.iocp === 'defined') member.isDefined = true
      if (message?.iocp === 'ready') member.isReady = true
      this.#settle()
    })
    worker.on('error', (error) => {
      member.error = error instanceof Error ? error : new Error(String(error))
    })
    worker.on('messageerror', (error) => {
      member.error = error
    })
    worker.on('exit', (code) => {
      this.#gone(member, code)
    })
    // What keeps the process alive are connections and jobs, not the threads that wait for them. Behind the listeners,
    // because a listener for messages refs the worker again.
    worker.unref()
  }

  #gone(member: Member, exitCode: number): void {
    this.#members.delete(member.number)
    if (!member.isLeaving && !this.#isClosed) this.#replace(member, exitCode)
    else if (member.error !== undefined && member.isReady) {
      process.emitWarning(`A worker that was to end failed: ${member.error.message}`, 'IocpWarning')
    }
    this.#settle()
  }

  /** The first death after a quiet time is replaced at once; the longer they die young, the longer it takes. */
  #replace(member: Member, exitCode: number): void {
    const isYoung = performance.now() - member.started < LIVED
    this.#deaths = isYoung ? this.#deaths + 1 : 1
    const replacedIn = this.#deaths === 1 ? 0 : Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** Math.min(this.#deaths - 2, 20))
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#adjust()
    }, replacedIn)
    timer.unref()
    this.#timers.add(timer)
    const error =
      member.error ??
      (member.isDefined || exitCode !== 0
        ? undefined
        : new IocpError('ERR_IOCP_WORKER_MODULE', `'${String(this.#settings.module)}' ended without having called defineJobs`))
    this.#exited({ number: member.number, exitCode, error, replacedIn })
  }

  #settle(): void {
    const members = [...this.#members.values()]
    const isSettled = members.length === this.size && members.every((member) => member.isReady && !member.isLeaving)
    if (!isSettled) return
    for (const resolve of this.#settled.splice(0)) resolve()
  }
}
