/** Guarantee 21: connecting, with names, both families, limits of time and new attempts. */

import net from 'node:net'
import { networkInterfaces } from 'node:os'
import { type Connection, createServer, IocpError, type RetryInfo, type Server } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { load, random } from '../helpers/load.js'
import { freePort, HOST } from '../helpers/ports.js'
import { closeAfterTest, counter, startClient, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'
import { many } from './support.js'

const hasIPv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'))
/** RFC 5737: nobody has this address. */
const NOWHERE = '192.0.2.1'

/** A port where nobody listens; TCPMUX was never in use. A free port of the upper range may be somebody's a moment later. */
const CLOSED = 1

/**
 * A server at ::1, at a port at whose IPv4 address nobody listens: one below those that systems give out. A port that
 * is free in one family may at any moment be somebody's in the other.
 */
async function serveOnlySix(): Promise<{ server: Server; port: number }> {
  const server = createServer({ ioThreads: 2 })
  closeAfterTest(server)
  for (;;) {
    try {
      return {
        server,
        port: (await server.listen({ port: 20_000 + Math.floor(Math.random() * 10_000), host: '::1' })).port
      }
    } catch (error) {
      if (!(error instanceof IocpError) || error.code !== 'EADDRINUSE') throw error
    }
  }
}

const unused = (): void => undefined

async function failure(attempt: Promise<unknown>): Promise<IocpError> {
  const error: unknown = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown
  )
  if (!(error instanceof IocpError)) throw new Error(`not an IocpError: ${String(error)}`)
  return error
}

