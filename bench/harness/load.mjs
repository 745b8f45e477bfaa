// The load generator: a program for the machine itself, which loads a server from outside.
import { spawn } from 'node:child_process'
import { Stop } from '../../tools/lib/run.mjs'
import { JsonLines } from './json_lines.mjs'

/** Beyond the generator's own limit something is wrong with it. */
const GRACE = 20_000

/**
 * Runs it to its end.
 * @param options its options, by name
 * @param onPhase called for each phase that it reports; it goes on when the promise has resolved where it waits
 * @returns what it reports
 */
export async function runLoad(program, scenario, options, onPhase = () => {}) {
  const { limit = 120 } = options
  const words = Object.entries({ ...options, limit }).flatMap(([name, value]) => [`--${name}`, String(value)])
  const child = spawn(program, [scenario, ...words], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  const kill = () => child.kill('SIGKILL')
  const timer = setTimeout(kill, limit * 1000 + GRACE)
  process.once('exit', kill)
  try {
    const lines = new JsonLines(child.stdout)
    for (;;) {
      const line = await lines.next()
      if (line === undefined)
        throw new Stop(`the load generator ended with ${await ended}: ${scenario} ${words.join(' ')}`)
      if (line.phase === undefined) {
        await onPhase('done')
        await ended
        return line
      }
      await onPhase(line.phase)
      child.stdin.write('\n')
    }
  } finally {
    clearTimeout(timer)
    process.removeListener('exit', kill)
  }
}
