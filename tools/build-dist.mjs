// `npm run build`: compiles lib/ into dist/, when it has changed.
//
// dist/cjs is the library; dist/esm/*.js export what dist/cjs/*.js export. A program in which one part imports and
// another part requires the package so has one library with one state, not two. Hence lib/ uses __dirname where it
// has to know where it is, not import.meta.
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
    const inputs = ['tsconfig.json', 'tools/tsconfig.build.json', 'tools/build-dist.mjs', 'package.json']
    const wanted = digest([...inputs, ...filesBelow('lib', '.ts')])
    if (readIfThere(stamp) === wanted && fs.existsSync(fromRoot('dist', 'esm', 'index.js'))) return
    say('compiling lib/ to dist/')
    // Beside the old one, which programs may be loading at this moment, and which stays when this fails.
    const made = inCache('dist')
    fs.rmSync(made, { recursive: true, force: true })
    const require = createRequire(import.meta.url)
    const compiler = require.resolve('typescript/lib/tsc.js')
    const out = path.join(made, 'cjs')
    await run(process.execPath, [compiler, '-p', 'tools/tsconfig.build.json', '--outDir', out], { cwd: fromRoot() })
    writeFile(path.join(made, 'cjs', 'package.json'), '{ "type": "commonjs" }\n')
    writeFile(path.join(made, 'esm', 'package.json'), '{ "type": "module" }\n')
    for (const entry of entries()) exportAgain(made, entry, require)
    fs.rmSync(fromRoot('dist'), { recursive: true, force: true })
    fs.renameSync(made, fromRoot('dist'))
    writeFile(stamp, wanted)
  })
}

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
