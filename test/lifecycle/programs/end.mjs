// Programs that should end by themselves, or should not: node end.mjs <which>.
import { connect, createClient, createServer } from 'iocp'
import { say, startLoad } from './load.mjs'

const programs = {
  async 'nothing but an import'() {},

  async 'a server that was never started'() {
    createServer()
  },

  async 'a server that was closed'() {
    const { server, client, flows } = await startLoad()
    await flows
    await Promise.all([server.close({ deadline: 1000 }), client.close({ deadline: 1000 })])
  },

  async 'a server that does not keep the process'() {
    const server = createServer().unref()
    await server.listen(0)
  },

  async 'a server that stopped keeping the process later'() {
    const server = createServer()
    await server.listen(0)
    server.unref().ref().unref()
  },

  async 'a client whose connections have ended'() {
    const server = createServer()
    const { port } = await server.listen(0)
    const connection = await connect({ port })
    connection.end()
    await connection.closed
    await server.close()
  },

  async 'a client that keeps nothing'() {
    const server = createServer().unref()
    const { port } = await server.listen(0)
    await createClient().unref().connect({ port })
  },

  async 'a failed listen'() {
    await createServer()
      .listen(0, 'no-such-host.invalid')
      .catch(() => say('failed'))
  },

  async 'a failed connect'() {
    const server = createServer()
    const { port } = await server.listen(0, '127.0.0.1')
    await server.close()
    await connect({ host: '127.0.0.1', port }).catch(({ code }) => say(code))
  },

  // Memory of every kind, also the system's own, is there when the environment ends.
  async 'packets of all sizes that are kept'() {
    const server = createServer()
    const kept = (globalThis.kept = [])
    const sizes = [10, 1000, 20_000, 40_000, 65_536, 65_537, 300_000, 1_000_000]
    const done = new Promise((resolve) => {
      server.on('packet', (packet) => {
        if (kept.push(packet) === 10 * sizes.length) resolve(undefined)
      })
    })
    const { port } = await server.listen(0, '127.0.0.1')
    const connection = await connect({ host: '127.0.0.1', port })
    for (let round = 0; round < 10; round++) for (const size of sizes) connection.send(Buffer.alloc(size, round))
    await done
    connection.destroy()
    await server.close({ deadline: 0 })
  },

  // These two keep the process: a timer ends them and says so.
  async 'a server that listens'() {
    const server = createServer()
    await server.listen(0)
    setTimeout(() => {
      say('still here')
      process.exit(0)
    }, 500).unref()
  },

  async 'a connection that is open'() {
    const server = createServer().unref()
    const { port } = await server.listen(0)
    await connect({ port })
    setTimeout(() => {
      say('still here')
      process.exit(0)
    }, 500).unref()
  }
}

const which = process.argv[2]
process.on('exit', () => say(`ended: ${which}`))
await programs[which]()
