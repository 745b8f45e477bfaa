/** The only access to the native addon: loads it, and verifies that both sides use the same numbers. */

import { IocpError } from '../common/errors.js'
import { addonPath, loadAddon } from './addon.js'
import { mismatch } from './protocol.js'
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
  const difference = mismatch((addon as Partial<NativeBinding>).constants ?? {})
  if (difference !== undefined) {
    // Bytes would be taken for something else.
    throw new IocpError(
      'ERR_IOCP_ADDON_MISMATCH',
      `${addonPath() ?? 'The addon'} is of another version: ${difference}; reinstall iocp`
    )
  }
  return addon
}
