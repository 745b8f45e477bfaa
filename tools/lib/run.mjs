// Starting other programs, and telling the user what takes time.
import { spawn, spawnSync } from 'node:child_process'

/** A problem that the user can do something about: shown without a stack trace. */
export class Stop extends Error {}

/** One line on stderr, so that stdout stays the program's own. */
export function say(message) {
  process.stderr.write(`iocp: ${message}\n`)
}

/** Runs a program to its end; its output is the user's. Throws Stop when it fails. */
export async function run(command, args, options = {}) {
  const { status, signal } = await start(command, args, { stdio: ['ignore', 'inherit', 'inherit'], ...options })
  if (status !== 0) throw new Stop(`${commandLine(command, args)} ended with ${signal ?? `exit code ${status}`}`)
}

/** Runs a program to its end and says how it ended; never throws for an exit code. */
export function start(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, options)
    const output = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr']) {
      child[name]?.setEncoding('utf8').on('data', (text) => {
        output[name] += text
      })
    }
    child.on('error', reject)
    child.on('close', (status, signal) => resolve({ status, signal, ...output }))
  })
}

/** The output of a short program, or undefined when it is not there or fails. */
export function capture(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], ...options })
  return result.status === 0 ? result.stdout.trim() : undefined
}

/** The npm that runs us, else the one in the PATH. */
export function npm(args, options = {}) {
  const words = ['--no-audit', '--no-fund', '--loglevel=error', ...args]
  const env = { ...process.env, npm_config_update_notifier: 'false', ...options.env }
  const cli = process.env.npm_execpath
  if (cli?.endsWith('.js')) return run(process.execPath, [cli, ...words], { ...options, env })
  return run('npm', words, { shell: process.platform === 'win32', ...options, env })
}

export function commandLine(command, args) {
  return [command, ...args].map((word) => (/^[\w./:=@+-]+$/.test(word) ? word : JSON.stringify(word))).join(' ')
}

/** Is this module the program itself, not imported by another one? */
export const isMain = (meta) => process.argv[1] === meta.filename

/** Runs a tool's main function: a Stop is one line and exit code 1, everything else is a defect with its stack. */
export async function main(body) {
  try {
    process.exitCode = (await body()) ?? 0
  } catch (error) {
    if (!(error instanceof Stop)) throw error
    say(error.message)
    process.exitCode = 1
  }
}
