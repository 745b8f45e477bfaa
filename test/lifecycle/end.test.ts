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
    'a failed connect',
    'packets of all sizes that are kept'
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

const OWN_ENDS = {
  'iteration, reset': [],
  'iteration, end': [],
  'stream, reset': [],
  'stream, end': [],
  'stream that is read later, reset': [],
  'stream that is read later, end': [],
  'a file that is there, accepted by an async handler': ['ERR_IOCP_TRANSFER_EXISTS'],
  'a file that is there, returned': ['ERR_IOCP_TRANSFER_EXISTS'],
  'a callback of connect': []
}

test('an async handler that ends with its connection, or with its file, has not failed; any other error surfaces', async () => {
  const ended = await runProgram('rejections.mjs', 'throw')
  expect(ended).toMatchObject({ code: 0, error: '' })
  expect(JSON.parse(ended.out)).toEqual({
    ...OWN_ENDS,
    'an error of the program': ['mine'],
    'a file handler that rejects': ['ERR_IOCP_TRANSFER_REJECTED', 'mine']
  })
})

test("the same with onHandlerError: 'close'", async () => {
  const ended = await runProgram('rejections.mjs', 'close')
  expect(ended).toMatchObject({ code: 0, error: '' })
  expect(JSON.parse(ended.out)).toEqual({
    ...OWN_ENDS,
    'an error of the program': ['handlerError mine'],
    'a file handler that rejects': [expect.stringMatching(/^ERR_IOCP_TRANSFER_(CLOSED|REJECTED)$/), 'handlerError mine']
  })
})
