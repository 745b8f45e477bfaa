import { expect, test, vi } from 'vitest'
import { runProgram } from '../helpers/programs.js'

// More than runProgram waits, so that it is what says that a program hangs.
vi.setConfig({ testTimeout: 90_000 })

test('nothing keeps the context of a caller, and no handler gets that of another', async () => {
  const ended = await runProgram('contexts.mjs')
  expect(ended).toMatchObject({ code: 0, error: '' })
  expect(JSON.parse(ended.out)).toEqual({ isFree: true, seen: ['none'] })
})

// In a process of their own: a test runner has storages too, and they would be seen first.
test.each(['before-import', 'before-listen', 'in-listen', 'in-connect'])(
  'the only storage, first used %s: handlers have their context',
  async (when) => {
    const ended = await runProgram('context_first.mjs', when)
    expect(ended).toMatchObject({ code: 0, error: '' })
    const server = when === 'in-connect' ? 'none' : 'listen'
    const wanted = [
      'client close: connect',
      'client packet: connect',
      `connection: ${server}`,
      'end: end',
      `packet: ${server}`,
      `sent: ${server}`
    ]
    expect(JSON.parse(ended.out)).toEqual(wanted)
  }
)
