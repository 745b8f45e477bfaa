import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { faultsOfLibrary, hasFaults } from '../helpers/faults.js'
import { runProgram } from '../helpers/programs.js'

// More than runProgram waits, so that it is what says that a program hangs.
vi.setConfig({ testTimeout: 90_000 })

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'iocp-files-'))
  onTestFinished(() => {
    rmSync(made, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  })
  return made
}

test('a Worker is terminated in the middle of files: nothing of them stays open', async () => {
  const ended = await runProgram('files.mjs', 'worker', folder())
  expect(ended).toMatchObject({ code: 0, error: '' })
  expect(ended.out.replaceAll('\r', '')).toBe('terminated, 0 parts\n'.repeat(6))
})

test('process.exit in the middle of files', async () => {
  const made = folder()
  const ended = await runProgram('files.mjs', 'exit', made)
  expect(ended.out).toContain('leaving')
  expect(ended).toMatchObject({ code: 5, error: '' })
  expect(readdirSync(made).filter((name) => name.endsWith('.part'))).toEqual([])
})

// A hash of the file, or a write that is never told of, would last longer than the program may.
const busy = [
  ['opening', 5],
  ['hashing', 1],
  ...(faultsOfLibrary() === undefined
    ? []
    : ([
        ['writing', 1],
        ['blocked', 2]
      ] as const))
] as const

describe.each(busy)('while it is busy %s', (what, rounds) => {
  test('a Worker is terminated: it ends soon, and nothing stays open', async () => {
    const ended = await runProgram('files_busy.mjs', what, 'terminate', folder())
    expect(ended).toMatchObject({ code: 0, error: '' })
    expect(ended.out.replaceAll('\r', '')).toBe('terminated, 0 parts\n'.repeat(rounds))
  })

  test('process.exit', async () => {
    const made = folder()
    const ended = await runProgram('files_busy.mjs', what, 'exit', made)
    expect(ended.out).toContain('leaving')
    expect(ended).toMatchObject({ code: 5, error: '' })
    if (what !== 'hashing') expect(readdirSync(made).filter((name) => name.endsWith('.part'))).toEqual([])
  })
})

test.skipIf(!hasFaults)(
  'a file that outlives its connection keeps the process until whoever waits has heard of its end',
  async () => {
    expect(await runProgram('file_outlives.mjs')).toMatchObject({
      code: 0,
      error: '',
      out: expect.stringContaining('ERR_IOCP_TRANSFER_CLOSED') as unknown
    })
  }
)
