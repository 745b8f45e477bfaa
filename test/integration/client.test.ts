import { once } from 'node:events'
import { type AddressInfo, createServer as createNetServer, type Socket } from 'node:net'
import { connect, type Connection, createClient, framing } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { frame, pattern } from '../helpers/packets.js'
import { closeAfterTest, nextConnection, startClient, startEcho, startServer } from '../helpers/servers.js'
import { never, pause, until } from '../helpers/time.js'

/** A server of Node's own. */
async function netServer(onConnection: (socket: Socket) => void, host = '127.0.0.1'): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createNetServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    onConnection(socket)
  }).listen(0, host)
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

const bothFamilies = () =>
  Promise.resolve([
    { address: '::1', family: 6 },
    { address: '127.0.0.1', family: 4 }
  ])

function cut(connection: Connection): Connection {
  onTestFinished(() => {
    connection.destroy()
  })
  return connection
}

test('inherited options of a client and of connect count, and later changes of them do not', async () => {
  const { port } = await startEcho({ framing: framing.line() })
  const options = { framing: framing.line() }
  const clients = [createClient(options), createClient(Object.create({ framing: framing.line() }) as object)]
  for (const client of clients) closeAfterTest(client)
  options.framing = framing.raw()
  const target = { port, host: '127.0.0.1' }
  const connections = [
    ...(await Promise.all(clients.map((one) => one.connect(target)))),
    await startClient().connect(Object.create({ ...target, framing: framing.line() }) as typeof target)
  ]
  for (const connection of connections) {
    connection.send('hello')
    for await (const packet of connection) {
      expect(String(packet)).toBe('hello')
      break
    }
    connection.destroy()
  }
})

