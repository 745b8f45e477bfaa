// A server and clients in one process, with data that flows both ways without end.
import { createClient, createServer } from 'iocp'

/** @param {{ ioThreads?: number, connections?: number }} [options] */
export async function startLoad({ ioThreads = 2, connections = 10 } = {}) {
  const server = createServer({ ioThreads })
  const client = createClient({ ioThreads })
  let packets = 0
  server.on('packet', (packet, connection) => {
    packets++
    connection.send(packet)
  })
  client.on('packet', (packet, connection) => connection.send(packet))
  const { port } = await server.listen(0, '127.0.0.1')
  for (let i = 0; i < connections; i++) {
    const connection = await client.connect({ host: '127.0.0.1', port })
    for (let packet = 0; packet < 5; packet++) connection.send(Buffer.alloc(200 * packet * packet, packet))
  }
  const flows = new Promise((resolve) => {
    server.on('packet', function look() {
      if (packets < 500) return
      server.off('packet', look)
      resolve(undefined)
    })
  })
  return { server, client, flows, port, packets: () => packets }
}

/** Says something on a line of its own, at once, also when the process ends in the next moment. */
export function say(text) {
  process.stdout.write(`${text}\n`)
}
