import { describe, expect, test, vi } from 'vitest'
import { runProgram } from '../helpers/programs.js'

// More than runProgram waits, so that it is what says that a program hangs.
vi.setConfig({ testTimeout: 90_000 })

describe('Workers with a server each, while data flows', () => {
  test.each([
    ['terminate', 'exit 1'],
    ['process.exit', 'exit 3'],
    ['exception', 'error: thrown in a worker'],
    ['close', 'exit 0'],
    ['beside the main thread', 'the main thread goes on']
  ])('%s', async (how, expected) => {
    const ended = await runProgram('workers.mjs', how)
    expect(ended).toMatchObject({ code: 0, error: '' })
    expect(ended.out.match(/flows/g)).toHaveLength(4)
    expect(ended.out).toContain(expected)
    expect(ended.out).toContain('all workers have ended')
  })

  test('process.exit in the main thread', async () => {
    const ended = await runProgram('workers.mjs', 'process.exit in the main thread')
    expect(ended).toMatchObject({ code: 7, error: '' })
    expect(ended.out).toContain('flows')
  })
})
