/** Starts threads for workers: with the flags of this process, but for those that only a program can have. */

import { Worker, type WorkerOptions } from 'node:worker_threads'

/**
 * Flags that say what the program is or that it is watched, tested, or only checked. In a worker they would stand in
 * the place of its module, or make Node refuse it.
 */
const OF_PROGRAMS =
  /^(?:-[cepi]+|--(?:eval|print|check|interactive|input-type|run|watch|watch-[\w-]+|test|test-[\w-]+|experimental-test-[\w-]+))(?:=|$)/

/** The flags that a worker can have, each behind what belongs to it. The same list when that is all of them. */
export function workerFlags(flags: readonly string[]): readonly string[] {
  if (!flags.some((flag) => OF_PROGRAMS.test(flag))) return flags
  const kept: string[] = []
  let isKept = true
  for (const flag of flags) {
    // The value of a flag does not begin with a dash: Node would take it for another one.
    if (flag.startsWith('-')) isKept = !OF_PROGRAMS.test(flag)
    if (isKept) kept.push(flag)
  }
  return kept
}

/**
 * A thread. What the process's own flags make of V8 and of the process holds in it anyhow.
 * @throws whatever `new Worker` throws
 */
export function startThread(module: string | URL, options: WorkerOptions): Worker {
  const flags = workerFlags(process.execArgv)
  // As they are they are inherited; a list is checked, and some that are inherited cannot be in it.
  if (flags === process.execArgv) return new Worker(module, options)
  try {
    return new Worker(module, { ...options, execArgv: [...flags] })
  } catch (error) {
    const refused = refusedFlags(error)
    if (refused === undefined) throw error
    return new Worker(module, { ...options, execArgv: flags.filter((flag) => !refused.has(flag)) })
  }
}

/** Those of which Node says that no worker can be started with them: they concern the whole process. */
function refusedFlags(error: unknown): Set<string> | undefined {
  const { code, message } = error as { code?: unknown; message?: unknown }
  if (code !== 'ERR_WORKER_INVALID_EXEC_ARGV' || typeof message !== 'string') return undefined
  return new Set(message.slice(message.indexOf(': ') + 2).split(', '))
}
