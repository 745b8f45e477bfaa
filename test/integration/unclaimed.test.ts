/** Packets that nobody has ever taken: how the connection, its server or its client ends all the same. */

import { once } from 'node:events'
import { type AddressInfo, createServer as createPlainServer, type Socket } from 'node:net'
import { framing } from 'iocp'
import { expect, onTestFinished, test } from 'vitest'
import { frame } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'
import { nextConnection, nextDisconnect, startClient, startServer } from '../helpers/servers.js'
import { until } from '../helpers/time.js'

/** Far more than anything here takes: whoever waits for it has been held back. */
const LONG = '5m'

test.each([1, 50])('a reset is seen behind %i packets that nobody takes', async (count) => {
  const { server, port } = await startServer()
  const accepted = nextConnection(server)
  const ended = nextDisconnect(server)
  const client = await RawClient.open(port)
  const connection = await accepted
  await client.write(Buffer.concat(Array.from({ length: count }, () => frame('hello'))))
  await until(() => connection.stats()?.packetsRead === count)
  client.reset()
  const { info } = await ended
  expect(info.cause).toBe('peer-reset')
  expect(info.discardedBytes).toBe(5 * count)
  expect(server.connections.size).toBe(0)
})

test('a reset is seen behind the packets that a loop has left', async () => {
  const { server, port } = await startServer()
  const accepted = nextConnection(server)
  const client = await RawClient.open(port)
  const connection = await accepted
  await client.write(Buffer.concat([frame('one'), frame('two'), frame('three')]))
  for await (const packet of connection) {
    expect(String(packet)).toBe('one')
    break
  }
  await until(() => connection.stats()?.packetsRead === 3)
  client.reset()
  expect(await connection.closed).toMatchObject({ cause: 'peer-reset', discardedBytes: 8 })
})

test('server.close waits for no packets that nobody takes, those that still come included', async () => {
  const { server, port } = await startServer()
  const accepted = nextConnection(server)
  const client = await RawClient.open(port, { allowHalfOpen: true })
  const connection = await accepted
  await client.write(frame('before'))
  await until(() => connection.stats()?.packetsRead === 1)
  const closing = server.close({ deadline: LONG })
  await client.write(frame('after'))
  await until(() => connection.stats()?.packetsRead !== 1)
  client.end()
  expect(await closing).toEqual({ drained: 1, cut: 0 })
  expect(connection.closeInfo).toMatchObject({ cause: 'server-closing', discardedBytes: 11 })
})

test("server.close tells the peer's end behind packets that nobody takes", async () => {
  const { server, port } = await startServer()
  const accepted = nextConnection(server)
  const client = await RawClient.open(port)
  const connection = await accepted
  const told: string[] = []
  connection.on('end', () => told.push('end'))
  connection.on('close', () => told.push('close'))
  await client.write(frame('hello'))
  client.end()
  await until(() => connection.stats()?.packetsRead === 1)
  expect(told).toEqual([])
  expect(await server.close({ deadline: LONG })).toEqual({ drained: 1, cut: 0 })
  expect(told).toEqual(['end', 'close'])
  expect(connection.closeInfo?.discardedBytes).toBe(5)
})

test('server.close waits for no large packet that nobody takes', async () => {
  const { server, port } = await startServer({ framing: framing.lengthField({ streamAbove: 1000, maxPacket: '1MiB' }) })
  const accepted = nextConnection(server)
  const client = await RawClient.open(port)
  const connection = await accepted
  const size = 400_000
  const wrote = client.write(frame(Buffer.alloc(size, 1)))
  await until(() => (connection.stats()?.bytesRead ?? 0) > 0)
  expect(await server.close({ deadline: LONG })).toEqual({ drained: 1, cut: 0 })
  await wrote
  expect(connection.closeInfo?.discardedBytes).toBe(size)
})

/** A plain server that greets whoever comes, and then does something. */
async function greeting(then: (socket: Socket) => void): Promise<number> {
  const server = createPlainServer((socket) => {
    socket.on('error', () => undefined).resume()
    socket.write(frame('hello'))
    then(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
  })
  return (server.address() as AddressInfo).port
}

test('a connection that was made ends by an error, although nobody has taken what came', async () => {
  let reset = (): void => undefined
  const port = await greeting((socket) => {
    reset = () => {
      socket.resetAndDestroy()
    }
  })
  const connection = await startClient().connect({ host: '127.0.0.1', port })
  await until(() => connection.stats()?.packetsRead === 1)
  reset()
  expect(await connection.closed).toMatchObject({ cause: 'peer-reset', discardedBytes: 5 })
})

test('one that has ended in order keeps what came, and client.close ends that', async () => {
  const port = await greeting((socket) => socket.end())
  const client = startClient()
  const [kept, forgotten] = await Promise.all([
    client.connect({ host: '127.0.0.1', port }),
    client.connect({ host: '127.0.0.1', port })
  ])
  await until(() => [kept, forgotten].every((one) => one.stats()?.packetsRead === 1))
  // Both sides have ended: what is left is what nobody has taken.
  kept.end()
  const [packet] = (await once(kept, 'packet')) as [Buffer]
  expect(String(packet)).toBe('hello')
  expect((await kept.closed).discardedBytes).toBe(0)
  expect(await client.close({ deadline: LONG })).toMatchObject({ cut: 0 })
  expect((await forgotten.closed).discardedBytes).toBe(5)
})
