import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { IocpError } from '../../lib/common/errors.js'
import type { Connection } from '../../lib/connection/connection.js'
import { readProfile, readTarget } from '../../lib/endpoint/read_options.js'
import type { Attempt } from '../../lib/engine/attempts.js'
import { type Connector, race } from '../../lib/engine/happy_eyeballs.js'
import { type HostTarget, interleave, resolveHost } from '../../lib/engine/resolve.js'
import { FakeEngine } from '../helpers/fake_engine.js'
import { never } from '../helpers/time.js'

class FakeConnector implements Connector {
  isStopping = false
  readonly attempts: { address: string; attempt: Attempt; cancelled: boolean }[] = []

  connect({ address }: { address: string }, attempt: Attempt): () => void {
    if (address === '9.9.9.9') throw new IocpError('EINVAL', 'bad address')
    const entry = { address, attempt, cancelled: false }
    this.attempts.push(entry)
    return () => {
      entry.cancelled = true
    }
  }

  error(winCode: number, syscall: string, address?: string, port?: number): IocpError {
    const code = { 10_061: 'ECONNREFUSED', 10_060: 'ETIMEDOUT', 10_048: 'EADDRINUSE' }[winCode] ?? 'UNKNOWN'
    return new IocpError(code, `${syscall} ${code}`, { winCode, syscall, address, port })
  }

  get addresses(): string[] {
    return this.attempts.map(({ address }) => address)
  }
}

const six = (address: string): HostTarget => ({ address, family: 6 })
const four = (address: string): HostTarget => ({ address, family: 4 })
const connection: Connection = new FakeEngine().connection()

function begin(addresses: HostTarget[], options: object = {}) {
  const connector = new FakeConnector()
  const target = readTarget({ port: 80, host: 'example', lookup: () => Promise.resolve(addresses), ...options })
  const result = race(connector, target, readProfile({}))
  // A rejection that a test looks at later is not an unhandled one.
  result.catch(() => undefined)
  return { connector, result }
}

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

const turn = (milliseconds = 0) => vi.advanceTimersByTimeAsync(milliseconds)

test('the first address is tried at once, the next after the delay, and the first answer wins', async () => {
  const { connector, result } = begin([six('::1'), four('1.1.1.1')])
  await turn()
  expect(connector.addresses).toEqual(['::1'])
  await turn(249)
  expect(connector.addresses).toEqual(['::1'])
  await turn(1)
  expect(connector.addresses).toEqual(['::1', '1.1.1.1'])
  connector.attempts[1]?.attempt.connected(connection)
  expect(await result).toBe(connection)
  expect(connector.attempts.map(({ cancelled }) => cancelled)).toEqual([true, false])
})

test('a failure does not wait for the delay', async () => {
  const { connector, result } = begin([six('::1'), four('1.1.1.1'), six('::2')])
  await turn()
  connector.attempts[0]?.attempt.failed(10_061)
  expect(connector.addresses).toEqual(['::1', '1.1.1.1'])
  await turn(250)
  expect(connector.addresses).toEqual(['::1', '1.1.1.1', '::2'])
  connector.attempts[2]?.attempt.connected(connection)
  expect(await result).toBe(connection)
})

test('an answer that comes when it is over changes nothing', async () => {
  const { connector, result } = begin([six('::1'), four('1.1.1.1')])
  await turn(250)
  connector.attempts[0]?.attempt.connected(connection)
  connector.attempts[1]?.attempt.failed(10_061)
  expect(await result).toBe(connection)
  await turn(100_000)
  expect(connector.attempts).toHaveLength(2)
})

