// The tarball, installed by the package managers that people have, in a folder whose name they must cope with. Nothing
// may be compiled, nothing may be said about the package, and it must run.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { isWindows } from '../../tools/lib/paths.mjs'
import { capture, start } from '../../tools/lib/run.mjs'
import { echoProgram, pack, packageTools, runInWindows, supportedNode, temporaryFolder } from './helpers.mjs'

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
  npm: {
    words: ['npm/bin/npm-cli.js', 'install', '--no-audit', '--no-fund', '../iocp.tgz'],
    lock: 'package-lock.json'
  },
  pnpm: { words: ['pnpm/bin/pnpm.cjs', 'add', '--store-dir=../home/pnpm', '../iocp.tgz'] },
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
      // With types of another Node.js than we have: npm refuses a peer dependency that does not fit, even an optional one.
      const manifest = { name: 'app', version: '1.0.0', private: true, devDependencies: { '@types/node': '20.19.43' } }
      fs.writeFileSync(path.join(app, 'package.json'), JSON.stringify(manifest))
      if (manager.options !== undefined) fs.writeFileSync(path.join(app, '.yarnrc.yml'), manager.options)
      fs.writeFileSync(path.join(app, 'echo.mjs'), echoProgram)
    })

    test(`${name} installs the package without a word about it`, async () => {
      const { status, stdout, stderr } = await use(manager, app)
      assert.equal(status, 0, stdout + stderr)
      quiet(stdout + stderr, manager)
      const installed = fs.readdirSync(app, { recursive: true }).map(String)
      assert.deepEqual(
        installed.filter((file) => /node-gyp$|iocp.build$/.test(file)),
        []
      )
    })

    if (manager.lock !== undefined) {
      test(`${name} installs it from the lock file in the same way`, async () => {
        fs.rmSync(path.join(app, 'node_modules'), { recursive: true })
        assert.doesNotMatch(fs.readFileSync(path.join(app, manager.lock), 'utf8'), /hasInstallScript/)
        const { status, stdout, stderr } = await use(
          { words: [manager.words[0], 'ci', '--no-audit', '--no-fund'] },
          app
        )
        assert.equal(status, 0, stdout + stderr)
        quiet(stdout + stderr, manager)
      })
    }

    test(`installed by ${name}, it runs`, async () => {
      const { status, output } = await runInWindows(['--no-warnings', ...(manager.node ?? []), 'echo.mjs'], {
        cwd: app
      })
      assert.match(output, /^node\.exe 000000020709\s*$/)
      assert.equal(status, 0)
    })
  })
}

function quiet(output, { expected = /^$/g }) {
  // npm tells of settings that this machine's user has for another version of it.
  const lines = output
    .replaceAll(expected, '')
    .split('\n')
    .filter((line) => !/^npm warn Unknown \w+ config/.test(line))
  assert.deepEqual(
    lines.filter((line) => /warn|WARN|deprecat|error|ERR|ignored|node-gyp(?!-build)/.test(line)),
    []
  )
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
      YARN_CACHE_FOLDER: path.join(home, 'yarn'),
      YARN_NPM_REGISTRY_SERVER: registry
    }
  })
}
