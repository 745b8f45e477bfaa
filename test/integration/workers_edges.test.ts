import { framing, type Server } from 'iocp'
import { expect, test } from 'vitest'
import { startClient, startServer } from '../helpers/servers.js'
import { until } from '../helpers/time.js'

const module = new URL('../fixtures/edge_jobs.mjs', import.meta.url)
const typed = framing.lengthField({ bytes: 4, typeByte: true, maxPacket: '4MiB' })

/** A worker that learns of everything that happens from now on at one time. */
async function startBlocked(
  signal?: AbortSignal
): Promise<{ server: Server; job: Promise<unknown>; teardowns: () => number }> {
  const [blocked, teardowns] = [new Int32Array(new SharedArrayBuffer(4)), new Int32Array(new SharedArrayBuffer(4))]
  const { server } = await startServer({ workers: { module, count: 1, data: { blocked, teardowns } } })
  const job = server.workers.run('blocksLater', undefined, signal && { signal })
  job.catch(() => undefined)
  await until(() => blocked[0] === 1)
  return { server, job, teardowns: () => teardowns[0] ?? 0 }
}

test('a worker that runs a job when the deadline of close comes is torn down', async () => {
  const { server, job, teardowns } = await startBlocked()
  await server.close({ deadline: 10 })
  await expect(job).rejects.toMatchObject({ code: 'ERR_IOCP_JOB_CANCELLED' })
  expect(teardowns()).toBe(1)
})

test('a worker is torn down once, although it has a job to give up when it has to go', async () => {
  const controller = new AbortController()
  const { server, job, teardowns } = await startBlocked(controller.signal)
  controller.abort(new Error('no more'))
  await server.workers.resize(0)
  await expect(job).rejects.toThrow('no more')
  expect(teardowns()).toBe(1)
})

test('a large answer is what it was when it was given', async () => {
  const { port } = await startServer({ framing: typed, workers: { module, count: 1, route: [0x30] } })
  const client = startClient({ framing: typed })
  const connection = await client.connect({ port, host: '127.0.0.1' })
  const answers: Buffer[] = []
  connection.on('packet', (packet) => answers.push(Buffer.from(packet)))
  connection.send(Buffer.of(0x30))
  await until(() => answers.length === 2)
  expect(answers[0]?.equals(Buffer.alloc(2 * 1024 * 1024, 'x'))).toBe(true)
  expect(String(answers[1])).toBe('next')
})

test('a worker that does not give way to a signal is replaced when its time is over', async () => {
  const { server } = await startServer({ workers: { module, count: 1 } })
  server.on('workerExit', () => undefined)
  expect(await server.workers.run('echo', 1)).toBe(1)
  const controller = new AbortController()
  const job = server.workers.run('loops', undefined, { signal: controller.signal, timeout: 500 })
  await until(() => server.workers.running === 1)
  controller.abort(new Error('no more'))
  await expect(job).rejects.toThrow('no more')
  expect(await server.workers.run('echo', 2)).toBe(2)
})

test('what the module posts to the main thread is not taken for a sign that its worker is ready', async () => {
  const chatty = new URL('../fixtures/chatty_jobs.mjs', import.meta.url)
  const { server } = await startServer({ workers: { module: chatty, count: 0 } })
  await server.workers.resize(1)
  expect(server.workers.idle).toBe(1)
  expect(await server.workers.run('echo', 3)).toBe(3)
})
