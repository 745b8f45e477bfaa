/** A Worker is terminated while it is in a native call: whatever that call can no longer make, the process goes on. */

import { describe, expect, test, vi } from 'vitest'
import { faults } from '../helpers/files.js'
import { runProgram } from '../helpers/programs.js'

// More than runProgram waits, so that it is what says that a program hangs.
vi.setConfig({ testTimeout: 90_000 })

const ROUNDS = process.env['IOCP_LONG'] === '1' ? 100 : 10
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

describe.skipIf(faults() === undefined)('a Worker is terminated in the middle of a native call', () => {
  test.each(calls)('%s', async (call) => {
    const ended = await runProgram('natively_busy.mjs', call, String(ROUNDS))
    expect(ended).toMatchObject({ code: 0, error: '' })
    expect(ended.out).toContain(`${ROUNDS} terminated`)
  })
})
