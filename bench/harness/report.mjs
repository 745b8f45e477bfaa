// Fills the tables of docs/performance.md, which stand between marks, and draws its charts.
import { readIfThere, writeFile, writeIfChanged } from '../../tools/lib/files.mjs'
import { fromRoot } from '../../tools/lib/paths.mjs'
import { say } from '../../tools/lib/run.mjs'
import { cases as known } from './cases.mjs'
import { growthChart, ratioChart } from './chart.mjs'
import { readResults, show, showSpread } from './results.mjs'
import { sweepTitles } from './sweep.mjs'

const page = fromRoot('docs', 'performance.md')
const chart = (name) => fromRoot('docs', 'charts', `${name}.svg`)
const image = (words, name) => `![${words}](charts/${name}.svg)`

const KIB = 1024

export function writeReport() {
  // In the order of the cases, against the targets that they have now.
  const kept = readResults('cases')
  const cases = known.flatMap(({ name, targets, javaScriptTargets }) =>
    kept.filter((entry) => entry.case === name).map((entry) => ({ ...entry, targets, javaScriptTargets }))
  )
  const sweep = readResults('sweep')
  let text = readIfThere(page)
  if (cases.length > 0) {
    writeFile(chart('ratios'), drawRatios(cases))
    text = fill(text, 'ratios', `${image('Ratios', 'ratios')}\n\n${ratioTable(cases)}`)
    text = fill(text, 'figures', figureTable(cases))
  }
  for (const by of Object.keys(sweepTitles)) {
    const entries = sweep.filter((entry) => entry.sweep.by === by).sort((a, b) => a.sweep.at - b.sweep.at)
    if (entries.length < 2) continue
    writeFile(chart(`sweep-${by}`), drawSweep(by, entries))
    text = fill(text, `sweep-${by}`, `${image(`By ${sweepTitles[by]}`, `sweep-${by}`)}\n\n${sweepTable(entries)}`)
  }
  writeIfChanged(page, text)
  say('docs/performance.md is up to date with bench/results')
}

/** Replaces what stands between the marks of a name. */
function fill(text, name, content) {
  const [begin, end] = [`<!-- ${name}: made by npm run bench -->`, `<!-- end of ${name} -->`]
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from === -1 || to < from) throw new Error(`docs/performance.md has no place for ${name}`)
  return `${text.slice(0, from + begin.length)}\n${content}\n${text.slice(to)}`
}

const peersOf = (entries) => [...new Set(entries.flatMap((entry) => Object.keys(entry.peers)))]
const othersOf = (entries) => [...new Set(entries.flatMap((entry) => Object.keys(entry.ratios)))]

