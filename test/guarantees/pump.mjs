// A Worker that sends numbered packets as fast as the other side takes them. It runs beside the thread of a test, so
// that it goes on while that is blocked.
import { once } from 'node:events'
import net from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'

const { port, connections, bytes, size } = workerData
const counter = new BigUint64Array(workerData.counter)
const perConnection = Math.ceil(bytes / connections / (size + 4))

async function pump(index) {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  socket.on('error', () => {})
  await once(socket, 'connect')
  for (let number = 0; number < perConnection;) {
    const together = Math.min(16, perConnection - number)
    const batch = Buffer.alloc(together * (size + 4), number & 0xff)
    for (let at = 0; at < batch.length; at += size + 4, number++) {
      batch.writeUInt32BE(size, at)
      batch.writeUInt32BE(index, at + 4)
      batch.writeUInt32BE(number, at + 8)
    }
    const written = socket.write(batch)
    Atomics.add(counter, 0, BigInt(batch.length))
    if (!written) await once(socket, 'drain')
  }
  socket.end()
  socket.resume()
  await once(socket, 'close')
}

try {
  await Promise.all(Array.from({ length: connections }, (_, index) => pump(index)))
  parentPort.postMessage({ perConnection })
} catch {
  // The test has ended before all was sent, and has said why.
}
