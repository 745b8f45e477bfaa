/** Guarantees 16 and 18: starting, and accepting whatever comes. */

import net from 'node:net'
import { type Connection, createServer } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { load, random } from '../helpers/load.js'
import { frame } from '../helpers/packets.js'
import { HOST } from '../helpers/ports.js'
import { openSocket } from '../helpers/raw_client.js'
import { counter, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'
import { many } from './support.js'

/** What a peer is sent next. */
function answered(socket: net.Socket): Promise<Buffer> {
  return new Promise((resolve) => {
    socket.once('data', resolve)
  })
}

/** Whether a port takes connections. */
function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, HOST)
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => {
      resolve(false)
    })
  })
}

/** Whether a port takes no connections. A program beside this one may have been given it, for a moment. */
async function isClosed(port: number): Promise<boolean> {
  for (let attempt = 0; attempt < 40; attempt++) {
    if (!(await isOpen(port))) return true
    await pause(100)
  }
  return false
}

describe('guarantee 16: a start succeeds as a whole or leaves nothing behind', () => {
  test('a port that is in use, 50 times; then another port', async () => {
    const holder = await startServer()
    const server = createServer({ ioThreads: 8 })
    onTestFinished(async () => {
      await server.close({ deadline: 0 })
    })
    for (let attempt = 0; attempt < 50; attempt++) {
      const error = await server.listen(holder.port, HOST).then(
        () => undefined,
        (thrown: unknown) => thrown
      )
      expect(error).toMatchObject({ code: 'EADDRINUSE', syscall: 'bind', address: HOST, port: holder.port })
      expect(server.listening).toBe(false)
      expect(server.address()).toBeNull()
      expect(server.stats()).toBeUndefined()
      expect(server.connections.size).toBe(0)
    }
    const { port } = await server.listen(0, HOST)
    expect(await isOpen(port)).toBe(true)
    expect(holder.server.listening).toBe(true)
    expect(await isOpen(holder.port)).toBe(true)
  })

  test.each([
    { what: 'an address of another machine', host: '192.0.2.1', code: 'EADDRNOTAVAIL' },
    { what: 'a name that does not exist', host: 'no.such.name.invalid', code: 'ENOTFOUND' }
  ])('$what', async ({ host, code }) => {
    const server = createServer({ ioThreads: 4 })
    for (let attempt = 0; attempt < 5; attempt++) {
      await expect(server.listen({ port: 0, host })).rejects.toMatchObject({ code })
      expect([server.listening, server.address(), server.stats()]).toEqual([false, null, undefined])
    }
    expect(await server.close()).toEqual({ drained: 0, cut: 0 })
  })

  test('starting a second time is an error and disturbs nothing', async () => {
    const { server, port } = await startServer()
    server.on('packet', (packet, connection) => {
      connection.send(packet)
    })
    const socket = await openSocket(port)
    await until('it is connected', () => server.connections.size === 1)
    const before = server.stats()?.connections
    const id = [...server.connections][0]?.id
    for (const again of [() => server.listen(0, HOST), () => server.listen(port, HOST), () => server.listen({})]) {
      expect(again).toThrow(expect.objectContaining({ code: 'ERR_SERVER_ALREADY_LISTEN' }))
    }
    expect(server.stats()?.connections).toEqual(before)
    expect(server.address()?.port).toBe(port)
    expect(id !== undefined && server.connections.has(id)).toBe(true)
    const answer = answered(socket)
    socket.write(frame(Buffer.from('still')))
    expect((await answer).subarray(4).toString()).toBe('still')
  })

  test('listen, close and listen at every moment: whatever wins, the state is whole', async () => {
    const draw = random(4)
    const server = createServer({ ioThreads: 2 })
    const accepted: Connection[] = []
    server.on('connection', (connection) => accepted.push(connection))
    for (let round = 0; round < load(25, 1000); round++) {
      const listened = server.listen(0, HOST).then(
        ({ port }) => port,
        (error: unknown) => {
          expect(error).toMatchObject({ code: 'ERR_IOCP_CLOSING' })
          return undefined
        }
      )
      for (let ticks = draw(6); ticks > 0; ticks--) await Promise.resolve()
      if (draw(3) === 0) await new Promise(setImmediate)
      const closed = server.close({ deadline: 0 })
      expect(() => server.listen(0, HOST)).toThrow()
      const port = await listened
      await closed
      expect(server.listening).toBe(false)
      expect(server.stats()).toBeUndefined()
      if (port !== undefined) expect(await isClosed(port)).toBe(true)
    }
    const { port } = await server.listen(0, HOST)
    await openSocket(port)
    await until('it works', () => accepted.length > 0)
    await server.close({ deadline: 0 })
    expect(accepted.every((connection) => connection.state === 'closed')).toBe(true)
  })

  test('a server that starts again counts anew, on the same port', async () => {
    const server = createServer({ ioThreads: 2 })
    let port = 0
    const totals: (number | undefined)[] = []
    for (let start = 0; start < 5; start++) {
      ;({ port } = await server.listen(port, HOST))
      await many(start + 1, () => openSocket(port))
      await until('all are accepted', () => server.stats()?.connections.now === start + 1)
      totals.push(server.stats()?.connections.total)
      await server.close({ deadline: 0 })
      expect(await isClosed(port)).toBe(true)
    }
    expect(totals).toEqual([1, 2, 3, 4, 5])
  })
})

