import { describe, expect, test, vi } from 'vitest'
import { abandonPendingData, closed } from '../../lib/connection/close.js'
import type { Connection } from '../../lib/connection/connection.js'
import { deliver, frameProblem, peerEnded, receiveQueueOf } from '../../lib/connection/receive.js'
import { holdReason } from '../../lib/connection/receive_queue.js'
import { drained } from '../../lib/connection/send.js'
import { cause, frameError, outcome } from '../../lib/native/protocol.js'
import { framing } from '../../lib/packets/framing.js'
import { FakeEngine, FakeNativeEngine, nextTick } from '../helpers/fake_engine.js'

const packet = (text: string): Buffer => Buffer.from(text)

function listen(connection: Connection): string[] {
  const seen: string[] = []
  connection.on('packet', (one) => seen.push(one.toString()))
  connection.on('end', () => seen.push('end'))
  connection.on('drain', () => seen.push('drain'))
  connection.on('drop', ({ packets, bytes }) => seen.push(`drop ${packets} ${bytes}`))
  connection.on('close', (info) => seen.push(`close ${info.cause} ${info.discardedBytes}`))
  return seen
}

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
    const seen = listen(connection)
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
    return { host: engine, connection, seen: listen(connection) }
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

describe('packets', () => {
  test('go to the connection first, then to its server', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen: string[] = []
    engine.owner.on('packet', (one, from) => seen.push(`server ${String(one)} ${String(from === connection)}`))
    connection.on('packet', (one) => seen.push(`own ${String(one)}`))
    deliver(connection, packet('x'))
    expect(seen).toEqual(['own x', 'server x true'])
  })

  test('are kept while nobody listens, and the peer is slowed down', async () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    for (const text of ['1', '2', '3']) deliver(connection, packet(text))
    peerEnded(connection)
    engine.submission.flush()
    // As long as it is not much, so that the end of the connection is seen.
    expect(engine.native.names).toEqual([])
    const much = 'x'.repeat(256 * 1024)
    deliver(connection, packet(much))
    engine.submission.flush()
    expect(engine.native.names).toEqual(['pause'])
    const seen = listen(connection)
    expect(seen).toEqual([])
    deliver(connection, packet('4'))
    await nextTick()
    expect(seen).toEqual(['1', '2', '3', 'end', much, '4'])
    expect(engine.native.names).toContain('resume')
    expect(connection._receiveQueue).toBeUndefined()
  })

  test('are not held any more once they go straight through', async () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    deliver(connection, packet('1'))
    const seen = listen(connection)
    await nextTick()
    deliver(connection, packet('2'))
    expect(seen).toEqual(['1', '2'])
  })

  test('pause holds them, also those of the same batch; resume lets them go in order', async () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen = listen(connection)
    connection.once('packet', () => connection.pause())
    for (const text of ['1', '2', '3']) deliver(connection, packet(text))
    expect(seen).toEqual(['1'])
    expect(connection.isPaused()).toBe(true)
    connection.resume()
    expect(connection.isPaused()).toBe(false)
    deliver(connection, packet('4'))
    await nextTick()
    expect(seen).toEqual(['1', '2', '3', '4'])
    expect(engine.native.names).toEqual(['pause', 'resume'])
  })

  test('pausing while the held ones go out stops them again', async () => {
    const connection = new FakeEngine().connection()
    const seen = listen(connection)
    connection.pause()
    for (const text of ['1', '2', '3']) deliver(connection, packet(text))
    connection.on('packet', () => connection.pause())
    for (const expected of [['1'], ['1', '2'], ['1', '2', '3']]) {
      connection.resume()
      await nextTick()
      expect(seen).toEqual(expected)
    }
  })

  test('resume without listeners throws them away', async () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    deliver(connection, packet('1'))
    connection.resume()
    await nextTick()
    deliver(connection, packet('2'))
    const seen = listen(connection)
    deliver(connection, packet('3'))
    await nextTick()
    expect(seen).toEqual(['3'])
  })

  test('a handler that throws loses none of the held ones', async () => {
    const connection = new FakeEngine().connection()
    connection.pause()
    for (const text of ['1', '2', '3']) deliver(connection, packet(text))
    const seen: string[] = []
    connection.on('packet', (one) => {
      seen.push(one.toString())
      if (seen.length === 2) throw new Error('from a handler')
    })
    const caught = vi.fn()
    const before = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.once('uncaughtException', caught)
    connection.resume()
    await nextTick()
    await nextTick()
    for (const listener of before) process.on('uncaughtException', listener)
    expect(caught).toHaveBeenCalledOnce()
    expect(seen).toEqual(['1', '2', '3'])
  })
})

