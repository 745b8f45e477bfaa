import type { Connection } from 'iocp'
import { describe, expect, test } from 'vitest'
import { frame } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'
import { startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'

const PACKETS = 50_000

/** Milliseconds from the first of many small packets to the last. */
async function receive(how: 'listen' | 'iterate'): Promise<number> {
  const { server, port } = await startServer()
  let count = 0
  let began = 0
  const take = (): void => {
    if (count++ === 0) began = performance.now()
  }
  const iterate = async (connection: Connection): Promise<void> => {
    for await (const packet of connection) if (packet.length === 1) take()
  }
  if (how === 'listen') server.on('packet', take)
  else server.on('connection', (connection) => void iterate(connection))
  const client = await RawClient.open(port)
  client.socket.write(Buffer.alloc(PACKETS * 5, frame('x')))
  await until(() => count === PACKETS)
  const took = performance.now() - began
  client.socket.destroy()
  return took
}

test('iterating over many small packets costs little more than listening to them', { timeout: 300_000 }, async () => {
  const best = { listen: Infinity, iterate: Infinity }
  for (let round = 0; round < 3; round++) {
    best.listen = Math.min(best.listen, await receive('listen'))
    best.iterate = Math.min(best.iterate, await receive('iterate'))
  }
  // Taking each from the front of a long list made it a hundred times as much.
  expect(best.iterate).toBeLessThan(10 * best.listen + 100)
})

describe('the end of the peer', () => {
  test.each([0, 5])('leaves time for the answers of a loop that takes %d ms for each packet', async (time) => {
    const { server, port } = await startServer()
    const echo = async (connection: Connection): Promise<void> => {
      for await (const packet of connection) {
        if (time > 0) await pause(time)
        connection.send(packet)
      }
    }
    server.on('connection', (connection) => void echo(connection))
    const client = await RawClient.open(port, { allowHalfOpen: true })
    const bytes = Buffer.concat(Array.from({ length: 30 }, (_, at) => frame(`packet ${at}`)))
    client.socket.end(bytes)
    expect(await client.readToEnd()).toEqual(bytes)
    expect(client.over).toBe('end')
  })
})

describe('an iterator that is not left', () => {
  test("does not hold back 'disconnect' of a connection that the peer resets", async () => {
    const { server, port } = await startServer()
    const iterators: AsyncIterator<Buffer>[] = []
    const seen: string[] = []
    server.on('connection', (connection) => {
      const iterator = connection[Symbol.asyncIterator]()
      iterators.push(iterator)
      void iterator.next().then(({ value }) => seen.push(String(value)))
    })
    server.on('disconnect', (info) => seen.push(info.cause))
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([frame('1'), frame('2'), frame('3')]))
    await until(() => seen.length === 1)
    client.reset()
    await until(() => seen.length === 2)
    expect(seen).toEqual(['1', 'peer-reset'])
    const rest = [await iterators[0]?.next(), await iterators[0]?.next()]
    expect(rest.map((result) => String(result?.value))).toEqual(['2', '3'])
    await expect(iterators[0]?.next()).rejects.toMatchObject({ code: 'ECONNRESET' })
  })

  test('does not hold back the end of its server', async () => {
    const { server, port } = await startServer()
    const seen: string[] = []
    server.on('connection', (connection) => {
      void connection[Symbol.asyncIterator]()
        .next()
        .then(({ value }) => seen.push(String(value)))
    })
    server.on('disconnect', (info) => seen.push(info.cause))
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([frame('1'), frame('2'), frame('3')]))
    await until(() => seen.length === 1)
    await server.close({ deadline: 100 })
    expect(seen).toEqual(['1', expect.any(String)])
  })
})
