/** Named sets of connections, for sending to all of one. */

import type { Connection } from './connection.js'
import { extraOf } from './state.js'

const NOBODY: ReadonlySet<Connection> = new Set()

/** All groups of a server or client. A group exists while it has members. */
export class GroupTable {
  readonly #groups = new Map<string, Set<Connection>>()

  join(connection: Connection, name: string): void {
    let members = this.#groups.get(name)
    if (members === undefined) this.#groups.set(name, (members = new Set()))
    members.add(connection)
    ;(extraOf(connection).groups ??= new Set()).add(name)
  }

  leave(connection: Connection, name: string): void {
    connection._extra?.groups?.delete(name)
    const members = this.#groups.get(name)
    if (members?.delete(connection) === true && members.size === 0) this.#groups.delete(name)
  }

  /** A connection is over. */
  leaveAll(connection: Connection): void {
    for (const name of connection._extra?.groups ?? []) this.leave(connection, name)
  }

  /** The members of a group, in the order in which they came. */
  members(name: string): ReadonlySet<Connection> {
    return this.#groups.get(name) ?? NOBODY
  }
}
