import { readFileSync } from 'node:fs'
import { expect, test, vi } from 'vitest'
import { binding } from '../../lib/native/binding.js'
import * as protocol from '../../lib/native/protocol.js'
import { counterNames } from '../../lib/native/stats.js'

const native = (path: string): string => readFileSync(new URL(`../../native/${path}`, import.meta.url), 'utf8')
const camel = (name: string): string => name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase())

/** The numbers of one list of X(name, number). */
function list(source: string, macro: string): Record<string, number> {
  const body = new RegExp(`#define ${macro}\\(X\\)((?:.*\\\\\\n)*.*)`).exec(source)?.[1] ?? ''
  return Object.fromEntries(
    [...body.matchAll(/X\((\w+), (\w+)\)/g)].map(([, name = '', number]) => [camel(name), Number(number)])
  )
}

const records = native('core/records.h')
const access = native('core/access/access_rules.h')
const frameError = /enum class FrameError[^{]*\{([^}]*)\}/.exec(native('core/framing/frame_state.h'))?.[1] ?? ''

/** Every list that native code has, read from its sources. */
const lists: Record<string, Record<string, number>> = {
  record: list(records, 'IOCP_RECORD_KINDS'),
  op: list(records, 'IOCP_OPERATION_KINDS'),
  cause: list(records, 'IOCP_CLOSE_CAUSES'),
  outcome: list(records, 'IOCP_SEND_OUTCOMES'),
  jobOutcome: list(records, 'IOCP_JOB_OUTCOMES'),
  fileOutcome: list(records, 'IOCP_FILE_OUTCOMES'),
  timeEvent: list(records, 'IOCP_TIME_EVENTS'),
  refusal: list(access, 'IOCP_REFUSALS'),
  proxyError: list(native('core/proxy_protocol/proxy_header.h'), 'IOCP_PROXY_ERRORS'),
  offence: list(access, 'IOCP_OFFENCES'),
  transferKind: list(native('core/transfer_protocol.h'), 'IOCP_TRANSFER_KINDS'),
  frameError: Object.fromEntries(
    [...frameError.matchAll(/(\w+) = (\d+)/g)].map(([, name = '', number]) => [camel(name), Number(number)])
  )
}

test('every list that both sides have is compared', () => {
  expect(Object.keys(protocol.sharedNumbers).toSorted()).toEqual(Object.keys(lists).toSorted())
  expect(records.match(/#define IOCP_\w+\(X\)/g)).toHaveLength(7)
  // What is exported besides them is no list of numbers.
  const numbers = Object.entries(protocol).filter(
    ([, value]) => typeof value === 'object' && Object.values(value).every((one) => typeof one === 'number')
  )
  for (const [name, value] of numbers) {
    if (!(value instanceof Set)) expect(protocol.sharedNumbers).toHaveProperty(name, value)
  }
})

test.each(Object.entries(lists))('%s has the numbers of native code', (name, numbers) => {
  expect(Object.keys(numbers).length).toBeGreaterThan(0)
  expect(protocol.sharedNumbers).toHaveProperty(name, numbers)
})

test('two sides with the same numbers do not differ', () => {
  expect(protocol.mismatch(lists)).toBeUndefined()
})

test('a number, a name or a list that differs is found, whichever side lacks it', () => {
  for (const [name, numbers] of Object.entries(lists)) {
    const [first = ''] = Object.keys(numbers)
    const { [first]: _, ...rest } = numbers
    const { [name]: __, ...others } = lists
    expect(protocol.mismatch({ ...lists, [name]: { ...numbers, [first]: 999 } })).toContain(`${name} '${first}' is 999`)
    expect(protocol.mismatch({ ...lists, [name]: rest })).toContain(`${name} '${first}' is not there in native code`)
    expect(protocol.mismatch({ ...lists, [name]: { ...numbers, more: 5 } })).toBe(
      `${name} 'more' is 5 in native code and not there in JavaScript`
    )
    expect(protocol.mismatch(others)).toContain(name)
  }
  expect(protocol.mismatch({ ...lists, another: { one: 1 } })).toContain('another')
})

test('an addon with other numbers is not used', async () => {
  const { constants } = binding()
  expect(protocol.mismatch(constants)).toBeUndefined()
  vi.resetModules()
  vi.doMock('../../lib/native/addon.js', () => ({
    addonPath: () => 'other.node',
    loadAddon: () => ({ constants: { ...constants, fileOutcome: { ...constants.fileOutcome, excess: 4 } } })
  }))
  try {
    const other = await import('../../lib/native/binding.js')
    expect(() => other.binding()).toThrow(/other\.node is of another version: fileOutcome 'excess' is 4 in native code/)
  } finally {
    vi.doUnmock('../../lib/native/addon.js')
    vi.resetModules()
  }
})

test.each([
  ['RECORD_WORDS', 'kRecordWords'],
  ['OPERATION_WORDS', 'kOperationWords']
] as const)('%s is the size of native code', (name, constant) => {
  expect(records).toContain(`${constant} = ${protocol[name]};`)
})

test('the counters are those of native code, in their order', () => {
  const names = [...native('core/counters.h').matchAll(/X\(\w+, "(\w+)"\)/g)].map(([, name]) => name)
  expect(counterNames).toEqual(names)
})
