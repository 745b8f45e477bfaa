// Leaves in one of many ways: node leave.mjs <when> <how>.
import { connect, createServer } from 'iocp'
import { say, startLoad } from './load.mjs'

const [, , when, how] = process.argv

const ways = {
  exit: () => process.exit(7),
  throw: () => {
    throw new Error('left by an exception')
  },
  reject: () => {
    void Promise.reject(new Error('left by a rejection'))
  },
  abort: () => process.abort(),
  kill: () => process.kill(process.pid, 'SIGKILL')
}

function leave() {
  say(`leaving: ${when}`)
  ways[how]()
}

const moments = {
  async 'before anything'() {
    leave()
  },
  async 'with a server that was never started'() {
    createServer()
    leave()
  },
  async 'during listen'() {
    createServer().listen(0)
    leave()
  },
  async 'right after listen'() {
    await createServer().listen(0)
    leave()
  },
  async 'in the listening event'() {
    const server = createServer()
    server.on('listening', leave)
    await server.listen(0)
  },
  async 'during connect'() {
    const server = createServer()
    const { port } = await server.listen(0)
    void connect({ port })
    setImmediate(leave)
  },
  async 'in the connection event'() {
    const server = createServer({}, leave)
    const { port } = await server.listen(0)
    await connect({ port })
  },
  async 'while data flows'() {
    const { flows } = await startLoad()
    await flows
    leave()
  },
  async 'in a packet handler'() {
    const { server, flows } = await startLoad()
    await flows
    server.on('packet', leave)
  },
  async 'while much waits to be sent'() {
    const server = createServer()
    const { port } = await server.listen(0, '127.0.0.1')
    server.on('connection', (connection) => {
      for (let i = 0; i < 16; i++) connection.send(Buffer.alloc(1_000_000), () => undefined)
      connection.flush()
      setImmediate(leave)
    })
    const connection = await connect({ host: '127.0.0.1', port })
    connection.pause()
  },
  async 'during close'() {
    const { server, flows } = await startLoad()
    await flows
    void server.close()
    setImmediate(leave)
  },
  async 'in the disconnect event'() {
    const { server, flows } = await startLoad()
    await flows
    server.on('disconnect', leave)
    for (const connection of server.connections) connection.destroy()
  },
  async 'in the close event'() {
    const { server, flows } = await startLoad()
    await flows
    server.on('close', leave)
    await server.close({ deadline: 0 })
  },
  async 'after close'() {
    const { server, client, flows } = await startLoad()
    await flows
    await Promise.all([server.close({ deadline: 0 }), client.close({ deadline: 0 })])
    leave()
  }
}

if (process.argv.includes('--list')) say(JSON.stringify({ moments: Object.keys(moments), ways: Object.keys(ways) }))
else await moments[when]()
