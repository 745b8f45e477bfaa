/** Finding the addon's file and loading it. */

import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
// Not by its name: webpack would evaluate createRequire() when it builds the bundle.
import Module from 'node:module'
import { dirname, join, resolve, toNamespacedPath } from 'node:path'
import { IocpError } from '../common/errors.js'
import { here } from '../common/here.js'
import { type Path, toPath } from '../common/paths.js'

/** The file set by the program. Each environment (main thread, worker) has its own. */
let chosen: string | undefined
let loadedFrom: string | undefined

/**
 * Sets the location of the native addon, for programs whose addon is not located with the package or the bundle, for
 * example a single executable application that has unpacked it. Call it before the first server, client or connection
 * is created; workers of the library use the same file as the main thread.
 *
 * @param file path of the file, of any name; a relative one is resolved against the working directory
 * @throws IocpError ERR_IOCP_INVALID_OPTION if it is not a path, or another addon has already been loaded;
 * ERR_INVALID_ARG_VALUE for a path with a NUL
 */
export function setAddonPath(file: Path): void {
  const path = resolve(toPath(file, 'file'))
  if (loadedFrom !== undefined && loadedFrom !== path) {
    throw new IocpError(
      'ERR_IOCP_INVALID_OPTION',
      `setAddonPath() was called too late: ${loadedFrom} has already been loaded`,
      {
        option: 'file',
        value: file
      }
    )
  }
  chosen = path
}

/** The file that was loaded; undefined before that. */
export function addonPath(): string | undefined {
  return loadedFrom
}

/**
 * Loads the addon into this environment and returns its exports.
 * @throws IocpError ERR_IOCP_ADDON_NOT_FOUND, ERR_IOCP_ADDON_BLOCKED, ERR_IOCP_ADDON_FAILED
 */
export function loadAddon(): unknown {
  const file = chosen ?? namedByTests() ?? find()
  const module = { exports: {} as unknown }
  try {
    // Not require(): a bundler would resolve the file, and `require` itself, when it builds the bundle. The long form
    // of the path, as in require(): Windows accepts others only up to 260 characters.
    process.dlopen(module, toNamespacedPath(file))
  } catch (error) {
    throw notLoaded(file, error)
  }
  loadedFrom = file
  return module.exports
}

/** The variable is for tests: it is the only addon file to load. */
function namedByTests(): string | undefined {
  const file = process.env['IOCP_ADDON']
  return file === undefined || file === '' ? undefined : resolve(file)
}

const folderName = `win32-${process.arch}`

function find(): string {
  const root = packageRoot()
  // A bundle has it next to itself. Otherwise it is in the package, compiled or prebuilt.
  const file =
    nearby(dirname(here)) ??
    (root && inPackage(root)) ??
    // Bundles of webpack do not know their location once they have been copied; the main script was started by its
    // path.
    nearby(dirname(process.argv[1] ?? here)) ??
    nearby(dirname(process.execPath))
  if (file !== undefined) return file
  throw notFound(root)
}

function nearby(folder: string): string | undefined {
  return ['iocp.node', join('prebuilds', folderName, 'iocp.node')]
    .map((name) => join(folder, name))
    .find((file) => existsSync(file))
}

function inPackage(root: string): string | undefined {
  try {
    const require = Module.createRequire(join(root, 'package.json'))
    return (require('node-gyp-build') as { resolve(directory: string): string }).resolve(root)
  } catch {
    // Not found; or node-gyp-build itself is missing, if only parts of node_modules were copied.
    const built = join(root, 'build', 'Release', 'iocp.node')
    return existsSync(built) ? built : nearby(root)
  }
}

/** The folder of this package: it contains the code, or can be found from the bundle that does. */
function packageRoot(): string | undefined {
  for (let at = dirname(here); ; at = dirname(at)) {
    if (isPackage(at)) return at
    if (dirname(at) === at) break
  }
  try {
    return dirname(Module.createRequire(here).resolve('iocp/package.json'))
  } catch {
    return undefined
  }
}

