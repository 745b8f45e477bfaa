/** Packets that go to workers: which, in which order, and how many. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { type Connection, framing } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  collect,
  connectTyped,
  jobsModule,
  numbered,
  numbers,
  packetTypes,
  startWorkers,
  typed,
  upTo
} from '../helpers/jobs.js'
import { RawClient } from '../helpers/raw_client.js'
import { startClient, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'

describe('routed packets', () => {
  test('go to the workers by their type; the others come to the main thread', async () => {
    const { server, port } = await startWorkers()
    const seen: number[] = []
    server.on('packet', (packet) => seen.push(packet[0] ?? -1))
    const connection = await connectTyped(port)
    const answers = collect(connection)
    connection.send(numbered(packetTypes.echo, 1))
    connection.send(numbered(0x50, 2))
    connection.send(numbered(0x22, 3))
    await until(() => answers.length === 2 && seen.length === 1)
    expect(answers).toEqual([numbered(packetTypes.echo, 1), numbered(0x22, 3)])
    expect(seen).toEqual([0x50])
  })

  test.each([[Buffer.from([2])], [Buffer.from([3])], [Buffer.from('\u0001\0\0\0\0a\0')]])(
    'also %j, which would be about a file where IOCPS is spoken',
    async (packet) => {
      const iocps = framing.iocps()
      const { server, port } = await startServer({
        framing: iocps,
        workers: { module: jobsModule, count: 1, route: 'all' }
      })
      server.on('packet', () => expect.unreachable())
      const connection = await startClient({ framing: iocps }).connect({ port, host: '127.0.0.1' })
      const answers = collect(connection)
      connection.send(packet)
      connection.send(numbered(packetTypes.echo, 1))
      await until(() => answers.length === 2)
      expect(answers).toEqual([packet, numbered(packetTypes.echo, 1)])
    }
  )

  test("'all' leaves none for the main thread", async () => {
    const { server, port } = await startWorkers({ route: 'all' })
    server.on('packet', () => expect.unreachable())
    const connection = await connectTyped(port)
    const answers = collect(connection)
    for (const number of upTo(300)) connection.send(numbered(number % 2 === 0 ? packetTypes.echo : 0x70, number))
    await until(() => answers.length === 300)
    expect(numbers(answers)).toEqual(upTo(300))
  })

  test('a worker sends to others and ends connections', async () => {
    const { port } = await startWorkers()
    const connections = await Promise.all([connectTyped(port), connectTyped(port), connectTyped(port)])
    const answers = connections.map(collect)
    connections[0].send(numbered(0x20, 7))
    await until(() => answers[1]?.length === 1 && answers[2]?.length === 1)
    expect(answers[0]).toEqual([])
    const closed = once(connections[1], 'close')
    connections[1].send(numbered(0x21, 0))
    await closed
    expect(connections[2].queuedBytes).toBe(0)
  })

  test('large packets pass unharmed', async () => {
    const { port } = await startWorkers()
    const connection = await connectTyped(port)
    const answers = collect(connection)
    const large = Buffer.alloc(1024 * 1024, 'large')
    large[0] = packetTypes.echo
    connection.send(large)
    connection.send(numbered(packetTypes.echo, 1))
    await until(() => answers.length === 2)
    expect(answers[0]?.equals(large)).toBe(true)
  })

  test('are answered although the peer has ended its side meanwhile', async () => {
    const { port } = await startWorkers()
    const client = await RawClient.open(port, { allowHalfOpen: true })
    let received = Buffer.alloc(0)
    client.socket.on('data', (bytes) => (received = Buffer.concat([received, bytes])))
    await client.write(Buffer.concat([Buffer.of(0, 0, 0, 5), numbered(packetTypes.slow, 9)]))
    client.end()
    await until(() => client.over !== undefined)
    expect(client.over).toBe('end')
    expect(received.subarray(4)).toEqual(numbered(packetTypes.slow, 9))
  })

  test('a handler that throws fails its own job; the connection goes on', async () => {
    const { server, port } = await startWorkers()
    const failed = once(server, 'jobError')
    const connection = await connectTyped(port)
    const answers = collect(connection)
    connection.send(numbered(packetTypes.throws, 0))
    connection.send(numbered(packetTypes.echo, 1))
    const [error, at] = (await failed) as [Error & { code?: string }, Connection]
    expect(error).toMatchObject({ name: 'RangeError', message: 'as asked', code: 'E_ASKED' })
    expect(at.remotePort).toBe(connection.localPort)
    await until(() => answers.length === 1)
    expect(server.workers.failed).toBe(1)
  })

  test('have handlers that run() does not call', async () => {
    const { server } = await startWorkers()
    for (const name of ['packet', String(packetTypes.echo)]) {
      await expect(server.workers.run(name, 'text')).rejects.toMatchObject({ code: 'ERR_IOCP_JOB_UNKNOWN' })
    }
  })

  test('without a handler they fail by that name', async () => {
    const { server, port } = await startWorkers({ module: new URL('../fixtures/no_handlers.mjs', import.meta.url) })
    const failed = once(server, 'jobError')
    const connection = await connectTyped(port)
    connection.send(numbered(packetTypes.echo, 1))
    const [error] = (await failed) as [Error]
    expect(error).toMatchObject({ code: 'ERR_IOCP_JOB_UNKNOWN' })
    await expect(server.workers.run('nothing')).rejects.toMatchObject({ code: 'ERR_IOCP_JOB_UNKNOWN' })
  })
})

describe('a blocked main thread', () => {
  test('does not stop routed packets', async () => {
    const { port } = await startWorkers({ count: 2 })
    const client = new Worker(new URL('../fixtures/job_client.mjs', import.meta.url), {
      workerData: { port, type: packetTypes.echo, connections: 10, pause: 1 }
    })
    onTestFinished(async () => {
      await client.terminate()
    })
    const ask = async (what: string): Promise<{ sent: number; received: number; wrong: number; at: number }> => {
      client.postMessage(what)
      const [answer] = (await once(client, 'message')) as [
        { sent: number; received: number; wrong: number; at: number }
      ]
      return answer
    }
    let before = await ask('count')
    while (before.received < 100) {
      await pause(20)
      before = await ask('count')
    }
    const began = performance.timeOrigin + performance.now()
    // Asked for during the pause, answered during the pause, read after it.
    const during = ask('count')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500)
    await during
    const after = await ask('stop')
    expect(after.at - began).toBeGreaterThan(2400)
    expect(after.wrong).toBe(0)
    // Ten connections, a packet at a time each, for two and a half seconds.
    expect(after.received - before.received).toBeGreaterThan(250)
  }, 20_000)
})

describe('order', () => {
  test.each([1, 2, 4])('replies of a connection leave in the order of its packets, with %i workers', async (count) => {
    const { port } = await startWorkers({ count })
    const connections = await Promise.all(upTo(8).map(() => connectTyped(port)))
    const answers = connections.map(collect)
    for (const number of upTo(30))
      for (const connection of connections) connection.send(numbered(packetTypes.delayed, number))
    await until(() => answers.every((list) => list.length === 30))
    for (const list of answers) expect(numbers(list)).toEqual(upTo(30))
  })

  test("'none' lets a connection's jobs run side by side", async () => {
    const { server, port } = await startWorkers({ count: 4, order: 'none' })
    await server.workers.resize(4)
    const connection = await connectTyped(port)
    const answers = collect(connection)
    const began = performance.now()
    for (const number of upTo(4)) connection.send(numbered(packetTypes.slow, number))
    await until(() => answers.length === 4)
    expect(performance.now() - began).toBeLessThan(700)
    expect(numbers(answers).toSorted()).toEqual(upTo(4))
  })
})

describe('work that keeps the processor busy', () => {
  test.each([1, 2, 4])('100 connections, %i workers', async (count) => {
    const { server, port } = await startWorkers({ count })
    const rounds = 50
    const chain = (bytes: Buffer): Buffer =>
      upTo(rounds).reduce((hash) => createHash('sha256').update(hash).digest(), bytes)
    const client = startClient({ framing: typed })
    const connections = await Promise.all(upTo(100).map(() => client.connect({ port, host: '127.0.0.1' })))
    const answers = connections.map(collect)
    const packets = connections.map((_, index) => {
      const packet = Buffer.concat([numbered(packetTypes.hash, rounds), Buffer.alloc(4)])
      packet.writeUInt32LE(index, 5)
      return packet
    })
    for (let times = 0; times < 5; times++) connections.forEach((one, index) => one.send(packets[index] ?? ''))
    await until(() => answers.every((list) => list.length === 5))
    answers.forEach((list, index) => {
      for (const answer of list) expect(answer.subarray(5)).toEqual(chain(packets[index] ?? Buffer.alloc(0)))
    })
    expect(server.workers.completed).toBe(500)
    expect(server.workers.stats()).toMatchObject({ queued: 0, running: 0, failed: 0 })
    expect(server.workers.runMicroseconds.count).toBe(500)
  })
})

describe('too many jobs', () => {
  test("'pause-reads' stops reading, and loses nothing", async () => {
    const { server, port } = await startWorkers({ count: 0, maxQueued: 50 })
    const connection = await connectTyped(port)
    const answers = collect(connection)
    // More than a send queue may hold, so this side waits too.
    const feeding = (async () => {
      for (const number of upTo(2000)) {
        const packet = Buffer.alloc(10_000, packetTypes.echo)
        packet.writeUInt32LE(number, 1)
        if (connection.send(packet) === 'queued') await once(connection, 'drain')
      }
    })()
    await pause(300)
    const { queued } = server.workers
    expect(queued).toBeGreaterThanOrEqual(50)
    // What one read brings may come on top.
    expect(queued).toBeLessThan(80)
    await server.workers.resize(2)
    await feeding
    await until(() => answers.length === 2000)
    expect(numbers(answers)).toEqual(upTo(2000))
  })

  test("'reject' tells of each packet", async () => {
    const { server, port } = await startWorkers({ count: 0, maxQueued: 10, onFull: 'reject' })
    const errors: unknown[] = []
    server.on('jobError', (error) => errors.push(error))
    const connection = await connectTyped(port)
    const answers = collect(connection)
    for (const number of upTo(30)) connection.send(numbered(packetTypes.echo, number))
    await until(() => errors.length === 20)
    expect(errors[0]).toMatchObject({ code: 'ERR_IOCP_WORKERS_FULL' })
    expect(server.workers.stats()?.rejected).toBe(20)
    await server.workers.resize(1)
    await until(() => answers.length === 10)
  })
})
