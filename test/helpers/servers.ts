/** Servers and clients of the library for one test each. */

import { once } from 'node:events'
import { onTestFinished } from 'vitest'
import type { CloseInfo } from '../../lib/connection/close_info.js'
import type { Connection } from '../../lib/connection/connection.js'
import { type Client, createClient } from '../../lib/endpoint/client.js'
import type { ClientOptions, ServerOptions } from '../../lib/endpoint/options.js'
import { createServer, type Server } from '../../lib/endpoint/server.js'

/** A server on a free port of the loopback, closed when the test is over. */
export async function startServer(
  options: ServerOptions = {},
  host = '127.0.0.1'
): Promise<{ server: Server; port: number }> {
  const server = createServer(options)
  onTestFinished(async () => {
    await server.close({ deadline: 0 })
  })
  const { port } = await server.listen({ port: 0, host })
  return { server, port }
}

/** The same; it sends back what it gets. */
export async function startEcho(
  options: ServerOptions = {},
  host = '127.0.0.1'
): Promise<{ server: Server; port: number }> {
  const started = await startServer(options, host)
  started.server.on('packet', (packet, connection) => connection.send(packet))
  return started
}

/** A client with a completion port of its own, closed when the test is over. */
export function startClient(options: ClientOptions = {}): Client {
  const client = createClient(options)
  onTestFinished(async () => {
    await client.close({ deadline: 0 })
  })
  return client
}

/** The next connection that a server accepts. */
export async function nextConnection(server: Server): Promise<Connection> {
  const [connection] = (await once(server, 'connection')) as [Connection]
  return connection
}

/** How the next connection of a server ends. */
export async function nextDisconnect(server: Server): Promise<{ info: CloseInfo; connection: Connection }> {
  const [info, connection] = (await once(server, 'disconnect')) as [CloseInfo, Connection]
  return { info, connection }
}

/** Resolves when a condition holds; looks whenever the event loop turns. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise((resolve) => {
      setTimeout(resolve, 1)
    })
  }
}

/** A promise that never settles. */
export function never(): Promise<never> {
  return new Promise(() => {
    // Nothing happens.
  })
}
