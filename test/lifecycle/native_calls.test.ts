/** A Worker is terminated while it is in a native call: whatever that call can no longer make, the process goes on. */

import { describe, expect, test, vi } from 'vitest'
import { faultsOfLibrary } from '../helpers/faults.js'
import { load } from '../helpers/load.js'
import { runProgram } from '../helpers/programs.js'

// More than runProgram waits, so that it is what says that a program hangs.
vi.setConfig({ testTimeout: 90_000 })

const ROUNDS = load(10, 100)
const calls = [
  'openSource',
  'openTarget',
  'moveFile',
  'errorInfo',
  'stats',
  'addProfile',
  'listen',
  'connect',
  'engine'
]

describe.skipIf(faultsOfLibrary() === undefined)('a Worker is terminated in the middle of a native call', () => {
  test.each(calls)('%s', async (call) => {
    const ended = await runProgram('natively_busy.mjs', call, String(ROUNDS))
    expect(ended).toMatchObject({ code: 0, error: '' })
    expect(ended.out).toContain(`${ROUNDS} terminated`)
  })
})
