/** How a connection ends, and what comes before its end. */

import { describe, expect, test } from 'vitest'
import { abandonPendingData, closed } from '../../lib/connection/close.js'
import { deliver, frameProblem, peerEnded, receiveQueueOf } from '../../lib/connection/receive.js'
import { holdReason } from '../../lib/connection/receive_queue.js'
import { drained } from '../../lib/connection/send.js'
import { cause, frameError, outcome } from '../../lib/native/protocol.js'
import { FakeEngine, nextTick, recordEvents } from '../helpers/fake_engine.js'

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
    const seen = recordEvents(connection)
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
    const seen = recordEvents(connection)
    engine.owner.on('disconnect', (info) => seen.push(`disconnect ${info.cause}`))
    deliver(connection, Buffer.from('1'))
    closed(connection, cause.peerReset, 10_054, 3)
    closed(connection, cause.peerReset, 10_054, 3)
    deliver(connection, Buffer.from('2'))
    peerEnded(connection)
    expect(seen).toEqual(['1', 'close peer-reset 3', 'disconnect peer-reset'])
    expect(connection.state).toBe('closed')
  })

  test('waits for the answers about what was sent before', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen = recordEvents(connection)
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
    const seen = recordEvents(connection)
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
    const seen = recordEvents(connection)
    engine.queuedBytes = 50
    connection.send('x')
    connection.once('packet', () => connection.destroy())
    deliver(connection, Buffer.from('1'))
    deliver(connection, Buffer.from('2'))
    peerEnded(connection)
    drained(connection)
    frameProblem(connection, frameError.tooLarge, Buffer.alloc(4))
    await nextTick()
    expect(seen).toEqual(['1'])
    expect(connection.state).toBe('closing')
    closed(connection, cause.local, 0, 0)
    expect(seen).toEqual(['1', 'close local 1'])
  })

  test.each(['destroy', 'reset'] as const)('after %s there is no error, whatever had closed it before', (how) => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen = recordEvents(connection)
    connection.on('error', (error) => seen.push(`error ${error.message}`))
    connection[how]()
    closed(connection, cause.peerReset, 0, 0)
    expect(seen).toEqual(['close peer-reset 0'])
  })

  test('destroying in a packet listener keeps the packet from the server', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen: string[] = []
    engine.owner.on('packet', () => seen.push('server'))
    connection.on('packet', () => connection.destroy())
    deliver(connection, Buffer.from('1'))
    expect(seen).toEqual([])
  })

  test('an error is emitted only where somebody listens, before close', () => {
    const engine = new FakeEngine()
    const silent = engine.connection()
    expect(() => {
      closed(silent, cause.peerReset, 0, 0)
    }).not.toThrow()
    const connection = engine.connection()
    const seen = recordEvents(connection)
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
    const seen = recordEvents(connection)
    connection.pause()
    deliver(connection, Buffer.from('1'))
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
    deliver(connection, Buffer.from('greeting'))
    closed(connection, cause.peerEnd, 0, 0)
    const seen = recordEvents(connection)
    await nextTick()
    expect(seen).toEqual(['greeting', 'close peer-end 0'])
  })

  test('does not wait on a connection of ours that nobody listens to and that has broken', () => {
    const connection = new FakeEngine().connection({}, false)
    deliver(connection, Buffer.from('12345'))
    closed(connection, cause.peerReset, 0, 0)
    expect(connection.closeInfo).toMatchObject({ cause: 'peer-reset', discardedBytes: 5 })
  })

  test('does not wait on an accepted connection that nobody listens to, and counts what was lost', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    deliver(connection, Buffer.from('12345'))
    const seen: string[] = []
    engine.owner.on('disconnect', (info) => seen.push(`${info.cause} ${info.discardedBytes}`))
    closed(connection, cause.peerReset, 0, 2)
    expect(seen).toEqual(['peer-reset 7'])
  })

  test('does not wait for a listener on a connection of ours that we have ended', () => {
    const connection = new FakeEngine().connection({}, false)
    deliver(connection, Buffer.from('12345'))
    connection.end()
    closed(connection, cause.timeout, 0, 0)
    expect(connection.closeInfo).toMatchObject({ cause: 'timeout', discardedBytes: 5 })
  })

  test('waits no longer once we end a connection of ours that the peer has closed already', async () => {
    const connection = new FakeEngine().connection({}, false)
    deliver(connection, Buffer.from('12345'))
    closed(connection, cause.peerEnd, 0, 0)
    await nextTick()
    expect(connection.closeInfo).toBeUndefined()
    const over = connection.closed
    connection.end().end()
    expect(await over).toMatchObject({ cause: 'peer-end', discardedBytes: 5 })
  })

  test('still waits for paused packets when we end a connection that the peer has closed already', async () => {
    const connection = new FakeEngine().connection({}, false)
    const seen = recordEvents(connection)
    connection.pause()
    deliver(connection, Buffer.from('1'))
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
      deliver(connection, Buffer.from('12345'))
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
    const seen = recordEvents(connection)
    expect(seen).toEqual([])
    receiveQueue.remove(holdReason.justConnected)
    await nextTick()
    expect(seen).toEqual(['end', 'close peer-reset 0'])
  })

  test('without anything before it waits too', async () => {
    const connection = new FakeEngine().connection({}, false)
    receiveQueueOf(connection).add(holdReason.justConnected)
    closed(connection, cause.peerReset, 0, 0)
    const seen = recordEvents(connection)
    expect(connection.send('x')).toBe('closed')
    connection._receiveQueue?.remove(holdReason.justConnected)
    await nextTick()
    expect(seen).toEqual(['close peer-reset 0'])
  })

  test('destroy ends the waiting', async () => {
    const connection = new FakeEngine().connection({}, false)
    deliver(connection, Buffer.from('12345'))
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
