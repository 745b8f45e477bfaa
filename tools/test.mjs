// `npm test`: installs what is missing, builds what is stale, runs every test, and says on the last line how many
// there were. `npm test -- types | native | windows | package | foreign` runs one kind only: of the last three the files, and
// of native the cases, that words behind it name, if there are any; `--long` before it gives the tests of the guarantees loads for a night.
import fs from 'node:fs'
import path from 'node:path'
import { run as runNodeTests } from 'node:test'
import { buildDist } from './build-dist.mjs'
import { buildNative } from './build-native.mjs'
import { addCounts, noCounts, showCounts } from './lib/counts.mjs'
import { filesBelow, readIfThere } from './lib/files.mjs'
import { needDebian, needNodeModules } from './lib/install.mjs'
import { builtAddon, faultAddon, fromRoot, inCache, isWindows, prebuiltAddon, root } from './lib/paths.mjs'
import { main, say, start, Stop } from './lib/run.mjs'
import { nativeTests } from './native-tests.mjs'
import { typeTests } from './type-tests.mjs'
import { errorsFile } from './vitest-errors.js'
import { needWindowsModules, needWindowsNode, windowsPath } from './wine/prefix.mjs'
import { closeWine, openWine, runWindowsNode } from './wine/session.mjs'

const kinds = {
  types: typeTests,
  native: nativeTests,
  windows: windowsTests,
  package: (filters) => hostTests('test/package', filters),
  // Programs of other making against the echo server, and another implementation against the vectors of the framings.
  foreign: (filters) => hostTests('test/foreign', filters)
}

await main(async () => {
  const words = process.argv.slice(2)
  if (words[0] === '--long') {
    words.shift()
    process.env.IOCP_LONG = '1'
  }
  const [only, ...filters] = words
  if (only !== undefined && !(only in kinds)) {
    throw new Stop(`"${only}" is no kind of test; there are: ${Object.keys(kinds).join(', ')}`)
  }
  await needNodeModules()
  if (!isWindows) {
    // All at once, so that somebody who has to install them by hand does it once.
    await needDebian(
      'wine',
      'mingw',
      'ccache',
      'make',
      'python',
      'gxx',
      'doctest',
      'erlang',
      'netcat',
      'curl',
      'haproxy',
      'openssl'
    )
  }
  await buildDist()
  const results = {}
  for (const [kind, body] of Object.entries(kinds)) {
    if (only === undefined || only === kind) results[kind] = await runKind(kind, () => body(filters))
  }
  const total = Object.values(results).reduce(addCounts, { ...noCounts })
  for (const [kind, counts] of Object.entries(results)) console.log(`${kind.padEnd(8)} ${showCounts(counts)}`)
  console.log(showCounts(total))
  if (total.passed + total.failed === 0) say('no test ran')
  return total.failed === 0 && total.passed > 0 ? 0 : 1
})

/** A kind that cannot be built or started has failed, but the others still run. */
async function runKind(kind, body) {
  say(`--- ${kind}`)
  try {
    return await body()
  } catch (error) {
    if (!(error instanceof Stop)) throw error
    say(`${kind}: ${error.message}`)
    return { ...noCounts, failed: 1 }
  }
}

/** vitest, in a Windows Node.js, with the addon built from these sources where that is possible. */
async function windowsTests(filters) {
  const env = await addonUnderTest(mayNeedFaults(filters))
  const first = await vitest(filters, env)
  const notStarted = isWindows ? [] : first.errors.flatMap((message) => notStartedFiles(message))
  if (notStarted.length === 0) return first.counts
  // Now and then Wine cannot start a process. Nothing of these files has run, so nothing is hidden by running them now.
  say(`there was no process for ${notStarted.join(', ')}: once more`)
  const second = await vitest(notStarted, env)
  return addCounts(second.counts, { ...first.counts, failed: first.counts.failed - notStarted.length })
}

