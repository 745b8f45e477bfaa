// A Worker that connects to a port, over and over, until it is told another one.
import net from 'node:net'
import { parentPort } from 'node:worker_threads'

let port
let open = 0

function connect() {
  while (port !== undefined && open < 16) {
    open++
    const socket = net.connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.on('connect', () => setTimeout(() => socket.destroy(), 20))
    socket.on('close', () => {
      open--
      setImmediate(connect)
    })
  }
}

parentPort.on('message', (next) => {
  port = next
  connect()
})
