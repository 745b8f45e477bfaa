// Measures a case: the peers take turns, run by run, so that what disturbs the machine disturbs all of them.
import { setTimeout as sleep } from 'node:timers/promises'
import { say } from '../../tools/lib/run.mjs'
import { runLoad } from './load.mjs'
import { OURS } from './peers.mjs'
import { Server } from './server.mjs'
import { ratio, summary } from './statistics.mjs'

/** For the JavaScript of a server to be compiled. */
const WARM_UP = 1

const words = (options) => Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])

/** One run of one peer in a process of its own. */
async function runOnce(one, peer, { program, seconds, prepared }) {
  const { name, ...start } = peer
  const server = await Server.start(name, { ...start, args: [...start.args, ...words(one.server ?? {})] })
  try {
    const cpu = {}
    const load = (scenario, options, onPhase) =>
      runLoad(program, scenario, { port: server.port, ...options }, async (phase) => {
        cpu[phase] = await server.cpu()
        await onPhase?.(phase)
      })
    const result = await one.run({ load, server, seconds, warmUp: WARM_UP, prepared })
    if (!result.inTime) result.errors += 1
    if (cpu.measuring !== undefined && result.messages > 0) {
      result.cpu = used(cpu.measuring, cpu.done, result.messages)
      if (result.work !== undefined) result.beside = result.cpu.own + result.cpu.kernel - result.work
    }
    return result
  } finally {
    await server.end()
    // What the end of thousands of connections causes is not the next one's.
    await sleep(300)
  }
}

/** Microseconds of processor time for each message: the server's own and that of Wine's server. */
function used(before, after, messages) {
  const each = (what) => ((after[what] - before[what]) * 1e6) / messages
  return { own: each('own'), kernel: each('kernel') }
}

/**
 * Measures one case.
 * @returns { peers: { name: [result, ...] } }, one result for each pair
 */
export async function measure(one, peers, { program, seconds, pairs }) {
  const results = Object.fromEntries(peers.map(({ name }) => [name, []]))
  const settings = { program, seconds }
  const runWith = (name, other) => {
    const peer = peers.find((candidate) => candidate.name === name) ?? peers[0]
    return runOnce(other, peer, settings)
  }
  settings.prepared = await one.prepare?.({ runWith })
  try {
    await takeTurns(one, peers, { settings, pairs, results })
  } finally {
    await one.finish?.()
  }
  return results
}

async function takeTurns(one, peers, { settings, pairs, results }) {
  for (let pair = 0; pair < pairs; pair++) {
    const turn = pair % peers.length
    for (const peer of [...peers.slice(turn), ...peers.slice(0, turn)]) {
      const result = await runOnce(one, peer, settings)
      results[peer.name].push(result)
      say(`${one.name} ${pair + 1}/${pairs} ${peer.name.padEnd(5)} ${line(one, result)}`)
    }
  }
}

function line(one, result) {
  const { value, errors, refused, cpu, javaScript, latencyMicroseconds, eventLoopDelay, beside, work, scaling } = result
  const parts = [`${value.toFixed(0)} ${one.unit}`]
  if (cpu !== undefined) parts.push(`cpu ${cpu.own.toFixed(1)}+${cpu.kernel.toFixed(1)} µs`)
  if (beside !== undefined) {
    parts.push(`work ${work.toFixed(1)} µs, beside it ${beside.toFixed(1)} µs, threads do ${scaling.toFixed(2)} × one`)
  }
  if (javaScript !== undefined) parts.push(`JavaScript busy ${javaScript.toFixed(1)} µs`)
  if (latencyMicroseconds.p99 > 0) parts.push(`p50 ${latencyMicroseconds.p50} p99 ${latencyMicroseconds.p99} µs`)
  if (eventLoopDelay !== undefined) parts.push(`event loop p99 ${eventLoopDelay} µs late`)
  if (errors + refused > 0) parts.push(`${errors} ERRORS, ${refused} REFUSED`)
  return parts.join(', ')
}

/** An entry of the results: medians and spreads, and ratios run by run. */
export function conclude(one, results) {
  const all = Object.keys(results)
  const others = all.filter((name) => name !== OURS && results[OURS] !== undefined)
  const each = (names, numbers) =>
    Object.fromEntries(names.map((name) => [name, summary(numbers(name))]).filter(([, value]) => value !== undefined))
  const pairs = (name, figure, better) =>
    results[name].map((result, i) => ratio(figure(results[OURS][i]), figure(result), better))
  const cpu = ({ cpu }) => (cpu === undefined ? NaN : cpu.own + cpu.kernel)
  const latency = (percentile) => each(all, (name) => results[name].map((r) => r.latencyMicroseconds[percentile]))
  return {
    case: one.name,
    title: one.title,
    unit: one.unit,
    better: one.better,
    targets: one.targets,
    pairs: results[all[0]].length,
    peers: each(all, (name) => results[name].map((result) => result.value)),
    ratios: each(others, (name) => pairs(name, (result) => result.value, one.better)),
    cpuMicroseconds: each(all, (name) => results[name].map(cpu)),
    cpuOfWineserver: each(all, (name) => results[name].map((result) => result.cpu?.kernel ?? NaN)),
    cpuRatios: each(others, (name) => pairs(name, cpu, 'lower')),
    ...(results[all[0]][0]?.beside !== undefined && {
      besideMicroseconds: each(all, (name) => results[name].map((result) => result.beside)),
      workMicroseconds: each(all, (name) => results[name].map((result) => result.work)),
      scaling: each(all, (name) => results[name].map((result) => result.scaling))
    }),
    ...(results[all[0]][0]?.javaScript !== undefined && {
      javaScriptMicroseconds: each(all, (name) => results[name].map((result) => result.javaScript)),
      // Of those that have such a thread.
      javaScriptRatios: each(
        others.filter((name) => results[name].every(({ javaScript }) => javaScript > 0)),
        (name) => pairs(name, (result) => result.javaScript, 'lower')
      )
    }),
    latencyMicroseconds: { p50: latency('p50'), p90: latency('p90'), p99: latency('p99') },
    eventLoopDelay: each(all, (name) => results[name].map((result) => result.eventLoopDelay ?? NaN)),
    errors: sums(results, 'errors'),
    refused: sums(results, 'refused')
  }
}

function sums(results, what) {
  return Object.fromEntries(
    Object.entries(results).map(([name, list]) => [name, list.reduce((sum, result) => sum + result[what], 0)])
  )
}
