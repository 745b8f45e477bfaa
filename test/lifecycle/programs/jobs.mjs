// Servers with workers that end in several ways: node jobs.mjs <how>.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { connect, createServer, framing } from 'iocp'
import { say } from './load.mjs'

const how = isMainThread ? process.argv[2] : workerData
const TYPE = { echo: 0x10, loops: 0x15 }

/** A server whose workers have plenty to do, and what has been answered. */
async function startJobs() {
  const typed = framing.lengthField({ bytes: 4, typeByte: true })
  const server = createServer({
    framing: typed,
    workers: { module: new URL('../../fixtures/jobs.mjs', import.meta.url), count: 2, route: Object.values(TYPE) }
  })
  const { port } = await server.listen({ port: 0, host: '127.0.0.1' })
  const client = await connect({ port, host: '127.0.0.1', framing: typed })
  const answer = () => client.send(Buffer.of(TYPE.echo, 1, 2, 3))
  let answers = 0
  const flows = new Promise((resolve) => {
    client.on('packet', () => {
      if (++answers === 300) resolve(undefined)
      answer()
    })
  })
  for (let i = 0; i < 20; i++) answer()
  await flows
  return { server, client }
}

if (how?.startsWith('in a Worker') && isMainThread) {
  for (let round = 0; round < 2; round++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: how })
    await new Promise((resolve) => {
      worker.on('message', (text) => {
        say(text)
        if (how === 'in a Worker: terminate') void worker.terminate()
      })
      worker.on('error', (error) => say(`error: ${error.message}`))
      worker.on('exit', (code) => {
        say(`exit ${code}`)
        resolve(undefined)
      })
    })
  }
} else {
  const { server, client } = await startJobs()
  if (isMainThread) say('flows')
  else parentPort?.postMessage('flows')
  switch (how) {
    case 'process.exit':
      process.exit(7)
      break
    case 'process.exit while a worker loops':
      client.send(Buffer.of(TYPE.loops))
      setTimeout(() => process.exit(7), 100)
      break
    case 'exception':
      setImmediate(() => {
        throw new Error('thrown')
      })
      break
    case 'close':
    case 'in a Worker: close':
      await server.close({ deadline: 2000 })
      say('closed')
      break
    case 'close while a worker loops':
      client.send(Buffer.of(TYPE.loops))
      await server.close({ deadline: 200 })
      say('closed')
      break
    case 'in a Worker: process.exit':
      process.exit(3)
  }
  if (how === 'unref') {
    server.unref()
    client.destroy()
  }
}
