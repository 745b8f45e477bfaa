import diagnostics from 'node:diagnostics_channel'
import { framing } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { frame, pattern } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'
import { nextConnection, startEcho, startServer } from '../helpers/servers.js'
import { until } from '../helpers/time.js'

async function withClients(count: number, options = {}) {
  const { server, port } = await startServer(options)
  const clients: RawClient[] = []
  for (let index = 0; index < count; index++) {
    const accepted = nextConnection(server)
    clients.push(await RawClient.open(port))
    ;(await accepted).data = index
  }
  return { server, port, clients, connections: [...server.connections] }
}

describe('connections', () => {
  test('can be counted, found and walked', async () => {
    const { server, clients, connections } = await withClients(3)
    expect(server.connections.size).toBe(3)
    for (const connection of connections) {
      expect(server.connections.get(connection.id)).toBe(connection)
      expect(server.connections.has(connection.id)).toBe(true)
      expect(Number.isSafeInteger(connection.id)).toBe(true)
    }
    expect(server.connections.get(12_345)).toBeUndefined()
    expect(server.connections.get(-1)).toBeUndefined()
    for (const odd of [Symbol('id'), 5n, Object.create(null), 'x'] as never[])
      expect(server.connections.has(odd)).toBe(false)
    clients[0]?.end()
    await until(() => server.connections.size === 2)
    expect(connections.filter(({ id }) => server.connections.has(id))).toHaveLength(2)
  })

  test('ids are never used again', async () => {
    const { server, port } = await startServer()
    const ids = new Set<number>()
    server.on('connection', ({ id }) => ids.add(id))
    for (let round = 0; round < 50; round++) {
      const client = await RawClient.open(port)
      await until(() => server.connections.size === 1)
      client.reset()
      await until(() => server.connections.size === 0)
    }
    expect(ids.size).toBe(50)
    for (const id of ids) expect(server.connections.get(id)).toBeUndefined()
  })

  test('disconnect ends one by id or by itself', async () => {
    const { server, clients, connections } = await withClients(3)
    const [one, two, three] = connections
    if (!one || !two || !three) throw new Error('three connections are expected')
    expect(server.disconnect(one.id)).toBe(true)
    expect(server.disconnect(two, { graceful: false })).toBe(true)
    await until(() => server.connections.size === 1)
    expect(server.disconnect(one.id)).toBe(false)
    expect(server.disconnect(two)).toBe(false)
    expect(server.disconnect(99)).toBe(false)
    expect([...server.connections]).toEqual([three])
    for (const client of clients.slice(0, 2)) await client.readToEnd()
    expect(() => server.disconnect('x' as unknown as number)).toThrow("'which'")
    expect(() => server.disconnect(three, { gracefully: true } as object)).toThrow("'gracefully'")
  })

  test.each([true, false])('disconnectAll (graceful: %s)', async (graceful) => {
    const { server, clients } = await withClients(5)
    expect(server.disconnectAll({ graceful })).toBe(5)
    await until(() => server.connections.size === 0)
    for (const client of clients) await client.readToEnd()
    expect(server.listening).toBe(true)
    expect(server.disconnectAll()).toBe(0)
  })
})

