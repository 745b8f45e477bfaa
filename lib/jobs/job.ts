/** The argument of a handler in a worker. */

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
 * A job. Packets that it sends go from the worker directly to the connections; the main thread is not involved. Once
 * the job has ended, `reply` does nothing.
 */
export class Job<T = unknown> {
  /** The handler's name; for a routed packet `'packet'`. */
  readonly name: string
  /** The payload of `run`, or the packet. */
  readonly data: T
  /** `connection.id` of the connection it belongs to; 0 if there is none. */
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

  /** Whether its connection is open. False if there is none. */
  get connected(): boolean {
    return this.connectionId !== 0 && this.queuedBytes() >= 0
  }

  /** Aborted when the result is no longer needed: the job was cancelled, timed out, or the server closes. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this._slot === -1) this.#controller.abort()
    }
    return this.#controller.signal
  }

  /**
   * Sends a packet to the job's connection.
   * @throws IocpError ERR_IOCP_PACKET_SIZE, ERR_IOCP_PACKET_CONTENT, ERR_INVALID_ARG_TYPE
   */
  reply(data: Uint8Array | string): void {
    const bytes = this.#sender.payload(data)
    if (this._slot === -1 || this.connectionId === 0) return
    this.#sender.send(this.connectionId, bytes, this._slot + 1)
  }

  /**
   * Sends a packet to any connection of the same server or client; has no effect if the connection has closed.
   * @throws as {@link Job.reply}
   */
  send(target: JobTarget, data: Uint8Array | string): void {
    this.#sender.send(idOf(target), this.#sender.payload(data), 0)
  }

  /**
   * Sends a packet to all connections, or to all except one.
   * @throws as {@link Job.reply}
   */
  broadcast(data: Uint8Array | string, options: { except?: JobTarget } = {}): void {
    const reader = new OptionReader(options, '', 'an object such as { except: job }')
    const except = reader.raw('except')
    reader.rejectUnknown()
    this.#sender.broadcast(this.#sender.payload(data), except === undefined ? 0 : idOf(except, 'except'))
  }

  /** Ends a connection, by default its own, gracefully. `graceful: false` closes it immediately. */
  disconnect(target: JobTarget = this.connectionId, options: { graceful?: boolean } = {}): void {
    const reader = new OptionReader(options, '', 'an object such as { graceful: false }')
    const isGraceful = reader.boolean('graceful', true)
    reader.rejectUnknown()
    this.#sender.disconnect(idOf(target), isGraceful)
  }

  /** Bytes waiting to be sent on a connection; -1 if it is closed. */
  queuedBytes(target: JobTarget = this.connectionId): number {
    return this.#sender.queuedBytes(idOf(target))
  }

  /** Submits what was sent now; otherwise it is submitted before the worker's next job. */
  flush(): void {
    this.#sender.flush()
  }

  /** @internal It has ended. */
  _end(isWanted: boolean): void {
    this._slot = -1
    if (!isWanted) this.#controller?.abort()
  }
}

/** A packet that was routed to the workers. */
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
