import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import * as vocabulary from '../../lib/native/protocol.js'
import { counterNames } from '../../lib/native/stats.js'

const native = (path: string): string => readFileSync(new URL(`../../native/${path}`, import.meta.url), 'utf8')
const camel = (name: string): string => name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase())

/** The numbers of one list of X(name, number). */
function list(source: string, macro: string): Record<string, number> {
  const body = new RegExp(`#define ${macro}\\(X\\)((?:.*\\\\\\n)*.*)`).exec(source)?.[1] ?? ''
  return Object.fromEntries(
    [...body.matchAll(/X\((\w+), (\d+)\)/g)].map(([, name = '', number]) => [camel(name), Number(number)])
  )
}

test.each([
  ['record', 'IOCP_RECORD_KINDS'],
  ['op', 'IOCP_OPERATION_KINDS'],
  ['cause', 'IOCP_CLOSE_CAUSES'],
  ['outcome', 'IOCP_SEND_OUTCOMES'],
  ['jobOutcome', 'IOCP_JOB_OUTCOMES']
] as const)('%s has the numbers of native code', (name, macro) => {
  const numbers = list(native('core/records.h'), macro)
  expect(Object.keys(numbers).length).toBeGreaterThan(0)
  expect(vocabulary[name]).toEqual(numbers)
})

test('frameError has the numbers of native code', () => {
  const body = /enum class FrameError[^{]*\{([^}]*)\}/.exec(native('core/framing/frame_state.h'))?.[1] ?? ''
  const numbers = [...body.matchAll(/(\w+) = (\d+)/g)].map(([, name = '', number]) => [camel(name), Number(number)])
  expect(numbers.length).toBeGreaterThan(0)
  expect(vocabulary.frameError).toEqual(Object.fromEntries(numbers))
})

test.each([
  ['RECORD_WORDS', 'kRecordWords'],
  ['OPERATION_WORDS', 'kOperationWords']
] as const)('%s is the size of native code', (name, constant) => {
  expect(native('core/records.h')).toContain(`${constant} = ${vocabulary[name]};`)
})

test('the counters are those of native code, in their order', () => {
  const names = [...native('core/counters.h').matchAll(/X\(\w+, "(\w+)"\)/g)].map(([, name]) => name)
  expect(counterNames).toEqual(names)
})
