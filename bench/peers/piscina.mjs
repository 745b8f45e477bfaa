// The peer `piscina`: node:net with a framer in JavaScript, which hands its packets to a pool of worker threads.
import net from 'node:net'
import { Piscina } from 'piscina'
import { Framer } from './framer.mjs'
import { maxPacket, obey, rounds, workers } from './serve.mjs'

const pool = new Piscina({
  filename: new URL('./piscina_worker.mjs', import.meta.url).href,
  minThreads: workers,
  maxThreads: workers
})

const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {}) // a reset by the peer; 'close' follows
  let last = Promise.resolve()
  const framer = new Framer(socket, maxPacket, (packet) => {
    // A copy: what is cloned is the whole memory under a view, and the framer's chunks are large.
    const result = pool.run({ packet: new Uint8Array(packet), rounds })
    // Replies of a connection in the order of its packets.
    last = last.then(async () => {
      framer.send(await result)
      framer.flush()
    })
  })
})
server.listen(0, '127.0.0.1', () => obey({ port: server.address().port, close: () => {} }))
