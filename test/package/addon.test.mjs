// Where the addon is looked for, and what the error says when it is not to be had.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fromRoot, isWindows, prebuiltAddon, targetArch } from '../../tools/lib/paths.mjs'
import { start } from '../../tools/lib/run.mjs'
import { echoProgram, pack, runInWindows, temporaryFolder, unpack } from './helpers.mjs'

let folder
let app
let installed
const addon = () => path.join(installed, 'prebuilds', `win32-${targetArch}`, 'iocp.node')

before(async () => {
  folder = temporaryFolder()
  app = path.join(folder, 'app')
  installed = await unpack((await pack(folder)).tarball, app)
  fs.writeFileSync(path.join(app, 'echo.mjs'), echoProgram)
  fs.writeFileSync(
    path.join(app, 'moved.mjs'),
    `import { setAddonPath } from 'iocp'\nsetAddonPath(new URL('moved.bin', import.meta.url))\n${echoProgram}`
  )
})
after(() => fs.rmSync(folder, { recursive: true, force: true }))

const echo = (words = [], program = 'echo.mjs') => runInWindows([...words, program], { cwd: app })

describe('the error says why there is no addon:', () => {
  const cases = {
    '--no-addons': [['--no-addons'], 'ERR_IOCP_ADDON_BLOCKED', /Node\.js runs with --no-addons/],
    '--permission': [
      ['--permission', '--allow-fs-read=*'],
      'ERR_IOCP_ADDON_BLOCKED',
      /--permission\).*add --allow-addons/
    ]
  }
  for (const [name, [words, code, message]] of Object.entries(cases)) {
    test(name, async () => {
      const { status, output } = await echo(words)
      assert.match(output, message)
      assert.ok(output.includes(code) && output.includes('ERR_DLOPEN_DISABLED'), output)
      assert.equal(status, 1)
    })
  }

  /** Runs the program with the addon changed, and puts it right again. */
  async function withAddon(change) {
    const right = fs.readFileSync(addon())
    try {
      change(addon(), Buffer.from(right))
      return await echo()
    } finally {
      fs.mkdirSync(path.dirname(addon()), { recursive: true })
      fs.writeFileSync(addon(), right)
    }
  }

  test('none for this processor', async () => {
    const { output } = await withAddon((file) => fs.rmSync(path.dirname(file), { recursive: true }))
    assert.match(
      output,
      new RegExp(`There is no native addon for Windows ${targetArch} in .*: compile it with 'npx iocp build'`)
    )
    assert.match(output, /ERR_IOCP_ADDON_NOT_FOUND/)
  })

  test('one for another processor', async () => {
    const { output } = await withAddon((file, bytes) => {
      bytes.writeUInt16LE(targetArch === 'arm64' ? 0x8664 : 0xaa64, bytes.readUInt32LE(0x3c) + 4)
      fs.writeFileSync(file, bytes)
    })
    const other = targetArch === 'arm64' ? 'x64' : 'arm64'
    assert.match(output, new RegExp(`it is for ${other} and this Node\\.js is for ${targetArch}`))
    assert.match(output, /ERR_IOCP_ADDON_FAILED/)
  })

  test('no addon at all', async () => {
    const { output } = await withAddon((file) => fs.writeFileSync(file, 'version https://git-lfs.example/spec/v1\n'))
    assert.match(output, /it is not an addon for Windows: reinstall the package/)
    assert.match(output, /ERR_IOCP_ADDON_FAILED/)
  })
})

describe('setAddonPath()', () => {
  test('names a file of any name, anywhere', async () => {
    fs.copyFileSync(prebuiltAddon, path.join(app, 'moved.bin'))
    const prebuilds = path.join(installed, 'prebuilds')
    fs.renameSync(prebuilds, `${prebuilds}.away`)
    try {
      const { status, output } = await echo([], 'moved.mjs')
      assert.match(output, /^node\.exe 000000020709\s*$/)
      assert.equal(status, 0)
    } finally {
      fs.renameSync(`${prebuilds}.away`, prebuilds)
    }
  })

  test('names a file with a long path', async () => {
    const file = path.join(app, 'a'.repeat(120), 'b'.repeat(140), 'iocp.node')
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.copyFileSync(prebuiltAddon, file)
    const name = JSON.stringify(path.relative(app, file))
    fs.writeFileSync(
      path.join(app, 'long.mjs'),
      `import { setAddonPath } from 'iocp'\nsetAddonPath(${name})\n${echoProgram}`
    )
    const { status, output } = await echo([], 'long.mjs')
    assert.match(output, /^node\.exe 000000020709\s*$/)
    assert.equal(status, 0)
  })

  test('that names no file says so', async () => {
    fs.rmSync(path.join(app, 'moved.bin'), { force: true })
    const { output } = await echo([], 'moved.mjs')
    assert.match(output, /There is no file .*moved\.bin, the native addon/)
  })

  test('comes too late once another addon is loaded, and refuses what is no path', async () => {
    const code = `
      import { createServer, setAddonPath } from 'iocp'
      const codes = []
      const attempt = (file) => { try { setAddonPath(file) } catch (error) { codes.push(error.code) } }
      for (const file of ['', 5, undefined, new URL('https://example.com/x'), 'a\\0b']) attempt(file)
      const server = createServer({})
      await server.listen({ port: 0, host: '127.0.0.1' })
      attempt('other.node')
      await server.close()
      console.log(codes.join(' '))`
    fs.writeFileSync(path.join(app, 'late.mjs'), code)
    const { output } = await echo([], 'late.mjs')
    const notPaths = Array(4).fill('ERR_IOCP_INVALID_OPTION')
    assert.equal(output.trim(), [...notPaths, 'ERR_INVALID_ARG_VALUE', 'ERR_IOCP_INVALID_OPTION'].join(' '))
  })
})

