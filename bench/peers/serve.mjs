// What the servers written in JavaScript have in common: their arguments, and the lines by which the benchmark
// controls them. Control lines come on stdin, one answer each goes to stdout; the end of stdin ends the server.
import { availableParallelism } from 'node:os'
import readline from 'node:readline'
import { parseArgs } from 'node:util'
import { takeDelay } from './loop_delay.mjs'
import { measureScaling } from './scaling.mjs'

const { values } = parseArgs({
  options: {
    mode: { type: 'string', default: 'echo' },
    threads: { type: 'string' },
    rounds: { type: 'string' },
    'main-thread': { type: 'boolean', default: false },
    'max-packet': { type: 'string', default: String(1024 * 1024) },
    file: { type: 'string' },
    method: { type: 'string', default: 'auto' },
    package: { type: 'string', default: 'iocp' }
  }
})

/** In mode 'broadcast' a packet goes to all connections; shorter ones than this are echoed, so that clients can ask. */
export const BROADCAST_FROM = 16

/** In mode 'file' any packet asks for it. */
export const { file, method } = values
export const isBroadcast = values.mode === 'broadcast'
export const threads = values.threads === undefined ? undefined : Number(values.threads)
/** Rounds of work for each packet; undefined where packets are echoed as they are. */
export const rounds = values.rounds === undefined ? undefined : Number(values.rounds)
export const onMainThread = values['main-thread']
/** Threads that compute them. */
export const workers = availableParallelism()
export const maxPacket = Number(values['max-packet'])
/** What to import for the peer `iocp`. */
export const packageName = values.package

const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`)

/**
 * Says that the server listens, and does what the control lines say until there are no more.
 * @param stats what the line `stats` is answered with
 * @param close ends the server
 */
export function obey({ port, stats = () => ({}), close }) {
  const commands = {
    memory() {
      for (let i = 0; i < 3; i++) globalThis.gc?.()
      return { memory: process.memoryUsage().rss }
    },
    busy: () => ({ busy: performance.eventLoopUtilization().active }),
    stats: () => ({ stats: stats(), cpu: process.cpuUsage() }),
    delay: () => ({ delay: takeDelay() }),
    scaling: () => measureScaling(workers, rounds)
  }
  answer({ ready: port })
  const lines = readline.createInterface({ input: process.stdin })
  lines.on('line', async (line) => answer((await commands[line]?.()) ?? { error: `no such command: ${line}` }))
  lines.on('close', async () => {
    await close()
    process.exit(0)
  })
}
