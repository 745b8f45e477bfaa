// Using Wine from a command: a wineserver runs from the first command's start to the last command's end.
//
// A wineserver of its own would be started and ended by each Windows process, at a cost of seconds. Several commands
// may use the prefix at once, so each leaves a file with its process id while it does; the last one out ends the
// server, and with it whatever Windows process was left behind.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { isAlive, takeLock } from '../lib/lock.mjs'
import {
  nodeExe,
  preparePrefix,
  removeServerFolder,
  usersFolder as users,
  wineCommand,
  wineEnvironment,
  wineSync
} from './prefix.mjs'

const mine = path.join(users, String(process.pid))

/** After needWindowsNode(). The prefix is released when this process exits, at the latest. */
export function openWine() {
  if (fs.existsSync(mine)) return
  const unlock = takeLock('wine')
  try {
    fs.mkdirSync(users, { recursive: true })
    fs.writeFileSync(mine, '')
    process.once('exit', closeWine)
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, onSignal)
    wineSync('wineserver', ['-p']) // exit code 2: one is running already
    preparePrefix()
  } finally {
    unlock()
  }
}

export function closeWine() {
  if (!fs.existsSync(mine)) return
  const unlock = takeLock('wine')
  try {
    fs.rmSync(mine)
    const others = fs.readdirSync(users).filter((pid) => isAlive(Number(pid)) || fs.rmSync(path.join(users, pid)))
    if (others.length > 0 || process.env.IOCP_KEEP_WINE === '1') return
    wineSync('wineserver', ['-k'])
    wineSync('wineserver', ['-w'])
    removeServerFolder()
  } finally {
    unlock()
  }
}

const running = new Set()
let lastInterrupt = -Infinity

/**
 * The programs that run get one SIGINT, which arrives inside as process.on('SIGINT'); what they do then ends us too.
 * SIGTERM and SIGHUP become SIGINT: Wine ends a program on them without asking it.
 */
function onSignal() {
  if (running.size === 0) process.exit(130) // closes Wine on the way out
  const now = performance.now()
  // The same Ctrl-C comes from the terminal and from npm.
  if (now - lastInterrupt < 500) return
  lastInterrupt = now
  for (const child of running) child.kill('SIGINT')
}

/**
 * Runs the Windows Node.js and resolves to its exit code; after `limit` milliseconds it is killed. It gets a process
 * group of its own, so that a Ctrl-C in the terminal reaches it through us only.
 */
export function runWindowsNode(args, { env = {}, executable = nodeExe, limit, ...options } = {}) {
  const [out, error] = [process.stdout, process.stderr].map((stream) => stream.isTTY === true)
  const child = spawn(...wineCommand('wine64', [executable, ...args]), {
    detached: true,
    // Never the terminal itself: Wine would start a console of its own on it.
    stdio: [process.stdin.isTTY ? 'ignore' : 'inherit', out ? 'pipe' : 'inherit', error ? 'pipe' : 'inherit'],
    ...options,
    env: {
      ...wineEnvironment(),
      ...(out && { IOCP_TERMINAL_COLUMNS: String(process.stdout.columns || 80) }),
      ...env
    }
  })
  running.add(child)
  child.stdout?.pipe(process.stdout, { end: false })
  child.stderr?.pipe(process.stderr, { end: false })
  const timer = limit === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), limit)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      running.delete(child)
      resolve(signal === null ? status : 128)
    })
  })
}
