import { errorMonitor, type EventEmitter } from 'node:events'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { IocpError } from '../../lib/common/errors.js'
import { closed } from '../../lib/connection/close.js'
import type { CloseInfo } from '../../lib/connection/close_info.js'
import type { Connection } from '../../lib/connection/connection.js'
import { tell, tellOwner } from '../../lib/connection/notify.js'
import {
  deliver,
  packetSkipped,
  peerEnded,
  receiveQueueOf,
  streamBegins,
  streamEnds,
  streamGoesOn
} from '../../lib/connection/receive.js'
import { holdReason } from '../../lib/connection/receive_queue.js'
import { drained, dropped } from '../../lib/connection/send.js'
import { cause, outcome } from '../../lib/native/protocol.js'
import { framing } from '../../lib/packets/framing.js'
import { FakeEngine, nextTick } from '../helpers/fake_engine.js'

/** What became an uncaught exception while a test ran, by throwing in a tick of its own. */
let uncaught: unknown[] = []
let others: NodeJS.UncaughtExceptionListener[] = []
const note = (error: unknown): void => {
  uncaught.push(error)
}

beforeEach(() => {
  uncaught = []
  others = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', note)
})

afterEach(() => {
  process.removeListener('uncaughtException', note)
  for (const listener of others) process.on('uncaughtException', listener)
})

const packet = (text: string): Buffer => Buffer.from(text)

function fail(text: string): () => never {
  return () => {
    throw new Error(text)
  }
}

/** The same for a handler that has done something before. */
function failLater(text: string): () => unknown {
  return () =>
    nextTick().then(() => {
      throw new Error(text)
    })
}

/** Messages of what was thrown here and of what became uncaught by it. */
async function thrownBy(body: () => void): Promise<string[]> {
  const all: unknown[] = []
  try {
    body()
  } catch (error) {
    all.push(error)
  }
  await nextTick()
  return [...all, ...uncaught].map((error) => (error as Error).message)
}

/** Each event of a connection that is not its end, and what makes it come. */
const live: [
  event: 'packet' | 'stream' | 'end' | 'drain' | 'drop' | 'frameError' | 'file',
  come: (one: Connection) => void
][] = [
  [
    'packet',
    (one) => {
      deliver(one, packet('x'))
    }
  ],
  [
    'stream',
    (one) => {
      streamBegins(one, 10)
    }
  ],
  [
    'end',
    (one) => {
      peerEnded(one)
    }
  ],
  [
    'drain',
    (one) => {
      one._flags |= 8
      drained(one)
    }
  ],
  [
    'drop',
    (one) => {
      dropped(one, 1, 2, 1)
    }
  ],
  [
    'frameError',
    (one) => {
      packetSkipped(one, Buffer.concat([Buffer.of(5, 0, 0, 0, 0, 0, 0, 0), packet('h')]))
    }
  ],
  [
    'file',
    (one) => {
      tell(one, 'file', {} as never)
    }
  ]
]

