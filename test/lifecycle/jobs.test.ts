import { describe, expect, test } from 'vitest'
import { runProgram } from '../helpers/programs.js'

describe('A process whose workers are busy', () => {
  test.each([
    ['process.exit', 7],
    ['process.exit while a worker loops', 7],
    ['close', 0],
    ['close while a worker loops', 0],
    ['unref', 0]
  ])('ends: %s', async (how, code) => {
    const ended = await runProgram('jobs.mjs', how)
    expect(ended).toMatchObject({ code, error: '' })
    expect(ended.out).toContain('flows')
    if (how.startsWith('close')) expect(ended.out).toContain('closed')
  })

  test('ends: exception', async () => {
    const ended = await runProgram('jobs.mjs', 'exception')
    expect(ended.code).toBe(1)
    expect(ended.error).toContain('thrown')
  })

  test.each([
    ['in a Worker: terminate', 'exit 1'],
    ['in a Worker: process.exit', 'exit 3'],
    ['in a Worker: close', 'exit 0']
  ])('ends, its server %s', async (how, expected) => {
    const ended = await runProgram('jobs.mjs', how)
    expect(ended).toMatchObject({ code: 0, error: '' })
    expect(ended.out.split(expected)).toHaveLength(3)
  })
})
