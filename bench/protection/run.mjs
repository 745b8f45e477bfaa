// `npm run bench:protection [-- case …]`: what limits, rules and headers cost, and how exact they are. Prints tables for
// docs/performance.md.
import { setTimeout as pause } from 'node:timers/promises'
import { buildDist } from '../../tools/build-dist.mjs'
import { buildNative } from '../../tools/build-native.mjs'
import { needNodeModules } from '../../tools/lib/install.mjs'
import { capture, main, Stop } from '../../tools/lib/run.mjs'
import { buildDecision } from '../harness/build.mjs'
import { Server } from '../harness/server.mjs'
import { summary } from '../harness/statistics.mjs'
import { closeHost, describeHost, openHost } from '../harness/wine_host.mjs'
import { openMany, quantile, roundTrips, startFlood, startSlow, visit } from './peers.mjs'

const start = (kind, options = {}) =>
  Server.start(kind, {
    program: 'node',
    args: ['bench/protection/server.mjs', kind, JSON.stringify(options)]
  })
const used = ({ own, kernel }) => own + kernel
const spread = (numbers, digits = 3) => {
  const { median, min, max } = summary(numbers)
  const show = (number) => String(Number(number.toPrecision(digits)))
  return `${show(median)} (${show(min)} – ${show(max)})`
}
const table = (head, rows) => {
  console.log(`\n| ${head.join(' | ')} |\n|${head.map((_, at) => (at === 0 ? '---' : '---:')).join('|')}|`)
  for (const row of rows) console.log(`| ${row.join(' | ')} |`)
}

/** How much later than its limit a silent peer is cut. */
async function lateness() {
  const rows = []
  for (const limit of [100, 1000, 10_000]) {
    const server = await start('iocp', { server: { timeouts: { firstPacket: limit } } })
    const sockets = []
    // Not all in one tick.
    for (let i = 0; i < 300; i++) {
      sockets.push(...(await openMany(server.port, 1)))
      await pause(7)
    }
    const late = []
    while (late.length < sockets.length) {
      await pause(100)
      late.push(...(await server.ask('ended')).ended.map(({ after }) => after - limit))
    }
    late.sort((a, b) => a - b)
    const at = [0, 0.5, 0.99, 1].map((part) => quantile(late, part).toFixed(0))
    rows.push([`${limit} ms`, ...at, 100 + limit / 100])
    await server.end()
  }
  table(['limit', 'first', 'median', 'p99', 'last', 'the aim is at most'], rows)
}

/** What connections cost that have limits and do nothing. */
async function armed() {
  const count = 8000
  const kinds = {
    'no limits': {},
    'all limits': {
      timeouts: { firstPacket: '5m', packet: '30s', idle: '60s', sendStall: '30s', minRate: { bytes: 240 }, life: '1h' }
    },
    'idle events each second': { timeouts: { idle: { read: '1s', action: 'event' } } }
  }
  const cost = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, []]))
  for (let round = 0; round < 3; round++) {
    for (const [kind, options] of Object.entries(kinds)) {
      const server = await start('iocp', { server: options })
      const sockets = await openMany(server.port, count)
      await pause(3000)
      const [before, began] = [used(await server.cpu()), performance.now()]
      await pause(15_000)
      cost[kind].push(((used(await server.cpu()) - before) / (performance.now() - began)) * 1e5)
      for (const socket of sockets) socket.destroy()
      await server.end()
    }
  }
  table(
    [`${count} idle connections`, 'percent of a processor'],
    Object.entries(cost).map(([kind, percents]) => [kind, spread(percents)])
  )
}

/** Good clients while a thousand others send a packet byte by byte. */
async function slowPeers() {
  const server = await start('iocp', { framed: true, server: { timeouts: { packet: '3s', firstPacket: '3s' } } })
  const message = Buffer.alloc(68, 1)
  message.writeUInt32BE(64)
  const p99 = { alone: [], among: [] }
  let cut = 0
  for (let round = 0; round < 5; round++) {
    p99.alone.push(quantile(await roundTrips(server.port, { message, seconds: 6 }), 0.99))
    const slow = await startSlow(server.port, 1000)
    p99.among.push(quantile(await roundTrips(server.port, { message, seconds: 6 }), 0.99))
    cut += (await slow.ask()).cut
    await slow.stop()
    await pause(500)
  }
  await server.end()
  table(
    ['50 clients', 'p99 of a round trip, ms'],
    [
      ['alone', spread(p99.alone)],
      ['among 1,000 slow peers', spread(p99.among)]
    ]
  )
  console.log(`\n${cut} of 5000 slow peers were cut`)
}

