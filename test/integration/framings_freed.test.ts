/** Framings that peers choose do not pile up. */

import { connect, type Connection, createServer, framing } from 'iocp'
import { expect, test } from 'vitest'
import { closeAfterTest, first } from '../helpers/servers.js'

const HOST = '127.0.0.1'
const PATIENCE = { timeout: 20_000 }

test(
  '100,000 framings on one connection: a bounded number is kept, and each is in force',
  { timeout: 120_000 },
  async () => {
    const server = createServer({ framing: framing.line() })
    closeAfterTest(server)
    const { port } = await server.listen(0, HOST)
    const accepted = first<Connection>(server, 'connection')
    const client = await connect({ port, host: HOST, framing: framing.line() })
    const peer = await accepted
    const profiles = (): number => server.stats()?.profiles ?? NaN
    let most = 0
    for (let round = 0; round < 100_000; round++) {
      peer.setFraming(framing.delimiter({ delimiters: `--boundary ${round}` }))
      if (round % 5000 !== 0) continue
      await new Promise(setImmediate)
      most = Math.max(most, profiles())
      const packet = first<Buffer>(client, 'packet')
      client.setFraming(framing.delimiter({ delimiters: `--boundary ${round}` }))
      peer.send(`packet ${round}`)
      expect((await packet).toString()).toBe(`packet ${round}`)
      const answer = first<Buffer>(peer, 'packet')
      client.send(`answer ${round}`)
      expect((await answer).toString()).toBe(`answer ${round}`)
    }
    expect(most).toBeLessThanOrEqual(64 + 4)
    client.end()
    await peer.closed
    await client.closed
    await expect.poll(profiles, PATIENCE).toBeLessThanOrEqual(65)
  }
)

test('many connections with framings of their own, at the same time', { timeout: 120_000 }, async () => {
  const server = createServer({ framing: framing.line() })
  closeAfterTest(server)
  server.on('packet', (packet, connection) => {
    const text = packet.toString()
    if (text.startsWith('boundary ')) {
      connection.send(`at ${text}`)
      connection.setFraming(framing.delimiter({ delimiters: text }))
    } else {
      connection.send(packet)
    }
  })
  const { port } = await server.listen(0, HOST)
  const talk = async (number: number): Promise<void> => {
    const client = await connect({ port, host: HOST, framing: framing.line() })
    for (let round = 0; round < 20; round++) {
      const boundary = `boundary ${number} ${round};`
      const agreed = first<Buffer>(client, 'packet')
      client.send(boundary)
      expect((await agreed).toString()).toBe(`at ${boundary}`)
      client.setFraming(framing.delimiter({ delimiters: boundary }))
      const echo = first<Buffer>(client, 'packet')
      client.send(`hello ${round}`)
      expect((await echo).toString()).toBe(`hello ${round}`)
    }
    client.end()
    await client.closed
  }
  const talks = Array.from({ length: 30 }, (_, number) => talk(number))
  await Promise.all(talks)
  await expect.poll(() => server.connections.size, PATIENCE).toBe(0)
  expect(server.stats()?.profiles).toBeLessThanOrEqual(65)
})

test('a broadcast to connections of many framings, which change', async () => {
  const server = createServer({ framing: framing.line() })
  closeAfterTest(server)
  const { port } = await server.listen(0, HOST)
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => connect({ port, host: HOST, framing: framing.line() }))
  )
  await expect.poll(() => server.connections.size, PATIENCE).toBe(20)
  const got = clients.map((): string[] => [])
  for (const [index, client] of clients.entries()) client.on('packet', (packet) => got[index]?.push(packet.toString()))
  const ends = [...server.connections].map((end) => ({
    end,
    client: clients.find(({ localPort }) => localPort === end.remotePort)
  }))
  for (let round = 0; round < 30; round++) {
    const changing = ends.filter((_, index) => (index + round) % 3 === 0)
    const next = (index: number) => framing.delimiter({ delimiters: `<${index % 5} ${round}>` })
    for (const [index, { client }] of changing.entries()) client?.setFraming(next(index))
    // Native code has that before the first byte in the new framing comes.
    await new Promise(setImmediate)
    for (const [index, { end }] of changing.entries()) end.setFraming(next(index))
    server.broadcast(`news ${round}`)
    await expect.poll(() => got.every((one) => one.length === round + 1), PATIENCE).toBe(true)
  }
  const all = Array.from({ length: 30 }, (_, round) => `news ${round}`)
  for (const one of got) expect(one).toEqual(all)
  for (const client of clients) client.destroy()
})
