// Which folder of the code knows which: `node tools/layers.mjs` (a part of `npm run lint`) fails when a file imports or
// includes one of a folder that it must not know, for its types alone too, and when files of lib/ import each other in a
// circle at run time.
import fs from 'node:fs'
import path from 'node:path'
import ts from 'typescript'
import { slashes } from './lib/files.mjs'
import { root as project } from './lib/paths.mjs'
import { isMain, main, Stop } from './lib/run.mjs'

/** In each row a folder knows those before it, and itself. What is in a folder below it belongs to it. */
export const rows = [
  [
    'lib/common',
    'lib/native',
    'lib/packets',
    'lib/connection',
    'lib/transfer',
    'lib/engine',
    'lib/jobs',
    'lib/endpoint',
    'lib' // index.ts and worker.ts
  ],
  ['lib/common', 'lib/cli'],
  [
    'native/core',
    'native/win/sys',
    'native/win/io',
    'native/win/files',
    'native/win/connection',
    'native/win/engine',
    'native/win/jobs',
    'native/napi'
  ]
]

const layers = [...new Set(rows.flat())].sort((a, b) => b.length - a.length)

/** The layer of a file. Undefined for a file in none; those of `lib` itself lie in no folder below it. */
function layerOf(file) {
  const folder = path.posix.dirname(file)
  return layers.find((layer) => folder === layer || (folder.startsWith(`${layer}/`) && layer !== 'lib'))
}

const knownTo = (layer) => {
  const known = rows.flatMap((row) => (row.includes(layer) ? row.slice(0, row.indexOf(layer) + 1) : []))
  return [...new Set(known)]
}

/** What is wrong, each as a sentence, with the sources below a folder. */
export function problemsOfLayers(root = project) {
  const list = (folder) => {
    const base = path.join(root, folder)
    return fs.existsSync(base)
      ? fs.readdirSync(base, { recursive: true }).map((name) => slashes(path.join(folder, name)))
      : []
  }
  const read = (file) => fs.readFileSync(path.join(root, file), 'utf8')
  const modules = list('lib').filter((file) => file.endsWith('.ts'))
  const sources = list('native').filter((file) => /\.(h|cc)$/.test(file))
  const problems = []
  const atRunTime = new Map()
  for (const file of modules) {
    const imports = importsOf(file, read(file))
    atRunTime.set(
      file,
      imports.filter(({ isType }) => !isType).map(({ to }) => to)
    )
    for (const { to } of imports) problems.push(...problemOf(file, 'imports', to))
  }
  for (const file of sources) for (const to of includesOf(read(file))) problems.push(...problemOf(file, 'includes', to))
  return [...new Set([...problems, ...circles(atRunTime)])]
}

function problemOf(file, verb, to) {
  const [from, other] = [layerOf(file), layerOf(to)]
  if (from === undefined) return [`${file} lies in none of the folders that tools/layers.mjs lists.`]
  if (other !== undefined && knownTo(from).includes(other)) return []
  const known = [...knownTo(from).filter((layer) => layer !== from), 'itself'].join(', ')
  return [
    `${file} ${verb} ${to}, but the layer ${from} does not know ${other ?? 'what is in no layer'}: it knows ${known}.`
  ]
}

/** The project's own files that a module imports, and whether only for their types. */
function importsOf(file, text) {
  const found = []
  const add = (specifier, isType) => {
    if (specifier?.text?.startsWith('.') !== true) return
    found.push({ to: path.posix.join(path.posix.dirname(file), specifier.text).replace(/\.js$/, '.ts'), isType })
  }
  const visit = (node) => {
    if (ts.isImportDeclaration(node))
      add(node.moduleSpecifier, isTypeOnly(node.importClause, node.importClause?.namedBindings))
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, isTypeOnly(node, node.exportClause))
    else if (ts.isImportTypeNode(node)) add(node.argument.literal, true)
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0], false)
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest))
  return found
}

/** `import type …`, or nothing but names with `type` before them. */
function isTypeOnly(clause, names) {
  if (clause === undefined || clause.isTypeOnly) return clause !== undefined
  return clause.name === undefined && names?.elements?.every((one) => one.isTypeOnly) === true
}

/** Native files name each other from native/ on. */
const includesOf = (text) =>
  [...text.matchAll(/^[ \t]*#[ \t]*include[ \t]+"([^"]+)"/gm)].map(([, name]) => `native/${name}`)

/** One sentence for each circle that a walk along the imports comes upon. */
function circles(imports) {
  const found = []
  const done = new Set()
  const visit = (file, way) => {
    const at = way.indexOf(file)
    if (at !== -1)
      found.push(`These import each other at run time, in a circle: ${[...way.slice(at), file].join(' -> ')}.`)
    if (at !== -1 || done.has(file)) return
    for (const to of imports.get(file) ?? []) visit(to, [...way, file])
    done.add(file)
  }
  for (const file of imports.keys()) visit(file, [])
  return found
}

/** Fails with all of them. */
export function checkLayers() {
  const problems = problemsOfLayers()
  if (problems.length === 0) return
  throw new Stop(['folders know what they must not know, see tools/layers.mjs:', ...problems].join('\n  '))
}

if (isMain(import.meta)) await main(checkLayers)
