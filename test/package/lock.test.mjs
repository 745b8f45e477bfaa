// What the tools do one at a time, in one process and in several.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

/** What a program prints that has `withLock` and `after(ms)`; the program is ended after ten seconds. */
function printedBy(body) {
  const lock = new URL('../../tools/lib/lock.mjs', import.meta.url)
  const name = `test-${process.pid}`
  const head = `import { withLock } from ${JSON.stringify(lock)}
    import { setTimeout as after } from 'node:timers/promises'
    const say = (what) => console.log(what)
    const name = ${JSON.stringify(name)}`
  const words = ['--input-type=module', '--eval', `${head}\n${body}`]
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8', timeout: 10_000 })
  assert.deepEqual({ status, signal, stderr }, { status: 0, signal: null, stderr: '' })
  return stdout.trim().split('\n')
}

test('two parts of one process have a lock one after the other', () => {
  const printed = printedBy(`
    const part = (which) =>
      withLock(name, async () => {
        say(which + ' begins')
        await after(200)
        say(which + ' ends')
      })
    await Promise.all([part('one'), part('two')])`)
  assert.deepEqual(printed, ['one begins', 'one ends', 'two begins', 'two ends'])
})

test('a lock is given back by a part that fails', () => {
  const printed = printedBy(`
    await withLock(name, () => Promise.reject(new Error('the first'))).catch((error) => say(error.message))
    await withLock(name, async () => say('the second'))`)
  assert.deepEqual(printed, ['the first', 'the second'])
})
