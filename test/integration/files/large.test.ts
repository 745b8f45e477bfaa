/** Files of the sizes that hurt. With IOCP_LONG=1; without it, the same with small ones. */

import { randomBytes } from 'node:crypto'
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type Connection, createServer } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  acceptNext,
  checks,
  folders,
  leftovers,
  makeFile,
  methods,
  MIB,
  pair,
  sha256,
  typed,
  works
} from '../../helpers/files.js'
import { isLong } from '../../helpers/load.js'
import { until } from '../../helpers/time.js'

const GIB = 1024 * MIB
const LIMIT = 10 * 60_000

/** What is shown of a transfer, so that a long run leaves figures. */
function show(what: string, bytes: number, seconds: number): void {
  if (isLong) console.log(`${what}: ${(bytes / MIB / seconds).toFixed(0)} MiB/s`)
}

/** A file with holes, and some bytes on both sides of each border of 32 bits. */
function makeSparse(path: string, size: number): void {
  const handle = openSync(path, 'w')
  ftruncateSync(handle, size)
  for (const border of [0, 2 ** 31, 2 ** 32, size - 32]) {
    if (border + 16 <= size) writeSync(handle, randomBytes(32), 0, 32, Math.max(0, border - 16))
  }
  closeSync(handle)
}

describe.each(methods)("sent by '%s'", (method) => {
  test.skipIf(!isLong)('5 GiB, sparse (only with IOCP_LONG=1)', { timeout: LIMIT }, async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const path = join(from, 'sparse.bin')
    const size = 5 * GIB
    makeSparse(path, size)
    const received = acceptNext(both.server, { directory: to })
    const sent = await both.client.sendFile(path, { verify: false })
    const file = await received
    show(`5 GiB by '${method}'`, size, sent.seconds)
    expect([sent.bytes, file.bytes, statSync(file.path).size]).toEqual([size, size, size])
    expect(await sha256(file.path)).toBe(await sha256(path))
    await works(both)
  })

  test('both directions at once', { timeout: LIMIT }, async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const size = isLong ? 300 * MIB : 6 * MIB
    const [one, other] = [makeFile(from, size, 'one'), makeFile(from, size + 1, 'other')] as const
    const received = [acceptNext(both.server, { directory: to }), acceptNext(both.client, { directory: to })]
    const sent = await Promise.all([
      both.client.sendFile(one, checks(method)),
      both.server.sendFile(other, checks(method))
    ])
    await Promise.all(received)
    show(`both directions by '${method}', each`, size, Math.max(...sent.map(({ seconds }) => seconds)))
    expect(await sha256(join(to, 'one'))).toBe(await sha256(one))
    expect(await sha256(join(to, 'other'))).toBe(await sha256(other))
    expect(leftovers(to)).toEqual([])
  })

  test('100 clients fetch the same file', { timeout: LIMIT }, async () => {
    const { from, to } = folders()
    const size = isLong ? 20 * MIB : MIB / 4
    const path = makeFile(from, size)
    const server = createServer({ framing: typed, ioThreads: 2, transfer: { method } })
    onTestFinished(async () => {
      await server.close({ deadline: 0 })
    })
    server.on('packet', (packet, connection) => {
      if (packet.toString() === 'get') sending.push(connection.sendFile(path, { verify: false }))
    })
    const { port } = await server.listen({ host: '127.0.0.1' })
    const sending: Promise<unknown>[] = []
    const begun = performance.now()
    await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const client: Connection = await connect({ host: '127.0.0.1', port, framing: typed })
        const received = acceptNext(client, { path: join(to, `${index}`) })
        client.send('get')
        await received
        // In order, so that the server hears that it is stored.
        client.end()
        await client.closed
      })
    )
    show(`100 clients by '${method}', together`, 100 * size, (performance.now() - begun) / 1000)
    expect(await Promise.all(sending)).toHaveLength(100)
    const wanted = await sha256(path)
    expect(readdirSync(to)).toHaveLength(100)
    for (const name of readdirSync(to)) expect(await sha256(join(to, name))).toBe(wanted)
  })
})

test('one file to many', { timeout: 60_000 }, async () => {
  const { from, to } = folders()
  const server = createServer({ framing: typed, ioThreads: 2 })
  onTestFinished(async () => {
    await server.close({ deadline: 0 })
  })
  const { port } = await server.listen({ host: '127.0.0.1' })
  const count = 100
  const clients: Connection[] = []
  for (let index = 0; index < count; index++) {
    const client = await connect({ host: '127.0.0.1', port, framing: typed })
    client.on('file', (offer) => {
      if (index === 7) offer.reject()
      else void offer.accept({ path: join(to, `${index}.bin`) })
    })
    clients.push(client)
  }
  await until('all are accepted', () => server.connections.size === count)
  const path = makeFile(from, 200_000)
  const { sent, failed } = await server.broadcastFile(path)
  expect(failed.map(({ error }) => (error as { code?: string }).code)).toEqual(['ERR_IOCP_TRANSFER_REJECTED'])
  expect(sent).toHaveLength(count - 1)
  const wanted = readFileSync(path)
  for (const name of readdirSync(to)) expect(readFileSync(join(to, name)).equals(wanted)).toBe(true)
  expect(readdirSync(to)).toHaveLength(count - 1)
  for (const client of clients) client.destroy()
})
