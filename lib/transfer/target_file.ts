/** The common base of incoming files: a part next to the target that becomes the file. */

import { realpath, rm, stat } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, relative, resolve, toNamespacedPath } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { escaped, IocpError } from '../common/errors.js'
import type { ReceivedFile } from '../connection/file_types.js'
import { fileOutcome } from '../native/protocol.js'
import { placeError, transferError } from './errors.js'
import { otherName, plainPath } from './file_names.js'
import type { FileEnd } from './frames.js'
import type { OpenFile } from './native_files.js'
import type { AcceptPlan, Overwrite } from './options.js'
import { claimPart, newPart, pruneNowAndThen, releasePart, resumePath } from './partial_files.js'
import { Transfer } from './transfer.js'

/** Names that are tried before it fails. */
const MOST_NAMES = 10_000

/** Error numbers of Windows that mean: another program has it open. Scanners and indexers close it soon. */
const OPEN = new Set([32, 33])
/** The errors of a rename in that case; access denied may also be permanent. */
const HELD = new Set([5, ...OPEN])
/** How long the rename is retried, and the delay between two attempts, in milliseconds. */
const PATIENCE = 2000
const FIRST_PAUSE = 10
const LONGEST_PAUSE = 200

/** Where an accepted file goes. */
export function targetOf(plan: Pick<AcceptPlan, 'directory' | 'path'>, name: string): string {
  return toNamespacedPath(plan.path === undefined ? join(resolve(plan.directory ?? '.'), name) : resolve(plan.path))
}

/** Neither a path nor a link may lead outside of the allowed folder. */
async function checkPlace(target: string, allowed: string | undefined): Promise<void> {
  if (allowed === undefined) return
  const [outer, inner] = await Promise.all([resolve(allowed), dirname(target)].map(realFolder))
  const way = relative(toNamespacedPath(outer as string), toNamespacedPath(inner as string))
  if (way === '..' || way.startsWith(`..\\`) || isAbsolute(way)) {
    throw placeError('ERR_IOCP_TRANSFER_PATH', plainPath(target), `, and 'transfer.directory' is '${resolve(allowed)}'`)
  }
}

async function realFolder(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    const { code = 'EIO', errno, syscall } = error as NodeJS.ErrnoException
    const message = `${syscall ?? 'realpath'} ${code} '${escaped(plainPath(path))}': the folder for files does not exist`
    throw new IocpError(code, message, { errno, syscall, path: plainPath(path), cause: error })
  }
}

function isOneOf(numbers: ReadonlySet<number>, error: unknown): boolean {
  return error instanceof IocpError && error.winCode !== undefined && numbers.has(error.winCode)
}

/** Retries an operation for a while as long as another program has the file open. */
async function whenFree<T>(held: ReadonlySet<number>, body: () => Promise<T>): Promise<T> {
  const end = performance.now() + PATIENCE
  for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    try {
      return await body()
    } catch (error) {
      if (!isOneOf(held, error) || performance.now() >= end) throw error
      await setTimeout(pause)
    }
  }
}

/** The common base of framed and raw files: a part that becomes the file. */
export abstract class IncomingFile extends Transfer {
  protected partialFile = ''
  protected keepsPartialFile = false
  protected source: OpenFile | undefined
  #claimed = ''

  /** Opens the part next to the target. Returns the bytes that exist already. */
  protected async open(
    target: string,
    size: number,
    overwrite: Overwrite,
    resume: boolean,
    hash: boolean
  ): Promise<number> {
    await checkPlace(target, this.settings.directory)
    const found = overwrite === 'rename' ? undefined : await stat(target).catch(() => undefined)
    // A folder is never replaced.
    if (found !== undefined && (overwrite === 'fail' || found.isDirectory())) {
      throw placeError(
        'ERR_IOCP_TRANSFER_EXISTS',
        plainPath(target),
        found.isDirectory() ? ', a folder' : "; pass 'overwrite'"
      )
    }
    const { partMaxAge } = this.settings
    if (partMaxAge > 0) pruneNowAndThen(dirname(target), partMaxAge)
    this.source = resume ? await this.#openKnown(resumePath(target, size), size, hash) : undefined
    if (this.source === undefined) {
      const part = newPart(target)
      this.source = await this.files.openTarget(part, size, false, hash)
      this.partialFile = part
    }
    return this.source.size <= size ? this.source.size : 0
  }

