/** A plain TCP client of Node's own: writes and reads bytes, knows nothing of packets. */

import { once } from 'node:events'
import { connect, type Socket, type TcpNetConnectOpts } from 'node:net'
import { onTestFinished } from 'vitest'
import { HOST } from './ports.js'

/** A connected socket of Node's own; it is cut when the test is over. */
export async function openSocket(port: number, options: Partial<TcpNetConnectOpts> = {}): Promise<Socket> {
  const socket = connect({ host: HOST, noDelay: true, ...options, port })
  onTestFinished(() => {
    socket.destroy()
  })
  // Resets are what some tests are about; whoever cares listens too.
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return socket
}

/** When it is over, however. */
export function isGone(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => {
      resolve()
    })
  })
}

export class RawClient {
  readonly socket: Socket
  /** Set once the connection is over: 'end' in order, otherwise the code of the error. */
  over: string | undefined
  /** What has come and was not read yet, in pieces: a large packet has hundreds of them. */
  #received: Buffer[] = []
  #length = 0
  #waiting: (() => void) | undefined

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (bytes) => {
      this.#received.push(bytes)
      this.#length += bytes.length
      this.#wake()
    })
    socket.on('end', () => {
      this.over ??= 'end'
      this.#wake()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.over ??= error.code ?? 'error'
      this.#wake()
    })
    socket.on('close', () => {
      this.over ??= 'close'
      this.#wake()
    })
  }

  /** Connects, see {@link openSocket}. */
  static async open(port: number, options: { host?: string; allowHalfOpen?: boolean } = {}): Promise<RawClient> {
    return new RawClient(await openSocket(port, options))
  }

  /** Resolves when the system has taken the bytes. */
  write(bytes: Uint8Array | string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.write(bytes, (error) => {
        if (error) reject(error)
        else resolve()
      })
    })
  }

  /** Ends our side. */
  end(): void {
    this.socket.end()
  }

  /** Breaks the connection off with a reset. */
  reset(): void {
    this.socket.resetAndDestroy()
  }

  /** Exactly so many bytes. */
  async read(length: number): Promise<Buffer> {
    while (this.#length < length) {
      if (this.over !== undefined) {
        throw new Error(`${this.over} after ${this.#length} of ${length} bytes`)
      }
      await this.#more()
    }
    const all = this.#take()
    const rest = all.subarray(length)
    this.#length = rest.length
    this.#received = [rest]
    return all.subarray(0, length)
  }

  /** Everything up to the end of the connection. */
  async readToEnd(): Promise<Buffer> {
    while (this.over === undefined) await this.#more()
    return this.#take()
  }

  #take(): Buffer {
    const all = this.#received.length === 1 ? this.#received[0] : undefined
    const bytes = all ?? Buffer.concat(this.#received)
    this.#received = []
    this.#length = 0
    return bytes
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting = resolve
    })
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.()
  }
}
