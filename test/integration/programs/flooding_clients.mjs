// Clients that send packets of one byte as fast as they can. node flooding_clients.mjs <port> <clients>
import { connect } from 'node:net'

const [port, count] = process.argv.slice(2).map(Number)
const some = Buffer.concat(Array.from({ length: 5000 }, () => Buffer.from([0, 0, 0, 1, 0x78])))

for (let i = 0; i < count; i++) {
  const socket = connect({ port, host: '127.0.0.1' })
  const write = () => socket.write(some, write)
  socket.on('connect', write)
  socket.on('error', () => process.exit())
  socket.on('close', () => process.exit())
}
