// What is compared: programs that all do the same work, each in a process of its own.
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { buildDist } from '../../tools/build-dist.mjs'
import { buildNative } from '../../tools/build-native.mjs'
import { fromRoot, isWindows } from '../../tools/lib/paths.mjs'
import { say, Stop } from '../../tools/lib/run.mjs'
import { buildAsio, buildCpp, buildKestrel } from './build.mjs'
import { hostPath } from './wine_host.mjs'

export const OURS = 'iocp'

const script = (name, ...args) => ({
  program: 'node',
  args: ['--expose-gc', hostPath(fromRoot('bench', 'peers', `${name}.mjs`)), ...args]
})

const known = {
  async iocp() {
    await buildDist()
    await buildNative()
    return script('iocp')
  },
  net: () => script('net'),
  async cpp() {
    return { program: await buildCpp(), args: [] }
  },
  async asio() {
    const program = await buildAsio()
    return program && { program, args: [] }
  },
  async kestrel() {
    const program = await buildKestrel()
    return program && { program, args: [] }
  },
  async cpp8() {
    return { program: await buildCpp(), args: ['--threads', '8'] }
  },
  main: () => script('iocp', '--main-thread'),
  piscina: () => script('piscina')
}

export const defaultPeers = ['iocp', 'net', 'cpp', 'asio']
/** Those that a case has to ask for, or a user. */
const otherPeers = ['cpp8', 'kestrel', 'main', 'piscina']

/** Whether a peer takes part in a case. Another checkout does wherever this one does. */
export function takesPart(peer, one, isAskedFor = false) {
  if (!(peer in known)) return takesPart(OURS, one)
  return one.peers?.includes(peer) ?? (isAskedFor || !otherPeers.includes(peer))
}

/** The package of another checkout, which has been built there. */
function otherCheckout(folder) {
  const entry = path.resolve(folder, 'dist', 'esm', 'index.js')
  const url = isWindows ? pathToFileURL(entry).href : `file:///Z:${encodeURI(entry)}`
  return script('iocp', '--package', url)
}

/**
 * Makes peers ready to start: those of the list above by name, others as name=folder.
 * @returns name and how to start it; not those that are not installed
 */
export async function makePeers(words) {
  const peers = []
  for (const word of words) {
    const [name, folder] = word.split('=')
    if (folder === undefined && !(name in known)) {
      throw new Stop(
        `"${name}" is no peer; there are: ${Object.keys(known).join(', ')}, and name=folder for another checkout`
      )
    }
    const start = folder === undefined ? await known[name]() : otherCheckout(folder)
    if (start === undefined) say(`${name} is not installed here, so it is left out`)
    else peers.push({ name, ...start })
  }
  return peers
}