describe('guarantee 21: connecting does not block, and knows names, IPv6, limits of time and back-off', () => {
  test('the event loop goes on while 200 connections are made', async () => {
    const { server, port } = await startServer()
    const mine = startClient({ ioThreads: 1 })
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    onTestFinished(() => {
      clearInterval(timer)
    })
    const before = performance.now()
    const attempts = Array.from({ length: 200 }, () => mine.connect({ port, host: HOST }))
    // Beginning them all took no time to speak of: none was waited for.
    expect(mine.connections.size).toBe(0)
    const began = performance.now() - before
    const connections = await Promise.all(attempts)
    expect(turns).toBeGreaterThan(0)
    expect(began).toBeLessThan(5000)
    expect(new Set(connections.map(({ id }) => id)).size).toBe(200)
    expect(mine.connections.size).toBe(200)
    // All of them on one completion port.
    expect(mine.stats()?.connections).toMatchObject({ now: 200, total: 200 })
    expect(mine.stats()?.pendingObjects).toBe(201)
    await until('the server has them all', () => server.connections.size === 200)
  })

  test('a name with addresses of both families: whichever answers', async () => {
    const { server, port } = hasIPv6 ? await serveOnlySix() : await startServer({}, HOST)
    const families: (string | undefined)[] = []
    server.on('connection', (connection) => families.push(connection.remoteFamily))
    const asked: string[] = []
    const lookup = (host: string) => {
      asked.push(host)
      return Promise.resolve([
        { address: HOST, family: 4 },
        { address: '::1', family: 6 }
      ])
    }
    const connection = await startClient().connect({ port, host: 'two.families.test', lookup })
    expect(asked).toEqual(['two.families.test'])
    expect(connection.remoteFamily).toBe(hasIPv6 ? 'IPv6' : 'IPv4')
    await until('the server has it', () => families.length === 1)
    if (hasIPv6) {
      // Only the family is wanted at whose address nobody listens.
      await expect(startClient().connect({ port, host: 'two.families.test', lookup, family: 4 })).rejects.toThrow(
        'ECONNREFUSED'
      )
    }
  })

  test.runIf(hasIPv6)('IPv6 by address; a server at :: serves both families', async () => {
    const { server, port } = await startServer({}, '::')
    const six = await startClient().connect({ port, host: '::1' })
    const four = await startClient().connect({ port, host: HOST })
    await until('both are there', () => server.connections.size === 2)
    expect([six.remoteAddress, six.localAddress, six.remoteFamily]).toEqual(['::1', '::1', 'IPv6'])
    expect([four.remoteAddress, four.remoteFamily]).toEqual([HOST, 'IPv4'])
    // On the server's side an IPv4 peer of an IPv6 socket is an IPv4 peer.
    expect([...server.connections].map(({ remoteAddress }) => remoteAddress).sort()).toEqual([HOST, '::1'])
  })

  test.runIf(hasIPv6)(
    'options of sockets are wishes: a server at :: that wants all of them serves both families',
    async () => {
      const keepAlive = { delay: 10_000, interval: 2000, count: 4 }
      const wishes = { keepAlive, receiveBuffer: 32_768, sendBuffer: 32_768, typeOfService: 8 }
      const { server, port } = await startServer(wishes, '::')
      server.on('packet', (packet, connection) => {
        connection.send(packet)
      })
      for (const host of ['::1', HOST]) {
        const connection = await startClient(wishes).connect({ port, host })
        connection.send(Buffer.from(host))
        for await (const packet of connection) {
          expect(String(packet)).toBe(host)
          break
        }
      }
      expect(counter(server, 'acceptFailures')).toBe(0)
    }
  )

  test('an address that does not answer: its time is up, or the next one is taken meanwhile', async () => {
    const { port } = await startServer()
    const error = await failure(startClient().connect({ port, host: NOWHERE, timeout: 300 }))
    // A machine without a way to it says so at once.
    expect(error.code).toMatch(/^(ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ECONNREFUSED)$/)
    expect(error.syscall).toBe('connect')
    expect(error.message).toContain(NOWHERE)

    const lookup = () =>
      Promise.resolve([
        { address: NOWHERE, family: 4 },
        { address: '192.0.2.2', family: 4 },
        { address: HOST, family: 4 }
      ])
    const connection = await startClient().connect({
      port,
      host: 'slow.test',
      lookup,
      attemptDelay: 30,
      timeout: 10_000
    })
    expect(connection.remoteAddress).toBe(HOST)
  })

  test('the limit of time is for everything, names included', async () => {
    const never = (): Promise<never> => new Promise(unused)
    const error = await failure(startClient().connect({ port: 1, host: 'never.test', timeout: 60, lookup: never }))
    expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect', port: 1 })
  })

  test('given up at every moment: one outcome, and nothing stays behind', async () => {
    const { server, port } = await startServer()
    const mine = startClient()
    const draw = random(6)
    const reason = new Error('no longer wanted')
    let connected = 0
    for (let round = 0; round < load(10, 500); round++) {
      await many(20, async () => {
        const controller = new AbortController()
        const attempt = mine.connect({ port, host: HOST, signal: controller.signal }).then(
          (connection) => {
            connected++
            return connection
          },
          (error: unknown) => {
            expect(error).toBe(reason)
            return undefined
          }
        )
        if (draw(2) === 0) await Promise.resolve()
        if (draw(2) === 0) await new Promise(setImmediate)
        if (draw(2) === 0) await pause(draw(100))
        controller.abort(reason)
        const connection = await attempt
        // Afterwards the signal has no effect any more.
        if (connection !== undefined) {
          expect(connection.state).toBe('open')
          connection.destroy()
        }
      })
    }
    expect(connected).toBeGreaterThan(0)
    await until('nothing is left', () => mine.stats()?.pendingObjects === 1 && server.connections.size === 0)
    expect(mine.connections.size).toBe(0)
    expect(mine.stats()?.pools.contexts.inUse).toBe(0)
  })

  test('from a local address and port; one that is taken says so', async () => {
    const { server, port } = await startServer()
    const localPort = await freePort()
    const remotePorts: (number | undefined)[] = []
    server.on('connection', (connection) => remotePorts.push(connection.remotePort))
    const options = { port, host: HOST, localAddress: HOST, localPort }
    const first = await startClient().connect(options)
    expect([first.localAddress, first.localPort]).toEqual([HOST, localPort])
    const error = await failure(startClient().connect(options))
    expect(error.code).toMatch(/^EADDRINUSE|EADDRNOTAVAIL$/)
    expect(error.winCode).toBeGreaterThan(0)
    await until('the server has seen it', () => remotePorts.length === 1)
    expect(remotePorts).toEqual([localPort])
  })

  test('a process is server and client at once, also of itself', async () => {
    const { server, port } = await startServer()
    const mine = startClient()
    // Each packet goes round through three connections of the same process.
    server.on('packet', (packet, connection) => {
      if (packet[0] === 0) {
        connection.send(packet)
        return
      }
      packet[0] = (packet[0] ?? 0) - 1
      void mine.connect({ port, host: HOST }).then((next) => {
        next.send(packet)
        next.once('packet', (answer) => {
          connection.send(answer)
          next.end()
        })
      })
    })
    const first = await mine.connect({ port, host: HOST })
    first.send(Buffer.from([3, 42]))
    const answer = await new Promise<Buffer>((resolve) => {
      first.once('packet', resolve)
    })
    expect([...answer]).toEqual([0, 42])
  })
})

