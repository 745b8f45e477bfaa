// Clients that never let their server rest: `windowed` of them keep a window of packets on the way, one writes without
// limit. node windowed_clients.mjs <port> <windowed> <window in packets>
import { connect } from 'node:net'

const [port, count, window] = process.argv.slice(2).map(Number)
const SIZE = 1024

function frames(number) {
  const bytes = Buffer.alloc(number * (4 + SIZE))
  for (let at = 0; at < bytes.length; at += 4 + SIZE) bytes.writeUInt32BE(SIZE, at)
  return bytes
}

// An answer is a frame of 4 bytes: so many packets have been taken.
function windowed() {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  let rest = Buffer.alloc(0)
  socket.on('connect', () => socket.write(frames(window)))
  socket.on('data', (bytes) => {
    rest = Buffer.concat([rest, bytes])
    let taken = 0
    let at = 0
    for (; at + 8 <= rest.length; at += 8) taken += rest.readUInt32BE(at + 4)
    rest = rest.subarray(at)
    if (taken > 0) socket.write(frames(taken))
  })
  socket.on('error', () => process.exit())
  socket.on('close', () => process.exit())
}

function unlimited() {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const some = frames(64)
  const write = () => {
    while (socket.write(some));
  }
  socket.on('connect', write)
  socket.on('drain', write)
  socket.on('error', () => process.exit())
  socket.on('close', () => process.exit())
}

unlimited()
for (let i = 0; i < count; i++) windowed()
