// Using Wine from a command: a wineserver runs from the first command's start to the last command's end.
//
// A wineserver of its own would be started and ended by each Windows process, at a cost of seconds. Several commands
// may use the prefix at once, so each leaves a file with its process id while it does; the last one out ends the
// server, and with it whatever Windows process was left behind.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { isAlive, takeLock } from '../lib/lock.mjs'
import { inCache } from '../lib/paths.mjs'
import { nodeExe, preparePrefix, removeServerFolder, wineEnvironment, wineProgram, wineSync } from './prefix.mjs'

const users = inCache('wine', 'users')
const mine = path.join(users, String(process.pid))

/** After needWindowsNode(). The prefix is released when this process exits, at the latest. */
export function openWine() {
  if (fs.existsSync(mine)) return
  const unlock = takeLock('wine')
  try {
    fs.mkdirSync(users, { recursive: true })
    fs.writeFileSync(mine, '')
    process.once('exit', closeWine)
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

/**
 * Runs the Windows Node.js and resolves to its exit code.
 *
 * It gets a process group of its own: a Ctrl-C in the terminal would reach it directly and through us, and npm passes
 * on another one. We forward one SIGINT, which arrives as process.on('SIGINT') inside; SIGTERM and SIGHUP, for which
 * Windows programs have no handler that Wine would call, are forwarded as SIGINT too.
 */
export function runWindowsNode(args, { env = {}, ...options } = {}) {
  const terminal = process.stdout.isTTY
  const child = spawn(wineProgram('wine64'), [nodeExe, ...args], {
    detached: true,
    // Never the terminal itself: Wine would start a console of its own on it.
    stdio: [process.stdin.isTTY ? 'ignore' : 'inherit', ...[1, 2].map((fd) => (isTerminal(fd) ? 'pipe' : 'inherit'))],
    ...options,
    env: {
      ...wineEnvironment(),
      ...(terminal && { IOCP_TERMINAL_COLUMNS: String(process.stdout.columns || 80) }),
      ...env
    }
  })
  child.stdout?.pipe(process.stdout, { end: false })
  child.stderr?.pipe(process.stderr, { end: false })
  const stopForwarding = forwardInterrupts(child)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => {
      stopForwarding()
      resolve(signal === null ? status : 128)
    })
  })
}

const isTerminal = (fd) => (fd === 1 ? process.stdout : process.stderr).isTTY === true

function forwardInterrupts(child) {
  let last = -Infinity
  const forward = () => {
    const now = performance.now()
    // The same Ctrl-C arrives from the terminal and from npm.
    if (now - last < 500) return
    last = now
    child.kill('SIGINT')
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of signals) process.on(signal, forward)
  return () => {
    for (const signal of signals) process.removeListener(signal, forward)
  }
}
