import { describe, expect, test } from 'vitest'
import { op, outcome } from '../../lib/native/protocol.js'
import { Submission } from '../../lib/native/submission.js'
import { FakeNativeEngine, nextTick } from '../helpers/fake_engine.js'

const THRESHOLD = 1024

function setUp(operations?: number, payloadBytes?: number) {
  const engine = new FakeNativeEngine(operations, payloadBytes)
  const submission = new Submission(engine)
  const send = (slot: number, data: string | Uint8Array, token = 0): void => {
    const size = Buffer.byteLength(data)
    submission.reserve(size, THRESHOLD)
    submission.send(slot, 1, data, size, THRESHOLD, token)
  }
  return { engine, submission, send }
}

const payloads = (engine: FakeNativeEngine): string[] => engine.operations.map(({ payload }) => String(payload))

test('everything of a tick crosses in one call, in order', async () => {
  const { engine, submission, send } = setUp()
  send(1, 'one')
  submission.operation(op.pause, 2, 9)
  send(3, Buffer.from('zwei'))
  submission.operation(op.end, 4, 5, 1000)
  expect(engine.calls).toEqual([])
  await nextTick()
  expect(engine.calls).toHaveLength(1)
  expect(engine.operations).toMatchObject([
    { op: 'send', slot: 1, generation: 1, b: 3, payload: Buffer.from('one') },
    { op: 'pause', slot: 2, generation: 9 },
    { op: 'send', slot: 3, payload: Buffer.from('zwei') },
    { op: 'end', slot: 4, generation: 5, a: 1000 }
  ])
})

test('what microtasks send still goes in the same call', async () => {
  const { engine, send } = setUp()
  send(1, 'a')
  void Promise.resolve().then(() => {
    send(1, 'b')
  })
  await nextTick()
  expect(engine.calls.map((call) => call.length)).toEqual([2])
})

test('a batch submits when it ends, and no tick has to', async () => {
  const { engine, submission, send } = setUp()
  submission.beginBatch()
  send(1, 'a')
  await nextTick()
  expect(engine.calls).toEqual([])
  submission.endBatch()
  expect(engine.calls).toHaveLength(1)
  await nextTick()
  expect(engine.calls).toHaveLength(1)
})

test('flush hands over at once and gives a new epoch; without anything it does nothing', () => {
  const { engine, submission, send } = setUp()
  const before = submission.epoch
  submission.flush()
  expect(submission.epoch).toBe(before)
  send(1, 'a')
  submission.flush()
  expect(engine.calls).toHaveLength(1)
  expect(submission.epoch).not.toBe(before)
})

test('a full list of operations is handed over at once', () => {
  const { engine, submission, send } = setUp(3)
  for (const text of ['1', '2', '3', '4']) send(0, text)
  expect(engine.calls.map((call) => call.length)).toEqual([3])
  for (let i = 0; i < 3; i++) submission.operation(op.resume, 0, 1)
  expect(engine.calls.map((call) => call.length)).toEqual([3, 3])
  submission.flush()
  expect(engine.names).toEqual(['send', 'send', 'send', 'send', 'resume', 'resume', 'resume'])
})

test('a full block of payload is handed over at once, and nothing in it is overwritten before', () => {
  const { engine, submission, send } = setUp(100, 10)
  for (const text of ['aaaa', 'bbbb', 'cccc', 'dddddddddd', '']) send(0, text)
  submission.flush()
  expect(payloads(engine)).toEqual(['aaaa', 'bbbb', 'cccc', 'dddddddddd', ''])
  expect(engine.calls.map((call) => call.length)).toEqual([2, 1, 2])
})

test('large payloads are not copied', () => {
  const { engine, submission, send } = setUp()
  const large = Buffer.alloc(THRESHOLD + 1, 1)
  const small = Buffer.alloc(THRESHOLD, 1)
  send(0, large)
  send(0, small)
  send(0, 'x'.repeat(THRESHOLD + 1))
  large.fill(2)
  small.fill(2)
  submission.flush()
  expect(engine.names).toEqual(['sendPinned', 'send', 'sendPinned'])
  expect(engine.operations.map(({ payload }) => payload?.[0])).toEqual([2, 1, 120])
})

test('text is UTF-8', () => {
  const { engine, submission, send } = setUp()
  for (const text of ['äöü', '€', '😀', '', 'plain']) send(0, text)
  submission.flush()
  expect(payloads(engine)).toEqual(['äöü', '€', '😀', '', 'plain'])
})

test('a shared payload crosses once', () => {
  const { engine, submission } = setUp(4)
  const data = Buffer.from('to all')
  let shared = submission.share(data, data.length, THRESHOLD)
  for (let slot = 0; slot < 4; slot++) submission.sendShared(shared.kind, slot, 1, shared.at, data.length)
  expect(submission.hasRoom).toBe(false)
  submission.flush()
  shared = submission.share(Buffer.alloc(THRESHOLD + 1, 7), THRESHOLD + 1, THRESHOLD)
  submission.sendShared(shared.kind, 9, 1, shared.at, THRESHOLD + 1)
  submission.flush()
  expect(payloads(engine).slice(0, 4)).toEqual(['to all', 'to all', 'to all', 'to all'])
  expect(engine.operations.at(-1)).toMatchObject({ op: 'sendPinned', slot: 9, b: THRESHOLD + 1 })
})

describe('tokens', () => {
  test('each is answered once, and its number is used again', () => {
    const { submission } = setUp()
    const answers: string[] = []
    let told = 0
    const teller = { _sendReported: () => told++ }
    const first = submission.token((answer) => answers.push(`first ${answer}`), teller)
    const second = submission.token((answer) => answers.push(`second ${answer}`), teller)
    expect(first).not.toBe(0)
    expect(second).not.toBe(first)
    submission.complete(second, outcome.dropped)
    submission.complete(second, outcome.sent)
    expect(answers).toEqual(['second dropped'])
    expect(submission.token((answer) => answers.push(`third ${answer}`), teller)).toBe(second)
    submission.complete(first, outcome.sent)
    submission.end()
    expect(answers).toEqual(['second dropped', 'first sent', 'third closed'])
    expect(told).toBe(3)
  })

  test('nothing is handed over to an engine that has ended', () => {
    const { engine, submission, send } = setUp()
    submission.end()
    send(0, 'x')
    send(0, Buffer.alloc(THRESHOLD + 1))
    submission.flush()
    expect(engine.calls).toEqual([])
  })

  test('an unknown one is a clean miss', () => {
    const { submission } = setUp()
    submission.complete(0, outcome.sent)
    submission.complete(99, outcome.sent)
  })
})
