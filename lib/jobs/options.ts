/** Options of workers and of their jobs: meaning, ranges, defaults, checks. */

import { availableParallelism } from 'node:os'
import { isAbsolute } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ResourceLimits, Transferable } from 'node:worker_threads'
import { invalidOption } from '../common/errors.js'
import { type Duration, type EachOption, MAX_DURATION, OptionReader, type Size } from '../common/option_reader.js'
import { toPath } from '../common/paths.js'
import { Connection } from '../connection/connection.js'
import type { NativeJobOptions } from '../native/types.js'

/** Which jobs go first. */
export type JobPriority = 'high' | 'normal' | 'low'

/** Worker threads for CPU-intensive work: option `workers` of servers and clients. */
export interface WorkersOptions {
  /** The module that calls `defineJobs`: an absolute path, or a URL such as `new URL('./jobs.js', import.meta.url)`. */
  module: string | URL
  /** Initial number of workers. 0 to 256; default the number of processors. */
  count?: number
  /**
   * Packets that go to the workers instead of the main thread: `'all'`, those whose first byte is one of these numbers
   * (0 to 255), with any framing, or none (default). Packets larger than `streamAbove` always go to the main thread.
   */
  route?: 'all' | readonly number[]
  /**
   * `'connection'` (default): a connection's jobs run one after another, in the sequence of its packets, so that its
   * replies have the same sequence. `'none'`: concurrently.
   */
  order?: 'connection' | 'none'
  /** Limit for waiting jobs. 1 to 1,048,576; default 10,000. */
  maxQueued?: number
  /** Limit for the bytes of waiting packets and payloads. 1 KiB to 1 TiB; default 64 MiB. */
  maxQueuedBytes?: Size
  /**
   * At the limit: `'pause-reads'` (default) connections whose packets are routed are not read from until half of the
   * jobs have been taken; `'reject'` their packets fail with a 'jobError'. `run` rejects in both cases.
   */
  onFull?: 'pause-reads' | 'reject'
  /** Priority of routed packets. Default `'normal'`. */
  priority?: JobPriority
  /**
   * A job whose connection has closed: `'skip'` (default) it is skipped, `'run'` it runs, and `job.connected` is false.
   */
  onClosed?: 'skip' | 'run'
  /** Time limit of a job; see `timeout` of {@link RunOptions}. 1 ms to 24 days, 0 (default) for no limit. */
  timeout?: Duration
  /**
   * Time limit of the `setup` of a worker, and of its `teardown` until the thread has ended. A worker that takes longer
   * is terminated. 1 ms to 24 days, 0 for no limit; default 30 s.
   */
  setupTimeout?: Duration
  /** Resource limits of each worker, as for Node's Worker. */
  resourceLimits?: ResourceLimits
  /** Data for `setup` in every worker; it is cloned now. */
  data?: unknown
}

/** How a job of the main thread runs. */
export interface RunOptions {
  /**
   * Objects of the payload to transfer instead of cloning them, as in `postMessage`. The payload then passes through
   * the main thread when a worker takes the job. An empty list permits values that only messages can contain.
   */
  transferList?: readonly Transferable[]
  /** Cancels the job; the promise rejects with the signal's reason. */
  signal?: AbortSignal
  /** Default `'normal'`. */
  priority?: JobPriority
  /**
   * Time limit until the result, including the time in the queue. A worker whose handler then does not yield is
   * replaced. 1 ms to 24 days, 0 for no limit; default the `timeout` of the workers.
   */
  timeout?: Duration
  /**
   * The connection the job belongs to, for `job.reply`. The job is queued in the sequence of that connection's jobs.
   */
  connection?: Connection
  /** If that connection has closed; default that of the workers. `'skip'` rejects with ERR_IOCP_CLOSED. */
  onClosed?: 'skip' | 'run'
}

const priorities: readonly JobPriority[] = ['high', 'normal', 'low']

/** The number of a priority in native code. */
function priorityNumber(reader: OptionReader, fallback: JobPriority = 'normal'): number {
  return priorities.indexOf(reader.oneOf('priority', priorities, fallback))
}

/** Options of workers, checked and completed. */
export interface WorkersSettings {
  readonly module: string | URL
  readonly count: number
  readonly native: NativeJobOptions
  readonly timeout: number
  readonly setupTimeout: number
  readonly resourceLimits: ResourceLimits | undefined
  readonly data: unknown
}

/** How many workers there may be. */
export const workerRange = { min: 0, max: 256 }