function isPackage(folder: string): boolean {
  try {
    return (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name?: unknown }).name === 'iocp'
  } catch {
    return false
  }
}

function notFound(root: string | undefined): IocpError {
  const code = 'ERR_IOCP_ADDON_NOT_FOUND'
  if (isRestricted() && !process.permission.has('fs.read', root ?? dirname(here))) {
    return new IocpError(
      'ERR_IOCP_ADDON_BLOCKED',
      `Node's permission model (--permission) denies reading ${root ?? dirname(here)}, the folder of the native ` +
        'addon: add --allow-fs-read for it, and --allow-addons'
    )
  }
  if (root === undefined) {
    return new IocpError(
      code,
      `This code is in a bundle, ${here}, and the native addon is not next to it: copy ` +
        `node_modules/iocp/prebuilds/${folderName}/iocp.node to ${join(dirname(here), 'iocp.node')}, or set its ` +
        'location with setAddonPath()'
    )
  }
  const there = addonsIn(root)
  return new IocpError(
    code,
    `There is no native addon for Windows ${process.arch} in ${root}` +
      (there.length > 0 ? `, only for ${there.join(', ')}` : '') +
      ": compile it with 'npx iocp build', which requires Visual Studio's C++ tools and Python"
  )
}

/** The processors for which a package has addons. */
function addonsIn(root: string): string[] {
  try {
    return readdirSync(join(root, 'prebuilds'))
      .filter((name) => existsSync(join(root, 'prebuilds', name, 'iocp.node')))
      .map((name) => name.replace(/^win32-/, ''))
  } catch {
    return []
  }
}

function notLoaded(file: string, error: unknown): IocpError {
  const { code, message } = error as { code?: unknown; message?: string }
  if (code === 'ERR_DLOPEN_DISABLED' || code === 'ERR_ACCESS_DENIED') {
    const why = isRestricted()
      ? "Node's permission model (--permission) disables native addons: add --allow-addons"
      : 'Node.js runs with --no-addons, which disables native addons (see also NODE_OPTIONS)'
    return new IocpError('ERR_IOCP_ADDON_BLOCKED', `${file} was not loaded. ${why}`, { cause: error })
  }
  if (!existsSync(file)) {
    return new IocpError('ERR_IOCP_ADDON_NOT_FOUND', `There is no file ${file}, the native addon`, { cause: error })
  }
  const processor = processorOf(file)
  const why =
    processor === process.arch
      ? `Windows did not load it: ${message ?? String(error)}. If the file is intact, it may be blocked by an antivirus ` +
        'program, Smart App Control, or a company policy'
      : processor === undefined
        ? "it is not an addon for Windows: reinstall the package, or compile it with 'npx iocp build'"
        : `it is for ${processor} and this Node.js is for ${process.arch}: install the package with the Node.js that ` +
          "runs it, or compile it with 'npx iocp build'"
  return new IocpError('ERR_IOCP_ADDON_FAILED', `${file} could not be loaded: ${why}`, { cause: error })
}

/** Whether Node's permission model is active. Only then `process.permission` exists, contrary to its type. */
function isRestricted(): boolean {
  return (process.permission as unknown) !== undefined
}

const processors: Readonly<Record<number, string>> = { 0x014c: 'ia32', 0x8664: 'x64', 0xaa64: 'arm64' }

/** The processor in the header of a DLL; undefined if the file is not a DLL. */
function processorOf(file: string): string | undefined {
  const header = Buffer.alloc(4096)
  try {
    const descriptor = openSync(file, 'r')
    try {
      if (readSync(descriptor, header, 0, header.length, 0) < 64 || header.toString('latin1', 0, 2) !== 'MZ')
        return undefined
    } finally {
      closeSync(descriptor)
    }
    const at = header.readUInt32LE(0x3c)
    if (header.toString('latin1', at, at + 4) !== 'PE\0\0') return undefined
    return processors[header.readUInt16LE(at + 4)] ?? 'another processor'
  } catch {
    return undefined
  }
}
