// Unit tests of native/core: one program of test/native and native/core, compiled for the machine that we are on, once
// with the address and undefined-behaviour sanitizers and once with the thread sanitizer. No Windows is involved.
// What has not changed is not compiled again. `node tools/native-tests.mjs [doctest options]` runs it alone.
import fs from 'node:fs'
import path from 'node:path'
import { addCounts, noCounts, showCounts } from './lib/counts.mjs'
import { filesBelow, readIfThere, writeFile } from './lib/files.mjs'
import { findClang, findProgram, needDebian } from './lib/install.mjs'
import { withLock } from './lib/lock.mjs'
import { inCache, isWindows, root } from './lib/paths.mjs'
import { isMain, main, run, say, start, Stop } from './lib/run.mjs'

const common = ['-std=c++17', '-O1', '-g', '-Wall', '-Wextra', '-Inative', '-pthread']
const variants = [
  { name: 'address-undefined', flags: ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'] },
  { name: 'thread', flags: ['-fsanitize=thread'] }
]

/** Builds and runs every variant; resolves to its counts. */
export async function nativeTests(options = []) {
  const compiler = await findCompiler()
  if (compiler === undefined) {
    say('native unit tests: skipped, no clang++ or g++ with doctest (set DOCTEST_INCLUDE to its folder)')
    return { ...noCounts, skipped: 1 }
  }
  const total = { ...noCounts }
  for (const { name, flags } of isWindows ? [{ name: 'plain', flags: [] }] : variants) {
    const program = await withLock(`native-${name}`, () => build(compiler, name, flags))
    const counts = await runTests(name, program, options)
    say(`native unit tests (${name}): ${showCounts(counts)}`)
    addCounts(total, counts)
  }
  return total
}

async function findCompiler() {
  const include = process.env.DOCTEST_INCLUDE ? [`-I${process.env.DOCTEST_INCLUDE}`] : []
  if (!isWindows) {
    await needDebian('gxx', ...(include.length > 0 ? [] : ['doctest']))
    return { command: 'g++', flags: include }
  }
  const command = findClang() ?? findProgram('g++')
  return command === undefined || include.length === 0 ? undefined : { command, flags: include }
}

async function build(compiler, name, variantFlags) {
  const folder = inCache('native', name)
  const werror = process.env.IOCP_WERROR === '1' ? ['-Werror'] : []
  const flags = [...common, ...werror, ...variantFlags, ...compiler.flags]
  const sources = [...filesBelow('native/core', '.cc'), ...filesBelow('test/native', '.cc')]
  const object = (source) => path.join(folder, source.replaceAll('/', '+').replace(/\.cc$/, '.o'))
  const stale = sources.filter((source) => !isFresh(object(source), flags))
  if (stale.length > 0) say(`compiling ${stale.length} files of the native unit tests (${name})`)
  await twoAtATime(stale, async (source) => {
    const out = object(source)
    fs.rmSync(`${out}.flags`, { force: true })
    fs.mkdirSync(folder, { recursive: true })
    await run(compiler.command, [...flags, '-MMD', '-MF', `${out}.d`, '-c', source, '-o', out], { cwd: root })
    writeFile(`${out}.flags`, flags.join(' '))
  })
  const program = path.join(folder, isWindows ? 'tests.exe' : 'tests')
  const objects = sources.map(object)
  const list = objects.join('\n')
  if (stale.length > 0 || readIfThere(`${program}.list`) !== list) {
    await run(compiler.command, [...flags, ...objects, '-o', program], { cwd: root })
    writeFile(`${program}.list`, list)
  }
  return program
}

/** Is the object file younger than everything it was made from, with these flags? */
function isFresh(object, flags) {
  if (readIfThere(`${object}.flags`) !== flags.join(' ')) return false
  const made = fs.statSync(object, { throwIfNoEntry: false })?.mtimeMs
  const rule = readIfThere(`${object}.d`)
  if (made === undefined || rule === undefined) return false
  const inputs = rule
    .slice(rule.indexOf('.o:') + 3)
    .replaceAll('\\\n', ' ')
    .split(/(?<!\\)\s+/)
    .filter((name) => name !== '')
  return inputs.every((name) => {
    const changed = fs.statSync(path.resolve(root, name.replaceAll('\\ ', ' ')), { throwIfNoEntry: false })?.mtimeMs
    return changed !== undefined && changed < made
  })
}

async function twoAtATime(items, body) {
  const left = [...items]
  const worker = async () => {
    while (left.length > 0) await body(left.shift())
  }
  await Promise.all([worker(), worker()])
}

async function runTests(name, program, options) {
  const report = inCache('reports', `native-${name}.xml`)
  fs.rmSync(report, { force: true })
  fs.mkdirSync(path.dirname(report), { recursive: true })
  const words = [program, '--reporters=xml', `--out=${report}`, ...options]
  let result = await start(words[0], words.slice(1), { cwd: root })
  if (/unexpected memory mapping/.test(result.stderr)) {
    // The thread sanitizer cannot live with a wide randomisation of addresses.
    words.unshift('setarch', '--addr-no-randomize')
    result = await start(words[0], words.slice(1), { cwd: root })
  }
  process.stderr.write(result.stderr)
  const counts = countCases(readIfThere(report) ?? '')
  if (result.status === 0) return counts
  showFailures(readIfThere(report) ?? '')
  // A crash, or a sanitizer's report at the end, is a failure even if each case had passed.
  if (counts.failed === 0) {
    say(`native unit tests (${name}) ended with ${result.signal ?? `exit code ${result.status}`}`)
    counts.failed = 1
  }
  return counts
}

function countCases(xml) {
  const summary = /<OverallResultsTestCases successes="(\d+)" failures="(\d+)"/.exec(xml)
  if (summary !== null) return { ...noCounts, passed: Number(summary[1]), failed: Number(summary[2]) }
  // The program died on the way: what had ended well counts, the one that was running has failed.
  const passed = (xml.match(/test_case_success="true"/g) ?? []).length
  return { ...noCounts, passed, failed: 1 }
}

function showFailures(xml) {
  for (const [, testCase, body] of xml.matchAll(/<TestCase name="([^"]*)"([\s\S]*?)(?:<\/TestCase>|$)/g)) {
    if (!/success="false"|test_case_success="false"/.test(body) && /OverallResultsAsserts/.test(body)) continue
    process.stderr.write(`--- ${testCase}\n${body.replace(/^\s*\n/gm, '')}\n`)
  }
}

if (isMain(import.meta)) {
  await main(async () => {
    const counts = await nativeTests(process.argv.slice(2))
    if (counts.passed + counts.failed === 0 && !isWindows) throw new Stop('no native unit test ran')
    return counts.failed === 0 ? 0 : 1
  })
}
