// Ends, or ends the Worker that it runs in, while a listener with `admission: 'conditional'` accepts. The argument: how.
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'

process.env.IOCP_ADDON = process.env.IOCP_FAULT_ADDON
const { faults } = createRequire(import.meta.url)(process.env.IOCP_FAULT_ADDON)
faults.set('conditional', { pretend: true })

const [, , how] = process.argv

/** Accepts peers, which it connects itself, until it is ended. */
async function accept(begun) {
  const { createServer } = await import('iocp')
  const server = createServer({ admission: 'conditional', access: { maxPerAddress: 30 } })
  const { port } = await server.listen({ port: 0, host: '127.0.0.1' })
  if (server.stats().listeners[0].admission !== 'conditional') throw new Error('it is not conditional')
  let accepted = 0
  server.on('connection', (connection) => {
    if (++accepted === 20) begun()
    connection.destroy()
  })
  const next = () => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.on('error', () => undefined)
    socket.once('close', next).resume()
  }
  for (let count = 0; count < 10; count++) next()
}

if (!isMainThread) {
  await accept(() => parentPort.postMessage('begun'))
} else if (how === 'exit') {
  await accept(() => {
    process.stdout.write('accepting, exit\n')
    process.exit(7)
  })
} else {
  const worker = new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) })
  await once(worker, 'message')
  await worker.terminate()
  process.stdout.write('accepting, worker\n')
}
