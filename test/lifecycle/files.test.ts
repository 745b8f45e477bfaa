import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
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
