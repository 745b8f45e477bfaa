/** Programs in processes of their own. */

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** How a program ended. */
export interface Ended {
  /** Exit code; null when it was killed. */
  code: number | null
  out: string
  error: string
}

/** Far above what a program takes, also on a machine that is busy with other things. */
const LIMIT = 60_000

/** Runs a program of test/lifecycle/programs, see {@link runFile}. */
export function runProgram(name: string, ...args: string[]): Promise<Ended> {
  return runFile(`test/lifecycle/programs/${name}`, ...args)
}

/**
 * Runs a program of this project with this Node.js to its end; one that does not end is killed, and then the code is
 * null.
 */
export function runFile(path: string, ...args: string[]): Promise<Ended> {
  const file = fileURLToPath(new URL(`../../${path}`, import.meta.url))
  const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended: Ended = { code: null, out: '', error: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    ended.out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    ended.error += text
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ ...ended, code })
    })
  })
}