describe("onHandlerError 'throw', the default", () => {
  test.each(live)('%s: every exception surfaces, and every other listener is called', async (event, come) => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen: string[] = []
    const on = (emitter: unknown, name: string): void => {
      ;(emitter as EventEmitter).on(event, () => {
        seen.push(name)
        throw new Error(name)
      })
    }
    for (const name of ['own 1', 'own 2']) on(connection, name)
    for (const name of ['server 1', 'server 2']) on(engine.owner, name)
    const names = ['own 1', 'own 2', 'server 1', 'server 2']
    expect(
      await thrownBy(() => {
        come(connection)
      })
    ).toEqual(names)
    expect(seen).toEqual(names)
    expect(connection.state).toBe(event === 'end' ? 'ending' : 'open')
  })

  test('at the end too: error, close, disconnect', async () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    connection.on('error', fail('error'))
    connection.on('close', fail('close 1'))
    connection.on('close', fail('close 2'))
    engine.owner.on('disconnect', fail('disconnect'))
    expect(
      await thrownBy(() => {
        closed(connection, cause.peerReset, 0, 0)
      })
    ).toEqual(['error', 'close 1', 'close 2', 'disconnect'])
  })

  test('one listener throws where it is called, as with any emitter', () => {
    const connection = new FakeEngine().connection()
    connection.on('packet', fail('here'))
    expect(() => {
      deliver(connection, packet('x'))
    }).toThrow('here')
  })

  test('once listeners are called once, also among others', () => {
    const engine = new FakeEngine()
    const connection = engine.connection()
    const seen: string[] = []
    connection.once('packet', () => seen.push('once'))
    connection.on('packet', () => seen.push('on'))
    engine.owner.once('packet', () => seen.push('server'))
    deliver(connection, packet('x'))
    deliver(connection, packet('y'))
    expect(seen).toEqual(['once', 'on', 'server', 'on'])
  })
})

