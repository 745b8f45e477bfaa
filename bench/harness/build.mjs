// Builds the load generator and the servers written in C++, where their sources have changed.
import fs from 'node:fs'
import path from 'node:path'
import { digest, filesBelow, readIfThere, writeFile } from '../../tools/lib/files.mjs'
import { findProgram, needDebian } from '../../tools/lib/install.mjs'
import { withLock } from '../../tools/lib/lock.mjs'
import { fromRoot, inCache, isWindows } from '../../tools/lib/paths.mjs'
import { run, say, Stop } from '../../tools/lib/run.mjs'

const folder = inCache('bench')
const strict = ['-std=c++17', '-O2', '-Wall', '-Wextra', '-Wconversion', '-Wshadow', '-Werror', '-Ibench']
const plain = ['-fno-exceptions', '-fno-rtti']
const forWindows = ['-static', '-DWIN32_LEAN_AND_MEAN', '-DNOMINMAX', '-D_WIN32_WINNT=0x0A00', '-DPSAPI_VERSION=2']
const sockets = ['-lws2_32', '-lmswsock']

export async function buildLoad() {
  if (!isWindows) await needDebian('gxx')
  return build({
    name: isWindows ? 'load.exe' : 'load',
    compiler: isWindows ? windowsCompiler() : 'g++',
    flags: [...strict, ...plain, ...(isWindows ? forWindows : [])],
    folders: ['bench/load'],
    libraries: isWindows ? sockets : []
  })
}

/** What the table of access costs, without any sockets. */
export async function buildDecision() {
  if (!isWindows) await needDebian('gxx')
  return build({
    name: isWindows ? 'decision.exe' : 'decision',
    compiler: isWindows ? windowsCompiler() : 'g++',
    flags: [...strict, '-Inative', ...(isWindows ? forWindows : [])],
    folders: ['bench/protection/decision', 'native/core/access'],
    libraries: []
  })
}

export async function buildCpp() {
  if (!isWindows) await needDebian('mingw')
  return build({
    name: 'cpp.exe',
    compiler: windowsCompiler(),
    flags: [...strict, ...plain, ...forWindows],
    folders: ['bench/peers/cpp'],
    headers: ['bench/peers/native'],
    libraries: sockets
  })
}

/** Undefined where Asio's headers are not installed. */
export async function buildAsio() {
  const headers = asioHeaders()
  if (headers === undefined) return undefined
  if (!isWindows) await needDebian('mingw')
  return build({
    name: 'asio.exe',
    compiler: windowsCompiler(),
    // No warnings about somebody else's headers.
    flags: [...strict.filter((flag) => flag !== '-Werror'), ...forWindows, '-DASIO_STANDALONE', '-isystem', headers],
    folders: ['bench/peers/asio'],
    headers: ['bench/peers/native'],
    libraries: sockets
  })
}

/** Undefined where there is no Windows with the SDK of .NET. */
export async function buildKestrel() {
  if (!isWindows || findProgram('dotnet') === undefined) return undefined
  const to = path.join(folder, 'kestrel')
  await run('dotnet', ['publish', fromRoot('bench', 'peers', 'kestrel'), '-c', 'Release', '-o', to])
  return path.join(to, 'kestrel.exe')
}

/** On Windows the compiler is MinGW-w64's too, so that the servers are the same. */
function windowsCompiler() {
  if (!isWindows) return 'x86_64-w64-mingw32-g++-posix'
  if (findProgram('g++') === undefined) throw new Stop('the benchmark needs g++ (MinGW-w64) in the PATH')
  return 'g++'
}

/** A folder with Asio's headers alone: /usr/include as a whole would bring the headers of Linux. */
function asioHeaders() {
  const from = process.env.ASIO_INCLUDE ?? (isWindows ? undefined : '/usr/include')
  if (from === undefined || !fs.existsSync(path.join(from, 'asio.hpp'))) return undefined
  if (isWindows) return from
  const to = path.join(folder, 'include')
  fs.rmSync(to, { recursive: true, force: true })
  fs.mkdirSync(to, { recursive: true })
  for (const name of ['asio', 'asio.hpp']) fs.symlinkSync(path.join(from, name), path.join(to, name))
  return to
}

async function build({ name, compiler, flags, folders, headers = [], libraries }) {
  const program = path.join(folder, name)
  const sources = folders.flatMap((one) => filesBelow(one, '.cc'))
  const inputs = [...sources, ...[...folders, ...headers].flatMap((one) => filesBelow(one, '.h'))]
  const command = [...flags, ...sources, '-o', program, ...libraries]
  await withLock('bench-build', async () => {
    const wanted = digest(inputs, compiler, ...command)
    if (readIfThere(`${program}.stamp`) === wanted && fs.existsSync(program)) return
    say(`compiling ${name} of the benchmark`)
    fs.mkdirSync(folder, { recursive: true })
    await run(compiler, command, { cwd: fromRoot() })
    writeFile(`${program}.stamp`, wanted)
  })
  return program
}