async function vitest(filters, env) {
  const report = inCache('reports', 'vitest.json')
  for (const file of [report, fromRoot(errorsFile)]) fs.rmSync(file, { force: true })
  const words = ['node_modules/vitest/vitest.mjs', 'run', '--config=tools/vitest.config.js', '--configLoader=native']
  words.push('--reporter=default', '--reporter=json', `--outputFile.json=${path.relative(root, report)}`)
  words.push('--reporter=./tools/vitest-errors.js')
  const status = await runInWindows([...words, ...filters], env)
  const errors = JSON.parse(readIfThere(fromRoot(errorsFile)) ?? '[]')
  return { errors, counts: countVitest(readIfThere(report), status, errors) }
}

function notStartedFiles(message) {
  const [, files] = /Failed to start forks worker for test files (.*)\.$/m.exec(message) ?? []
  return files === undefined ? [] : files.split(', ').map((file) => file.slice(file.indexOf('/test/') + 1))
}

/** Whether one of the tests that are meant, or what it imports, asks for the addon's test variant. */
function mayNeedFaults(filters) {
  const chosen = filesBelow('test', '.test.ts').filter((file) => filters.some((filter) => file.includes(filter)))
  const text = (file) => fs.readFileSync(fromRoot(file), 'utf8')
  return (
    chosen.length === 0 ||
    chosen.some((file) => /\bfaults?\b|faultAddon|lifecycle|IOCP_FAULT_ADDON/.test(`${file}\n${text(file)}`))
  )
}

async function addonUnderTest(fault) {
  try {
    await buildNative({ fault })
    say(`addon under test: ${path.relative(root, builtAddon)}, built from source`)
    return fault ? { IOCP_FAULT_ADDON: isWindows ? faultAddon : windowsPath(faultAddon) } : {}
  } catch (error) {
    // On Windows somebody may have no compiler; then this is what their users get. Elsewhere we have installed one.
    if (!(error instanceof Stop) || !isWindows || !fs.existsSync(prebuiltAddon)) throw error
    say(`${error.message}; addon under test: ${path.relative(root, prebuiltAddon)}, the prebuilt one`)
    return { PREBUILDS_ONLY: '1' }
  }
}

async function runInWindows(words, env) {
  if (isWindows) {
    const options = { cwd: root, env: { ...process.env, ...env }, stdio: 'inherit' }
    return (await start(process.execPath, words, options)).status
  }
  await needWindowsNode()
  const minutes = process.env.IOCP_LONG === '1' ? 240 : 15
  openWine()
  try {
    await needWindowsModules()
    return await runWindowsNode(words, { cwd: root, env, limit: minutes * 60_000 })
  } finally {
    closeWine()
  }
}

function countVitest(text, status, errors) {
  if (text === undefined) throw new Stop(`vitest wrote no report and ended with exit code ${status}`)
  const report = JSON.parse(text)
  const counts = {
    passed: report.numPassedTests,
    failed: report.numFailedTests,
    skipped: report.numPendingTests + report.numTodoTests
  }
  // A file that cannot be loaded has no tests that could fail.
  counts.failed += report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed')
  ).length
  // Errors outside of any test.
  counts.failed += errors.length
  if (status !== 0 && counts.failed === 0) counts.failed = 1
  return counts
}

/** Tests that run on the machine that we are on, with Node's own runner. */
async function hostTests(folder, filters) {
  const counts = { ...noCounts }
  const named = (file) => filters.length === 0 || filters.some((filter) => file.includes(filter))
  const files = filesBelow(folder, '.test.mjs')
    .filter(named)
    .map((file) => fromRoot(file))
  if (files.length === 0) return counts
  for await (const { type, data } of runNodeTests({ files, concurrency: 2, timeout: 10 * 60_000 })) {
    if (type === 'test:stderr' || type === 'test:stdout') process.stderr.write(data.message)
    // Some versions of Node report suites and files as tests too.
    if (data?.details?.type === 'suite' || (type === 'test:pass' && files.includes(data.name))) continue
    if (type === 'test:pass') {
      counts[data.skip || data.todo ? 'skipped' : 'passed'] += 1
      const seconds = Math.round(data.details.duration_ms / 1000)
      console.error(`${data.skip ? 'skip' : 'ok'}   ${data.name}${seconds > 0 ? ` (${seconds} s)` : ''}`)
    } else if (type === 'test:fail') {
      counts.failed += 1
      console.error(`FAIL ${data.name}\n`, data.details.error.cause ?? data.details.error)
    }
  }
  return counts
}
