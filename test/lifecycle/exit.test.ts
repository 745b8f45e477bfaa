import { describe, expect, test, vi } from 'vitest'
import { runProgram } from '../helpers/programs.js'

// More than runProgram waits, so that it is what says that a program hangs.
vi.setConfig({ testTimeout: 90_000 })

const { out } = await runProgram('leave.mjs', '--list')
const { moments } = JSON.parse(out) as { moments: string[] }

/** What Node itself gives; a process that is killed or aborts has no code that is the same everywhere. */
const codes: Record<string, number> = { exit: 7, throw: 1, reject: 1 }

test('there are moments to leave at', () => {
  expect(moments.length).toBeGreaterThan(10)
})

/** A rejection that nobody handles becomes an exception: once out of each place that code can be called from. */
const rejects = moments.filter((when) =>
  ['during connect', 'while data flows', 'in a packet handler', 'in the close event'].includes(when)
)

describe.each([
  ['exit', moments],
  ['throw', moments],
  ['reject', rejects]
])('by %s', (how, when) => {
  test.concurrent.each(when)('%s', async (when) => {
    const ended = await runProgram('leave.mjs', when, how)
    // The marker shows that the moment had come: an exit code alone could have any reason.
    expect(ended.out).toContain(`leaving: ${when}`)
    expect(ended).toMatchObject({ code: codes[how] })
    if (how === 'exit') expect(ended.error).toBe('')
    else expect(ended.error).toContain('left by')
  })
})

describe.each(['abort', 'kill'])('by %s', (how) => {
  test.each(['while data flows', 'while much waits to be sent'])('%s', async (when) => {
    const ended = await runProgram('leave.mjs', when, how)
    expect(ended.out).toContain(`leaving: ${when}`)
    expect(ended.code).not.toBe(0)
    expect(ended.code).not.toBeNull()
  })
})