/**
 * The option `workers`.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readWorkers(value: unknown): WorkersSettings | undefined {
  if (value === undefined) return undefined
  const reader = new OptionReader(
    value,
    'workers',
    "an object such as { module: new URL('./jobs.js', import.meta.url) }"
  )
  const { maxQueued, maxQueuedBytes, order, priority, onFull, onClosed, route, ...direct } = {
    module: readModule(reader),
    count: reader.integer('count', workerRange, availableParallelism()),
    maxQueued: reader.integer('maxQueued', { min: 1, max: 2 ** 20 }, 10_000),
    maxQueuedBytes: reader.size('maxQueuedBytes', { min: 1024, max: 2 ** 40 }, 64 * 1024 * 1024),
    order: reader.oneOf('order', ['connection', 'none'], 'connection'),
    priority: priorityNumber(reader),
    onFull: reader.oneOf('onFull', ['pause-reads', 'reject'], 'pause-reads'),
    onClosed: reader.oneOf('onClosed', ['skip', 'run'], 'skip'),
    route: readRoute(reader),
    timeout: reader.duration('timeout', { min: 0, max: MAX_DURATION }, 0),
    setupTimeout: reader.duration('setupTimeout', { min: 0, max: MAX_DURATION }, 30_000),
    resourceLimits: readLimits(reader),
    data: readData(reader)
  } satisfies EachOption<WorkersOptions>
  reader.rejectUnknown()
  const ordered = order === 'connection'
  const limits = { maxQueued, maxQueuedBytes, reject: onFull === 'reject' }
  return { ...direct, native: { ...limits, ordered, priority, skipWhenClosed: onClosed === 'skip', ...route } }
}

function readModule(reader: OptionReader): string | URL {
  const value = reader.raw('module')
  if (value instanceof URL && value.protocol === 'data:') return new URL(value)
  if (value instanceof URL && value.protocol === 'file:') return pathToFileURL(toPath(value, reader.name('module')))
  if (typeof value === 'string' && isAbsolute(value)) return value
  throw invalidOption(reader.name('module'), value, 'an absolute path, or a URL with file: or data:')
}

/**
 * Each worker gets a clone of it, also one that starts later: as it is now. A value that cannot be cloned is reported now
 * instead of when a worker starts.
 */
function readData(reader: OptionReader): unknown {
  const value = reader.raw('data')
  try {
    return structuredClone(value)
  } catch {
    throw invalidOption(reader.name('data'), value, 'a value that can be cloned')
  }
}

function readRoute(reader: OptionReader): { routeAll: boolean; route: Uint8Array } {
  const value = reader.raw('route')
  const none = new Uint8Array(0)
  if (value === undefined) return { routeAll: false, route: none }
  if (value === 'all') return { routeAll: true, route: none }
  const isByte = (one: unknown): boolean => Number.isInteger(one) && (one as number) >= 0 && (one as number) <= 255
  if (!Array.isArray(value)) {
    throw invalidOption(reader.name('route'), value, "'all' or an array of packet types from 0 to 255")
  }
  const wrong = value.findIndex((one) => !isByte(one))
  if (wrong !== -1) {
    throw invalidOption(
      `${reader.name('route')}[${wrong}]`,
      value[wrong],
      'a packet type, a whole number from 0 to 255'
    )
  }
  return { routeAll: false, route: Uint8Array.from(value) }
}

/** As Node's Worker has them, which takes a wrong one for none. */
function readLimits(outer: OptionReader): ResourceLimits | undefined {
  const value = outer.raw('resourceLimits')
  if (value === undefined) return undefined
  const reader = new OptionReader(value, outer.name('resourceLimits'), "an object, as for Node's Worker")
  const size = (name: keyof ResourceLimits): number | undefined => {
    const given = reader.raw(name)
    if (given === undefined || (typeof given === 'number' && given > 0)) return given
    throw invalidOption(reader.name(name), given, 'a number of megabytes above 0')
  }
  const limits = {
    maxYoungGenerationSizeMb: size('maxYoungGenerationSizeMb'),
    maxOldGenerationSizeMb: size('maxOldGenerationSizeMb'),
    codeRangeSizeMb: size('codeRangeSizeMb'),
    stackSizeMb: size('stackSizeMb')
  } satisfies EachOption<ResourceLimits>
  reader.rejectUnknown()
  return Object.fromEntries(Object.entries(limits).filter(([, one]) => one !== undefined))
}

/** How a job runs, checked and completed. */
export interface RunSettings {
  readonly transferList: readonly Transferable[] | undefined
  readonly signal: AbortSignal | undefined
  readonly priority: number
  readonly timeout: number
  readonly connection: Connection | undefined
  readonly skipWhenClosed: boolean
}

/** How a job without options runs. */
export function defaultRun({ timeout, native }: WorkersSettings): RunSettings {
  const nothing = { transferList: undefined, signal: undefined, connection: undefined }
  return { ...nothing, priority: 1, timeout, skipWhenClosed: native.skipWhenClosed }
}

/**
 * The options of `run`.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readRun(options: RunOptions, fallback: RunSettings): RunSettings {
  const reader = new OptionReader(options, '', "an object such as { timeout: '10s' }")
  const transferList = reader.raw('transferList')
  if (transferList !== undefined && !Array.isArray(transferList)) {
    throw invalidOption('transferList', transferList, 'an array of transferable objects')
  }
  const signal = reader.signal('signal')
  const connection = reader.raw('connection')
  if (connection !== undefined && !(connection instanceof Connection)) {
    throw invalidOption('connection', connection, 'a connection')
  }
  const { onClosed, ...direct } = {
    transferList: transferList as readonly Transferable[] | undefined,
    signal,
    connection,
    priority: priorityNumber(reader),
    timeout: reader.duration('timeout', { min: 0, max: MAX_DURATION }, fallback.timeout),
    onClosed: reader.oneOf('onClosed', ['skip', 'run'], fallback.skipWhenClosed ? 'skip' : 'run')
  } satisfies EachOption<RunOptions>
  reader.rejectUnknown()
  return { ...direct, skipWhenClosed: onClosed === 'skip' }
}
