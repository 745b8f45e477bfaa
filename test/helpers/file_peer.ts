/** A peer that says what it likes about files, in framed mode. */

import { connect as netConnect, type Socket } from 'node:net'
import { type Connection, type ReceivedFile, type ServerOptions } from 'iocp'
import { onTestFinished } from 'vitest'
import { acceptNext, folders, typed } from './files.js'
import { HOST } from './ports.js'
import { startServer } from './servers.js'
import { pause, until } from './time.js'

export class Peer {
  readonly #socket: Socket
  #bytes = Buffer.alloc(0)
  #together: Buffer[] | undefined
  readonly frames: Buffer[] = []
  /** The number of its file. */
  file = 1
  isClosed = false

  /** @param to a port, or the socket of a connection to it */
  constructor(to: number | Socket) {
    this.#socket = typeof to === 'number' ? netConnect({ host: HOST, port: to, allowHalfOpen: true }) : to
    this.#socket.on('error', () => undefined)
    this.#socket.on('close', () => (this.isClosed = true))
    this.#socket.on('data', (data) => {
      this.#bytes = Buffer.concat([this.#bytes, data])
      while (this.#bytes.length >= 4 && this.#bytes.length >= 4 + this.#bytes.readUInt32BE()) {
        const size = this.#bytes.readUInt32BE()
        this.frames.push(this.#bytes.subarray(4, 4 + size))
        this.#bytes = this.#bytes.subarray(4 + size)
      }
    })
    onTestFinished(() => {
      this.#socket.destroy()
    })
  }

  /** A frame about its file. */
  say(type: number, ...parts: (number | bigint | Buffer | string)[]): void {
    const body = parts.map((part) => {
      if (typeof part === 'number') return Buffer.from([part])
      if (typeof part !== 'bigint') return Buffer.from(part)
      const number = Buffer.alloc(8)
      number.writeBigUInt64BE(part)
      return number
    })
    const about = Buffer.alloc(5, type)
    about.writeUInt32BE(this.file, 1)
    const payload = Buffer.concat([about, ...body])
    const header = Buffer.alloc(4)
    header.writeUInt32BE(payload.length)
    if (this.#together === undefined) this.#socket.write(Buffer.concat([header, payload]))
    else this.#together.push(header, payload)
  }

  /** What is said meanwhile goes in one piece. Node would gather it, but more than 1024 pieces are too many for Wine. */
  together(speak: () => void): void {
    const pieces: Buffer[] = []
    this.#together = pieces
    speak()
    this.#together = undefined
    this.#socket.write(Buffer.concat(pieces))
  }

  offer(name: string | Buffer, size: number, hash = false): void {
    const bytes = Buffer.from(name)
    this.say(0xf0, BigInt(size), hash ? 1 : 0, bytes.length >> 8, bytes.length & 255, bytes)
  }

  /** Ends its side; what comes is still read. */
  end(): void {
    this.#socket.end()
  }

  /** Takes nothing that comes. */
  pause(): void {
    this.#socket.pause()
  }

  /** What it has said has gone, or goes nowhere; in a later turn. */
  async drained(): Promise<void> {
    await pause(1)
    await until('it has gone', () => this.#socket.writableLength === 0 || this.isClosed)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  async answer(): Promise<Buffer> {
    await until('it answers', () => this.frames.length > 0)
    return this.frames.shift() ?? Buffer.alloc(0)
  }
}

/** Such a peer, and a server of the library that accepts its first file. */
export async function listening(
  options: ServerOptions = {}
): Promise<{ peer: Peer; to: string; accepted: Promise<Connection>; received: Promise<ReceivedFile> }> {
  const { to } = folders()
  const { server, port } = await startServer({ framing: typed, ...options })
  // Listens at once: the offer may be right behind the connection.
  const taken = new Promise<{ connection: Connection; file: Promise<ReceivedFile> }>((resolve) => {
    server.once('connection', (connection) => {
      resolve({ connection, file: acceptNext(connection, { directory: to }) })
    })
  })
  const accepted = taken.then(({ connection }) => connection)
  const received = taken.then(({ file }) => file)
  received.catch(() => undefined)
  return { peer: new Peer(port), to, accepted, received }
}
