// One process at a time: several commands may be started in one clone at the same moment (`npm start` in one window,
// `npm test` in another), and each of them may find that something is to be installed.
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as after } from 'node:timers/promises'
import { inCache } from './paths.mjs'

const RETRY = 50 // milliseconds

/** Synchronous, because it is also needed while a process exits. */
export function takeLock(name) {
  for (;;) {
    const release = tryLock(name)
    if (release !== undefined) return release
    pause(RETRY)
  }
}

/**
 * Runs `body` while nobody else holds `name`. Who waits leaves the event loop free: the holder may be another part of
 * this process, which would never come to its end otherwise.
 */
export async function withLock(name, body) {
  let release = tryLock(name)
  for (; release === undefined; release = tryLock(name)) await after(RETRY)
  process.once('exit', release)
  try {
    return await body()
  } finally {
    process.removeListener('exit', release)
    release()
  }
}

/** What gives the lock back; undefined while somebody has it. */
function tryLock(name) {
  const file = inCache('locks', name)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  try {
    fs.writeFileSync(file, String(process.pid), { flag: 'wx' })
    return () => fs.rmSync(file, { force: true })
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
    if (!ownerIsGone(file)) return undefined
    fs.rmSync(file, { force: true })
    return tryLock(name)
  }
}

export function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function ownerIsGone(file) {
  let pid
  try {
    pid = Number(fs.readFileSync(file, 'utf8'))
  } catch {
    return false // released meanwhile: simply try again
  }
  // An empty file is one that is being written; it may also be what a crash left behind.
  if (pid === 0) return Date.now() - (fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()) > 10_000
  return !isAlive(pid)
}

export function pause(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}
