// `npm run build`: compiles lib/ into dist/, when it has changed.
//
// dist/cjs is the library; dist/esm/*.js export what dist/cjs/*.js export. A program in which one part imports and
// another part requires the package so has one library with one state, not two. Hence lib/ uses __filename where it
// has to know where it is, not import.meta.
//
// dist/module is the same as ES modules, for bundlers only (the condition "module" in package.json, which they follow for
// import and require alike): CommonJS inside of a bundle that is an ES module could not require Node's own modules.
//
// dist/binding.gyp and dist/node-addon-api are for `npx iocp build`. At the top of the package npm would take the first for
// an order to compile; and where the second is a dependency, yarn installs node-gyp with it.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { digest, filesBelow, readIfThere, writeFile } from './lib/files.mjs'
import { needNodeModules } from './lib/install.mjs'
import { withLock } from './lib/lock.mjs'
import { fromRoot, inCache } from './lib/paths.mjs'
import { isMain, main, run, say } from './lib/run.mjs'

const stamp = inCache('stamps', 'dist')

export async function buildDist() {
  await needNodeModules()
  await withLock('dist', async () => {
    const inputs = ['tsconfig.json', 'tools/tsconfig.build.json', 'tools/build-dist.mjs', 'package.json', 'binding.gyp']
    const wanted = digest([...inputs, ...filesBelow('lib', '.ts')])
    if (readIfThere(stamp) === wanted && fs.existsSync(fromRoot('dist', 'esm', 'index.js'))) return
    say('compiling lib/ to dist/')
    // Beside the old one, which programs may be loading at this moment, and which stays when this fails.
    const made = inCache('dist')
    fs.rmSync(made, { recursive: true, force: true })
    const require = createRequire(import.meta.url)
    const compiler = require.resolve('typescript/lib/tsc.js')
    const out = path.join(made, 'cjs')
    const compile = (...words) =>
      run(process.execPath, [compiler, '-p', 'tools/tsconfig.build.json', ...words], { cwd: fromRoot() })
    await compile('--outDir', out)
    await compile('--outDir', path.join(made, 'module'), '--module', 'esnext', '--declaration', 'false')
    writeFile(path.join(made, 'module', 'common', 'here.js'), hereInBundle)
    fs.rmSync(path.join(made, 'module', 'cli'), { recursive: true })
    writeFile(path.join(made, 'cjs', 'package.json'), '{ "type": "commonjs" }\n')
    for (const kind of ['esm', 'module']) writeFile(path.join(made, kind, 'package.json'), '{ "type": "module" }\n')
    fs.copyFileSync(fromRoot('binding.gyp'), path.join(made, 'binding.gyp'))
    copyHeaders(path.join(made, 'node-addon-api'))
    for (const entry of entries()) exportAgain(made, entry, require)
    fs.rmSync(fromRoot('dist'), { recursive: true, force: true })
    fs.renameSync(made, fromRoot('dist'))
    writeFile(stamp, wanted)
  })
}

/** What the addon's sources include of the package node-addon-api. */
function copyHeaders(folder) {
  const from = fromRoot('node_modules', 'node-addon-api')
  const names = fs.readdirSync(from).filter((name) => /\.h$|^(LICENSE.*|index\.js)$/.test(name))
  for (const name of names) fs.cpSync(path.join(from, name), path.join(folder, name))
  const { name, version, license, main } = JSON.parse(fs.readFileSync(path.join(from, 'package.json'), 'utf8'))
  writeFile(path.join(folder, 'package.json'), `${JSON.stringify({ name, version, license, main }, null, 2)}\n`)
}

/** lib/common/here.ts for bundlers: whatever they make of it, one of the two is there where the bundle runs. */
const hereInBundle = `import { fileURLToPath } from 'node:url'
export const here = where()
function where() {
  try {
    return __filename // not typeof: webpack takes it for text, whatever it makes
  } catch {
    try {
      return fileURLToPath(import.meta.url)
    } catch {
      return process.argv[1] ?? process.execPath // webpack writes down where it was itself, maybe another system's path
    }
  }
}
`

/** The modules that package.json exports, as names below dist/cjs without their ending. */
function entries() {
  const { exports } = JSON.parse(fs.readFileSync(fromRoot('package.json'), 'utf8'))
  return Object.values(exports)
    .map((target) => target.require?.default)
    .filter((file) => file !== undefined)
    .map((file) => file.replace(/^\.\/dist\/cjs\//, '').replace(/\.js$/, ''))
}

function exportAgain(made, entry, require) {
  const up = '../'.repeat(entry.split('/').length)
  const names = Object.keys(require(path.join(made, 'cjs', `${entry}.js`))).sort()
  const list = names.map((name) => `  ${name}`).join(',\n')
  writeFile(path.join(made, 'esm', `${entry}.js`), `export {\n${list}\n} from '${up}cjs/${entry}.js'\n`)
  writeFile(path.join(made, 'esm', `${entry}.d.ts`), `export * from '${up}cjs/${entry}.js'\n`)
}

if (isMain(import.meta)) await main(buildDist)
