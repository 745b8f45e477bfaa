/** An end that speaks about files as IOCPS did. */

import { connect as netConnect, type Socket } from 'node:net'
import { type Connection, framing, type ServerOptions } from 'iocp'
import { onTestFinished } from 'vitest'
import { HOST } from './ports.js'
import { nextConnection, startServer } from './servers.js'
import { until } from './time.js'

export const iocps = framing.iocps()

/** One end as the original was: packages until a file begins, then exactly its bytes. */
export class Original {
  readonly packages: Buffer[] = []
  file: Buffer = Buffer.alloc(0)
  isClosed = false
  #bytes: Buffer = Buffer.alloc(0)
  #missing = 0
  readonly #socket: Socket

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', () => undefined)
    socket.on('close', () => (this.isClosed = true))
    socket.on('data', (data) => {
      this.#bytes = Buffer.concat([this.#bytes, data])
      this.#parse()
    })
    onTestFinished(() => {
      socket.destroy()
    })
  }

  #parse(): void {
    for (;;) {
      if (this.#missing > 0) {
        const some = this.#bytes.subarray(0, this.#missing)
        this.file = Buffer.concat([this.file, some])
        this.#missing -= some.length
        this.#bytes = this.#bytes.subarray(some.length)
      }
      if (this.#bytes.length < 4 || this.#bytes.length < 4 + this.#bytes.readUInt32LE()) return
      const size = this.#bytes.readUInt32LE()
      this.packages.push(this.#bytes.subarray(4, 4 + size))
      this.#bytes = this.#bytes.subarray(4 + size)
    }
  }

  /** Receive mode, and the answer that begins the file. */
  take(size: number): void {
    this.#missing = size
    this.say(2)
  }

  say(...payload: (number | Buffer)[]): void {
    const body = Buffer.concat(payload.map((part) => (typeof part === 'number' ? Buffer.from([part]) : part)))
    const header = Buffer.alloc(4)
    header.writeUInt32LE(body.length)
    this.#socket.write(Buffer.concat([header, body]))
  }

  offer(name: string, size: number): void {
    const number = Buffer.alloc(4)
    number.writeUInt32LE(size)
    this.say(1, number, Buffer.from(`${name}\0`, 'latin1'))
  }

  write(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  async next(): Promise<Buffer> {
    await until('a package came', () => this.packages.length > 0)
    return this.packages.shift() ?? Buffer.alloc(0)
  }
}

/** A server of the library, and the original as its client. */
export async function served(options: ServerOptions = {}): Promise<{ peer: Original; connection: Connection }> {
  const { server, port } = await startServer({ framing: iocps, ...options })
  const accepted = nextConnection(server)
  const peer = new Original(netConnect({ host: HOST, port }))
  return { peer, connection: await accepted }
}
