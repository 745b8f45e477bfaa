import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { abandonPendingData, closed } from '../../lib/connection/close.js'
import type { Connection } from '../../lib/connection/connection.js'
import { deliver, peerEnded, streamBegins, streamEnds, streamGoesOn } from '../../lib/connection/receive.js'
import { cause } from '../../lib/native/protocol.js'
import { FakeEngine, nextTick } from '../helpers/fake_engine.js'
import { until } from '../helpers/time.js'

const DONE = { done: true, value: undefined }
const packet = (text: string): Buffer => Buffer.from(text)
const value = (text: string) => ({ done: false, value: packet(text) })

function give(connection: Connection, ...texts: string[]): void {
  for (const text of texts) deliver(connection, packet(text))
}

/** Takes everything until the end. */
async function all(connection: Connection): Promise<string[]> {
  const taken: string[] = []
  for await (const one of connection) taken.push(one.toString())
  return taken
}

describe('return()', () => {
  test('ends the calls that wait, and those that come later', async () => {
    const connection = new FakeEngine().connection()
    const iterator = connection[Symbol.asyncIterator]()
    const waiting = [iterator.next(), iterator.next()]
    expect(await iterator.return()).toEqual(DONE)
    expect(await Promise.all(waiting)).toEqual([DONE, DONE])
    expect(await iterator.next()).toEqual(DONE)
    expect(await iterator.return()).toEqual(DONE)
    give(connection, '1')
    expect(await connection[Symbol.asyncIterator]().next()).toEqual(value('1'))
  })

  test('leaves packets that have arrived to the next iterator of the same tick', async () => {
    const connection = new FakeEngine().connection()
    give(connection, '1', '2', '3')
    const first = connection[Symbol.asyncIterator]()
    expect(await first.next()).toEqual(value('1'))
    void first.return()
    const second = connection[Symbol.asyncIterator]()
    expect(await second.next()).toEqual(value('2'))
    void second.return()
    give(connection, '4')
    const third = connection[Symbol.asyncIterator]()
    expect([await third.next(), await third.next()]).toEqual([value('3'), value('4')])
  })

  test('with a call that waits: the packet goes to the next iterator of the same tick', async () => {
    const connection = new FakeEngine().connection()
    const first = connection[Symbol.asyncIterator]()
    const waiting = first.next()
    void first.return()
    const second = connection[Symbol.asyncIterator]().next()
    give(connection, '1')
    expect(await waiting).toEqual(DONE)
    expect(await second).toEqual(value('1'))
  })

  test('keeps what comes next, also after an earlier resume()', async () => {
    const connection = new FakeEngine().connection().pause().resume()
    await nextTick()
    const loop = (async () => {
      for await (const one of connection) return one.toString()
      return undefined
    })()
    give(connection, '1', '2')
    expect(await loop).toBe('1')
    await nextTick()
    give(connection, '3')
    const seen: string[] = []
    connection.on('packet', (one) => seen.push(one.toString()))
    await nextTick()
    expect(seen).toEqual(['2', '3'])
  })

  test('many iterators that are left while nothing arrives leave nothing behind', async () => {
    const connection = new FakeEngine().connection()
    const last = connection[Symbol.asyncIterator]()
    const waiting = last.next()
    for (let round = 0; round < 100_000; round++) {
      const iterator = connection[Symbol.asyncIterator]()
      void iterator.next()
      void iterator.return()
    }
    give(connection, '1')
    expect(await waiting).toEqual(value('1'))
  })
})

test('packets go to the calls in the order of the calls, whoever made them', async () => {
  const connection = new FakeEngine().connection()
  const [one, other] = [connection[Symbol.asyncIterator](), connection[Symbol.asyncIterator]()]
  const calls = [one.next(), other.next(), other.next(), one.next()]
  give(connection, '1', '2', '3', '4', '5')
  expect(await Promise.all([...calls, other.next()])).toEqual(['1', '2', '3', '4', '5'].map(value))
})

test('each iteration ends by the error that the connection ended with', async () => {
  const connection = new FakeEngine().connection()
  const loops = [all(connection), all(connection)]
  closed(connection, cause.peerReset, 0, 0)
  for (const loop of loops) await expect(loop).rejects.toMatchObject({ code: 'ECONNRESET' })
})

/** Shares of a turn, see lib/common/timers.ts. The end of one and the beginning of the next may fall between two looks. */
const MOST_PER_TURN = 64 * 128

