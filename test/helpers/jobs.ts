/** A server whose workers run test/fixtures/jobs.mjs, and packets for them. */

import { type Connection, framing, type Server, type ServerOptions, type WorkersOptions } from 'iocp'
import { HOST } from './ports.js'
import { startClient, startServer } from './servers.js'

/** The types of packets of test/fixtures/jobs.mjs. */
export const packetTypes = {
  echo: 0x10,
  delayed: 0x11,
  hash: 0x12,
  throws: 0x13,
  exits: 0x14,
  loops: 0x15,
  memory: 0x16,
  slow: 0x17
}
const all = Object.values(packetTypes)
export const jobsModule = new URL('../fixtures/jobs.mjs', import.meta.url)
export const typed = framing.lengthField({ bytes: 4, typeByte: true })

export async function startWorkers(
  workers: Partial<WorkersOptions> = {},
  options: ServerOptions = {}
): Promise<{ server: Server; port: number }> {
  const started = await startServer({
    ...options,
    framing: typed,
    workers: { module: jobsModule, count: 1, route: [...all, 0x20, 0x21, 0x22], ...workers }
  })
  // Workers that are expected to die do so in silence.
  started.server.on('workerExit', () => undefined)
  return started
}

export function connectTyped(port: number): Promise<Connection> {
  return startClient({ framing: typed }).connect({ port, host: HOST })
}

export function numbered(kind: number, number: number): Buffer {
  const packet = Buffer.alloc(5)
  packet[0] = kind
  packet.writeUInt32LE(number, 1)
  return packet
}

export function collect(connection: Connection): Buffer[] {
  const packets: Buffer[] = []
  connection.on('packet', (packet) => packets.push(Buffer.from(packet)))
  return packets
}

export const numbers = (packets: readonly Buffer[]): number[] => packets.map((packet) => packet.readUInt32LE(1))
export const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