function table(head, rows) {
  const lines = [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows]
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** Where and when, once for each different place. */
function placesOf(entries) {
  const places = new Map()
  for (const { host, wine, node, commit, date } of entries) {
    const windows = wine === null ? 'Windows' : `Wine ${wine}: not Windows figures`
    places.set(`${host}; servers in ${windows}; Node.js ${node}; commit ${commit}`, date.slice(0, 10))
  }
  return [...places].map(([place, day]) => `Taken ${day} on ${place}.`).join('\n')
}

function ratioTable(entries) {
  const others = othersOf(entries)
  const cell = (ratios, targets, name) => {
    if (ratios[name] === undefined) return '–'
    const target = targets?.[name]
    const verdict = target === undefined ? '' : ratios[name].median >= target ? ` ✓ ≥ ${target}` : ` ✗ ≥ ${target}`
    return `**${show(ratios[name].median)}** (${show(ratios[name].min)} – ${show(ratios[name].max)})${verdict}`
  }
  const row = (label, { pairs }, ratios, targets) => [
    label,
    ...others.map((name) => cell(ratios, targets, name)),
    pairs
  ]
  const rows = entries.flatMap((entry) => [
    row(`\`${entry.case}\` ${entry.title}`, entry, entry.ratios, entry.targets),
    ...(entry.javaScriptRatios === undefined
      ? []
      : [
          row(
            `\`${entry.case}\` processor time of the JavaScript thread`,
            entry,
            entry.javaScriptRatios,
            entry.javaScriptTargets
          )
        ])
  ])
  return `${table(['case', ...others.map((name) => `vs ${name}`), 'pairs'], rows)}\n\n${placesOf(entries)}`
}

function figureTable(entries) {
  const names = peersOf(entries)
  const rows = entries.flatMap((entry) => {
    const row = (label, values) => [label, ...names.map((name) => (values[name] ? showSpread(values[name]) : '–'))]
    const label = `\`${entry.case}\``
    const {
      cpuMicroseconds: cpu,
      latencyMicroseconds: latency,
      eventLoopDelay: delay = {},
      javaScriptMicroseconds: javaScript
    } = entry
    return [
      row(`${label} ${entry.unit}`, entry.peers),
      ...(Object.keys(cpu).length > 0 ? [row(`${label} processor time for each, µs`, cpu)] : []),
      ...(entry.besideMicroseconds === undefined
        ? []
        : [
            row(`${label} of which the work, µs`, entry.workMicroseconds),
            row(`${label} and besides, µs`, entry.besideMicroseconds),
            row(`${label} the work on all threads, × one`, entry.scaling)
          ]),
      ...(hasLatency(entry) ? [row(`${label} p99, µs`, latency.p99)] : []),
      ...(javaScript === undefined ? [] : [row(`${label} of which the JavaScript thread, µs`, javaScript)]),
      ...(Object.keys(delay).length > 0 ? [row(`${label} event loop of the main thread late, p99, µs`, delay)] : []),
      ...(entry.case === 'burst' ? [[`${label} refused or lost`, ...names.map((name) => lost(entry, name))]] : [])
    ]
  })
  return `${table(['', ...names], rows)}\n\n${placesOf(entries)}`
}

// Where it is not what the case is about, and was measured at all.
const hasLatency = ({ unit, cpuMicroseconds, latencyMicroseconds }) =>
  unit !== 'µs' &&
  Object.keys(cpuMicroseconds).length > 0 &&
  Object.values(latencyMicroseconds.p99).some(({ median }) => median > 0)

const lost = (entry, name) => (entry.errors[name] ?? 0) + (entry.refused[name] ?? 0)

function sweepTable(entries) {
  const names = peersOf(entries)
  const others = othersOf(entries)
  const rows = entries.map((entry) => [
    labelOf(entry.sweep.by)(entry.sweep.at),
    ...names.map((name) => (entry.peers[name] ? showSpread(entry.peers[name]) : '–')),
    ...others.map((name) => (entry.ratios[name] ? show(entry.ratios[name].median) : '–'))
  ])
  return `${table(['', ...names.map((name) => `${name}, messages/s`), ...others.map((name) => `vs ${name}`)], rows)}\n\n${placesOf(entries)}`
}

function drawRatios(entries) {
  const rows = entries.flatMap((entry) =>
    Object.entries(entry.ratios).map(([peer, value]) => ({
      label: entry.case,
      peer,
      value,
      target: entry.targets[peer]
    }))
  )
  const note = `dot: median, line: spread, bar: target; above 1× iocp is better${wineNote(entries)}`
  return ratioChart('iocp and others', rows, note)
}

function drawSweep(by, entries) {
  const bytes = by === 'size'
  const series = Object.fromEntries(
    peersOf(entries).map((name) => [
      name,
      entries.flatMap((entry) =>
        entry.peers[name] === undefined
          ? []
          : [{ at: entry.sweep.at, value: bytes ? scaled(entry.peers[name], entry.sweep.at / 1e6) : entry.peers[name] }]
      )
    ])
  )
  return growthChart(`By ${sweepTitles[by]}`, series, {
    unit: bytes ? 'MB/s each way' : 'messages/s',
    labelOf: labelOf(by),
    note: `median and spread${wineNote(entries)}`
  })
}

const scaled = (spread, factor) =>
  Object.fromEntries(Object.entries(spread).map(([key, value]) => [key, value * factor]))
const wineNote = (entries) => (entries.every(({ wine }) => wine === null) ? '' : ' (taken under Wine)')

function labelOf(by) {
  if (by !== 'size') return (value) => value.toLocaleString('en-US')
  return (value) => (value < KIB ? `${value} B` : value < KIB * KIB ? `${value / KIB} KiB` : `${value / KIB / KIB} MiB`)
}
