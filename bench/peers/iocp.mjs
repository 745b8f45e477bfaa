// The peer `iocp`: this library, used as its documentation says.
import {
  BROADCAST_FROM,
  file,
  isBroadcast,
  maxPacket,
  method,
  obey,
  onMainThread,
  packageName,
  rounds,
  threads,
  workers
} from './serve.mjs'
import { work } from './work.mjs'

const { createServer, framing } = await import(packageName)

const server = createServer({
  framing: framing.lengthField({ bytes: 4, endian: 'big', maxPacket }),
  transfer: { method },
  ...(threads !== undefined && { ioThreads: threads }),
  ...(rounds !== undefined &&
    !onMainThread && {
      workers: { module: new URL('./iocp_worker.mjs', import.meta.url), count: workers, route: 'all', data: { rounds } }
    })
})
if (file !== undefined) {
  server.on('packet', (_, connection) => {
    connection.sendFile(file, { mode: 'raw' }).catch(() => connection.destroy())
  })
} else if (isBroadcast) {
  server.on('packet', (packet, connection) => {
    if (packet.length < BROADCAST_FROM) connection.send(packet)
    else server.broadcast(packet)
  })
} else if (rounds !== undefined) {
  server.on('packet', (packet, connection) => {
    work(packet, rounds)
    connection.send(packet)
  })
} else {
  server.on('packet', (packet, connection) => {
    connection.send(packet)
  })
}
const { port } = await server.listen({ port: 0, host: '127.0.0.1' })
if (rounds !== undefined && !onMainThread) await server.workers.resize(workers) // they have started
obey({ port, stats: () => server.stats(), close: () => server.close({ deadline: 0 }) })
