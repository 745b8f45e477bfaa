/** Guarantees 8 and 9: how connections end, whatever happens at the same moment. */

import type net from 'node:net'
import { type CloseInfo, connect, type Connection, createServer, framing, type Server } from 'iocp'
import { describe, expect, test } from 'vitest'
import { load, random } from '../helpers/load.js'
import { frame } from '../helpers/packets.js'
import { HOST } from '../helpers/ports.js'
import { openSocket } from '../helpers/raw_client.js'
import { nextConnection } from '../helpers/servers.js'
import { counter, startClient, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'
import { many } from './support.js'
import { atRest, Witness } from './witness.js'

const KIB = 1024

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
    const last = nextConnection(half)
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
