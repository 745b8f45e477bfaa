// Sends back every packet. A packet is 4 bytes of length, big-endian, and then so many bytes.
import { createServer } from 'iocp'

const server = createServer()

server.on('connection', (connection) => {
  console.log(`${connection.remoteAddress} has connected`)
})
server.on('packet', (packet, connection) => {
  // A peer that does not read what we send is not listened to either, until it has.
  if (connection.send(packet) === 'queued') connection.pause()
})
server.on('drain', (connection) => connection.resume())

const { port } = await server.listen({ port: 9999 })
console.log(`Listening on port ${port}`)
