// A second Windows: Wine 10, of Debian 13, in a folder of its own that programs enter by chroot. Node.js 24 and later do
// not start in the Wine 8 of Debian 12. It takes root, and a Debian whose mirrors also have the release 13.
import fs from 'node:fs'
import path from 'node:path'
import { findProgram, needDebian } from '../lib/install.mjs'
import { withLock } from '../lib/lock.mjs'
import { inCache, root } from '../lib/paths.mjs'
import { capture, run, say, Stop } from '../lib/run.mjs'

const system = inCache('wine10', 'system')
const ready = path.join(system, '.ready')
const programs = '/usr/lib/wine'

/** Why this machine cannot have it; undefined when it can. */
export function whyNoDebian13() {
  if (process.platform !== 'linux') return 'it is for Linux'
  if (process.getuid() !== 0) return 'it needs root, for debootstrap and chroot'
  if (!/^ID=debian$/m.test(fs.readFileSync('/etc/os-release', 'utf8'))) return 'it needs Debian'
  if (capture('unshare', ['--mount', 'true']) === undefined) return 'mounts are not allowed here'
  return undefined
}

/** Installs the system into its folder. */
export async function needDebian13() {
  if (fs.existsSync(ready)) return
  const reason = whyNoDebian13()
  if (reason !== undefined) throw new Stop(`no Wine 10: ${reason}`)
  const debootstrap = { package: 'debootstrap', isThere: () => findProgram('debootstrap') !== undefined }
  await needDebian(debootstrap)
  await withLock('debian13', async () => {
    if (fs.existsSync(ready)) return
    say('installing Debian 13 with Wine 10 into .cache/wine10, which takes a minute or more')
    fs.rmSync(system, { recursive: true, force: true })
    fs.mkdirSync(system, { recursive: true })
    const log = fs.openSync(inCache('wine10', 'debootstrap.log'), 'w')
    const words = ['--variant=minbase', '--include=wine64', 'trixie', system, mirror()]
    await run('debootstrap', words, { stdio: ['ignore', log, log] })
    fs.closeSync(log)
    fs.writeFileSync(path.join(system, 'etc', 'hosts'), '127.0.0.1 localhost\n::1 localhost\n')
    fs.mkdirSync(path.join(system, root), { recursive: true })
    fs.writeFileSync(ready, '')
  })
}

/** Where this system's own packages come from. */
function mirror() {
  const folder = '/etc/apt/sources.list.d'
  const files = fs.existsSync(folder) ? fs.readdirSync(folder).map((name) => path.join(folder, name)) : []
  for (const file of [...files, '/etc/apt/sources.list'].filter((name) => fs.existsSync(name))) {
    const text = fs.readFileSync(file, 'utf8')
    const [, found] = /^(?:URIs:|deb(?: \[[^\]]*\])?)\s+(\S+)/m.exec(text) ?? []
    if (found !== undefined && !/security/.test(found)) return found
  }
  throw new Stop('no Wine 10: no mirror of Debian is named in /etc/apt')
}

/**
 * The command that runs one of Wine's programs in there. The mounts are those of a namespace that ends with the
 * process; the clone has the same path inside as outside.
 */
export function inDebian13(name, args) {
  const script = [
    'system=$1; clone=$2; shift 2',
    'for folder in /proc /dev /tmp "$clone"; do mount --bind "$folder" "$system$folder" || exit 126; done',
    'exec chroot "$system" /usr/bin/env -C "$PWD" "$@"'
  ].join('\n')
  const words = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', system, root]
  return ['unshare', [...words, path.join(programs, name), ...args]]
}
