/** Taking a connection's packets one by one. */

import { type Claim, DONE, type PacketResult } from './claims.js'
import type { Connection } from './connection.js'
import { receiveQueueOf } from './receive.js'
import { ReceiveQueue } from './receive_queue.js'
import { extraOf, flag } from './state.js'

/** Iterators that are garbage-collected without being left: they hold nothing back any more. */
const forgotten = new FinalizationRegistry<{ connection: Connection; claim: Claim }>(({ connection, claim }) => {
  connection._receiveQueue?.detach(claim)
})

/** AsyncIterableIterator<Buffer, undefined>, which TypeScript knows only since 5.6. */
export interface Packets extends AsyncIterableIterator<Buffer> {
  next(): Promise<PacketResult>
  return(): Promise<PacketResult>
  [Symbol.asyncIterator](): this
}

/** An iteration over the packets of a connection, see the method of {@link Connection}. */
export function iterate(connection: Connection): Packets {
  return new PacketIterator(connection)
}

/** Where the next packet comes from: what the connection holds back now, or what it has left behind for iterations. */
function sourceOf(connection: Connection): ReceiveQueue {
  const { closeInfo } = connection
  if (closeInfo === undefined) return receiveQueueOf(connection)
  const { rest = new ReceiveQueue(connection) } = extraOf(connection)
  rest.end(closeInfo)
  return rest
}

class PacketIterator implements Packets {
  readonly #connection: Connection
  readonly #claim: Claim = { waiters: new Set(), isOver: false }
  #isLeft = false

  constructor(connection: Connection) {
    this.#connection = connection
    sourceOf(connection).attach(this.#claim)
    forgotten.register(this, { connection, claim: this.#claim }, this)
  }

  next(): Promise<PacketResult> {
    if (this.#isLeft) return Promise.resolve(DONE)
    const connection = this.#connection
    // Hot path: an open connection whose packets are being consumed has one.
    const source = (connection._flags & flag.closed) === 0 ? connection._receiveQueue : undefined
    return (source ?? sourceOf(connection)).next(this.#claim, this)
  }

  return(): Promise<PacketResult> {
    if (!this.#isLeft) {
      this.#isLeft = true
      forgotten.unregister(this)
      // Packets wait for the next consumer, unless this side has ended and needs none.
      if ((this.#connection._flags & flag.ended) === 0) this.#connection._flags &= ~flag.discarding
      this.#connection._receiveQueue?.detach(this.#claim)
    }
    return Promise.resolve(DONE)
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
