import { expect, test, vi } from 'vitest'
import { runProgram } from '../helpers/programs.js'

// More than runProgram waits, so that it is what says that a program hangs.
vi.setConfig({ testTimeout: 90_000 })

test('nothing keeps the context of a caller, and no handler gets that of another', async () => {
  const ended = await runProgram('contexts.mjs')
  expect(ended).toMatchObject({ code: 0, error: '' })
  expect(JSON.parse(ended.out)).toEqual({ isFree: true, seen: ['none'] })
})
