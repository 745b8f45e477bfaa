// A program whose only storage is its own, first used at a moment of its choice: in which context its handlers run.
// node context_first.mjs <when the storage is first used: before-import | before-listen | in-listen | in-connect>
import { AsyncLocalStorage } from 'node:async_hooks'

const [, , when] = process.argv
const storage = new AsyncLocalStorage()
if (when === 'before-import') storage.run('early', () => undefined)
const { connect, createServer } = await import('iocp')
if (when === 'before-listen') storage.run('early', () => undefined)

const seen = []
const see = (what) => seen.push(`${what}: ${storage.getStore() ?? 'none'}`)
const server = createServer()
server.on('connection', () => see('connection'))
server.on('packet', (packet, connection) => {
  see('packet')
  connection.send(packet, () => see('sent'))
})
const listen = () => server.listen({ port: 0, host: '127.0.0.1' })
const { port } = when === 'in-connect' ? await listen() : await storage.run('listen', listen)
const client = await storage.run('connect', () => connect({ port, host: '127.0.0.1' }))
const arrived = new Promise((resolve) => {
  client.on('packet', () => {
    see('client packet')
    resolve()
  })
})
client.on('close', () => see('client close'))
client.send('a')
await arrived
await new Promise((resolve) => {
  const ended = () => {
    see('end')
    resolve()
  }
  storage.run('end', () => client.end(ended))
})
await client.closed
await server.close()
console.log(JSON.stringify(seen.sort()))
