/// <reference types="node" preserve="true" />
/** What a module of workers imports: `iocp/worker`. */

import { isMainThread, workerData } from 'node:worker_threads'
import { invalidArgument } from './common/errors.js'
import { OptionReader } from './common/option_reader.js'
import type { Job, PacketJob } from './jobs/job.js'
import { isWorkerSetup, startWorker } from './jobs/job_runner.js'

export type { Job, JobTarget, PacketJob } from './jobs/job.js'

/** What a worker knows when it starts. */
export interface WorkerContext {
  /** Number of this worker, unique in its server or client. */
  readonly number: number
  /** What the option `workers.data` holds. */
  readonly data: unknown
}

/**
 * Handlers: by name for jobs that the main thread adds, by number for routed packets with that first byte; `packet`
 * takes the routed packets for which there is none by number. A handler may be async.
 */
export interface JobHandlers {
  packet?: (job: PacketJob) => unknown
  [type: number]: (job: PacketJob) => unknown
  [name: string]: ((job: never) => unknown) | undefined
}

/** How the jobs of a module run. */
export interface JobModuleOptions {
  /** Jobs that one worker runs at a time; more than one is for handlers that wait. 1 to 256; default 1. */
  concurrency?: number
  /** Called once in each worker before its first job, and waited for. */
  setup?: (context: WorkerContext) => unknown
  /** Called when the worker is not needed any more, after its last job, and waited for. */
  teardown?: (context: WorkerContext) => unknown
}

/** What {@link defineJobs} gives back. */
export interface JobModule<H> {
  readonly handlers: H
}

/** What a handler gives back, by its name. */
export type JobResult<M extends JobModule<unknown>, K extends string & keyof M['handlers']> = M['handlers'][K] extends (
  job: never
) => infer R
  ? Awaited<R>
  : never

/**
 * Says what the workers do. Call it once, while the module loads; elsewhere than in a worker it does nothing, so that
 * a module of jobs can be imported by tests.
 *
 * @throws IocpError ERR_IOCP_INVALID_OPTION, ERR_INVALID_ARG_TYPE
 */
export function defineJobs<const H extends JobHandlers>(handlers: H, options: JobModuleOptions = {}): JobModule<H> {
  if (typeof handlers !== 'object' || (handlers as unknown) === null) {
    throw invalidArgument('handlers', handlers, 'an object of functions')
  }
  for (const [name, handler] of Object.entries(handlers)) {
    if (typeof handler !== 'function') throw invalidArgument(`handlers.${name}`, handler, 'a function')
  }
  const reader = new OptionReader(options, '')
  const settings = {
    concurrency: reader.integer('concurrency', { min: 1, max: 256 }, 1),
    setup: reader.callback<(context: WorkerContext) => unknown>('setup'),
    teardown: reader.callback<(context: WorkerContext) => unknown>('teardown')
  }
  reader.rejectUnknown()
  const given: unknown = workerData
  if (!isMainThread && isWorkerSetup(given)) {
    // What a handler wants of its job's payload is between it and whoever adds the job.
    startWorker(new Map(Object.entries(handlers) as [string, (job: Job) => unknown][]), settings, given)
  }
  return { handlers }
}
