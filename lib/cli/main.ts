#!/usr/bin/env node
/** The program `iocp`: `npx iocp build` compiles the addon from the sources in the package. */

import { parseArgs } from 'node:util'
import { buildAddon, CannotBuild, version } from './build_addon.js'

const usage = `iocp build [--out file] [--node-gyp file]

Compiles the native addon from the sources in this package, for the Node.js that runs this, into the package's folder
build/Release. Not needed where the package has a prebuilt addon. It takes Visual Studio's C++ tools, Python and node-gyp.

  --out file        write the addon to this file; setAddonPath() then tells the library where it is
  --node-gyp file   use this node-gyp (its bin/node-gyp.js), not the one of the project or of npm

iocp --version      prints the version of this package`

function main(): number {
  let given
  try {
    const options = {
      out: { type: 'string' },
      'node-gyp': { type: 'string' },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean', short: 'v' }
    } as const
    given = parseArgs({ options, allowPositionals: true })
  } catch (error) {
    console.error(`iocp: ${(error as Error).message}\n\n${usage}`)
    return 2
  }
  const { values, positionals } = given
  if (values.help === true) {
    console.log(usage)
    return 0
  }
  if (values.version === true) {
    console.log(version())
    return 0
  }
  const [command, ...more] = positionals
  if (command !== 'build' || more.length > 0) {
    const wrong =
      command === 'build' ? `'build' takes no argument '${more.join(' ')}'` : `there is no command '${String(command)}'`
    const what = command === undefined ? 'a command is missing' : wrong
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
