// Slow peers, in a process of their own: node slow.mjs <port> <count>. Each sends a packet of 64 bytes, a byte each half
// second. Tells how many are there, and of each that is cut. Ends with its parent.
import net from 'node:net'

const [port, count] = process.argv.slice(2).map(Number)
const EVERY = 500
const TICK = 5
const packet = Buffer.alloc(68, 1)
packet.writeUInt32BE(64)

const peers = []
let cut = 0
while (peers.length < count) {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  await new Promise((resolve) => {
    socket.once('connect', resolve).once('close', resolve)
  })
  socket.on('close', () => cut++).on('error', () => undefined)
  socket.resume()
  peers.push({ socket, sent: 0 })
}
process.send('ready')
process.on('message', () => process.send({ cut }))
process.on('disconnect', () => process.exit(0))

let at = 0
setInterval(() => {
  for (let left = (count * TICK) / EVERY; left > 0; left--) {
    const peer = peers[at++ % count]
    if (!peer.socket.destroyed && peer.sent < packet.length) peer.socket.write(packet.subarray(peer.sent, ++peer.sent))
  }
}, TICK)
