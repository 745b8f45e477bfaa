/** Runs jobs in a worker: passes jobs from native code to the handlers, and their results back. Hot path. */

import { AsyncResource } from 'node:async_hooks'
import { type MessagePort, parentPort, receiveMessageOnPort } from 'node:worker_threads'
import { IocpError } from '../common/errors.js'
import { closest } from '../common/option_reader.js'
import { nativeSetImmediate } from '../common/timers.js'
import { addonPath, setAddonPath } from '../native/addon.js'
import { binding } from '../native/binding.js'
import { jobOutcome, op, record, RECORD_WORDS, SLOTS } from '../native/protocol.js'
import { Submission } from '../native/submission.js'
import type { NativeFraming, NativeWorkerPort } from '../native/types.js'
import { PacketBuffer } from '../packets/packet_buffer.js'
import { checkBytes, checkEncodable, checkSize, type SendRules, sendRules } from '../packets/send_rules.js'
import { generationOf, Job, type JobSender, slotOf } from './job.js'
import { decodeNumber, decodeValue, encodeError, encodeResult, form, ownBytes, readCall } from './job_codec.js'

/** The initial data of a worker from the main thread. */
export interface WorkerSetup {
  readonly iocp: {
    readonly key: number
    readonly number: number
    /** The framing for sending of the server's connections, unless changed by setFraming. */
    readonly send: NativeFraming
    /** Whether files may be transferred, so that their types are reserved. */
    readonly transfers: boolean
    readonly endDeadline: number
    /** The addon that the main thread uses. */
    readonly addon: string | undefined
  }
  readonly data: unknown
}

/** Status messages of a worker. */
export interface WorkerMessage {
  readonly iocp: 'defined' | 'ready' | 'leaving' | 'failed'
  /** The error of its setup or teardown, see `encodeError`. */
  readonly error?: Uint8Array
}

/** The payload of a call with transferables. */
export interface PayloadMessage {
  /** Its number. */
  readonly payload: number
  readonly port: MessagePort
}

/** How jobs run; see `JobModuleOptions`. */
export interface RunnerSettings {
  readonly concurrency: number
  readonly setup: ((context: { number: number; data: unknown }) => unknown) | undefined
  readonly teardown: ((context: { number: number; data: unknown }) => unknown) | undefined
}

type Handler = (job: Job) => unknown

const EMPTY = new Uint8Array(0)

/** Whether this thread was started as a worker of a server or client. */
export function isWorkerSetup(data: unknown): data is WorkerSetup {
  if (typeof data !== 'object' || data === null) return false
  const { iocp } = data as { iocp?: Partial<WorkerSetup['iocp']> }
  return typeof iocp?.key === 'number' && typeof iocp.number === 'number'
}

let isDefined = false

/**
 * Makes this thread a worker.
 * @throws IocpError ERR_IOCP_WORKER_MODULE the second time
 */
export function startWorker(
  handlers: ReadonlyMap<string, Handler>,
  settings: RunnerSettings,
  setup: WorkerSetup
): void {
  if (isDefined) throw new IocpError('ERR_IOCP_WORKER_MODULE', 'defineJobs was called twice in one worker')
  isDefined = true
  tell('defined')
  // After the module has loaded: a handler may use declarations after the call.
  nativeSetImmediate(() => {
    begin(handlers, settings, setup).catch((error: unknown) => {
      tell('failed', encodeError(error))
      // Independent of how the module or the flags of the process treat unhandled rejections.
      process.exit(1)
    })
  })
}

async function begin(
  handlers: ReadonlyMap<string, Handler>,
  settings: RunnerSettings,
  setup: WorkerSetup
): Promise<void> {
  const context = { number: setup.iocp.number, data: setup.data }
  await settings.setup?.(context)
  const runner = new JobRunner(handlers, setup)
  const leave = async (): Promise<void> => {
    tell('leaving')
    try {
      await settings.teardown?.(context)
    } catch (error) {
      tell('failed', encodeError(error))
    } finally {
      runner.detach()
      parentPort?.close()
    }
  }
  if (runner.attach(setup, settings.concurrency, leave)) tell('ready')
  else await leave()
}

function tell(iocp: WorkerMessage['iocp'], error?: Uint8Array): void {
  const message: WorkerMessage = { iocp, ...(error !== undefined && { error }) }
  parentPort?.postMessage(message)
}

export class JobRunner implements JobSender {
  readonly #handlers: ReadonlyMap<string, Handler>
  readonly #byType: readonly (Handler | undefined)[]
  readonly #rules: SendRules
  readonly #endDeadline: number
  readonly #jobs = new Map<number, Job>()
  /** Jobs whose payload is sent as a message, by its number. */
  readonly #expected = new Map<number, { readonly slot: number; readonly start: (payload: unknown) => void }>()
  #port: NativeWorkerPort | undefined
  #submission: Submission | undefined
  #leave: () => Promise<void> = () => Promise.resolve()

