/**
 * Channels of node:diagnostics_channel. Messages are plain objects, created only if there is a subscriber.
 *
 * - `iocp:listening` `{ server, address }`
 * - `iocp:connection` `{ owner, connection }`: accepted or made
 * - `iocp:close` `{ connection, info }`
 * - `iocp:batch` `{ owner, records, payloadBytes }`
 * - `iocp:stats` `{ owner, stats }`: with the first batch in each second, and with every call of `stats()`
 */

import { type Channel, channel } from 'node:diagnostics_channel'

const listening = channel('iocp:listening')
const connected = channel('iocp:connection')
const closedChannel = channel('iocp:close')
const batches = channel('iocp:batch')
const statistics = channel('iocp:stats')

const STATS_INTERVAL = 1000

function publish<T extends object>(to: Channel, message: T): void {
  if (to.hasSubscribers) to.publish(message)
}

export function publishListening(server: object, address: unknown): void {
  publish(listening, { server, address })
}

export function publishConnection(owner: object, connection: object): void {
  if (connected.hasSubscribers) connected.publish({ owner, connection })
}

export function publishClose(connection: object, info: object): void {
  if (closedChannel.hasSubscribers) closedChannel.publish({ connection, info })
}

export function publishStats(owner: object, stats: unknown): void {
  publish(statistics, { owner, stats })
}

/** Publishes batches, and statistics once a second; without subscribers it costs two tests of a field. */
export class BatchReport {
  #last = Number.NEGATIVE_INFINITY

  report(owner: { stats(): unknown }, records: number, payloadBytes: number): void {
    if (batches.hasSubscribers) batches.publish({ owner, records, payloadBytes })
    if (!statistics.hasSubscribers) return
    const now = performance.now()
    if (now - this.#last < STATS_INTERVAL) return
    this.#last = now
    owner.stats()
  }
}
