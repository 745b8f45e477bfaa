import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { type Connection, framing, type Server, type WorkersOptions } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { RawClient } from '../helpers/raw_client.js'
import { startClient, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'

/** The types of packets of test/fixtures/jobs.mjs. */
const type = { echo: 0x10, delayed: 0x11, hash: 0x12, throws: 0x13, exits: 0x14, loops: 0x15, memory: 0x16, slow: 0x17 }
const all = Object.values(type)
const module = new URL('../fixtures/jobs.mjs', import.meta.url)
const typed = framing.lengthField({ bytes: 4, typeByte: true })

async function start(workers: Partial<WorkersOptions> = {}): Promise<{ server: Server; port: number }> {
  const started = await startServer({
    framing: typed,
    workers: { module, count: 1, route: [...all, 0x20, 0x21, 0x22], ...workers }
  })
  // Workers that are expected to die do so in silence.
  started.server.on('workerExit', () => undefined)
  return started
}

function connect(port: number): Promise<Connection> {
  return startClient({ framing: typed }).connect({ port, host: '127.0.0.1' })
}

function numbered(kind: number, number: number): Buffer {
  const packet = Buffer.alloc(5)
  packet[0] = kind
  packet.writeUInt32LE(number, 1)
  return packet
}

function collect(connection: Connection): Buffer[] {
  const packets: Buffer[] = []
  connection.on('packet', (packet) => packets.push(Buffer.from(packet)))
  return packets
}

const numbers = (packets: readonly Buffer[]): number[] => packets.map((packet) => packet.readUInt32LE(1))
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

describe('routed packets', () => {
  test('go to the workers by their type; the others come to the main thread', async () => {
    const { server, port } = await start()
    const seen: number[] = []
    server.on('packet', (packet) => seen.push(packet[0] ?? -1))
    const connection = await connect(port)
    const answers = collect(connection)
    connection.send(numbered(type.echo, 1))
    connection.send(numbered(0x50, 2))
    connection.send(numbered(0x22, 3))
    await until(() => answers.length === 2 && seen.length === 1)
    expect(answers).toEqual([numbered(type.echo, 1), numbered(0x22, 3)])
    expect(seen).toEqual([0x50])
  })

  test.each([[Buffer.from([2])], [Buffer.from([3])], [Buffer.from('\u0001\0\0\0\0a\0')]])(
    'also %j, which would be about a file where IOCPS is spoken',
    async (packet) => {
      const iocps = framing.iocps()
      const { server, port } = await startServer({ framing: iocps, workers: { module, count: 1, route: 'all' } })
      server.on('packet', () => expect.unreachable())
      const connection = await startClient({ framing: iocps }).connect({ port, host: '127.0.0.1' })
      const answers = collect(connection)
      connection.send(packet)
      connection.send(numbered(type.echo, 1))
      await until(() => answers.length === 2)
      expect(answers).toEqual([packet, numbered(type.echo, 1)])
    }
  )

  test("'all' leaves none for the main thread", async () => {
    const { server, port } = await start({ route: 'all' })
    server.on('packet', () => expect.unreachable())
    const connection = await connect(port)
    const answers = collect(connection)
    for (const number of upTo(300)) connection.send(numbered(number % 2 === 0 ? type.echo : 0x70, number))
    await until(() => answers.length === 300)
    expect(numbers(answers)).toEqual(upTo(300))
  })

  test('a worker sends to others and ends connections', async () => {
    const { port } = await start()
    const connections = await Promise.all([connect(port), connect(port), connect(port)])
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
    const { port } = await start()
    const connection = await connect(port)
    const answers = collect(connection)
    const large = Buffer.alloc(1024 * 1024, 'large')
    large[0] = type.echo
    connection.send(large)
    connection.send(numbered(type.echo, 1))
    await until(() => answers.length === 2)
    expect(answers[0]?.equals(large)).toBe(true)
  })

  test('are answered although the peer has ended its side meanwhile', async () => {
    const { port } = await start()
    const client = await RawClient.open(port, { allowHalfOpen: true })
    let received = Buffer.alloc(0)
    client.socket.on('data', (bytes) => (received = Buffer.concat([received, bytes])))
    await client.write(Buffer.concat([Buffer.of(0, 0, 0, 5), numbered(type.slow, 9)]))
    client.end()
    await until(() => client.over !== undefined)
    expect(client.over).toBe('end')
    expect(received.subarray(4)).toEqual(numbered(type.slow, 9))
  })

  test('a handler that throws fails its own job; the connection goes on', async () => {
    const { server, port } = await start()
    const failed = once(server, 'jobError')
    const connection = await connect(port)
    const answers = collect(connection)
    connection.send(numbered(type.throws, 0))
    connection.send(numbered(type.echo, 1))
    const [error, at] = (await failed) as [Error & { code?: string }, Connection]
    expect(error).toMatchObject({ name: 'RangeError', message: 'as asked', code: 'E_ASKED' })
    expect(at.remotePort).toBe(connection.localPort)
    await until(() => answers.length === 1)
    expect(server.workers.failed).toBe(1)
  })

  test('without a handler they fail by that name', async () => {
    const { server, port } = await start({ module: new URL('../fixtures/no_handlers.mjs', import.meta.url) })
    const failed = once(server, 'jobError')
    const connection = await connect(port)
    connection.send(numbered(type.echo, 1))
    const [error] = (await failed) as [Error]
    expect(error).toMatchObject({ code: 'ERR_IOCP_JOB_UNKNOWN' })
    await expect(server.workers.run('nothing')).rejects.toMatchObject({ code: 'ERR_IOCP_JOB_UNKNOWN' })
  })
})

describe('a blocked main thread', () => {
  test('does not stop routed packets', async () => {
    const { port } = await start({ count: 2 })
    const client = new Worker(new URL('../fixtures/job_client.mjs', import.meta.url), {
      workerData: { port, type: type.echo, connections: 10, pause: 1 }
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
    const { port } = await start({ count })
    const connections = await Promise.all(upTo(8).map(() => connect(port)))
    const answers = connections.map(collect)
    for (const number of upTo(30)) for (const connection of connections) connection.send(numbered(type.delayed, number))
    await until(() => answers.every((list) => list.length === 30))
    for (const list of answers) expect(numbers(list)).toEqual(upTo(30))
  })

  test("'none' lets a connection's jobs run side by side", async () => {
    const { server, port } = await start({ count: 4, order: 'none' })
    await server.workers.resize(4)
    const connection = await connect(port)
    const answers = collect(connection)
    const began = performance.now()
    for (const number of upTo(4)) connection.send(numbered(type.slow, number))
    await until(() => answers.length === 4)
    expect(performance.now() - began).toBeLessThan(700)
    expect(numbers(answers).toSorted()).toEqual(upTo(4))
  })
})

describe('work that keeps the processor busy', () => {
  test.each([1, 2, 4])('100 connections, %i workers', async (count) => {
    const { server, port } = await start({ count })
    const rounds = 50
    const chain = (bytes: Buffer): Buffer =>
      upTo(rounds).reduce((hash) => createHash('sha256').update(hash).digest(), bytes)
    const client = startClient({ framing: typed })
    const connections = await Promise.all(upTo(100).map(() => client.connect({ port, host: '127.0.0.1' })))
    const answers = connections.map(collect)
    const packets = connections.map((_, index) => {
      const packet = Buffer.concat([numbered(type.hash, rounds), Buffer.alloc(4)])
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

describe('run', () => {
  test('carries values of any kind there and back', async () => {
    const { server } = await start()
    const object = { a: [1, { b: null }], when: new Date(5), big: 5n }
    for (const value of [undefined, 'grüße', 5, object, [], new Float64Array([1.5, 2.5])]) {
      expect(await server.workers.run('echo', value)).toEqual(value)
    }
  })

  test('carries bytes', async () => {
    const { server } = await start()
    const bytes = Buffer.alloc(3_000_000, 'abc')
    const result = await server.workers.run<Buffer>('echo', bytes)
    expect(result.equals(bytes)).toBe(true)
  })

  test('rejects with what the handler threw', async () => {
    const { server } = await start()
    await expect(server.workers.run('throws')).rejects.toMatchObject({ name: 'RangeError', code: 'E_ASKED' })
    await expect(server.workers.run('throwsText')).rejects.toBe('text')
    await expect(server.workers.run('unclonable')).rejects.toThrow('could not be cloned')
    await expect(server.workers.run('echo', () => 1)).rejects.toThrow('could not be cloned')
    await expect(server.workers.run('throwsOddly')).rejects.toThrow('A handler threw')
    await expect(server.workers.run('throwsHostile')).rejects.toThrow('A handler threw')
    expect(await server.workers.run('echo', 1)).toBe(1)
  })

  test('hands over what is to be transferred', async () => {
    const { server } = await start()
    const memory = new ArrayBuffer(1000)
    const result = server.workers.run('isDetached', memory, { transferList: [memory] })
    expect(memory.byteLength).toBe(0)
    expect(await result).toBe(1000)
    const shared = new SharedArrayBuffer(8)
    expect(await server.workers.run('isDetached', shared, { transferList: [] })).toBe(8)
  })

  test("a payload that is on its way when its job is given up is no other job's", async () => {
    const { server } = await start()
    await server.workers.resize(1)
    for (let round = 0; round < 60; round++) {
      const given = new AbortController()
      const memory = new ArrayBuffer(100)
      const first = server.workers.run('isDetached', memory, { transferList: [memory], signal: given.signal })
      const outcome = first.catch(() => 'given up')
      const other = new ArrayBuffer(200)
      const second = server.workers.run('isDetached', other, { transferList: [other] })
      for (let turns = round % 6; turns > 0; turns--) await turn()
      given.abort()
      expect(await second).toBe(200)
      expect([100, 'given up']).toContain(await outcome)
    }
  })

  test('gives up by signal, waiting or running', async () => {
    const { server } = await start()
    const running = new AbortController()
    const waiting = new AbortController()
    const first = server.workers.run('wait', 10_000, { signal: running.signal })
    const second = server.workers.run('echo', 2, { signal: waiting.signal })
    const third = server.workers.run('echo', 3)
    await until(() => server.workers.running === 1)
    waiting.abort(new Error('not now'))
    await expect(second).rejects.toThrow('not now')
    running.abort(new Error('no more'))
    await expect(first).rejects.toThrow('no more')
    expect(await third).toBe(3)
    await expect(server.workers.run('echo', 1, { signal: AbortSignal.abort(new Error('never')) })).rejects.toThrow(
      'never'
    )
  })

  test('takes jobs of higher priority first', async () => {
    const { server } = await start({ count: 0 })
    const order: unknown[] = []
    const jobs = (['low', 'normal', 'high'] as const).flatMap((priority) =>
      [1, 2].map(async (number) => {
        order.push(await server.workers.run('echo', `${priority} ${number}`, { priority }))
      })
    )
    expect(server.workers.queued).toBe(6)
    await server.workers.resize(1)
    await Promise.all(jobs)
    expect(order).toEqual(['high 1', 'high 2', 'normal 1', 'normal 2', 'low 1', 'low 2'])
  })

  test('about a connection: reply, and what becomes of it when that has closed', async () => {
    const { server, port } = await start()
    server.on('packet', () => undefined)
    const accepted = once(server, 'connection') as Promise<[Connection]>
    const client = await connect(port)
    const answers = collect(client)
    const [connection] = await accepted
    expect(await server.workers.run('answers', Buffer.from('hello'), { connection })).toBe(connection.id)
    await until(() => answers.length === 1)
    await server.workers.resize(0)
    const skipped = server.workers.run('connected', 0, { connection })
    const told = server.workers.run('connected', 0, { connection, onClosed: 'run' })
    const disconnected = once(server, 'disconnect')
    client.destroy()
    await disconnected
    await server.workers.resize(1)
    await expect(skipped).rejects.toMatchObject({ code: 'ERR_IOCP_CLOSED' })
    expect(await told).toBe(false)
    expect(server.workers.stats()?.skipped).toBe(1)
  })

  test('does not mind payloads and batches of any size', async () => {
    const { server } = await start({ count: 0, maxQueuedBytes: '512MiB' })
    // More than one batch may hold: a worker takes them in several.
    const large = upTo(4).map((number) => server.workers.run<number>('size', Buffer.alloc(5 * 1024 * 1024, number)))
    const small = upTo(20).map((number) => server.workers.run<number>('size', Buffer.alloc(number)))
    await server.workers.resize(1)
    expect(await Promise.all(large)).toEqual(upTo(4).map(() => 5 * 1024 * 1024))
    expect(await Promise.all(small)).toEqual(upTo(20))
  })

  test('refuses what cannot be', async () => {
    const { server } = await start({ count: 0, maxQueued: 1 })
    await expect(server.workers.run(1 as unknown as string)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' })
    await expect(server.workers.run('echo', 1, { timeout: -1 })).rejects.toMatchObject({
      code: 'ERR_IOCP_INVALID_OPTION'
    })
    for (const workers of [
      { module: 'jobs.js' },
      { module: new URL('http://localhost/') },
      { module, data: () => 1 }
    ]) {
      await expect(startServer({ workers })).rejects.toMatchObject({ code: 'ERR_IOCP_INVALID_OPTION' })
    }
    const waits = server.workers.run('echo', 1)
    await expect(server.workers.run('echo', 2)).rejects.toMatchObject({ code: 'ERR_IOCP_WORKERS_FULL' })
    await server.workers.resize(1)
    expect(await waits).toBe(1)
    const { server: without } = await startServer()
    expect(() => without.workers).toThrow(expect.objectContaining({ code: 'ERR_IOCP_NO_WORKERS' }))
  })

  test('of a client opens it', async () => {
    const client = startClient({ workers: { module, count: 1 } })
    expect(await client.workers.run('echo', 'x')).toBe('x')
  })
})

describe('workers', () => {
  test('are set up and torn down once each', async () => {
    const teardowns = new SharedArrayBuffer(4)
    const { server } = await start({ count: 3, data: { teardowns, name: 'of the test' } })
    expect(await server.workers.run('context')).toEqual({ isSetUp: true, name: 'of the test' })
    await server.workers.resize(1)
    expect(new Int32Array(teardowns)[0]).toBe(2)
    await server.close()
    expect(new Int32Array(teardowns)[0]).toBe(3)
  })

  test('may change in number during traffic: nothing is lost or repeated', async () => {
    const { server, port } = await start({ count: 1, maxQueued: 1_000_000 })
    const connections = await Promise.all(upTo(10).map(() => connect(port)))
    const answers = connections.map(collect)
    let next = 0
    const timer = setInterval(() => {
      for (const connection of connections)
        for (const number of upTo(5)) connection.send(numbered(type.echo, next + number))
      next += 5
    }, 10)
    onTestFinished(() => {
      clearInterval(timer)
    })
    const results: Promise<unknown>[] = []
    const running = setInterval(() => results.push(server.workers.run('echo', results.length)), 5)
    for (const count of [5, 0, 2]) {
      await pause(100)
      await server.workers.resize(count)
      expect(server.workers.size).toBe(count)
      expect(server.workers.stats()?.size).toBe(count)
    }
    await pause(100)
    clearInterval(timer)
    clearInterval(running)
    await until(() => answers.every((list) => list.length === next))
    for (const list of answers) expect(numbers(list)).toEqual(upTo(next))
    expect(await Promise.all(results)).toEqual(upTo(results.length))
  })

  test('that exit are replaced; the job fails and no other one', async () => {
    const { server, port } = await start({ count: 2 })
    const exits: unknown[] = []
    const errors: unknown[] = []
    server.on('workerExit', (info) => exits.push(info))
    server.on('jobError', (error) => errors.push(error))
    for (const job of ['exits', 'throwsLater']) {
      await expect(server.workers.run(job)).rejects.toMatchObject({ code: 'ERR_IOCP_WORKER_EXITED' })
    }
    const connection = await connect(port)
    const answers = collect(connection)
    connection.send(numbered(type.exits, 0))
    for (const number of upTo(50)) connection.send(numbered(type.echo, number))
    await until(() => answers.length === 50 && exits.length === 3)
    expect(numbers(answers)).toEqual(upTo(50))
    expect(errors).toMatchObject([{ code: 'ERR_IOCP_WORKER_EXITED' }])
    expect(exits).toMatchObject([{ exitCode: 3 }, { exitCode: 1, error: { message: 'later' } }, { exitCode: 3 }])
  })

  test('that loop for ever are replaced when the job times out', async () => {
    const { server, port } = await start({ count: 1, timeout: 200 })
    const failed = once(server, 'jobError')
    const exited = once(server, 'workerExit')
    const connection = await connect(port)
    const answers = collect(connection)
    connection.send(numbered(type.loops, 0))
    connection.send(numbered(type.echo, 1))
    const [error] = (await failed) as [Error]
    expect(error).toMatchObject({ code: 'ERR_IOCP_JOB_TIMEOUT' })
    await exited
    await until(() => answers.length === 1)
    await expect(server.workers.run('loops', 0, { timeout: 50 })).rejects.toMatchObject({
      code: 'ERR_IOCP_JOB_TIMEOUT'
    })
    await expect(server.workers.run('never')).rejects.toMatchObject({ code: 'ERR_IOCP_JOB_TIMEOUT' })
    expect(await server.workers.run('echo', 1, { timeout: 10_000 })).toBe(1)
  })

  test('that run out of memory are replaced', async () => {
    const { server } = await start({ count: 1, resourceLimits: { maxOldGenerationSizeMb: 16 } })
    const exited = once(server, 'workerExit')
    await expect(server.workers.run('memory')).rejects.toMatchObject({ code: 'ERR_IOCP_WORKER_EXITED' })
    expect(await exited).toMatchObject([{ error: { code: 'ERR_WORKER_OUT_OF_MEMORY' } }])
    expect(await server.workers.run('echo', 1)).toBe(1)
  })

  test('that die during traffic cost only the jobs that they ran', async () => {
    const { server, port } = await start({ count: 3 })
    const errors: unknown[] = []
    server.on('jobError', (error) => errors.push(error))
    const connections = await Promise.all(upTo(8).map(() => connect(port)))
    const answers = connections.map(collect)
    for (const number of upTo(200)) {
      for (const connection of connections) connection.send(numbered(type.echo, number))
      if (number % 50 === 25) connections[0]?.send(numbered(type.exits, number))
      if (number % 20 === 0) await pause(1)
    }
    await until(() => answers.every((list) => list.length === 200))
    for (const list of answers) expect(numbers(list)).toEqual(upTo(200))
    expect(errors).toHaveLength(4)
  })

  test('that are terminated during traffic are replaced, and only the jobs that block fail', async () => {
    const { server, port } = await start({ count: 3, timeout: 1000 })
    const errors: unknown[] = []
    const exits: unknown[] = []
    server.on('jobError', (error) => errors.push(error))
    server.on('workerExit', (info) => exits.push(info))
    const connections = await Promise.all(upTo(6).map(() => connect(port)))
    const answers = connections.map(collect)
    let next = 0
    const timer = setInterval(() => {
      for (const connection of connections) connection.send(numbered(type.echo, next))
      next++
    }, 5)
    onTestFinished(() => {
      clearInterval(timer)
    })
    // The connections of the jobs that block go on too: nobody waits for their answers.
    for (const connection of connections.slice(0, 2)) connection.send(numbered(type.loops, 0))
    await until(() => exits.length === 2 && server.workers.idle > 0)
    await pause(100)
    clearInterval(timer)
    await until(() => answers.every((list) => list.length === next))
    for (const list of answers) expect(numbers(list)).toEqual(upTo(next))
    expect(errors).toMatchObject([{ code: 'ERR_IOCP_JOB_TIMEOUT' }, { code: 'ERR_IOCP_JOB_TIMEOUT' }])
    expect(server.workers.failed).toBe(2)
  })

  test('whose module defines nothing, or throws, say so and are tried again with pauses', async () => {
    const { server } = await start({ module: new URL('data:text/javascript,throw new Error("broken")') })
    const delays: number[] = []
    server.on('workerExit', (info) => delays.push(info.restartDelay))
    await until(() => delays.length === 3)
    expect(delays).toEqual([0, 50, 100])
    const { server: silent } = await start({ module: new URL('data:text/javascript,1') })
    const [info] = (await once(silent, 'workerExit')) as [{ error: Error }]
    expect(info.error).toMatchObject({ code: 'ERR_IOCP_WORKER_MODULE' })
  })
})

describe('too many jobs', () => {
  test("'pause-reads' stops reading, and loses nothing", async () => {
    const { server, port } = await start({ count: 0, maxQueued: 50 })
    const connection = await connect(port)
    const answers = collect(connection)
    // More than a send queue may hold, so this side waits too.
    const feeding = (async () => {
      for (const number of upTo(2000)) {
        const packet = Buffer.alloc(10_000, type.echo)
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
    const { server, port } = await start({ count: 0, maxQueued: 10, onFull: 'reject' })
    const errors: unknown[] = []
    server.on('jobError', (error) => errors.push(error))
    const connection = await connect(port)
    const answers = collect(connection)
    for (const number of upTo(30)) connection.send(numbered(type.echo, number))
    await until(() => errors.length === 20)
    expect(errors[0]).toMatchObject({ code: 'ERR_IOCP_WORKERS_FULL' })
    expect(server.workers.stats()?.rejected).toBe(20)
    await server.workers.resize(1)
    await until(() => answers.length === 10)
  })
})

describe('close', () => {
  test('waits for the jobs, and their answers go out', async () => {
    const { server, port } = await start({ count: 2 })
    const connection = await connect(port)
    const answers = collect(connection)
    for (const number of upTo(3)) connection.send(numbered(type.slow, number))
    const result = server.workers.run('wait', 300)
    await until(() => server.workers.running === 2)
    const report = server.close()
    await expect(server.workers.run('echo')).rejects.toMatchObject({ code: 'ERR_IOCP_CLOSING' })
    expect(await result).toBe(300)
    await report
    expect(numbers(answers)).toEqual(upTo(3))
  })

  test('cancels at the deadline: every promise settles', async () => {
    const { server, port } = await start({ count: 2 })
    const connection = await connect(port)
    for (const number of upTo(50)) connection.send(numbered(type.slow, number))
    const jobs = [
      server.workers.run('never'),
      server.workers.run('loops'),
      ...upTo(20).map((number) => server.workers.run('wait', number * 1000))
    ]
    await until(() => server.workers.running === 2)
    const settled = Promise.allSettled(jobs)
    const began = performance.now()
    await server.close({ deadline: 300 })
    expect(performance.now() - began).toBeLessThan(5000)
    for (const one of await settled) {
      expect(one).toMatchObject({ status: 'rejected', reason: { code: 'ERR_IOCP_JOB_CANCELLED' } })
    }
  })

  test('and listen again', async () => {
    const { server } = await start()
    expect(await server.workers.run('echo', 1)).toBe(1)
    await server.close()
    await expect(server.workers.run('echo', 1)).rejects.toMatchObject({ code: 'ERR_IOCP_CLOSING' })
    await server.listen({ port: 0, host: '127.0.0.1' })
    expect(await server.workers.run('echo', 2)).toBe(2)
  })
})