/** What a header of the PROXY protocol costs, in processor time of one connection. */
async function proxyHeaders() {
  const packet = Buffer.of(0, 0, 0, 1, 120)
  const header = Buffer.from('PROXY TCP4 203.0.113.7 198.51.100.1 40000 443\r\n')
  const kinds = {
    'no header': [{ framed: true }, packet],
    'header, version 1': [
      { framed: true, server: { proxyProtocol: { from: ['127.0.0.1'] } } },
      Buffer.concat([header, packet])
    ]
  }
  const cost = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, []]))
  const servers = {}
  for (const [kind, [options]] of Object.entries(kinds)) servers[kind] = await start('iocp', options)
  for (let round = 0; round < 10; round++) {
    for (const [kind, [, bytes]] of Object.entries(kinds)) {
      const before = used(await servers[kind].cpu())
      await visit(servers[kind].port, 3000, bytes, packet.length)
      cost[kind].push(((used(await servers[kind].cpu()) - before) * 1e6) / 3000)
    }
  }
  for (const server of Object.values(servers)) await server.end()
  const [none, some] = Object.values(cost)
  const ratios = none.slice(1).map((without, at) => some[at + 1] / without)
  table(
    ['', 'processor time of a connection, µs'],
    Object.entries(cost).map(([kind, times]) => [kind, spread(times.slice(1))])
  )
  console.log(`\nratio ${spread(ratios)}`)
}

/** A decision of the table of access, with its end, in native code. */
async function decision() {
  const program = await buildDecision()
  const rounds = Array.from({ length: 3 }, () => JSON.parse(capture(program)))
  const kinds = { noRules: 'no rules', v4: 'all rules, IPv4', v6: 'all rules, IPv6', banned: 'all rules, banned' }
  table(
    ['a million bans, a million rates', 'ns'],
    Object.entries(kinds).map(([kind, name]) => [name, spread(rounds.map((round) => round[kind]))])
  )
  console.log(`\n${rounds[0].bytesEach} bytes for each entry`)
}

/** Good clients, and the JavaScript thread, while banned peers come. */
async function flood() {
  const banned = Array.from({ length: 1000 }, (_, index) => `127.1.${index >> 8}.${index & 255}`)
  const rows = []
  for (const rate of [1000, 5000]) {
    const figures = { iocp: { busy: [], p99: [], calm: [], made: [] }, net: { busy: [], p99: [], calm: [], made: [] } }
    for (let round = 0; round < 4; round++) {
      for (const [kind, { busy, p99, calm, made }] of Object.entries(figures)) {
        const server = await start(kind, { banned })
        calm.push(quantile(await roundTrips(server.port, { seconds: 3 }), 0.99))
        const unwanted = startFlood(server.port, rate, banned.length)
        await pause(500)
        const [before, peers, began] = [(await server.ask('busy')).busy, (await unwanted.ask()).made, performance.now()]
        p99.push(quantile(await roundTrips(server.port, { seconds: 4 }), 0.99))
        const took = performance.now() - began
        busy.push((((await server.ask('busy')).busy - before) / took) * 100)
        made.push(((await unwanted.ask()).made - peers) / (took / 1000))
        await unwanted.stop()
        await server.end()
      }
    }
    for (const [kind, { busy, p99, calm, made }] of Object.entries(figures)) {
      rows.push([kind, rate, spread(made), `${spread(busy)} %`, spread(calm), spread(p99)])
    }
  }
  table(['', 'wanted per second', 'came', 'JavaScript thread busy', 'p99 without, ms', 'p99 with, ms'], rows)
}

const cases = { lateness, armed, 'slow-peers': slowPeers, 'proxy-headers': proxyHeaders, decision, flood }

await main(async () => {
  const names = process.argv.slice(2)
  const chosen = names.length === 0 ? Object.keys(cases) : names
  const unknown = chosen.find((name) => cases[name] === undefined)
  if (unknown !== undefined) throw new Stop(`no such case: ${unknown}; there are ${Object.keys(cases).join(', ')}`)
  await needNodeModules()
  await buildDist()
  await buildNative()
  await openHost()
  try {
    console.log(JSON.stringify(describeHost()))
    for (const name of chosen) await cases[name]()
  } finally {
    closeHost()
  }
})
