/** Framings that peers choose do not pile up. */

import { connect, createServer, framing, type Connection } from 'iocp'
import { expect, test } from 'vitest'
import { closeAfterTest } from '../helpers/endpoints.js'

const HOST = '127.0.0.1'

test('100,000 framings on one connection: a bounded number is kept, and each is in force', { timeout: 120_000 }, async () => {
  const server = createServer({ framing: framing.line() })
  closeAfterTest(server)
  const { port } = await server.listen(0, HOST)
  const accepted = new Promise<Connection>((resolve) => server.once('connection', resolve))
  const client = await connect({ port, host: HOST, framing: framing.line() })
  const peer = await accepted
  const profiles = (): number => server.stats()?.profiles ?? NaN
  let most = 0
  for (let round = 0; round < 100_000; round++) {
    peer.setFraming(framing.delimiter({ delimiters: `--boundary ${round}` }))
    if (round % 5000 !== 0) continue
    await new Promise(setImmediate)
    most = Math.max(most, profiles())
    const packet = new Promise<Buffer>((resolve) => client.once('packet', resolve))
    client.setFraming(framing.delimiter({ delimiters: `--boundary ${round}` }))
    peer.send(`packet ${round}`)
    expect((await packet).toString()).toBe(`packet ${round}`)
    const answer = new Promise<Buffer>((resolve) => peer.once('packet', resolve))
    client.send(`answer ${round}`)
    expect((await answer).toString()).toBe(`answer ${round}`)
  }
  expect(most).toBeLessThanOrEqual(64 + 4)
  client.end()
  await peer.closed
  await client.closed
  await expect.poll(profiles).toBeLessThanOrEqual(65)
})

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
      const agreed = new Promise<Buffer>((resolve) => client.once('packet', resolve))
      client.send(boundary)
      expect((await agreed).toString()).toBe(`at ${boundary}`)
      client.setFraming(framing.delimiter({ delimiters: boundary }))
      const echo = new Promise<Buffer>((resolve) => client.once('packet', resolve))
      client.send(`hello ${round}`)
      expect((await echo).toString()).toBe(`hello ${round}`)
    }
    client.end()
    await client.closed
  }
  const talks = Array.from({ length: 30 }, (_, number) => talk(number))
  await Promise.all(talks)
  await expect.poll(() => server.connections.size).toBe(0)
  expect(server.stats()?.profiles).toBeLessThanOrEqual(65)
})

test('a broadcast to connections of many framings, which change', async () => {
  const server = createServer({ framing: framing.line() })
  closeAfterTest(server)
  const { port } = await server.listen(0, HOST)
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect({ port, host: HOST, framing: framing.line() })))
  await expect.poll(() => server.connections.size).toBe(20)
  const got = clients.map((): string[] => [])
  for (const [index, client] of clients.entries()) client.on('packet', (packet) => got[index]?.push(packet.toString()))
  const ends = [...server.connections].map((end) => ({ end, client: clients.find(({ localPort }) => localPort === end.remotePort) }))
  for (let round = 0; round < 30; round++) {
    for (const [index, { end, client }] of ends.entries()) {
      if ((index + round) % 3 !== 0) continue
      const next = framing.delimiter({ delimiters: `<${index % 5} ${round}>` })
      end.setFraming(next)
      client?.setFraming(next)
    }
    server.broadcast(`news ${round}`)
    await expect.poll(() => got.every((one) => one.length === round + 1)).toBe(true)
  }
  const all = Array.from({ length: 30 }, (_, round) => `news ${round}`)
  for (const one of got) expect(one).toEqual(all)
  for (const client of clients) client.destroy()
})
