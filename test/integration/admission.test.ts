/** How many may be connected at a time, and what becomes of those above; refusing before the handshake. */

import { connect, type Socket } from 'node:net'
import { createServer, type RefusedInfo, type Server, type ServerOptions } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { load, random } from '../helpers/load.js'
import { HOST } from '../helpers/ports.js'
import { closeAfterTest, counter, first, nextConnection, startEcho } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'

const PACKET = Buffer.of(0, 0, 0, 1, 120)

interface Peer {
  readonly socket: Socket
  /** What it has seen so far, in sequence. */
  readonly seen: string[]
}

/** A peer that sends a packet as soon as it is connected. */
function come(port: number, from = HOST): Peer {
  const socket = connect({ host: HOST, port, localAddress: from })
  onTestFinished(() => {
    socket.destroy()
  })
  const seen: string[] = []
  socket.on('connect', () => seen.push('connect'))
  socket.once('data', () => seen.push('answer'))
  socket.on('end', () => seen.push('end'))
  socket.on('error', (error: NodeJS.ErrnoException) => seen.push(error.code ?? error.message))
  socket.on('close', () => seen.push('close'))
  socket.write(PACKET)
  return { socket, seen }
}

const isIn = ({ seen }: Peer): boolean => seen.includes('answer')
const isOver = ({ seen }: Peer): boolean => seen.includes('close')

async function comeIn(port: number, from?: string): Promise<Peer> {
  const peer = come(port, from)
  await until('it is answered, or refused', () => isIn(peer) || isOver(peer))
  expect(peer.seen).toContain('answer')
  return peer
}

const pendingAccepts = (server: Server): number | undefined => server.stats()?.listeners[0]?.pendingAccepts

/**
 * What a silent peer finds that is refused: what it sends would be reset in any case, since nobody reads it. Wine ends a
 * connection before it resets it, and shows the reset only to who writes then.
 */
async function refusal(port: number, from = HOST): Promise<'reset' | 'end'> {
  const socket = connect({ host: HOST, port, localAddress: from, allowHalfOpen: true }).resume()
  onTestFinished(() => {
    socket.destroy()
  })
  const seen = new Set<string>()
  socket.on('error', () => seen.add('error')).on('end', () => seen.add('end'))
  await until('it is refused', () => seen.size > 0)
  await pause(50)
  await new Promise((resolve) => {
    socket.write('x', resolve)
  })
  return seen.has('error') ? 'reset' : 'end'
}

