// Peers that are not wanted, in a process of their own: node flood.mjs <port> <per second> <addresses>. Each connects
// from 127.1.x.y, and is refused. Ends with its parent.
import net from 'node:net'

const [port, rate, addresses] = process.argv.slice(2).map(Number)
const TICK = 10
const MOST_AT_ONCE = 400
let open = 0
let next = 0
let due = 0
let made = 0

function come() {
  const index = next++ % addresses
  open++
  const socket = net.connect({ port, host: '127.0.0.1', localAddress: `127.1.${index >> 8}.${index & 255}` })
  socket.on('connect', () => made++).on('error', () => undefined)
  socket.resume().on('close', () => open--)
}

setInterval(() => {
  due = Math.min(due + (rate * TICK) / 1000, MOST_AT_ONCE)
  for (; due >= 1 && open < MOST_AT_ONCE; due--) come()
}, TICK)
process.on('message', () => process.send({ made }))
process.on('disconnect', () => process.exit(0))
