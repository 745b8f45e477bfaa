import { type CloseInfo, type Connection, createServer } from 'iocp'
import { describe, expect, test } from 'vitest'
import { frame, pattern } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'
import { nextConnection, nextDisconnect, startEcho, startServer } from '../helpers/servers.js'
import { until } from '../helpers/time.js'

async function pair(options = {}) {
  const { server, port } = await startServer(options)
  const accepted = nextConnection(server)
  const client = await RawClient.open(port, { allowHalfOpen: true })
  const connection = await accepted
  return { server, client, connection }
}

/** Not by events.once, which is rejected when there is an error before. */
const closeOf = (connection: Connection): Promise<CloseInfo> => connection.closed

describe('the peer', () => {
  test('ends in order: end, our end, close', async () => {
    const { client, connection } = await pair()
    const seen: string[] = []
    connection.on('packet', (packet) => seen.push(String(packet)))
    connection.on('end', () => seen.push('end'))
    const closed = closeOf(connection)
    await client.write(frame('last'))
    client.end()
    const info = await closed
    expect(seen).toEqual(['last', 'end'])
    expect(info).toMatchObject({ cause: 'peer-end', discardedBytes: 0 })
    expect(info.error).toBeUndefined()
    expect(await client.readToEnd()).toEqual(Buffer.alloc(0))
    expect(client.over).toBe('end')
  })

  test('that has ended its side still gets the answer to its last packet', async () => {
    const { port } = await startEcho()
    const client = await RawClient.open(port, { allowHalfOpen: true })
    await client.write(frame(pattern(100_000)))
    client.end()
    expect((await client.readToEnd()).equals(frame(pattern(100_000)))).toBe(true)
  })

  test('ends in the middle of a packet: the bytes of it are counted', async () => {
    const { client, connection } = await pair()
    connection.on('packet', () => undefined)
    const closed = closeOf(connection)
    await client.write(frame('whole'))
    await client.write(frame('0123456789').subarray(0, 11))
    client.end()
    const info = await closed
    expect(info.cause).toBe('peer-end')
    // 4 bytes of header and 7 of the packet, or the packet's alone: what an unfinished packet holds.
    expect(info.discardedBytes).toBeGreaterThanOrEqual(7)
    expect(info.discardedBytes).toBeLessThanOrEqual(11)
  })

  test('resets in the middle of a packet', async () => {
    const { server, client, connection } = await pair()
    connection.on('packet', () => undefined)
    const closed = closeOf(connection)
    await client.write(frame('0123456789').subarray(0, 11))
    await until(() => server.stats()?.counters.bytesIn === 11)
    client.reset()
    const info = await closed
    expect(info.cause).toBe('peer-reset')
    expect(info.error).toMatchObject({ code: 'ECONNRESET' })
    expect(info.discardedBytes).toBeGreaterThanOrEqual(7)
  })

  test('resets: nobody who listens for error, and no harm done', async () => {
    const { server, port } = await startEcho()
    for (let round = 0; round < 10; round++) {
      const gone = nextDisconnect(server)
      const accepted = nextConnection(server)
      const client = await RawClient.open(port)
      await client.write(frame('x'))
      // Reset before that it would be none: accepting it would fail.
      await accepted
      client.reset()
      const { info, connection } = await gone
      expect(['peer-reset', 'io-error']).toContain(info.cause)
      // Who it was can still be told.
      expect(connection.remoteAddress).toBe('127.0.0.1')
      expect(connection.remotePort).toBe(client.socket.localPort ?? connection.remotePort)
    }
    const client = await RawClient.open(port)
    await client.write(frame('alive'))
    expect(await client.read(9)).toEqual(frame('alive'))
  })
})

