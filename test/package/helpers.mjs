// What the package's tests share. They run in the Node.js of the machine that we are on.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { isWindows } from '../../tools/lib/paths.mjs'
import { start } from '../../tools/lib/run.mjs'
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
