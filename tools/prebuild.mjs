// `npm run prebuild`: builds prebuilds/win32-x64/iocp.node from the sources, in an empty folder. The same sources and
// the same compiler make the same bytes, so a difference says that one of them has changed (`npm run check:prebuild`).
//
// Beside the addon stands built-from.json: a hash of all that goes into the build, and the compiler. It tells without
// a compiler whether the addon is that of these sources. Only the addon goes into the package.
//
// On Windows it uses MSVC, for which no such promise is made: that is how the release workflow makes other
// architectures (--arch arm64).
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { buildNative } from './build-native.mjs'
import { digest, filesBelow, readIfThere, sha256, writeFile } from './lib/files.mjs'
import { needDebian, needNodeModules } from './lib/install.mjs'
import { fromRoot, isWindows, prebuiltAddon, targetArch } from './lib/paths.mjs'
import { capture, isMain, main, say } from './lib/run.mjs'
import { checkSources } from './sources.mjs'

const record = path.join(path.dirname(prebuiltAddon), 'built-from.json')
const headers = ['node-addon-api', 'node-api-headers']

/** A hash of everything that the bytes of the addon depend on, but the compiler. */
export function sourcesDigest() {
  const { packages } = JSON.parse(fs.readFileSync(fromRoot('package-lock.json'), 'utf8'))
  const versions = headers.map((name) => `${name}@${packages[`node_modules/${name}`].version}`)
  const files = ['binding.gyp', ...filesBelow('native', '.cc', '.h'), ...filesBelow('tools/cross', '')]
  return digest(files, ...versions)
}

/** What stands beside the prebuilt addon, or undefined where either of them is missing. */
export function prebuildRecord() {
  const text = readIfThere(record)
  return text !== undefined && fs.existsSync(prebuiltAddon) ? JSON.parse(text) : undefined
}

export const prebuildIsFresh = () => prebuildRecord()?.sources === sourcesDigest()

/**
 * The environment in which the addon of these sources is loaded: the prebuilt one, which needs no compiler, or else one that
 * is built now.
 */
export async function chooseAddon() {
  if (prebuildIsFresh()) return { PREBUILDS_ONLY: '1' }
  say('the prebuilt addon is missing or older than native/')
  await buildNative()
  return {}
}

/** GCC, binutils and the Windows headers and libraries: each of them decides about bytes. */
export function compilerName() {
  const triple = 'x86_64-w64-mingw32'
  const gcc = capture(`${triple}-gcc-posix`, ['--version'])?.split('\n')[0].replace(/^\S+ /, '')
  const ld = capture(`${triple}-ld`, ['--version'])
    ?.split('\n')[0]
    .replace(/^GNU ld /, '')
  const probe = ['-E', '-P', '-include', '_mingw.h', '-x', 'c', '-']
  const input = '__MINGW64_VERSION_MAJOR.__MINGW64_VERSION_MINOR.__MINGW64_VERSION_BUGFIX'
  const runtime = capture(`${triple}-gcc-posix`, probe, { input, stdio: ['pipe', 'pipe', 'ignore'] })
  return `${gcc}; binutils ${ld}; mingw-w64 ${runtime?.split('\n').pop().replaceAll(' ', '')}`
}

/** Builds in an empty folder outside the clone and hands the path of the addon to `use`. */
export async function withFreshBuild(use, arch = targetArch) {
  checkSources()
  await needNodeModules()
  if (!isWindows) await needDebian('mingw', 'make', 'python')
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'iocp-build-'))
  try {
    const copied = ['binding.gyp', 'package.json', 'native', ...headers.map((name) => `node_modules/${name}`)]
    for (const name of copied) fs.cpSync(fromRoot(name), path.join(folder, name), { recursive: true })
    const gyp = fromRoot('tools', 'cross', 'prebuildify-gyp.mjs')
    // Not at the top: `npm start` reads this module before it has installed anything.
    const { default: prebuildify } = await import('prebuildify')
    await promisify(prebuildify)({
      platform: 'win32',
      arch,
      napi: true,
      name: 'iocp',
      targets: ['22.0.0'],
      cwd: folder,
      // On Windows prebuildify takes a line for the shell.
      nodeGyp: isWindows ? `"${process.execPath}" "${gyp}"` : gyp
    })
    return await use(path.join(folder, 'prebuilds', `win32-${arch}`, 'iocp.node'))
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

async function prebuild(arch) {
  await withFreshBuild((addon) => {
    const target = fromRoot('prebuilds', `win32-${arch}`, 'iocp.node')
    fs.mkdirSync(path.dirname(target), { recursive: true })
    fs.copyFileSync(addon, target)
    fs.chmodSync(target, 0o644)
    say(`wrote ${target}: ${fs.statSync(target).size} bytes, SHA-256 ${sha256(target)}`)
  }, arch)
  if (isWindows) return
  writeFile(record, `${JSON.stringify({ sources: sourcesDigest(), compiler: compilerName() }, null, 2)}\n`)
}

if (isMain(import.meta)) {
  const at = process.argv.indexOf('--arch')
  await main(() => prebuild(at > 0 ? process.argv[at + 1] : targetArch))
}
