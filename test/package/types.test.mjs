// The declarations as programs see them: every way to resolve modules, with the oldest TypeScript that is promised and
// with ours; and what publint and "are the types wrong" have to say.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fromRoot } from '../../tools/lib/paths.mjs'
import { start } from '../../tools/lib/run.mjs'
import { pack, packageTools, temporaryFolder, unpack } from './helpers.mjs'

let folder
let app
let tarball
let tools

before(async () => {
  tools = await packageTools()
  folder = temporaryFolder()
  app = path.join(folder, 'app')
  tarball = (await pack(folder)).tarball
  await unpack(tarball, app)
  // Nothing else is installed but Node's types.
  for (const name of ['@types/node', 'undici-types']) {
    fs.cpSync(fromRoot('node_modules', name), path.join(app, 'node_modules', name), { recursive: true })
  }
  fs.writeFileSync(path.join(app, 'package.json'), '{ "private": true }')
})
after(() => fs.rmSync(folder, { recursive: true, force: true }))

const program = `
  import { createServer, framing, type Connection, type Server } from 'iocp'
  import { defineJobs, type Job } from 'iocp/worker'
  export const jobs = defineJobs({ twice: (job: Job<number>) => 2 * job.data, 0x10: (job) => job.reply(job.data) })
  const server: Server = createServer({ ioThreads: 2, framing: framing.lengthField({ bytes: 4 }) })
  server.on('packet', (packet: Buffer, connection: Connection) => {
    const answer: 'sent' | 'queued' | 'dropped' | 'closed' = connection.send(packet)
    console.log(answer)
  })`

const ways = [
  ['use.mts', 'nodenext', 'nodenext'],
  ['use.cts', 'nodenext', 'nodenext'],
  ['bundled.ts', 'esnext', 'bundler'],
  ['classic.ts', 'commonjs', 'node10']
]

for (const [which, compiler] of [
  ['the TypeScript of the project', () => fromRoot('node_modules', 'typescript', 'lib', 'tsc.js')],
  ['TypeScript 5.2', () => tools('typescript', 'lib', 'tsc.js')]
]) {
  describe(`a strict program can use the types with ${which}:`, () => {
    for (const [file, module, resolution] of ways) {
      test(`${file}, moduleResolution ${resolution}`, async () => {
        fs.writeFileSync(path.join(app, file), program)
        // With the checks of the package's own declarations on; Node's types are theirs to name, since TypeScript 6.
        const words = ['--noEmit', '--strict', '--skipLibCheck', 'false', '--target', 'es2022']
        words.push('--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--module', module)
        words.push('--moduleResolution', resolution)
        // TypeScript 6 says of this one that it will go.
        if (resolution === 'node10' && which.includes('project')) words.push('--ignoreDeprecations', '6.0')
        const { status, stdout } = await start(process.execPath, [compiler(), ...words, file], { cwd: app })
        assert.equal(status, 0, stdout)
      })
    }
  })
}

test('publint has no complaint', async () => {
  const words = [tools('publint', 'src', 'cli.js'), 'run', tarball, '--strict']
  const { status, stdout, stderr } = await start(process.execPath, words, {
    cwd: folder,
    env: { ...process.env, NO_COLOR: '1' }
  })
  assert.equal(status, 0, stdout + stderr)
  assert.doesNotMatch(stdout, /Suggestions|Warnings|Errors/)
})

test('"are the types wrong" has no complaint', async () => {
  const words = [tools('@arethetypeswrong', 'cli', 'dist', 'index.js'), tarball, '--format', 'json', '--no-color']
  const { status, stdout, stderr } = await start(process.execPath, words, { cwd: folder })
  assert.equal(status, 0, stdout + stderr)
  const { analysis } = JSON.parse(stdout)
  assert.deepEqual(analysis.problems, [])
})
