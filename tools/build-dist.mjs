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
    fs.rmSync(fromRoot('dist'), { recursive: true, force: true })
    const require = createRequire(import.meta.url)
    await run(process.execPath, [require.resolve('typescript/lib/tsc.js'), '-p', 'tools/tsconfig.build.json'], {
      cwd: fromRoot()
    })
    writeFile(fromRoot('dist', 'cjs', 'package.json'), '{ "type": "commonjs" }\n')
    writeFile(fromRoot('dist', 'esm', 'package.json'), '{ "type": "module" }\n')
    for (const entry of entries()) exportAgain(entry, require)
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

function exportAgain(entry, require) {
  const up = '../'.repeat(entry.split('/').length)
  const names = Object.keys(require(fromRoot('dist', 'cjs', `${entry}.js`))).sort()
  const list = names.map((name) => `  ${name}`).join(',\n')
  writeFile(path.join(fromRoot('dist', 'esm'), `${entry}.js`), `export {\n${list}\n} from '${up}cjs/${entry}.js'\n`)
  writeFile(path.join(fromRoot('dist', 'esm'), `${entry}.d.ts`), `export * from '${up}cjs/${entry}.js'\n`)
}

if (isMain(import.meta)) await main(buildDist)
