import { once } from 'node:events'
import { createServer as createNetServer } from 'node:net'
import { createServer } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { frame } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'
import { nextConnection, startEcho, startServer } from '../helpers/servers.js'

test('listen resolves with the address and says listening, in a later tick', async () => {
  const server = createServer()
  onTestFinished(() => server.close({ deadline: 0 }).then(() => undefined))
  expect(server.address()).toBeNull()
  const starting = server.listen(0, '127.0.0.1')
  let heard = false
  server.once('listening', () => {
    heard = true
  })
  const address = await starting
  expect(heard).toBe(true)
  expect(address).toEqual({ address: '127.0.0.1', family: 'IPv4', port: expect.any(Number) as number })
  expect(address.port).toBeGreaterThan(0)
  expect(server.address()).toEqual(address)
  expect(server.listening).toBe(true)
})

test('a connection listener can be given', async () => {
  const seen: string[] = []
  const server = createServer({}, (connection) => seen.push(connection.remoteAddress ?? ''))
  onTestFinished(() => server.close({ deadline: 0 }).then(() => undefined))
  const { port } = await server.listen({ host: '127.0.0.1' })
  const connected = nextConnection(server)
  await RawClient.open(port)
  await connected
  expect(seen).toEqual(['127.0.0.1'])
})

describe('addresses', () => {
  test('by default both families', async () => {
    const server = createServer()
    onTestFinished(() => server.close({ deadline: 0 }).then(() => undefined))
    const { port, family } = await server.listen()
    expect(family).toBe('IPv6')
    for (const host of ['127.0.0.1', '::1']) {
      const accepted = nextConnection(server)
      const client = await RawClient.open(port, { host })
      const connection = await accepted
      expect(connection.remoteAddress).toBe(host)
      expect(connection.remoteFamily).toBe(host === '::1' ? 'IPv6' : 'IPv4')
      expect(connection.remotePort).toBe(client.socket.localPort)
      expect(connection.localAddress).toBe(host)
      expect(connection.localPort).toBe(port)
    }
  })

  test('a name', async () => {
    const { port } = await startEcho({}, 'localhost')
    const client = await RawClient.open(port, { host: 'localhost' })
    await client.write(frame('x'))
    expect(await client.read(5)).toEqual(frame('x'))
  })

  test.each(['::1', '127.0.0.1', '0.0.0.0'])('%s', async (host) => {
    const { server, port } = await startServer({}, host)
    expect(server.address()).toMatchObject({ address: host, port })
  })

  test('a name that does not exist', async () => {
    const server = createServer()
    await expect(server.listen(0, 'no-such-host.invalid')).rejects.toMatchObject({
      code: expect.stringMatching(/^E/) as string
    })
    expect(server.listening).toBe(false)
  })

  test('an address that is not of this machine', async () => {
    const server = createServer()
    await expect(server.listen(0, '192.0.2.1')).rejects.toMatchObject({
      code: 'EADDRNOTAVAIL',
      syscall: 'bind',
      address: '192.0.2.1'
    })
  })
})

describe('a port that is in use', () => {
  test('by another server of this process', async () => {
    const { port } = await startServer()
    const other = createServer()
    await expect(other.listen(port, '127.0.0.1')).rejects.toMatchObject({
      code: 'EADDRINUSE',
      syscall: 'bind',
      address: '127.0.0.1',
      port
    })
    expect(other.listening).toBe(false)
  })

  test('by a server of Node', async () => {
    const net = createNetServer().listen(0, '127.0.0.1')
    onTestFinished(() => {
      net.close()
    })
    await once(net, 'listening')
    const { port } = net.address() as { port: number }
    await expect(createServer().listen(port, '127.0.0.1')).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })

  test('leaves nothing behind: the same server can listen elsewhere', async () => {
    const { port } = await startServer()
    const server = createServer()
    onTestFinished(() => server.close({ deadline: 0 }).then(() => undefined))
    await expect(server.listen(port, '127.0.0.1')).rejects.toThrow()
    expect(server.stats()).toBeUndefined()
    expect((await server.listen(0, '127.0.0.1')).port).not.toBe(port)
  })

  test('is told by an error event to those who listen to it, and then needs no catch', async () => {
    const { port } = await startServer()
    const server = createServer()
    const told = once(server, 'error')
    void server.listen(port, '127.0.0.1')
    expect((await told)[0]).toMatchObject({ code: 'EADDRINUSE' })
  })
})

test('two servers in one process', async () => {
  const [one, other] = [await startServer(), await startServer()]
  one.server.on('packet', (packet, connection) => connection.send(`one ${String(packet)}`))
  other.server.on('packet', (packet, connection) => connection.send(`other ${String(packet)}`))
  const clients = [await RawClient.open(one.port), await RawClient.open(other.port)]
  for (const client of clients) await client.write(frame('x'))
  expect(String(await clients[0]?.read(9))).toContain('one x')
  expect(String(await clients[1]?.read(11))).toContain('other x')
  await one.server.close()
  await clients[1]?.write(frame('y'))
  expect(String(await clients[1]?.read(11))).toContain('other y')
})

test('listening twice is an error', async () => {
  const { server } = await startServer()
  expect(() => server.listen(0)).toThrow(expect.objectContaining({ code: 'ERR_SERVER_ALREADY_LISTEN' }))
})

test('a server can start again after it has closed', async () => {
  const { server, port } = await startEcho()
  for (let round = 0; round < 3; round++) {
    const client = await RawClient.open(round === 0 ? port : (server.address()?.port ?? 0))
    await client.write(frame('again'))
    expect(await client.read(9)).toEqual(frame('again'))
    client.end()
    await server.close()
    expect(server.address()).toBeNull()
    await server.listen(0, '127.0.0.1')
  }
})

test('closing while listen is under way makes it fail', async () => {
  const server = createServer()
  const starting = server.listen(0, '127.0.0.1')
  const closing = server.close()
  await expect(starting).rejects.toMatchObject({ code: 'ERR_IOCP_CLOSING' })
  expect(await closing).toEqual({ drained: 0, cut: 0 })
})

test('closing a server that does not listen is no error', async () => {
  expect(await createServer().close()).toEqual({ drained: 0, cut: 0 })
})

test.each([[-1], ['80a'], ['70000'], [70_000]])('port %j is refused at once', (port) => {
  expect(() => createServer().listen(port as number)).toThrow("'port'")
})

test('connections above maxConnections are reset, and places become free again', async () => {
  const { server, port } = await startEcho({ maxConnections: 2 })
  const clients = [await RawClient.open(port), await RawClient.open(port)]
  for (const client of clients) {
    await client.write(frame('x'))
    await client.read(5)
  }
  const refused = await RawClient.open(port)
  await refused.readToEnd()
  expect(refused.over).not.toBeUndefined()
  expect(server.connections.size).toBe(2)
  const gone = once(server, 'disconnect')
  clients[0]?.end()
  await gone
  const next = await RawClient.open(port)
  await next.write(frame('y'))
  expect(await next.read(5)).toEqual(frame('y'))
})
