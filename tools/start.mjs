// `npm start [-- arguments of the demo]`: installs what is missing, builds what is stale, and runs examples/demo in a
// Windows Node.js: this one on Windows, one under Wine elsewhere.
import { spawn } from 'node:child_process'
import { buildDist } from './build-dist.mjs'
import { needNodeModules } from './lib/install.mjs'
import { isWindows, root } from './lib/paths.mjs'
import { main } from './lib/run.mjs'
import { chooseAddon } from './prebuild.mjs'
import { needWindowsNode } from './wine/prefix.mjs'
import { closeWine, openWine, runWindowsNode } from './wine/session.mjs'

await main(async () => {
  await needNodeModules()
  await buildDist()
  const env = await chooseAddon()
  const words = ['examples/demo/main.js', ...process.argv.slice(2)]
  if (isWindows) return runHere(words, env)
  await needWindowsNode()
  openWine()
  endWithNpm()
  const status = await runWindowsNode(words, { cwd: root, env })
  closeWine()
  return status
})

/** An npm that was killed cannot pass on anything; the demo must not stay behind. */
function endWithNpm() {
  if (process.env.npm_lifecycle_event !== 'start') return
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    process.kill(process.pid, 'SIGTERM')
  }, 500)
  timer.unref()
}

function runHere(words, env) {
  // Ctrl-C reaches both processes; the demo decides what it means.
  process.on('SIGINT', () => {})
  const child = spawn(process.execPath, words, { cwd: root, env: { ...process.env, ...env }, stdio: 'inherit' })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (status) => resolve(status ?? 1))
  })
}
