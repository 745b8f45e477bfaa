/** Guarantee 4 and the ways of reading: when memory is used for it, and when not. */

import { framing } from 'iocp'
import { describe, expect, test } from 'vitest'
import { numbered, NumberedStream } from '../helpers/numbered.js'
import { frame } from '../helpers/packets.js'
import { openSocket } from '../helpers/raw_client.js'
import { counter, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'
import { many } from './support.js'

describe('guarantee 4: readiness first, memory only when data is there', () => {
  test('500 idle connections hold no buffer, and are served when they speak', async () => {
    const { server, port } = await startServer({ readMode: 'zero-byte' })
    server.on('packet', (packet, connection) => {
      connection.send(packet)
    })
    const sockets = await many(500, () => openSocket(port))
    await until('all are connected', () => server.connections.size === sockets.length)
    const idle = server.stats()
    expect(idle?.pendingDirectReads).toBe(0)
    expect(idle?.pools.readBuffers.inUse).toBe(0)
    expect(idle?.pools.waitBuffers.inUse).toBe(0)
    expect(counter(server, 'zeroReads')).toBeGreaterThanOrEqual(sockets.length)
    expect(counter(server, 'directReads')).toBe(0)

    let answers = 0
    for (const socket of sockets) {
      socket.once('data', (data) => {
        if (data.equals(frame(Buffer.from('speak')))) answers++
      })
      socket.write(frame(Buffer.from('speak')))
    }
    await until('all are answered', () => answers === sockets.length)
    await until('the buffers are back', () => server.stats()?.pools.readBuffers.inUse === 0)
    expect(counter(server, 'directReads')).toBe(0)
  })

  test("an unfinished packet holds its own bytes only, not a reader's buffer", async () => {
    const { server, port } = await startServer({ readMode: 'zero-byte' })
    const sockets = await many(50, () => openSocket(port))
    // A header that announces 1 MiB, and ten bytes of it.
    const beginning = Buffer.alloc(14)
    beginning.writeUInt32BE(1024 * 1024)
    for (const socket of sockets) socket.write(beginning)
    await until('all have come', () => counter(server, 'bytesIn') === 14 * sockets.length)
    await until('the buffers are back', () => server.stats()?.pools.readBuffers.inUse === 0)
    expect(server.stats()?.pools.waitBuffers.inUse).toBe(0)
  })
})

describe('reading adapts to the load', () => {
  test("'adaptive': a new connection waits with a buffer, for its first bytes only, not for long and not in a crowd", async () => {
    const { server, port } = await startServer()
    const sockets = await many(400, () => openSocket(port))
    await until('all are connected', () => server.connections.size === sockets.length)
    // Threads that count at the same moment may each take the last one.
    const most = 256 + 8
    await until(
      'all wait for something',
      () => counter(server, 'directReads') + counter(server, 'zeroReads') >= sockets.length
    )
    expect(counter(server, 'directReads')).toBeGreaterThan(0)
    expect(server.stats()?.pendingDirectReads).toBeLessThanOrEqual(most)
    expect(server.stats()?.pools.waitBuffers.peak).toBeLessThanOrEqual(most)
    await until('none has a buffer any more', () => server.stats()?.pools.waitBuffers.inUse === 0)
    expect(server.stats()?.pendingDirectReads).toBe(0)
    expect(server.connections.size).toBe(sockets.length)
    expect(counter(server, 'zeroReads')).toBe(sockets.length)

    const early = await openSocket(port)
    early.write(frame(Buffer.from('first')))
    await until('it has come', () => counter(server, 'packetsIn') === 1)
    await until('it waits without a buffer', () => counter(server, 'zeroReads') === sockets.length + 1)
    expect(server.stats()?.pendingDirectReads).toBe(0)
  })

  test("'adaptive': with a buffer while a connection is busy, without one when it has become quiet", async () => {
    const { server, port } = await startServer({ pendingReads: 4 })
    const seen = new NumberedStream(1)
    server.on('packet', (packet, connection) => {
      seen.take(packet)
      connection.send(packet)
    })
    const socket = await openSocket(port)
    let answered = 0
    socket.on('data', (data) => (answered += data.length))
    let sent = 0
    const ping = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        socket.write(frame(numbered(1, sent, 100)))
        sent += 100
        await until('the answer is here', () => answered === (sent / 100) * 104)
      }
    }
    await until('it is connected', () => server.connections.size === 1)
    await until('it waits without a buffer', () => server.stats()?.pendingDirectReads === 0)
    await ping(1)
    expect(server.stats()?.pendingDirectReads).toBe(0)

    await ping(20)
    await until('it reads with buffers', () => server.stats()?.pendingDirectReads === 4)
    expect(server.stats()?.pools.waitBuffers.inUse).toBe(4)

    // Nothing is done from here on: it goes back by itself.
    await until('it reads without buffers', () => server.stats()?.pendingDirectReads === 0)
    await until('the buffers are back', () => server.stats()?.pools.waitBuffers.inUse === 0)

    // Neither change has cost a byte, and it works a second time.
    await ping(20)
    await until('it reads with buffers again', () => server.stats()?.pendingDirectReads === 4)
    await until('it reads without buffers again', () => server.stats()?.pendingDirectReads === 0)
    await ping(1)
    expect(seen.at).toBe(sent)
  })

  test("'direct': buffers wait from the beginning; 'zero-byte': never", async () => {
    const direct = await startServer({ readMode: 'direct', pendingReads: 3 })
    const zero = await startServer({ readMode: 'zero-byte', pendingReads: 3 })
    for (const { server } of [direct, zero]) server.on('packet', () => undefined)
    const sockets = [...(await many(5, () => openSocket(direct.port))), ...(await many(5, () => openSocket(zero.port)))]
    await until('buffers wait', () => direct.server.stats()?.pendingDirectReads === 15)
    for (let i = 0; i < 20; i++) {
      for (const socket of sockets) socket.write(frame(Buffer.alloc(50)))
      await pause(5)
    }
    await until('all have come', () => counter(direct.server, 'packetsIn') + counter(zero.server, 'packetsIn') === 200)
    expect(counter(zero.server, 'directReads')).toBe(0)
    expect(zero.server.stats()?.pendingDirectReads).toBe(0)
    expect(direct.server.stats()?.pendingDirectReads).toBe(15)
  })
})

describe('completions that are skipped on success', () => {
  const flood = async (skipOnSuccess: boolean): Promise<{ skips: boolean; skipped: number; bytes: number }> => {
    // One thread is late enough to find something when it reads.
    const { server, port } = await startServer({
      skipOnSuccess,
      ioThreads: 1,
      readMode: 'direct',
      framing: framing.raw()
    })
    const seen = new NumberedStream(3)
    server.on('packet', (packet, connection) => {
      seen.take(packet)
      connection.send(packet)
    })
    const socket = await openSocket(port)
    let answered = 0
    socket.on('data', (data) => (answered += data.length))
    let at = 0
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 4; i++) {
        socket.write(numbered(3, at, 30_000))
        at += 30_000
      }
      await until('it is back', () => answered === at)
    }
    expect(seen.at).toBe(at)
    return { skips: server.stats()?.skipOnSuccess === true, skipped: counter(server, 'skipSuccess'), bytes: seen.at }
  }

  test('are counted, where the providers of the machine allow it', async () => {
    const { skips, skipped } = await flood(true)
    if (skips) expect(skipped).toBeGreaterThan(0)
    else expect(skipped).toBe(0)
  })

  test('do not happen when it is turned off', async () => {
    const { skips, skipped } = await flood(false)
    expect(skips).toBe(false)
    expect(skipped).toBe(0)
  })
})
