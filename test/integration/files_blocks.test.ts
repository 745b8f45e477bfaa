/** How large the pieces are in which a file is read and sent: large ones for a peer that takes them quickly. */

import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type Connection, type Server } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { KIB, MIB, folders, makeFile, pair, sha256, typed, until } from '../helpers/files.js'

const transfer = { method: 'read' as const }

/** Has the client take a raw file of the server; how often the server wrote meanwhile. */
async function writesFor(
  { client, server, endpoint }: { client: Connection; server: Connection; endpoint: Server },
  { path, target, size, chunk }: { path: string; target: string; size: number; chunk?: number },
  onReady: () => void = () => undefined
): Promise<number> {
  const writes = (): number => endpoint.stats()?.counters.sendCalls ?? NaN
  let received: Promise<unknown> = Promise.resolve()
  await new Promise<void>((resolve, reject) => {
    received = client.receiveFile({ path: target, bytes: size, onReady: resolve })
    received.catch(reject)
  })
  onReady()
  const before = writes()
  await server.sendFile(path, { mode: 'raw', ...(chunk !== undefined && { chunk }) })
  await received
  expect(await sha256(target)).toBe(await sha256(path))
  return writes() - before
}

describe('a raw file that is read and sent', () => {
  test('goes in large pieces when the peer takes them quickly, and never in larger ones than asked for', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer })
    const size = 32 * MIB + 1
    const path = join(from, 'large')
    writeFileSync(path, Buffer.alloc(size, randomBytes(1_000_003)))
    const target = join(to, 'large')
    const small = size / (64 * KIB)
    expect(await writesFor(both, { path, target, size, chunk: 64 * KIB })).toBeGreaterThan(small)
    // 16 small ones and 125 large ones, if nothing keeps the peer from taking them quickly: a busy machine may.
    let large = Infinity
    for (let i = 0; i < 3 && large > (small * 3) / 4; i++) {
      large = Math.min(large, await writesFor(both, { path, target: `${target} ${i}`, size }))
      expect(large).toBeGreaterThan(small / 4)
    }
    expect(large).toBeLessThan((small * 3) / 4)
  })

  test('goes in small pieces when the peer is slow', { timeout: 60_000 }, async () => {
    const { from, to } = folders()
    const both = await pair({ transfer, sendBuffer: 64 * KIB }, { transfer: {}, receiveBuffer: 64 * KIB })
    const size = 2 * MIB
    // What has come meanwhile, about 128 KiB each time.
    const timer = setInterval(() => {
      both.client.resume()
      setTimeout(() => {
        both.client.pause()
      }, 1)
    }, 250)
    onTestFinished(() => {
      clearInterval(timer)
    })
    const plan = { path: makeFile(from, size), target: join(to, 'slow'), size }
    const writes = writesFor(both, plan, () => {
      both.client.pause()
    })
    expect(await writes).toBeGreaterThanOrEqual(size / (64 * KIB))
  })

  test('is right for so many at once that not all get large pieces', { timeout: 60_000 }, async () => {
    const { from, to } = folders()
    const both = await pair({ transfer })
    const size = 3 * MIB
    const path = makeFile(from, size)
    const connections = new Map<number, Connection>([...both.endpoint.connections].map((one) => [one.remotePort ?? 0, one]))
    both.endpoint.on('connection', (one) => connections.set(one.remotePort ?? 0, one))
    const clients = [both.client]
    for (let i = 1; i < 80; i++) {
      clients.push(await connect({ host: '127.0.0.1', port: both.port, framing: typed, transfer: {} }))
    }
    onTestFinished(() => {
      for (const client of clients) client.destroy()
    })
    await until('all are there', () => connections.size === clients.length)
    await Promise.all(
      clients.map(async (client, i) => {
        const server = connections.get(client.localPort ?? 0)
        if (server === undefined) throw new Error('no connection')
        await writesFor({ client, server, endpoint: both.endpoint }, { path, target: join(to, String(i)), size })
      })
    )
  })
})
