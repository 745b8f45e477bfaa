// `npm run check:prebuild`: is the committed addon that of the committed sources? Fails when it is not.
// --quick compares the recorded hash of the sources only and needs no compiler; --built compares the addon in build/,
// which whoever calls this has just built, and builds none in an empty folder.
import { sha256 } from './lib/files.mjs'
import { needDebian } from './lib/install.mjs'
import { builtAddon, isWindows, prebuiltAddon } from './lib/paths.mjs'
import { main, say, Stop } from './lib/run.mjs'
import { compilerName, prebuildIsFresh, prebuildRecord, withFreshBuild } from './prebuild.mjs'

await main(async () => {
  const record = prebuildRecord()
  if (record === undefined) throw new Stop('there is no prebuilt addon: run `npm run prebuild` and commit prebuilds/')
  if (!prebuildIsFresh()) {
    throw new Stop('the prebuilt addon is not that of these sources: run `npm run prebuild` and commit prebuilds/')
  }
  if (process.argv.includes('--quick')) return say('the prebuilt addon is that of these sources, by its record')
  if (isWindows) throw new Stop('the prebuilt addon is built with MinGW-w64 on Linux: check it there')
  await needDebian('mingw')
  if (compilerName() !== record.compiler) {
    say(`the record says ${record.compiler}; here is ${compilerName()}`)
    say('another compiler makes other bytes: they are not compared. The record of the sources is right')
    return
  }
  const compare = (addon) => {
    const [fresh, committed] = [sha256(addon), sha256(prebuiltAddon)]
    if (fresh === committed) return say(`the prebuilt addon is that of these sources: SHA-256 ${committed}`)
    throw new Stop(`the prebuilt addon has SHA-256 ${committed}, one built from these sources has ${fresh}`)
  }
  await (process.argv.includes('--built') ? compare(builtAddon) : withFreshBuild(compare))
})
