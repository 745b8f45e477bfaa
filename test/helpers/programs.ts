/** Programs in processes of their own. */

import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
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

/** Wine has no process to give now and then; the next attempt is given one. */
const ATTEMPTS = 3

/** Starts this Node.js with a program; both of its outputs are pipes. */
export function startNode(
  file: string,
  words: string[] = [],
  cwd?: string
): ChildProcessByStdio<null, Readable, Readable> {
  for (let attempt = 1; ; attempt++) {
    try {
      return spawn(process.execPath, [file, ...words], { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
    } catch (error) {
      // A number that this call does not have on Windows.
      if (attempt === ATTEMPTS || !(error instanceof Error && 'code' in error && error.code === 'UNKNOWN')) throw error
      console.warn(`no process for ${file}: once more`)
    }
  }
}

/**
 * Runs a program of this project with this Node.js to its end; one that does not end is killed, and then the code is
 * null.
 */
export function runFile(path: string, ...args: string[]): Promise<Ended> {
  const file = fileURLToPath(new URL(`../../${path}`, import.meta.url))
  const child = startNode(file, args)
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
