// Leaves in the middle of files that go both ways. Arguments: how, folder.
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { connect, createServer, framing } from 'iocp'

const typed = framing.lengthField({ typeByte: true })
const MIB = 1024 * 1024

/** A server and a client in this thread; `onBytes` is told whenever something has come. */
async function transfer(folder, onBytes) {
  const path = join(folder, 'source')
  const server = createServer({ framing: typed, ioThreads: 2, transfer: { maxPerConnection: 100 } })
  const { port } = await server.listen({ host: '127.0.0.1' })
  const take = (offer) => {
    offer
      .accept({ path: join(folder, `${offer.name}.copy`), overwrite: 'replace', onProgress: onBytes })
      .catch(() => undefined)
  }
  server.on('file', take)
  server.on('connection', async (connection) => {
    for (;;) await connection.sendFile(path, { name: 'a', bytesPerSecond: 30 * MIB })
  })
  const client = await connect({ host: '127.0.0.1', port, framing: typed, transfer: { maxPerConnection: 100 } })
  client.on('file', take)
  void (async () => {
    for (;;) await client.sendFile(path, { name: 'b', bytesPerSecond: 30 * MIB })
  })()
  for (let i = 0; i < 20; i++) client.sendFile(path, { name: `c${i}` }).catch(() => undefined)
}

const [how = 'worker', folder = workerData] = process.argv.slice(2)
if (!isMainThread) {
  await transfer(workerData, () => parentPort.postMessage('bytes'))
} else {
  writeFileSync(join(folder, 'source'), Buffer.alloc(6 * MIB, 7))
  if (how === 'exit') {
    await transfer(folder, () => {
      console.log('leaving')
      process.exit(5)
    })
  } else {
    for (let round = 0; round < 6; round++) {
      const worker = new Worker(new URL(import.meta.url), { workerData: folder, argv: ['worker', folder] })
      await once(worker, 'message')
      await sleep(round * 17)
      await worker.terminate()
      const parts = readdirSync(folder).filter((name) => name.endsWith('.part'))
      console.log(`terminated, ${parts.length} parts`)
    }
  }
}
