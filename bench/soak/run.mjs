// `npm run soak`: thousands of clients for minutes or hours against one server of the library. They send packets of
// all sizes, check every byte that comes back, leave in order or not, and come again; the server drops some at random.
// Nothing may be lost, nothing left behind. The last line is one JSON object; the exit code is 0 only if all is clean.
import fs from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { buildDist } from '../../tools/build-dist.mjs'
import { buildNative } from '../../tools/build-native.mjs'
import { needNodeModules } from '../../tools/lib/install.mjs'
import { isWindows } from '../../tools/lib/paths.mjs'
import { main, say, Stop } from '../../tools/lib/run.mjs'
import { Server } from '../harness/server.mjs'
import { closeHost, openHost } from '../harness/wine_host.mjs'
import { Client } from './client.mjs'
import { Random } from './random.mjs'

const MIB = 1024 * 1024
const usage = `npm run soak -- [options]
  --connections n   clients at a time (5000)
  --seconds n       how long they go on (180)
  --seed n          decides sizes, times and ways to leave (a random one, which is printed)`

/** What memory may grow by between a busy moment early on and the quiet at the end. */
const growth = (start) => start * 1.05 + 8 * MIB

await main(async () => {
  const { values } = parseArgs({
    options: {
      connections: { type: 'string', default: '5000' },
      seconds: { type: 'string', default: '180' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      help: { type: 'boolean', default: false }
    }
  })
  if (values.help) {
    console.log(usage)
    return 0
  }
  const [connections, seconds, seed] = ['connections', 'seconds', 'seed'].map((name) => {
    const number = Number(values[name])
    if (!Number.isInteger(number) || number < 1) throw new Stop(`--${name} takes a whole number from 1`)
    return number
  })
  await needNodeModules()
  await buildNative()
  await buildDist()
  await openHost()
  try {
    const result = await soak(connections, seconds, seed)
    console.log(JSON.stringify(result.summary))
    return result.isClean ? 0 : 1
  } finally {
    closeHost()
  }
})

async function soak(connections, seconds, seed) {
  say(`soak: ${connections} connections, ${seconds} s, seed ${seed}`)
  const dropsPerSecond = connections / 500
  const args = ['--expose-gc', 'bench/soak/server.mjs', String(seed), String(dropsPerSecond)]
  const env = isWindows ? {} : { IOCP_SOAK_COUNTED: '1' }
  const server = await Server.start('soak', { program: 'node', args, env })
  // Whatever a process opens once and keeps, it has opened after a first round.
  await load(server, { connections: Math.min(200, connections), seconds: 3, seed: seed + 1 })
  const before = await figuresOf(server)
  let busy
  const totals = await load(server, {
    connections,
    seconds,
    seed,
    atThird: async () => (busy = await figuresOf(server))
  })
  await server.ask('calm')
  const after = await quiet(server)
  const { drained, cut } = await server.ask('close')
  const status = await server.end()

  const leaked = {
    contexts: after.contexts,
    buffers: after.buffers,
    handles: Math.max(0, after.handles - before.handles),
    threads: Math.max(0, after.threads - before.threads)
  }
  // Each reset that a client saw must be one that the server made on purpose.
  const unexplained = Math.max(0, totals.droppedByServer - (after.dropped - before.dropped))
  const lostBytes = totals.lostBytes + totals.wrongBytes
  const complaints = [
    lostBytes > 0 && `${totals.lostBytes} bytes lost, ${totals.wrongBytes} wrong`,
    totals.stalled > 0 && `${totals.stalled} connections stood still`,
    unexplained > 0 && `${unexplained} connections were reset by nobody`,
    Object.values(leaked).some((count) => count > 0) && 'something has leaked',
    after.open + drained + cut > 0 && `${after.open} connections are still open`,
    after.rss > growth(busy.rss) && 'memory has grown',
    status !== 0 && `the server ended with ${status}`
  ].filter(Boolean)
  for (const complaint of complaints) say(`soak: ${complaint}`)
  say(`soak: clients saw ${JSON.stringify(totals.errors)}; the server reset ${after.dropped} on purpose`)
  const summary = {
    seed,
    connections,
    reconnects: totals.reconnects,
    packets: totals.packets,
    bytes: totals.bytes,
    lostBytes,
    leaked,
    rssStartMiB: Math.round(busy.rss / MIB),
    rssEndMiB: Math.round(after.rss / MIB)
  }
  return { summary, isClean: complaints.length === 0 }
}

async function load(server, { connections, seconds, seed, atThird = () => undefined }) {
  const totals = {
    open: 0,
    reconnects: 0,
    packets: 0,
    bytes: 0,
    lostBytes: 0,
    wrongBytes: 0,
    stalled: 0,
    droppedByServer: 0,
    errors: {}
  }
  const random = new Random(seed)
  const clients = []
  const lives = []
  const end = performance.now() + seconds * 1000
  const third = performance.now() + (seconds * 1000) / 3
  let isThirdOver = false
  let nextLine = performance.now() + 10_000
  while (performance.now() < end) {
    // A few at a time: wineserver takes one connection from the queue in each of its turns, and a queue that overflows
    // makes peers wait for minutes, whatever the server does.
    for (let i = 0; i < 20 && clients.length < connections; i += 1) {
      const client = new Client(server.port, random, totals)
      clients.push(client)
      lives.push(client.run())
    }
    if (!isThirdOver && performance.now() > third) {
      isThirdOver = true
      await atThird()
    }
    if (performance.now() > nextLine) {
      nextLine += 10_000
      say(
        `soak: ${totals.open} open, ${totals.packets} packets, ${totals.reconnects} reconnects, ${totals.lostBytes} bytes lost`
      )
    }
    await delay(50)
  }
  for (const client of clients) client.stop()
  await Promise.all(lives)
  return totals
}

/** What the server tells, with its handles, but without the sockets that wait for an accept: their pool grows. */
async function figuresOf(server) {
  const figures = await server.ask('figures')
  if (!isWindows) {
    // Under Wine its files are those of a process of Linux; Wine's own server answers for the rest.
    figures.handles = fs.readdirSync(`/proc/${server.pid}/fd`).length
    figures.threads = fs.readdirSync(`/proc/${server.pid}/task`).length
    // An accept's socket is a file of wineserver's until it has been accepted.
    return figures
  }
  figures.handles -= figures.accepting
  return figures
}

/** The figures as soon as the last connection has gone on the server's side too; the last ones after half a minute. */
async function quiet(server) {
  for (let i = 0; ; i += 1) {
    const figures = await figuresOf(server)
    if ((figures.open === 0 && figures.contexts === 0 && figures.buffers === 0) || i === 30) {
      // The pools are trimmed once a second.
      await delay(4000)
      return figuresOf(server)
    }
    await delay(1000)
  }
}
