// `npm run bench -- [case …] [--peers …] [--seconds n] [--pairs n] [--json file]`: measures this library against other
// servers that do the same work. `sweep` instead of cases: how cost grows. `report`: draws docs/performance.md anew
// from the results that there are.
import fs from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { needNodeModules } from '../tools/lib/install.mjs'
import { main, say, Stop } from '../tools/lib/run.mjs'
import { buildLoad } from './harness/build.mjs'
import { chooseCases } from './harness/cases.mjs'
import { conclude, measure } from './harness/measure.mjs'
import { defaultPeers, makePeers, takesPart } from './harness/peers.mjs'
import { writeReport } from './harness/report.mjs'
import { keepResults, showEntry } from './harness/results.mjs'
import { sweepCases } from './harness/sweep.mjs'
import { closeHost, describeHost, openHost } from './harness/wine_host.mjs'

/** With fewer pairs the figures are a try and are not kept. */
const PAIRS_TO_KEEP = 5

await main(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      peers: { type: 'string', default: defaultPeers.join(',') },
      seconds: { type: 'string', default: '3' },
      pairs: { type: 'string', default: String(PAIRS_TO_KEEP) },
      json: { type: 'string' }
    }
  })
  if (positionals[0] === 'report') return void writeReport()
  const seconds = number('seconds', values.seconds, 0.1, 3600)
  const pairs = number('pairs', values.pairs, 1, 1000)
  const isSweep = positionals[0] === 'sweep'
  const isWhole = values.peers === defaultPeers.join(',')
  const chosen = isSweep ? sweepCases(positionals.slice(1)) : chooseCases(positionals)
  await needNodeModules()
  const program = await buildLoad()
  await openHost()
  const entries = []
  try {
    const words = isWhole
      ? [...new Set([...defaultPeers, ...chosen.flatMap((one) => one.peers ?? [])])]
      : values.peers.split(',')
    const peers = await makePeers(words.filter((word) => !isWhole || chosen.some((one) => takesPart(word, one))))
    for (const one of chosen) {
      const taking = peers.filter(({ name }) => takesPart(name, one, !isWhole))
      const results = await measure(one, taking, { program, seconds, pairs: Math.ceil(pairs) })
      const entry = { ...conclude(one, results), ...(one.sweep && { sweep: one.sweep }), seconds, ...describeHost() }
      entries.push({ ...entry, date: new Date().toISOString() })
      console.log(showEntry(entry))
    }
  } finally {
    closeHost()
  }
  if (values.json !== undefined) {
    const file = path.resolve(process.env.INIT_CWD ?? '.', values.json)
    fs.writeFileSync(file, `${JSON.stringify(entries, null, 2)}\n`)
  }
  if (isWhole && pairs >= PAIRS_TO_KEEP) {
    keepResults(isSweep ? 'sweep' : 'cases', entries)
    writeReport()
  } else {
    say(`not kept: that takes ${PAIRS_TO_KEEP} pairs of all peers`)
  }
  return entries.some(({ errors }) => Object.values(errors).some((count) => count > 0)) ? 1 : 0
})

function number(name, text, low, high) {
  const value = Number(text)
  if (text.trim() === '' || !(value >= low && value <= high)) {
    throw new Stop(`--${name} has to be a number from ${low} to ${high}, not "${text}"`)
  }
  return value
}
