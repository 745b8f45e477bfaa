/** What a connection sends: what is taken, queued and dropped. */

import { describe, expect, test } from 'vitest'
import { closed } from '../../lib/connection/close.js'
import type { Connection } from '../../lib/connection/connection.js'
import { drained } from '../../lib/connection/send.js'
import { cause } from '../../lib/native/protocol.js'
import { framing } from '../../lib/packets/framing.js'
import { FakeEngine, nextTick, recordEvents } from '../helpers/fake_engine.js'

describe('send', () => {
  test('says sent while little waits, and does not ask native code', () => {
    const engine = new FakeEngine()
    const connection = engine.connection({ backpressure: { highWater: 100 } })
    for (let i = 0; i < 5; i++) expect(connection.send('x'.repeat(16))).toBe('sent')
    expect(engine.questions).toBe(0)
  })

  test('at the mark it asks how much waits really, and goes on when that is little', () => {
    const engine = new FakeEngine()
    const connection = engine.connection({ backpressure: { highWater: 100 } })
    for (let i = 0; i < 50; i++) expect(connection.send('x'.repeat(16))).toBe('sent')
    expect(engine.questions).toBeGreaterThan(0)
    expect(engine.native.names.every((name) => name === 'send')).toBe(true)
  })

  test('says queued above the mark and asks once for drain', () => {
    const engine = new FakeEngine()
    const connection = engine.connection({ backpressure: { highWater: 100, hardCap: 10_000 } })
    const seen = recordEvents(connection)
    engine.queuedBytes = 90
    expect(connection.send('x'.repeat(96))).toBe('sent')
    expect(connection.send('y')).toBe('sent')
    engine.queuedBytes = 200
    expect(connection.send('z')).toBe('sent')
    expect(connection.send('z')).toBe('queued')
    expect(connection.send('z')).toBe('queued')
    engine.submission.flush()
    expect(engine.native.names).toEqual(['send', 'send', 'send', 'send', 'wantDrain', 'send'])
    drained(connection)
    drained(connection)
    expect(seen).toEqual(['drain'])
    engine.queuedBytes = 0
    expect(connection.send('z')).toBe('sent')
  })

  test('counts what was sent in this tick', () => {
    const engine = new FakeEngine()
    const connection = engine.connection({ backpressure: { highWater: 100, onOverflow: 'drop-newest' } })
    engine.queued = () => {
      engine.questions++
      return engine.native.operations.reduce(
        (sum, { payload }) => sum + (payload === undefined ? 0 : payload.length + 4),
        0
      )
    }
    const states = Array.from({ length: 8 }, () => connection.send('x'.repeat(16)))
    expect(states).toEqual(['sent', 'sent', 'sent', 'sent', 'sent', 'dropped', 'dropped', 'dropped'])
  })

  test.each([
    ['a header of 2 bytes', framing.lengthField({ bytes: 2 }), 2],
    ['a delimiter', framing.delimiter({ delimiters: 'abc' }), 3],
    ['nothing', framing.raw(), 0]
  ])('counts %s', (_, made, overhead) => {
    const connection = new FakeEngine().connection({ framing: made })
    connection.send('12345')
    expect(connection._waitingBytes).toBe(5 + overhead)
  })

  test('refuses what is no payload, before anything is queued', () => {
    const engine = new FakeEngine()
    const connection = engine.connection({ framing: framing.lengthField({ bytes: 1 }) })
    for (const bad of [5, null, undefined, {}, [1, 2], new ArrayBuffer(1)]) {
      expect(() => connection.send(bad as string)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }))
    }
    expect(() => connection.send('x', 5 as never)).toThrow(/'onSent' must be a function/)
    expect(() => connection.send(Buffer.alloc(256))).toThrow(expect.objectContaining({ code: 'ERR_IOCP_PACKET_SIZE' }))
    expect(() => connection.send('ü'.repeat(128))).toThrow(expect.objectContaining({ code: 'ERR_IOCP_PACKET_SIZE' }))
    engine.submission.flush()
    expect(engine.native.operations).toEqual([])
    expect(connection._waitingBytes).toBe(0)
    expect(connection.send(Buffer.alloc(255))).toBe('sent')
  })

  test('refuses text with a delimiter in it', () => {
    const connection = new FakeEngine().connection({ framing: framing.line() })
    expect(() => connection.send('a\nb')).toThrow(expect.objectContaining({ code: 'ERR_IOCP_PACKET_CONTENT' }))
    expect(connection.send('ab')).toBe('sent')
  })

  test('says closed after end, destroy and close, and when native code does not know it any more', async () => {
    const outcomes: string[] = []
    const engine = new FakeEngine()
    for (const over of [
      (one: Connection) => one.end(),
      (one: Connection) => one.destroy(),
      (one: Connection) => one.reset(),
      (one: Connection) => {
        closed(one, cause.peerEnd, 0, 0)
        return one
      }
    ]) {
      const connection = over(engine.connection())
      expect(connection.send('x', (outcome) => outcomes.push(outcome))).toBe('closed')
      expect(connection.writable).toBe(false)
    }
    expect(outcomes).toEqual([])
    await nextTick()
    expect(outcomes).toEqual(['closed', 'closed', 'closed', 'closed'])
    const gone = engine.connection({ backpressure: { highWater: 1 } })
    engine.queuedBytes = -1
    expect(gone.send('x')).toBe('closed')
  })

  test('sendAsync resolves with what native code tells', async () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const sent = connection.sendAsync('x')
    engine.submission.flush()
    engine.submission.complete(engine.native.operations[0]?.c ?? 0, 0)
    expect(await sent).toBe('sent')
    await expect(connection.sendAsync(5 as unknown as string)).rejects.toThrow("'data'")
  })
})