describe('connect', () => {
  test('by address, and packets go both ways', async () => {
    const { port } = await startEcho()
    const connection = cut(await connect({ host: '127.0.0.1', port }))
    expect(connection.remoteAddress).toBe('127.0.0.1')
    expect(connection.remotePort).toBe(port)
    expect(connection.localPort).toBeGreaterThan(0)
    connection.send('hello')
    connection.send(pattern(500_000))
    const packets: Buffer[] = []
    for await (const packet of connection) {
      packets.push(packet)
      if (packets.length === 2) break
    }
    expect(String(packets[0])).toBe('hello')
    expect(packets[1]?.equals(pattern(500_000))).toBe(true)
    connection.end()
    expect((await connection.closed).cause).toBe('local')
  })

  test('by name, to a server of only one of the families', async () => {
    for (const host of ['127.0.0.1', '::1']) {
      const { port } = await startEcho({}, host)
      const connection = cut(await connect({ host: 'both', port, lookup: bothFamilies }))
      expect(connection.remoteAddress).toBe(host)
    }
  })

  test('a greeting that comes at once is not lost, although the promise resolves later', async () => {
    const port = await netServer((socket) => socket.end(Buffer.concat([frame('welcome'), frame('bye')])))
    for (let round = 0; round < 20; round++) {
      const connection = cut(await connect({ host: '127.0.0.1', port }))
      if (round % 2 === 1) await new Promise(setImmediate)
      const seen: string[] = []
      connection.on('packet', (packet) => seen.push(String(packet)))
      expect((await connection.closed).cause).toBe('peer-end')
      expect(seen).toEqual(['welcome', 'bye'])
    }
  })

  test.each([
    ['breaks it off', (socket: Socket) => socket.resetAndDestroy()],
    ['ends it', (socket: Socket) => socket.end()]
  ])('a peer that %s at once: end and close are still told', async (_, over) => {
    const port = await netServer(over)
    for (let round = 0; round < 20; round++) {
      const connection = cut(await connect({ host: '127.0.0.1', port }))
      const info = await new Promise((resolve) => {
        connection.on('close', resolve)
      })
      expect(info).toMatchObject({ cause: expect.stringMatching(/^peer-/) as string })
    }
  })

  test('to a port where nothing listens', async () => {
    const { server, port } = await startServer()
    await server.close()
    await expect(connect({ host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      syscall: 'connect',
      address: '127.0.0.1',
      port
    })
  })

  test('all addresses of a name in vain', async () => {
    const { server, port } = await startServer()
    await server.close()
    await expect(connect({ host: 'both', port, lookup: bothFamilies })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      errors: [{ address: '::1' }, { address: '127.0.0.1' }]
    })
  })

  test('that takes longer than the timeout', async () => {
    await expect(connect({ host: 'slow', port: 9, lookup: never, timeout: 50 })).rejects.toMatchObject({
      code: 'ETIMEDOUT'
    })
  })

  test('a slow address does not hold up the next one', async () => {
    const { port } = await startEcho()
    const lookup = () =>
      Promise.resolve([
        { address: '192.0.2.1', family: 4 },
        { address: '127.0.0.1', family: 4 }
      ])
    const connection = cut(await connect({ host: 'both', port, lookup, attemptDelay: 20 }))
    expect(connection.remoteAddress).toBe('127.0.0.1')
  })

  test('given up by a signal', async () => {
    const abort = new AbortController()
    const connecting = connect({ host: '192.0.2.1', port: 9, signal: abort.signal })
    connecting.catch(() => undefined)
    const reason = new Error('enough')
    abort.abort(reason)
    await expect(connecting).rejects.toBe(reason)
    await expect(connect({ port: 9, signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' })
  })

  test('from a local address', async () => {
    const { port } = await startEcho()
    const connection = cut(await connect({ host: '127.0.0.1', port, localAddress: '127.0.0.1' }))
    expect(connection.localAddress).toBe('127.0.0.1')
  })

  test('with a framing of its own for each direction', async () => {
    const port = await netServer((socket) => {
      socket.once('data', (bytes) => socket.write(`got ${bytes.toString('hex')}\r\n`))
    })
    const connection = cut(
      await connect({
        host: '127.0.0.1',
        port,
        framing: { receive: framing.line(), send: framing.lengthField({ bytes: 2, endian: 'little' }) }
      })
    )
    connection.send('AB')
    const [line] = (await once(connection, 'packet')) as [Buffer]
    expect(String(line)).toBe('got 02004142')
  })

  test('wrong options throw at once', () => {
    expect(() => connect({ port: 0 })).toThrow("'port'")
    expect(() => connect({ port: 5, hots: 'x' } as never)).toThrow("'hots'")
    expect(() => connect({ port: 5, reconnect: { maxAttempts: 0 } })).toThrow("'reconnect.maxAttempts'")
    expect(() => connect({ port: 5, framing: {} } as never)).toThrow("'framing'")
  })
})

describe('a client', () => {
  test('has many connections on one completion port', async () => {
    const { server, port } = await startEcho()
    const client = startClient({ ioThreads: 1 })
    const connections = await Promise.all(
      Array.from({ length: 100 }, () => client.connect({ host: '127.0.0.1', port }))
    )
    expect(client.connections.size).toBe(100)
    await until(() => server.connections.size === 100)
    await Promise.all(
      connections.map(async (connection, index) => {
        connection.send(pattern(1000, index))
        const [packet] = (await once(connection, 'packet')) as [Buffer]
        expect(packet.equals(pattern(1000, index))).toBe(true)
      })
    )
    const { drained, cut: lost } = await client.close()
    expect([drained, lost]).toEqual([100, 0])
    await until(() => server.connections.size === 0)
  })

  test('gives its options to its connections', async () => {
    const { port } = await startEcho({ framing: framing.lengthField({ bytes: 1 }) })
    const client = startClient({ framing: framing.lengthField({ bytes: 1 }) })
    const seen: string[] = []
    client.on('packet', (packet) => seen.push(String(packet)))
    const connection = await client.connect({ host: '127.0.0.1', port })
    connection.send('short')
    await until(() => seen.length === 1)
    expect(seen).toEqual(['short'])
  })

  test('that closes gives up what it is connecting to', async () => {
    const client = startClient()
    const connecting = client.connect({
      host: 'slow',
      port: 9,
      lookup: () => pause(20, [{ address: '::1', family: 6 }])
    })
    connecting.catch(() => undefined)
    await client.close()
    await expect(connecting).rejects.toMatchObject({ code: 'ERR_IOCP_CLOSING' })
  })

  test('says connection before it says packet', async () => {
    const port = await netServer((socket) => socket.write(frame('greeting')))
    for (let round = 0; round < 10; round++) {
      const client = startClient()
      const seen: string[] = []
      client.on('connection', () => seen.push('connection'))
      client.on('packet', () => seen.push('packet'))
      await client.connect({ host: '127.0.0.1', port })
      await until(() => seen.length === 2)
      expect(seen).toEqual(['connection', 'packet'])
    }
  })

  test('can be used again after close', async () => {
    const { port } = await startEcho()
    const client = startClient()
    for (let round = 0; round < 3; round++) {
      const connection = await client.connect({ host: '127.0.0.1', port })
      connection.send('x')
      await once(connection, 'packet')
      await client.close()
      expect(connection.state).toBe('closed')
      expect(client.connections.size).toBe(0)
    }
  })

  test('and a server in one process talk to each other while both are busy', async () => {
    const { server, port } = await startServer({ ioThreads: 2 })
    const client = startClient({ ioThreads: 2 })
    server.on('packet', (packet, connection) => connection.send(packet))
    let echoed = 0
    client.on('packet', () => echoed++)
    const connections = await Promise.all(Array.from({ length: 20 }, () => client.connect({ host: '127.0.0.1', port })))
    for (let round = 0; round < 50; round++) for (const connection of connections) connection.send(pattern(round))
    await until(() => echoed === 1000)
  })
})

describe('reconnect', () => {
  test('makes the connection again when the server has cut it', async () => {
    const { server, port } = await startEcho()
    const link = await connect({ host: '127.0.0.1', port, reconnect: { minDelay: 1, maxDelay: 20 } })
    onTestFinished(() => {
      link.destroy()
    })
    for (let round = 0; round < 3; round++) {
      link.send(`round ${round}`)
      const [packet] = (await once(link, 'packet')) as [Buffer]
      expect(String(packet)).toBe(`round ${round}`)
      const again = once(link, 'connect')
      for (const connection of server.connections) connection.reset()
      await again
    }
  })

  test('waits for a server that is not there yet', async () => {
    const { server, port } = await startEcho()
    await server.close()
    const connecting = connect({ host: '127.0.0.1', port, reconnect: { minDelay: 5, maxDelay: 20 } })
    await pause(50)
    await server.listen(port, '127.0.0.1')
    const link = await connecting
    expect(link.connected).toBe(true)
    link.end()
    expect(await link.closed).toBeUndefined()
  })

  test('gives up after so many attempts', async () => {
    const { server, port } = await startServer()
    await server.close()
    const connecting = connect({ host: '127.0.0.1', port, reconnect: { maxAttempts: 3, minDelay: 1 } })
    await expect(connecting).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

describe('half-open', () => {
  test('allowHalfOpen lets this side go on after the peer has ended', async () => {
    const received: Buffer[] = []
    const port = await netServer((socket) => {
      socket.allowHalfOpen = true
      socket.on('data', (bytes) => received.push(bytes))
      socket.end(frame('only this'))
    })
    const connection = cut(await connect({ host: '127.0.0.1', port, allowHalfOpen: true }))
    const ended = once(connection, 'end')
    connection.on('packet', () => undefined)
    await ended
    expect(await connection.sendAsync('still here')).toBe('sent')
    connection.end()
    await connection.closed
    await until(() => Buffer.concat(received).length === 14)
    expect(Buffer.concat(received)).toEqual(frame('still here'))
  })
})

test('a connection is closed by await using', async () => {
  const { server, port } = await startEcho()
  const accepted = nextConnection(server)
  {
    await using connection = await connect({ host: '127.0.0.1', port })
    connection.send('x')
  }
  expect((await (await accepted).closed).cause).toBe('peer-end')
})
