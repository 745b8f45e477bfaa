/**
 * The thread that accepts conditionally, where the system does not know SO_CONDITIONAL_ACCEPT too: the call is only
 * pretended. WSAAccept asks its condition function all the same, behind the handshake.
 */

import { connect, type Socket } from 'node:net'
import { createServer, type Server, type ServerOptions } from 'iocp'
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Faults, faultsOfLibrary, hasFaults, win } from '../helpers/faults.js'
import { load, random } from '../helpers/load.js'
import { HOST } from '../helpers/ports.js'
import { runProgram } from '../helpers/programs.js'
import { closeAfterTest, counter } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'

vi.setConfig({ testTimeout: 90_000 })

const faults = faultsOfLibrary() as Faults

interface Peer {
  readonly socket: Socket
  isIn: boolean
  isOver: boolean
}

function come(port: number, from = HOST): Peer {
  const socket = connect({ host: HOST, port, localAddress: from })
  const peer = { socket, isIn: false, isOver: false }
  onTestFinished(() => {
    socket.destroy()
  })
  socket.on('error', () => undefined)
  socket.once('data', () => {
    peer.isIn = true
  })
  socket.on('close', () => {
    peer.isOver = true
  })
  socket.write(Buffer.of(0, 0, 0, 1, 120))
  return peer
}

async function arrive(port: number, from?: string): Promise<Peer> {
  const peer = come(port, from)
  await until('it is answered, or refused', () => peer.isIn || peer.isOver)
  return peer
}

async function start(options: ServerOptions = {}): Promise<{ server: Server; port: number }> {
  const server = createServer({ ioThreads: 2, admission: 'conditional', ...options })
  closeAfterTest(server)
  server.on('packet', (packet, connection) => connection.send(packet))
  const { port } = await server.listen({ port: 0, host: HOST })
  expect(server.stats()?.listeners[0]).toEqual({ pendingAccepts: 0, acceptPool: 0, admission: 'conditional' })
  return { server, port }
}

