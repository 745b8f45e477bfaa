// How the work of the cases `jobs` scales on this machine, now, without any server: once on one thread, then on as many
// as there are workers.
import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { work } from './work.mjs'

const WARM_UP = 300
const TIME = 700

function count(rounds, time) {
  const bytes = Buffer.alloc(64, 7)
  const end = performance.now() + time
  let done = 0
  for (; performance.now() < end; done++) work(bytes, rounds)
  return done
}

if (!isMainThread && workerData?.scaling !== undefined) {
  count(workerData.scaling, WARM_UP)
  parentPort.postMessage(count(workerData.scaling, TIME))
}

async function countOn(threads, rounds) {
  const started = Array.from({ length: threads }, async () => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { scaling: rounds } })
    const [done] = await once(worker, 'message')
    return done
  })
  return (await Promise.all(started)).reduce((sum, done) => sum + done, 0)
}

/**
 * @returns `work`: microseconds of processor time that one takes; `scaling`: how many times as many the threads do
 *   together as one alone
 */
export async function measureScaling(threads, rounds) {
  count(rounds, WARM_UP)
  const before = process.cpuUsage()
  const done = count(rounds, TIME)
  const { user, system } = process.cpuUsage(before)
  const one = await countOn(1, rounds)
  return { work: (user + system) / done, scaling: (await countOn(threads, rounds)) / one }
}
