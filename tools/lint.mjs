// `npm run lint`: what is wrong with the sources without running them: which folder knows which (tools/layers.mjs), the
// rules of ESLint, and the form (tools/format.mjs). All of them are looked at, whichever fails.
import { createRequire } from 'node:module'
import path from 'node:path'
import { buildDist } from './build-dist.mjs'
import { format } from './format.mjs'
import { checkLayers } from './layers.mjs'
import { root } from './lib/paths.mjs'
import { main, run, say, Stop } from './lib/run.mjs'

await main(async () => {
  await buildDist()
  const results = await Promise.allSettled([eslint(), format(true), Promise.resolve().then(checkLayers)])
  for (const { reason } of results.filter(({ status }) => status === 'rejected')) {
    if (!(reason instanceof Stop)) throw reason
    say(reason.message)
    process.exitCode = 1
  }
  return process.exitCode
})

function eslint() {
  const program = path.join(
    path.dirname(createRequire(import.meta.url).resolve('eslint/package.json')),
    'bin/eslint.js'
  )
  const cache = ['--cache', '--cache-location', '.cache/eslint/']
  const words = [program, '--config', 'tools/eslint.config.js', ...cache, '--max-warnings', '0', '.']
  return run(process.execPath, words, { cwd: root })
}
