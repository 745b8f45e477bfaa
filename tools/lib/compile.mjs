// Compiling C++ for the machine that we are on, again only where something has changed.
import fs from 'node:fs'
import path from 'node:path'
import { readIfThere, writeFile } from './files.mjs'
import { root } from './paths.mjs'
import { commandLine, run, say, start, Stop } from './run.mjs'

/** Links `sources` (relative to the root) into `program`; object files are kept beside it. */
export async function buildProgram({ compiler, flags, sources, program, what }) {
  const folder = path.dirname(program)
  fs.mkdirSync(folder, { recursive: true })
  const object = (source) => path.join(folder, source.replaceAll('/', '+').replace(/\.cc$/, '.o'))
  const command = [compiler, ...flags].join(' ')
  const stale = sources.filter((source) => !isFresh(object(source), command))
  if (stale.length > 0) say(`compiling ${stale.length} files of ${what}`)
  await twoAtATime(stale, async (source) => {
    const out = object(source)
    fs.rmSync(`${out}.command`, { force: true })
    await run(compiler, [...flags, '-MMD', '-MF', `${out}.d`, '-c', source, '-o', out], { cwd: root })
    writeFile(`${out}.command`, command)
  })
  const list = [command, ...sources].join('\n')
  if (stale.length === 0 && fs.existsSync(program) && readIfThere(`${program}.list`) === list) return
  fs.rmSync(`${program}.list`, { force: true })
  await run(compiler, [...flags, ...sources.map(object), '-o', program], { cwd: root })
  writeFile(`${program}.list`, list)
}

/** Is the object file younger than everything it was made from, and was it made by this command? */
function isFresh(object, command) {
  if (readIfThere(`${object}.command`) !== command) return false
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

/**
 * Runs a compiler. A warning about a file of this project is an error; one about somebody else's headers is not, whatever
 * the compiler makes of them: clang tells of what the system's C++ library does where we use its templates.
 */
export async function compileStrictly(compiler, args, options = {}) {
  const { status, signal, stdout, stderr } = await start(compiler, args, { cwd: root, ...options })
  const warned = stderr.split('\n').some((line) => isOurs(/^(.+?):\d+:\d+: warning: /.exec(line)?.[1]))
  if (status === 0 && !warned) return
  const why = status === 0 ? 'gave warnings' : `ended with ${signal ?? `exit code ${status}`}`
  throw new Stop(`${stdout}${stderr}${commandLine(compiler, args)} ${why}`)
}

function isOurs(file) {
  if (file === undefined) return false
  const name = path.relative(root, path.resolve(root, file))
  return !path.isAbsolute(name) && !/^(\.\.|node_modules)([\\/]|$)/.test(name)
}

export async function twoAtATime(items, body) {
  const left = [...items]
  const worker = async () => {
    while (left.length > 0) await body(left.shift())
  }
  await Promise.all([worker(), worker()])
}
