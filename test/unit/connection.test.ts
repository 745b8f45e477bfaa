/** Packets that a connection receives, and what may be asked of it. */

import { describe, expect, test, vi } from 'vitest'
import { closed } from '../../lib/connection/close.js'
import { deliver, peerEnded } from '../../lib/connection/receive.js'
import { cause } from '../../lib/native/protocol.js'
import { framing } from '../../lib/packets/framing.js'
import { FakeEngine, FakeNativeEngine, nextTick, recordEvents } from '../helpers/fake_engine.js'

describe('packets', () => {
  test('go to the connection first, then to its server', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen: string[] = []
    engine.owner.on('packet', (one, from) => seen.push(`server ${String(one)} ${String(from === connection)}`))
    connection.on('packet', (one) => seen.push(`own ${String(one)}`))
    deliver(connection, Buffer.from('x'))
    expect(seen).toEqual(['own x', 'server x true'])
  })

  test('are kept while nobody listens, and the peer is slowed down', async () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    for (const text of ['1', '2', '3']) deliver(connection, Buffer.from(text))
    peerEnded(connection)
    engine.submission.flush()
    // As long as it is not much, so that the end of the connection is seen.
    expect(engine.native.names).toEqual([])
    const much = 'x'.repeat(256 * 1024)
    deliver(connection, Buffer.from(much))
    engine.submission.flush()
    expect(engine.native.names).toEqual(['pause'])
    const seen = recordEvents(connection)
    expect(seen).toEqual([])
    deliver(connection, Buffer.from('4'))
    await nextTick()
    expect(seen).toEqual(['1', '2', '3', 'end', much, '4'])
    expect(engine.native.names).toContain('resume')
    expect(connection._receiveQueue).toBeUndefined()
  })

  test('are not held any more once they go straight through', async () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    deliver(connection, Buffer.from('1'))
    const seen = recordEvents(connection)
    await nextTick()
    deliver(connection, Buffer.from('2'))
    expect(seen).toEqual(['1', '2'])
  })

  test('pause holds them, also those of the same batch; resume lets them go in order', async () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen = recordEvents(connection)
    connection.once('packet', () => connection.pause())
    for (const text of ['1', '2', '3']) deliver(connection, Buffer.from(text))
    expect(seen).toEqual(['1'])
    expect(connection.isPaused()).toBe(true)
    connection.resume()
    expect(connection.isPaused()).toBe(false)
    deliver(connection, Buffer.from('4'))
    await nextTick()
    expect(seen).toEqual(['1', '2', '3', '4'])
    expect(engine.native.names).toEqual(['pause', 'resume'])
  })

  test('pausing while the held ones go out stops them again', async () => {
    const connection = new FakeEngine().connection()
    const seen = recordEvents(connection)
    connection.pause()
    for (const text of ['1', '2', '3']) deliver(connection, Buffer.from(text))
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
    deliver(connection, Buffer.from('1'))
    connection.resume()
    await nextTick()
    deliver(connection, Buffer.from('2'))
    const seen = recordEvents(connection)
    deliver(connection, Buffer.from('3'))
    await nextTick()
    expect(seen).toEqual(['3'])
  })

  test('a handler that throws loses none of the held ones', async () => {
    const connection = new FakeEngine().connection()
    connection.pause()
    for (const text of ['1', '2', '3']) deliver(connection, Buffer.from(text))
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

describe('iteration', () => {
  test('takes packets one by one and ends with the connection', async () => {
    const connection = new FakeEngine().connection()
    const seen: string[] = []
    const done = (async () => {
      for await (const one of connection) seen.push(one.toString())
    })()
    for (const text of ['1', '2', '3']) deliver(connection, Buffer.from(text))
    peerEnded(connection)
    closed(connection, cause.peerEnd, 0, 0)
    await done
    expect(seen).toEqual(['1', '2', '3'])
    expect(connection.state).toBe('closed')
  })

  test('ends by the error that the connection ended with, after the packets', async () => {
    const connection = new FakeEngine().connection()
    const iterator = connection[Symbol.asyncIterator]()
    deliver(connection, Buffer.from('1'))
    closed(connection, cause.peerReset, 0, 0)
    expect(await iterator.next()).toEqual({ done: false, value: Buffer.from('1') })
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
    for (const text of ['hello', '1', '2']) deliver(connection, Buffer.from(text))
    for await (const one of connection) {
      expect(one.toString()).toBe('hello')
      break
    }
    await nextTick()
    const seen = recordEvents(connection)
    await nextTick()
    deliver(connection, Buffer.from('3'))
    expect(seen).toEqual(['1', '2', '3'])
  })

  test('that is far behind stops the reading, and goes on when it has caught up', async () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const iterator = connection[Symbol.asyncIterator]()
    for (let i = 0; i < 100; i++) deliver(connection, Buffer.from(String(i)))
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
    deliver(connection, Buffer.from('1'))
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
