import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { closed } from '../../lib/connection/close.js'
import type { Connection } from '../../lib/connection/connection.js'
import { deliver } from '../../lib/connection/receive.js'
import { readReconnect, type ReconnectPlan } from '../../lib/endpoint/read_options.js'
import { ReconnectingConnection, retryDelay } from '../../lib/endpoint/reconnecting.js'
import { cause } from '../../lib/native/protocol.js'
import { FakeEngine } from '../helpers/fake_engine.js'

const plan = (options: object = {}): ReconnectPlan => {
  const made = readReconnect({ jitter: 0, minDelay: 100, ...options })
  if (made === undefined) throw new Error('no plan')
  return made
}

/** Connects as the script says: true is a connection, an error a failure. The last word is repeated. */
function begin(script: (true | Error)[], options: object = {}, signal?: AbortSignal) {
  const engine = new FakeEngine()
  const made: Connection[] = []
  let turn = 0
  const link = new ReconnectingConnection(
    () => {
      const word = script[Math.min(turn++, script.length - 1)]
      if (word !== true) return Promise.reject(word ?? new Error('no script'))
      const connection = engine.connection({}, false)
      made.push(connection)
      return Promise.resolve(connection)
    },
    plan(options),
    signal
  )
  const seen: string[] = []
  link.on('connect', () => seen.push('connect'))
  link.on('disconnect', (info) => seen.push(`disconnect ${info.cause}`))
  link.on('retry', ({ failures, delay, error }) => seen.push(`retry ${failures} ${delay} ${error?.message ?? '-'}`))
  link.on('close', (error) => seen.push(`close ${error?.message ?? '-'}`))
  const started = link._start()
  started.catch(() => undefined)
  return { link, seen, made, started, attempts: () => turn }
}

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

const wait = (milliseconds = 0) => vi.advanceTimersByTimeAsync(milliseconds)

test('connects, and again when the connection is lost', async () => {
  const { link, seen, made, started } = begin([true])
  expect(await started).toBe(link)
  expect(link.connection).toBe(made[0])
  await wait(1000)
  if (made[0]) closed(made[0], cause.peerReset, 0, 0)
  expect(link.connected).toBe(false)
  expect(link.send('x')).toBe('closed')
  await wait(100)
  expect(link.connection).toBe(made[1])
  expect(link.send('x')).toBe('sent')
  expect(seen).toEqual(['connect', 'disconnect peer-reset', 'retry 1 100 The peer reset the connection', 'connect'])
})

test('waits longer from failure to failure, and gives up after so many', async () => {
  const { seen, started } = begin([new Error('refused')], { maxAttempts: 4, maxDelay: 250 })
  await wait(10_000)
  await expect(started).rejects.toThrow('refused')
  expect(seen).toEqual(['retry 1 100 refused', 'retry 2 200 refused', 'retry 3 250 refused', 'close refused'])
})

test('a connection that breaks at once does not start the count anew, one that lasts does', async () => {
  const { seen, made } = begin([new Error('x'), new Error('x'), true])
  await wait(300)
  if (made[0]) closed(made[0], cause.peerEnd, 0, 0)
  await wait(1000)
  if (made[1]) closed(made[1], cause.peerEnd, 0, 0)
  expect(seen).toEqual([
    'retry 1 100 x',
    'retry 2 200 x',
    'connect',
    'disconnect peer-end',
    'retry 3 400 -',
    'connect',
    'disconnect peer-end',
    'retry 1 100 -'
  ])
})

test('a short delay by chance makes a connection that breaks at once no success', async () => {
  const random = vi.spyOn(Math, 'random').mockReturnValue(1)
  try {
    const { seen, made } = begin([true], { jitter: 1, maxAttempts: 3 })
    for (let i = 0; i < 3; i++) {
      await wait(5)
      const connection = made[i]
      if (connection !== undefined) closed(connection, cause.peerEnd, 0, 0)
    }
    await wait()
    expect(seen.filter((one) => one.startsWith('retry'))).toEqual(['retry 1 0 -', 'retry 2 0 -'])
    expect(seen.at(-1)).toMatch(/^close Gave up after 3 failures in a row; the peer ended the last connection$/)
  } finally {
    random.mockRestore()
  }
})

