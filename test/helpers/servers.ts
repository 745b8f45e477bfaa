/** Servers and clients of the library for one test each: they end with it. */

import { type EventEmitter, once } from 'node:events'
import {
  type Client,
  type ClientOptions,
  type CloseInfo,
  type Connection,
  createClient,
  createServer,
  type Server,
  type ServerOptions
} from 'iocp'
import { onTestFinished } from 'vitest'
import { HOST } from './ports.js'

/** A server on a free port of the loopback. */
export async function startServer(options: ServerOptions = {}, host = HOST): Promise<{ server: Server; port: number }> {
  const server = createServer({ ioThreads: 2, ...options })
  closeAfterTest(server)
  const { port } = await server.listen({ port: 0, host })
  return { server, port }
}

/** The same; it sends back what it gets. */
export async function startEcho(options: ServerOptions = {}, host = HOST): Promise<{ server: Server; port: number }> {
  const started = await startServer(options, host)
  started.server.on('packet', (packet, connection) => connection.send(packet))
  return started
}

/** A client with a completion port of its own. */
export function startClient(options: ClientOptions = {}): Client {
  const client = createClient({ ioThreads: 2, ...options })
  closeAfterTest(client)
  return client
}

/** Closes it when the test is over, and says before what it was doing when the test has failed. */
export function closeAfterTest(endpoint: Server | Client): void {
  const closed: CloseInfo[] = []
  const note = (info: CloseInfo): void => {
    if (closed.length < 20) closed.push(info)
  }
  // Each has this event; together they have no signature for it.
  if ('listen' in endpoint) endpoint.on('disconnect', note)
  else endpoint.on('disconnect', note)
  onTestFinished(async ({ task }) => {
    if (task.result?.state === 'fail') console.error(`${task.name}: ${state(endpoint, closed)}`)
    await endpoint.close({ deadline: 0 })
  })
}

/** The first argument of the next event of a name. */
export async function first<Value>(emitter: unknown, event: string): Promise<Value> {
  const [value] = (await once(emitter as EventEmitter, event)) as [Value]
  return value
}

/** The next connection that a server accepts. */
export function nextConnection(server: Server): Promise<Connection> {
  return first(server, 'connection')
}

/** How the next connection of a server ends. */
export async function nextDisconnect(server: Server): Promise<{ info: CloseInfo; connection: Connection }> {
  const [info, connection] = (await once(server, 'disconnect')) as [CloseInfo, Connection]
  return { info, connection }
}

/** How often something has happened on a server or client. */
export function counter(endpoint: Server | Client, name: string): number {
  const value = endpoint.stats()?.counters[name]
  if (value === undefined) throw new Error(`there is no counter ${name}`)
  return value
}

function state(endpoint: Server | Client, closed: CloseInfo[]): string {
  const connections = [...endpoint.connections].slice(0, 20).map((connection) => ({
    id: connection.id,
    state: connection.state,
    ...connection.stats()
  }))
  const ended = closed.map(({ cause, error }) => ({ cause, error: error?.message }))
  return JSON.stringify({ ...endpoint.stats(), connections, closed: ended })
}
