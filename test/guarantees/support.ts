/** What the tests of the guarantees share. */

import { once } from 'node:events'
import net from 'node:net'
import { type Client, type ClientOptions, createClient, createServer, type Server, type ServerOptions } from 'iocp'
import { onTestFinished } from 'vitest'
import { closeAfterTest } from '../helpers/endpoints.js'

/** IPv4, because a machine may be without IPv6. */
export const HOST = '127.0.0.1'

/** With IOCP_LONG=1 the loads are those for a night, not for a coffee break. */
export const isLong = process.env['IOCP_LONG'] === '1'

/** A size or count for the short run and one for the long run. */
export function load(short: number, long: number): number {
  return isLong ? long : short
}

/** A server that listens, until the test is over. */
export async function serve(options: ServerOptions = {}, host = HOST): Promise<{ server: Server; port: number }> {
  const server = createServer({ ioThreads: 2, ...options })
  closeAfterTest(server)
  const { port } = await server.listen({ port: 0, host })
  return { server, port }
}

/** A client of the library, until the test is over. */
export function client(options: ClientOptions = {}): Client {
  const made = createClient({ ioThreads: 2, ...options })
  closeAfterTest(made)
  return made
}

/** How often something has happened on a server or client. */
export function counter(endpoint: Server | Client, name: string): number {
  const value = endpoint.stats()?.counters[name]
  if (value === undefined) throw new Error(`there is no counter ${name}`)
  return value
}

/** A peer that is not of the library: a socket of Node's own. It ends with the test. */
export async function peer(port: number, options: Partial<net.TcpNetConnectOpts> = {}): Promise<net.Socket> {
  const socket = net.connect({ host: HOST, noDelay: true, ...options, port })
  // Resets are what some tests are about; whoever cares listens too.
  socket.on('error', () => undefined)
  onTestFinished(() => {
    socket.destroy()
  })
  await once(socket, 'connect')
  return socket
}

/** What was thrown, for where an error is wanted. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}

/** Waits until something is so; fails with what it is then. */
export async function until(what: string, isSo: () => boolean, limit = 20_000): Promise<void> {
  const end = performance.now() + limit
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`waited ${limit} ms in vain until ${what}`)
    await pause(10)
  }
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds)
  })
}

/** Numbers that look like chance and are the same in each run. */
export function random(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761 + 1) >>> 0
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % below
  }
}

// The period is a prime and larger than anything that could change places on the way.
const PERIOD = 1_000_003
/** As much as one call of `numbered` gives. */
export const MOST_NUMBERED = 1024 * 1024
const pattern = Buffer.alloc(PERIOD + MOST_NUMBERED)
const draw = random(1)
for (let at = 0; at < PERIOD; at++) pattern[at] = draw(0x1_0000_0000) >>> 13
pattern.copy(pattern, PERIOD, 0, MOST_NUMBERED)

/** Some bytes of an endless stream in which every byte follows from its place. Not to be written to. */
export function numbered(stream: number, at: number, length: number): Buffer {
  const start = (stream * 7919 + at) % PERIOD
  return pattern.subarray(start, start + length)
}

/** Checks that such a stream comes byte for byte. */
export class NumberedStream {
  readonly #stream: number
  /** Bytes that came so far. */
  at = 0

  constructor(stream: number) {
    this.#stream = stream
  }

  take(bytes: Buffer): void {
    for (let done = 0; done < bytes.length; done += MOST_NUMBERED) {
      const piece = bytes.subarray(done, done + MOST_NUMBERED)
      const wanted = numbered(this.#stream, this.at, piece.length)
      if (!piece.equals(wanted)) this.#explain(piece, wanted)
      this.at += piece.length
    }
  }

  #explain(piece: Buffer, wanted: Buffer): never {
    let wrong = 0
    while (piece[wrong] === wanted[wrong]) wrong++
    const bytes = piece.subarray(wrong, wrong + 16)
    const found = pattern.indexOf(bytes)
    const from =
      found === -1 ? 'nowhere in it' : `at byte ${(found + PERIOD - ((this.#stream * 7919) % PERIOD)) % PERIOD}`
    throw new Error(
      `stream ${this.#stream} is wrong from byte ${this.at + wrong} on (piece of ${piece.length} at ${this.at}): ` +
        `${bytes.toString('hex')} belongs ${from}`
    )
  }
}

/** A packet as the default framing has it on the wire, made without the library. */
export function framed(payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(4 + payload.length)
  bytes.writeUInt32BE(payload.length)
  bytes.set(payload, 4)
  return bytes
}

/** Takes packets in the default framing out of a stream, without the library. */
export class Deframer {
  readonly #onPacket: (packet: Buffer) => void
  #rest: Buffer = Buffer.alloc(0)

  constructor(onPacket: (packet: Buffer) => void) {
    this.#onPacket = onPacket
  }

  readonly feed = (data: Buffer): void => {
    let bytes = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data])
    while (bytes.length >= 4) {
      const end = 4 + bytes.readUInt32BE()
      if (bytes.length < end) break
      this.#onPacket(bytes.subarray(4, end))
      bytes = bytes.subarray(end)
    }
    this.#rest = bytes
  }
}

/** Writes as Node's sockets want it: no further while they say stop. */
export async function write(socket: net.Socket, bytes: Uint8Array): Promise<void> {
  if (!socket.write(bytes) && !socket.destroyed) {
    await new Promise<void>((resolve) => {
      const go = (): void => {
        socket.off('drain', go).off('close', go)
        resolve()
      }
      socket.on('drain', go).on('close', go)
    })
  }
}

/** Opens many at once, but not all at the same moment. */
export async function many<T>(count: number, make: (index: number) => Promise<T>, together = 50): Promise<T[]> {
  const made: T[] = []
  while (made.length < count) {
    const from = made.length
    const size = Math.min(together, count - from)
    made.push(...(await Promise.all(Array.from({ length: size }, (_, index) => make(from + index)))))
  }
  return made
}

/** The smallest and the largest value that something takes while a test goes on. */
export class Watch {
  least = Number.POSITIVE_INFINITY
  most = Number.NEGATIVE_INFINITY
  readonly #timer: NodeJS.Timeout

  constructor(sample: () => number, every = 5) {
    const look = (): void => {
      this.add(sample())
    }
    look()
    this.#timer = setInterval(look, every)
    onTestFinished(() => {
      this.stop()
    })
  }

  add(value: number): void {
    this.least = Math.min(this.least, value)
    this.most = Math.max(this.most, value)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