describe.skipIf(!hasFaults)('conditional admission', () => {
  beforeEach(() => {
    faults.set('conditional', { pretend: true })
  })

  test('asks the rules, tells of those who are refused, and counts until they have gone', async () => {
    const { server, port } = await start({
      access: { deny: ['127.0.0.2'], allow: ['127.0.0.9'], maxPerAddress: 2, maxPerSubnet: { count: 3, v4: 30 } }
    })
    let told = 0
    server.on('refused', ({ total }) => (told += total))
    const open = [await arrive(port, '127.0.1.1'), await arrive(port, '127.0.1.1')]
    expect((await arrive(port, '127.0.1.1')).isIn).toBe(false)
    open.push(await arrive(port, '127.0.1.2'))
    expect((await arrive(port, '127.0.1.2')).isIn).toBe(false)
    expect((await arrive(port, '127.0.0.2')).isIn).toBe(false)
    open.push(await arrive(port, '127.0.0.9'))
    expect(open.map(({ isIn }) => isIn)).toEqual([true, true, true, true])
    const { refused } = server.stats()?.access ?? {}
    for (const reason of ['denied', 'maxPerAddress', 'maxPerSubnet'] as const) {
      expect(refused?.[reason]).toBeGreaterThanOrEqual(1)
    }
    await until('all are told', () => told === counter(server, 'refused'))
    for (const { socket } of open) socket.destroy()
    await until('none counts any more', () => server.stats()?.access?.connections === 0)
    expect(server.stats()?.access).toMatchObject({ addresses: 0, subnets: 0 })
  })

  test('200 peers at once, with maxConnections: as many come in, and places become free again', async () => {
    const { server, port } = await start({ maxConnections: 50 })
    for (let round = 0; round < 2; round++) {
      const peers = Array.from({ length: 100 }, () => come(port))
      await until('each is in or refused', () => peers.every(({ isIn, isOver }) => isIn || isOver))
      expect(peers.filter(({ isIn }) => isIn).length).toBe(50)
      expect(server.stats()?.connections.peak).toBe(50)
      for (const { socket } of peers) socket.destroy()
      await until('all have gone', () => server.stats()?.connections.now === 0)
    }
    expect(counter(server, 'refused')).toBeGreaterThanOrEqual(100)
  })

  test("with onMax: 'stop-accepting' peers wait until there is room", async () => {
    const { server, port } = await start({ maxConnections: 1, onMax: 'stop-accepting' })
    let last = await arrive(port)
    const waiting = [come(port), come(port), come(port)]
    await pause(200)
    expect(waiting.some(({ isIn, isOver }) => isIn || isOver)).toBe(false)
    for (let count = 1; count <= waiting.length; count++) {
      last.socket.destroy()
      await until('the next one is in', () => waiting.filter(({ isIn }) => isIn).length === count)
      last = waiting.find(({ isIn, socket }) => isIn && !socket.destroyed) as Peer
    }
    expect(counter(server, 'refused')).toBe(0)
    expect(server.stats()?.connections.peak).toBe(1)
  })

  test('a shortage is told, with pauses that grow, and then it goes on; peers that left are not told', async () => {
    const { server, port } = await start()
    const errors: (Error & { winCode?: number })[] = []
    server.on('acceptError', (error) => errors.push(error))
    faults.set('conditional_accept', { error: win.reset, count: 20 })
    expect((await arrive(port)).isIn).toBe(true)
    expect(faults.hits('conditional_accept')).toBe(20)
    expect(errors).toEqual([])
    faults.set('conditional_accept', { error: win.noBuffers })
    const peer = come(port)
    await pause(1200)
    expect(errors.length).toBeGreaterThanOrEqual(2)
    expect(errors.length).toBeLessThanOrEqual(6)
    expect(new Set(errors.map(({ winCode }) => winCode))).toEqual(new Set([win.noBuffers]))
    expect(faults.hits('conditional_accept')).toBe(errors.length)
    faults.set('conditional_accept', { error: win.noBuffers, count: 1 })
    await until('it is in', () => peer.isIn)
  })

  test('a thread that sleeps costs no calls', async () => {
    const { port } = await start()
    expect((await arrive(port)).isIn).toBe(true)
    faults.set('conditional_accept', { error: win.wouldBlock })
    await pause(500)
    // It looks once a second.
    expect(faults.hits('conditional_accept')).toBeLessThanOrEqual(2)
  })

  test('a server closes at any moment while peers come, and listens again', async () => {
    const { server, port } = await start({ access: { deny: ['127.0.0.2'] } })
    const chance = random(3)
    for (let round = 0; round < load(15, 500); round++) {
      const peers = Array.from({ length: 20 }, (_, at) => come(port, at % 3 === 0 ? '127.0.0.2' : HOST))
      await pause(chance(40))
      await server.close({ deadline: chance(2) === 0 ? 0 : 500 })
      expect(server.stats()).toBeUndefined()
      for (const { socket } of peers) socket.destroy()
      await server.listen({ port, host: HOST })
    }
    expect((await arrive(port)).isIn).toBe(true)
  })

  test.each(['exit', 'worker'])('the process goes while the thread accepts (%s)', async (how) => {
    const ended = await runProgram('conditional.mjs', how)
    expect(ended).toEqual({ code: how === 'exit' ? 7 : 0, out: `accepting, ${how}\n`, error: '' })
  })

  test('a listener that cannot have its event does not listen, and leaves nothing', async () => {
    const server = createServer({ admission: 'conditional' })
    closeAfterTest(server)
    faults.set('listen', { error: win.addressInUse, count: 1 })
    await expect(server.listen({ port: 0, host: HOST })).rejects.toMatchObject({ code: 'EADDRINUSE' })
    await server.listen({ port: 0, host: HOST })
  })
})
