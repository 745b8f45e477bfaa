// Unit tests of native/core: one program of test/native and native/core, compiled for the machine that we are on, once
// with the address and undefined-behaviour sanitizers and once with the thread sanitizer. No Windows is involved.
// `node tools/native-tests.mjs [words of names] [options of doctest]` runs it alone.
import fs from 'node:fs'
import path from 'node:path'
import { buildProgram } from './lib/compile.mjs'
import { addCounts, noCounts, showCounts } from './lib/counts.mjs'
import { filesBelow, readIfThere } from './lib/files.mjs'
import { findClang, findProgram, needDebian } from './lib/install.mjs'
import { withLock } from './lib/lock.mjs'
import { fromRoot, inCache, isWindows, root } from './lib/paths.mjs'
import { isMain, main, say, start, Stop } from './lib/run.mjs'

// -g1: places for the sanitizers' reports; more takes a quarter of the time to compile.
const common = ['-std=c++17', '-O1', '-g1', '-Wall', '-Wextra', '-Inative']
// On Windows threads are part of the run-time library, and clang says of -pthread that it is not used.
const forThisSystem = isWindows ? [] : ['-pthread']
const variants = isWindows
  ? [{ name: 'plain', flags: [] }]
  : [
      { name: 'address-undefined', flags: ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'] },
      { name: 'thread', flags: ['-fsanitize=thread'] }
    ]

/**
 * Builds and runs every variant; resolves to how many cases passed and failed in all of them. `words`: parts of the names
 * of those to run, and options of doctest.
 */
export async function nativeTests(words = []) {
  const options = words.filter((word) => word.startsWith('-'))
  options.push(...chosenBy(words.filter((word) => !word.startsWith('-'))))
  const compiler = await findCompiler()
  if (compiler === undefined) {
    say('native unit tests: skipped, no clang++ or g++ with doctest (set DOCTEST_INCLUDE to its folder)')
    return { ...noCounts, skipped: 1 }
  }
  const werror = process.env.IOCP_WERROR === '1' ? ['-Werror'] : []
  const sources = [...filesBelow('native/core', '.cc'), ...filesBelow('test/native', '.cc')]
  // A variant runs while the next one is compiled.
  const running = []
  for (const variant of variants) {
    const program = inCache('native', variant.name, isWindows ? 'tests.exe' : 'tests')
    const flags = [...common, ...forThisSystem, ...werror, ...variant.flags, ...compiler.flags]
    const what = `the native unit tests (${variant.name})`
    await withLock(`native-${variant.name}`, () =>
      buildProgram({ compiler: compiler.command, flags, sources, program, what })
    )
    running.push(runTests(variant.name, program, options))
  }
  return (await Promise.all(running)).reduce(addCounts, { ...noCounts })
}

/** Options of doctest for cases with these words in their names; where there are none, for all of the files that have the words. */
function chosenBy(words) {
  if (words.length === 0) return []
  const files = filesBelow('test/native', '.cc').map((file) => ({
    file,
    text: fs.readFileSync(fromRoot(file), 'utf8')
  }))
  const isNamed = ({ text }) =>
    [...text.matchAll(/TEST_CASE\w*\("([^"]*)/g)].some(([, name]) => words.some((word) => name.includes(word)))
  if (files.some(isNamed)) return [`--test-case=${words.map((word) => `*${word}*`).join(',')}`]
  const having = files.filter(({ file, text }) => words.some((word) => file.includes(word) || text.includes(word)))
  if (having.length === 0) throw new Stop(`nothing in test/native has ${words.join(' or ')}`)
  return [`--source-file=${having.map(({ file }) => `*${path.basename(file)}`).join(',')}`]
}

async function findCompiler() {
  const include = process.env.DOCTEST_INCLUDE ? ['-isystem', process.env.DOCTEST_INCLUDE] : []
  if (!isWindows) {
    await needDebian('gxx', ...(include.length > 0 ? [] : ['doctest']))
    return { command: 'g++', flags: include }
  }
  const command = findClang() ?? findProgram('g++')
  return command === undefined || include.length === 0 ? undefined : { command, flags: include }
}

