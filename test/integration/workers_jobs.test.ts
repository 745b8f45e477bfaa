/** Jobs of the main thread: what they carry, give back and end with. */

import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import type { Connection } from 'iocp'
import { describe, expect, test } from 'vitest'
import { collect, connectTyped, jobsModule, startWorkers, upTo } from '../helpers/jobs.js'
import { startClient, startServer } from '../helpers/servers.js'
import { until } from '../helpers/time.js'

describe('run', () => {
  test('carries values of any kind there and back', async () => {
    const { server } = await startWorkers()
    const object = { a: [1, { b: null }], when: new Date(5), big: 5n }
    for (const value of [undefined, 'grüße', 5, object, [], new Float64Array([1.5, 2.5])]) {
      expect(await server.workers.run('echo', value)).toEqual(value)
    }
  })

  test('carries bytes', async () => {
    const { server } = await startWorkers()
    const bytes = Buffer.alloc(3_000_000, 'abc')
    const result = await server.workers.run<Buffer>('echo', bytes)
    expect(result.equals(bytes)).toBe(true)
  })

  test('rejects with what the handler threw', async () => {
    const { server } = await startWorkers()
    await expect(server.workers.run('throws')).rejects.toMatchObject({ name: 'RangeError', code: 'E_ASKED' })
    await expect(server.workers.run('throwsText')).rejects.toBe('text')
    await expect(server.workers.run('unclonable')).rejects.toThrow('could not be cloned')
    await expect(server.workers.run('echo', () => 1)).rejects.toThrow('could not be cloned')
    await expect(server.workers.run('throwsOddly')).rejects.toThrow('A handler threw')
    await expect(server.workers.run('throwsHostile')).rejects.toThrow('A handler threw')
    expect(await server.workers.run('echo', 1)).toBe(1)
  })

  test('hands over what is to be transferred', async () => {
    const { server } = await startWorkers()
    const memory = new ArrayBuffer(1000)
    const result = server.workers.run('isDetached', memory, { transferList: [memory] })
    expect(memory.byteLength).toBe(0)
    expect(await result).toBe(1000)
    const shared = new SharedArrayBuffer(8)
    expect(await server.workers.run('isDetached', shared, { transferList: [] })).toBe(8)
  })

  test("a payload that is on its way when its job is given up is no other job's", async () => {
    const { server } = await startWorkers()
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
    const { server } = await startWorkers()
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
    const { server } = await startWorkers({ count: 0 })
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
    const { server, port } = await startWorkers()
    server.on('packet', () => undefined)
    const accepted = once(server, 'connection') as Promise<[Connection]>
    const client = await connectTyped(port)
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
    const { server } = await startWorkers({ count: 0, maxQueuedBytes: '512MiB' })
    // More than one batch may hold: a worker takes them in several.
    const large = upTo(4).map((number) => server.workers.run<number>('size', Buffer.alloc(5 * 1024 * 1024, number)))
    const small = upTo(20).map((number) => server.workers.run<number>('size', Buffer.alloc(number)))
    await server.workers.resize(1)
    expect(await Promise.all(large)).toEqual(upTo(4).map(() => 5 * 1024 * 1024))
    expect(await Promise.all(small)).toEqual(upTo(20))
  })

  test('refuses what cannot be', async () => {
    const { server } = await startWorkers({ count: 0, maxQueued: 1 })
    await expect(server.workers.run(1 as unknown as string)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' })
    await expect(server.workers.run('echo', 1, { timeout: -1 })).rejects.toMatchObject({
      code: 'ERR_IOCP_INVALID_OPTION'
    })
    for (const workers of [
      { module: 'jobs.js' },
      { module: new URL('http://localhost/') },
      { module: jobsModule, data: () => 1 }
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
    const client = startClient({ workers: { module: jobsModule, count: 1 } })
    expect(await client.workers.run('echo', 'x')).toBe('x')
  })
})
