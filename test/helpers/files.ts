/** What the tests of file transfers share. */

import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type AcceptOptions,
  type CloseReport,
  connect,
  type Connection,
  type ConnectionOptions,
  createServer,
  type FileOffer,
  framing,
  type ReceivedFile,
  type Server,
  type ServerOptions
} from 'iocp'
import { onTestFinished } from 'vitest'
import { closeAfterTest } from './endpoints.js'

export const KIB = 1024
export const MIB = 1024 * KIB
/** With IOCP_LONG=1 the files are as large as the real ones. */
export const isLong = process.env['IOCP_LONG'] === '1'

/** A framing that carries files. */
export const typed = framing.lengthField({ typeByte: true })

/** The two ways of sending; the same tests for both. */
export const methods = ['read', 'transmit'] as const
export type Method = (typeof methods)[number]

/** Options of `sendFile` with which the option `transfer.method` decides: what is hashed is always read. */
export function checks(method: Method): { verify: 'sha256' | false } {
  return { verify: method === 'read' ? 'sha256' : false }
}

/** Folders for one test: where files come from, and where they go. */
export function folders(): { from: string; to: string } {
  const base = mkdtempSync(join(tmpdir(), 'iocp-files-'))
  onTestFinished(() => {
    rmSync(base, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  })
  const made = { from: join(base, 'from'), to: join(base, 'to') }
  mkdirSync(made.from)
  mkdirSync(made.to)
  return made
}

/** A file of random bytes. */
export function makeFile(folder: string, size: number, name = `file-${size}.bin`): string {
  const path = join(folder, name)
  writeFileSync(path, randomBytes(size))
  return path
}

/** The SHA-256 of a file, by nothing that is being tested. */
export async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer)
  return hash.digest('hex')
}

/** Files in a folder that should not be there any more. */
export function leftovers(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.endsWith('.part'))
}

export interface Pair {
  client: Connection
  server: Connection
  endpoint: Server
  close(options: { deadline: number }): Promise<CloseReport>
  port: number
}

/** A connection of the library at both of its ends. */
export async function pair(options: ServerOptions = {}, clientOptions: ConnectionOptions = {}): Promise<Pair> {
  const server = createServer({ framing: typed, ioThreads: 2, ...options })
  closeAfterTest(server)
  const { port } = await server.listen({ host: '127.0.0.1' })
  const accepted = new Promise<Connection>((resolve) => {
    server.once('connection', resolve)
  })
  const { framing: same = typed, transfer = true } = options
  const client = await connect({ host: '127.0.0.1', port, framing: same, transfer, ...clientOptions })
  onTestFinished(() => {
    client.destroy()
  })
  return { client, server: await accepted, endpoint: server, port, close: (how) => server.close(how) }
}

/** Accepts the next file that a connection is offered. */
export function acceptNext(connection: Connection, options: AcceptOptions): Promise<ReceivedFile> {
  const received = new Promise<FileOffer>((resolve) => {
    connection.once('file', resolve)
  }).then((offer) => offer.accept(options))
  received.catch(() => undefined)
  return received
}

/** What a promise was broken with. */
export async function failure(promise: Promise<unknown>): Promise<{ code?: string; message: string }> {
  try {
    await promise
  } catch (error) {
    return error as { code?: string; message: string }
  }
  throw new Error('It succeeded')
}

export async function code(promise: Promise<unknown>): Promise<string | undefined> {
  return (await failure(promise)).code
}

/** Shows that packets still go both ways. */
export async function works({ client, server }: Pair): Promise<void> {
  for (const [from, to] of [
    [client, server],
    [server, client]
  ] as const) {
    const text = `hello ${Math.random()}`
    const came = new Promise<void>((resolve) => {
      const listener = (packet: Buffer): void => {
        if (packet.toString() !== text) return
        to.off('packet', listener)
        resolve()
      }
      to.on('packet', listener)
    })
    from.send(text)
    await came
  }
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds)
  })
}

export async function until(what: string, isSo: () => boolean, limit = 20_000): Promise<void> {
  const end = performance.now() + limit
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`waited in vain until ${what}`)
    await pause(10)
  }
}

/** What happens to a call; see native/win/sys/fault_seam.h. */
export interface FaultRule {
  error?: number
  skip?: number
  count?: number
  shortTo?: number
  delay?: number
  block?: number
  status?: number
  keep?: boolean
  late?: boolean
}

/** The fault seam of the test variant, which the library then loads too; undefined where there is none. */
export interface Faults {
  set(call: string, rule: FaultRule): void
  clear(): void
  hits(call: string): number
}

export function faults(): Faults | undefined {
  const file = process.env['IOCP_FAULT_ADDON']
  if (file === undefined) return undefined
  process.env['IOCP_ADDON'] = file
  return (createRequire(import.meta.url)(file) as { faults?: Faults }).faults
}

/** Every call that may wait for a disk. */
export const diskCalls = [
  'open_file',
  'read_file',
  'hash_read',
  'write_file',
  'allocate_file',
  'size_file',
  'close_file',
  'move_file'
]
