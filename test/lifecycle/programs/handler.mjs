// A handler that throws, in a process that goes on.
import { connect, createServer } from 'iocp'
import { say } from './load.mjs'

const errors = []
process.on('uncaughtException', (error) => errors.push(error.message))

const server = createServer()
const seen = []
server.on('packet', (packet, connection) => {
  seen.push(packet.toString())
  connection.send(packet)
  if (packet.toString().endsWith('5')) throw new Error(`thrown at ${packet}`)
})
const { port } = await server.listen(0, '127.0.0.1')
const connection = await connect({ host: '127.0.0.1', port })
for (let i = 0; i < 30; i++) connection.send(String(i))
let echoed = 0
for await (const packet of connection) {
  if (packet.toString() !== String(echoed++)) throw new Error('out of order')
  if (echoed === 30) break
}
connection.end()
await connection.closed
await server.close()
say(JSON.stringify({ seen: seen.length, inOrder: seen.every((text, index) => text === String(index)), errors }))
