// Where things are. All that the tools make lies in folders that git ignores: dist/, build/ and .cache/.
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/[\\/]$/, '')
export const cache = path.join(root, '.cache')
export const isWindows = process.platform === 'win32'

export const fromRoot = (...parts) => path.join(root, ...parts)
export const inCache = (...parts) => path.join(cache, ...parts)

/** What the addon is built for: on Windows the machine's own architecture; MinGW's is x64. */
export const targetArch = isWindows ? process.arch : 'x64'

/** The addon that is in the package; the one for x64 is in the repository too. */
export const prebuiltAddon = fromRoot('prebuilds', `win32-${targetArch}`, 'iocp.node')
/** The addon that `npm run build:native` makes. */
export const builtAddon = fromRoot('build', 'Release', 'iocp.node')
/** Its test variant, whose Winsock calls can be made to fail, and the folder it is built in. */
export const faultFolder = fromRoot('build', 'fault')
export const faultAddon = path.join(faultFolder, 'build', 'Release', 'iocp.node')