describe('end', () => {
  test('sends what is queued first', async () => {
    const { client, connection } = await pair()
    const big = pattern(2_000_000)
    connection.send('first')
    connection.send(big.subarray(0, 1_000_000))
    connection.send(big.subarray(1_000_000))
    connection.end()
    expect(connection.send('late')).toBe('closed')
    const all = await client.readToEnd()
    expect(
      all.equals(Buffer.concat([frame('first'), frame(big.subarray(0, 1_000_000)), frame(big.subarray(1_000_000))]))
    ).toBe(true)
    const closed = closeOf(connection)
    client.end()
    expect((await closed).cause).toBe('local')
  })

  test('still receives what the peer has to say', async () => {
    const { client, connection } = await pair()
    const seen: string[] = []
    connection.on('packet', (packet) => seen.push(String(packet)))
    connection.end()
    await client.readToEnd()
    await client.write(frame('one more thing'))
    const closed = closeOf(connection)
    client.end()
    await closed
    expect(seen).toEqual(['one more thing'])
  })

  test('resets a peer that does not end its side in time', async () => {
    const { client, connection } = await pair()
    connection.on('packet', () => undefined)
    const closed = closeOf(connection)
    connection.end({ deadline: 50 })
    const info = await closed
    expect(info.cause).toBe('timeout')
    expect(info.error).toMatchObject({ code: 'ETIMEDOUT' })
    await client.readToEnd()
  })

  test('twice is once', async () => {
    const { client, connection } = await pair()
    const infos: CloseInfo[] = []
    connection.on('close', (info) => infos.push(info))
    connection.end().end()
    await client.readToEnd()
    client.end()
    await until(() => infos.length > 0)
    connection.end().destroy().reset()
    await new Promise(setImmediate)
    expect(infos).toHaveLength(1)
  })
})

describe.each(['destroy', 'reset'] as const)('%s', (how) => {
  test('closes at once, with cause local', async () => {
    const { client, connection } = await pair()
    const closed = closeOf(connection)
    connection[how]()
    expect((await closed).cause).toBe('local')
    await client.readToEnd()
    expect(client.over).toBe(how === 'reset' ? 'ECONNRESET' : 'end')
  })

  test('in a packet handler: no packet comes after it, although more have arrived', async () => {
    const { client, connection } = await pair()
    let packets = 0
    connection.on('packet', () => {
      packets++
      if (packets === 3) connection[how]()
    })
    const closed = closeOf(connection)
    await client.write(Buffer.concat(Array.from({ length: 100 }, () => frame('x'))))
    await closed
    expect(packets).toBe(3)
    expect(connection.state).toBe('closed')
  })

  test('while much waits to be sent', async () => {
    const { client, connection } = await pair()
    for (let i = 0; i < 8; i++) connection.send(pattern(1_000_000))
    const outcome = connection.sendAsync('never')
    connection.flush()
    const closed = closeOf(connection)
    connection[how]()
    expect((await closed).cause).toBe('local')
    expect(await outcome).toBe('closed')
    client.socket.destroy()
  })
})

test('close comes once for each of many connections, whoever ends them and however', async () => {
  const { server, port } = await startEcho()
  const closes = new Map<number, number>()
  server.on('disconnect', (_, { id }) => closes.set(id, (closes.get(id) ?? 0) + 1))
  let accepted = 0
  server.on('connection', (connection) => {
    accepted++
    connection.on('packet', (packet) => {
      if (packet[0] === 3) connection.destroy()
      if (packet[0] === 4) connection.reset()
      if (packet[0] === 5) connection.end()
    })
  })
  const clients = await Promise.all(Array.from({ length: 60 }, () => RawClient.open(port)))
  await until(() => accepted === 60)
  for (const [index, client] of clients.entries()) {
    const kind = index % 6
    await client.write(frame(Buffer.of(kind, 1, 2, 3)))
    if (kind === 0) client.end()
    if (kind === 1) client.reset()
    if (kind === 2) client.socket.destroy()
  }
  await until(() => closes.size === 60)
  expect([...closes.values()].every((count) => count === 1)).toBe(true)
  expect(server.connections.size).toBe(0)
})