describe('the end of the peer', () => {
  test('is answered with our own, behind what the handlers send', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    connection.on('end', () => connection.send('last'))
    peerEnded(connection)
    engine.submission.flush()
    expect(engine.native.names).toEqual(['send', 'end'])
    expect(connection.state).toBe('ending')
  })

  test('leaves our side open when that is wanted', () => {
    const engine = new FakeEngine()
    const connection = engine.connection({ allowHalfOpen: true })
    const seen = listen(connection)
    peerEnded(connection)
    expect(seen).toEqual(['end'])
    expect(connection.send('still here')).toBe('sent')
    engine.submission.flush()
    expect(engine.native.names).toEqual(['send'])
  })
})

describe('close', () => {
  test('comes once, with everything before it', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen = listen(connection)
    engine.owner.on('disconnect', (info) => seen.push(`disconnect ${info.cause}`))
    deliver(connection, packet('1'))
    closed(connection, cause.peerReset, 10_054, 3)
    closed(connection, cause.peerReset, 10_054, 3)
    deliver(connection, packet('2'))
    peerEnded(connection)
    expect(seen).toEqual(['1', 'close peer-reset 3', 'disconnect peer-reset'])
    expect(connection.state).toBe('closed')
  })

  test('waits for the answers about what was sent before', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen = listen(connection)
    connection.send('one', (answer) => seen.push(`one ${answer}`))
    connection.send('two', (answer) => seen.push(`two ${answer}`))
    closed(connection, cause.peerReset, 10_054, 0)
    expect(connection.send('three')).toBe('closed')
    expect(engine.awaitingReports.has(connection)).toBe(true)
    engine.submission.complete(1, outcome.sent)
    expect(seen).toEqual(['one sent'])
    engine.submission.complete(2, outcome.closed)
    expect(seen).toEqual(['one sent', 'two closed', 'close peer-reset 0'])
    expect(engine.awaitingReports.has(connection)).toBe(false)
  })

  test('waits for them no longer than the engine lives', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen = listen(connection)
    connection.send('one', (answer) => seen.push(`one ${answer}`))
    closed(connection, cause.local, 0, 0)
    connection.destroy()
    expect(seen).toEqual([])
    engine.submission.end()
    expect(seen).toEqual(['one closed', 'close local 0'])
  })

  test('nothing is emitted between destroy and close', async () => {
    const engine = new FakeEngine()
    const connection = engine.connection({ backpressure: { highWater: 1 } })
    const seen = listen(connection)
    engine.queuedBytes = 50
    connection.send('x')
    connection.once('packet', () => connection.destroy())
    deliver(connection, packet('1'))
    deliver(connection, packet('2'))
    peerEnded(connection)
    drained(connection)
    frameProblem(connection, frameError.tooLarge, Buffer.alloc(4))
    await nextTick()
    expect(seen).toEqual(['1'])
    expect(connection.state).toBe('closing')
    closed(connection, cause.local, 0, 0)
    expect(seen).toEqual(['1', 'close local 1'])
  })

  test('destroying in a packet listener keeps the packet from the server', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen: string[] = []
    engine.owner.on('packet', () => seen.push('server'))
    connection.on('packet', () => connection.destroy())
    deliver(connection, packet('1'))
    expect(seen).toEqual([])
  })

  test('an error is emitted only where somebody listens, before close', () => {
    const engine = new FakeEngine()
    const silent = engine.connection()
    expect(() => {
      closed(silent, cause.peerReset, 0, 0)
    }).not.toThrow()
    const connection = engine.connection()
    const seen = listen(connection)
    connection.on('error', (error) => seen.push(`error ${(error as Error & { code: string }).code}`))
    closed(connection, cause.peerReset, 0, 0)
    expect(seen).toEqual(['error ECONNRESET', 'close peer-reset 0'])
  })

  test('a close handler that throws does not keep the server from hearing of it', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen: string[] = []
    connection.on('close', () => {
      throw new Error('from a handler')
    })
    engine.owner.on('disconnect', () => seen.push('disconnect'))
    expect(() => {
      closed(connection, cause.local, 0, 0)
    }).toThrow('from a handler')
    expect(seen).toEqual(['disconnect'])
  })

  test('waits for packets that are paused', async () => {
    const connection = new FakeEngine().connection()
    const seen = listen(connection)
    connection.pause()
    deliver(connection, packet('1'))
    peerEnded(connection)
    closed(connection, cause.peerEnd, 0, 0)
    await nextTick()
    expect(seen).toEqual([])
    expect(connection.closeInfo).toBeUndefined()
    connection.resume()
    await nextTick()
    expect(seen).toEqual(['1', 'end', 'close peer-end 0'])
  })

  test('waits on a connection of ours for the first listener', async () => {
    const connection = new FakeEngine().connection({}, false)
    deliver(connection, packet('greeting'))
    closed(connection, cause.peerEnd, 0, 0)
    const seen = listen(connection)
    await nextTick()
    expect(seen).toEqual(['greeting', 'close peer-end 0'])
  })

  test('does not wait on a connection of ours that nobody listens to and that has broken', () => {
    const connection = new FakeEngine().connection({}, false)
    deliver(connection, packet('12345'))
    closed(connection, cause.peerReset, 0, 0)
    expect(connection.closeInfo).toMatchObject({ cause: 'peer-reset', discardedBytes: 5 })
  })

  test('does not wait on an accepted connection that nobody listens to, and counts what was lost', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    deliver(connection, packet('12345'))
    const seen: string[] = []
    engine.owner.on('disconnect', (info) => seen.push(`${info.cause} ${info.discardedBytes}`))
    closed(connection, cause.peerReset, 0, 2)
    expect(seen).toEqual(['peer-reset 7'])
  })

  test('does not wait for a listener on a connection of ours that we have ended', () => {
    const connection = new FakeEngine().connection({}, false)
    deliver(connection, packet('12345'))
    connection.end()
    closed(connection, cause.timeout, 0, 0)
    expect(connection.closeInfo).toMatchObject({ cause: 'timeout', discardedBytes: 5 })
  })

  test('waits no longer once we end a connection of ours that the peer has closed already', async () => {
    const connection = new FakeEngine().connection({}, false)
    deliver(connection, packet('12345'))
    closed(connection, cause.peerEnd, 0, 0)
    await nextTick()
    expect(connection.closeInfo).toBeUndefined()
    const over = connection.closed
    connection.end().end()
    expect(await over).toMatchObject({ cause: 'peer-end', discardedBytes: 5 })
  })

  test('still waits for paused packets when we end a connection that the peer has closed already', async () => {
    const connection = new FakeEngine().connection({}, false)
    const seen = listen(connection)
    connection.pause()
    deliver(connection, packet('1'))
    closed(connection, cause.peerReset, 0, 0)
    connection.end()
    await nextTick()
    expect(seen).toEqual([])
    connection.resume()
    await nextTick()
    expect(seen).toEqual(['1', 'close peer-reset 0'])
  })

  test('does not wait for paused packets once everything ends', () => {
    const engine = new FakeEngine()
    const [paused, iterated] = [engine.connection(), engine.connection()]
    paused.pause()
    void iterated[Symbol.asyncIterator]()
    for (const connection of [paused, iterated]) {
      deliver(connection, packet('12345'))
      closed(connection, cause.serverClosing, 0, 1)
    }
    expect([...engine.awaitingReports]).toEqual([paused, iterated])
    for (const connection of engine.awaitingReports) abandonPendingData(connection)
    expect(paused.closeInfo).toMatchObject({ cause: 'server-closing', discardedBytes: 6 })
    // The loop that takes them is at work; it gets them.
    expect([...engine.awaitingReports]).toEqual([iterated])
  })

  test('waits for whoever made the connection to learn of it', async () => {
    const connection = new FakeEngine().connection({}, false)
    const receiveQueue = receiveQueueOf(connection)
    receiveQueue.add(holdReason.justConnected)
    peerEnded(connection)
    closed(connection, cause.peerReset, 0, 0)
    const seen = listen(connection)
    expect(seen).toEqual([])
    receiveQueue.remove(holdReason.justConnected)
    await nextTick()
    expect(seen).toEqual(['end', 'close peer-reset 0'])
  })

  test('without anything before it waits too', async () => {
    const connection = new FakeEngine().connection({}, false)
    receiveQueueOf(connection).add(holdReason.justConnected)
    closed(connection, cause.peerReset, 0, 0)
    const seen = listen(connection)
    expect(connection.send('x')).toBe('closed')
    connection._receiveQueue?.remove(holdReason.justConnected)
    await nextTick()
    expect(seen).toEqual(['close peer-reset 0'])
  })

  test('destroy ends the waiting', async () => {
    const connection = new FakeEngine().connection({}, false)
    deliver(connection, packet('12345'))
    closed(connection, cause.peerEnd, 0, 0)
    const seen: string[] = []
    connection.on('close', (info) => seen.push(`${info.cause} ${info.discardedBytes}`))
    connection.destroy()
    expect(seen).toEqual([])
    await nextTick()
    expect(seen).toEqual(['peer-end 5'])
  })

  test('the promise is the same story', async () => {
    const connection = new FakeEngine().connection()
    const promise = connection.closed
    expect(connection.closed).toBe(promise)
    closed(connection, cause.timeout, 0, 0)
    expect((await promise).cause).toBe('timeout')
    expect(await connection.closed).toBe(connection.closeInfo)
  })
})

