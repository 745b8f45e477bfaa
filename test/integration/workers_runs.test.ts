/** Several jobs that one worker could take at a time: what it has not begun is still everybody's. */

import type { Workers } from 'iocp'
import { expect, onTestFinished, test } from 'vitest'
import { startServer } from '../helpers/servers.js'
import { until } from '../helpers/time.js'

const module = new URL('../fixtures/run_jobs.mjs', import.meta.url)

interface Started {
  readonly workers: Workers
  /** How often a job with this number has begun. */
  readonly begun: (number: number) => number
  readonly release: () => void
}

/** Without workers: jobs wait until the test wants some. */
async function start(): Promise<Started> {
  const shared = new Int32Array(new SharedArrayBuffer(4 * 64))
  const { server } = await startServer({ workers: { module, count: 0, data: shared } })
  server.on('workerExit', () => undefined)
  const release = (): void => {
    Atomics.store(shared, 0, 1)
    Atomics.notify(shared, 0)
  }
  onTestFinished(release)
  return { workers: server.workers, begun: (number) => Atomics.load(shared, number), release }
}

const NUMBERS = [1, 2, 3, 4, 5, 6]

test.each(['short', 'promises', 'turns'])(
  "a job that takes long keeps no answer back of those before it: '%s'",
  async (name) => {
    const { workers, begun, release } = await start()
    const short = NUMBERS.map((number) => workers.run(name, number))
    const long = workers.run('blocks', 10)
    await workers.resize(1)
    expect(await Promise.all(short)).toEqual(NUMBERS)
    await until(() => begun(10) === 1)
    release()
    expect(await long).toBe(10)
  }
)

test('a job that takes long keeps no job back that an idle worker can run', async () => {
  const { workers, release } = await start()
  const long = workers.run('blocks', 10)
  const short = NUMBERS.map((number) => workers.run('short', number))
  await workers.resize(2)
  expect(await Promise.all(short)).toEqual(NUMBERS)
  release()
  expect(await long).toBe(10)
})

test('a job that is given up while its worker is at the one before it does not run', async () => {
  const { workers, begun, release } = await start()
  const controller = new AbortController()
  const long = workers.run('blocks', 10)
  const given = workers.run('short', 11, { signal: controller.signal })
  const last = workers.run('short', 12)
  given.catch(() => undefined)
  await workers.resize(1)
  await until(() => begun(10) === 1)
  controller.abort(new Error('no more'))
  await expect(given).rejects.toThrow('no more')
  release()
  expect(await Promise.all([long, last])).toEqual([10, 12])
  expect(begun(11)).toBe(0)
})

test('a worker that exits in a row of jobs has answered those before, and those behind are done by another', async () => {
  const { workers, begun } = await start()
  const before = [1, 2, 3].map((number) => workers.run('short', number))
  const exits = workers.run('exits')
  const behind = [4, 5, 6].map((number) => workers.run('short', number))
  exits.catch(() => undefined)
  await workers.resize(1)
  expect(await Promise.all([...before, ...behind])).toEqual(NUMBERS)
  await expect(exits).rejects.toMatchObject({ code: 'ERR_IOCP_WORKER_EXITED' })
  expect(NUMBERS.map(begun)).toEqual([1, 1, 1, 1, 1, 1])
})

test('workers that come and go under load do each job once', async () => {
  const { workers, begun } = await start()
  const jobs: Promise<unknown>[] = []
  for (const count of [3, 1, 4, 2]) {
    for (let i = 0; i < 500; i++) jobs.push(workers.run('short', 20))
    await workers.resize(count)
  }
  await Promise.all(jobs)
  expect(begun(20)).toBe(2000)
})
