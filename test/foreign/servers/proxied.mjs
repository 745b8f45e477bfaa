// A server behind a balancer: answers each packet with what it knows of its client. Runs in a Windows Node.js.
import process from 'node:process'
import { createServer, framing } from '../../../dist/esm/index.js'

const server = createServer({ framing: framing.line(), proxyProtocol: { from: ['127.0.0.1', '::1'] } })
const own = { LOCAL: 0, UNKNOWN: 0 }

server.on('connection', ({ proxy }) => {
  if (proxy.command === 'LOCAL') own.LOCAL++
  else if (proxy.source === undefined) own.UNKNOWN++
})
server.on('packet', (packet, connection) => {
  const { remoteAddress, remotePort, proxyAddress, proxy } = connection
  if (String(packet) === 'stats') {
    const { counters, access } = server.stats()
    return connection.send(JSON.stringify({ own, refused: counters.refused, byReason: access.refused }))
  }
  const { version, destination, ssl, authority, uniqueId, tlvs } = proxy
  const types = tlvs.map(({ type }) => type)
  const client = [remoteAddress, remotePort]
  connection.send(
    JSON.stringify({ client, proxyAddress, version, destination, ssl, authority, uniqueId: String(uniqueId), types })
  )
})
const { port } = await server.listen({ host: '127.0.0.1' })
console.log(`port ${port}`)
process.on('SIGINT', () => server.close({ deadline: 0 }))
