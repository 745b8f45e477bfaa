// Programs that use the package, made into one file by each bundler, of both kinds; run without node_modules, with the
// addon copied beside them.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { prebuiltAddon } from '../../tools/lib/paths.mjs'
import { start } from '../../tools/lib/run.mjs'
import { echoProgram, pack, packageTools, runInWindows, temporaryFolder, unpack } from './helpers.mjs'

let folder
let app
let tools

before(async () => {
  tools = await packageTools()
  folder = temporaryFolder()
  app = path.join(folder, 'app')
  await unpack((await pack(folder)).tarball, app)
  fs.writeFileSync(path.join(app, 'echo.mjs'), echoProgram)
  fs.writeFileSync(path.join(app, 'required.cjs'), `module.exports = require('iocp')`)
})
after(() => fs.rmSync(folder, { recursive: true, force: true }))

const bundlers = {
  esbuild: (entry, format, out) => {
    const words = [
      entry,
      '--bundle',
      '--platform=node',
      `--format=${format}`,
      `--outfile=${out}`,
      '--log-level=warning'
    ]
    return [tools('esbuild', 'bin', 'esbuild'), ...words]
  },
  rollup: (entry, format, out) =>
    script(
      'rollup.mjs',
      `
    import { rollup } from ${module('rollup', 'dist', 'es', 'rollup.js')}
    import commonjs from ${module('@rollup', 'plugin-commonjs', 'dist', 'es', 'index.js')}
    import { nodeResolve } from ${module('@rollup', 'plugin-node-resolve', 'dist', 'es', 'index.js')}
    const bundle = await rollup({
      input: ${JSON.stringify(entry)},
      external: [/^node:/],
      plugins: [nodeResolve({ preferBuiltins: true }), commonjs()],
      // That modules import each other is no fault of the bundle.
      onwarn: (warning) => warning.code === 'CIRCULAR_DEPENDENCY' || console.error(warning.message)
    })
    await bundle.write({ file: ${JSON.stringify(out)}, format: '${format}' })`
    ),
  webpack: (entry, format, out) =>
    script(
      'webpack.mjs',
      `
    import webpack from ${module('webpack', 'lib', 'index.js')}
    const isModule = ${format === 'esm'}
    webpack({
      mode: 'production',
      target: 'node22',
      entry: './${entry}',
      experiments: { outputModule: isModule },
      output: {
        path: ${JSON.stringify(path.dirname(path.resolve(app, out)))},
        filename: '${path.basename(out)}',
        module: isModule,
        library: { type: isModule ? 'module' : 'commonjs2' }
      }
    }, (error, stats) => {
      const text = error ?? stats.toString({ all: false, errors: true, warnings: true })
      if (text) console.error(text)
    })`
    )
}

const module = (...parts) => JSON.stringify(pathToFileURL(tools(...parts)).href)

function script(name, code) {
  fs.writeFileSync(path.join(app, name), code)
  return [name]
}

for (const bundler of Object.keys(bundlers)) {
  describe(`a bundle of ${bundler}`, () => {
    for (const format of ['esm', 'cjs']) {
      test(`as ${format} is made without a warning, and echoes with the addon beside it`, async () => {
        const out = path.join('out', `${bundler}.${format === 'esm' ? 'mjs' : 'cjs'}`)
        await bundle(bundler, 'echo.mjs', format, out)
        const target = path.join(folder, `${bundler} ${format}`)
        fs.mkdirSync(target)
        fs.copyFileSync(path.join(app, out), path.join(target, path.basename(out)))
        fs.copyFileSync(prebuiltAddon, path.join(target, 'iocp.node'))
        const { status, output } = await runInWindows([path.basename(out)], { cwd: target })
        assert.match(output, /^node\.exe 000000020709\s*$/)
        assert.equal(status, 0)
      })
    }
  })
}

test('a bundle that requires the package has the same modules as one that imports it', async () => {
  for (const [entry, out] of [
    ['echo.mjs', 'import.cjs'],
    ['required.cjs', 'require.cjs']
  ]) {
    await bundle('esbuild', entry, 'cjs', path.join('out', out))
    const text = fs.readFileSync(path.join(app, 'out', out), 'utf8')
    assert.match(text, /iocp\/dist\/module\/endpoint\/server\.js/)
    assert.doesNotMatch(text, /iocp\/dist\/cjs\//)
  }
})

test('a bundle without its addon says where it looks for it', async () => {
  await bundle('esbuild', 'echo.mjs', 'cjs', path.join('out', 'alone.cjs'))
  const target = path.join(folder, 'alone')
  fs.mkdirSync(target)
  fs.copyFileSync(path.join(app, 'out', 'alone.cjs'), path.join(target, 'alone.cjs'))
  const { status, output } = await runInWindows(['alone.cjs'], { cwd: target })
  assert.match(
    output,
    /IocpError: This code is in a bundle, .*alone\.cjs, and the native addon is not next to it: copy /
  )
  assert.match(output, /ERR_IOCP_ADDON_NOT_FOUND/)
  assert.equal(status, 1)
})

async function bundle(bundler, entry, format, out) {
  const words = bundlers[bundler](entry, format, out)
  // esbuild's own program is no script where its installation has put the real one in its place.
  const isScript = words[0].endsWith('.mjs') || fs.readFileSync(words[0]).subarray(0, 2).toString() === '#!'
  const [command, ...args] = isScript ? [process.execPath, ...words] : words
  const { status, stdout, stderr } = await start(command, args, { cwd: app })
  assert.equal(status, 0, stdout + stderr)
  assert.equal((stdout + stderr).trim(), '')
}
