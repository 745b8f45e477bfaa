/** Paths of files and folders, as programs give them. */

import { fileURLToPath } from 'node:url'
import { invalidOption, invalidValue } from './errors.js'

/** A path: text, or a URL with `file:`. */
export type Path = string | URL

/**
 * The text of a path from the program. Every external path is checked here: the system would truncate one at a NUL, and
 * open another file than the one whose name was checked.
 * @param option its name with the path to it
 * @throws IocpError ERR_IOCP_INVALID_OPTION; ERR_INVALID_ARG_VALUE for a NUL, as `fs` does
 */
export function toPath(value: unknown, option: string): string {
  const path = value instanceof URL ? fromUrl(value) : value
  if (typeof path !== 'string' || path === '') throw invalidOption(option, value, 'a path, or a URL with file:')
  if (path.includes('\0')) throw invalidValue(option, value, 'a path without NUL')
  return path
}

/** The same for an optional path. */
export function toOptionalPath(value: unknown, option: string): string | undefined {
  return value === undefined ? undefined : toPath(value, option)
}

/** Undefined for other URLs, and for those whose path is invalid on Windows. */
function fromUrl(url: URL): string | undefined {
  try {
    return fileURLToPath(url)
  } catch {
    return undefined
  }
}
