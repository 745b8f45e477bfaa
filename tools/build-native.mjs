// `npm run build:native`: builds build/Release/iocp.node from source; on Linux it cross-compiles with MinGW-w64, on
// Windows it uses MSVC. --werror: warnings are errors. --fault: builds the test variant (build/fault) as well.
import fs from 'node:fs'
import path from 'node:path'
import { buildAddon } from './cross/node-gyp.mjs'
import { writeIfChanged } from './lib/files.mjs'
import { needDebian, needNodeModules } from './lib/install.mjs'
import { withLock } from './lib/lock.mjs'
import { faultFolder, fromRoot, isWindows } from './lib/paths.mjs'
import { isMain, main, say } from './lib/run.mjs'
import { checkSources } from './sources.mjs'

export async function buildNative({ fault = false, werror = process.env.IOCP_WERROR === '1' } = {}) {
  checkSources()
  await needNodeModules()
  if (!isWindows) await needDebian('mingw', 'ccache', 'make', 'python')
  await withLock('build', async () => {
    say('building the addon from source')
    await buildAddon({ werror })
    if (!fault) return
    say("building the addon's test variant")
    mirror(faultFolder)
    await buildAddon({ folder: faultFolder, fault, werror })
  })
}

/** A folder that looks like the project to node-gyp, which always builds in `build` beside the binding.gyp. */
function mirror(folder) {
  writeIfChanged(path.join(folder, 'binding.gyp'), fs.readFileSync(fromRoot('binding.gyp'), 'utf8'))
  writeIfChanged(path.join(folder, 'package.json'), fs.readFileSync(fromRoot('package.json'), 'utf8'))
  for (const name of ['native', 'node_modules']) {
    // A junction is the link that Windows lets everybody make; elsewhere the word is ignored.
    if (!fs.existsSync(path.join(folder, name))) fs.symlinkSync(fromRoot(name), path.join(folder, name), 'junction')
  }
}

if (isMain(import.meta)) {
  const has = (flag) => process.argv.includes(flag)
  await main(() => buildNative({ fault: has('--fault'), ...(has('--werror') && { werror: true }) }))
}
