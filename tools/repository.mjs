// node tools/repository.mjs owner/name: writes the address of the repository into package.json and into the links of
// README.md, where there is another one. The release workflow does it for the repository that it runs in: a provenance
// statement is accepted for that one alone, and the links on the package's page have to lead there.
import fs from 'node:fs'
import { fromRoot } from './lib/paths.mjs'
import { main, say, Stop } from './lib/run.mjs'

await main(() => {
  const name = process.argv[2] ?? ''
  if (!/^[\w.-]+\/[\w.-]+$/.test(name)) throw new Stop('usage: node tools/repository.mjs owner/name')
  const { homepage } = JSON.parse(fs.readFileSync(fromRoot('package.json'), 'utf8'))
  const old = homepage.replace(/#readme$/, '')
  const address = new URL(`/${name}`, old).href
  for (const file of ['package.json', 'README.md'].map((name) => fromRoot(name))) {
    fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replaceAll(old, address))
  }
  say(`the repository is ${address}`)
})
