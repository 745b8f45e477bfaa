/** What each sweep does behind a fault: nothing may be left, and the next client is served. */

import type { CloseInfo, IocpError, Server } from 'iocp'
import { expect } from 'vitest'
import type { Call, Rule } from '../helpers/faults.js'
import { startEcho } from '../helpers/servers.js'
import { until } from '../helpers/time.js'
import { echoClient, type EchoResult } from './client.js'
import { type CallRow, type ErrorName, errors } from './sweep_table.js'

/** Failing at once, or after it has been pending. */
export type How = 'immediate' | 'pending'

/** What else happens: nothing; sends and reads take three bytes at most; completions come late. */
export const manners = ['plain', 'short', 'late'] as const
export type Manner = (typeof manners)[number]

/** Calls that may be pending, and whose packet says how they ended. */
const mayPend: ReadonlySet<Call> = new Set([
  'zero_read',
  'receive',
  'send',
  'accept',
  'connect',
  'read_file',
  'write_file'
])

export function howsOf(call: Call, name: ErrorName): How[] {
  return mayPend.has(call) && 'status' in errors[name] ? ['immediate', 'pending'] : ['immediate']
}

export function ruleFor(name: ErrorName, how: How, more: Rule = {}): Rule {
  const known: { number: number; status?: number } = errors[name]
  return how === 'immediate' ? { error: known.number, ...more } : { status: known.status ?? 0, ...more }
}

/** What a server holds while nobody is connected. */
function held(server: Server): unknown {
  const stats = server.stats()
  if (stats === undefined) throw new Error('the server does not listen')
  const { connections, pools, delivery, sending, pendingObjects, pendingDirectReads, profiles, disk, listeners } = stats
  return {
    open: connections.now,
    listed: server.connections.size,
    readBuffers: pools.readBuffers.inUse,
    waitBuffers: pools.waitBuffers.inUse,
    contexts: pools.contexts.inUse,
    bytes: delivery.bytes,
    parked: delivery.parked,
    sending: { ...sending },
    pendingDirectReads,
    pendingObjects,
    profiles,
    disk: { running: disk.running, queued: disk.queued },
    listeners: listeners.length
  }
}

/** Something that is served, and that must be as it was after each fault. */
export class Subject {
  readonly server: Server
  readonly port: number
  readonly closed: CloseInfo[] = []
  readonly #atRest: unknown
  #clients = 0

  constructor(server: Server, port: number) {
    this.server = server
    this.port = port
    this.#atRest = held(server)
    server.on('disconnect', (info) => this.closed.push(info))
  }

  /** A client that sends packets and gets them back; resolves when its connection has ended, whoever did it. */
  talk(packets = 6): Promise<EchoResult> {
    return echoClient(this.#clients++, this.port, { packets, window: 1, sizeOf: (number) => 10 + number * 7 })
  }

  /** Nothing is left: no connection, no operation, no buffer, no profile. */
  async isAtRest(): Promise<void> {
    const wanted = JSON.stringify(this.#atRest)
    await until('everything is at rest', () => JSON.stringify(held(this.server)) === wanted, 5000).catch(() => {
      expect(held(this.server)).toEqual(this.#atRest)
    })
  }

  /** The next client is served. */
  async serves(): Promise<void> {
    expect(await this.talk(2)).toMatchObject({ complete: true, wrong: undefined, error: undefined })
  }
}

/** One case for each call and error of some rows. */
export function casesOf(rows: readonly CallRow[]) {
  return rows.flatMap(({ calls, errors }) =>
    calls.flatMap(({ call, name }) => errors.map(([error, code]) => ({ call, name, error, code })))
  )
}

/** What a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<IocpError> {
  try {
    await promise
  } catch (error) {
    return error as IocpError
  }
  throw new Error('it succeeded')
}

/** A new server serves a client. */
export async function serves(): Promise<void> {
  const { server, port } = await startEcho()
  const subject = new Subject(server, port)
  await subject.serves()
  await subject.isAtRest()
}
