// The tarball, installed by the package managers that people have, in a folder whose name they must cope with. Nothing
// may be compiled, nothing may be said about the package, and it must run.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { capture, start } from '../../tools/lib/run.mjs'
import { echoProgram, pack, packageTools, runInWindows, supportedNode, temporaryFolder } from './helpers.mjs'
import { isWindows } from '../../tools/lib/paths.mjs'

let folder
let home
let node
let tools

before(async () => {
  tools = await packageTools()
  node = await supportedNode()
  folder = temporaryFolder()
  home = path.join(folder, 'home')
  fs.mkdirSync(home)
  const { tarball } = await pack(folder)
  fs.renameSync(tarball, path.join(folder, 'iocp.tgz'))
})
after(() => fs.rmSync(folder, { recursive: true, force: true }))

const yarnOptions = 'enableTelemetry: false\nenableGlobalCache: false\n'
const managers = {
  npm: { words: ['npm/bin/npm-cli.js', 'install', '--no-audit', '--no-fund', '../iocp.tgz'], lock: 'package-lock.json' },
  pnpm: { words: ['pnpm/bin/pnpm.cjs', 'add', '../iocp.tgz'] },
  'yarn 1': { words: ['yarn/bin/yarn.js', 'add', '--non-interactive', 'file:../iocp.tgz'] },
  'yarn 4, node-modules': {
    words: ['@yarnpkg/cli-dist/bin/yarn.js', 'add', 'iocp@file:../iocp.tgz'],
    options: `nodeLinker: node-modules\n${yarnOptions}`
  },
  'yarn 4, PnP': {
    words: ['@yarnpkg/cli-dist/bin/yarn.js', 'add', 'iocp@file:../iocp.tgz'],
    options: `nodeLinker: pnp\n${yarnOptions}`,
    // Said of every package that has ES modules.
    expected: /^➤ YN0092: .*\n|^➤ YN0000: · Done with warnings.*\n/gm,
    node: ['--require', './.pnp.cjs', '--experimental-loader', './.pnp.loader.mjs']
  }
}

for (const [name, manager] of Object.entries(managers)) {
  describe(name, () => {
    let app

    before(() => {
      app = path.join(folder, `${name} ä # %20`)
      fs.mkdirSync(app)
      fs.writeFileSync(path.join(app, 'package.json'), '{ "name": "app", "version": "1.0.0", "private": true }')
      if (manager.options !== undefined) fs.writeFileSync(path.join(app, '.yarnrc.yml'), manager.options)
      fs.writeFileSync(path.join(app, 'echo.mjs'), echoProgram)
    })

    test('installs the package without a word about it', async () => {
      const { status, stdout, stderr } = await use(manager, app)
      assert.equal(status, 0, stdout + stderr)
      quiet(stdout + stderr, manager)
      const installed = fs.readdirSync(app, { recursive: true }).map(String)
      assert.deepEqual(installed.filter((file) => /node-gyp$|iocp.build$/.test(file)), [])
    })

    if (manager.lock !== undefined) {
      test('installs it from the lock file in the same way', async () => {
        fs.rmSync(path.join(app, 'node_modules'), { recursive: true })
        assert.doesNotMatch(fs.readFileSync(path.join(app, manager.lock), 'utf8'), /hasInstallScript/)
        const { status, stdout, stderr } = await use({ words: [manager.words[0], 'ci', '--no-audit', '--no-fund'] }, app)
        assert.equal(status, 0, stdout + stderr)
        quiet(stdout + stderr, manager)
      })
    }

    test('makes it run', async () => {
      const { status, output } = await runInWindows(['--no-warnings', ...(manager.node ?? []), 'echo.mjs'], { cwd: app })
      assert.match(output, /^node\.exe 000000020709\s*$/)
      assert.equal(status, 0)
    })
  })
}

function quiet(output, { expected = /^$/g }) {
  const lines = output.replaceAll(expected, '').split('\n')
  assert.deepEqual(lines.filter((line) => /warn|WARN|deprecat|error|ERR|ignored|node-gyp(?!-build)/.test(line)), [])
}

/** Runs a package manager as somebody who has nothing of it yet; the registry is that of this machine's npm. */
function use({ words: [script, ...args] }, cwd) {
  const registry = capture(isWindows ? 'npm.cmd' : 'npm', ['config', 'get', 'registry'], { shell: isWindows })
  const env = Object.fromEntries(
    // What npm tells the scripts that it runs, this one among them, is not for the package manager inside.
    Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name) || /registry|proxy|cafile/i.test(name))
  )
  return start(node, [tools(...script.split('/')), ...args], {
    cwd,
    env: {
      ...env,
      PATH: `${path.dirname(node)}${path.delimiter}${process.env.PATH}`,
      CI: 'true',
      NO_COLOR: '1',
      npm_config_registry: registry,
      npm_config_update_notifier: 'false',
      npm_config_store_dir: path.join(home, 'pnpm'),
      YARN_CACHE_FOLDER: path.join(home, 'yarn'),
      YARN_NPM_REGISTRY_SERVER: registry
    }
  })
}
