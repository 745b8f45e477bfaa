#!/usr/bin/env node
/** The program `iocp`: `npx iocp build` compiles the addon from the sources in the package. */

import { parseArgs } from 'node:util'
import { buildAddon, CannotBuild } from './build_addon.js'

const usage = `iocp build [--out file] [--node-gyp file]

Compiles the native addon from the sources in this package, for the Node.js that runs this, into the package's folder
build/Release. Not needed where the package has a prebuilt addon. It takes Visual Studio's C++ tools, Python and node-gyp.

  --out file        write the addon to this file; setAddonPath() then tells the library where it is
  --node-gyp file   use this node-gyp (its bin/node-gyp.js), not the one of the project or of npm`

function main(): number {
  let given
  try {
    const options = { out: { type: 'string' }, 'node-gyp': { type: 'string' }, help: { type: 'boolean', short: 'h' } } as const
    given = parseArgs({ options, allowPositionals: true })
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`)
    return 2
  }
  const { values, positionals } = given
  if (values.help === true) {
    console.log(usage)
    return 0
  }
  if (positionals.length !== 1 || positionals[0] !== 'build') {
    const what = positionals.length === 0 ? 'a command is missing' : `there is no command '${positionals.join(' ')}'`
    console.error(`iocp: ${what}\n\n${usage}`)
    return 2
  }
  try {
    const file = buildAddon({ out: values.out, nodeGyp: values['node-gyp'] })
    console.log(`iocp: wrote ${file}`)
    return 0
  } catch (error) {
    if (!(error instanceof CannotBuild)) throw error
    console.error(`iocp: ${error.message}`)
    return 1
  }
}

process.exitCode = main()
