/** Taking a connection's packets one by one. */

import type { Connection } from './connection.js'
import { Intake } from './intake.js'
import { intakeOf } from './receiving.js'

/** An iteration over the packets of a connection, see the method of {@link Connection}. */
export function iterate(connection: Connection): AsyncIterableIterator<Buffer> {
  const { closeInfo } = connection
  const intake = closeInfo === undefined ? intakeOf(connection) : new Intake(connection)
  if (closeInfo !== undefined) intake.end(closeInfo)
  intake.attach()
  let isAttached = true
  return {
    next() {
      const result = intake.next()
      // On demand, one packet is asked for whenever somebody waits and none is here.
      if (connection._profile.receive !== -1 && intake.isEmpty) connection.demand()
      return result
    },
    return() {
      if (isAttached) intake.detach()
      isAttached = false
      return Promise.resolve({ done: true, value: undefined })
    },
    [Symbol.asyncIterator]() {
      return this
    }
  }
}