  /**
   * Opens the part of an earlier attempt. If the same file is received twice at a time, only one of them has it.
   */
  async #openKnown(part: string, size: number, hash: boolean): Promise<OpenFile | undefined> {
    if (!claimPart(part)) return undefined
    this.#claimed = part
    try {
      const file = await whenFree(OPEN, () => this.files.openTarget(part, size, true, hash))
      this.partialFile = part
      this.keepsPartialFile = true
      return file
    } catch (error) {
      // Another process has it.
      if (isOneOf(OPEN, error)) return undefined
      throw error
    }
  }

  /** Renames the complete part. Nobody else can open it before that. */
  protected async commit(target: string, overwrite: Overwrite): Promise<string> {
    for (let n = 1; ; n++) {
      const path = n === 1 ? target : join(dirname(target), otherName(basename(target), n))
      try {
        await whenFree(HELD, () => this.#rename(path, overwrite === 'replace'))
        this.partialFile = ''
        await this.#close()
        return path
      } catch (error) {
        const isTaken = error instanceof IocpError && error.code === 'ERR_IOCP_TRANSFER_EXISTS'
        if (!isTaken || overwrite !== 'rename' || n === MOST_NAMES) throw this.#unnamed(error)
      }
    }
  }

  /** By its handle if the file system supports it; otherwise it has to be closed before. */
  async #rename(path: string, replace: boolean): Promise<void> {
    if (this.source !== undefined) {
      if (await this.files.rename(this.source, path, replace)) return
      await this.#close()
    }
    await this.files.move(this.partialFile, path, replace)
  }

  async #close(): Promise<void> {
    const file = this.source
    this.source = undefined
    await this.files.close(file)
  }

  /** The error if the complete file cannot be renamed. */
  #unnamed(error: unknown): Error {
    if (!(error instanceof IocpError)) return transferError('ERR_IOCP_TRANSFER_CLOSED', undefined, error)
    if (!this.keepsPartialFile) return error
    const { syscall, errno, winCode, path, dest } = error
    const message = `${error.message}; the complete file is kept as ${plainPath(this.partialFile)}`
    return new IocpError(error.code, message, { syscall, errno, winCode, path, dest, cause: error })
  }

  protected result(path: string, bytes: number, begun: number, resumedFrom: number): ReceivedFile {
    const seconds = (performance.now() - begun) / 1000
    const bytesPerSecond = seconds === 0 ? 0 : (bytes - resumedFrom) / seconds
    return { path: plainPath(path), bytes, seconds, bytesPerSecond, resumedFrom }
  }

  protected override errorOfEnd({ outcome, winCode }: FileEnd): Error {
    if (outcome === fileOutcome.failed) return this.files.error(winCode, 'write', this.partialFile)
    if (outcome === fileOutcome.excess)
      return transferError('ERR_IOCP_TRANSFER_PROTOCOL', 'a different number of bytes than offered')
    return transferError('ERR_IOCP_TRANSFER_ABORTED')
  }

  protected async cleanUp(failed: boolean): Promise<void> {
    await this.#close()
    if (failed && this.partialFile !== '') {
      // An empty part is of no use to the next attempt.
      const size = this.keepsPartialFile
        ? await stat(this.partialFile).then(
            (found) => found.size,
            () => 0
          )
        : 0
      if (size === 0) await rm(this.partialFile, { force: true }).catch(() => undefined)
    }
    if (this.#claimed !== '') releasePart(this.#claimed)
  }
}
