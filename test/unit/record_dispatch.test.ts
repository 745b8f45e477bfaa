import { expect, test, vi } from 'vitest'
import type { Connection } from '../../lib/connection/connection.js'
import { RecordView } from '../../lib/engine/batch_reader.js'
import { type EngineSink, RecordDispatch } from '../../lib/engine/record_dispatch.js'
import { cause, jobOutcome, record, SLOTS } from '../../lib/native/protocol.js'
import { FakeEngine } from '../helpers/fake_engine.js'

function setUp() {
  const seen: unknown[][] = []
  const note =
    (name: string) =>
    (...args: unknown[]): void => {
      seen.push([name, ...args])
    }
  const connection = new FakeEngine().connection()
  const jobs = ['jobDone', 'jobFailed', 'jobTaken', 'jobsDrained'].map((name) => [name, note(name)])
  const engine = {
    connections: [] as (Connection | undefined)[],
    find: (id: number) => (id === connection.id ? connection : undefined),
    jobSink: Object.fromEntries(jobs) as unknown,
    ...Object.fromEntries(
      ['accepted', 'connected', 'connectFailed', 'acceptFailed', 'sent', 'vacated', 'stopped'].map((name) => [
        name,
        note(name)
      ])
    )
  } as unknown as EngineSink
  const dispatch = new RecordDispatch(engine)
  const view = (kind: keyof typeof record, a = 0, b = 0, c = 0, payload?: Buffer): RecordView => {
    const { _slot: slot, _generation: generation } = connection
    const memory = payload && new Uint8Array(payload).buffer
    return Object.assign(new RecordView(), { kind: record[kind], slot, generation, a, b, c, payload: memory })
  }
  return { connection, dispatch, seen, view }
}

const bytes = Buffer.from('..abc')
const place = [1, 1] as const

test.each([
  ['connection', [2, 3, 7, bytes], ['accepted', ...place, 7, Buffer.from('abc')]],
  ['connected', [2, 3, 7, bytes], ['connected', ...place, 7, Buffer.from('abc')]],
  ['connectFailed', [5, 6, 7], ['connectFailed', 7, 5]],
  ['listenerError', [5, 6, 7], ['acceptFailed', 5]],
  ['sent', [5, 6, 7], ['sent', 5, 6]],
  ['stopped', [5, 6, 7], ['stopped', 5, 6]],
  ['jobDone', [2, 3, 7, bytes], ['jobDone', 'id', 7, Buffer.from('abc')]],
  ['jobDone', [0, 0, 7, bytes], ['jobDone', 'id', 7, undefined]],
  ['jobFailed', [2, 3, 7, bytes], ['jobFailed', 'connection', 7, Buffer.from('abc')]],
  ['jobTaken', [5, 6, 7], ['jobTaken', 'id', 5]],
  ['jobsDrained', [5, 6, 7], ['jobsDrained']]
] as const)('%s goes where it belongs, once', (kind, words, expected) => {
  const { connection, dispatch, seen, view } = setUp()
  const [a, b, c, payload] = words
  dispatch.record(view(kind, a, b, c, payload))
  const [name, ...args] = expected
  const given = args.map((one, index) => {
    if (one === 'id') return connection.id
    if (one === 'connection') return connection
    return args.length > 3 && index < 2 ? [connection._slot, connection._generation][index] : one
  })
  expect(seen).toEqual([[name, ...given]])
})

test('the end of a connection gives its slot back before anybody hears of it', () => {
  const { connection, dispatch, seen, view } = setUp()
  const told = vi.fn(() => {
    expect(seen).toEqual([['vacated', connection._slot]])
  })
  connection.on('close', told)
  dispatch.record(view('close', cause.peerEnd))
  expect(told).toHaveBeenCalledOnce()
})

test('a connection that is gone hears of nothing', () => {
  const { dispatch, seen, view } = setUp()
  for (const kind of ['close', 'peerEnd', 'drain', 'dropped', 'streamData', 'transfer', 'sendFileEnd'] as const) {
    const other = view(kind, 0, 5, 0, bytes)
    other.generation++
    dispatch.record(other)
  }
  expect(seen).toEqual([])
})

test('a packet that native code has skipped is told with its size', () => {
  const { connection, dispatch, view } = setUp()
  const told = vi.fn()
  connection.on('frameError', told)
  dispatch.record(view('discarded', 0, 10, 0, Buffer.from('0900000000000000aabb', 'hex')))
  expect(told).toHaveBeenCalledWith(
    expect.objectContaining({ code: 'ERR_IOCP_FRAME_TOO_LARGE', discarded: true, frameSize: 9 })
  )
})

test('without its bytes a job has failed, a connection has no addresses, and any other record ends its connection', () => {
  const { connection, dispatch, seen, view } = setUp()
  dispatch.lost(view('jobDone', 0, 0, jobOutcome.done))
  dispatch.lost(view('connection', 0, 0, 7))
  expect(seen).toEqual([
    ['jobDone', connection.id, jobOutcome.failed, undefined],
    ['accepted', connection._slot, connection._generation, 7, undefined]
  ])
  dispatch.lost(view('packet'))
  expect(connection.state).toBe('closing')
  expect(connection.id % SLOTS).toBe(connection._slot)
})
