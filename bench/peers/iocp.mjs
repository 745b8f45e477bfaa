// The peer `iocp`: this library, used as its documentation says.
import { BROADCAST_FROM, isBroadcast, library, maxPacket, obey, threads } from './serve.mjs'

const { createServer, framing } = await import(library)

const server = createServer({
  framing: framing.lengthField({ bytes: 4, endian: 'big', maxPacket }),
  ...(threads !== undefined && { ioThreads: threads })
})
if (isBroadcast) {
  server.on('packet', (packet, connection) => {
    if (packet.length < BROADCAST_FROM) connection.send(packet)
    else server.broadcast(packet)
  })
} else {
  server.on('packet', (packet, connection) => {
    connection.send(packet)
  })
}
const { port } = await server.listen({ port: 0, host: '127.0.0.1' })
obey({ port, stats: () => server.stats(), close: () => server.close({ deadline: 0 }) })
