// The vectors of the framings, which the decoders are tested with, against implementations of other making.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { has, run } from './helpers.mjs'

const isThere = await has('python3', '--version')
const name = "Python's struct and Erlang's gen_tcp agree with the vectors of the framings"
test(isThere ? name : `${name} (skipped: there is no python3 here)`, { skip: !isThere, timeout: 120_000 }, async () => {
  const { code, out, error } = await run('python3', [
    fileURLToPath(new URL('../framing-independent.py', import.meta.url))
  ])
  assert.equal(code, 0, `${out}${error}`)
})
