/** A job as its handler sees it, in a worker. */

import { invalidArgument } from '../common/errors.js'
import { OptionReader } from '../common/option_reader.js'
import { SLOTS } from '../native/protocol.js'

/** What carries out what a job asks for. */
export interface JobSender {
  /** The bytes to send. @throws IocpError ERR_IOCP_PACKET_SIZE, ERR_IOCP_PACKET_CONTENT, ERR_INVALID_ARG_TYPE */
  payload(data: Uint8Array | string): Uint8Array
  /** @param answers the job's slot + 1 where the packet answers it, else 0 */
  send(connectionId: number, bytes: Uint8Array, answers: number): void
  /** @param except the id of the connection to leave out, or 0 */
  broadcast(bytes: Uint8Array, except: number): void
  disconnect(connectionId: number, isGraceful: boolean): void
  /** -1 when it is closed. */
  queuedBytes(connectionId: number): number
  flush(): void
}

/** A connection, by its id or by a job that came from it. */
export type JobTarget = number | Job

/**
 * Something to do. What it sends goes from the worker straight to the connections; the main thread has no part in it.
 * Once the job has ended, in whatever way, `reply` does nothing.
 */
export class Job<T = unknown> {
  /** The name under which the main thread added it; of a routed packet `'packet'`. */
  readonly name: string
  /** What the main thread gave, or the packet. */
  readonly data: T
  /** The connection that it is about, as `connection.id` in the main thread; 0 when it is about none. */
  readonly connectionId: number

  /** @internal The number by which native code knows it while it runs; -1 when it has ended. */
  _slot: number
  /** @internal A packet, not a call. */
  readonly _isRouted: boolean
  readonly #sender: JobSender
  #controller: AbortController | undefined

  /** @internal */
  constructor(sender: JobSender, slot: number, name: string, data: T, connectionId: number, isRouted: boolean) {
    this.#sender = sender
    this._slot = slot
    this.name = name
    this.data = data
    this.connectionId = connectionId
    this._isRouted = isRouted
  }

  /** Whether its connection is still open. False when it is about none. */
  get connected(): boolean {
    return this.connectionId !== 0 && this.queuedBytes() >= 0
  }

  /** Aborted when nobody wants the result any more: cancelled, timed out, or the server closes. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this._slot === -1) this.#controller.abort()
    }
    return this.#controller.signal
  }

  /**
   * Sends a packet to the connection that the job is about.
   * @throws IocpError ERR_IOCP_PACKET_SIZE, ERR_IOCP_PACKET_CONTENT, ERR_INVALID_ARG_TYPE
   */
  reply(data: Uint8Array | string): void {
    const bytes = this.#sender.payload(data)
    if (this._slot === -1 || this.connectionId === 0) return
    this.#sender.send(this.connectionId, bytes, this._slot + 1)
  }

  /**
   * Sends a packet to any connection of the same server or client. A connection that has closed is a clean miss.
   * @throws as {@link Job.reply}
   */
  send(target: JobTarget, data: Uint8Array | string): void {
    this.#sender.send(idOf(target), this.#sender.payload(data), 0)
  }

  /**
   * Sends a packet to all connections, or to all but one.
   * @throws as {@link Job.reply}
   */
  broadcast(data: Uint8Array | string, options: { except?: JobTarget } = {}): void {
    const reader = new OptionReader(options, '')
    const except = reader.raw('except')
    reader.rejectUnknown()
    this.#sender.broadcast(this.#sender.payload(data), except === undefined ? 0 : idOf(except, 'except'))
  }

  /** Ends a connection; by default its own, in order. `graceful: false` closes it at once. */
  disconnect(target: JobTarget = this.connectionId, options: { graceful?: boolean } = {}): void {
    const reader = new OptionReader(options, '')
    const isGraceful = reader.boolean('graceful', true)
    reader.rejectUnknown()
    this.#sender.disconnect(idOf(target), isGraceful)
  }

  /** Bytes that wait to be sent on a connection; -1 when it is closed. */
  queuedBytes(target: JobTarget = this.connectionId): number {
    return this.#sender.queuedBytes(idOf(target))
  }

  /** Hands over now what was sent; else it goes when the handler gives way to the next job. */
  flush(): void {
    this.#sender.flush()
  }

  /** @internal It has ended. */
  _end(isWanted: boolean): void {
    this._slot = -1
    if (!isWanted) this.#controller?.abort()
  }
}

/** A packet that came to the workers straight from its connection. */
export interface PacketJob extends Job<Buffer> {
  readonly name: 'packet'
}

/** The number of a connection's slot in its id. */
export function slotOf(id: number): number {
  return id % SLOTS
}

/** The generation in a connection's id. */
export function generationOf(id: number): number {
  return Math.floor(id / SLOTS)
}

/** @throws IocpError ERR_INVALID_ARG_TYPE */
function idOf(target: unknown, name = 'target'): number {
  if (target instanceof Job) return target.connectionId
  if (typeof target === 'number' && Number.isSafeInteger(target) && target >= 0) return target
  throw invalidArgument(name, target, 'the id of a connection, or a job')
}
