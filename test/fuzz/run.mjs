// Builds the fuzz targets of this folder with libFuzzer and runs each for a bounded time.
//
//   node test/fuzz/run.mjs [--seconds 20] [--jobs 2] [--list] [target ...]
//
// A target is a .cc file here that defines LLVMFuzzerTestOneInput; the lines "// sources:" at
// its top name the files and folders it needs besides itself. Objects, programs, corpora and crashes
// lie in .cache/fuzz. Exit code: 0 when nothing was found, 1 when something was, 2 when it could
// not be built or run. Nothing is installed.

import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { compileStrictly } from '../../tools/lib/compile.mjs'
import { Stop } from '../../tools/lib/run.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')
const here = path.join(root, 'test/fuzz')
const cache = path.join(root, '.cache/fuzz')
const sanitizers = '-fsanitize=fuzzer-no-link,address,undefined'
const compileFlags = [
  ...['-std=c++17', '-gline-tables-only', '-O1', '-Wall', '-Wextra', '-fno-omit-frame-pointer'],
  ...[sanitizers, '-fno-sanitize-recover=all'],
  ...['native', 'test/native', 'test/fuzz'].map((folder) => `-I${path.join(root, folder)}`)
]

function findClang() {
  const names = ['clang++', ...[21, 20, 19, 18, 17, 16, 15, 14].map((version) => `clang++-${version}`)]
  const tried = []
  const probe = path.join(cache, 'probe.cc')
  fs.writeFileSync(probe, 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }\n')
  for (const name of names) {
    const version = spawnSync(name, ['-dumpversion'], { encoding: 'utf8' })
    if (version.status !== 0) continue
    tried.push({ name, major: version.stdout.split('.')[0] })
    const flags = ['-fsanitize=fuzzer,address,undefined', probe, '-o', path.join(cache, 'probe')]
    if (spawnSync(name, flags, { stdio: 'ignore' }).status === 0) return name
  }
  if (tried.length === 0)
    throw new Stop('clang is missing; on Debian or Ubuntu: apt-get install clang libclang-rt-14-dev')
  const packages = tried.map(({ major }) => `libclang-rt-${major}-dev`).join(' or ')
  throw new Stop(`${tried[0].name} cannot link a fuzzer: its run-time library is missing (Debian, Ubuntu: ${packages})`)
}

function findTargets() {
  const targets = new Map()
  for (const file of fs.readdirSync(here).sort()) {
    if (!file.endsWith('.cc')) continue
    const text = fs.readFileSync(path.join(here, file), 'utf8')
    if (!text.includes('LLVMFuzzerTestOneInput')) continue
    const named = [...text.matchAll(/^\/\/ sources:(.*)$/gm)].flatMap((line) => line[1].trim().split(/\s+/))
    const sources = named.flatMap((name) => {
      const full = path.join(root, name)
      if (!fs.statSync(full).isDirectory()) return [full]
      return fs
        .readdirSync(full)
        .filter((f) => f.endsWith('.cc'))
        .sort()
        .map((f) => path.join(full, f))
    })
    targets.set(file.slice(0, -'.cc'.length), [path.join(here, file), ...sources])
  }
  return targets
}

function newest(folder) {
  const times = fs.readdirSync(folder, { withFileTypes: true }).map((entry) => {
    const full = path.join(folder, entry.name)
    if (entry.isDirectory()) return newest(full)
    return entry.name.endsWith('.h') ? fs.statSync(full).mtimeMs : 0
  })
  return Math.max(0, ...times)
}

// Runs the tasks, so many at a time; ends with the first that fails.
async function parallel(tasks, jobs) {
  const left = [...tasks]
  await Promise.all(
    Array.from({ length: jobs }, async () => {
      for (let task = left.shift(); task !== undefined; task = left.shift()) await task()
    })
  )
}

function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options })
    let output = ''
    child.stdout.on('data', (data) => (output += data))
    child.stderr.on('data', (data) => (output += data))
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, output }))
  })
}

