// A second opinion on warnings: clang reads every source of the addon, for the same target as the cross build, with
// warnings as errors. Nothing is built. `node tools/warnings.mjs`
import path from 'node:path'
import { twoAtATime } from './lib/compile.mjs'
import { findClang, needDebian, needNodeModules } from './lib/install.mjs'
import { fromRoot, root } from './lib/paths.mjs'
import { capture, isMain, main, run, say } from './lib/run.mjs'
import { addonSources } from './sources.mjs'

export async function checkWarnings() {
  await needNodeModules()
  await needDebian('clang', 'mingw')
  const clang = findClang()
  const flags = [
    ...['--target=x86_64-w64-mingw32', '-fsyntax-only', '-std=c++17', '-fno-exceptions', '-fno-rtti'],
    ...['-Wall', '-Wextra', '-Werror', '-Inative'],
    // As binding.gyp and node-gyp have them.
    ...['NAPI_VERSION=8', 'NAPI_DISABLE_CPP_EXCEPTIONS', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'].map(define),
    ...['WIN32_LEAN_AND_MEAN', 'NOMINMAX', 'UNICODE', '_UNICODE', '_WIN32_WINNT=0x0A00'].map(define),
    ...['BUILDING_NODE_EXTENSION', 'IOCP_FAULT_SEAM=1'].map(define),
    ...[...windowsHeaders(), ...nodeHeaders].flatMap((folder) => ['-isystem', folder])
  ]
  const sources = addonSources()
  await twoAtATime(sources, (source) => run(clang, [...flags, source], { cwd: root }))
  say(`${path.basename(clang)}: no warning in ${sources.length} sources of the addon`)
}

const define = (name) => `-D${name}`
const nodeHeaders = [fromRoot('node_modules/node-addon-api'), fromRoot('node_modules/node-api-headers/include')]

/** MinGW's own headers: clang does not find them by itself where GCC's folder has the thread model in its name. */
function windowsHeaders() {
  const command = 'x86_64-w64-mingw32-g++-posix -E -x c++ -v /dev/null 2>&1 >/dev/null'
  const list = /search starts here:\n (.*)\nEnd of search list/s.exec(capture('sh', ['-c', command]) ?? '')?.[1] ?? ''
  // Not the compiler's own headers (intrinsics and the like): clang brings those.
  const folders = list.split('\n').map((line) => path.normalize(line.trim()))
  return folders.filter((folder) => !/\/gcc\/.*\/include(-fixed)?$/.test(folder))
}

if (isMain(import.meta)) await main(checkWarnings)