describe('server.close', () => {
  test('lets connections finish: what is queued arrives', async () => {
    const { server, port } = await startServer()
    const clients = await Promise.all(Array.from({ length: 5 }, () => RawClient.open(port)))
    await until(() => server.connections.size === 5)
    for (const connection of server.connections) connection.send(pattern(1_000_000))
    const reads = clients.map((client) => client.readToEnd())
    const report = await server.close({ deadline: '20s' })
    expect(report).toEqual({ drained: 5, cut: 0 })
    for (const bytes of await Promise.all(reads)) expect(bytes.equals(frame(pattern(1_000_000)))).toBe(true)
  })

  test('cuts those that do not finish in time, and says how many', async () => {
    const { server, port } = await startServer()
    const patient = await RawClient.open(port, { allowHalfOpen: true })
    const polite = await RawClient.open(port)
    await until(() => server.connections.size === 2)
    const infos: CloseInfo[] = []
    server.on('disconnect', (info) => infos.push(info))
    const report = await server.close({ deadline: 100 })
    expect(report).toEqual({ drained: 1, cut: 1 })
    expect(infos.map(({ cause }) => cause)).toEqual(['server-closing', 'server-closing'])
    await polite.readToEnd()
    await patient.readToEnd()
  })

  test('while data flows', async () => {
    const { server, port } = await startEcho()
    const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.open(port)))
    let stop = false
    const load = clients.map(async (client) => {
      while (!stop && client.over === undefined) {
        await client.write(frame(pattern(10_000))).catch(() => undefined)
        await client.read(10_004).catch(() => undefined)
      }
    })
    await until(() => (server.stats()?.counters.packetsIn ?? 0) > 200)
    let disconnects = 0
    let late = 0
    let over = false
    server.on('disconnect', () => disconnects++)
    server.on('packet', () => (over ? late++ : 0))
    const { drained, cut } = await server.close({ deadline: 2000 })
    over = true
    stop = true
    expect(drained + cut).toBe(20)
    expect(disconnects).toBe(20)
    expect(server.stats()).toBeUndefined()
    await Promise.all(load)
    expect(late).toBe(0)
  })

  test('at once', async () => {
    const { server, port } = await startServer()
    const client = await RawClient.open(port, { allowHalfOpen: true })
    await until(() => server.connections.size === 1)
    expect(await server.close({ deadline: 0 })).toEqual({ drained: 0, cut: 1 })
    await client.readToEnd()
  })

  test('tells the end of connections whose packets nobody took', async () => {
    const { server, port } = await startServer()
    const accepted = nextConnection(server)
    const client = await RawClient.open(port)
    const connection = await accepted
    connection.on('packet', () => connection.pause())
    await client.write(Buffer.concat([frame('123'), frame('45')]))
    await until(() => connection.isPaused())
    const infos: CloseInfo[] = []
    server.on('disconnect', (info) => infos.push(info))
    await server.close({ deadline: 0 })
    expect(infos).toHaveLength(1)
    expect(infos[0]?.cause).toBe('server-closing')
    // Nothing that is asked of it now does any harm.
    connection.resume().demand().end()
    expect(connection.send('x')).toBe('closed')
    connection.flush()
  })

  test('lets an iteration take what had arrived', async () => {
    const { server, port } = await startServer()
    const accepted = nextConnection(server)
    const client = await RawClient.open(port)
    const iterator = (await accepted)[Symbol.asyncIterator]()
    await client.write(Buffer.concat([frame('1'), frame('2'), frame('3')]))
    expect(String((await iterator.next()).value)).toBe('1')
    await server.close()
    expect(String((await iterator.next()).value)).toBe('2')
    expect(String((await iterator.next()).value)).toBe('3')
    expect((await iterator.next()).done).toBe(true)
  })

  test('twice gives one promise and one event', async () => {
    const { server } = await startServer()
    let events = 0
    server.on('close', () => events++)
    const [one, other] = [server.close(), server.close()]
    expect(one).toBe(other)
    await one
    expect(events).toBe(1)
  })

  test('refuses new connections from then on', async () => {
    const { server, port } = await startServer()
    await server.close()
    await expect(RawClient.open(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  test('in a handler of one of its connections', async () => {
    const { server, port } = await startServer()
    const closed = new Promise((resolve) => {
      server.on('packet', () => {
        resolve(server.close({ deadline: 0 }))
      })
    })
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([frame('close'), frame('more')]))
    await closed
    await client.readToEnd()
  })

  test('await using closes it', async () => {
    const ports: number[] = []
    {
      await using server = createServer()
      ports.push((await server.listen(0, '127.0.0.1')).port)
    }
    await expect(RawClient.open(ports[0] ?? 0)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

test('data and addresses are there in the close handler, and later', async () => {
  const { client, connection } = await pair()
  connection.data = { user: 'x' }
  const { localPort } = client.socket
  const seen = new Promise((resolve) => {
    connection.on('close', () => {
      resolve([connection.data, connection.remoteAddress, connection.remotePort, connection.id])
    })
  })
  const { id } = connection
  client.reset()
  expect(await seen).toEqual([{ user: 'x' }, '127.0.0.1', localPort, id])
  expect(connection.localAddress).toBe('127.0.0.1')
  expect(connection.stats()).toBeUndefined()
})
