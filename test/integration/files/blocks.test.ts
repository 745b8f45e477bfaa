/** How large the pieces are in which a file is read and sent: large ones for a peer that takes them quickly. */

import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type Connection, framing, type Server } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { acceptNext, folders, KIB, makeFile, MIB, pair, sha256, typed } from '../../helpers/files.js'
import { until } from '../../helpers/time.js'

const transfer = { method: 'read' as const }

interface Ends {
  client: Connection
  server: Connection
  endpoint: Server
}

interface Plan {
  path: string
  target: string
  size: number
  chunk?: number
  bytesPerSecond?: number
}

function writesOf(endpoint: Server): number {
  return endpoint.stats()?.counters.sendCalls ?? NaN
}

/** Has the client take a raw file of the server; how often the server wrote meanwhile. */
async function writesFor({ client, server, endpoint }: Ends, plan: Plan, onReady?: () => void): Promise<number> {
  const { path, target, size, ...options } = plan
  let received: Promise<unknown> = Promise.resolve()
  await new Promise<void>((resolve, reject) => {
    received = client.receiveFile({ path: target, bytes: size, onReady: resolve })
    received.catch(reject)
  })
  onReady?.()
  const before = writesOf(endpoint)
  await server.sendFile(path, { mode: 'raw', ...options })
  await received
  expect(await sha256(target)).toBe(await sha256(path))
  return writesOf(endpoint) - before
}

describe('a file that is read and sent', () => {
  test('goes in large pieces when it is raw and the peer takes them quickly, and never in larger ones than asked for', async () => {
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

  test('goes in small pieces when it is framed: the size of a packet is no matter of speed', async () => {
    const { from, to } = folders()
    const both = await pair({ framing: framing.lengthField({ typeByte: true, maxPacket: MIB }), transfer })
    const size = 8 * MIB
    const before = writesOf(both.endpoint)
    const received = acceptNext(both.client, { directory: to })
    await both.server.sendFile(makeFile(from, size), { chunk: 512 * KIB, verify: false })
    expect((await received).bytes).toBe(size)
    expect(writesOf(both.endpoint) - before).toBeGreaterThanOrEqual(size / (64 * KIB))
  })

  test('goes in small pieces when it is held back', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer })
    const size = 3 * MIB
    const path = makeFile(from, size)
    const plan = { path, target: join(to, 'paced'), size, bytesPerSecond: 1.5 * MIB }
    expect(await writesFor(both, plan)).toBeGreaterThanOrEqual(size / (64 * KIB))
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

  test('is right with 80 at once', { timeout: 60_000 }, async () => {
    const { from, to } = folders()
    const both = await pair({ transfer })
    const size = 3 * MIB
    const path = makeFile(from, size)
    const connections = new Map<number, Connection>(
      [...both.endpoint.connections].map((one) => [one.remotePort ?? 0, one])
    )
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