describe('100,000 packets', () => {
  test('are taken in pieces: the event loop is never blocked for longer than by a batch', async () => {
    const connection = new FakeEngine().connection()
    const taken: Buffer[] = []
    const loop = (async () => {
      for await (const one of connection) taken.push(one)
    })()
    for (let count = 0; count < 100_000; count++) deliver(connection, packet(String(count)))
    let most = 0
    while (taken.length < 100_000) {
      const before = taken.length
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
      most = Math.max(most, taken.length - before)
    }
    expect(most).toBeLessThanOrEqual(2 * MOST_PER_TURN)
    expect(taken.every((one, at) => one.toString() === String(at))).toBe(true)
    closed(connection, cause.peerEnd, 0, 0)
    await loop
  })

  test('that were held go to a listener in pieces too', async () => {
    const connection = new FakeEngine().connection().pause()
    const taken: string[] = []
    connection.on('packet', (one) => taken.push(one.toString()))
    for (let count = 0; count < 100_000; count++) deliver(connection, packet(String(count)))
    connection.resume()
    let most = 0
    while (taken.length < 100_000) {
      const before = taken.length
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
      most = Math.max(most, taken.length - before)
    }
    expect(most).toBeLessThanOrEqual(2 * MOST_PER_TURN)
    expect(taken.every((one, at) => one === String(at))).toBe(true)
  })

  test('of one connection do not hold up another one', async () => {
    const engine = new FakeEngine()
    const [busy, other] = [engine.connection(), engine.connection()]
    let taken = 0
    void (async () => {
      for await (const one of busy) taken += one.length
    })()
    for (let count = 0; count < 100_000; count++) deliver(busy, packet('x'))
    await nextTick()
    give(other, ...Array.from({ length: 100 }, (_, at) => String(at)))
    const iterator = other[Symbol.asyncIterator]()
    for (let at = 0; at < 100; at++) expect(await iterator.next()).toEqual(value(String(at)))
    expect(taken).toBeLessThan(20_000)
    closed(busy, cause.local, 0, 0)
  })

  test('cost no more for each than a few do: half a million come in time', { timeout: 60_000 }, async () => {
    // With a list of which the first is taken out by moving all others, this would take several minutes.
    const connection = new FakeEngine().connection()
    const loop = all(connection)
    const one = packet('x')
    for (let count = 0; count < 500_000; count++) deliver(connection, one)
    closed(connection, cause.peerEnd, 0, 0)
    expect((await loop).length).toBe(500_000)
  })
})

describe('an iteration that rests', () => {
  test("does not hold back 'close'; the packets stay with it", async () => {
    const connection = new FakeEngine().connection()
    const seen: string[] = []
    connection.on('end', () => seen.push('end'))
    connection.on('close', (info) => seen.push(`close ${info.discardedBytes}`))
    const iterator = connection[Symbol.asyncIterator]()
    give(connection, '1', '2', '3')
    expect(await iterator.next()).toEqual(value('1'))
    peerEnded(connection)
    closed(connection, cause.peerEnd, 0, 0)
    await until(() => seen.length === 2)
    expect(seen).toEqual(['end', 'close 0'])
    expect(await iterator.next()).toEqual(value('2'))
    expect(await connection[Symbol.asyncIterator]().next()).toEqual(value('3'))
    expect(await iterator.next()).toEqual(DONE)
  })

  test('gets the error behind the packets that it had not taken', async () => {
    const connection = new FakeEngine().connection()
    const iterator = connection[Symbol.asyncIterator]()
    give(connection, '1', '2')
    closed(connection, cause.peerReset, 0, 0)
    await connection.closed
    expect(await iterator.next()).toEqual(value('1'))
    expect(await iterator.next()).toEqual(value('2'))
    await expect(iterator.next()).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(await iterator.next()).toEqual(DONE)
  })

  test("has its packets before 'close' while it goes on", async () => {
    const connection = new FakeEngine().connection()
    const seen: string[] = []
    connection.on('close', () => seen.push('close'))
    const loop = (async () => {
      for await (const one of connection) seen.push(one.toString())
    })()
    const texts = Array.from({ length: 5000 }, (_, at) => String(at))
    give(connection, ...texts)
    closed(connection, cause.peerEnd, 0, 0)
    await loop
    await nextTick()
    expect(seen).toEqual([...texts, 'close'])
  })

  test("has the last packet before 'close' too", async () => {
    const connection = new FakeEngine().connection()
    const seen: string[] = []
    connection.on('close', () => seen.push('close'))
    const loop = (async () => {
      for await (const one of connection) seen.push(one.toString())
    })()
    give(connection, '1')
    closed(connection, cause.peerReset, 0, 0)
    await expect(loop).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(seen).toEqual(['1', 'close'])
  })

  test('holds back the end of the peer, so that answers can still be sent', async () => {
    const connection = new FakeEngine().connection()
    const seen: string[] = []
    connection.on('end', () => seen.push('end'))
    const loop = (async () => {
      for await (const one of connection) {
        await nextTick()
        await nextTick()
        seen.push(`${one.toString()} ${connection.send(one)}`)
      }
    })()
    await nextTick()
    // The first goes straight to the loop, and the end finds it at work.
    give(connection, '1')
    await nextTick()
    give(connection, '2', '3')
    peerEnded(connection)
    await until(() => seen.length === 4)
    expect(seen).toEqual(['1 sent', '2 sent', '3 sent', 'end'])
    closed(connection, cause.peerEnd, 0, 0)
    await loop
  })

  test('or works on the last packet holds back the end of the peer too', async () => {
    const connection = new FakeEngine().connection()
    const seen: string[] = []
    connection.on('end', () => seen.push('end'))
    const loop = (async () => {
      for await (const one of connection) seen.push(connection.send(one))
    })()
    give(connection, '1')
    peerEnded(connection)
    await until(() => seen.length === 2)
    expect(seen).toEqual(['sent', 'end'])
    closed(connection, cause.peerEnd, 0, 0)
    await loop
  })

  test('yields to a listener that comes later, and goes on when it asks again', async () => {
    const connection = new FakeEngine().connection()
    const iterator = connection[Symbol.asyncIterator]()
    give(connection, '1', '2')
    expect(await iterator.next()).toEqual(value('1'))
    const seen: string[] = []
    connection.on('packet', (one) => seen.push(one.toString()))
    await nextTick()
    give(connection, '3')
    expect(seen).toEqual(['2', '3'])
    const waiting = iterator.next()
    give(connection, '4', '5')
    expect(await waiting).toEqual(value('4'))
    expect(await iterator.next()).toEqual(value('5'))
    expect(seen).toEqual(['2', '3'])
  })

  test('waits longer than the end of everything', async () => {
    const connection = new FakeEngine().connection()
    const iterator = connection[Symbol.asyncIterator]()
    give(connection, '1', '2')
    connection.pause()
    closed(connection, cause.serverClosing, 0, 0)
    abandonPendingData(connection)
    expect(connection.state).toBe('closed')
    expect(await iterator.next()).toEqual(value('1'))
    expect(await iterator.next()).toEqual(value('2'))
    expect(await iterator.next()).toEqual(DONE)
  })

  test('loses its packets when this side destroys the connection', async () => {
    const connection = new FakeEngine().connection()
    const iterator = connection[Symbol.asyncIterator]()
    give(connection, '1', '2')
    expect(await iterator.next()).toEqual(value('1'))
    connection.destroy()
    closed(connection, cause.local, 0, 0)
    expect(connection.closeInfo?.discardedBytes).toBe(1)
    expect(await iterator.next()).toEqual(DONE)
  })

  test('and is forgotten holds nothing back', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen: string[] = []
    engine.owner.on('packet', (one) => seen.push(one.toString()))
    engine.owner.on('end', () => seen.push('end'))
    const takeOne = async (): Promise<string | undefined> =>
      (await connection[Symbol.asyncIterator]().next()).value?.toString()
    const waiting = takeOne()
    collect()
    await nextTick()
    give(connection, '1', '2', '3')
    peerEnded(connection)
    expect(await waiting).toBe('1')
    await until(() => {
      collect()
      return seen.length === 3
    })
    expect(seen).toEqual(['2', '3', 'end'])
  })
})

