// Echoes every packet. A packet is a 4-byte big-endian length followed by that many bytes.
import { createServer } from 'iocp'

const server = createServer()

server.on('connection', (connection) => {
  console.log(`${connection.remoteAddress} has connected`)
})
server.on('packet', (packet, connection) => {
  // Stop reading from a peer that does not read our replies; 'drain' resumes it.
  if (connection.send(packet) === 'queued') connection.pause()
})
server.on('drain', (connection) => connection.resume())

const { port } = await server.listen({ port: 9999 })
console.log(`Listening on port ${port}`)