describe('guarantee 21: a lost connection is made again, with pauses that grow', () => {
  test('the pauses double up to their limit, and after so many failures it is given up', async () => {
    const reconnect = { maxAttempts: 6, minDelay: 10, maxDelay: 60, factor: 2, jitter: 0 }
    const started = performance.now()
    const error = await failure(startClient().connect({ port: CLOSED, host: HOST, reconnect }))
    expect(error.code).toBe('ECONNREFUSED')
    // 10 + 20 + 40 + 60 + 60 milliseconds were waited for, at least.
    expect(performance.now() - started).toBeGreaterThan(180)
  })

  test('a server that goes and comes back, three times: each time a new connection with a new id', async () => {
    const server = createServer({ ioThreads: 1 })
    onTestFinished(async () => {
      await server.close({ deadline: 0 })
    })
    server.on('packet', (packet, connection) => connection.send(packet))
    const { port } = await server.listen(0, HOST)
    const reconnect = { minDelay: 10, maxDelay: 40, jitter: 0.5 }
    const steady = await startClient().connect({ port, host: HOST, reconnect })
    const ids = new Set<number>()
    const retries: RetryInfo[] = []
    const echoes: string[] = []
    steady.on('retry', (info) => retries.push(info))
    steady.on('packet', (packet) => echoes.push(packet.toString()))
    steady.on('connect', (connection: Connection) => ids.add(connection.id))
    if (steady.connection !== undefined) ids.add(steady.connection.id)
    for (let round = 0; round < 3; round++) {
      steady.send(`round ${round}`)
      await until('it answers', () => echoes.length === round + 1)
      for (const connection of server.connections) connection.reset()
      await until('it has come back', () => ids.size === 2 * round + 2 && steady.connected)
      await server.close({ deadline: 0 })
      await until('it is lost', () => !steady.connected)
      expect(steady.send('nobody is there')).toBe('closed')
      const failed = retries.length
      await until('it has tried in vain', () => retries.length > failed + 3)
      await server.listen(port, HOST)
      await until('it is back', () => ids.size === 2 * round + 3 && steady.connected)
    }
    // The first after a loss is short, later ones are longer, none is beyond the limit.
    for (const { failures, delay } of retries) {
      const longest = Math.min(40, 10 * 2 ** (failures - 1))
      expect(delay).toBeGreaterThanOrEqual(Math.floor(longest / 2))
      expect(delay).toBeLessThanOrEqual(longest)
    }
    expect(retries.some(({ error }) => error?.message.includes('ECONNREFUSED') === true)).toBe(true)
    steady.end()
    expect(await steady.closed).toBeUndefined()
    const count = retries.length
    await pause(100)
    expect(retries.length).toBe(count)
  })

  test('chance spreads those who lost their server together', async () => {
    const { server, port } = await startServer()
    const mine = startClient()
    const reconnect = { minDelay: 300, jitter: 1 }
    const all = await many(40, () => mine.connect({ port, host: HOST, reconnect }))
    const delays: number[] = []
    for (const one of all) one.on('retry', ({ delay }) => delays.push(delay))
    await until('all are there', () => server.connections.size === 40)
    for (const connection of server.connections) connection.reset()
    await until('all plan to come back', () => delays.length === 40)
    expect(Math.max(...delays)).toBeLessThanOrEqual(300)
    expect(Math.max(...delays) - Math.min(...delays)).toBeGreaterThan(100)
    expect(new Set(delays).size).toBeGreaterThan(10)
    for (const one of all) one.destroy()
  })

  test('destroy and the signal end it at every moment', async () => {
    const { port } = await startServer()
    const mine = startClient()
    for (let round = 0; round < 10; round++) {
      const controller = new AbortController()
      const attempt = mine.connect({ port: CLOSED, host: HOST, signal: controller.signal, reconnect: { minDelay: 5 } })
      setTimeout(() => {
        controller.abort(new Error('enough'))
      }, round * 3)
      await expect(attempt).rejects.toThrow('enough')
      const steady = await mine.connect({ port, host: HOST, reconnect: { minDelay: 5 } })
      if (round % 2 === 0) steady.connection?.reset()
      if (round % 3 === 0) await new Promise(setImmediate)
      steady.destroy()
      await steady.closed
    }
    await until('nothing is left', () => mine.connections.size === 0 && mine.stats()?.pendingObjects === 1)
  })
})

test('a peer of another make at the other end', async () => {
  const server = net.createServer((socket) => socket.pipe(socket))
  await new Promise<void>((resolve) => {
    server.listen(0, HOST, resolve)
  })
  onTestFinished(() => {
    server.close()
  })
  const { port } = server.address() as net.AddressInfo
  const mine = startClient()
  await many(50, async (index) => {
    const connection = await mine.connect({ port, host: HOST })
    connection.send(`number ${index}`)
    for await (const packet of connection) {
      expect(packet.toString()).toBe(`number ${index}`)
      break
    }
    await connection[Symbol.asyncDispose]()
    expect(connection.closeInfo?.cause).toBe('local')
  })
})
