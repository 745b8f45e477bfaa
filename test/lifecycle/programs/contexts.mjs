// What a client, a server and their connections keep of the contexts (AsyncLocalStorage) of those who used them.
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { connect, createServer } from 'iocp'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')
const storage = new AsyncLocalStorage()

/** Whether all of them are gone, sooner or later. */
async function areCollected(refs) {
  for (let attempt = 0; attempt < 100; attempt++) {
    collect()
    for (let i = 0; i < 5; i++) await turn()
    if (refs.every((ref) => ref.deref() === undefined)) return true
  }
  return false
}

const server = createServer()
server.on('packet', (packet, connection) => connection.send(packet))
const { port } = await server.listen({ host: '127.0.0.1' })
const open = () => connect({ host: '127.0.0.1', port })

/** Uses the library in a context; gives what would show that the context is still there. */
async function use() {
  const store = { of: 'one caller' }
  await storage.run(store, async () => {
    const connection = await open()
    connection.send('x', () => undefined)
    await once(connection, 'packet')
    connection.end()
    await connection.closed
  })
  return new WeakRef(store)
}

const refs = []
for (let i = 0; i < 3; i++) refs.push(await use())
// The common completion port of this thread is still there, and works.
const first = await open()
const second = await open()
const isFree = await areCollected(refs)

// What a handler enters is not in force in later batches, of any connection.
first.once('packet', () => storage.enterWith({ of: 'a handler' }))
first.send('x')
await once(first, 'packet')
const seen = []
second.on('packet', () => seen.push(storage.getStore()?.of ?? 'none'))
second.send('x')
await once(second, 'packet')
first.destroy()
second.destroy()
await server.close({ deadline: 0 })
console.log(JSON.stringify({ isFree, seen }))
