// Where the servers run: in Windows, or under Wine where there is none. Starts them, and says what they have used.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { isWindows, root } from '../../tools/lib/paths.mjs'
import { capture } from '../../tools/lib/run.mjs'
import { needWindowsNode, nodeExe, windowsPath, wineCommand, wineEnvironment } from '../../tools/wine/prefix.mjs'
import { closeWine, openWine } from '../../tools/wine/session.mjs'

export async function openHost() {
  if (isWindows) return
  await needWindowsNode()
  openWine()
}

export function closeHost() {
  if (!isWindows) closeWine()
}

/** A path of this machine as the programs for Windows see it. */
export const hostPath = (file) => (isWindows ? file : windowsPath(file))

/** Starts a program for Windows, with pipes. `program` is 'node' or the path of an .exe. */
export function spawnOnHost(program, args, env = {}) {
  const executable = program !== 'node' ? program : isWindows ? process.execPath : nodeExe
  const options = { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] }
  if (isWindows) return spawn(executable, args, { ...options, env: { ...process.env, ...env } })
  return spawn(...wineCommand('wine64', [executable, ...args]), {
    ...options,
    env: { ...wineEnvironment(), ...env },
    // A Ctrl-C in the terminal is for the benchmark, which then ends the servers.
    detached: true
  })
}

const TICKS = 100 // of the clock by which /proc counts

/** Seconds of processor time that a process has used so far. */
function cpuOf(pid) {
  const text = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}

/** The wineserver of the prefix that a process runs in: both have the same one open. */
function wineserver() {
  const { WINEPREFIX } = wineEnvironment()
  for (const pid of fs.readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    try {
      if (!fs.readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('wineserver')) continue
      if (fs.readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`WINEPREFIX=${WINEPREFIX}`)) return pid
    } catch {
      // It has ended meanwhile.
    }
  }
  return undefined
}

let server

/**
 * Processor time of a server so far, in seconds; under Wine with that of wineserver, which is its kernel. Undefined
 * on Windows, where the server is asked instead.
 */
export function cpuSeconds(pid) {
  if (isWindows) return undefined
  server ??= wineserver()
  const own = cpuOf(pid)
  const kernel = server === undefined ? 0 : cpuOf(server)
  return { own, kernel }
}

/** Bytes of memory that belong to a process alone; undefined on Windows, where the server is asked. */
export function privateMemory(pid) {
  if (isWindows) return undefined
  const text = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Number(/^Anonymous:\s+(\d+) kB/m.exec(text)[1]) * 1024
}

/** What figures were taken on. */
export function describeHost() {
  const cpu = os.cpus()[0].model.trim()
  return {
    host: `${os.type()} ${os.release()}, ${os.cpus().length} × ${cpu}`,
    wine: isWindows ? null : (capture(...wineCommand('wine64', ['--version']))?.replace(/^wine-/, '') ?? 'unknown'),
    node: isWindows ? process.versions.node : windowsNodeVersion(),
    commit: capture('git', ['-C', root, 'describe', '--always', '--dirty']) ?? 'unknown'
  }
}

function windowsNodeVersion() {
  return JSON.parse(fs.readFileSync(path.resolve(nodeExe, '..', '..', 'package.json'), 'utf8')).version
}
