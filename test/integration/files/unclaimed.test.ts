/** Files while packets wait that nobody takes, or that are to wait. */

import { join } from 'node:path'
import { connect, type Connection, createServer } from 'iocp'
import { describe, expect, test } from 'vitest'
import { acceptNext, failure, folders, KIB, makeFile, methods, MIB, pair, sha256, typed } from '../../helpers/files.js'
import { closeAfterTest } from '../../helpers/servers.js'
import { until } from '../../helpers/time.js'

/** So long that nothing ends in time that only a time limit would end. */
const NEVER = '1h'

describe.each(methods)("nobody listens for 'packet', sent by '%s'", (method) => {
  test.each([1, 1000])(
    'the sender has had %d greetings: the file is sent, and end() ends in order',
    async (greetings) => {
      const { from, to } = folders()
      const server = createServer({ framing: typed, transfer: { method } })
      closeAfterTest(server)
      server.on('connection', (connection) => {
        for (let i = 0; i < greetings; i++) connection.send(`hello ${i}`)
      })
      server.on('file', (offer) => {
        void offer.accept({ directory: to })
      })
      const { port } = await server.listen({ host: '127.0.0.1' })
      const transfer = { method, answerTimeout: NEVER, stallTimeout: NEVER }
      const client = await connect({ host: '127.0.0.1', port, framing: typed, transfer, endDeadline: NEVER })
      const read = (): number => client.stats()?.packetsRead ?? 0
      await until('the first have come', () => read() > 0)
      const path = makeFile(from, 300_000)
      expect(await client.sendFile(path, { verify: method === 'read' ? 'sha256' : false })).toMatchObject({
        bytes: 300_000
      })
      expect(await sha256(join(to, 'file-300000.bin'))).toBe(await sha256(path))
      client.end()
      const info = await client.closed
      expect(info.error).toBeUndefined()
      expect(info.discardedBytes).toBe(
        Array.from({ length: greetings }, (_, i) => `hello ${i}`.length).reduce((a, b) => a + b)
      )
    }
  )

  test('the receiver has had a packet before the offer; whoever listens later gets it', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method, answerTimeout: NEVER, stallTimeout: NEVER } })
    both.endpoint.on('file', (offer) => {
      void offer.accept({ directory: to })
    })
    both.client.send('first')
    await until('it has come', () => both.server.stats()?.packetsRead === 1)
    both.client.send('second')
    const path = makeFile(from, MIB)
    await both.client.sendFile(path, { verify: method === 'read' ? 'sha256' : false })
    both.client.send('third')
    expect(await sha256(join(to, `file-${MIB}.bin`))).toBe(await sha256(path))
    const packets: string[] = []
    both.server.on('packet', (packet) => packets.push(packet.toString()))
    await until('all have come', () => packets.length === 3)
    expect(packets).toEqual(['first', 'second', 'third'])
  })

  test('a raw file comes behind a packet that nobody takes', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method, stallTimeout: NEVER } })
    both.client.send('first')
    await until('it has come', () => both.server.stats()?.packetsRead === 1)
    let received: Promise<unknown> = Promise.resolve()
    await new Promise<void>((resolve) => {
      received = both.server.receiveFile({ path: join(to, 'raw'), bytes: MIB, onReady: resolve })
    })
    const path = makeFile(from, MIB)
    await both.client.sendFile(path, { mode: 'raw' })
    await received
    expect(await sha256(join(to, 'raw'))).toBe(await sha256(path))
  })
})

test("a listener for 'file' that comes later lets the offer behind a packet be read", async () => {
  const { from, to } = folders()
  const both = await pair({ transfer: { answerTimeout: NEVER, stallTimeout: NEVER } })
  both.client.send('first')
  await until('it has come', () => both.server.stats()?.packetsRead === 1)
  const sending = both.client.sendFile(makeFile(from, 10))
  await acceptNext(both.server, { directory: to })
  await sending
})

test('a file that is sent from inside an iteration which is far behind', async () => {
  const { from, to } = folders()
  const both = await pair({ transfer: { answerTimeout: NEVER, stallTimeout: NEVER } })
  both.server.on('file', (offer) => {
    void offer.accept({ directory: to })
  })
  for (let i = 0; i < 500; i++) both.server.send(String(i))
  const path = makeFile(from, 100_000)
  let next = 0
  for await (const packet of both.client) {
    expect(packet.toString()).toBe(String(next++))
    if (next === 1) await both.client.sendFile(path)
    if (next === 500) break
  }
  expect(await sha256(join(to, 'file-100000.bin'))).toBe(await sha256(path))
})

describe('what has to wait says why', () => {
  const limits = { answerTimeout: 200, stallTimeout: 200 }

  async function fails(connection: Connection, from: string): Promise<string> {
    const error = await failure(connection.sendFile(makeFile(from, 10)))
    expect(error.code).toBe('ERR_IOCP_TRANSFER_ANSWER_TIMEOUT')
    return error.message
  }

  test('pause()', async () => {
    const { from, to } = folders()
    const both = await pair({}, { transfer: limits })
    void acceptNext(both.server, { directory: to })
    both.client.pause()
    expect(await fails(both.client, from)).toContain('is paused')
  })

  test('demand', async () => {
    const { from, to } = folders()
    const both = await pair({}, { transfer: limits, receive: 1 })
    void acceptNext(both.server, { directory: to })
    both.client.on('packet', () => undefined)
    both.server.send('the only one')
    await until('it has come', () => both.client.stats()?.packetsRead === 1)
    expect(await fails(both.client, from)).toContain('on demand')
  })

  test('more packets that nobody takes than are kept; none of them is lost', async () => {
    const { from } = folders()
    // Twice what the system holds for the two sides of a loopback connection.
    const sent = 2000
    const both = await pair({ backpressure: { hardCap: '64MiB' } }, { transfer: limits })
    const packet = Buffer.alloc(8 * KIB, 7)
    for (let i = 0; i < sent; i++) expect(both.server.send(packet)).not.toBe('dropped')
    await until('something has come', () => (both.client.stats()?.bytesRead ?? 0) > 0)
    expect(await fails(both.client, from)).toContain("listen for 'packet'")
    let bytes = 0
    both.client.on('packet', ({ length }) => (bytes += length))
    await until('all has come', () => bytes === sent * packet.length)
  })
})
