/// <reference types="node" preserve="true" />
/** The module `iocp/worker`, for modules of workers. */

import { isMainThread, workerData } from 'node:worker_threads'
import { invalidArgument } from './common/errors.js'
import { OptionReader } from './common/option_reader.js'
import type { Job, PacketJob } from './jobs/job.js'
import { isWorkerSetup, startWorker } from './jobs/job_runner.js'

export type { Job, JobTarget, PacketJob } from './jobs/job.js'

/** The argument of `setup` and `teardown`. */
export interface WorkerContext {
  /** Number of this worker, unique in its server or client. */
  readonly number: number
  /** The option `workers.data`. */
  readonly data: unknown
}

/**
 * Handlers: by name for jobs of the main thread, by number for routed packets with that first byte; `packet` handles
 * routed packets without a number. A handler may be async. The handler of a named job declares the type of its payload:
 * `hash: (job: Job<string>) => …`; without a declaration `job.data` has the type `never`.
 */
export interface JobHandlers {
  packet?: (job: PacketJob) => unknown
  [type: number]: (job: PacketJob) => unknown
  [name: string]: ((job: never) => unknown) | undefined
}

/** How the jobs of a module run. */
export interface JobModuleOptions {
  /** Jobs that one worker runs at a time; use more than one for asynchronous handlers. 1 to 256; default 1. */
  concurrency?: number
  /** Called and awaited once in each worker before its first job. */
  setup?: (context: WorkerContext) => unknown
  /** Called and awaited once when the worker is no longer needed, after its last job. */
  teardown?: (context: WorkerContext) => unknown
}

/** The result of {@link defineJobs}. */
export interface JobModule<H> {
  readonly handlers: H
}

/** The result type of a handler, by its name. */
export type JobResult<M extends JobModule<unknown>, K extends string & keyof M['handlers']> = M['handlers'][K] extends (
  job: never
) => infer R
  ? Awaited<R>
  : never

/**
 * Defines the handlers of the workers. Call it once, while the module loads. Outside of a worker it has no effect, so
 * that tests can import the module.
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
  const reader = new OptionReader(options, '', 'an object such as { concurrency: 4 }')
  const settings = {
    concurrency: reader.integer('concurrency', { min: 1, max: 256 }, 1),
    setup: reader.callback<(context: WorkerContext) => unknown>('setup'),
    teardown: reader.callback<(context: WorkerContext) => unknown>('teardown')
  }
  reader.rejectUnknown()
  const given: unknown = workerData
  if (!isMainThread && isWorkerSetup(given)) {
    // The payload's type is an agreement between the handler and the caller of `run`.
    startWorker(new Map(Object.entries(handlers) as [string, (job: Job) => unknown][]), settings, given)
  }
  return { handlers }
}