describe("onHandlerError 'close'", () => {
  function start() {
    const engine = new FakeEngine()
    const connection = engine.connection({ onHandlerError: 'close' })
    const seen: string[] = []
    const infos: CloseInfo[] = []
    connection.on('handlerError', (error) => seen.push(`own ${(error as Error).message} ${connection.state}`))
    engine.owner.on('handlerError', (error, one) =>
      seen.push(`server ${(error as Error).message} ${String(one === connection)}`)
    )
    connection.on('close', (info) => {
      seen.push(`close ${info.cause}`)
      infos.push(info)
    })
    const operations = (): string[] => {
      engine.submission.flush()
      return engine.native.names
    }
    return { host: engine, connection, seen, infos, operations }
  }

  test.each(live)('%s: ends the connection with the cause, and tells', async (event, come) => {
    const { host: engine, connection, seen, infos, operations } = start()
    ;(connection as unknown as EventEmitter).on(event, fail('bad'))
    expect(
      await thrownBy(() => {
        come(connection)
      })
    ).toEqual([])
    expect(seen).toEqual(['own bad closing', 'server bad true'])
    expect(operations()).toContain('destroy')
    // Whatever native code says, which may have seen the peer's end first.
    closed(connection, cause.peerEnd, 0, 0)
    expect(seen.at(-1)).toBe('close handler-error')
    const error = infos[0]?.error as IocpError
    expect(error.code).toBe('ERR_IOCP_HANDLER')
    expect((error.cause as Error).message).toBe('bad')
    expect(engine.owner.listenerCount('packet')).toBe(0)
  })

  test.each(live)('%s: an asynchronous handler that rejects is a handler that fails', async (event, come) => {
    const { host: engine, connection, seen } = start()
    ;(engine.owner as unknown as EventEmitter).on(event, failLater('late'))
    come(connection)
    await nextTick()
    await nextTick()
    expect(uncaught).toEqual([])
    expect(seen).toEqual(['own late closing', 'server late true'])
  })

  test('what two handlers throw is told twice; the others are called', async () => {
    const { host: engine, connection, seen } = start()
    connection.on('packet', fail('one'))
    engine.owner.on('packet', fail('two'))
    engine.owner.on('packet', () => seen.push('called'))
    deliver(connection, packet('x'))
    await nextTick()
    expect(seen).toEqual(['called', 'own one closing', 'server one true', 'own two closing', 'server two true'])
  })

  test('nothing but close comes afterwards, and what is not delivered counts as discarded', () => {
    const { connection, seen, infos } = start()
    connection.on('packet', fail('bad'))
    deliver(connection, packet('x'))
    deliver(connection, packet('more'))
    peerEnded(connection)
    closed(connection, cause.local, 0, 3)
    expect(seen).toEqual(['own bad closing', 'server bad true', 'close handler-error'])
    expect(infos[0]?.discardedBytes).toBe(7)
  })

  test('a handler of the end that fails is told to the server alone', async () => {
    const { host: engine, connection, seen } = start()
    connection.on('close', fail('close'))
    connection.on('error', fail('error'))
    engine.owner.on('disconnect', failLater('disconnect'))
    expect(
      await thrownBy(() => {
        closed(connection, cause.peerReset, 0, 0)
      })
    ).toEqual([])
    await nextTick()
    expect(seen).toEqual(['close peer-reset', 'server error true', 'server close true', 'server disconnect true'])
  })

  test('what a handler of handlerError throws is an uncaught exception', async () => {
    const { connection } = start()
    connection.on('handlerError', fail('again'))
    connection.on('packet', fail('bad'))
    expect(
      await thrownBy(() => {
        deliver(connection, packet('x'))
      })
    ).toEqual(['again'])
  })

  test('a handler that has destroyed the connection before it throws: local, and told', () => {
    const { connection, seen } = start()
    connection.on('packet', () => {
      connection.destroy()
      throw new Error('bad')
    })
    deliver(connection, packet('x'))
    closed(connection, cause.local, 0, 0)
    expect(seen).toEqual(['own bad closing', 'server bad true', 'close local'])
  })

  test('a connection that has ended, whose packets were held back', async () => {
    const { connection, seen } = start()
    connection.pause()
    connection.on('packet', fail('bad'))
    deliver(connection, packet('x'))
    closed(connection, cause.peerReset, 0, 0)
    connection.resume()
    await nextTick()
    await nextTick()
    expect(seen).toEqual(['own bad closing', 'server bad true', 'close handler-error'])
  })

  test('a connection that is lost while a handler is still under way', async () => {
    const { connection, seen } = start()
    connection.on('packet', failLater('late'))
    deliver(connection, packet('x'))
    closed(connection, cause.peerReset, 0, 0)
    await nextTick()
    await nextTick()
    expect(seen).toEqual(['close peer-reset', 'server late true'])
  })

  test("'connection' and 'jobError' of the server", () => {
    for (const event of ['connection', 'jobError'] as const) {
      const { host: engine, connection, seen } = start()
      ;(engine.owner as unknown as EventEmitter).on(event, fail('bad'))
      tellOwner(connection, event, connection)
      expect(seen).toEqual(['own bad closing', 'server bad true'])
    }
  })

  test('onSent', async () => {
    const { host: engine, connection, seen } = start()
    connection.send('x', fail('sent'))
    engine.submission.flush()
    engine.submission.complete(engine.native.operations.find((one) => one.op === 'send')?.c ?? 0, outcome.sent)
    expect(seen).toEqual(['own sent closing', 'server sent true'])
    connection.send('y', fail('closed'))
    await nextTick()
    expect(seen.slice(2)).toEqual(['own closed closing', 'server closed true'])
    expect(uncaught).toEqual([])
  })

  test('data of a stream', async () => {
    const { connection, seen } = start()
    connection.on('stream', (stream) => stream.on('data', fail('data')))
    streamBegins(connection, 10)
    await nextTick()
    streamGoesOn(connection, packet('12345'))
    streamGoesOn(connection, packet('12345'))
    streamEnds(connection)
    await nextTick()
    expect(uncaught).toEqual([])
    expect(seen).toEqual(['own data closing', 'server data true'])
  })

  test('nobody listens for it: the process is warned, once', async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error): void => {
      warnings.push(warning)
    }
    process.on('warning', onWarning)
    const engine = new FakeEngine()
    for (let i = 0; i < 3; i++) {
      const connection = engine.connection({ onHandlerError: 'close' })
      connection.on('packet', fail('unheard'))
      deliver(connection, packet('x'))
    }
    await nextTick()
    process.off('warning', onWarning)
    expect(warnings.map(({ name }) => name)).toEqual(['IocpWarning'])
    expect(warnings[0]?.message).toContain('unheard')
  })

  test('the option is checked', () => {
    expect(() => new FakeEngine().connection({ onHandlerError: 'ignore' })).toThrow(
      expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION', option: 'onHandlerError' })
    )
  })
})

