// Installing what a command needs: this project's node_modules, and Debian packages.
import fs from 'node:fs'
import { delimiter, join } from 'node:path'
import { readIfThere } from './files.mjs'
import { withLock } from './lock.mjs'
import { fromRoot, isWindows, root } from './paths.mjs'
import { capture, commandLine, npm, say, start, Stop } from './run.mjs'

/** Brings node_modules to what package-lock.json says; does nothing when it is there already. */
export async function needNodeModules() {
  if (nodeModulesAreFresh()) return
  await withLock('npm', async () => {
    if (nodeModulesAreFresh()) return
    say('installing the development packages (npm ci)')
    // Nothing that a package would compile or fetch is needed.
    await npm(['ci', '--ignore-scripts'], { cwd: root })
  })
}

function nodeModulesAreFresh() {
  const installedText = readIfThere(fromRoot('node_modules', '.package-lock.json'))
  if (installedText === undefined) return false
  const installed = JSON.parse(installedText).packages
  const wanted = JSON.parse(fs.readFileSync(fromRoot('package-lock.json'), 'utf8')).packages
  return Object.entries(wanted).every(
    // Optional packages are those of other platforms.
    ([name, { version, optional }]) => name === '' || optional || installed[name]?.version === version
  )
}

// How to tell that something is there, and which package of Debian and Ubuntu brings it. Looking for the thing itself
// serves people who have it from elsewhere.
const debian = {
  wine: { package: 'wine64', isThere: () => findProgram('wine64') !== undefined },
  mingw: {
    package: 'g++-mingw-w64-x86-64-posix',
    isThere: () => findProgram('x86_64-w64-mingw32-g++-posix') !== undefined
  },
  ccache: { package: 'ccache', isThere: () => findProgram('ccache') !== undefined },
  make: { package: 'make', isThere: () => findProgram('make') !== undefined },
  python: { package: 'python3', isThere: () => findProgram('python3') !== undefined },
  gxx: { package: 'g++', isThere: () => findProgram('g++') !== undefined },
  doctest: { package: 'doctest-dev', isThere: () => fs.existsSync('/usr/include/doctest/doctest.h') },
  erlang: { package: 'erlang-base', isThere: () => findProgram('escript') !== undefined },
  netcat: { package: 'netcat-openbsd', isThere: () => findProgram('nc') !== undefined },
  haproxy: {
    package: 'haproxy',
    isThere: () => findProgram('haproxy') !== undefined || fs.existsSync('/usr/sbin/haproxy')
  },
  openssl: { package: 'openssl', isThere: () => findProgram('openssl') !== undefined },
  curl: { package: 'curl', isThere: () => findProgram('curl') !== undefined },
  clang: { package: 'clang', isThere: () => findClang() !== undefined },
  get libcxx() {
    // Of the clang that is used: the headers of another version may not suit it.
    return { package: `libc++-${clangMajor()}-dev`, isThere: () => libcxxHeaders() !== undefined }
  }
}

/** Installs the Debian packages that bring these things (keys of the table above, or entries like its) where missing. */
export async function needDebian(...names) {
  const things = names.map((name) => debian[name] ?? name)
  const missing = things.filter((thing) => !thing.isThere()).map((thing) => thing.package)
  if (missing.length === 0) return
  const asRoot = rootPrefix()
  if (asRoot === undefined) {
    const sudo = findProgram('sudo') === undefined ? '' : 'sudo '
    throw new Stop(
      `Debian packages are missing. As root, or with sudo, run this line and then start again:\n\n` +
        `  ${sudo}apt-get update && ${sudo}apt-get install -y --no-install-recommends ${missing.join(' ')}\n`
    )
  }
  say(`installing Debian packages, which takes a minute or more: ${missing.join(' ')}`)
  const apt = async (...words) => {
    // sudo would not hand on an environment.
    const environment = ['env', 'DEBIAN_FRONTEND=noninteractive']
    const line = [...asRoot, ...environment, 'apt-get', '-qq', '-o', 'DPkg::Lock::Timeout=600', ...words]
    // Of the hundreds of lines only those of a failure are of interest. sudo asks on the terminal itself.
    const stdio = [asRoot.length > 0 ? 'inherit' : 'ignore', 'pipe', 'pipe']
    const { status, stdout, stderr } = await start(line[0], line.slice(1), { stdio })
    if (status !== 0) throw new Stop(`${stdout}${stderr}${commandLine(line[0], line.slice(1))} failed`)
  }
  await withLock('apt', async () => {
    await apt('update')
    await apt('install', '-y', '--no-install-recommends', ...missing)
  })
  const still = things.filter((thing) => !thing.isThere())
  if (still.length > 0) throw new Stop(`not usable after the installation: ${still.map((t) => t.package).join(' ')}`)
}

/** What to put before apt-get: nothing for root, sudo where it can be used, undefined where neither is possible. */
function rootPrefix() {
  if (isWindows || findProgram('apt-get') === undefined) return undefined
  if (process.getuid() === 0) return []
  const sudo = findProgram('sudo')
  if (sudo === undefined) return undefined
  const mayAsk = process.stdin.isTTY && process.stderr.isTTY
  return mayAsk || capture(sudo, ['-n', 'true']) !== undefined ? [sudo] : undefined
}

/** Full path of a program in the PATH; Debian keeps Wine's own programs beside it. */
export function findProgram(name) {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), '/usr/lib/wine']) {
    const file = join(folder, isWindows ? `${name}.exe` : name)
    if (folder !== '' && fs.existsSync(file)) return file
  }
  return undefined
}

export function clangMajor() {
  return capture(findClang(), ['-dumpversion']).split('.')[0]
}

/** The folder of libc++'s headers, where they are installed. */
export function libcxxHeaders() {
  const folder = `/usr/lib/llvm-${clangMajor()}/include/c++/v1`
  return fs.existsSync(folder) ? folder : undefined
}

/** The newest clang++ there is: Debian installs it under versioned names only, unless asked for `clang`. */
export function findClang() {
  for (const version of [21, 20, 19, 18, 17, 16, 15, 14]) {
    const file = findProgram(`clang++-${version}`)
    if (file !== undefined) return file
  }
  return findProgram('clang++')
}
