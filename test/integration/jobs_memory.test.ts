import { once } from 'node:events'
import { framing } from 'iocp'
import { expect, test } from 'vitest'
import { load } from '../helpers/load.js'
import { startClient, startServer } from '../helpers/servers.js'
import { until } from '../helpers/time.js'

const TOTAL = load(40_000, 1_000_000)

/** How many are under way at a time, and what memory may grow by once that has been seen. */
const ROUND = 2000
const GROWTH = 32 * 1024 * 1024

const MIB = 1024 * 1024
const ECHO = 0x10

test(`memory stays flat through ${TOTAL.toLocaleString('en-US')} small jobs`, async () => {
  const typed = framing.lengthField({ bytes: 4, typeByte: true })
  const module = new URL('../fixtures/jobs.mjs', import.meta.url)
  const { server, port } = await startServer({ framing: typed, workers: { module, count: 2, route: [ECHO] } })
  const connection = await startClient({ framing: typed }).connect({ port, host: '127.0.0.1' })
  let answers = 0
  connection.on('packet', () => answers++)

  const packet = Buffer.alloc(32, ECHO)
  const numbers = Array.from({ length: ROUND }, (_, index) => index)
  /** Half of them are routed packets, half come from here. */
  const some = async (count: number): Promise<void> => {
    for (let left = count; left > 0; left -= 2 * ROUND) {
      const wanted = answers + ROUND
      for (let i = 0; i < ROUND; i++) connection.send(packet)
      const results = await Promise.all(numbers.map((number) => server.workers.run('echo', number)))
      expect(results).toEqual(numbers)
      await until(() => answers >= wanted)
    }
  }

  const figures: number[] = []
  const began = performance.now()
  for (let part = 0; part < 5; part++) {
    await some(TOTAL / 5)
    figures.push(process.memoryUsage().rss)
  }
  const seconds = (performance.now() - began) / 1000
  const shown = figures.map((bytes) => (bytes / MIB).toFixed(0)).join(', ')
  console.log(`${TOTAL} jobs in ${seconds.toFixed(1)} s; MiB after each fifth of them: ${shown}`)
  expect(server.workers.stats()).toMatchObject({ completed: TOTAL, failed: 0, queued: 0, running: 0 })
  // The first part grows the heaps and pools.
  expect(Math.max(...figures.slice(1)) - (figures[0] ?? 0)).toBeLessThan(GROWTH)
  const closed = once(connection, 'close')
  await server.close()
  await closed
}, 1_800_000)
