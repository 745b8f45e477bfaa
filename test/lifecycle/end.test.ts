import { describe, expect, test, vi } from 'vitest'
import { runProgram } from '../helpers/programs.js'

// More than runProgram waits, so that it is what says that a program hangs.
vi.setConfig({ testTimeout: 90_000 })

describe('ends by itself', () => {
  test.concurrent.each([
    'nothing but an import',
    'a server that was never started',
    'a server that was closed',
    'a server that does not keep the process',
    'a server that stopped keeping the process later',
    'a client whose connections have ended',
    'a client that keeps nothing',
    'a failed listen',
    'a failed connect'
  ])('%s', async (which) => {
    const ended = await runProgram('end.mjs', which)
    expect(ended).toMatchObject({ code: 0, error: '' })
    expect(ended.out).toContain(`ended: ${which}`)
    expect(ended.out).not.toContain('still here')
  })
})

describe('keeps the process', () => {
  test.concurrent.each(['a server that listens', 'a connection that is open'])('%s', async (which) => {
    // The timer that ends it is not what keeps it, so that it fires only if something else does.
    const ended = await runProgram('end.mjs', which)
    expect(ended).toMatchObject({ code: 0, error: '' })
    expect(ended.out).toContain('still here')
  })
})

test('a handler that throws loses no packet, for its connection or for others', async () => {
  const ended = await runProgram('handler.mjs')
  expect(ended).toMatchObject({ code: 0, error: '' })
  expect(JSON.parse(ended.out)).toEqual({
    seen: 30,
    inOrder: true,
    errors: ['thrown at 5', 'thrown at 15', 'thrown at 25']
  })
})
