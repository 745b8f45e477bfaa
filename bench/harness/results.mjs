// Results: entries of the form { case, unit, peers: { name: { median, min, max } }, ratios: { … }, host, wine, node,
// date }, a ratio above 1 always meaning that this library is better.
import { readIfThere, writeFile } from '../../tools/lib/files.mjs'
import { fromRoot } from '../../tools/lib/paths.mjs'
import { rounded } from './statistics.mjs'

const fileOf = (kind) => fromRoot('bench', 'results', `${kind}.json`)

/** Entries that were kept: of 'cases' or of 'sweep'. */
export function readResults(kind) {
  return JSON.parse(readIfThere(fileOf(kind)) ?? '[]')
}

/** Keeps entries in place of older ones of the same cases. */
export function keepResults(kind, entries) {
  const fresh = new Map(entries.map((entry) => [entry.case, entry]))
  const kept = readResults(kind).map((old) => {
    const entry = fresh.get(old.case) ?? old
    fresh.delete(old.case)
    return entry
  })
  writeFile(fileOf(kind), `${JSON.stringify([...kept, ...fresh.values()], null, 2)}\n`)
}

export const showSpread = ({ median, min, max }) => `${show(median)} (${show(min)} – ${show(max)})`
export const show = (number) => rounded(number).toLocaleString('en-US', { maximumSignificantDigits: 4 })

/** An entry for the terminal. */
export function showEntry(entry) {
  const lines = [`\n${entry.case}: ${entry.title}${entry.wine === null ? '' : ` [Wine ${entry.wine}]`}`]
  for (const [name, value] of Object.entries(entry.ratios)) {
    const target = entry.targets[name]
    const verdict = target === undefined ? '' : value.median >= target ? `  ≥ ${target}` : `  MISSED ${target}`
    const cpu = entry.cpuRatios[name] === undefined ? '' : `  cpu ${showSpread(entry.cpuRatios[name])}`
    lines.push(`  × ${name.padEnd(6)} ${showSpread(value)}${verdict}${cpu}`)
  }
  for (const [name, value] of Object.entries(entry.javaScriptRatios ?? {})) {
    lines.push(`  × ${name.padEnd(6)} ${showSpread(value)}  processor time of the JavaScript thread`)
  }
  for (const [name, value] of Object.entries(entry.peers)) {
    const cpu = entry.cpuMicroseconds[name]
    const delay = entry.eventLoopDelay?.[name]
    const bad = entry.errors[name] + entry.refused[name]
    lines.push(
      `  ${name.padEnd(8)} ${showSpread(value)} ${entry.unit}` +
        (cpu === undefined ? '' : `, cpu ${showSpread(cpu)} µs each`) +
        (entry.besideMicroseconds === undefined
          ? ''
          : `, ${showSpread(entry.besideMicroseconds[name])} µs beside the work; threads ${showSpread(entry.scaling[name])} × one`) +
        (delay === undefined ? '' : `, main thread's event loop ${showSpread(delay)} µs late (p99)`) +
        (entry.javaScriptMicroseconds === undefined
          ? ''
          : `, JavaScript busy ${showSpread(entry.javaScriptMicroseconds[name])} µs`) +
        (bad === 0 ? '' : `, ${entry.errors[name]} errors, ${entry.refused[name]} refused`)
    )
  }
  return lines.join('\n')
}
