// A server that cuts silent peers after three seconds, and one that waits as long for a header of the PROXY protocol. Runs in a Windows Node.js.
import process from 'node:process'
import { createServer, framing } from '../../../dist/esm/index.js'

const server = createServer({
  framing: framing.line(),
  timeouts: { idle: '3s' },
  packetRate: { count: 10, burst: 10, onExceed: 'close' }
})
server.on('packet', (packet, connection) => connection.send(packet))
server.on('disconnect', ({ cause }) => console.log(cause))
await server.listen({ host: '127.0.0.1' })

const proxied = createServer({ framing: framing.line(), proxyProtocol: { from: ['127.0.0.1'], timeout: '3s' } })
proxied.on('packet', (packet, connection) => connection.send(packet))
proxied.on('refused', ({ reasons }) => console.log(JSON.stringify(reasons)))
console.log(`proxied ${(await proxied.listen({ host: '127.0.0.1' })).port}`)
console.log(`port ${server.address().port}`)
process.on('SIGINT', () => Promise.all([server.close({ deadline: 0 }), proxied.close({ deadline: 0 })]))