async function runTests(name, program, options) {
  const report = inCache('reports', `native-${name}.xml`)
  fs.rmSync(report, { force: true })
  fs.mkdirSync(path.dirname(report), { recursive: true })
  const words = ['--reporters=xml', `--out=${report}`, ...options]
  // A deadlock must not hold up everything for ever.
  const limit = { timeout: 10 * 60_000, killSignal: 'SIGKILL' }
  // A test asks for more memory than there is: it wants null, not a report.
  const sanitizers = { ASAN_OPTIONS: 'allocator_may_return_null=1', TSAN_OPTIONS: 'allocator_may_return_null=1' }
  const collected = { cwd: root, env: { ...process.env, ...sanitizers }, stdio: ['ignore', 'pipe', 'pipe'], ...limit }
  let result = await start(program, words, collected)
  if (result.stderr.includes('unexpected memory mapping')) {
    // The thread sanitizer cannot live with a wide randomisation of addresses.
    result = await start('setarch', ['--addr-no-randomize', program, ...words], collected)
  }
  process.stderr.write(result.stdout + result.stderr)
  const xml = readIfThere(report) ?? ''
  const counts = countCases(xml)
  say(`native unit tests (${name}): ${showCounts(counts)}`)
  if (result.status === 0) return counts
  showFailures(xml)
  // A crash, or a sanitizer's report at the end, is a failure even if each case had passed.
  if (counts.failed === 0) counts.failed = 1
  say(`native unit tests (${name}) ended with ${result.signal ?? `exit code ${result.status}`}`)
  return counts
}

function countCases(xml) {
  const summary = /<OverallResultsTestCases successes="(\d+)" failures="(\d+)"/.exec(xml)
  if (summary !== null) return { ...noCounts, passed: Number(summary[1]), failed: Number(summary[2]) }
  // The program died on the way: what had ended well counts, the one that was running has failed.
  return { ...noCounts, passed: [...xml.matchAll(/test_case_success="true"/g)].length, failed: 1 }
}

const MOST_LINES = 40

/** Shows the test cases that did not end well: where they are, and what they found. */
function showFailures(xml) {
  for (const [, head, body] of xml.matchAll(/<TestCase ([^>]*)>([\s\S]*?)(?:<\/TestCase>|$)/g)) {
    if (body.includes('test_case_success="true"')) continue
    const lines = [...body.matchAll(/<(Expression|Exception|Message)\b([^>]*)>([\s\S]*?)<\/\1>/g)]
      .filter(([, , attributes]) => !attributes.includes('success="true"'))
      .map(([, , attributes, inner]) => `${placeOf(attributes)} ${textOf(inner.replace('</Original>', ' is '))}`.trim())
    const more = lines.length > MOST_LINES ? `  … and ${lines.length - MOST_LINES} more\n` : ''
    const shown = lines.slice(0, MOST_LINES).map((line) => `  ${line}\n`)
    process.stderr.write(`--- ${attribute(head, 'name')} (${placeOf(head)})\n${shown.join('')}${more}`)
  }
}

const attribute = (attributes, name) => plain(new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? '')
const placeOf = (attributes) =>
  ['filename', 'line']
    .map((name) => attribute(attributes, name))
    .join(':')
    .replace(/^:$/, '')
/** What stands between the tags, on one line. */
const textOf = (xml) =>
  plain(
    xml
      .replaceAll(/<[^>]*>/g, ' ')
      .replaceAll(/\s+/g, ' ')
      .trim()
  ).slice(0, 300)
const entities = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }
const plain = (text) => text.replaceAll(/&(lt|gt|quot|apos|amp);/g, (_, name) => entities[name])

if (isMain(import.meta)) {
  await main(async () => {
    const counts = await nativeTests(process.argv.slice(2))
    if (counts.passed + counts.failed + counts.skipped === 0) throw new Stop('no native unit test ran')
    return counts.failed === 0 ? 0 : 1
  })
}
