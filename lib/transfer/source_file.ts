/** The common parts of both ways of sending: the range, the block, the result. */

import { invalidOption } from '../common/errors.js'
import type { SentFile, TransferSettings } from '../connection/file_types.js'
import { fileOutcome } from '../native/protocol.js'
import { transferError } from './errors.js'
import type { FileEnd } from './frames.js'
import type { NativeFiles } from './native_files.js'
import type { SendPlan } from './options.js'

/** The number of bytes to send. @throws IocpError ERR_IOCP_INVALID_OPTION */
export function rangeOf(plan: SendPlan, size: number): number {
  if (plan.offset > size) throw invalidOption('offset', plan.offset, `at most the size of the file, ${size}`)
  const length = Math.min(plan.length, size - plan.offset)
  if (length < plan.length && plan.length !== Number.MAX_SAFE_INTEGER) {
    throw invalidOption('length', plan.length, `at most the rest of the file, ${length}`)
  }
  return length
}

/** How native code sends it. */
export function pieceOf(
  { bytesPerSecond, chunk, framed, verify }: SendPlan,
  { method }: TransferSettings
): { chunk: number; framed: boolean; transmit: boolean; bytesPerSecond: number } {
  return {
    // Slow transfers use small blocks, so that their progress is visible.
    chunk: bytesPerSecond === 0 ? chunk : Math.min(chunk, Math.max(1, Math.floor(bytesPerSecond / 4))),
    framed,
    transmit: !verify && method === 'transmit',
    bytesPerSecond
  }
}

/** The error for an unsuccessful end. */
export function readError(files: NativeFiles, { outcome, winCode }: FileEnd, path: string): Error {
  return outcome === fileOutcome.failed
    ? files.error(winCode, 'read', path)
    : transferError('ERR_IOCP_TRANSFER_ABORTED')
}

export function sentResult(bytes: number, begun: number, resumedFrom: number): SentFile {
  const seconds = (performance.now() - begun) / 1000
  return { bytes, seconds, bytesPerSecond: seconds === 0 ? 0 : (bytes - resumedFrom) / seconds, resumedFrom }
}
