/** Memory is short for a while, for many connections at once: calls become fewer, nobody waits in a loop, all recover. */

import { once } from 'node:events'
import type { Connection, ServerOptions } from 'iocp'
import { describe, expect, test } from 'vitest'
import { type Call, faultsOfLibrary, type Rule, win } from '../helpers/faults.js'
import { HOST } from '../helpers/ports.js'
import { counter, startClient, startEcho, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'
import { Subject } from './sweep_support.js'

const seam = faultsOfLibrary()
const CONNECTIONS = 100
const INSUFFICIENT_RESOURCES = 0xc000009a

/** Sends numbered packets and resolves when each has come back, in sequence. */
async function echoes(connection: Connection, from: number, count: number): Promise<void> {
  let due = from
  const done = new Promise<void>((resolve, reject) => {
    const listener = (packet: Buffer): void => {
      if (packet.readUInt32BE() !== due++) reject(new Error(`${packet.readUInt32BE()} came where ${due - 1} was due`))
      if (due < from + count) return
      connection.off('packet', listener)
      resolve()
    }
    connection.on('packet', listener)
    connection.once('close', ({ error }) => {
      reject(new Error('closed', { cause: error }))
    })
  })
  for (let number = from; number < from + count; number++) {
    const packet = Buffer.alloc(50)
    packet.writeUInt32BE(number)
    connection.send(packet)
  }
  await done
}

describe.skipIf(seam === undefined)('a shortage of memory', () => {
  const storms: { name: string; call: Call; rule: Rule; options: ServerOptions }[] = [
    {
      name: 'waits without a buffer',
      call: 'zero_read',
      rule: { error: win.noBuffers },
      options: { readMode: 'zero-byte' }
    },
    {
      name: 'waits that had been pending',
      call: 'zero_read',
      rule: { status: INSUFFICIENT_RESOURCES },
      options: { readMode: 'zero-byte' }
    },
    {
      name: 'reads of what is there',
      call: 'receive_now',
      rule: { error: win.noSystemResources },
      options: { readMode: 'zero-byte' }
    },
    { name: 'writes', call: 'send', rule: { error: win.noBuffers }, options: {} },
    { name: 'writes that had been pending', call: 'send', rule: { status: INSUFFICIENT_RESOURCES }, options: {} },
    {
      name: 'buffers',
      call: 'memory',
      rule: { error: win.notEnoughMemory },
      options: { maxFreeBuffers: -1, readMode: 'zero-byte' }
    }
  ]
  test.each(storms)(
    'of $name: pauses that grow, for each of many connections; then all goes on',
    { timeout: 60_000 },
    async ({ call, rule, options }) => {
      const { server, port } = await startEcho({ ...options, pendingAccepts: 64 })
      // The clients do without what is short, so that all that is counted is the server's.
      const client = startClient({ readMode: 'direct' })
      await until(() => server.stats()?.listeners[0]?.pendingAccepts === 64)
      const subject = new Subject(server, port)
      const connections = await Promise.all(
        Array.from({ length: CONNECTIONS }, () => client.connect({ host: HOST, port }))
      )
      for (const connection of connections) connection.on('packet', () => undefined)
      await Promise.all(connections.map((connection) => echoes(connection, 0, 2)))
      seam?.set(call, rule)
      const writers = call === 'send' ? [...server.connections] : connections
      if (call === 'send') for (const connection of writers) connection.send(Buffer.alloc(50))
      else for (const connection of writers) connection.send(numbered(2))
      const begun = performance.now()
      // Pauses of 20, 40, 80, 160, 320 ms on a clock with ticks of 16: the earliest times of the retries.
      const earliest = [4, 28, 92, 236, 540]
      for (const time of [100, 250, 550]) {
        await pause(Math.max(0, begun + time - performance.now()))
        const hits = seam?.hits(call) ?? 0
        const elapsed = performance.now() - begun
        const retries = earliest.filter((at) => at <= elapsed).length
        expect(hits).toBeLessThanOrEqual(CONNECTIONS * (1 + retries))
      }
      await until('each has met it', () => (seam?.hits(call) ?? 0) >= CONNECTIONS, 5000)
      expect(counter(server, 'enobufs')).toBeGreaterThanOrEqual(CONNECTIONS)
      seam?.clear()
      await until('all have come', () => counter(client, 'packetsIn') === 3 * CONNECTIONS)
      await pause(10)
      expect(server.connections.size).toBe(CONNECTIONS)
      await Promise.all(connections.map((connection) => echoes(connection, 3, 3)))
      for (const connection of connections) void connection.end()
      await until('all have ended', () => server.connections.size === 0)
      for (const { cause, discardedBytes } of subject.closed.splice(0))
        expect({ cause, discardedBytes }).toEqual({ cause: 'peer-end', discardedBytes: 0 })
      await subject.isAtRest()
      await subject.serves()
    }
  )

  test(
    'of reads with buffers, for ever: each waits without one, and nobody is closed',
    { timeout: 60_000 },
    async () => {
      const { server, port } = await startEcho({ readMode: 'direct', pendingReads: 4 })
      const client = startClient({ readMode: 'zero-byte' })
      const connections = await Promise.all(Array.from({ length: 40 }, () => client.connect({ host: HOST, port })))
      await Promise.all(connections.map((connection) => echoes(connection, 0, 2)))
      seam?.set('receive', { error: win.noBuffers })
      const begun = performance.now()
      let turns = 0
      // Longer than the six retries of a connection.
      for (; performance.now() - begun < 2000; turns++) {
        await Promise.all(connections.map((connection) => echoes(connection, 2 + turns, 1)))
      }
      // One attempt for each wait at most: a pause is behind each that fails.
      expect(turns).toBeGreaterThan(5)
      expect(seam?.hits('receive')).toBeLessThanOrEqual(40 * (2000 / 20 + 10))
      expect(server.connections.size).toBe(40)
      expect(counter(server, 'zeroReads')).toBeGreaterThan(40)
    }
  )

  test(
    'that lasts closes those that cannot do without, one by one, and spares those that are silent',
    { timeout: 60_000 },
    async () => {
      const { server, port } = await startServer()
      const client = startClient()
      const connections = await Promise.all(Array.from({ length: 20 }, () => client.connect({ host: HOST, port })))
      await until('all are there', () => server.connections.size === 20)
      seam?.set('send', { error: win.noBuffers })
      const closed: (string | undefined)[] = []
      server.on('disconnect', ({ cause, error }) => closed.push(`${cause} ${String(error?.code)}`))
      const [...accepted] = server.connections
      for (const connection of accepted.slice(0, 10)) connection.send('hello')
      await until('they are closed', () => closed.length === 10)
      expect(new Set(closed)).toEqual(new Set(['io-error ENOBUFS']))
      // One call, and six retries.
      expect(seam?.hits('send')).toBe(70)
      await pause(200)
      expect(seam?.hits('send')).toBe(70)
      expect(server.connections.size).toBe(10)
      seam?.clear()
      const spared = connections.filter((connection) => connection.state === 'open')
      expect(spared.length).toBe(10)
      for (const connection of accepted.slice(10)) connection.send('hello')
      await Promise.all(spared.map((connection) => once(connection, 'packet')))
    }
  )
})

describe.skipIf(seam === undefined)('a port that cannot be asked', () => {
  test('is asked again after a pause, by each thread, and then serves', async () => {
    const { server, port } = await startEcho({ ioThreads: 4 })
    const subject = new Subject(server, port)
    seam?.set('wait', { error: win.noSystemResources })
    const begun = performance.now()
    const talking = subject.talk()
    await pause(300)
    const passed = performance.now() - begun
    // 10 ms for each of four threads.
    expect(seam?.hits('wait')).toBeGreaterThan(4)
    expect(seam?.hits('wait')).toBeLessThanOrEqual(4 * (passed / 10 + 2))
    seam?.clear()
    expect(await talking).toMatchObject({ complete: true, wrong: undefined })
    await subject.isAtRest()
  })
})

function numbered(number: number): Buffer {
  const packet = Buffer.alloc(50)
  packet.writeUInt32BE(number)
  return packet
}