  constructor(handlers: ReadonlyMap<string, Handler>, { iocp }: WorkerSetup) {
    this.#handlers = handlers
    this.#byType = Array.from({ length: 256 }, (_, type) => handlers.get(String(type)) ?? handlers.get('packet'))
    this.#rules = sendRules(iocp.send, iocp.transfers)
    this.#endDeadline = iocp.endDeadline
  }

  /** Starts to take jobs. False if this worker is no longer needed. */
  attach({ iocp }: WorkerSetup, concurrency: number, leave: () => Promise<void>): boolean {
    this.#leave = leave
    if (iocp.addon !== undefined && addonPath() === undefined) setAddonPath(iocp.addon)
    const { WorkerPort } = binding()
    try {
      this.#port = new WorkerPort(iocp.key, iocp.number, concurrency, this.#onBatch, nativeSetImmediate)
    } catch {
      return false
    }
    this.#submission = new Submission(this.#port)
    parentPort?.on('message', this.#onMessage)
    return true
  }

  detach(): void {
    try {
      this.#submission?.flush()
    } finally {
      this.#port?.detach()
    }
  }

  /** @throws IocpError unless the server's framing can carry it */
  payload(data: Uint8Array | string): Uint8Array {
    if (typeof data !== 'string') checkBytes(data)
    const bytes = typeof data === 'string' ? Buffer.from(data) : data
    checkSize(this.#rules, bytes.length)
    checkEncodable(this.#rules, bytes)
    return bytes
  }

  send(id: number, bytes: Uint8Array, reply: number): void {
    const submission = this.#submission
    if (submission === undefined) return
    submission.reserve(bytes.length, Number.MAX_SAFE_INTEGER)
    submission.send(slotOf(id), generationOf(id), bytes, bytes.length, Number.MAX_SAFE_INTEGER, reply)
    this.#copyLarge(bytes)
  }

  broadcast(bytes: Uint8Array, except: number): void {
    this.#submission?.carrying(op.broadcast, op.broadcastPinned, slotOf(except), generationOf(except), bytes)
    this.#copyLarge(bytes)
  }

  /**
   * Payloads that do not fit into the shared block are copied by native code: now, because the handler may reuse them.
   */
  #copyLarge({ length }: Uint8Array): void {
    if (length > (this.#port?.submitPayload.length ?? 0)) this.#submission?.flush()
  }

  disconnect(id: number, isGraceful: boolean): void {
    const deadline = isGraceful ? this.#endDeadline : 0
    this.#submission?.operation(isGraceful ? op.end : op.destroy, slotOf(id), generationOf(id), deadline)
  }

  queuedBytes(id: number): number {
    this.flush()
    return this.#port?.queued(slotOf(id), generationOf(id)) ?? -1
  }

  flush(): void {
    this.#submission?.flush()
  }

  /** Called once for many jobs, which are taken one by one: another worker may start those that this one has not. */
  readonly #onBatch = (first: ArrayBuffer): void => {
    const port = this.#port
    const submission = this.#submission
    if (port === undefined || submission === undefined) return
    const words = port.batchControl
    submission.beginBatch()
    try {
      for (let memory: ArrayBuffer | undefined = first; memory !== undefined;) {
        const isPending = this.#turn(words, memory)
        // Before the next one starts, however long that takes.
        submission.flush()
        memory = port.next(isPending)
      }
    } finally {
      submission.endBatch()
    }
  }

  /**
   * @param memory contains the job's bytes; the next turn may reuse it, unless the job's bytes fill it
   * @returns whether the started job continues
   */
  #turn(words: Uint32Array, memory: ArrayBuffer): boolean {
    let begun = -1
    const before = this.#expected.size
    const progress = words.length - 1
    const records = words[progress - 1] as number
    for (let at = 0; at < records * RECORD_WORDS; at += RECORD_WORDS) {
      const kind = words[at] as number
      const slot = words[at + 5] as number
      if (kind === record.jobAbort) {
        this.#abort(slot)
        continue
      }
      if (kind === record.retire) {
        void this.#leave()
        continue
      }
      const connectionId = (words[at + 2] as number) * SLOTS + (words[at + 1] as number)
      const bytes = new PacketBuffer(memory, words[at + 3] as number, words[at + 4] as number)
      // From here on it counts as started: if this worker ends now, the job is not given to another one.
      words[progress] = 1
      begun = slot
      if (kind === record.packet) {
        const handler = bytes.length === 0 ? this.#handlers.get('packet') : this.#byType[bytes[0] as number]
        this.#run(new Job(this, slot, 'packet', isAlone(bytes) ? bytes : ownBytes(bytes), connectionId, true), handler)
      } else {
        this.#call(slot, bytes, connectionId)
      }
    }
    return this.#jobs.has(begun) || this.#expected.size > before
  }

  #call(slot: number, bytes: Buffer, connectionId: number): void {
    const { form: kind, name, body } = readCall(bytes)
    const start = (payload: unknown): void => {
      // Handlers of packets get a Buffer always: `run` has no other name for them.
      const handler = isForPackets(name) ? undefined : this.#handlers.get(name)
      this.#run(new Job(this, slot, name, payload, connectionId, false), handler)
    }
    if (kind === form.message) this.#expected.set(decodeNumber(body), { slot, start })
    else if (kind === form.bytes && isAlone(bytes)) start(body)
    else this.#decoded(slot, kind, body, start)
  }

  #decoded(slot: number, kind: number, body: Buffer, start: (payload: unknown) => void): void {
    let payload: unknown
    try {
      payload = decodeValue(kind, body)
    } catch (error) {
      this.#submission?.carrying(op.jobDone, op.jobDonePinned, slot, jobOutcome.failed, encodeError(error))
      return
    }
    start(payload)
  }

