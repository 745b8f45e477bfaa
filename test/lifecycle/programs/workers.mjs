// Servers in Workers that end in several ways: node workers.mjs <how>.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { say, startLoad } from './load.mjs'

const ROUNDS = 2

if (isMainThread) {
  const how = process.argv[2]
  // The main thread has servers of its own, which must not notice.
  const load = how === 'beside the main thread' ? await startLoad({ connections: 2 }) : undefined
  for (let round = 0; round < ROUNDS; round++) {
    const workers = [0, 1].map(() => new Worker(new URL(import.meta.url), { workerData: how }))
    await Promise.all(
      workers.map(
        (worker) =>
          new Promise((resolve) => {
            worker.on('message', (text) => {
              say(`round ${round}: ${text}`)
              if (how === 'terminate' || how === 'beside the main thread') void worker.terminate()
              if (how === 'process.exit in the main thread') process.exit(7)
            })
            worker.on('error', (error) => say(`error: ${error.message}`))
            worker.on('exit', (code) => {
              say(`exit ${code}`)
              resolve(undefined)
            })
          })
      )
    )
  }
  if (load !== undefined) {
    const before = load.packets()
    while (load.packets() < before + 500) await new Promise(setImmediate)
    say('the main thread goes on')
    await Promise.all([load.server.close({ deadline: 0 }), load.client.close({ deadline: 0 })])
  }
  say('all workers have ended')
} else {
  const { server, client, flows } = await startLoad({ connections: 4 })
  await flows
  parentPort?.postMessage('flows')
  if (workerData === 'process.exit') process.exit(3)
  if (workerData === 'exception') {
    setImmediate(() => {
      throw new Error('thrown in a worker')
    })
  }
  if (workerData === 'close') await Promise.all([server.close({ deadline: 0 }), client.close({ deadline: 0 })])
}
