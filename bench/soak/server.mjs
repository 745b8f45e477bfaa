// The server of the soak: echoes, does what clients ask for, and drops connections at random by itself. Controlled by
// lines on stdin, answers in JSON.
import { execFileSync } from 'node:child_process'
import readline from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { createServer } from 'iocp'
import { DESTROY, END } from './commands.mjs'
import { Random } from './random.mjs'

const [seed, dropsPerSecond] = process.argv.slice(2).map(Number)
const random = new Random(seed)
let packets = 0
let bytes = 0
let dropped = 0

const server = createServer({ ioThreads: 2 })
server.on('packet', (packet, connection) => {
  packets += 1
  bytes += packet.length
  if (packet.length === END.length && packet.equals(END)) return void connection.end()
  if (packet.length === DESTROY.length && packet.equals(DESTROY)) return void connection.destroy()
  // A peer that does not read is not read from either.
  if (connection.send(packet) === 'queued') connection.pause()
})
server.on('drain', (connection) => connection.resume())
const { port } = await server.listen({ port: 0, host: '127.0.0.1' })

// The "random disconnect" of the original's demo, a few at a time.
let rest = 0
const disconnecting = setInterval(() => {
  rest += dropsPerSecond / 4
  if (rest < 1) return
  const all = [...server.connections]
  for (; rest >= 1 && all.length > 0; rest -= 1) {
    all[random.between(0, all.length - 1)].reset()
    dropped += 1
  }
}, 250)

const commands = {
  figures: async () => {
    // Twice, so that finalizers have run.
    for (let i = 0; i < 2; i += 1) {
      globalThis.gc()
      await delay(100)
    }
    const { pools, pendingObjects, listeners } = server.stats()
    return {
      packets,
      bytes,
      dropped,
      open: server.connections.size,
      contexts: pools.contexts.inUse,
      buffers: pools.readBuffers.inUse + pools.waitBuffers.inUse,
      pendingObjects,
      rss: process.memoryUsage().rss,
      accepting: listeners.reduce((sum, { pendingAccepts }) => sum + pendingAccepts, 0),
      ...(process.env.IOCP_SOAK_COUNTED === undefined && handlesAndThreads())
    }
  },
  calm: () => {
    clearInterval(disconnecting)
    return {}
  },
  close: () => server.close({ deadline: '10s' })
}

/** As Windows counts them; under Wine whoever started us can count better (run.mjs). */
function handlesAndThreads() {
  const script = `$p = Get-Process -Id ${process.pid}; "$($p.HandleCount) $($p.Threads.Count)"`
  const [handles, threads] = execFileSync('powershell', ['-NoProfile', '-Command', script]).toString().split(' ')
  return { handles: Number(handles), threads: Number(threads) }
}

console.log(JSON.stringify({ ready: port }))
for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await commands[line]()))
}
clearInterval(disconnecting)