describe('broadcast', () => {
  test('to all, and to all but one', async () => {
    const { server, clients, connections } = await withClients(4)
    expect(server.broadcast('all')).toEqual({ sent: 4, queued: 0, dropped: 0, closed: 0 })
    const [first] = connections
    if (!first) throw new Error('a connection is expected')
    expect(server.broadcast('but one', { except: first })).toMatchObject({ sent: 3 })
    connections[1]?.end()
    expect(server.broadcast('x', { to: connections.slice(0, 2) })).toMatchObject({ sent: 1, closed: 1 })
    expect(await clients[3]?.read(18)).toEqual(Buffer.concat([frame('all'), frame('but one')]))
  })

  test('a large one crosses once and reaches everybody', async () => {
    const { server, clients } = await withClients(10)
    const data = pattern(300_000)
    expect(server.broadcast(data).sent + server.broadcast('x').sent).toBe(20)
    for (const client of clients) {
      expect((await client.read(300_004)).equals(frame(data))).toBe(true)
      expect(await client.read(5)).toEqual(frame('x'))
    }
  })

  test('more than fit into one submission', async () => {
    const { server, clients } = await withClients(3)
    for (let round = 0; round < 3000; round++) server.broadcast(String(round))
    const expected = Buffer.concat(Array.from({ length: 3000 }, (_, round) => frame(String(round))))
    for (const client of clients) expect((await client.read(expected.length)).equals(expected)).toBe(true)
  })

  test('to a group', async () => {
    const { server, clients, connections } = await withClients(4)
    for (const connection of connections.slice(1, 3)) connection.join('room')
    expect(server.group('room')).toEqual(connections.slice(1, 3))
    expect(server.broadcast('hi', { group: 'room' })).toMatchObject({ sent: 2 })
    expect(server.broadcast('hi', { group: 'nobody' })).toMatchObject({ sent: 0 })
    const inRoom = connections.slice(1, 3).map(({ remotePort }) => remotePort)
    for (const client of clients.filter(({ socket }) => inRoom.includes(socket.localPort))) {
      expect(await client.read(6)).toEqual(frame('hi'))
      client.end()
    }
    await until(() => server.group('room').length === 0)
  })

  test('a payload that one of them cannot carry goes to none', async () => {
    const { server, connections } = await withClients(2)
    connections[1]?.setFraming(framing.lengthField({ bytes: 1 }))
    expect(() => server.broadcast(Buffer.alloc(300))).toThrow(expect.objectContaining({ code: 'ERR_IOCP_PACKET_SIZE' }))
    expect(server.broadcast(Buffer.alloc(200))).toMatchObject({ sent: 2 })
    expect(() => server.broadcast(5 as unknown as string)).toThrow("'data'")
    expect(() => server.broadcast('x', { room: 'y' } as object)).toThrow("'room'")
  })
})

describe('stats', () => {
  test('of a server', async () => {
    const { server, port } = await startEcho()
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([frame('abc'), frame('de')]))
    await client.read(13)
    // A write is counted when it has ended, and the peer may have its bytes before.
    await until(() => server.stats()?.counters.packetsOut === 2)
    const stats = server.stats()
    expect(stats?.connections).toEqual({ now: 1, peak: 1, total: 1 })
    expect(stats?.counters).toMatchObject({ accepts: 1, packetsIn: 2, bytesIn: 13, packetsOut: 2, bytesOut: 13 })
    expect(stats?.listeners[0]?.pendingAccepts).toBeGreaterThan(0)
  })

  test('of a connection', async () => {
    const { server, port } = await startEcho()
    const accepted = nextConnection(server)
    const client = await RawClient.open(port)
    const connection = await accepted
    await client.write(frame('abc'))
    await client.read(7)
    // A write is counted when it has ended, and the peer may have its bytes before.
    await until(() => connection.stats()?.packetsWritten === 1)
    expect(connection.stats()).toEqual({
      bytesRead: 7,
      bytesWritten: 7,
      packetsRead: 1,
      packetsWritten: 1,
      queuedBytes: 0,
      queuedPackets: 0
    })
    expect(connection.queuedBytes).toBe(0)
  })

  test('and events on diagnostics channels', async () => {
    const seen: string[] = []
    for (const name of ['iocp:listening', 'iocp:connection', 'iocp:close', 'iocp:batch', 'iocp:stats']) {
      const subscriber = (): void => {
        seen.push(name)
      }
      diagnostics.subscribe(name, subscriber)
      onTestFinished(() => {
        diagnostics.unsubscribe(name, subscriber)
      })
    }
    const { server, port } = await startEcho()
    const client = await RawClient.open(port)
    await client.write(frame('x'))
    await client.read(5)
    client.end()
    await until(() => server.connections.size === 0 && seen.includes('iocp:close'))
    expect(new Set(seen)).toEqual(
      new Set(['iocp:listening', 'iocp:connection', 'iocp:batch', 'iocp:stats', 'iocp:close'])
    )
  })
})
