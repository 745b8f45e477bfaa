// Asynchronous handlers that reject, in a process that only watches what becomes of it.
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectPlain } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, createServer, framing } from 'iocp'
import { say } from './load.mjs'

const [mode = 'throw'] = process.argv.slice(2)
const seen = []
process.on('unhandledRejection', (error) => seen.push(error.code ?? error.message))

/** @type {Record<string, string[]>} */
const found = {}
const typed = framing.lengthField({ typeByte: true, streamAbove: '1MiB', maxPacket: '16MiB' })
const folder = mkdtempSync(join(tmpdir(), 'iocp-'))
writeFileSync(join(folder, 'there.txt'), 'there')
writeFileSync(join(folder, 'new.txt'), 'new')

/** @param {number} size @param {number} [given] */
function packet(size, given = size) {
  const bytes = Buffer.alloc(4 + given, 1)
  bytes.writeUInt32BE(size)
  return bytes
}

/** One server for each case, with what its handlers have come to in the end. */
async function serve(name, prepare, talk) {
  seen.length = 0
  const server = createServer({ framing: typed, onHandlerError: mode === 'close' ? 'close' : 'throw' })
  server.on('handlerError', (error) => seen.push(`handlerError ${error.code ?? error.message}`))
  server.on('disconnect', () => undefined)
  prepare(server)
  const { port } = await server.listen(0, '127.0.0.1')
  const ended = once(server, 'disconnect')
  const result = await talk(port, server)
  await ended
  await server.close()
  await sleep(20)
  found[name] = result === undefined ? [...seen] : [result, ...seen]
}

/** A peer that says something and then breaks off. */
function breaks(bytes, how) {
  return (port, server) =>
    new Promise((resolve) => {
      const socket = connectPlain({ port, host: '127.0.0.1' })
      socket.on('error', () => undefined)
      server.once('told', () => (how === 'end' ? socket.end() : socket.resetAndDestroy()))
      socket.write(bytes)
      resolve(undefined)
    })
}

for (const how of ['reset', 'end']) {
  await serve(
    `iteration, ${how}`,
    (server) => {
      server.on('connection', async (connection) => {
        for await (const one of connection) server.emit('told', one)
      })
    },
    breaks(packet(5), how)
  )
  await serve(
    `stream, ${how}`,
    (server) => {
      server.on('stream', async (stream) => {
        for await (const one of stream) server.emit('told', one)
      })
    },
    breaks(packet(2 ** 21, 1000), how)
  )
  await serve(
    `stream that is read later, ${how}`,
    (server) => {
      server.on('stream', async (stream) => {
        setTimeout(() => server.emit('told'), 10)
        await once(stream, 'close')
        for await (const one of stream) server.emit('told', one)
      })
    },
    breaks(packet(2 ** 21, 1000), how)
  )
}

await serve(
  'an error of the program',
  (server) => {
    server.on('packet', async (one, connection) => {
      setTimeout(() => connection.end(), 20)
      await Promise.resolve()
      throw new Error('mine')
    })
  },
  breaks(packet(5), 'end')
)

/** Sends a file to a server, and says how that went. */
function sends(name) {
  return async (port) => {
    const connection = await connect({ host: '127.0.0.1', port, framing: typed })
    const begun = performance.now()
    const code = await connection.sendFile(join(folder, name)).then(
      () => 'sent',
      (error) => error.code
    )
    const isLate = performance.now() - begun > 20_000
    connection.end()
    return `${code}${isLate ? ' late' : ''}`
  }
}

await serve(
  'a file that is there, accepted by an async handler',
  (server) => {
    server.on('file', async (offer) => {
      await offer.accept({ directory: folder })
    })
  },
  sends('there.txt')
)
await serve(
  'a file that is there, returned',
  (server) => {
    server.on('file', (offer) => offer.accept({ directory: folder }))
  },
  sends('there.txt')
)
await serve(
  'a file handler that rejects',
  (server) => {
    server.on('file', async () => {
      await Promise.resolve()
      throw new Error('mine')
    })
  },
  sends('new.txt')
)
await serve(
  'a callback of connect',
  (server) => server.on('packet', (one, connection) => connection.reset()),
  async (port) => {
    const done = new Promise((resolve) => {
      void connect({ host: '127.0.0.1', port, framing: typed }, async (connection) => {
        connection.on('close', resolve)
        connection.send('x')
        for await (const one of connection) say(String(one))
      })
    })
    await done
  }
)

rmSync(folder, { recursive: true, force: true })
say(JSON.stringify(found))
