/** What all files on their way in have in common: a part beside the target that becomes the file. */

import { createHash, randomBytes } from 'node:crypto'
import { realpath, rm, stat } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, relative, resolve, toNamespacedPath } from 'node:path'
import type { NativeFile } from './binding.js'
import { IocpError } from './errors.js'
import { Transfer } from './transfer.js'
import { transferError } from './transfer_errors.js'
import type { FileEnd } from './transfer_frames.js'
import { otherName } from './transfer_names.js'
import type { AcceptPlan, Overwrite } from './transfer_options.js'
import { fileOutcome } from './vocabulary.js'

/** What became of a file that was received. */
export interface ReceivedFile {
  /** Where it is; with `overwrite: 'rename'` this may be another name. */
  readonly path: string
  readonly bytes: number
  readonly seconds: number
  readonly bytesPerSecond: number
  /** Bytes that were there from an earlier attempt. */
  readonly resumedFrom: number
  /** Of the whole file, in hexadecimal digits; there when the sender has sent one to compare. */
  readonly sha256?: string
}

/** Names that are tried before it is given up. */
const MOST_NAMES = 10_000

/** Where an accepted file goes. */
export function targetOf(plan: Pick<AcceptPlan, 'directory' | 'path'>, name: string): string {
  return toNamespacedPath(plan.path === undefined ? join(resolve(plan.directory ?? '.'), name) : resolve(plan.path))
}

/** A path as people write it. */
function plainPath(path: string): string {
  return path.replace(/^\\\\\?\\UNC\\/, String.raw`\\`).replace(/^\\\\\?\\/, '')
}

/** The same file offered again has the same place for what has come of it. */
export function resumePath(target: string, size: number): string {
  const name = createHash('sha256').update(`${basename(target).toLowerCase()}/${size}`).digest('hex').slice(0, 32)
  return join(dirname(target), `.iocp-${name}.part`)
}

/** Neither a path nor a link may lead out of the folder that is allowed. */
async function checkPlace(target: string, allowed: string | undefined): Promise<void> {
  if (allowed === undefined) return
  const [outer, inner] = await Promise.all([realpath(resolve(allowed)), realpath(dirname(target))])
  const way = relative(toNamespacedPath(outer), toNamespacedPath(inner))
  if (way === '..' || way.startsWith(`..\\`) || isAbsolute(way)) throw transferError('ERR_IOCP_TRANSFER_PATH')
}

/** What framed and raw files have in common: a part that becomes the file. */
export abstract class FileIn extends Transfer {
  protected part = ''
  protected keepsPart = false
  protected source: NativeFile | undefined

  /** Opens the part beside the target. Gives the bytes that are there already. */
  protected async open(target: string, size: number, overwrite: Overwrite, resume: boolean, hash: boolean): Promise<number> {
    await checkPlace(target, this.settings.directory)
    if (overwrite === 'fail' && (await stat(target).catch(() => undefined)) !== undefined) {
      throw transferError('ERR_IOCP_TRANSFER_EXISTS')
    }
    const part = resume ? resumePath(target, size) : join(dirname(target), `.iocp-${randomBytes(12).toString('hex')}.part`)
    this.source = await this.files.openTarget(part, size, resume, hash)
    this.part = part
    this.keepsPart = resume
    return this.source.size <= size ? this.source.size : 0
  }

  /** Gives the part its name. */
  protected async place(target: string, overwrite: Overwrite): Promise<string> {
    for (let n = 1; ; n++) {
      const path = n === 1 ? target : join(dirname(target), otherName(basename(target), n))
      try {
        await this.files.move(this.part, path, overwrite === 'replace')
        this.part = ''
        return path
      } catch (error) {
        const isTaken = error instanceof IocpError && error.code === 'ERR_IOCP_TRANSFER_EXISTS'
        if (!isTaken || overwrite !== 'rename' || n === MOST_NAMES) throw error
      }
    }
  }

  protected result(path: string, bytes: number, begun: number, resumedFrom: number): ReceivedFile {
    const seconds = (performance.now() - begun) / 1000
    const bytesPerSecond = seconds === 0 ? 0 : (bytes - resumedFrom) / seconds
    return { path: plainPath(path), bytes, seconds, bytesPerSecond, resumedFrom }
  }

  protected override errorOfEnd({ outcome, winCode }: FileEnd): Error {
    if (outcome === fileOutcome.failed) return this.files.error(winCode, 'write')
    if (outcome === fileOutcome.excess) return transferError('ERR_IOCP_TRANSFER_PROTOCOL', 'other bytes than it had offered')
    return transferError('ERR_IOCP_TRANSFER_ABORTED')
  }

  protected async cleanUp(failed: boolean): Promise<void> {
    await this.files.close(this.source)
    if (!failed || this.part === '') return
    // A part of nothing is of no use to the next attempt.
    const size = this.keepsPart ? await stat(this.part).then((found) => found.size, () => 0) : 0
    if (size === 0) await rm(this.part, { force: true }).catch(() => undefined)
  }
}
