import { AsyncLocalStorage } from 'node:async_hooks'
import { type Client, connect, type Connection, createClient, createServer, framing, type Server } from 'iocp'
import { describe, expect, test } from 'vitest'
import { folders, makeFile, pair } from '../helpers/files.js'
import { closeAfterTest } from '../helpers/servers.js'
import { until } from '../helpers/time.js'

const storage = new AsyncLocalStorage<string>()

/** A server that answers each packet with itself. */
async function echo(): Promise<{ server: Server; port: number }> {
  const server = createServer()
  closeAfterTest(server)
  server.on('packet', (packet, connection) => connection.send(packet))
  return { server, port: (await server.listen({ host: '127.0.0.1' })).port }
}

function newClient(): Client {
  const client = createClient()
  closeAfterTest(client)
  return client
}

/** Notes in which context each event comes. */
function note(seen: string[], connection: Connection): void {
  for (const event of ['packet', 'end', 'drain', 'drop', 'error', 'close'] as const) {
    connection.on(event, () => {
      seen.push(`${event} ${storage.getStore() ?? 'none'}`)
    })
  }
}

const openers: [string, () => (port: number) => Promise<Connection>][] = [
  ['the common port', () => (port) => connect({ host: '127.0.0.1', port })],
  [
    'a client',
    () => {
      const client = newClient()
      return (port) => client.connect({ host: '127.0.0.1', port })
    }
  ]
]

describe.each(openers)('connections of %s', (_, open) => {
  test('each has the context of its connect, and what is sent that of its send', async () => {
    const { port } = await echo()
    const opened = open()
    const seen: Record<string, string[]> = {}
    const make = (name: string): Promise<Connection> => storage.run(name, () => opened(port))
    const names = ['a', 'b', 'c']
    const connections = await Promise.all(names.map(make))
    connections.forEach((connection, index) => {
      note((seen[names[index] ?? ''] = []), connection)
    })
    const outer = await opened(port)
    note((seen['none'] = []), outer)
    const told: string[] = []
    for (const connection of [...connections, outer]) {
      storage.run('sender', () => {
        connection.send('x', () => told.push(storage.getStore() ?? 'none'))
      })
      connection.send('y', () => told.push(storage.getStore() ?? 'none'))
    }
    await until('all answers have come', () => Object.values(seen).every((events) => events.length >= 2))
    for (const connection of [...connections, outer]) connection.end()
    await Promise.all([...connections, outer].map((connection) => connection.closed))
    for (const [name, events] of Object.entries(seen)) {
      expect(events, name).toEqual([`packet ${name}`, `packet ${name}`, `end ${name}`, `close ${name}`])
    }
    expect(told.toSorted()).toEqual(['none', 'none', 'none', 'none', 'sender', 'sender', 'sender', 'sender'])
  })

  test.each(['kept back', 'destroyed by somebody else', 'held up by a callback'])('an end that is %s', async (way) => {
    const { port, server } = await echo()
    server.on('connection', (connection) => connection.send('greeting'))
    const opened = open()
    const seen: string[] = []
    const connection = await storage.run('mine', () => opened(port))
    if (way === 'kept back') {
      await until('the greeting has come', () => connection.stats()?.packetsRead === 1)
      storage.run('other', () => {
        note(seen, connection)
      })
      await until('it is handed over', () => seen.length > 0)
      storage.run('other', () => connection.end())
    } else if (way === 'destroyed by somebody else') {
      note(seen, connection)
      storage.run('other', () => connection.destroy())
    } else {
      note(seen, connection)
      storage.run('other', () => {
        connection.send('x', () => connection.destroy())
      })
    }
    await connection.closed
    expect(seen).toContain('close mine')
    expect(new Set(seen.map((event) => event.split(' ')[1]))).toEqual(new Set(['mine']))
  })
})

test('events of a client have the context of the connection that they are about', async () => {
  const { port } = await echo()
  const client = newClient()
  const seen: string[] = []
  for (const event of ['connection', 'packet', 'disconnect'] as const) {
    client.on(event, () => {
      seen.push(`${event} ${storage.getStore() ?? 'none'}`)
    })
  }
  for (const name of ['a', 'b']) {
    const connection = await storage.run(name, () => client.connect({ host: '127.0.0.1', port }))
    connection.send('x')
    await until('the answer has come', () => seen.includes(`packet ${name}`))
    connection.end()
    await connection.closed
  }
  expect(seen).toEqual(
    ['a', 'b'].flatMap((name) => ['connection', 'packet', 'disconnect'].map((event) => `${event} ${name}`))
  )
})