describe('iteration', () => {
  test('takes packets one by one and ends with the connection', async () => {
    const connection = new FakeEngine().connection()
    const seen: string[] = []
    const done = (async () => {
      for await (const one of connection) seen.push(one.toString())
    })()
    for (const text of ['1', '2', '3']) deliver(connection, packet(text))
    peerEnded(connection)
    closed(connection, cause.peerEnd, 0, 0)
    await done
    expect(seen).toEqual(['1', '2', '3'])
    expect(connection.state).toBe('closed')
  })

  test('ends by the error that the connection ended with, after the packets', async () => {
    const connection = new FakeEngine().connection()
    const iterator = connection[Symbol.asyncIterator]()
    deliver(connection, packet('1'))
    closed(connection, cause.peerReset, 0, 0)
    expect(await iterator.next()).toEqual({ done: false, value: packet('1') })
    await expect(iterator.next()).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
  })

  test('of a closed connection ends at once', async () => {
    const connection = new FakeEngine().connection()
    closed(connection, cause.local, 0, 0)
    expect(await connection[Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined })
  })

  test('left early keeps the rest for whoever comes next', async () => {
    const connection = new FakeEngine().connection()
    for (const text of ['hello', '1', '2']) deliver(connection, packet(text))
    for await (const one of connection) {
      expect(one.toString()).toBe('hello')
      break
    }
    await nextTick()
    const seen = listen(connection)
    await nextTick()
    deliver(connection, packet('3'))
    expect(seen).toEqual(['1', '2', '3'])
  })

  test('that is far behind stops the reading, and goes on when it has caught up', async () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const iterator = connection[Symbol.asyncIterator]()
    for (let i = 0; i < 100; i++) deliver(connection, packet(String(i)))
    engine.submission.flush()
    expect(engine.native.names).toEqual(['pause'])
    for (let i = 0; i < 100; i++) expect((await iterator.next()).value?.toString()).toBe(String(i))
    await nextTick()
    expect(engine.native.names).toEqual(['pause', 'resume'])
  })

  test('on demand asks for a packet whenever it waits for one', async () => {
    const engine = new FakeEngine()
    const connection = engine.connection({ receive: 0 })
    const iterator = connection[Symbol.asyncIterator]()
    const first = iterator.next()
    engine.submission.flush()
    expect(engine.native.operations).toMatchObject([{ op: 'demand', a: 1 }])
    deliver(connection, packet('1'))
    expect((await first).value?.toString()).toBe('1')
  })

  test('waits that are under way end too', async () => {
    const connection = new FakeEngine().connection()
    const iterator = connection[Symbol.asyncIterator]()
    const waits = [iterator.next(), iterator.next()]
    closed(connection, cause.local, 0, 0)
    expect(await Promise.all(waits)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined }
    ])
  })
})

