/** The end of a connection: once, with its cause, after everything that came before it. */

import { CloseInfo } from './close_info.js'
import type { Connection } from './connection.js'
import { SILENT, extraOf, flag } from './connection_state.js'
import { publishClose } from './diagnostics.js'
import { IocpError } from './errors.js'
import { cause } from './vocabulary.js'

/** Closes at once, by operation `destroy` or `reset`. What was received and not taken is thrown away. */
export function abort(connection: Connection, operation: number): void {
  if ((connection._flags & SILENT) !== 0) return
  connection._flags |= flag.destroyed
  const extra = extraOf(connection)
  extra.discarded = (extra.discarded ?? 0) + (connection._intake?.clear() ?? 0)
  extra.stream?.destroy()
  if (extra.info === undefined) {
    connection._host.submission.operation(operation, connection._slot, connection._generation)
  } else {
    // Native code is through with it; only packets that nobody took had kept the end from being told.
    process.nextTick(finish, connection, extra.info)
  }
}

/** The last record of a connection. Its slot belongs to somebody else from now on. */
export function closed(connection: Connection, number: number, detail: number, discarded: number): void {
  const extra = extraOf(connection)
  extra.addresses = connection._host.addresses.copy(connection._slot)
  const intake = connection._intake
  const isLocal = (connection._flags & flag.destroyed) !== 0
  // Packets that nobody has ever asked for end with an accepted connection. Those of one that this program made are
  // kept: it may not have come to listen yet.
  const isUnwanted = intake?.isUnclaimed === true && (connection._flags & flag.accepted) !== 0
  if (intake !== undefined && (isLocal || isUnwanted)) extra.discarded = (extra.discarded ?? 0) + intake.clear()
  const info = new CloseInfo(
    number === cause.local ? (extra.cause ?? number) : number,
    detail,
    discarded + (extra.discarded ?? 0),
    extra.frameError
  )
  if (intake === undefined || intake.isEmpty) {
    finish(connection, info)
  } else {
    extra.info = info
    intake.push(info)
  }
}

/** Tells the end. */
export function finish(connection: Connection, info: CloseInfo): void {
  if ((connection._flags & flag.closed) !== 0) return
  connection._flags |= flag.closed
  const extra = extraOf(connection)
  extra.info = info
  extra.frameError = undefined
  connection._host.groups.leaveAll(connection)
  const { stream } = extra
  extra.stream = undefined
  stream?.destroy(
    info.error ?? new IocpError('ERR_IOCP_CLOSED', 'The connection closed before the packet was complete')
  )
  connection._intake?.end(info)
  connection._intake = undefined
  publishClose(connection, info)
  // A handler that throws must not keep the others from hearing of it.
  try {
    if (connection.listenerCount('error') > 0 && info.error !== undefined) connection.emit('error', info.error)
  } finally {
    try {
      connection.emit('close', info)
    } finally {
      connection._host.owner.emit('disconnect', info, connection)
    }
  }
}