describe('`iocp build` before it compiles', () => {
  const cli = (...words) =>
    start(process.execPath, [path.join(installed, 'dist', 'cjs', 'cli', 'main.js'), ...words], { cwd: app })
  let gyp

  before(() => {
    gyp = path.join(app, 'no-gyp.cjs')
    const lines = [
      "const fs = require('node:fs')",
      "fs.mkdirSync('build/Release', { recursive: true })",
      "fs.writeFileSync('build/Release/iocp.node', 'made')"
    ]
    fs.writeFileSync(gyp, lines.join('\n'))
  })

  for (const [words, wanted] of [
    [['--out', 'some/'], /--out wants the name of a file/],
    [['--out='], /--out wants the name of a file/],
    [['--out', 'node_modules'], /--out wants the name of a file/],
    [['--node-gyp', 'nowhere.js'], /there is no file .*nowhere\.js/]
  ]) {
    test(`refuses ${words.join(' ')}`, async () => {
      const { status, stderr } = await cli('build', '--node-gyp', gyp, ...words)
      assert.match(stderr, wanted)
      assert.doesNotMatch(stderr, /\n +at /)
      assert.equal(status, 1)
    })
  }

  test('says what is no command, and what is no option', async () => {
    for (const [words, wanted] of [
      [['buidl'], /^iocp: there is no command 'buidl'/],
      [['build', 'it'], /^iocp: 'build' takes no argument 'it'/],
      [[], /^iocp: a command is missing/],
      [['build', '--uot', 'x'], /^iocp: Unknown option '--uot'/]
    ]) {
      const { status, stderr } = await cli(...words)
      assert.match(stderr, wanted)
      assert.equal(status, 2)
    }
  })

  test('says its version', async () => {
    const { status, stdout } = await cli('--version')
    assert.equal(stdout.trim(), JSON.parse(fs.readFileSync(path.join(installed, 'package.json'), 'utf8')).version)
    assert.equal(status, 0)
  })

  test('leaves alone what lies beside the file that it writes', async () => {
    const mine = path.join(app, 'addon', 'iocp-sources', 'mine.txt')
    fs.mkdirSync(path.dirname(mine), { recursive: true })
    fs.writeFileSync(mine, 'mine')
    const { status, stderr } = await cli('build', '--node-gyp', gyp, '--out', 'addon/own.node')
    assert.equal(status, 0, stderr)
    assert.equal(fs.readFileSync(mine, 'utf8'), 'mine')
    assert.deepEqual(fs.readdirSync(path.join(app, 'addon')).toSorted(), ['iocp-sources', 'own.node'])
  })
})

// node-gyp's stand-in is the cross build; everything else is what happens on Windows.
test('`iocp build` compiles the addon from what is in the package', { skip: isWindows }, async () => {
  const words = [path.join(installed, 'dist', 'cjs', 'cli', 'main.js'), 'build']
  const gyp = fromRoot('tools', 'cross', 'prebuildify-gyp.mjs')
  const env = { ...process.env, NODE_PATH: fromRoot('node_modules') }
  const refused = await start(process.execPath, words, { cwd: app, env })
  assert.match(refused.stderr, /the addon is for Windows, and this is \w+: there is nothing to build/)
  assert.equal(refused.status, 1)
  const { status, stdout, stderr } = await start(process.execPath, [...words, '--node-gyp', gyp], { cwd: app, env })
  assert.equal(status, 0, stdout + stderr)
  const built = path.join(installed, 'build', 'Release', 'iocp.node')
  assert.deepEqual(fs.readdirSync(path.dirname(built)), ['iocp.node'])
  fs.rmSync(path.join(installed, 'prebuilds'), { recursive: true })
  const { output } = await echo()
  assert.match(output, /^node\.exe 000000020709\s*$/)
})
