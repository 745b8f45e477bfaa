/** The only access to the native addon: loads it, and verifies that both sides use the same numbers. */

import { IocpError } from '../common/errors.js'
import { loadAddon } from './addon.js'
import { cause, frameError, jobOutcome, op, outcome, record } from './protocol.js'
import type { NativeBinding } from './types.js'

let loaded: NativeBinding | undefined

/**
 * The addon; loaded once per environment, on first use.
 * @throws IocpError ERR_IOCP_UNSUPPORTED_PLATFORM off Windows, ERR_IOCP_ADDON_NOT_FOUND, ERR_IOCP_ADDON_BLOCKED,
 * ERR_IOCP_ADDON_FAILED, ERR_IOCP_ADDON_MISMATCH
 */
export function binding(): NativeBinding {
  return (loaded ??= load())
}

/**
 * Throws unless the platform has completion ports.
 * @throws IocpError ERR_IOCP_UNSUPPORTED_PLATFORM
 */
export function requireWindows(): void {
  if (process.platform === 'win32') return
  throw new IocpError(
    'ERR_IOCP_UNSUPPORTED_PLATFORM',
    `I/O completion ports exist on Windows only and this is ${process.platform}: run the program on Windows, ` +
      "or use node:net where process.platform is not 'win32'"
  )
}

function load(): NativeBinding {
  requireWindows()
  const addon = loadAddon() as NativeBinding
  compare(addon.constants)
  return addon
}

/** JavaScript and native code must use the same numbers, otherwise data would be misinterpreted. */
function compare(constants: NativeBinding['constants']): void {
  const plain = (name: string): string => name.replaceAll('_', '').toLowerCase()
  for (const [kind, words] of Object.entries({ record, op, cause, outcome, jobOutcome, frameError })) {
    const native = (constants as Readonly<Record<string, Readonly<Record<string, number>> | undefined>>)[kind]
    if (native === undefined) continue
    const numbers = new Map(Object.entries(native).map(([name, number]) => [plain(name), number]))
    for (const [name, number] of Object.entries(words)) {
      const theirs = numbers.get(plain(name))
      if (theirs !== undefined && theirs !== number) {
        throw new IocpError(
          'ERR_IOCP_ADDON_MISMATCH',
          `The addon has number ${theirs} for ${kind} '${name}' where ${number} is expected; reinstall iocp`
        )
      }
    }
  }
}
