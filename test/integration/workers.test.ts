/** The workers themselves: their number, their deaths, their end. */

import { once } from 'node:events'
import { describe, expect, onTestFinished, test } from 'vitest'
import { collect, connectTyped, numbered, numbers, packetTypes, startWorkers, upTo } from '../helpers/jobs.js'
import { pause, until } from '../helpers/time.js'

describe('workers', () => {
  test('are set up and torn down once each', async () => {
    const teardowns = new SharedArrayBuffer(4)
    const { server } = await startWorkers({ count: 3, data: { teardowns, name: 'of the test' } })
    expect(await server.workers.run('context')).toEqual({ isSetUp: true, name: 'of the test' })
    await server.workers.resize(1)
    expect(new Int32Array(teardowns)[0]).toBe(2)
    await server.close()
    expect(new Int32Array(teardowns)[0]).toBe(3)
  })

  test('may change in number during traffic: nothing is lost or repeated', async () => {
    const { server, port } = await startWorkers({ count: 1, maxQueued: 1_000_000 })
    const connections = await Promise.all(upTo(10).map(() => connectTyped(port)))
    const answers = connections.map(collect)
    let next = 0
    const timer = setInterval(() => {
      for (const connection of connections)
        for (const number of upTo(5)) connection.send(numbered(packetTypes.echo, next + number))
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
    const { server, port } = await startWorkers({ count: 2 })
    const exits: unknown[] = []
    const errors: unknown[] = []
    server.on('workerExit', (info) => exits.push(info))
    server.on('jobError', (error) => errors.push(error))
    for (const job of ['exits', 'throwsLater']) {
      await expect(server.workers.run(job)).rejects.toMatchObject({ code: 'ERR_IOCP_WORKER_EXITED' })
    }
    const connection = await connectTyped(port)
    const answers = collect(connection)
    connection.send(numbered(packetTypes.exits, 0))
    for (const number of upTo(50)) connection.send(numbered(packetTypes.echo, number))
    await until(() => answers.length === 50 && exits.length === 3)
    expect(numbers(answers)).toEqual(upTo(50))
    expect(errors).toMatchObject([{ code: 'ERR_IOCP_WORKER_EXITED' }])
    expect(exits).toMatchObject([{ exitCode: 3 }, { exitCode: 1, error: { message: 'later' } }, { exitCode: 3 }])
  })

  test('that loop for ever are replaced when the job times out', async () => {
    const { server, port } = await startWorkers({ count: 1, timeout: 200 })
    const failed = once(server, 'jobError')
    const exited = once(server, 'workerExit')
    const connection = await connectTyped(port)
    const answers = collect(connection)
    connection.send(numbered(packetTypes.loops, 0))
    connection.send(numbered(packetTypes.echo, 1))
    const [error] = (await failed) as [Error]
    expect(error).toMatchObject({ code: 'ERR_IOCP_JOB_TIMEOUT' })
    expect(await exited).toMatchObject([{ error: { code: 'ERR_IOCP_WORKER_TIMEOUT' } }])
    await until(() => answers.length === 1)
    await expect(server.workers.run('loops', 0, { timeout: 50 })).rejects.toMatchObject({
      code: 'ERR_IOCP_JOB_TIMEOUT'
    })
    await expect(server.workers.run('never')).rejects.toMatchObject({ code: 'ERR_IOCP_JOB_TIMEOUT' })
    expect(await server.workers.run('echo', 1, { timeout: 10_000 })).toBe(1)
  })

  test('that run out of memory are replaced', async () => {
    const { server } = await startWorkers({ count: 1, resourceLimits: { maxOldGenerationSizeMb: 16 } })
    const exited = once(server, 'workerExit')
    await expect(server.workers.run('memory')).rejects.toMatchObject({ code: 'ERR_IOCP_WORKER_EXITED' })
    expect(await exited).toMatchObject([{ error: { code: 'ERR_WORKER_OUT_OF_MEMORY' } }])
    expect(await server.workers.run('echo', 1)).toBe(1)
  })

  test('that die during traffic cost only the jobs that they ran', async () => {
    const { server, port } = await startWorkers({ count: 3 })
    const errors: unknown[] = []
    server.on('jobError', (error) => errors.push(error))
    const connections = await Promise.all(upTo(8).map(() => connectTyped(port)))
    const answers = connections.map(collect)
    for (const number of upTo(200)) {
      for (const connection of connections) connection.send(numbered(packetTypes.echo, number))
      if (number % 50 === 25) connections[0]?.send(numbered(packetTypes.exits, number))
      if (number % 20 === 0) await pause(1)
    }
    await until(() => answers.every((list) => list.length === 200))
    for (const list of answers) expect(numbers(list)).toEqual(upTo(200))
    expect(errors).toHaveLength(4)
  })

  test('that are terminated during traffic are replaced, and only the jobs that block fail', async () => {
    const { server, port } = await startWorkers({ count: 3, timeout: 1000 })
    const errors: unknown[] = []
    const exits: unknown[] = []
    server.on('jobError', (error) => errors.push(error))
    server.on('workerExit', (info) => exits.push(info))
    const connections = await Promise.all(upTo(6).map(() => connectTyped(port)))
    const answers = connections.map(collect)
    let next = 0
    const timer = setInterval(() => {
      for (const connection of connections) connection.send(numbered(packetTypes.echo, next))
      next++
    }, 5)
    onTestFinished(() => {
      clearInterval(timer)
    })
    // The connections of the jobs that block go on too: nobody waits for their answers.
    for (const connection of connections.slice(0, 2)) connection.send(numbered(packetTypes.loops, 0))
    await until(() => exits.length === 2 && server.workers.idle > 0)
    await pause(100)
    clearInterval(timer)
    await until(() => answers.every((list) => list.length === next))
    for (const list of answers) expect(numbers(list)).toEqual(upTo(next))
    expect(errors).toMatchObject([{ code: 'ERR_IOCP_JOB_TIMEOUT' }, { code: 'ERR_IOCP_JOB_TIMEOUT' }])
    expect(server.workers.failed).toBe(2)
  })

  test('whose module defines nothing, or throws, say so and are tried again with pauses', async () => {
    const { server } = await startWorkers({ module: new URL('data:text/javascript,throw new Error("broken")') })
    const delays: number[] = []
    server.on('workerExit', (info) => delays.push(info.restartDelay))
    await until(() => delays.length === 3)
    expect(delays).toEqual([0, 50, 100])
    const { server: silent } = await startWorkers({ module: new URL('data:text/javascript,1') })
    const [info] = (await once(silent, 'workerExit')) as [{ error: Error }]
    expect(info.error).toMatchObject({ code: 'ERR_IOCP_WORKER_MODULE' })
  })
})

describe('close', () => {
  test('waits for the jobs, and their answers go out', async () => {
    const { server, port } = await startWorkers({ count: 2 })
    const connection = await connectTyped(port)
    const answers = collect(connection)
    for (const number of upTo(3)) connection.send(numbered(packetTypes.slow, number))
    const result = server.workers.run('wait', 300)
    await until(() => server.workers.running === 2)
    const report = server.close()
    await expect(server.workers.run('echo')).rejects.toMatchObject({ code: 'ERR_IOCP_CLOSING' })
    expect(await result).toBe(300)
    await report
    expect(numbers(answers)).toEqual(upTo(3))
  })

  test('cancels at the deadline: every promise settles', async () => {
    const { server, port } = await startWorkers({ count: 2 })
    const connection = await connectTyped(port)
    for (const number of upTo(50)) connection.send(numbered(packetTypes.slow, number))
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
    const { server } = await startWorkers()
    expect(await server.workers.run('echo', 1)).toBe(1)
    await server.close()
    await expect(server.workers.run('echo', 1)).rejects.toMatchObject({ code: 'ERR_IOCP_CLOSING' })
    await server.listen({ port: 0, host: '127.0.0.1' })
    expect(await server.workers.run('echo', 2)).toBe(2)
  })
})