describe('nothing of the library hangs on listeners', () => {
  test('removeAllListeners does not keep closed from settling', async () => {
    const connection = new FakeEngine().connection()
    const waiting = connection.closed
    expect(connection.listenerCount('close')).toBe(0)
    connection.removeAllListeners()
    closed(connection, cause.peerEnd, 0, 0)
    expect((await waiting).cause).toBe('peer-end')
    expect((await connection.closed).cause).toBe('peer-end')
  })
})

describe('errorMonitor', () => {
  test('hears the error of a connection, before error and without it', () => {
    const engine = new FakeEngine()
    const seen: string[] = []
    for (const isHeard of [false, true]) {
      const connection = engine.connection()
      connection.on(errorMonitor, (error: Error) =>
        seen.push(`monitor ${String((error as NodeJS.ErrnoException).code)}`)
      )
      if (isHeard) connection.on('error', () => seen.push('error'))
      connection.on('close', () => seen.push('close'))
      closed(connection, cause.peerReset, 0, 0)
    }
    expect(seen).toEqual(['monitor ECONNRESET', 'close', 'monitor ECONNRESET', 'error', 'close'])
  })

  test('hears the error of a stream that breaks off', async () => {
    const connection = new FakeEngine().connection({ framing: framing.lengthField({ streamAbove: 5 }) })
    const seen: string[] = []
    connection.on('stream', (stream) =>
      stream.on(errorMonitor, (error: Error) => seen.push(String((error as NodeJS.ErrnoException).code)))
    )
    streamBegins(connection, 10)
    closed(connection, cause.peerReset, 0, 0)
    await new Promise(setImmediate)
    expect(seen).toEqual(['ECONNRESET'])
  })
})

describe('discardedBytes', () => {
  test.each(['destroy', 'reset'] as const)('counts what %s throws away: held, on its way, of a stream', (how) => {
    const connection = new FakeEngine().connection()
    const infos: CloseInfo[] = []
    connection.on('close', (info) => infos.push(info))
    connection.on('stream', () => undefined)
    streamBegins(connection, 1000)
    streamGoesOn(connection, packet('x'.repeat(100)))
    connection.pause()
    deliver(connection, packet('held'))
    connection[how]()
    streamGoesOn(connection, packet('x'.repeat(20)))
    deliver(connection, packet('packet'))
    closed(connection, cause.local, 0, 1000)
    expect(infos.map((info) => info.discardedBytes)).toEqual([100 + 4 + 20 + 6 + 1000])
  })

  test('a packet that was delivered does not count', () => {
    const connection = new FakeEngine().connection()
    const infos: CloseInfo[] = []
    connection.on('close', (info) => infos.push(info))
    connection.on('packet', () => connection.destroy())
    deliver(connection, packet('taken'))
    deliver(connection, packet('not'))
    closed(connection, cause.local, 0, 0)
    expect(infos[0]?.discardedBytes).toBe(3)
  })

  test('what a stream held unread when the peer broke off', async () => {
    const connection = new FakeEngine().connection()
    connection.on('stream', () => undefined)
    streamBegins(connection, 1000)
    streamGoesOn(connection, packet('x'.repeat(100)))
    closed(connection, cause.peerReset, 0, 0)
    expect((await connection.closed).discardedBytes).toBe(100)
  })
})

test('a listener that is added while a packet waits for one gets it, on a link as well', async () => {
  const connection = new FakeEngine().connection({}, false)
  deliver(connection, packet('x'))
  expect(receiveQueueOf(connection).has(holdReason.noListener)).toBe(true)
  const seen = vi.fn()
  connection.on('packet', seen)
  await nextTick()
  expect(seen).toHaveBeenCalledTimes(1)
})
