/** What must be so of connections and endpoints at any moment, and at their end. */

import type { Client, CloseInfo, Connection, Server } from 'iocp'
import { expect } from 'vitest'
import { until } from '../helpers/time.js'

/** Sees every event of every connection of a server or client, and knows what must not be. */
export class Witness {
  readonly wrong: string[] = []
  readonly closed = new Map<Connection, CloseInfo>()
  readonly seen: Connection[] = []
  #disconnects = 0

  constructor(endpoint: Server | Client) {
    const late = (what: string, connection: Connection): void => {
      if (this.closed.has(connection)) this.wrong.push(`'${what}' after 'close' of ${connection.id}`)
    }
    // One type for both: their common events are the same.
    const owner = endpoint as Client
    owner.on('connection', (connection) => {
      late('connection', connection)
      this.seen.push(connection)
      for (const event of ['packet', 'end', 'drain', 'drop', 'frameError', 'error'] as const) {
        connection.on(event, () => {
          late(event, connection)
        })
      }
      connection.on('close', (info) => {
        if (this.closed.has(connection)) this.wrong.push(`a second 'close' of ${connection.id}`)
        this.closed.set(connection, info)
        if (connection.state !== 'closed') this.wrong.push(`${connection.state} in 'close' of ${connection.id}`)
      })
    })
    for (const event of ['packet', 'drop', 'frameError'] as const) {
      owner.on(event, (_: unknown, connection: Connection) => {
        late(`server's ${event}`, connection)
      })
    }
    owner.on('disconnect', (info, connection) => {
      this.#disconnects++
      if (this.closed.get(connection) !== info) this.wrong.push(`'disconnect' without 'close' of ${connection.id}`)
    })
  }

  /** What was paused tells its end when it goes on, so that may come later than the end itself. */
  async allClosed(): Promise<void> {
    await until('every connection has told its end', () => this.closed.size === this.seen.length)
  }

  /** Every connection that there was has ended, once. */
  check(): void {
    expect(this.wrong).toEqual([])
    expect(this.closed.size).toBe(this.seen.length)
    expect(this.#disconnects).toBe(this.seen.length)
  }
}

/** Nothing of an endpoint is in the kernel any more, but what keeps it open itself. */
export async function atRest(server: Server): Promise<void> {
  await until('nothing is left', () => {
    const stats = server.stats()
    // The completion port and its listener.
    return stats?.pendingObjects === 2 && stats.pools.contexts.inUse === 0
  })
  await until('everything has been told', () => server.connections.size === 0)
  const stats = server.stats()
  expect(stats?.pools.readBuffers.inUse).toBe(0)
  expect(stats?.pools.waitBuffers.inUse).toBe(0)
  expect(stats?.pendingDirectReads).toBe(0)
  expect(stats?.connections.now).toBe(0)
}
