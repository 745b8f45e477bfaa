/** Guarantees 6 and 7: how connections are named and found. */

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { type Connection, createServer } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { load } from '../helpers/load.js'
import { frame } from '../helpers/packets.js'
import { HOST } from '../helpers/ports.js'
import { openSocket } from '../helpers/raw_client.js'
import { startClient, startServer } from '../helpers/servers.js'
import { until } from '../helpers/time.js'
import { many } from './support.js'

describe('guarantee 6: looking a connection up is safe and changes nothing', () => {
  test('an id finds its connection while that is open, and nothing afterwards', async () => {
    const { server, port } = await startServer()
    const sockets = await many(20, () => openSocket(port))
    await until('all are connected', () => server.connections.size === 20)
    const open = [...server.connections]
    for (const connection of open) {
      expect(server.connections.get(connection.id)).toBe(connection)
      expect(server.connections.has(connection.id)).toBe(true)
    }
    const [first] = open
    if (first === undefined) throw new Error('there is none')
    expect(server.disconnect(first.id)).toBe(true)
    await first.closed
    expect(server.connections.get(first.id)).toBeUndefined()
    expect(server.disconnect(first.id)).toBe(false)
    expect(server.disconnect(first)).toBe(false)
    expect(first.send('x')).toBe('closed')
    expect(first.stats()).toBeUndefined()
    expect(first.queuedBytes).toBe(0)
    // Every operation on what is gone is without effect, also on whoever has its slot now.
    const late = await openSocket(port)
    await until('the new one is there', () => server.connections.size === 20)
    const heir = [...server.connections].find((one) => !open.includes(one))
    first.pause().resume().demand(1).end().reset().destroy()
    first.flush()
    late.write(frame(Buffer.from('still here')))
    server.on('packet', (packet, connection) => {
      if (connection === heir) connection.send(packet)
    })
    await once(late, 'data')
    expect(sockets.length).toBe(20)
  })

  test('ids that never were find nothing, and leave nothing behind', async () => {
    const { server, port } = await startServer()
    await openSocket(port)
    await until('it is connected', () => server.connections.size === 1)
    const [connection] = server.connections
    const id = connection?.id ?? 0
    const before = JSON.stringify(server.stats()?.pools)
    const strange = [0, -1, 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, Number.MAX_SAFE_INTEGER, -id, id + 1]
    for (const other of [...strange, id + 2 ** 21, id - 2 ** 21, id + 0.5]) {
      expect(server.connections.get(other)).toBeUndefined()
      expect(server.connections.has(other)).toBe(false)
      expect(server.disconnect(other)).toBe(false)
    }
    for (let i = 0; i < 100_000; i++) server.connections.get(i * 2 ** 21)
    expect(server.connections.size).toBe(1)
    expect([...server.connections]).toEqual([connection])
    expect(JSON.stringify(server.stats()?.pools)).toBe(before)
  })

  test('the list may change while it is walked', async () => {
    const { server, port } = await startServer()
    await many(30, () => openSocket(port))
    await until('all are connected', () => server.connections.size === 30)
    let count = 0
    for (const connection of server.connections) {
      count++
      connection.destroy()
      for (const other of server.connections) if (other.id > connection.id) other.send('still there')
    }
    expect(count).toBe(30)
    await until('all are closed', () => server.connections.size === 0)
    expect(server.disconnectAll()).toBe(0)
  })
})

/** Connections come and go. Each has an answer first: one that is reset before it was accepted never was a connection. */
async function churn(port: number, rounds: number, together: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const sockets = await many(together, () => openSocket(port), together)
    const answers = sockets.map((socket) => once(socket, 'data'))
    for (const socket of sockets) socket.write(frame(Buffer.from('x')))
    await Promise.all(answers)
    for (const socket of sockets) {
      if (round % 2 === 0) socket.resetAndDestroy()
      else socket.destroy()
    }
  }
}

describe("guarantee 7: an id is never given twice in a process's life", () => {
  test('not by a server, by its clients, by other servers, nor after a restart', async () => {
    const ids: number[] = []
    const note = (connection: Connection): void => {
      ids.push(connection.id)
    }
    const servers = [createServer({ ioThreads: 2 }), createServer({ ioThreads: 1, maxFreeContexts: -1 })]
    onTestFinished(async () => {
      for (const server of servers) await server.close({ deadline: 0 })
    })
    let expected = 0
    for (const server of servers) {
      server.on('connection', note)
      server.on('packet', (packet, connection) => connection.send(packet))
    }
    for (let start = 0; start < 3; start++) {
      const ports = await Promise.all(servers.map(async (server) => (await server.listen(0, HOST)).port))
      for (const port of ports) {
        await churn(port, load(8, 500), 25)
        expected += load(8, 500) * 25
        const maker = startClient()
        maker.on('connection', note)
        await many(10, () => maker.connect({ port, host: HOST }))
        expected += 20
      }
      await until('all have been seen', () => ids.length === expected)
      for (const server of servers) await server.close({ deadline: 0 })
    }
    expect(new Set(ids).size).toBe(expected)
    expect(ids.every((id) => Number.isSafeInteger(id) && id > 0)).toBe(true)
    // Slots are used again; it is the rest of the id that differs.
    expect(new Set(ids.map((id) => id % 2 ** 21)).size).toBeLessThan(expected)
  })

  test('nor by a Worker', async () => {
    const here = await startServer()
    const mine: number[] = []
    here.server.on('connection', (connection) => mine.push(connection.id))
    here.server.on('packet', (packet, connection) => connection.send(packet))
    const theirs: number[][] = []
    for (let generation = 0; generation < 2; generation++) {
      const workers = [0, 1].map(() => new Worker(new URL('echo_worker.mjs', import.meta.url)))
      const ports = await Promise.all(workers.map(async (worker) => ((await once(worker, 'message')) as [number])[0]))
      await Promise.all([...ports, here.port].map((port) => churn(port, 4, 20)))
      for (const worker of workers) {
        worker.postMessage('end')
        theirs.push(((await once(worker, 'message')) as [number[]])[0])
        await once(worker, 'exit')
      }
    }
    await until('all have been seen', () => mine.length === 160)
    const all = [...mine, ...theirs.flat()]
    expect(all.length).toBeGreaterThan(160 + 4 * 60)
    expect(new Set(all).size).toBe(all.length)
  })
})
