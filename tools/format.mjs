// `npm run format` brings every source into its form; `node tools/format.mjs --check`, a part of `npm run lint`, fails for
// those that are not in it. Prettier for TypeScript, JavaScript and JSON, clang-format for C++: both are development
// packages, so that everybody has the same version.
import { createRequire } from 'node:module'
import path from 'node:path'
import { filesBelow } from './lib/files.mjs'
import { root } from './lib/paths.mjs'
import { commandLine, isMain, main, start, Stop } from './lib/run.mjs'

const require = createRequire(import.meta.url)

/** @param check whether nothing is written, and a file in another form is an error */
export async function format(check) {
  const programs = [
    [
      programOf('prettier'),
      ['--log-level=warn', '--cache', '--cache-location=.cache/prettier', check ? '--check' : '--write', '.']
    ],
    [programOf('clang-format-node'), [...(check ? ['--dry-run', '--Werror'] : ['-i']), ...nativeSources()]]
  ]
  const results = await Promise.all(
    programs.map(([program, words]) =>
      start(process.execPath, [program, ...words], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
    )
  )
  const failed = programs.filter((_, index) => results[index].status !== 0)
  if (failed.length === 0) return
  if (check) throw new Stop('some files are not in their form: `npm run format` brings them into it')
  throw new Stop(`failed: ${failed.map(([program, words]) => commandLine(program, words.slice(0, 2))).join(', ')}`)
}

function nativeSources() {
  const folders = ['native', 'test', 'bench', 'tools']
  return folders.flatMap((folder) => filesBelow(folder, '.h', '.c', '.cc', '.cpp'))
}

/** The file of a package's only program. */
function programOf(name) {
  const manifest = require.resolve(`${name}/package.json`)
  const { bin } = require(manifest)
  return path.join(path.dirname(manifest), typeof bin === 'string' ? bin : Object.values(bin)[0])
}

if (isMain(import.meta)) await main(() => format(process.argv.includes('--check')))
