/** Guarantees 2 and 8 when completions come late and in another order; the addon's test variant makes them. */

import { describe, expect, test } from 'vitest'
import { faultsOfLibrary } from '../helpers/faults.js'
import { load, random } from '../helpers/load.js'
import { HOST } from '../helpers/ports.js'
import { openSocket } from '../helpers/raw_client.js'
import { counter, startClient, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'
import { echoBytes, echoPackets } from './echo.js'
import { many } from './support.js'

const faults = faultsOfLibrary()

/** Holds completions back, each for a time of its own, and makes reads and writes short. */
function disturb(delay: number): () => number {
  faults?.set('completion', { delay, perMille: 200 })
  faults?.set('receive', { shortTo: 1000, perMille: 300 })
  faults?.set('send', { shortTo: 700, perMille: 300 })
  return () => faults?.hits('completion') ?? 0
}

describe.skipIf(faults === undefined)('guarantee 2, while completions come late and reads and writes short', () => {
  test.each([
    { ioThreads: 8, pendingReads: 8, readMode: 'direct' },
    { ioThreads: 4, pendingReads: 64, readMode: 'direct' },
    { ioThreads: 64, pendingReads: 3, readMode: 'direct' },
    { ioThreads: 4, pendingReads: 4, readMode: 'adaptive' },
    { ioThreads: 3, pendingReads: 1, readMode: 'zero-byte', skipOnSuccess: false }
  ] as const)('$ioThreads threads, $pendingReads reads, $readMode', async (options) => {
    const hits = disturb(4)
    await echoBytes(options, 12, load(120_000, 5_000_000))
    expect(hits()).toBeGreaterThan(0)
  })

  test('8 threads, 8 reads, 100 connections, every packet numbered', { timeout: load(60_000, 1_200_000) }, async () => {
    const hits = disturb(3)
    await echoPackets({ ioThreads: 8, pendingReads: 8, readMode: 'direct' }, 100, load(40, 5000))
    expect(hits()).toBeGreaterThan(100)
  })
})

describe.skipIf(faults === undefined)('guarantee 8, while completions come late', () => {
  test('operations that cannot be cancelled: the connections are closed all the same', async () => {
    const { server, port } = await startServer()
    const sockets = await Promise.all(Array.from({ length: 4 }, async () => openSocket(port)))
    const resets = sockets.map(
      (socket) =>
        new Promise((resolve) => {
          socket.resume().once('close', resolve)
        })
    )
    await until('all are there', () => server.connections.size === 4)
    const accessDenied = 5
    faults?.set('cancel', { error: accessDenied, count: 4 })
    const closes = [...server.connections].map((connection, i) => {
      if (i < 2) connection.destroy()
      else connection.reset()
      return connection.closed
    })
    expect((await Promise.all(closes)).map(({ cause }) => cause)).toEqual(Array(4).fill('local'))
    expect(faults?.hits('cancel')).toBe(4)
    expect((await Promise.all(resets)).filter((isReset) => isReset)).toHaveLength(2)
    await until('nothing is left', () => server.stats()?.pendingObjects === 2)
  })

  test("one 'close' for each connection, whoever ends it and when", async () => {
    disturb(5)
    const { server, port } = await startServer({ ioThreads: 6, pendingReads: 4, readMode: 'direct' })
    const closes = new Map<number, number>()
    const wrong: string[] = []
    let opened = 0
    server.on('connection', () => opened++)
    server.on('packet', (packet, connection) => {
      if (closes.has(connection.id)) wrong.push(`a packet after the close of ${connection.id}`)
      connection.send(packet)
    })
    server.on('disconnect', (_, { id }) => closes.set(id, (closes.get(id) ?? 0) + 1))
    const mine = startClient({ ioThreads: 3 })
    const draw = random(21)
    const rounds = load(3, 100)
    for (let round = 0; round < rounds; round++) {
      await many(30, async () => {
        const connection = await mine.connect({ port, host: HOST })
        for (let i = 0; i < 8; i++) connection.send(Buffer.alloc(draw(4000)))
        await pause(draw(20))
        const theirs = [...server.connections][draw(server.connections.size)]
        for (const one of [connection, theirs]) {
          const how = draw(3)
          if (how === 0) one?.end({ deadline: 1000 })
          else if (how === 1) one?.destroy()
          else one?.reset()
        }
        await connection.closed
      })
    }
    await until('all have ended', () => server.connections.size === 0 && server.stats()?.pools.contexts.inUse === 0)
    expect(wrong).toEqual([])
    // One that is reset before it was accepted never was a connection here.
    expect(opened + counter(server, 'acceptFailures')).toBe(rounds * 30)
    expect(closes.size).toBe(opened)
    expect([...closes.values()].every((count) => count === 1)).toBe(true)
    expect(server.stats()?.pendingObjects).toBe(2)
  })
})
