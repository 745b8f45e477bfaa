// The folders of the code know only those below them: tools/layers.mjs says so, and here that it sees when they do not.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import { problemsOfLayers } from '../../tools/layers.mjs'
import { writeFile } from '../../tools/lib/files.mjs'
import { temporaryFolder } from './helpers.mjs'

const folders = []
after(() => {
  for (const folder of folders) fs.rmSync(folder, { recursive: true })
})

/** What is wrong with some files. */
function problems(files) {
  const folder = temporaryFolder()
  folders.push(folder)
  for (const [name, text] of Object.entries(files)) writeFile(path.join(folder, name), text)
  return problemsOfLayers(folder)
}

test('the folders of this package know only those below them', () => {
  assert.deepEqual(problemsOfLayers(), [])
})

test('imports of a folder itself, of those below it and of packages are right', () => {
  const found = problems({
    'lib/index.ts': "export * from './endpoint/server.js'",
    'lib/endpoint/server.ts': "import { a } from '../common/a.js'\nimport { b } from './b.js'\nexport const c = a + b",
    'lib/endpoint/b.ts': "import type { c } from './server.js'\nexport const b: typeof c = 1 // import '../index.js'",
    'lib/common/a.ts': "import fs from 'node:fs'\nexport const a = fs.constants.O_RDONLY",
    'native/win/engine/engine.h': '#include <vector>\n#include "core/ids.h"\n#include "win/sys/win.h"'
  })
  assert.deepEqual(found, [])
})

const upward = {
  'an import': "import { Server } from '../endpoint/server.js'\nexport const a = Server",
  'an import of types alone': "import type { Server } from '../endpoint/server.js'\nexport type A = Server",
  'an import of types among others': "import { type Server } from '../endpoint/server.js'\nexport type A = Server",
  'an export': "export { Server } from '../endpoint/server.js'",
  'an export of everything': "export * from '../endpoint/server.js'",
  'an import within a type': "export type A = import('../endpoint/server.js').Server",
  'an import at run time': "export const a = () => import('../endpoint/server.js')"
}
for (const [what, text] of Object.entries(upward)) {
  test(`${what} of a folder above is none`, () => {
    assert.deepEqual(problems({ 'lib/packets/a.ts': text }), [
      'lib/packets/a.ts imports lib/endpoint/server.ts, but the layer lib/packets does not know lib/endpoint: ' +
        'it knows lib/common, lib/native, itself.'
    ])
  })
}

test('nor is one of a folder in another row', () => {
  const [one, ...others] = problems({ 'lib/endpoint/a.ts': "import '../cli/main.js'", 'lib/cli/main.ts': '' })
  assert.match(
    one,
    /^lib\/endpoint\/a\.ts imports lib\/cli\/main\.ts, but the layer lib\/endpoint does not know lib\/cli: /
  )
  assert.deepEqual(others, [])
})

test('nor is an include', () => {
  assert.deepEqual(problems({ 'native/core/framing/frame.h': '#pragma once\n # include "win/sys/socket.h"\n' }), [
    'native/core/framing/frame.h includes native/win/sys/socket.h, but the layer native/core does not know native/win/sys: ' +
      'it knows itself.'
  ])
})

test('what lies in no folder of the table is told', () => {
  const found = problems({
    'lib/new/a.ts': '',
    'lib/common/b.ts': "import '../new/a.js'",
    'lib/index.ts': "import '../tools/c.js'"
  })
  assert.match(
    found.join('\n'),
    /lib\/common\/b\.ts imports lib\/new\/a\.ts, but the layer lib\/common does not know what is in no layer/
  )
  assert.match(
    found.join('\n'),
    /lib\/index\.ts imports tools\/c\.ts, but the layer lib does not know what is in no layer/
  )
  assert.match(
    problems({ 'lib/new/a.ts': "import './b.js'" }).join('\n'),
    /lib\/new\/a\.ts lies in none of the folders/
  )
})

test('a circle at run time is told with the way round it', () => {
  const found = problems({
    'lib/common/a.ts': "import { b } from './b.js'\nexport const a = () => b",
    'lib/common/b.ts': "import { c } from './c.js'\nexport const b = () => c",
    'lib/common/c.ts': "import { a, type A } from './a.js'\nexport const c = () => a"
  })
  assert.deepEqual(found, [
    'These import each other at run time, in a circle: lib/common/a.ts -> lib/common/b.ts -> lib/common/c.ts -> lib/common/a.ts.'
  ])
})

test('a circle of types is none, within a folder', () => {
  const found = problems({
    'lib/common/a.ts': "import { b } from './b.js'\nexport const a = () => b",
    'lib/common/b.ts': "import { type a } from './a.js'\nexport const b: typeof a | undefined = undefined"
  })
  assert.deepEqual(found, [])
})