describe('a large packet', () => {
  test('keeps its place between the packets of an iteration that rests when the connection closes', async () => {
    const connection = new FakeEngine().connection()
    const seen: string[] = []
    connection.on('close', () => seen.push('close'))
    const read = async (stream: AsyncIterable<Buffer>): Promise<void> => {
      for await (const piece of stream) seen.push(String(piece))
    }
    connection.on('stream', (stream) => {
      seen.push('stream')
      void read(stream)
    })
    const iterator = connection[Symbol.asyncIterator]()
    give(connection, '1')
    streamBegins(connection, 5)
    streamGoesOn(connection, packet('large'))
    streamEnds(connection)
    give(connection, '2')
    closed(connection, cause.peerEnd, 0, 0)
    await connection.closed
    expect(seen).toEqual(['stream', 'large', 'close'])
    for (const text of ['1', '2']) expect(await iterator.next()).toEqual(value(text))
    expect(await iterator.next()).toEqual(DONE)
  })

  test('is not handed over when the connection closed before it was complete', async () => {
    const connection = new FakeEngine().connection().pause()
    const seen: string[] = []
    connection.on('packet', (one) => seen.push(one.toString()))
    connection.on('stream', () => seen.push('stream'))
    connection.on('close', (info) => seen.push(`close ${info.discardedBytes}`))
    give(connection, '1')
    streamBegins(connection, 10)
    streamGoesOn(connection, packet('large'))
    closed(connection, cause.peerReset, 0, 0)
    connection.resume()
    await nextTick()
    expect(seen).toEqual(['1', 'close 5'])
  })

  test('that nobody listens for does not keep an iteration from its end', async () => {
    const connection = new FakeEngine().connection()
    const loop = all(connection)
    give(connection, '1')
    streamBegins(connection, 5)
    streamGoesOn(connection, packet('large'))
    streamEnds(connection)
    give(connection, '2')
    await nextTick()
    closed(connection, cause.peerEnd, 0, 0)
    expect(await loop).toEqual(['1', '2'])
    expect(connection.closeInfo?.discardedBytes).toBe(5)
  })
})
