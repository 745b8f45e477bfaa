// The package as it is published: packed, installed into an empty folder, and used from there.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { filesBelow } from '../../tools/lib/files.mjs'
import { fromRoot, isWindows, root } from '../../tools/lib/paths.mjs'
import { start } from '../../tools/lib/run.mjs'
import { runInWindowsNode, temporaryFolder } from './helpers.mjs'

let folder
let tarball
let packed

before(async () => {
  folder = temporaryFolder()
  const [answer] = JSON.parse((await npm(['pack', '--json', '--pack-destination', folder], root)).stdout)
  tarball = path.join(folder, answer.filename)
  packed = answer.files.map((file) => file.path)
})
after(() => fs.rmSync(folder, { recursive: true, force: true }))

describe('the packed files', () => {
  test('have the prebuilt addon, so that nobody on Windows x64 needs a compiler', () => {
    assert.ok(packed.includes('prebuilds/win32-x64/iocp.node'))
  })

  test('have everything that a build from source needs', () => {
    const wanted = ['binding.gyp', ...filesBelow('native', '.cc', '.h')]
    assert.deepEqual(wanted.filter((file) => !packed.includes(file)), [])
  })

  test('have what package.json points to', () => {
    const { exports, main, types } = JSON.parse(fs.readFileSync(fromRoot('package.json'), 'utf8'))
    const targets = [main, types, ...Object.values(exports).flatMap(leaves)].map((file) => file.replace(/^\.\//, ''))
    assert.deepEqual(targets.filter((file) => !packed.includes(file)), [])
  })

  test('have nothing else', () => {
    const allowed = /^(dist|native|docs|prebuilds)\/|^(package\.json|binding\.gyp|README\.md|LICENSE|CHANGELOG\.md)$/
    assert.deepEqual(packed.filter((file) => !allowed.test(file)), [])
    assert.deepEqual(packed.filter((file) => /(^|\/)(test|\.cache)\/|built-from|tsbuildinfo/.test(file)), [])
  })
})

describe('the installed package', () => {
  let app

  before(async () => {
    app = path.join(folder, 'app')
    fs.mkdirSync(app)
    fs.writeFileSync(path.join(app, 'package.json'), '{ "private": true }')
    // A compiler that is called fails the installation.
    const noCompiler = { CC: 'false', CXX: 'false', npm_config_node_gyp: path.join(folder, 'no-node-gyp.js') }
    await npm(['install', '--prefer-offline', '--no-audit', '--no-fund', tarball], app, noCompiler)
  })

  test('was not compiled', () => {
    assert.ok(fs.existsSync(path.join(app, 'node_modules', 'iocp', 'package.json')))
    assert.ok(!fs.existsSync(path.join(app, 'node_modules', 'iocp', 'build')))
  })

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

  // With the checks of the package's own declarations on, and with nothing installed but Node's types.
  for (const [file, module, resolution] of [
    ['use.mts', 'nodenext', 'nodenext'],
    ['use.cts', 'nodenext', 'nodenext'],
    ['use.ts', 'esnext', 'bundler']
  ]) {
    test(`has types that a strict program in TypeScript can use: ${file}`, async () => {
      const types = path.join(app, 'node_modules', '@types')
      fs.cpSync(fromRoot('node_modules', '@types', 'node'), path.join(types, 'node'), { recursive: true })
      const undici = fromRoot('node_modules', 'undici-types')
      fs.cpSync(undici, path.join(app, 'node_modules', 'undici-types'), { recursive: true })
      const code = `
        import { createServer, framing, type Connection, type Server } from 'iocp'
        import { defineJobs, type Job } from 'iocp/worker'
        export const jobs = defineJobs({ twice: (job: Job<number>) => 2 * job.data, 0x10: (job) => job.reply(job.data) })
        const server: Server = createServer({ ioThreads: 2, framing: framing.lengthField({ bytes: 4 }) })
        server.on('packet', (packet: Buffer, connection: Connection) => {
          const answer: 'sent' | 'queued' | 'dropped' | 'closed' = connection.send(packet)
          console.log(answer)
        })`
      fs.writeFileSync(path.join(app, file), code)
      const words = ['--noEmit', '--strict', '--skipLibCheck', 'false', '--types', 'node', '--target', 'es2023']
      words.push('--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--moduleResolution', resolution)
      const compiler = fromRoot('node_modules', 'typescript', 'lib', 'tsc.js')
      const { status, stdout } = await start(process.execPath, [compiler, ...words, '--module', module, file], { cwd: app })
      assert.equal(status, 0, stdout)
    })
  }

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
    const code = `
      import net from 'node:net'
      import path from 'node:path'
      import { createServer } from 'iocp'
      const server = createServer({})
      server.on('packet', (packet, connection) => connection.send(packet))
      await server.listen({ port: 0, host: '127.0.0.1' })
      const socket = net.connect(server.address().port, '127.0.0.1')
      socket.write(Buffer.from([0, 0, 0, 2, 7, 9]))
      const answer = await new Promise((resolve) => socket.once('data', resolve))
      socket.destroy()
      await server.close()
      console.log(path.basename(process.execPath) + ' ' + answer.toString('hex'))`
    fs.writeFileSync(path.join(app, 'echo.mjs'), code)
    const { status, stdout } = await runInWindowsNode(['echo.mjs'], { cwd: app, renamedTo: 'My Application.exe' })
    assert.equal(stdout.trim(), 'My Application.exe 000000020709')
    assert.equal(status, 0)
  })
})

function runScript(cwd, name, code) {
  fs.writeFileSync(path.join(cwd, name), code)
  return start(process.execPath, [name], { cwd })
}

async function npm(args, cwd, env = {}) {
  const command = isWindows ? 'npm.cmd' : 'npm'
  const result = await start(command, [...args, '--loglevel=error'], {
    cwd,
    shell: isWindows,
    env: { ...process.env, npm_config_update_notifier: 'false', ...env }
  })
  assert.equal(result.status, 0, result.stdout + result.stderr)
  return result
}

const leaves = (value) => (typeof value === 'string' ? [value] : Object.values(value).flatMap(leaves))
