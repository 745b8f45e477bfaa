import { errorMonitor, once } from 'node:events'
import { type AddressInfo, createServer as createPlainServer } from 'node:net'
import { type CloseInfo, connect, type Connection, framing, type IocpError } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { frame, pattern } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'
import { nextDisconnect, startClient, startEcho, startServer } from '../helpers/servers.js'
import { never, until } from '../helpers/time.js'

describe("onHandlerError: 'close'", () => {
  test('ends that connection; all others, and their packets of the same batch, go on', async () => {
    const { server, port } = await startServer({ onHandlerError: 'close' })
    const failed: unknown[] = []
    server.on('handlerError', (error, connection) => failed.push([(error as Error).message, connection.state]))
    server.on('packet', (packet, connection) => {
      if (packet.length === 0) throw new Error('empty')
      connection.send(packet)
    })
    const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.open(port)))
    const infos: CloseInfo[] = []
    server.on('disconnect', (info) => infos.push(info))
    const rounds = 50
    for (let round = 0; round < rounds; round++) {
      const victim = round % 10 === 5 ? clients[(round / 10) | 0] : undefined
      for (const client of clients) {
        if (client.over !== undefined) continue
        client.socket.write(client === victim ? Buffer.concat([frame(''), frame('never')]) : frame(pattern(100, round)))
      }
      await new Promise(setImmediate)
    }
    const survivors = clients.slice(5)
    for (const client of survivors) {
      const expected = Buffer.concat(Array.from({ length: rounds }, (_, round) => frame(pattern(100, round))))
      expect((await client.read(expected.length)).equals(expected)).toBe(true)
    }
    await until(() => infos.length === 5)
    expect(failed).toEqual(Array.from({ length: 5 }, () => ['empty', 'closing']))
    for (const info of infos) {
      expect(info.cause).toBe('handler-error')
      expect((info.error as IocpError).code).toBe('ERR_IOCP_HANDLER')
      expect(((info.error as IocpError).cause as Error).message).toBe('empty')
    }
    expect(server.connections.size).toBe(15)
  })

  test('of connect, by the connection and by a rejected promise', async () => {
    const { port } = await startEcho()
    const connection = await connect({ host: '127.0.0.1', port, onHandlerError: 'close' })
    const told = once(connection, 'handlerError')
    connection.on('packet', () => Promise.reject(new Error('later')) as unknown as undefined)
    connection.send('x')
    expect(await told).toEqual([expect.objectContaining({ message: 'later' })])
    expect((await connection.closed).cause).toBe('handler-error')
  })

  test('a handler of file, and one that iterates', async () => {
    const typed = framing.lengthField({ typeByte: true })
    const { server, port } = await startServer({ framing: typed, onHandlerError: 'close' })
    server.on('handlerError', () => undefined)
    server.on('file', () => {
      throw new Error('file')
    })
    const first = nextDisconnect(server)
    const sender = await connect({ host: '127.0.0.1', port, framing: typed })
    await expect(sender.sendFile(import.meta.filename)).rejects.toMatchObject({
      code: expect.stringMatching(/^E/) as string
    })
    expect((await first).info.cause).toBe('handler-error')

    const read = async (connection: Connection): Promise<void> => {
      for await (const packet of connection) if (packet.length === 0) throw new Error('empty')
    }
    server.on('connection', (connection): unknown => read(connection))
    const second = nextDisconnect(server)
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([frame('x'), frame('')]))
    expect((await second).info.cause).toBe('handler-error')
  })

  test('a link is told, and makes its connection again', async () => {
    const { port } = await startEcho()
    const link = await connect({ host: '127.0.0.1', port, onHandlerError: 'close', reconnect: { minDelay: 1 } })
    const told: unknown[] = []
    link.on('handlerError', (error) => told.push((error as Error).message))
    link.once('packet', () => {
      throw new Error('bad')
    })
    const [again, lost] = [once(link, 'connect'), once(link, 'disconnect')]
    link.send('x')
    expect(((await lost) as [CloseInfo])[0].cause).toBe('handler-error')
    await again
    expect(told).toEqual(['bad'])
    const packet = once(link, 'packet')
    link.send('y')
    expect(String(((await packet) as [Buffer])[0])).toBe('y')
    link.destroy()
    await link.closed
  })
})