  readonly #onMessage = ({ payload, port }: PayloadMessage): void => {
    const expected = this.#expected.get(payload)
    const message = receiveMessageOnPort(port)
    port.close()
    // Cancelled meanwhile.
    if (expected === undefined) return
    this.#expected.delete(payload)
    expected.start((message as { message: unknown } | undefined)?.message)
  }

  #run(job: Job, handler: Handler | undefined): void {
    this.#jobs.set(job._slot, job)
    try {
      if (handler === undefined) {
        throw new IocpError('ERR_IOCP_JOB_UNKNOWN', this.#unknown(job))
      }
      // A context that it enters (AsyncLocalStorage) does not apply to the next job.
      const result = new AsyncResource('IOCP').runInAsyncScope(handler, undefined, job)
      if (isThenable(result)) {
        result.then(
          (value) => {
            this.#succeed(job, value)
          },
          (error: unknown) => {
            this.#fail(job, error)
          }
        )
      } else {
        this.#succeed(job, result)
      }
    } catch (error) {
      this.#fail(job, error)
    }
  }

  #unknown(job: Job): string {
    if (job._isRouted) return `The module of the workers has no handler for packets of type ${(job.data as Buffer)[0]}`
    if (isForPackets(job.name)) return `'${job.name}' is a handler of packets; 'run' takes the names of the others`
    const names = [...this.#handlers.keys()].filter((name) => !isForPackets(name))
    const meant = closest(job.name, names)
    const list = names.map((name) => `'${name}'`).join(', ')
    const known = names.length === 0 ? 'it has none for jobs' : `it has ${list}`
    const hint = meant === undefined ? known : `did you mean '${meant}'?`
    return `The module of the workers has no handler for '${job.name}'; ${hint}`
  }

  #succeed(job: Job, value: unknown): void {
    if (job._slot === -1) return
    let bytes: Uint8Array = EMPTY
    try {
      // The return value of a packet's handler is ignored: the reply to a packet is a packet.
      if (!job._isRouted) bytes = encodeResult(value)
    } catch (error) {
      this.#fail(job, error)
      return
    }
    this.#settle(job, jobOutcome.done, bytes)
  }

  #fail(job: Job, error: unknown): void {
    if (job._slot !== -1) this.#settle(job, jobOutcome.failed, encodeError(error))
  }

  #abort(slot: number): void {
    const job = this.#jobs.get(slot)
    if (job === undefined) {
      // Its payload has not arrived yet.
      for (const [payload, expected] of this.#expected) {
        if (expected.slot === slot) this.#expected.delete(payload)
      }
      this.#submission?.carrying(op.jobDone, op.jobDonePinned, slot, jobOutcome.cancelled, EMPTY)
    } else {
      this.#settle(job, jobOutcome.cancelled, EMPTY)
    }
  }

  #settle(job: Job, outcome: number, bytes: Uint8Array): void {
    const slot = job._slot
    this.#jobs.delete(slot)
    job._end(outcome !== jobOutcome.cancelled)
    this.#submission?.carrying(op.jobDone, op.jobDonePinned, slot, outcome, bytes)
  }
}

/**
 * Whether the job's bytes fill the memory that they came in, which then is the job's own. A handler may hand it on and
 * so take it away, and it may look at all of it.
 */
function isAlone(bytes: Buffer): boolean {
  return bytes.length === bytes.buffer.byteLength
}

/** Whether a handler of this name is one for routed packets: of one type, or of all that have no handler of their own. */
function isForPackets(name: string): boolean {
  return name === 'packet' || (/^\d{1,3}$/.test(name) && Number(name) <= 255)
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