async function build(clang, targets, jobs) {
  const headers = Math.max(...['native/core', 'test/native', 'test/fuzz'].map((f) => newest(path.join(root, f))))
  const object = (source) => path.join(cache, 'obj', `${path.relative(root, source).replaceAll(/[\\/]/g, '__')}.o`)
  const sources = [...new Set([...targets.values()].flat())]
  const stale = sources.filter((source) => {
    const made = fs.statSync(object(source), { throwIfNoEntry: false })?.mtimeMs ?? 0
    return made < Math.max(headers, fs.statSync(source).mtimeMs)
  })
  const compile = async (source) => {
    try {
      await compileStrictly(clang, [...compileFlags, '-c', source, '-o', object(source)])
    } catch (error) {
      fs.rmSync(object(source), { force: true }) // a file with a warning is there, and would count as compiled
      throw error
    }
  }
  const link = (name, files) =>
    compileStrictly(clang, [
      '-fsanitize=fuzzer,address,undefined',
      ...files.map(object),
      '-o',
      path.join(cache, 'bin', name)
    ])
  await parallel(
    stale.map((source) => () => compile(source)),
    jobs
  )
  await parallel(
    [...targets].map(
      ([name, files]) =>
        () =>
          link(name, files)
    ),
    jobs
  )
}

async function fuzz(name, seconds) {
  const corpus = path.join(cache, 'corpus', name)
  const crashes = path.join(cache, 'crashes')
  const kept = path.join(here, 'corpus', name)
  fs.mkdirSync(corpus, { recursive: true })
  fs.mkdirSync(crashes, { recursive: true })
  const program = path.join(cache, 'bin', name)
  const options = [
    ...[`-max_total_time=${seconds}`, '-max_len=1024', '-len_control=20', '-timeout=10', '-rss_limit_mb=1024'],
    ...['-use_value_profile=1', '-print_final_stats=1', `-artifact_prefix=${crashes}/${name}-`]
  ]
  const folders = fs.existsSync(kept) ? [corpus, kept] : [corpus]
  const env = { ...process.env, ASAN_OPTIONS: 'allocator_may_return_null=1:detect_leaks=1' }
  const { code, signal, output } = await run(program, [...options, ...folders], { env })
  const last = [...output.matchAll(/cov: (\d+) ft: (\d+) corp: (\d+)/g)].at(-1)
  const stat = (key) => Number(new RegExp(`stat::${key}:\\s+(\\d+)`).exec(output)?.[1] ?? 0)
  const found = code !== 0
  const figures = {
    ...{ target: name, result: found ? 'FOUND' : 'ok', execs: stat('number_of_executed_units') },
    ...{ 'execs/s': stat('average_exec_per_sec'), edges: Number(last?.[1] ?? 0), inputs: Number(last?.[3] ?? 0) }
  }
  if (found) {
    console.log(`\n${name} ended with ${signal ?? code}:\n${output.slice(-6000)}`)
    console.log(`again: ${path.relative(root, program)} ${crashes}/${name}-<file named above>\n`)
  } else {
    const { target, result, ...rest } = figures
    console.log(
      `${target}: ${result}, ${Object.entries(rest)
        .map(([k, v]) => `${v} ${k}`)
        .join(', ')}`
    )
  }
  return figures
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '20' },
      jobs: { type: 'string', default: '2' },
      list: { type: 'boolean', default: false }
    }
  })
  const seconds = Number(values.seconds)
  const jobs = Number(values.jobs)
  if (!(seconds >= 1) || !(jobs >= 1 && jobs <= 2)) throw new Stop('--seconds takes 1 or more, --jobs 1 or 2')
  const all = findTargets()
  if (values.list) {
    console.log([...all.keys()].join('\n'))
    return 0
  }
  const unknown = positionals.filter((name) => !all.has(name))
  if (unknown.length > 0)
    throw new Stop(`no such target: ${unknown.join(', ')} (there are: ${[...all.keys()].join(', ')})`)
  const chosen = new Map([...all].filter(([name]) => positionals.length === 0 || positionals.includes(name)))

  for (const folder of ['obj', 'bin']) fs.mkdirSync(path.join(cache, folder), { recursive: true })
  await build(findClang(), chosen, jobs)
  const results = []
  await parallel(
    [...chosen.keys()].map((name) => async () => results.push(await fuzz(name, seconds))),
    jobs
  )
  const found = results.filter(({ result }) => result !== 'ok').map(({ target }) => target)
  const execs = results.reduce((sum, result) => sum + result.execs, 0)
  console.log(
    `${results.length} targets, ${execs} executions, ${found.length === 0 ? 'nothing found' : `FOUND: ${found.join(', ')}`}`
  )
  return found.length === 0 ? 0 : 1
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof Stop) && error.code !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION') throw error
  console.error(error.message)
  process.exitCode = 2
}
