/** Attempts to connect that native code is busy with, and connections that whoever waits for them does not have yet. */

import { nativeSetImmediate } from '../common/timers.js'
import type { Connection } from '../connection/connection.js'
import type { Profile } from '../connection/profile.js'
import { receiveQueueOf } from '../connection/receive.js'
import { holdReason } from '../connection/receive_queue.js'
import type { Context } from '../native/async_context.js'

/** One attempt, as whoever makes it sees it. */
export interface Attempt {
  readonly profile: Profile
  /** The context of whoever connects. */
  readonly context: Context | undefined
  /** False once nobody waits for it any more: a connection that comes all the same is closed unseen. */
  isWanted: boolean
  connected(connection: Connection): void
  failed(winCode: number): void
}

export class ConnectAttempts {
  readonly #changed: () => void
  readonly #attempts = new Map<number, Attempt>()
  #nextToken = 1
  #newlyConnected: Connection[] = []

  /** @param changed called when there may be none any more, or are some again */
  constructor(changed: () => void) {
    this.#changed = changed
  }

  get size(): number {
    return this.#attempts.size
  }

  /**
   * Begins one.
   * @param connect has native code connect, with the token that its answer will name
   * @returns the token
   */
  begin(attempt: Attempt, connect: (token: number) => void): number {
    const token = this.#nextToken
    this.#nextToken = (token % 0x7fff_ffff) + 1
    connect(token)
    this.#attempts.set(token, attempt)
    this.#changed()
    return token
  }

  isUnderWay(token: number): boolean {
    return this.#attempts.has(token)
  }

  /** One is over. Undefined when it was before. */
  take(token: number): Attempt | undefined {
    const attempt = this.#attempts.get(token)
    this.#attempts.delete(token)
    this.#changed()
    return attempt
  }

  /**
   * Whoever waits for a connection gets it by a promise, and so learns of it after this batch, in which packets and even
   * its end may follow. They wait until then.
   */
  keepFresh(connection: Connection): void {
    receiveQueueOf(connection).add(holdReason.justConnected)
    if (this.#newlyConnected.push(connection) > 1) return
    nativeSetImmediate(() => {
      const connections = this.#newlyConnected
      this.#newlyConnected = []
      for (const one of connections) one._receiveQueue?.remove(holdReason.justConnected)
    })
  }
}
