// MSVC itself runs on Windows only, but the Visual Studio projects that node-gyp makes of binding.gyp can be read
// anywhere. They are made with what each release line of Node.js hands to node-gyp (common.gypi and config.gypi), because
// half of the settings come from there.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { filesBelow } from '../../tools/lib/files.mjs'
import { fromRoot } from '../../tools/lib/paths.mjs'
import { start } from '../../tools/lib/run.mjs'
import { nodeRelease, temporaryFolder } from './helpers.mjs'

/** node-gyp 12 on purpose: it is what npm brings, and it keeps less away from MSVC than 13 does. */
const gyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js')

const lines = { 22: '22.23.3', 24: '24.21.0', 26: '26.12.1' }

for (const [line, version] of Object.entries(lines)) {
  describe(`the Visual Studio project for Node.js ${line}`, () => {
    let folder
    let headers
    let project

    before(async () => {
      folder = temporaryFolder()
      headers = await nodeRelease(version)
      project = await makeProject(folder, headers, 'x64')
    })
    after(() => fs.rmSync(folder, { recursive: true, force: true }))

    test('has every source', () => {
      const compiled = [...project.matchAll(/<ClCompile Include="([^"]+)"/g)].map(([, name]) =>
        name.replaceAll('\\', '/')
      )
      const missing = filesBelow('native', '.cc').filter((file) => !compiled.some((name) => name.endsWith(file)))
      assert.deepEqual(missing, [])
    })

    test('has warnings as errors, but for those that Node and node-gyp bring about', () => {
      assert.deepEqual(settings(project, 'WarningLevel'), ['Level4'])
      assert.deepEqual(settings(project, 'TreatWarningAsError'), ['true'])
      for (const disabled of settings(project, 'DisableSpecificWarnings').map((list) => list.split(';'))) {
        // Exceptions are off, so every noexcept would be told of.
        if (settings(project, 'ExceptionHandling').includes('false')) assert.ok(disabled.includes('4577'))
        assert.ok(disabled.includes('4949'))
      }
      for (const options of compilerOptions(project)) {
        assert.ok(options.includes('/external:anglebrackets') && options.includes('/external:W0'), options.join(' '))
      }
    })

    test('has one C++ standard, C++17', () => {
      assert.deepEqual(settings(project, 'LanguageStandard'), [])
      for (const options of compilerOptions(project)) {
        assert.deepEqual(
          options.filter((option) => /^[-/]std:/.test(option)),
          ['/std:c++17']
        )
      }
    })

    test("has none of the options that clang's linker takes and MSVC's does not", () => {
      const text = fs.readFileSync(path.join(headers, 'common.gypi'), 'utf8')
      // Else nothing would be shown.
      if (line === '26') assert.match(text, /-flto=thin/)
      assert.deepEqual(
        settings(project, 'AdditionalOptions').filter((options) => /lto|-fprofile/i.test(options)),
        []
      )
    })

    test('has the libraries, and finds node.exe under any name', () => {
      for (const library of ['ws2_32.lib', 'mswsock.lib', 'bcrypt.lib']) assert.ok(project.includes(library), library)
      assert.match(project, /win_delay_load_hook\.cc/)
      assert.match(project, /<DelayLoadDLLs>[^<]*node\.exe/)
    })
  })
}

test('the Visual Studio project for an arm64 machine is for arm64 alone', async () => {
  const folder = temporaryFolder()
  try {
    const project = await makeProject(folder, await nodeRelease(lines[24]), 'arm64')
    const platforms = [...project.matchAll(/<ProjectConfiguration Include="\w+\|(\w+)"/g)].map(
      ([, platform]) => platform
    )
    assert.deepEqual([...new Set(platforms.map((name) => name.toLowerCase()))], ['arm64'])
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
})

/** Makes the project as node-gyp does on Windows, with warnings as errors, and gives its text. */
async function makeProject(folder, headers, arch) {
  for (const name of ['binding.gyp', 'package.json']) fs.copyFileSync(fromRoot(name), path.join(folder, name))
  for (const name of ['native', 'node_modules']) fs.symlinkSync(fromRoot(name), path.join(folder, name), 'junction')
  const include = path.join(folder, 'node', 'include', 'node')
  fs.mkdirSync(include, { recursive: true })
  fs.copyFileSync(path.join(headers, 'common.gypi'), path.join(include, 'common.gypi'))
  const config = JSON.parse(fs.readFileSync(path.join(headers, 'config.gypi'), 'utf8').replace(/^#.*$/m, ''))
  // Where node.exe was built otherwise than the Linux release that the headers are of: with clang and, since 26, its LTO.
  Object.assign(config.variables, { enable_thin_lto: 'true', lto_jobs: 2 })
  config.variables.clang = 0 // node-gyp changes this on Windows, where MSVC builds the addon
  fs.writeFileSync(path.join(include, 'config.gypi'), JSON.stringify(config))
  const env = {
    ...process.env,
    LC_ALL: 'en_US.ISO8859-1', // gyp writes the project in the locale's encoding, and UTF-8 is not one it knows there
    GYP_MSVS_VERSION: '2015', // the last version that gyp does not look for
    GYP_MSVS_OVERRIDE_PATH: folder,
    npm_package_config_node_gyp_nodedir: path.join(folder, 'node')
  }
  const words = [gyp, 'configure', `--arch=${arch}`, '--', '-f', 'msvs', '-DOS=win', '-Diocp_werror=1']
  const result = await start(process.execPath, words, { cwd: folder, env })
  assert.equal(result.status, 0, result.stdout + result.stderr)
  return fs.readFileSync(path.join(folder, 'build', 'iocp.vcxproj'), 'latin1')
}

/** The different values of a setting in all configurations. */
function settings(project, name) {
  const found = [...project.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g'))].map(([, value]) => value)
  return [...new Set(found)]
}

function compilerOptions(project) {
  const parts = [...project.matchAll(/<ClCompile>([\s\S]*?)<\/ClCompile>/g)].map(([, text]) => text)
  assert.ok(parts.length > 0)
  return parts.flatMap((text) => settings(text, 'AdditionalOptions')).map((text) => text.split(' '))
}
