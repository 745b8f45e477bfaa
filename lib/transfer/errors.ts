/** The ways in which a file transfer fails, and how one end tells the other. */

import { errorCodes, IocpError, type IocpErrorCode } from '../common/errors.js'
import { MAX_REASON } from './frames.js'

/** Codes and their numbers between two ends. Numbers are never given anew. */
const numbers = {
  ERR_IOCP_TRANSFER_REJECTED: 1,
  ERR_IOCP_TRANSFER_UNANSWERED: 2,
  ERR_IOCP_TRANSFER_ABORTED: 3,
  ERR_IOCP_TRANSFER_LIMIT: 4,
  ERR_IOCP_TRANSFER_NAME: 5,
  ERR_IOCP_TRANSFER_DISK_FULL: 6,
  ERR_IOCP_TRANSFER_FILE: 7,
  ERR_IOCP_TRANSFER_SOURCE_CHANGED: 8,
  ERR_IOCP_TRANSFER_CHECKSUM: 9,
  ERR_IOCP_TRANSFER_STALLED: 10,
  ERR_IOCP_TRANSFER_TOO_LARGE: 11,
  ERR_IOCP_TRANSFER_EXISTS: 12,
  ERR_IOCP_TRANSFER_PROTOCOL: 13
} as const satisfies Partial<Record<IocpErrorCode, number>>

/** A code that one end tells the other. */
export type TransferCode = keyof typeof numbers

/** An error of a transfer. */
export function transferError(code: IocpErrorCode, reason?: string, cause?: unknown): IocpError {
  const message = reason === undefined || reason === '' ? errorCodes[code] : `${errorCodes[code]}: ${reason}`
  return new IocpError(code, message, cause === undefined ? {} : { cause })
}

/** An error of a transfer about a place here; `more` is the end of the sentence. */
export function placeError(code: IocpErrorCode, path: string, more = ''): IocpError {
  return new IocpError(code, `${errorCodes[code]}: '${path}'${more}`, { path })
}

/** An error of a transfer whose reason is one of a file: with the place that this names. */
export function fileError(code: IocpErrorCode, cause: IocpError): IocpError {
  const { syscall, path, dest, winCode } = cause
  return new IocpError(code, errorCodes[code], { syscall, path, dest, winCode, cause })
}

/** What the peer says went wrong. */
export function errorFromPeer(number: number, reason: string): IocpError {
  const found = Object.entries(numbers).find(([, one]) => one === number)
  // The text is the peer's: data that is shown, and no longer than it has to be.
  const text = reason.replaceAll(/\p{C}/gu, ' ').slice(0, MAX_REASON)
  return transferError(
    (found?.[0] ?? 'ERR_IOCP_TRANSFER_REJECTED') as IocpErrorCode,
    `the peer says so${text === '' ? '' : ` (${text})`}`
  )
}

/** How an error is told to the peer: what lies behind it on this machine is none of its business. */
export function errorToPeer(error: unknown): { code: number; rest: Buffer } {
  const code = error instanceof IocpError ? error.code : ''
  // Which folders are allowed here does not concern it either.
  if (code === 'ERR_IOCP_TRANSFER_PATH') return { code: numbers.ERR_IOCP_TRANSFER_REJECTED, rest: Buffer.alloc(0) }
  const number = Object.hasOwn(numbers, code) ? numbers[code as TransferCode] : undefined
  return { code: number ?? numbers.ERR_IOCP_TRANSFER_FILE, rest: Buffer.alloc(0) }
}

/** A reason that the program gave, cut to what fits without halving a character. */
export function reasonBytes(reason: string, room: number): Buffer {
  const most = Math.min(MAX_REASON, room)
  let text = reason.slice(0, MAX_REASON)
  while (Buffer.byteLength(text) > most) text = text.slice(0, -1).replace(/[\ud800-\udbff]$/, '')
  return Buffer.from(text)
}
