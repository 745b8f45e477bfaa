// A second opinion on warnings: clang reads every source of the addon, for the same target as the cross build. Once with
// the C++ library of the cross build and the standard that the addon is built with; once with another library, libc++
// without the headers that its own headers happen to include, and the next standard. Nothing is built.
// `node tools/warnings.mjs`
import path from 'node:path'
import { compileStrictly, twoAtATime } from './lib/compile.mjs'
import { findClang, libcxxHeaders, needDebian, needNodeModules } from './lib/install.mjs'
import { fromRoot } from './lib/paths.mjs'
import { capture, isMain, main, say } from './lib/run.mjs'
import { addonSources } from './sources.mjs'

export async function checkWarnings() {
  await needNodeModules()
  await needDebian('clang', 'mingw')
  await needDebian('libcxx')
  const clang = findClang()
  const flags = [
    ...['--target=x86_64-w64-mingw32', '-fsyntax-only', '-fno-exceptions', '-fno-rtti', '-Inative'],
    // -Wshadow-all and the rest are what MSVC tells of with /W4, where warnings are errors too.
    ...['-Wall', '-Wextra', '-Wpedantic', '-Wshadow-all', '-Wunreachable-code', '-Wdeprecated'],
    // As binding.gyp and node-gyp have them.
    ...['NAPI_VERSION=8', 'NAPI_DISABLE_CPP_EXCEPTIONS', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'].map(define),
    ...['WIN32_LEAN_AND_MEAN', 'NOMINMAX', 'UNICODE', '_UNICODE', '_WIN32_WINNT=0x0A00'].map(define),
    ...['BUILDING_NODE_EXTENSION', 'IOCP_FAULT_SEAM=1'].map(define)
  ]
  const { windows, library } = mingwHeaders()
  const ways = {
    'C++17 with libstdc++': ['-std=c++17', ...system(library)],
    'C++20 with libc++': [
      ...['-std=c++20', '-nostdinc++', define('_LIBCPP_REMOVE_TRANSITIVE_INCLUDES')],
      ...system([libcxxHeaders()])
    ]
  }
  const sources = addonSources()
  for (const [way, extra] of Object.entries(ways)) {
    const words = [...flags, ...extra, ...system([...windows, ...nodeHeaders])]
    await twoAtATime(sources, (source) => compileStrictly(clang, [...words, source]))
    say(`${path.basename(clang)}, ${way}: no warning in ${sources.length} sources of the addon`)
  }
}

const define = (name) => `-D${name}`
const system = (folders) => folders.flatMap((folder) => ['-isystem', folder])
const nodeHeaders = [fromRoot('node_modules/node-addon-api'), fromRoot('node_modules/node-api-headers/include')]

/** MinGW's own headers: clang does not find them by itself where GCC's folder has the thread model in its name. */
function mingwHeaders() {
  const command = 'x86_64-w64-mingw32-g++-posix -E -x c++ -v /dev/null 2>&1 >/dev/null'
  const list = /search starts here:\n (.*)\nEnd of search list/s.exec(capture('sh', ['-c', command]) ?? '')?.[1] ?? ''
  // Not the compiler's own headers (intrinsics and the like): clang brings those.
  const folders = list.split('\n').map((line) => path.normalize(line.trim()))
  const others = folders.filter((folder) => !/\/gcc\/.*\/include(-fixed)?$/.test(folder))
  const isLibrary = (folder) => /\/c\+\+(\/|$)/.test(folder)
  return { windows: others.filter((folder) => !isLibrary(folder)), library: others.filter(isLibrary) }
}

if (isMain(import.meta)) await main(checkWarnings)
