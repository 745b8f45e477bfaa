/** Errors of the operating system, under Node's names. */

import { getSystemErrorMap } from 'node:util'
import { escaped, IocpError } from '../common/errors.js'
import type { NativeBinding } from './types.js'

let numbers: Map<string, number> | undefined

/** Node's negative number of an error name such as 'ECONNRESET'. */
export function errnoOf(code: string): number | undefined {
  numbers ??= new Map([...getSystemErrorMap()].map(([number, [name]]) => [name, number]))
  return numbers.get(code)
}

/** What failed, and where. */
export interface Failure {
  winCode: number
  syscall?: string | undefined
  address?: string | undefined
  port?: number | undefined
  path?: string | undefined
  dest?: string | undefined
}

/** Windows does not say which; the other socket may be one of the same process. */
const HELD = 'Another socket holds the port exclusively, or the port is reserved'

function isOfPort(syscall: string | undefined): boolean {
  return syscall === 'bind' || syscall === 'listen'
}

/** The error for a number of Windows, as `syscall CODE address:port: sentence`; of a file as `syscall CODE 'path' -> 'dest': sentence`. */
export function systemError(native: Pick<NativeBinding, 'errorInfo'>, failure: Failure): IocpError {
  const { winCode, syscall, address, port, path, dest } = failure
  const { code, message: general } = native.errorInfo(winCode)
  const message = code === 'EACCES' && isOfPort(syscall) ? HELD : general
  const host = address?.includes(':') === true ? `[${address}]` : address
  const file = path === undefined ? '' : ` '${escaped(path)}'${dest === undefined ? '' : ` -> '${escaped(dest)}'`}`
  const place = host === undefined ? file : ` ${host}${port === undefined ? '' : `:${port}`}`
  const call = syscall === undefined ? '' : `${syscall} `
  return new IocpError(code, `${call}${code}${place}: ${message}`, { ...failure, errno: errnoOf(code) })
}

/** An error that native code threw: a system error when it carries a Windows number, else itself. */
export function fromNative(
  native: Pick<NativeBinding, 'errorInfo'>,
  error: unknown,
  place: { address?: string; port?: number; path?: string; dest?: string } = {}
): Error {
  if (!(error instanceof Error)) return new Error(String(error))
  const { winCode, syscall, address = place.address, port = place.port } = error as Error & Partial<Failure>
  if (typeof winCode !== 'number') return error
  return systemError(native, { winCode, syscall, address, port, path: place.path, dest: place.dest })
}
