// What is asked for inside of events, and the ways of giving a reconnecting link up.
import { once } from 'node:events'
import { createServer as netServer, type Server as NetServer } from 'node:net'
import {
  connect,
  type Connection,
  createClient,
  createServer,
  type ReconnectingConnection,
  type RetryInfo,
  type Server
} from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { freePort } from '../helpers/ports.js'
import { closeAfterTest } from '../helpers/servers.js'
import { never, pause } from '../helpers/time.js'

/** A port that somebody else has. */
async function takenPort(): Promise<number> {
  const other: NetServer = netServer()
  other.listen(0, '127.0.0.1')
  await once(other, 'listening')
  onTestFinished(() => {
    other.close()
  })
  const address = other.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** Resets the one connection of a server. */
async function resetAll(server: Server): Promise<void> {
  while (server.connections.size === 0) await pause(1)
  for (const connection of server.connections) connection.reset()
}

describe('inside of events', () => {
  test('listen in the close of a server, connect in the close of a client', async () => {
    const server = createServer()
    const client = createClient()
    closeAfterTest(server)
    closeAfterTest(client)
    const { port } = await server.listen({ host: '127.0.0.1' })
    for (let round = 0; round < 3; round++) {
      await client.connect({ host: '127.0.0.1', port })
      const again = new Promise<Connection>((resolve, reject) => {
        client.once('close', () => {
          client.connect({ host: '127.0.0.1', port }).then(resolve, reject)
        })
      })
      await client.close()
      expect((await again).state).toBe('open')
      await client.close({ deadline: 0 })
      const listens = new Promise((resolve, reject) => {
        server.once('close', () => {
          server.listen({ host: '127.0.0.1', port }).then(resolve, reject)
        })
      })
      await server.close()
      expect(await listens).toMatchObject({ port })
      expect(server.listening).toBe(true)
    }
  })

  test('close in the close', async () => {
    const server = createServer()
    const client = createClient()
    const { port } = await server.listen({ host: '127.0.0.1' })
    await client.connect({ host: '127.0.0.1', port })
    for (const endpoint of [client, server]) {
      const again = new Promise((resolve, reject) => {
        const close = (): void => {
          endpoint.close().then(resolve, reject)
        }
        if (endpoint === client) client.once('close', close)
        else server.once('close', close)
      })
      await endpoint.close({ deadline: 0 })
      expect(await again).toEqual({ drained: 0, cut: 0 })
    }
  })

  test('another listen in the error of one', async () => {
    const server = createServer()
    closeAfterTest(server)
    const port = await takenPort()
    const listens = new Promise((resolve, reject) => {
      server.once('error', (error) => {
        expect(error).toMatchObject({ code: expect.stringMatching(/EADDRINUSE|EACCES/) as string })
        server.listen({ host: '127.0.0.1' }).then(resolve, reject)
      })
    })
    void server.listen({ host: '127.0.0.1', port })
    await listens
    expect(server.listening).toBe(true)
  })

  test('a listener for errors that is added after the call is told, and nobody has to look at the promise', async () => {
    const unhandled: unknown[] = []
    const onUnhandled = (error: unknown): void => {
      unhandled.push(error)
    }
    process.on('unhandledRejection', onUnhandled)
    onTestFinished(() => {
      process.off('unhandledRejection', onUnhandled)
    })
    const server = createServer()
    closeAfterTest(server)
    const port = await takenPort()
    void server.listen({ host: '127.0.0.1', port })
    const [error] = (await once(server, 'error')) as [Error]
    expect(error).toMatchObject({ syscall: 'bind' })
    await pause(50)
    expect(unhandled).toEqual([])
  })
})

describe('a reconnecting link', () => {
  test('whose signal is aborted already is none', async () => {
    const reason = new Error('enough')
    const target = { host: '127.0.0.1', port: await freePort(), reconnect: true } as const
    await expect(connect({ ...target, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    await expect(connect({ ...target, signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' })
  })

  test('tells of each retry, also before there has been a connection', async () => {
    const seen: RetryInfo[] = []
    let link: ReconnectingConnection | undefined
    const connecting = connect({
      host: '127.0.0.1',
      port: await freePort(),
      reconnect: {
        minDelay: 1,
        maxDelay: 5,
        onRetry: (info, of) => {
          seen.push(info)
          link = of
          if (info.failures === 3) of.destroy()
        }
      }
    })
    await expect(connecting).rejects.toMatchObject({ code: 'ERR_IOCP_CLOSED' })
    expect(seen.map(({ failures }) => failures)).toEqual([1, 2, 3])
    expect(seen[0]?.error).toMatchObject({ code: 'ECONNREFUSED' })
    expect(await link?.closed).toBeUndefined()
  })

  test.each(['end', 'destroy'] as const)('%s breaks an attempt off that is under way', async (how) => {
    const server = createServer()
    closeAfterTest(server)
    const { port } = await server.listen({ host: '127.0.0.1' })
    let attempts = 0
    // The second attempt never gets beyond the name.
    const lookup = (): Promise<{ address: string; family: number }[]> =>
      ++attempts === 1 ? Promise.resolve([{ address: '127.0.0.1', family: 4 }]) : never()
    const link = await connect({ host: 'a.test', port, lookup, reconnect: { minDelay: 1, maxDelay: 1 } })
    await resetAll(server)
    while (attempts < 2) await pause(5)
    const begun = performance.now()
    link[how]()
    expect(await link.closed).toBeUndefined()
    // Far below the 30 s that the attempt has.
    expect(performance.now() - begun).toBeLessThan(10_000)
    await pause(20)
    expect(attempts).toBe(2)
  })

  test('given up by a listener for its disconnect ends without an error', async () => {
    const server = createServer()
    closeAfterTest(server)
    const { port } = await server.listen({ host: '127.0.0.1' })
    const link = await connect({ host: '127.0.0.1', port, reconnect: { maxAttempts: 1 } })
    link.on('disconnect', () => link.destroy())
    await resetAll(server)
    expect(await link.closed).toBeUndefined()
  })

  test('ends with its client, also while it waits', async () => {
    const client = createClient()
    closeAfterTest(client)
    const server = createServer()
    closeAfterTest(server)
    const { port } = await server.listen({ host: '127.0.0.1' })
    const link = await client.connect({
      host: '127.0.0.1',
      port,
      reconnect: { minDelay: '1h', maxDelay: '1h', jitter: 0 }
    })
    const retry = once(link, 'retry')
    await resetAll(server)
    await retry
    const second = client.connect({ host: '127.0.0.1', port: await freePort(), reconnect: true })
    second.catch(() => undefined)
    await client.close()
    expect(await link.closed).toBeUndefined()
    await expect(second).rejects.toMatchObject({ code: 'ERR_IOCP_CLOSING' })
    expect(client.connections.size).toBe(0)
  })
})
