// The peer `net`: node:net with a framer in JavaScript.
import fs from 'node:fs'
import net from 'node:net'
import { Framer } from './framer.mjs'
import { BROADCAST_FROM, file, isBroadcast, maxPacket, obey } from './serve.mjs'

const sockets = new Set()

/** One buffer for all. */
function broadcast(packet) {
  const bytes = Buffer.allocUnsafe(4 + packet.length)
  bytes.writeUInt32BE(packet.length)
  packet.copy(bytes, 4)
  for (const socket of sockets) socket.write(bytes)
}

const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {}) // a reset by the peer; 'close' follows
  if (isBroadcast) {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  }
  const framer = new Framer(socket, maxPacket, (packet) => {
    if (file !== undefined) fs.createReadStream(file).pipe(socket, { end: false })
    else if (isBroadcast && packet.length >= BROADCAST_FROM) broadcast(packet)
    else framer.send(packet)
  })
})
server.listen(0, '127.0.0.1', () => obey({ port: server.address().port, close: () => {} }))
