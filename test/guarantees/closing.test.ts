/** Guarantees 3, 8, 9, 10, 11 and 17: how connections and servers end, whatever happens at the same moment. */

import type net from 'node:net'
import {
  type Client,
  type CloseInfo,
  connect,
  type Connection,
  createServer,
  framing,
  type SendOutcome,
  type Server
} from 'iocp'
import { describe, expect, test } from 'vitest'
import { load, random } from '../helpers/load.js'
import { frame } from '../helpers/packets.js'
import { HOST } from '../helpers/ports.js'
import { openSocket } from '../helpers/raw_client.js'
import { counter, startClient, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'
import { many } from './support.js'

const KIB = 1024
/** A port where nobody listens: TCPMUX was never in use. */
const CLOSED = 1

/** Sees every event of every connection of a server or client, and knows what must not be. */
class Witness {
  readonly wrong: string[] = []
  readonly closed = new Map<Connection, CloseInfo>()
  readonly seen: Connection[] = []
  #disconnects = 0

  constructor(endpoint: Server | Client) {
    const late = (what: string, connection: Connection): void => {
      if (this.closed.has(connection)) this.wrong.push(`'${what}' after 'close' of ${connection.id}`)
    }
    // One type for both: their common events are the same.
    const owner = endpoint as Client
    owner.on('connection', (connection) => {
      late('connection', connection)
      this.seen.push(connection)
      for (const event of ['packet', 'end', 'drain', 'drop', 'frameError', 'error'] as const) {
        connection.on(event, () => {
          late(event, connection)
        })
      }
      connection.on('close', (info) => {
        if (this.closed.has(connection)) this.wrong.push(`a second 'close' of ${connection.id}`)
        this.closed.set(connection, info)
        if (connection.state !== 'closed') this.wrong.push(`${connection.state} in 'close' of ${connection.id}`)
      })
    })
    for (const event of ['packet', 'drop', 'frameError'] as const) {
      owner.on(event, (_: unknown, connection: Connection) => {
        late(`server's ${event}`, connection)
      })
    }
    owner.on('disconnect', (info, connection) => {
      this.#disconnects++
      if (this.closed.get(connection) !== info) this.wrong.push(`'disconnect' without 'close' of ${connection.id}`)
    })
  }

  /** What was paused tells its end when it goes on, so that may come later than the end itself. */
  async allClosed(): Promise<void> {
    await until('every connection has told its end', () => this.closed.size === this.seen.length)
  }

  /** Every connection that there was has ended, once. */
  check(): void {
    expect(this.wrong).toEqual([])
    expect(this.closed.size).toBe(this.seen.length)
    expect(this.#disconnects).toBe(this.seen.length)
  }
}

/** Nothing of an endpoint is in the kernel any more, but what keeps it open itself. */
async function atRest(server: Server): Promise<void> {
  await until('nothing is left', () => {
    const stats = server.stats()
    // The completion port and its listener.
    return stats?.pendingObjects === 2 && stats.pools.contexts.inUse === 0
  })
  await until('everything has been told', () => server.connections.size === 0)
  const stats = server.stats()
  expect(stats?.pools.readBuffers.inUse).toBe(0)
  expect(stats?.pools.waitBuffers.inUse).toBe(0)
  expect(stats?.pendingDirectReads).toBe(0)
  expect(stats?.connections.now).toBe(0)
}

const endings: Record<string, (connection: Connection) => void> = {
  end: (connection) => connection.end({ deadline: 2000 }),
  destroy: (connection) => connection.destroy(),
  reset: (connection) => connection.reset(),
  'end and destroy': (connection) => connection.end().destroy(),
  'all of them': (connection) => connection.end().reset().destroy().end(),
  'send and end': (connection) => {
    connection.send(Buffer.alloc(20 * KIB))
    connection.end({ deadline: 2000 })
  },
  'pause, end and resume': (connection) => {
    connection.pause().end({ deadline: 100 })
    setTimeout(() => connection.resume(), 20)
  }
}
const foreignEndings: Record<string, (socket: net.Socket) => void> = {
  end: (socket) => socket.end(),
  destroy: (socket) => socket.destroy(),
  reset: (socket) => socket.resetAndDestroy(),
  'end inside a packet': (socket) => socket.end(Buffer.from([0, 0, 1, 0, 1, 2])),
  'a frame that is too large': (socket) => socket.write(Buffer.alloc(16, 0xff))
}

/** What a function does at a moment nobody can foresee. */
function soon(draw: (below: number) => number, act: () => void): void {
  const when = draw(4)
  if (when === 0) act()
  else if (when === 1) process.nextTick(act)
  else if (when === 2) setImmediate(act)
  else setTimeout(act, draw(8))
}

describe("guarantee 8: exactly one 'close' for each connection, nothing after it", () => {
  test.each([
    { ioThreads: 8, pendingReads: 8, readMode: 'direct' },
    { ioThreads: 3, pendingReads: 1, readMode: 'adaptive' }
  ] as const)('whoever ends it, however, at any moment: $ioThreads threads, $pendingReads reads', async (options) => {
    const { server, port } = await startServer(options)
    const mine = startClient(options)
    const [ours, theirs] = [new Witness(server), new Witness(mine)]
    const draw = random(11)
    const choose = <T>(from: Record<string, T>): T => {
      const all = Object.values(from)
      return all[draw(all.length)] as T
    }
    server.on('connection', (connection) => {
      const end = choose(endings)
      // Some connections are left to their peer.
      if (draw(3) > 0) {
        soon(draw, () => {
          end(connection)
        })
      }
    })
    server.on('packet', (packet, connection) => {
      connection.send(packet)
      if (draw(20) === 0) choose(endings)(connection)
    })
    const rounds = load(4, 200)
    for (let round = 0; round < rounds; round++) {
      await many(40, async (index) => {
        if (index % 2 === 0) {
          // It may be closed before it was even told of.
          const connection = await mine.connect({ port, host: HOST })
          for (let i = 0; i < 5; i++) connection.send(Buffer.alloc(draw(3000)))
          soon(draw, () => {
            choose(endings)(connection)
          })
          await connection.closed
        } else {
          const socket = await openSocket(port)
          for (let i = 0; i < 5; i++) socket.write(frame(Buffer.alloc(draw(3000))))
          socket.resume()
          soon(draw, () => {
            choose(foreignEndings)(socket)
          })
          await new Promise<void>((resolve) => {
            socket.on('close', () => {
              resolve()
            })
            setTimeout(() => socket.destroy(), 1000)
          })
        }
      })
    }
    await until('all have ended', () => server.connections.size + mine.connections.size === 0)
    await atRest(server)
    await Promise.all([ours.allClosed(), theirs.allClosed()])
    ours.check()
    theirs.check()
    expect(theirs.seen.length).toBe(rounds * 20)
    expect(counter(server, 'closes')).toBe(ours.seen.length)
  })

  test('the cause is that of the one who was first, and it has its error', async () => {
    const { server, port } = await startServer({ backpressure: { highWater: 16 * KIB, onOverflow: 'close' } })
    const witness = new Witness(server)
    const one = async (there: (socket: net.Socket) => void, here?: (connection: Connection) => void) => {
      const before = witness.seen.length
      const socket = await openSocket(port)
      await until('it is connected', () => witness.seen.length > before)
      const connection = witness.seen.at(-1)
      if (connection === undefined) throw new Error('there is none')
      socket.resume()
      here?.(connection)
      there(socket)
      const { cause, error } = await connection.closed
      return [cause, error?.code]
    }
    const nothing = (): void => undefined
    expect(await one((socket) => socket.end())).toEqual(['peer-end', undefined])
    expect(await one((socket) => socket.resetAndDestroy())).toEqual(['peer-reset', 'ECONNRESET'])
    expect(await one((socket) => socket.write(Buffer.alloc(4, 0xff)))).toEqual([
      'protocol-error',
      'ERR_IOCP_FRAME_TOO_LARGE'
    ])
    expect(await one(nothing, (connection) => connection.destroy())).toEqual(['local', undefined])
    expect(await one(nothing, (connection) => connection.reset())).toEqual(['local', undefined])
    expect(await one(nothing, (connection) => connection.end())).toEqual(['local', undefined])
    expect(
      await one(
        (socket) => socket.pause(),
        (connection) => {
          while (connection.send(Buffer.alloc(4 * KIB)) !== 'closed');
        }
      )
    ).toEqual(['overflow', 'ERR_IOCP_OVERFLOW'])
    const half = createServer({ ioThreads: 1 })
    const halfPort = (await half.listen(0, HOST)).port
    const silent = new Promise<CloseInfo>((resolve) => {
      half.once('connection', (connection) => {
        void connection.closed.then(resolve)
        connection.end({ deadline: 150 })
      })
    })
    // It never ends its own side.
    await openSocket(halfPort, { allowHalfOpen: true })
    const { cause, error } = await silent
    expect([cause, error?.code]).toEqual(['timeout', 'ETIMEDOUT'])
    const last = once(half)
    await openSocket(halfPort)
    const connection = await last
    await half.close()
    expect(connection.closeInfo?.cause).toBe('server-closing')
    witness.check()
  })
})

describe('guarantee 8, while a connection is paused and packets are held back', () => {
  /** Three packets have come in one batch; the first was taken, the others are held. */
  const paused = async (server: Server, port: number): Promise<[Connection, net.Socket]> => {
    const first = new Promise<Connection>((resolve) => {
      server.once('packet', (_, connection) => {
        resolve(connection.pause())
      })
    })
    const socket = await openSocket(port)
    socket.write(Buffer.concat([1, 2, 3].map((number) => frame(Buffer.alloc(100, number)))))
    const connection = await first
    expect(connection.stats()?.packetsRead).toBe(3)
    return [connection, socket]
  }

  test('destroy() throws away what is held, and the end is told at once', async () => {
    const { server, port } = await startServer()
    const [connection] = await paused(server, port)
    connection.destroy()
    expect(await connection.closed).toMatchObject({ cause: 'local', discardedBytes: 200 })
  })

  test.each(['end', 'deadline', 'reset'] as const)(
    'what is held can still be taken after %s, and then the end is told',
    async (how) => {
      const { server, port } = await startServer()
      const [connection, socket] = await paused(server, port)
      const packets: (number | undefined)[] = []
      connection.on('packet', (packet) => packets.push(packet[0]))
      if (how === 'reset') {
        // It is paused and does not see the reset; it sees that it cannot send.
        socket.resetAndDestroy()
        await pause(20)
        connection.send('does not arrive')
        await pause(20)
      } else {
        connection.end({ deadline: how === 'deadline' ? 50 : 5000 })
        if (how === 'end') socket.end()
      }
      if (how === 'deadline') await until('it is gone', () => server.connections.size === 0)
      expect(packets).toEqual([])
      connection.resume()
      const { discardedBytes } = await connection.closed
      expect(packets).toEqual([2, 3])
      expect(discardedBytes).toBe(0)
    }
  )

  test("after an orderly end of the peer 'close' waits for resume(), but not beyond the server's own", async () => {
    const { server, port } = await startServer()
    const [first, socket] = await paused(server, port)
    const packets: (number | undefined)[] = []
    first.on('packet', (packet) => packets.push(packet[0]))
    socket.end()
    await pause(50)
    expect(first.state).toBe('open')
    first.resume()
    expect((await first.closed).cause).toBe('peer-end')
    expect(packets).toEqual([2, 3])

    const [second] = await paused(server, port)
    await server.close({ deadline: 100 })
    expect(second.closeInfo).toMatchObject({ cause: 'server-closing', discardedBytes: 200 })
  })
})

/** The next connection of a server. */
function once(server: Server): Promise<Connection> {
  return new Promise((resolve) => {
    server.once('connection', resolve)
  })
}

describe('guarantee 3: a failure closes the connection, and its queue is accounted for', () => {
  test('a peer that resets while much is queued: every packet is told of, the other connections go on', async () => {
    const { server, port } = await startServer({
      ioThreads: 4,
      sendBuffer: 8 * KIB,
      backpressure: { highWater: '8MiB' }
    })
    const witness = new Witness(server)
    const sockets = await many(20, () => openSocket(port))
    await until('all are connected', () => server.connections.size === 20)
    const told = new Map<Connection, SendOutcome[]>()
    for (const connection of witness.seen) {
      const outcomes: SendOutcome[] = []
      told.set(connection, outcomes)
      for (let i = 0; i < 300; i++) {
        const size = i % 30 === 0 ? 20 * KIB : 3000
        connection.send(Buffer.alloc(size, i), (outcome) => {
          if (witness.closed.has(connection)) witness.wrong.push("told after 'close'")
          outcomes.push(outcome)
        })
      }
    }
    for (const [index, socket] of sockets.entries()) {
      if (index % 2 === 0) socket.resetAndDestroy()
      else socket.resume()
    }
    await until('every packet is told of', () => [...told.values()].every((outcomes) => outcomes.length === 300))
    await until('half of them are closed', () => witness.closed.size === 10)
    for (const [connection, outcomes] of told) {
      const info = witness.closed.get(connection)
      if (info === undefined) {
        expect(new Set(outcomes)).toEqual(new Set(['sent']))
      } else {
        expect(info.cause).toBe('peer-reset')
        expect(outcomes.at(-1)).toBe('closed')
        // In order: what was sent, then what was not.
        expect(outcomes.lastIndexOf('sent')).toBeLessThan(outcomes.indexOf('closed'))
      }
    }
    // Nothing stalls those that are left.
    const echoes = sockets.filter((_, index) => index % 2 === 1)
    let echoed = 0
    for (const socket of echoes) {
      socket.once('data', () => echoed++)
      socket.write(frame(Buffer.from('ping')))
    }
    server.on('packet', (packet, connection) => connection.send(packet))
    await until('they are served', () => echoed === 10)
    expect(witness.wrong).toEqual([])
  })

  test('closing with a full queue in order sends all of it first', async () => {
    const { server, port } = await startServer({ sendBuffer: 8 * KIB, backpressure: { hardCap: '32MiB' } })
    const socket = await openSocket(port)
    await until('it is connected', () => server.connections.size === 1)
    const [connection] = server.connections
    for (let i = 0; i < 500; i++) connection?.send(Buffer.alloc(10_000, i))
    connection?.end({ deadline: 0 })
    expect(connection?.send('too late')).toBe('closed')
    let bytes = 0
    socket.on('data', (data) => (bytes += data.length))
    await connection?.closed
    await until('all of it has come', () => bytes === 500 * 10_004)
  })
})

describe('guarantee 9: handlers may call everything, because no lock is held while they run', () => {
  test('in every handler: send, broadcast, look up, count, join, end others, listen, connect, close', async () => {
    const { server, port } = await startServer({ ioThreads: 4, readMode: 'direct', pendingReads: 4 })
    const witness = new Witness(server)
    const draw = random(3)
    let opened = 0
    let queued = 0
    let spares = false
    const everything = (connection: Connection): void => {
      connection.send('a')
      connection.flush()
      server.broadcast('b', { except: connection })
      server.broadcast('c', { group: 'g' })
      server.stats()
      connection.stats()
      connection.join('g')
      server.connections.get(connection.id)
      for (const other of server.connections) {
        if (draw(30) === 0 && !spares) other.destroy()
        other.pause().resume()
        queued += other.queuedBytes
      }
      connection.leave('g')
      connection.setFraming(framing.lengthField())
      if (opened++ < 20) {
        const second = createServer({ ioThreads: 1 })
        void second.listen(0, HOST).then(() => second.close({ deadline: 0 }))
        void connect({ port, host: HOST }).then(
          (made) => made.destroy(),
          () => undefined
        )
      }
    }
    server.on('connection', everything)
    server.on('packet', (_, connection) => {
      everything(connection)
    })
    server.on('disconnect', (_, connection) => {
      everything(connection)
    })
    for (let round = 0; round < 4; round++) {
      const sockets = await many(15, () => openSocket(port))
      for (const socket of sockets) {
        socket.resume()
        for (let i = 0; i < 4; i++) socket.write(frame(Buffer.from('ping')))
      }
      await pause(30)
      for (const socket of sockets) socket.destroy()
    }
    await until('the last of them is alone', () => server.connections.size === 0)
    // It ends the server itself, and lives to do so.
    spares = true
    const last = new Promise<void>((resolve, reject) => {
      server.once('packet', () => {
        server.close({ deadline: 200 }).then(() => {
          resolve()
        }, reject)
      })
    })
    const socket = await openSocket(port)
    socket.write(frame(Buffer.from('close')))
    await last
    witness.check()
    expect(queued).toBeGreaterThanOrEqual(0)
  })
})

describe('guarantees 10 and 11: what fails gives back everything it had taken', () => {
  test('after hundreds of failures of every kind nothing is left, and everything still works', async () => {
    const { server, port } = await startServer({
      maxConnections: 30,
      backpressure: { highWater: 4 * KIB, onOverflow: 'close' }
    })
    const witness = new Witness(server)
    const mine = startClient()
    for (let round = 0; round < load(5, 500); round++) {
      // Nobody listens there; the name does not exist; it is given up; it is the wrong kind of address.
      const failures = await Promise.allSettled([
        ...Array.from({ length: 10 }, () => mine.connect({ port: CLOSED, host: HOST })),
        mine.connect({ port: CLOSED, host: HOST, signal: AbortSignal.abort() }),
        mine.connect({ port: CLOSED, host: HOST, localAddress: '192.0.2.77' }),
        mine.connect({ port: CLOSED, host: 'name.invalid' }),
        ...Array.from({ length: 5 }, () => mine.connect({ port, host: HOST, signal: AbortSignal.timeout(1) }))
      ])
      expect(failures.slice(0, 13).map(({ status }) => status)).toEqual(Array<string>(13).fill('rejected'))
      // Above the limit, with a broken frame, with a reset, too slow.
      const sockets = await many(40, () => openSocket(port))
      for (const [index, socket] of sockets.entries()) {
        if (index % 3 === 0) socket.write(Buffer.alloc(8, 0xff))
        else if (index % 3 === 1) socket.resetAndDestroy()
      }
      for (const connection of server.connections) while (connection.send(Buffer.alloc(KIB)) === 'sent');
      await pause(5)
      for (const socket of sockets) socket.destroy()
      // A port that is in use.
      const second = createServer({ ioThreads: 2 })
      await expect(second.listen(port, HOST)).rejects.toThrow('EADDRINUSE')
      expect(second.stats()).toBeUndefined()
    }
    await atRest(server)
    await until('the client is at rest', () => {
      const stats = mine.stats()
      return stats === undefined || (stats.pendingObjects === 1 && stats.pools.contexts.inUse === 0)
    })
    witness.check()
    expect(counter(server, 'refused')).toBeGreaterThan(0)
    const works = await mine.connect({ port, host: HOST })
    server.on('packet', (packet, connection) => connection.send(packet))
    works.send('works')
    for await (const packet of works) {
      expect(packet.toString()).toBe('works')
      break
    }
  })
})

describe('guarantee 17: shutting down waits for everything that is under way', () => {
  test.each([
    { deadline: 0, ioThreads: 8 },
    { deadline: 40, ioThreads: 4 },
    { deadline: 800, ioThreads: 1 }
  ])('while all connections send and receive, with a deadline of $deadline ms', async ({ deadline, ioThreads }) => {
    const server = createServer({ ioThreads, pendingReads: 4, readMode: 'direct', sendBuffer: 16 * KIB })
    const witness = new Witness(server)
    let told = 0
    let asked = 0
    server.on('packet', (packet, connection) => {
      asked += 2
      connection.send(packet, () => told++)
      connection.send(Buffer.alloc(40 * KIB), () => told++)
    })
    for (let start = 0; start < 3; start++) {
      const before = witness.seen.length
      const alreadyAsked = asked
      const { port } = await server.listen(0, HOST)
      const mine = startClient({ ioThreads: 2 })
      const others = new Witness(mine)
      const sockets = await many(20, () => openSocket(port))
      const connections = await many(20, () => mine.connect({ port, host: HOST }))
      let flows = true
      const flood = (): void => {
        for (const [index, socket] of sockets.entries()) {
          if (socket.writable) socket.write(frame(Buffer.alloc(2000)))
          // Some do not read: their connections cannot end in order.
          if (index % 4 !== 0) socket.resume()
        }
        for (const connection of connections) connection.send(Buffer.alloc(2000))
        if (flows) setTimeout(flood, 2)
      }
      flood()
      await until('it flows', () => witness.seen.length === before + 40 && asked > alreadyAsked + 400)
      const pending = mine.connect({ port, host: HOST }).then(
        () => 'connected',
        () => 'refused'
      )
      // Peers end too, when they see that the server does.
      const report = await server.close({ deadline })
      flows = false
      expect(server.listening).toBe(false)
      expect(server.stats()).toBeUndefined()
      expect(server.connections.size).toBe(0)
      witness.check()
      expect(told).toBe(asked)
      const ended = witness.seen.length - before
      expect([40, 41]).toContain(ended)
      expect(report.drained + report.cut).toBe(ended)
      if (deadline === 0) expect(report.drained).toBe(0)
      expect(await pending).toMatch(/connected|refused/)
      await mine.close({ deadline: 0 })
      others.check()
      for (const socket of sockets) socket.destroy()
    }
  })
})
