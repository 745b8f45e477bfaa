// The package as it is published: what is in it, and that it is used as it is.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { filesBelow } from '../../tools/lib/files.mjs'
import { fromRoot, isWindows } from '../../tools/lib/paths.mjs'
import { start } from '../../tools/lib/run.mjs'
import { echoProgram, pack, renamedNode, runInWindows, temporaryFolder, unpack } from './helpers.mjs'

let folder
let packed
let app

before(async () => {
  folder = temporaryFolder()
  const { tarball, files } = await pack(folder)
  packed = files
  app = path.join(folder, 'app')
  await unpack(tarball, app)
})
after(() => fs.rmSync(folder, { recursive: true, force: true }))

describe('the packed files', () => {
  test('have the prebuilt addon, so that nobody on Windows x64 needs a compiler', () => {
    assert.ok(packed.includes('prebuilds/win32-x64/iocp.node'))
  })

  test('have everything that a build from source needs', () => {
    const wanted = ['dist/binding.gyp', 'dist/node-addon-api/napi.h', ...filesBelow('native', '.cc', '.h')]
    assert.deepEqual(
      wanted.filter((file) => !packed.includes(file)),
      []
    )
  })

  test('have what package.json points to', () => {
    const { bin, exports, main, types, typesVersions } = manifest()
    const targets = [main, types, ...[bin, exports, typesVersions].flatMap(leaves)].map((file) =>
      file.replace(/^\.\//, '')
    )
    assert.deepEqual(
      targets.filter((file) => !packed.includes(file)),
      []
    )
  })

  test('have nothing else', () => {
    const allowed = /^(dist|native|docs|prebuilds)\/|^(package\.json|README\.md|LICENSE|CHANGELOG\.md|SECURITY\.md)$/
    assert.deepEqual(
      packed.filter((file) => !allowed.test(file)),
      []
    )
    assert.deepEqual(
      packed.filter((file) => /(^|\/)(test|\.cache)\/|built-from|tsbuildinfo/.test(file)),
      []
    )
  })
})

describe('package.json', () => {
  test('lets nobody compile or run anything at the installation', () => {
    const { dependencies, gypfile, scripts } = manifest()
    assert.equal(gypfile, false)
    assert.deepEqual(
      Object.keys(scripts).filter((name) => /install|^prepare$/.test(name)),
      []
    )
    // npm takes a binding.gyp at the top for an order to compile; yarn, the scripts of a dependency that name node-gyp.
    assert.ok(!packed.includes('binding.gyp'))
    assert.deepEqual(Object.keys(dependencies), ['node-gyp-build'])
  })

  test('says where the project is, and the links of the package lead there', () => {
    const { author, bugs, homepage, repository } = manifest()
    const address = homepage.replace(/#readme$/, '')
    assert.ok(author)
    assert.equal(repository.url, `git+${address}.git`)
    assert.equal(bugs.url, `${address}/issues`)
  })

  test('has with each document the pictures and documents that it shows', () => {
    for (const document of packed.filter((file) => file.endsWith('.md'))) {
      const text = fs.readFileSync(fromRoot(document), 'utf8')
      const targets = [...text.matchAll(/\]\(([^)#\s]+)/g)]
        .map(([, target]) => target)
        .filter((target) => !/^https?:/.test(target))
      const missing = targets.map((target) => path.posix.join(path.posix.dirname(document), target))
      assert.deepEqual(
        missing.filter((file) => !packed.includes(file)),
        [],
        document
      )
    }
  })
})

describe('the installed package', () => {
  test('is the same library for import and require', async () => {
    const code = `
      import { createRequire } from 'node:module'
      import * as imported from 'iocp'
      import { defineJobs } from 'iocp/worker'
      const require = createRequire(import.meta.url)
      const required = require('iocp')
      if (require('iocp/worker').defineJobs !== defineJobs) throw new Error('defineJobs')
      for (const name of Object.keys(required)) if (imported[name] !== required[name]) throw new Error(name)
      console.log(Object.keys(required).includes('createServer') && 'same')`
    const { stdout, stderr } = await runScript(app, 'same.mjs', code)
    assert.equal(stdout.trim(), 'same', stderr)
  })

  test('says on first use that there are no completion ports here', { skip: isWindows }, async () => {
    const code = `
      import { createServer } from 'iocp'
      let error
      try { await createServer({}).listen({ port: 0 }) } catch (caught) { error = caught }
      console.log(error?.code + ': ' + error?.message)`
    const { stdout, stderr } = await runScript(app, 'first-use.mjs', code)
    assert.match(stdout, /^ERR_IOCP_UNSUPPORTED_PLATFORM: \S/, stderr)
  })

  test('echoes, loaded by a node.exe of another name', async () => {
    fs.writeFileSync(path.join(app, 'echo.mjs'), echoProgram)
    const executable = await renamedNode(app, 'My Application.exe')
    const { status, output } = await runInWindows(['echo.mjs'], { cwd: app, executable })
    assert.equal(output.trim(), 'My Application.exe 000000020709')
    assert.equal(status, 0)
  })
})

const manifest = () => JSON.parse(fs.readFileSync(fromRoot('package.json'), 'utf8'))

function runScript(cwd, name, code) {
  fs.writeFileSync(path.join(cwd, name), code)
  return start(process.execPath, [name], { cwd })
}

const leaves = (value) => (typeof value === 'string' ? [value] : Object.values(value).flatMap(leaves))