describe('onOverflow', () => {
  const above = (onOverflow: string, more: object = {}) => {
    const engine = new FakeEngine()
    const connection = engine.connection({ backpressure: { highWater: 100, hardCap: 300, onOverflow, ...more } })
    engine.queuedBytes = 90
    // Reaches the mark by its own count, so that it has to ask.
    connection.send('x'.repeat(96))
    engine.submission.flush()
    return { host: engine, connection, seen: recordEvents(connection) }
  }

  test('queue: takes packets up to the hard cap, then drops and tells how many', async () => {
    const { host: engine, connection, seen } = above('queue')
    const states = []
    for (let i = 0; i < 5; i++) {
      states.push(connection.send('x'.repeat(60)))
      engine.submission.flush()
      engine.queuedBytes += 64
    }
    expect(states).toEqual(['queued', 'queued', 'queued', 'dropped', 'dropped'])
    await nextTick()
    expect(seen).toEqual(['drop 2 128'])
  })

  test('drop-newest: drops at the mark, and drain tells when to go on', async () => {
    const { host: engine, connection, seen } = above('drop-newest')
    expect(connection.send('x'.repeat(7))).toBe('dropped')
    engine.submission.flush()
    expect(engine.native.names).toEqual(['send', 'wantDrain'])
    await nextTick()
    expect(seen).toEqual(['drop 1 11'])
    engine.queuedBytes = 0
    drained(connection)
    expect(connection.send('x'.repeat(7))).toBe('sent')
    expect(seen).toEqual(['drop 1 11', 'drain'])
  })

  test('drop-newest: an empty queue takes a packet larger than the mark, but none larger than the cap', () => {
    const { host: engine, connection } = above('drop-newest')
    engine.queuedBytes = 0
    expect(connection.send('x'.repeat(200))).toBe('queued')
    expect(connection.send('x'.repeat(297))).toBe('dropped')
  })

  test('drop-oldest: takes it and leaves the dropping to native code', () => {
    const { host: engine, connection } = above('drop-oldest')
    expect(connection.send('x'.repeat(90))).toBe('queued')
    expect(connection.send('x'.repeat(90))).toBe('queued')
    expect(connection.send('x'.repeat(297))).toBe('dropped')
    engine.submission.flush()
    expect(engine.native.names.filter((name) => name === 'send')).toHaveLength(3)
  })

  test('close: closes, with the cause', () => {
    const { host: engine, connection, seen } = above('close')
    expect(connection.send('x'.repeat(7))).toBe('closed')
    engine.submission.flush()
    expect(engine.native.names).toEqual(['send', 'destroy'])
    closed(connection, cause.local, 0, 0)
    expect(seen).toEqual(['close overflow 0'])
    expect(connection.closeInfo?.error?.code).toBe('ERR_IOCP_OVERFLOW')
  })

  test('the cap of packets holds too', () => {
    const { host: engine, connection } = above('queue', { hardCapPackets: 3 })
    engine.packetsQueued = 3
    engine.queuedBytes = 10
    connection._waitingPackets = 3
    expect(connection.send('x')).toBe('dropped')
    engine.packetsQueued = 2
    expect(connection.send('x')).toBe('sent')
    expect(connection.send('x')).toBe('sent')
  })
})