describe('nothing of the library hangs on public listeners', () => {
  test('closed of a link can be asked for often, and settles whatever is removed', async () => {
    const warnings: string[] = []
    const onWarning = ({ name }: Error): void => {
      warnings.push(name)
    }
    process.on('warning', onWarning)
    onTestFinished(() => {
      process.off('warning', onWarning)
    })
    const { port } = await startEcho()
    const link = await connect({ host: '127.0.0.1', port, reconnect: { minDelay: 1 } })
    const waiting = Array.from({ length: 50 }, () => link.closed)
    const current = link.connection
    const ends = Array.from({ length: 50 }, () => current?.closed ?? never())
    link.removeAllListeners()
    current?.removeAllListeners()
    link.destroy()
    expect(await Promise.all(waiting)).toEqual(Array.from({ length: 50 }, () => undefined))
    expect((await Promise.all(ends)).map((info) => info.cause)).toEqual(Array.from({ length: 50 }, () => 'local'))
    await new Promise(setImmediate)
    expect(warnings).toEqual([])
  })

  test('a link whose present connection has lost its listeners gets packets and is made again', async () => {
    const { server, port } = await startEcho()
    const link = await connect({ host: '127.0.0.1', port, reconnect: { minDelay: 1 } })
    const packets: string[] = []
    link.on('packet', (packet) => packets.push(String(packet)))
    link.connection?.removeAllListeners()
    link.send('one')
    await until(() => packets.length === 1)
    const again = once(link, 'connect')
    for (const connection of server.connections) connection.reset()
    await again
    link.send('two')
    await until(() => packets.length === 2)
    expect(packets).toEqual(['one', 'two'])
    link.destroy()
    await link.closed
  })
})

test('errorMonitor hears that listen has failed', async () => {
  const holder = createPlainServer()
  holder.listen(0, '127.0.0.1')
  await once(holder, 'listening')
  onTestFinished(() => {
    holder.close()
  })
  const { server } = await startServer()
  await server.close({ deadline: 0 })
  const seen: string[] = []
  server.on(errorMonitor, (error: Error) => seen.push(String((error as NodeJS.ErrnoException).code)))
  const { port } = holder.address() as AddressInfo
  await expect(server.listen({ host: '127.0.0.1', port })).rejects.toBeInstanceOf(Error)
  expect(seen).toHaveLength(1)
})

describe('close({ deadline: 0 }) in a handler', () => {
  test('ends the deliveries of all connections at once, as destroy does', async () => {
    const { server, port } = await startServer()
    const infos: CloseInfo[] = []
    server.on('disconnect', (info) => infos.push(info))
    const clients = await Promise.all(Array.from({ length: 4 }, () => RawClient.open(port)))
    await until(() => server.connections.size === 4)
    let packets = 0
    const closed = new Promise<void>((resolve) => {
      server.on('packet', () => {
        packets++
        void server.close({ deadline: 0 }).then(() => {
          resolve()
        })
        for (const connection of server.connections) {
          expect([connection.state, connection.writable]).toEqual(['closing', false])
        }
      })
    })
    const many = Buffer.concat(Array.from({ length: 200 }, () => frame('0123456789')))
    for (const client of clients) client.socket.write(many)
    await closed
    expect(packets).toBe(1)
    expect(infos.map((info) => info.cause)).toEqual(Array.from({ length: 4 }, () => 'server-closing'))
    expect(infos.reduce((sum, info) => sum + info.discardedBytes, 0)).toBeGreaterThan(0)
  })

  test('of a client too', async () => {
    const { server, port } = await startServer()
    server.on('connection', (connection) => {
      for (let i = 0; i < 200; i++) connection.send('0123456789')
    })
    const client = startClient()
    let packets = 0
    const closed = new Promise<void>((resolve) => {
      client.on('packet', () => {
        packets++
        void client.close({ deadline: 0 }).then(() => {
          resolve()
        })
      })
    })
    const connection = await client.connect({ host: '127.0.0.1', port })
    await closed
    expect(packets).toBe(1)
    expect((await connection.closed).discardedBytes).toBeGreaterThan(0)
  })
})

test('connections that come behind close({ deadline: 0 }) of their client are closing from the start', async () => {
  const { server, port } = await startServer()
  server.on('connection', (connection) => connection.send('hello'))
  const client = startClient()
  const states: string[] = []
  let packets = 0
  client.on('packet', () => packets++)
  const closed = new Promise<void>((resolve) => {
    client.on('connection', (connection) => {
      if (states.push(connection.state) > 1) return
      packets = 0
      void client.close({ deadline: 0 }).then(() => {
        resolve()
      })
    })
  })
  const attempts = Array.from({ length: 50 }, () => client.connect({ host: '127.0.0.1', port }))
  const ends = await Promise.allSettled(attempts)
  await closed
  expect(states[0]).toBe('open')
  expect(states.slice(1)).toEqual(states.slice(1).map(() => 'closing'))
  expect(packets).toBe(0)
  // Each attempt is told: by an error, or by a connection that has closed.
  for (const end of ends) if (end.status === 'fulfilled') expect((await end.value.closed).cause).toBe('server-closing')
})

test('discardedBytes counts what destroy throws away of a batch', async () => {
  const { server, port } = await startServer()
  server.on('packet', (_, connection) => connection.destroy())
  const gone = nextDisconnect(server)
  const client = await RawClient.open(port)
  await client.write(Buffer.concat(Array.from({ length: 50 }, () => frame('0123456789'))))
  const { discardedBytes } = (await gone).info
  expect(discardedBytes).toBeGreaterThan(0)
  expect(discardedBytes).toBeLessThanOrEqual(49 * 14)
})
