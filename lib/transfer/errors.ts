/** The errors of file transfers, and their codes on the wire. */

import { errorCodes, escaped, IocpError, type IocpErrorCode } from '../common/errors.js'
import { MAX_REASON } from './frames.js'

/** Codes and their numbers on the wire. Numbers are never reused. */
const numbers = {
  ERR_IOCP_TRANSFER_REJECTED: 1,
  ERR_IOCP_TRANSFER_ANSWER_TIMEOUT: 2,
  ERR_IOCP_TRANSFER_ABORTED: 3,
  ERR_IOCP_TRANSFER_LIMIT: 4,
  ERR_IOCP_TRANSFER_NAME: 5,
  ERR_IOCP_TRANSFER_DISK_FULL: 6,
  ERR_IOCP_TRANSFER_FILE: 7,
  ERR_IOCP_TRANSFER_SOURCE_CHANGED: 8,
  ERR_IOCP_TRANSFER_CHECKSUM: 9,
  ERR_IOCP_TRANSFER_STALL_TIMEOUT: 10,
  ERR_IOCP_TRANSFER_TOO_LARGE: 11,
  ERR_IOCP_TRANSFER_EXISTS: 12,
  ERR_IOCP_TRANSFER_PROTOCOL: 13
} as const satisfies Partial<Record<IocpErrorCode, number>>

/** A code that is sent to the other side. */
export type TransferCode = keyof typeof numbers

/** An error of a transfer. */
export function transferError(code: IocpErrorCode, reason?: string, cause?: unknown): IocpError {
  const message = reason === undefined || reason === '' ? errorCodes[code] : `${errorCodes[code]}: ${reason}`
  return new IocpError(code, message, cause === undefined ? {} : { cause })
}

/** An error of a transfer about a local path; `more` is the end of the sentence. */
export function placeError(code: IocpErrorCode, path: string, more = ''): IocpError {
  return new IocpError(code, `${errorCodes[code]}: '${escaped(path)}'${more}`, { path })
}

/** An error of a transfer caused by a file error: with the path of that error. */
export function fileError(code: IocpErrorCode, cause: IocpError): IocpError {
  const { syscall, path, dest, winCode } = cause
  return new IocpError(code, errorCodes[code], { syscall, path, dest, winCode, cause })
}

/** An error that the other side has detected. */
export function reportedByPeer(code: IocpErrorCode, text = ''): IocpError {
  // What has no listener for 'file' rejects every file, without a reason.
  const none = code === 'ERR_IOCP_TRANSFER_REJECTED' ? ", without a reason: it may have no listener for 'file'" : ''
  return transferError(code, `reported by the peer${text === '' ? none : ` (${text})`}`)
}

/** The error that the peer has reported. */
export function errorFromPeer(number: number, reason: string): IocpError {
  const found = Object.entries(numbers).find(([, one]) => one === number)
  // The text is untrusted data: it is sanitized and limited.
  const text = reason.replaceAll(/\p{C}/gu, ' ').slice(0, MAX_REASON)
  return reportedByPeer((found?.[0] ?? 'ERR_IOCP_TRANSFER_REJECTED') as IocpErrorCode, text)
}

/** The error as it is reported to the peer: local details are not sent. */
export function errorToPeer(error: unknown): { code: number; rest: Buffer } {
  const code = error instanceof IocpError ? error.code : ''
  // Nor is the folder that is allowed here.
  if (code === 'ERR_IOCP_TRANSFER_PATH') return { code: numbers.ERR_IOCP_TRANSFER_REJECTED, rest: Buffer.alloc(0) }
  const number = Object.hasOwn(numbers, code) ? numbers[code as TransferCode] : undefined
  return { code: number ?? numbers.ERR_IOCP_TRANSFER_FILE, rest: Buffer.alloc(0) }
}

/** A reason of the program, truncated to the available size at a character boundary. */
export function reasonBytes(reason: string, room: number): Buffer {
  const most = Math.min(MAX_REASON, room)
  let text = reason.slice(0, MAX_REASON)
  while (Buffer.byteLength(text) > most) text = text.slice(0, -1).replace(/[\ud800-\udbff]$/, '')
  return Buffer.from(text)
}