describe('failures', () => {
  test('of one address are that error', async () => {
    const { connector, result } = begin([four('1.1.1.1')])
    await turn()
    connector.attempts[0]?.attempt.failed(10_061)
    await expect(result).rejects.toMatchObject({ code: 'ECONNREFUSED', address: '1.1.1.1', port: 80, winCode: 10_061 })
  })

  test('of several addresses are one error with all of them', async () => {
    const { connector, result } = begin([six('::1'), four('1.1.1.1')])
    await turn()
    connector.attempts[0]?.attempt.failed(10_060)
    connector.attempts[1]?.attempt.failed(10_061)
    await expect(result).rejects.toMatchObject({
      name: 'IocpAttemptsError',
      code: 'ERR_IOCP_ATTEMPTS',
      errors: [{ code: 'ETIMEDOUT' }, { code: 'ECONNREFUSED' }]
    })
  })

  test('that come at once count too', async () => {
    const { connector, result } = begin([four('9.9.9.9'), four('1.1.1.1')])
    await turn()
    expect(connector.addresses).toEqual(['1.1.1.1'])
    connector.attempts[0]?.attempt.connected(connection)
    expect(await result).toBe(connection)
    await expect(begin([four('9.9.9.9')]).result).rejects.toMatchObject({ code: 'EINVAL' })
  })

  test('for want of a local port say so', async () => {
    const { connector, result } = begin([four('1.1.1.1')])
    await turn()
    connector.attempts[0]?.attempt.failed(10_048)
    await expect(result).rejects.toThrow(/all local ports.*localAddress/)
  })

  test('of the name lookup', async () => {
    const lookup = () => Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }))
    await expect(begin([], { lookup }).result).rejects.toMatchObject({ code: 'ENOTFOUND' })
  })

  test('a name without usable addresses', async () => {
    await expect(begin([]).result).rejects.toMatchObject({ code: 'ERR_IOCP_NO_ADDRESS' })
    await expect(begin([six('::1')], { family: 4 }).result).rejects.toMatchObject({ code: 'ERR_IOCP_NO_ADDRESS' })
  })
})

describe('giving up', () => {
  test('after the timeout, which includes the name', async () => {
    const { connector, result } = begin([], { lookup: never, timeout: 1000 })
    await turn(1000)
    await expect(result).rejects.toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect', port: 80 })
    expect(connector.attempts).toEqual([])
  })

  test('after the timeout cancels what is under way', async () => {
    const { connector, result } = begin([four('1.1.1.1')], { timeout: 1000 })
    await turn(1000)
    await expect(result).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    expect(connector.attempts[0]?.cancelled).toBe(true)
  })

  test('when the client closes', async () => {
    const { connector, result } = begin([four('1.1.1.1'), six('::1')])
    await turn()
    connector.isStopping = true
    connector.attempts[0]?.attempt.failed(10_061)
    await expect(result).rejects.toMatchObject({ code: 'ERR_IOCP_CLOSING' })
    expect(connector.attempts).toHaveLength(1)
  })

  test('by a signal, with its reason', async () => {
    const abort = new AbortController()
    const { connector, result } = begin([four('1.1.1.1')], { signal: abort.signal })
    await turn()
    const reason = new Error('enough')
    abort.abort(reason)
    await expect(result).rejects.toBe(reason)
    expect(connector.attempts[0]?.cancelled).toBe(true)
  })

  test('by a signal that was aborted before', async () => {
    const { connector, result } = begin([four('1.1.1.1')], { signal: AbortSignal.abort() })
    await expect(result).rejects.toMatchObject({ name: 'AbortError' })
    expect(connector.attempts).toEqual([])
  })

  test('a signal has no effect on the connection', async () => {
    const abort = new AbortController()
    const { connector, result } = begin([four('1.1.1.1')], { signal: abort.signal })
    await turn()
    connector.attempts[0]?.attempt.connected(connection)
    abort.abort()
    expect(await result).toBe(connection)
    expect(connector.attempts[0]?.cancelled).toBe(false)
  })
})

describe('order of addresses', () => {
  test.each([
    [[], []],
    [[six('a')], ['a']],
    [
      [six('a'), six('b'), four('1'), four('2'), four('3')],
      ['a', '1', 'b', '2', '3']
    ],
    [
      [four('1'), six('a'), six('b'), six('c')],
      ['1', 'a', 'b', 'c']
    ],
    [
      [four('1'), four('2'), six('a')],
      ['1', 'a', '2']
    ]
  ])('the families take turns (%#)', (given, expected) => {
    expect(interleave(given).map(({ address }) => address)).toEqual(expected)
  })

  test('an address is its own', async () => {
    expect(await resolveHost('::1')).toEqual([six('::1')])
    expect(await resolveHost('127.0.0.1')).toEqual([four('127.0.0.1')])
    await expect(resolveHost('::1', 4)).rejects.toMatchObject({ code: 'ERR_IOCP_NO_ADDRESS' })
  })
})