describe('a server', () => {
  test('has the context of listen, also for many connections in a batch', async () => {
    const server = createServer()
    closeAfterTest(server)
    const seen = new Map<string, number>()
    const see = (event: string): void => {
      const name = `${event} ${storage.getStore() ?? 'none'}`
      seen.set(name, (seen.get(name) ?? 0) + 1)
    }
    for (const event of ['listening', 'connection', 'packet', 'end', 'disconnect', 'close'] as const) {
      server.on(event, () => {
        see(event)
      })
    }
    server.on('connection', (connection) => {
      connection.on('close', () => {
        see('own close')
      })
    })
    const { port } = await storage.run('listener', () => server.listen({ host: '127.0.0.1' }))
    const client = newClient()
    const connections = await storage.run('others', () =>
      Promise.all(Array.from({ length: 50 }, () => client.connect({ host: '127.0.0.1', port })))
    )
    for (const connection of connections) for (let i = 0; i < 20; i++) connection.send('x')
    for (const connection of connections) connection.end()
    await Promise.all(connections.map(({ closed }) => closed))
    await storage.run('closer', () => server.close())
    expect(Object.fromEntries(seen)).toEqual({
      'listening listener': 1,
      'connection listener': 50,
      'packet listener': 1000,
      'end listener': 50,
      'own close listener': 50,
      'disconnect listener': 50,
      'close listener': 1
    })
  })

  test('listens again in another context', async () => {
    const server = createServer()
    closeAfterTest(server)
    for (const name of ['first', 'second']) {
      const { port } = await storage.run(name, () => server.listen({ host: '127.0.0.1' }))
      const accepted = new Promise((resolve) => {
        server.once('connection', () => {
          resolve(storage.getStore())
        })
      })
      const connection = await connect({ host: '127.0.0.1', port })
      expect(await accepted).toBe(name)
      connection.destroy()
      await server.close({ deadline: 0 })
    }
  })
})

test('what a handler enters does not reach other connections', async () => {
  const { port } = await echo()
  const client = newClient()
  const seen = new Map<string, number>()
  const connections = await Promise.all(Array.from({ length: 10 }, () => client.connect({ host: '127.0.0.1', port })))
  connections.forEach((connection, index) => {
    connection.on('packet', () => {
      if (index === 0) storage.enterWith('entered')
      else seen.set(storage.getStore() ?? 'none', (seen.get(storage.getStore() ?? 'none') ?? 0) + 1)
    })
  })
  for (let i = 0; i < 50; i++) for (const connection of connections) connection.send('x')
  await until('all have come', () => [...seen.values()].reduce((sum, count) => sum + count, 0) === 450)
  expect([...seen]).toEqual([['none', 450]])
})

test('progress of files is told in the context of whoever sends and accepts', async () => {
  const { from, to } = folders()
  const both = await pair()
  const path = makeFile(from, 300_000)
  const seen = new Set<string>()
  const see = (what: string) => (): void => {
    seen.add(`${what} ${storage.getStore() ?? 'none'}`)
  }
  both.server.on('file', (offer) => {
    seen.add(`file ${storage.getStore() ?? 'none'}`)
    void storage.run('accepts', () => offer.accept({ directory: to, onProgress: see('in') }))
  })
  await storage.run('sends', () => both.client.sendFile(path, { onProgress: see('out') }))
  expect(seen).toEqual(new Set(['file none', 'out sends', 'in accepts']))
})

test('failures of jobs are told in the context of listen', async () => {
  const server = createServer({
    framing: framing.lengthField({ typeByte: true }),
    workers: { module: new URL('../fixtures/jobs.mjs', import.meta.url), count: 1, route: [0x13] }
  })
  closeAfterTest(server)
  const told = new Promise((resolve) => {
    server.once('jobError', () => {
      resolve(storage.getStore())
    })
  })
  const { port } = await storage.run('listener', () => server.listen({ host: '127.0.0.1' }))
  const connection = await storage.run('client', () =>
    connect({ host: '127.0.0.1', port, framing: framing.lengthField({ typeByte: true }) })
  )
  const result = await storage.run('caller', async () => {
    await server.workers.run('no such job').catch(() => undefined)
    return storage.getStore()
  })
  expect(result).toBe('caller')
  connection.send(Buffer.from([0x13]))
  expect(await told).toBe('listener')
  connection.destroy()
})