test('giving up is an error also when the last connection ended without one', async () => {
  const { link, made } = begin([true], { maxAttempts: 1 })
  await wait()
  if (made[0]) closed(made[0], cause.peerEnd, 0, 0)
  await wait()
  expect(await link.closed).toMatchObject({ code: 'ERR_IOCP_GAVE_UP' })
})

test('is not connected once its connection is being closed', async () => {
  const { link } = begin([true])
  await wait()
  expect(link.connected).toBe(true)
  link.destroy()
  expect(link.connected).toBe(false)
})

test.each([cause.local, cause.serverClosing])('is over when this side closed it (%d)', async (number) => {
  const { link, seen, made } = begin([true])
  await wait()
  if (made[0]) closed(made[0], number, 0, 0)
  await wait(10_000)
  expect(seen.at(-1)).toBe('close -')
  expect(made).toHaveLength(1)
  expect(await link.closed).toBeUndefined()
})

test('end ends it for good', async () => {
  const { link, seen, made } = begin([true])
  await wait()
  link.end()
  expect(made[0]?.state).toBe('ending')
  if (made[0]) closed(made[0], cause.peerEnd, 0, 0)
  await wait(10_000)
  expect(seen).toEqual(['connect', 'disconnect peer-end', 'close -'])
})

test('end while it waits for the next attempt', async () => {
  const { link, seen, attempts } = begin([true, new Error('x')])
  await wait()
  link.connection?.destroy()
  const { made } = { made: link.connection }
  if (made) closed(made, cause.timeout, 0, 0)
  await wait(100)
  link.end()
  await wait(10_000)
  expect(seen.at(-1)).toMatch(/^close/)
  expect(attempts()).toBe(2)
})

describe('a signal', () => {
  test('gives up the first connection, with its reason', async () => {
    const abort = new AbortController()
    const { started, attempts } = begin([new Error('x')], {}, abort.signal)
    await wait()
    const reason = new Error('enough')
    abort.abort(reason)
    await wait(10_000)
    await expect(started).rejects.toBe(reason)
    expect(attempts()).toBe(1)
  })

  test('later ends it', async () => {
    const abort = new AbortController()
    const { link, made, seen } = begin([true], {}, abort.signal)
    await wait()
    abort.abort()
    expect(made[0]?.state).toBe('closing')
    if (made[0]) closed(made[0], cause.local, 0, 0)
    expect(seen.at(-1)).toBe('close -')
    expect(await link.closed).toBeUndefined()
  })
})

test('packets are passed on from each connection, to listeners that come early or late', async () => {
  const { link, made } = begin([true])
  const seen: string[] = []
  link.on('packet', (packet) => seen.push(`early ${String(packet)}`))
  await wait()
  link.on('packet', (packet) => seen.push(`late ${String(packet)}`))
  if (made[0]) deliver(made[0], Buffer.from('1'))
  if (made[0]) closed(made[0], cause.peerReset, 0, 0)
  await wait(1000)
  if (made[1]) deliver(made[1], Buffer.from('2'))
  expect(seen).toEqual(['early 1', 'late 1', 'early 2', 'late 2'])
})

describe('retryDelay', () => {
  test('grows by the factor up to the longest', () => {
    const delays = [1, 2, 3, 4, 5].map((failures) => retryDelay(plan({ factor: 3, maxDelay: 5000 }), failures, 0.5))
    expect(delays).toEqual([100, 300, 900, 2700, 5000])
  })

  test('leaves the part that is wanted to chance', () => {
    const half = plan({ jitter: 0.5 })
    expect([0, 0.5, 1].map((random) => retryDelay(half, 1, random))).toEqual([100, 75, 50])
    expect(retryDelay(plan({ jitter: 1 }), 1, 1)).toBe(0)
  })

  test('stays finite after very many failures', () => {
    expect(retryDelay(plan({ factor: 100 }), 1_000_000, 0)).toBe(30_000)
  })
})
