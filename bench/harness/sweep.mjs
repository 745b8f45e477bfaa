// How cost grows: one thing changes, the others stay.
import { Stop } from '../../tools/lib/run.mjs'
import { echoCase } from './echo_case.mjs'

const KIB = 1024

const sweeps = {
  connections: {
    title: 'connections (64 bytes, 1 deep)',
    at: [10, 100, 1000, 5000, 10_000],
    settings: (connections) => ({ connections })
  },
  size: {
    title: 'size of a message (50 connections, 1 deep)',
    at: [16, 256, 4 * KIB, 64 * KIB, 1024 * KIB],
    settings: (size) => ({ size })
  },
  pipelining: {
    title: 'messages under way per connection (64 bytes, 50 connections)',
    at: [1, 2, 4, 8, 16, 32, 64],
    settings: (depth) => ({ depth })
  },
  threads: {
    title: 'I/O threads (64 bytes, 50 connections, 16 deep)',
    at: [1, 2, 4, 8],
    // The others have one thread each.
    peers: ['iocp', 'cpp'],
    settings: (threads) => ({ threads, depth: 16 })
  }
}

export const sweepTitles = Object.fromEntries(Object.entries(sweeps).map(([name, { title }]) => [name, title]))

/** The cases of these sweeps; of all for none. */
export function sweepCases(names) {
  const unknown = names.find((name) => !(name in sweeps))
  if (unknown !== undefined) {
    throw new Stop(`"${unknown}" is no sweep; there are: ${Object.keys(sweeps).join(', ')}`)
  }
  return Object.entries(sweeps)
    .filter(([name]) => names.length === 0 || names.includes(name))
    .flatMap(([by, { at, peers, settings }]) =>
      at.map((value) => ({
        ...echoCase({ name: `sweep-${by}-${value}`, title: `${by} ${value}`, targets: {}, ...settings(value) }),
        sweep: { by, at: value },
        ...(peers && { peers })
      }))
    )
}
