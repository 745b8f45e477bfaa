// MSVC itself runs on Windows only, but that node-gyp can make a Visual Studio project of binding.gyp, with every
// source and setting in it, shows anywhere.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { filesBelow } from '../../tools/lib/files.mjs'
import { fromRoot } from '../../tools/lib/paths.mjs'
import { start } from '../../tools/lib/run.mjs'
import { temporaryFolder } from './helpers.mjs'

let folder
let project

before(async () => {
  folder = temporaryFolder()
  for (const name of ['binding.gyp', 'package.json']) fs.copyFileSync(fromRoot(name), path.join(folder, name))
  for (const name of ['native', 'node_modules']) fs.symlinkSync(fromRoot(name), path.join(folder, name), 'junction')
  // What a Node.js for Windows brings, as far as making the project goes.
  const headers = path.join(folder, 'node', 'include', 'node')
  fs.mkdirSync(headers, { recursive: true })
  const defaults = "'default_configuration': 'Release', 'configurations': { 'Debug': {}, 'Release': {} }"
  const variables = "'node_shared': 'false', 'clang': 0"
  fs.writeFileSync(path.join(headers, 'common.gypi'), `{ 'target_defaults': { ${defaults} } }`)
  fs.writeFileSync(path.join(headers, 'config.gypi'), `{ 'target_defaults': {}, 'variables': { ${variables} } }`)
  const gyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js')
  const env = {
    ...process.env,
    LC_ALL: 'en_US.ISO8859-1', // gyp writes the project in the locale's encoding, and UTF-8 is not one it knows there
    GYP_MSVS_VERSION: '2015', // the last version that gyp does not look for
    GYP_MSVS_OVERRIDE_PATH: folder,
    npm_package_config_node_gyp_nodedir: path.join(folder, 'node')
  }
  const words = [gyp, 'configure', '--', '-f', 'msvs', '-DOS=win', '-Diocp_werror=1']
  const result = await start(process.execPath, words, { cwd: folder, env })
  assert.equal(result.status, 0, result.stdout + result.stderr)
  project = fs.readFileSync(path.join(folder, 'build', 'iocp.vcxproj'), 'latin1')
})
after(() => fs.rmSync(folder, { recursive: true, force: true }))

test('the Visual Studio project has every source', () => {
  const compiled = [...project.matchAll(/<ClCompile Include="([^"]+)"/g)].map((match) => match[1].replaceAll('\\', '/'))
  const missing = filesBelow('native', '.cc').filter((file) => !compiled.some((name) => name.endsWith(file)))
  assert.deepEqual(missing, [])
})

test('the Visual Studio project has the settings', () => {
  assert.match(project, /<WarningLevel>Level4<\/WarningLevel>/)
  assert.match(project, /<TreatWarningAsError>true<\/TreatWarningAsError>/)
  assert.match(project, /\/std:c\+\+17/)
  assert.match(project, /ws2_32\.lib/)
  assert.match(project, /mswsock\.lib/)
})

test('the addon finds node.exe under any name', () => {
  assert.match(project, /win_delay_load_hook\.cc/)
  assert.match(project, /<DelayLoadDLLs>[^<]*node\.exe/)
})
