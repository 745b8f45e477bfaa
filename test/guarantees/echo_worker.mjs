// A Worker with a server of its own, which sends back what it gets. It says its port, and at the end the ids of the
// connections that it had.
import { parentPort, workerData } from 'node:worker_threads'
import { createServer } from 'iocp'

const server = createServer({ ioThreads: 1, ...workerData })
const ids = []
server.on('connection', (connection) => ids.push(connection.id))
server.on('packet', (packet, connection) => connection.send(packet))
const { port } = await server.listen(0, '127.0.0.1')
parentPort.once('message', async () => {
  await server.close({ deadline: 0 })
  parentPort.postMessage(ids)
})
parentPort.postMessage(port)