describe('operations', () => {
  test('each is submitted with what it needs', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    connection.demand(3)
    connection.setFraming(framing.raw())
    connection.end({ deadline: '2s' })
    connection.end()
    engine.submission.flush()
    expect(engine.native.operations).toMatchObject([
      { op: 'demand', a: 3 },
      { op: 'setFraming', a: 0 },
      { op: 'end', a: 2000 }
    ])
    expect(engine.profiles[0]?.native.receive).toEqual({ kind: 'raw' })
  })

  test('end waits as long as the option says', () => {
    const engine = new FakeEngine()
    engine.connection({ endDeadline: '7s' }).end()
    engine.submission.flush()
    expect(engine.native.operations).toMatchObject([{ op: 'end', a: 7000 }])
  })

  test('nothing is submitted for a connection that is over', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    closed(connection, cause.local, 0, 0)
    connection.end().destroy().reset().pause().resume().demand().setFraming(framing.raw()).join('x').leave('x')
    engine.submission.flush()
    expect(engine.native.operations).toEqual([])
    expect(engine.groups.members('x').size).toBe(0)
  })

  test('wrong arguments are refused', () => {
    const connection = new FakeEngine().connection()
    expect(() => connection.demand(0)).toThrow("'packets'")
    expect(() => connection.end({ deadline: -1 })).toThrow("'deadline'")
    expect(() => connection.setFraming('raw' as never)).toThrow("'framing'")
  })

  test('groups are left when the connection closes', () => {
    const engine = new FakeEngine(new FakeNativeEngine())
    const [one, other] = [engine.connection(), engine.connection()]
    one.join('a').join('b')
    other.join('a')
    expect([...engine.groups.members('a')]).toEqual([one, other])
    closed(one, cause.local, 0, 0)
    expect([...engine.groups.members('a')]).toEqual([other])
    other.leave('a')
    expect(engine.groups.members('a').size).toBe(0)
    expect(engine.groups.members('b').size).toBe(0)
  })
})
