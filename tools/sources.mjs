// Keeps binding.gyp's list of sources true: `node tools/sources.mjs` fails when it is not, `--write` corrects it.
// The list is explicit because somebody who reads or packages the addon must see what is built.
import fs from 'node:fs'
import { filesBelow } from './lib/files.mjs'
import { fromRoot } from './lib/paths.mjs'
import { isMain, main, say, Stop } from './lib/run.mjs'

const file = fromRoot('binding.gyp')
const list = /('iocp_sources': \[\n)([^\]]*)( {4}\])/

export const addonSources = () => filesBelow('native', '.cc')

export function checkSources({ write = false } = {}) {
  const text = fs.readFileSync(file, 'utf8')
  const wanted = addonSources()
    .map((name) => `      '${name}',\n`)
    .join('')
  const [, , found] = list.exec(text)
  if (found === wanted) return
  if (!write) throw new Stop('binding.gyp does not list exactly the files native/**/*.cc: run `npm run sources`')
  fs.writeFileSync(
    file,
    text.replace(list, (_, head, __, tail) => head + wanted + tail)
  )
  say('binding.gyp: wrote the list of sources')
}

if (isMain(import.meta)) await main(() => checkSources({ write: process.argv.includes('--write') }))
