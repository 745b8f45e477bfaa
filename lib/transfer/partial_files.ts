/** Partial files: their names, which of them this process writes, and which are old. */

import { createHash, randomBytes } from 'node:crypto'
import { lstat, opendir, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type Duration, OptionReader } from '../common/option_reader.js'
import { type Path, toPath } from '../common/paths.js'

/** The names of this library's partial files. */
const PART = /^\.iocp-(?:[0-9a-f]{24}|[0-9a-f]{32})\.part$/

const DAY = 86_400_000
/** Shortest interval between two scans of a folder. */
const MIN_PAUSE = 60_000
/** Folders whose last scan is remembered. */
const MAX_FOLDERS = 1000

/** A part that is deleted with its transfer. */
export function newPart(target: string): string {
  return join(dirname(target), `.iocp-${randomBytes(12).toString('hex')}.part`)
}

/** The part for `resume`: the same for the same file when it is offered again. */
export function resumePath(target: string, size: number): string {
  const name = createHash('sha256')
    .update(`${basename(target).toLowerCase()}/${size}`)
    .digest('hex')
    .slice(0, 32)
  return join(dirname(target), `.iocp-${name}.part`)
}

/** Parts that this process is receiving, by their paths in lower case. */
const inUse = new Set<string>()

/** Claims a part. False if another transfer of this process has it. */
export function claimPart(path: string): boolean {
  const key = path.toLowerCase()
  if (inUse.has(key)) return false
  inUse.add(key)
  return true
}

export function releasePart(path: string): void {
  inUse.delete(path.toLowerCase())
}

/** Which parts {@link pruneParts} removes. */
export interface PruneOptions {
  /** Parts whose last write is at least this old. 0 for all; default 7 days. */
  maxAge?: Duration
}

/**
 * Removes partial files that were not continued: those that transfers with `resume` have left, and those of a killed
 * process if the file system could not delete them with it. Only files with this library's names for parts,
 * `.iocp-….part`, in the folder itself; parts that are being received are kept.
 * @returns the paths of the removed files
 * @throws IocpError ERR_IOCP_INVALID_OPTION, ERR_INVALID_ARG_VALUE; by rejecting: errors of `fs` about the folder
 */
export function pruneParts(directory: Path, options?: PruneOptions): Promise<string[]> {
  const folder = toPath(directory, 'directory')
  const reader = new OptionReader(options, '', "an object such as { maxAge: '7d' }")
  const maxAge = reader.duration('maxAge', { min: 0, max: Number.MAX_SAFE_INTEGER }, 7 * DAY)
  reader.rejectUnknown()
  return prune(folder, maxAge)
}

async function prune(folder: string, maxAge: number): Promise<string[]> {
  const removed: string[] = []
  const newest = Date.now() - maxAge
  for await (const { name } of await opendir(folder)) {
    if (!PART.test(name)) continue
    const path = join(folder, name)
    if (await removeOld(path, newest)) removed.push(path)
  }
  return removed
}

/** Files that have disappeared meanwhile, or that are open, are not removed. */
async function removeOld(path: string, newest: number): Promise<boolean> {
  try {
    const found = await lstat(path)
    if (!found.isFile() || found.mtimeMs > newest || inUse.has(path.toLowerCase())) return false
    await rm(path)
    return true
  } catch {
    return false
  }
}

/** The time of each folder's last scan, for the option `transfer.partMaxAge`. */
const looked = new Map<string, number>()

/** Removes old parts, from time to time and in the background, from a folder that is about to receive a file. */
export function pruneNowAndThen(folder: string, maxAge: number): void {
  const key = folder.toLowerCase()
  const now = performance.now()
  const last = looked.get(key)
  if (last !== undefined && now - last < Math.min(Math.max(maxAge / 4, MIN_PAUSE), DAY)) return
  looked.delete(key)
  looked.set(key, now)
  for (const oldest of looked.keys()) {
    if (looked.size <= MAX_FOLDERS) break
    looked.delete(oldest)
  }
  prune(folder, maxAge).catch(() => undefined)
}
