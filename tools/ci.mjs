// Everything that has to be true of a commit (.ci/run and the workflow on Linux run it). Every step runs, whatever
// became of the ones before; one that fails counts as a failure beside those of the tests.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { buildNative } from './build-native.mjs'
import { addCounts, noCounts, showCounts } from './lib/counts.mjs'
import { needNodeModules } from './lib/install.mjs'
import { root } from './lib/paths.mjs'
import { npm, say, Stop } from './lib/run.mjs'
import { checkWarnings } from './warnings.mjs'
import { needDebian13 } from './wine/debian13.mjs'

// Warnings are errors in everything that is compiled from here on.
process.env.IOCP_WERROR = '1'

// Those of a row run at the same time: each keeps about one processor busy.
const rows = [
  [['the addon builds without warnings (GCC)', () => buildNative({ fault: true })]],
  [['the addon has no warnings (clang)', checkWarnings]],
  [['the prebuilt addon is fresh', () => npmScript('check:prebuild', '--built')]],
  [
    ['types', () => npmScript('check:types')],
    ['lint', () => npmScript('lint')],
    ['fuzzing, for a short time', () => npmScript('fuzz', '--seconds', '3')]
  ]
]

const npmScript = (name, ...args) => npm(['run', '--silent', name, '--', ...args], { cwd: root })

await needNodeModules()
// It takes a minute or two, in which it mostly waits.
const noDebian13 = needDebian13().then(
  () => undefined,
  (error) => error
)
const failed = []
for (const row of rows) await Promise.all(row.map(([name, body]) => step(name, body)))
const counts = await runTests('npm test', [])
addCounts(counts, await inWine10())
counts.failed += failed.length
for (const name of failed) say(`FAILED: ${name}`)
console.log(showCounts(counts))
process.exitCode = counts.failed === 0 && counts.passed > 0 ? 0 : 1

async function step(name, body) {
  const begun = Date.now()
  say(`=== ${name}`)
  try {
    await body()
    say(`=== ${name}: ${Math.round((Date.now() - begun) / 1000)} s`)
  } catch (error) {
    if (!(error instanceof Stop)) throw error
    say(`=== ${name}: FAILED: ${error.message}`)
    failed.push(name)
  }
}

/** The tests of `windows` once more, with the Node.js that Wine 8 cannot start. */
async function inWine10() {
  const name = 'npm test -- windows, with Node.js 26 in Wine 10'
  const error = await noDebian13
  if (error instanceof Stop) {
    say(`=== ${name}: NOT RUN: ${error.message}`)
    return { ...noCounts, skipped: 1 }
  }
  if (error !== undefined) throw error
  return await runTests(name, ['--', 'windows'], { IOCP_WINE: '10', IOCP_INPUTS: '20000' })
}

/** The README's test command. Its last line says what it counted, and is left to us. */
function runTests(name, words, env = {}) {
  say(`=== ${name}`)
  const begun = Date.now()
  return new Promise((resolve, reject) => {
    const stdio = ['ignore', 'pipe', 'inherit']
    const options = { cwd: root, env: { ...process.env, ...env }, stdio, shell: process.platform === 'win32' }
    const child = spawn('npm', ['test', ...words], options)
    let last = ''
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (last !== '') console.log(last)
      last = line
    })
    child.on('error', reject)
    child.on('close', (status) => {
      const [, passed, failed, skipped = 0] = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/.exec(last) ?? [0, 0, 0]
      const counts = { passed: Number(passed), failed: Number(failed), skipped: Number(skipped) }
      if (counts.failed === 0 && status !== 0) counts.failed = 1
      say(`=== ${name}: ${showCounts(counts)}, ${Math.round((Date.now() - begun) / 1000)} s`)
      resolve(counts)
    })
  })
}
