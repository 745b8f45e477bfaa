// Passwords are checked by workers: while they compute, the main thread and all other packets go on.
//   node examples/workers.js
import { scryptSync } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { connect, createServer, framing } from 'iocp'
import { defineJobs } from 'iocp/worker'

const TYPE = { chat: 1, hash: 2 }
const frames = framing.lengthField({ bytes: 4, typeByte: true })

// A module of its own in a larger program; here one file is both.
export default defineJobs({
  [TYPE.hash](job) {
    const hash = scryptSync(job.data.subarray(1), 'salt', 32)
    job.reply(Buffer.concat([Buffer.of(TYPE.hash), hash]))
  },
  hash: (job) => scryptSync(job.data, 'salt', 32).toString('hex')
})

if (isMainThread) {
  const server = createServer({
    framing: frames,
    workers: { module: fileURLToPath(import.meta.url), count: 2, route: [TYPE.hash] }
  })
  server.on('packet', (packet, connection) => connection.send(packet)) // chat
  server.on('jobError', (error) => console.error('a packet could not be worked on:', error))
  const { port } = await server.listen({ port: 0 })

  const client = await connect({ port, framing: frames })
  client.on('packet', (packet) => {
    if (packet[0] === TYPE.chat) console.log('chat:', packet.toString('utf8', 1))
    else console.log('hash:', packet.toString('hex', 1))
  })
  for (const password of ['one', 'two', 'three']) {
    client.send(Buffer.concat([Buffer.of(TYPE.hash), Buffer.from(password)]))
  }
  client.send(Buffer.concat([Buffer.of(TYPE.chat), Buffer.from('not held up by the hashes')]))

  console.log('from the main thread:', await server.workers.run('hash', 'secret'))
  client.end()
  await server.close()
}
