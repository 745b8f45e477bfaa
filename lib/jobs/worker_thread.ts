/** Starts threads for workers: with the flags of this process, except those that only a main program can have. */

import { Worker, type WorkerOptions } from 'node:worker_threads'

/**
 * Flags that select the program, or watch, test or check it. In a worker they would replace its module, or Node would
 * reject them.
 */
const OF_PROGRAMS =
  /^(?:-[cepi]+|--(?:eval|print|check|interactive|input-type|run|watch|watch-[\w-]+|test|test-[\w-]+|experimental-test-[\w-]+))(?:=|$)/

/** The flags that a worker can have, with their values. The same list if that is all of them. */
export function workerFlags(flags: readonly string[]): readonly string[] {
  if (!flags.some((flag) => OF_PROGRAMS.test(flag))) return flags
  const kept: string[] = []
  let isKept = true
  for (const flag of flags) {
    // The value of a flag does not start with a dash: Node would interpret it as another flag.
    if (flag.startsWith('-')) isKept = !OF_PROGRAMS.test(flag)
    if (isKept) kept.push(flag)
  }
  return kept
}

/**
 * Starts a thread. Flags that configure V8 and the process apply to it anyway.
 * @throws whatever `new Worker` throws
 */
export function startThread(module: string | URL, options: WorkerOptions): Worker {
  const flags = workerFlags(process.execArgv)
  // Unchanged flags are inherited; a list is validated, and some inherited flags are invalid in it.
  if (flags === process.execArgv) return new Worker(module, options)
  try {
    return new Worker(module, { ...options, execArgv: [...flags] })
  } catch (error) {
    const refused = refusedFlags(error)
    if (refused === undefined) throw error
    return new Worker(module, { ...options, execArgv: flags.filter((flag) => !refused.has(flag)) })
  }
}

/** The flags with which Node cannot start a worker, because they concern the whole process. */
function refusedFlags(error: unknown): Set<string> | undefined {
  const { code, message } = error as { code?: unknown; message?: unknown }
  if (code !== 'ERR_WORKER_INVALID_EXEC_ARGV' || typeof message !== 'string') return undefined
  return new Set(message.slice(message.indexOf(': ') + 2).split(', '))
}