describe('onMax', () => {
  test.each([
    [{}, 'reset', 'reset'],
    [{ onMax: 'reset', access: { onRefuse: 'close' } }, 'reset', 'end'],
    [{ onMax: 'close' }, 'end', 'reset'],
    [{ onMax: 'close', access: { onRefuse: 'close' } }, 'end', 'end']
  ] as [ServerOptions, string, string][])(
    '%j: those above the limit see a %s, and others that are refused a %s',
    async (options, atLimit, otherwise) => {
      const { server, port } = await startEcho({ ...options, maxConnections: 1 })
      server.access.ban('127.0.0.2')
      await comeIn(port)
      expect(await refusal(port)).toBe(atLimit)
      expect(await refusal(port, '127.0.0.2')).toBe(otherwise)
      expect(server.stats()?.access?.refused).toMatchObject({ maxConnections: 1, banned: 1 })
    }
  )

  test('the program is told of those above the limit, without any other rules', async () => {
    const { server, port } = await startEcho({ maxConnections: 1 })
    const told = first<RefusedInfo>(server, 'refused')
    await comeIn(port)
    await refusal(port)
    expect(await told).toEqual({ total: 1, reasons: { maxConnections: 1 } })
  })

  describe('stop-accepting', () => {
    const start = (options: ServerOptions) => startEcho({ onMax: 'stop-accepting', ...options })

    test('peers above the limit wait, and are admitted in their sequence when others have closed', async () => {
      const { server, port } = await start({ maxConnections: 2 })
      const open = [await comeIn(port), await comeIn(port)]
      const waiting: Peer[] = []
      for (let count = 0; count < 4; count++) {
        const peer = come(port)
        await until('it is in the backlog', () => peer.seen.includes('connect'))
        waiting.push(peer)
      }
      await pause(200)
      expect(waiting.map(({ seen }) => seen)).toEqual(Array.from({ length: 4 }, () => ['connect']))
      expect(pendingAccepts(server)).toBe(0)
      for (const next of waiting) {
        open.shift()?.socket.destroy()
        await until('the next one is in', () => isIn(next))
        expect(waiting.filter(isIn).at(-1)).toBe(next)
        open.push(next)
        expect(server.stats()?.connections.peak).toBe(2)
      }
      expect(counter(server, 'refused')).toBe(0)
      expect(counter(server, 'acceptDry')).toBe(0)
      for (const { socket } of open) socket.destroy()
      await until('it accepts two again', () => pendingAccepts(server) === 2)
    })

    test('one that leaves meanwhile takes no place', async () => {
      const { server, port } = await start({ maxConnections: 1 })
      const first = await comeIn(port)
      const [leaves, ends, stays] = [come(port), come(port), come(port)]
      await until('all wait', () => [leaves, ends, stays].every(({ seen }) => seen.includes('connect')))
      leaves.socket.resetAndDestroy()
      ends.socket.end()
      first.socket.destroy()
      await until('the last one is in', () => isIn(stays))
      expect(server.connections.size).toBe(1)
      stays.socket.destroy()
      await comeIn(port)
    })

    test('rules are asked when there is room; who is refused leaves it to the next one', async () => {
      const { server, port } = await start({ maxConnections: 1, access: { maxPerAddress: 1 } })
      const first = await comeIn(port)
      const denied = come(port, '127.0.0.2')
      await until('it waits', () => denied.seen.includes('connect'))
      const next = come(port, '127.0.0.3')
      await until('it waits', () => next.seen.includes('connect'))
      server.access.ban('127.0.0.2')
      await pause(100)
      expect(denied.seen).toEqual(['connect'])
      first.socket.destroy()
      await until('the next one is in', () => isIn(next))
      expect(denied.seen).toContain('ECONNRESET')
      expect(server.stats()?.access?.refused).toMatchObject({ banned: 1, maxConnections: 0 })
    })

    test('who has come at a legal rate is not refused for having waited, nor for those who have left', async () => {
      const { server, port } = await start({
        maxConnections: 1,
        access: { connectRate: { count: 5, burst: 5 }, banOn: { connectRate: { count: 3, within: '1m' } } }
      })
      const first = await comeIn(port)
      for (let count = 0; count < 12; count++) {
        const { socket } = come(port, '127.0.0.2')
        await pause(250)
        socket.destroy()
      }
      const stays = come(port, '127.0.0.2')
      await until('it waits', () => stays.seen.includes('connect'))
      first.socket.destroy()
      await until('it is in', () => isIn(stays) || isOver(stays))
      expect(stays.seen).toContain('answer')
      expect(server.access.bans()).toEqual([])
    })

    test('the rate judges who comes while there are places, however few', async () => {
      const { server, port } = await start({ maxConnections: 20, access: { connectRate: { count: 5, burst: 5 } } })
      let refused = 0
      for (let count = 0; count < 20; count++) {
        const peer = come(port)
        await until('it is answered, or refused', () => isIn(peer) || isOver(peer))
        if (!isIn(peer)) refused++
        peer.socket.destroy()
        await until('it has gone', () => server.connections.size === 0)
      }
      expect(refused).toBeGreaterThan(5)
    })

    test('the server closes while peers wait, and listens again', async () => {
      const { server, port } = await start({ maxConnections: 1 })
      await comeIn(port)
      const waiting = [come(port), come(port)]
      await until('they wait', () => waiting.every(({ seen }) => seen.includes('connect')))
      await server.close({ deadline: 0 })
      await until('they are gone', () => waiting.every(isOver))
      await server.listen({ port, host: HOST })
      await comeIn(port)
    })

    test(
      'a storm of peers: never more than the limit, nobody refused, and all places come back',
      { timeout: 120_000 },
      async () => {
        const { server, port } = await start({ maxConnections: 5, pendingAccepts: 16, ioThreads: 4 })
        const chance = random(7)
        const peers = Array.from({ length: load(300, 5000) }, () => come(port))
        for (const peer of peers) {
          peer.socket.once('data', () => {
            const how = chance(3)
            if (how === 0) peer.socket.destroy()
            else if (how === 1) peer.socket.resetAndDestroy()
            else peer.socket.end()
          })
        }
        await until('each has been answered and has left', () => peers.every(isOver), 100_000)
        expect(peers.filter((peer) => !isIn(peer))).toEqual([])
        expect(server.stats()?.connections.peak).toBeLessThanOrEqual(5)
        expect(counter(server, 'refused')).toBe(0)
        expect(server.stats()?.listeners[0]?.acceptPool).toBe(5)
        await until('it accepts five again', () => pendingAccepts(server) === 5)
      }
    )
  })
})

describe("admission: 'conditional'", () => {
  test('refuses as rules say; where the system lacks it, a warning says so', async () => {
    const warnings: (Error & { code?: string })[] = []
    const note = (warning: Error): void => void warnings.push(warning)
    process.on('warning', note)
    onTestFinished(() => void process.off('warning', note))
    const server = createServer({ admission: 'conditional', access: { deny: ['127.0.0.2'], maxPerAddress: 2 } })
    closeAfterTest(server)
    server.on('packet', (packet, connection) => connection.send(packet))
    const { port } = await server.listen({ port: 0, host: HOST })
    await pause(50)
    const isConditional = server.stats()?.listeners[0]?.admission === 'conditional'
    expect(warnings.map(({ name, code }) => ({ name, code }))).toEqual(
      isConditional ? [] : [{ name: 'IocpWarning', code: 'IOCP_NO_CONDITIONAL_ACCEPT' }]
    )
    const accepted = nextConnection(server)
    await comeIn(port)
    expect((await accepted).localPort).toBe(port)
    await comeIn(port)
    const refused = [come(port), come(port, '127.0.0.2')]
    await until('both are refused', () => refused.every(isOver))
    // Before the handshake there is no connection.
    if (isConditional) for (const { seen } of refused) expect(seen).toEqual(['ECONNREFUSED', 'close'])
    else for (const { seen } of refused) expect(seen).toContain('ECONNRESET')
    const { maxPerAddress, denied } = server.stats()?.access?.refused ?? {}
    // A system may try more than once.
    expect(maxPerAddress).toBeGreaterThanOrEqual(1)
    expect(denied).toBeGreaterThanOrEqual(1)
    expect(server.connections.size).toBe(2)
  })

  test('without it there is no warning', async () => {
    const { server } = await startEcho()
    expect(server.stats()?.listeners[0]?.admission).toBe('accepted')
  })
})
