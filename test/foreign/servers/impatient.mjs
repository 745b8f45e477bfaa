// A server that cuts silent peers after two seconds. Runs in a Windows Node.js.
import process from 'node:process'
import { createServer, framing } from '../../../dist/esm/index.js'

const server = createServer({ framing: framing.line(), timeouts: { idle: '2s' } })
server.on('packet', (packet, connection) => connection.send(packet))
server.on('disconnect', ({ cause }) => console.log(cause))
const { port } = await server.listen({ host: '127.0.0.1' })
console.log(`port ${port}`)
process.on('SIGINT', () => server.close({ deadline: 0 }))
