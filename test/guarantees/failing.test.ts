/** Guarantees 3, 10 and 11: what fails closes its connection, accounts for its queue and gives back what it had. */

import { type Connection, createServer, type SendOutcome } from 'iocp'
import { describe, expect, test } from 'vitest'
import { load } from '../helpers/load.js'
import { frame } from '../helpers/packets.js'
import { HOST } from '../helpers/ports.js'
import { openSocket } from '../helpers/raw_client.js'
import { counter, startClient, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'
import { many } from './support.js'
import { atRest, Witness } from './witness.js'

const KIB = 1024
/** A port where nobody listens: TCPMUX was never in use. */
const CLOSED = 1

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