describe('guarantee 18: accepting survives whatever the peers do', () => {
  test('hundreds of peers that reset at once', async () => {
    const { server, port } = await startServer({ ioThreads: 4, pendingAccepts: 8 })
    const errors: Error[] = []
    server.on('acceptError', (error) => errors.push(error))
    server.on('packet', (packet, connection) => {
      connection.send(packet)
    })
    const draw = random(8)
    let resets = 0
    for (let round = 0; round < load(6, 200); round++) {
      await many(
        100,
        () =>
          new Promise<void>((resolve) => {
            const socket = net.connect({ port, host: HOST })
            socket.on('error', () => undefined)
            socket.on('close', () => {
              resets++
              resolve()
            })
            const reset = (): void => void socket.resetAndDestroy()
            const when = draw(3)
            if (when === 0) socket.on('connect', reset)
            else if (when === 1) setImmediate(reset)
            else setTimeout(reset, draw(5))
          }),
        100
      )
      // In the middle of it somebody is served.
      const socket = await openSocket(port)
      const answer = answered(socket)
      socket.write(frame(Buffer.from('here')))
      expect((await answer).subarray(4).toString()).toBe('here')
      socket.destroy()
    }
    expect(resets).toBe(load(600, 20_000))
    expect(errors).toEqual([])
    expect(server.listening).toBe(true)
    await until('all of them are gone', () => server.connections.size === 0)
    const listener = server.stats()?.listeners[0]
    // Every accept is back in the kernel.
    await until('all accepts wait', () => {
      const now = server.stats()?.listeners[0]
      return now?.pendingAccepts === now?.acceptPool
    })
    expect(listener?.acceptPool).toBeGreaterThanOrEqual(8)
    expect(server.stats()?.pools.contexts.inUse).toBe(0)
  })

  test('a burst runs the pool dry: it grows, and nobody is refused', async () => {
    const { server, port } = await startServer({ pendingAccepts: 1, ioThreads: 1 })
    const sockets = await many(400, () => openSocket(port), 400)
    await until('all are accepted', () => server.connections.size === sockets.length)
    expect(counter(server, 'acceptDry')).toBeGreaterThan(0)
    expect(server.stats()?.listeners[0]?.acceptPool).toBeGreaterThan(1)
    expect(server.stats()?.connections).toMatchObject({ now: 400, peak: 400, total: 400 })
  })

  test('peers above the limit are reset before JavaScript hears of them, and places become free again', async () => {
    const { server, port } = await startServer({ maxConnections: 50 })
    let told = 0
    server.on('connection', () => told++)
    for (let round = 0; round < 5; round++) {
      const sockets = await many(80, () => openSocket(port), 80)
      let gone = 0
      for (const socket of sockets) socket.on('close', () => gone++).resume()
      await until('those above are reset', () => gone === 30)
      await until('JavaScript knows of the others', () => server.connections.size === 50)
      for (const socket of sockets) socket.destroy()
      await until('the places are free', () => server.connections.size === 0)
    }
    expect(told).toBe(250)
    expect(counter(server, 'refused')).toBe(150)
    expect(server.stats()?.connections.peak).toBe(50)
  })
})
