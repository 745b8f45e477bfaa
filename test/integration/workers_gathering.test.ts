/** Answers of short jobs wait for each other where many jobs wait, but for no job that takes long. */

import { expect, onTestFinished, test } from 'vitest'
import { frame } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'
import { startServer } from '../helpers/servers.js'

const module = new URL('../fixtures/run_jobs.mjs', import.meta.url)

/** One worker, or none yet; what blocks it is released at the end. */
async function start(count: number, route: number[] = []) {
  const shared = new Int32Array(new SharedArrayBuffer(4 * 64))
  const { server, port } = await startServer({ workers: { module, count, data: shared, route } })
  const release = (): void => {
    Atomics.store(shared, 0, 1)
    Atomics.notify(shared, 0)
  }
  onTestFinished(release)
  return { server, port, workers: server.workers, release }
}

test('a job that takes long, in a long row of short ones, keeps no answer back', async () => {
  const { workers, release } = await start(0)
  const before = Array.from({ length: 40 }, (_, number) => workers.run('spins', number))
  const long = workers.run('blocks', 10)
  const behind = Array.from({ length: 200 }, (_, number) => workers.run('spins', number))
  await workers.resize(1)
  expect(await Promise.all(before)).toEqual(Array.from(before.keys()))
  release()
  expect(await long).toBe(10)
  expect(await Promise.all(behind)).toEqual(Array.from(behind.keys()))
})

test('a packet whose handler takes long, in a long row, keeps no reply back', async () => {
  const { port, release } = await start(1, [1, 2])
  const client = await RawClient.open(port)
  const packets = Array.from({ length: 240 }, (_, number) => Buffer.from([number === 40 ? 2 : 1, number]))
  await client.write(Buffer.concat(packets.map((packet) => frame(packet))))
  const expected = (from: number, to: number): Buffer =>
    Buffer.concat(packets.slice(from, to).map((packet) => frame(packet)))
  expect((await client.read(expected(0, 40).length)).equals(expected(0, 40))).toBe(true)
  release()
  expect((await client.read(expected(40, 240).length)).equals(expected(40, 240))).toBe(true)
})

test('many short jobs wake the main thread far less often than once each', async () => {
  const { server, workers } = await start(1)
  const before = server.stats()
  let left = 1500
  const lane = async (): Promise<void> => {
    while (left-- > 0) await workers.run('spins', 1)
  }
  await Promise.all(Array.from({ length: 64 }, lane))
  const wakes = (server.stats()?.counters.wakes ?? 0) - (before?.counters.wakes ?? 0)
  // One after another, it would be nearly 1500.
  expect(wakes).toBeLessThan(1500 / 3)
  expect(wakes).toBeGreaterThan(0)
})

test('one job at a time is answered by itself', async () => {
  const { server, workers } = await start(1)
  const wakes = (): number => server.stats()?.counters.wakes ?? 0
  for (let i = 0; i < 50; i++) {
    const before = wakes()
    expect(await workers.run('spins', i)).toBe(i)
    expect(wakes()).toBeGreaterThan(before)
  }
})
