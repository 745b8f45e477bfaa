/** The end of a connection: once, with its cause, after everything that came before it. */

import { publishClose } from '../common/diagnostics.js'
import { errorCodes, IocpError } from '../common/errors.js'
import { nativeNextTick } from '../common/timers.js'
import { bound } from '../native/async_context.js'
import { cause, op } from '../native/protocol.js'
import type { PacketStream } from '../packets/stream.js'
import { CloseInfo } from './close_info.js'
import type { Connection } from './connection.js'
import { withinConnection } from './context.js'
import { tellClosed } from './notify.js'
import { holdReason } from './receive_queue.js'
import { type ConnectionEngine, type Extra, extraOf, flag, NOT_WRITABLE, SILENT } from './state.js'

/** Sends what is queued, files that are under way included, and ends this side. */
export function end(connection: Connection, deadline: number): void {
  const flags = connection._flags
  if ((flags & NOT_WRITABLE) === 0) {
    connection._flags |= flag.ended
    connection._receiveQueue?.reconsider()
    const submit = (): void => {
      if ((connection._flags & SILENT) !== 0) return
      connection._engine.submission.operation(op.end, connection._slot, connection._generation, deadline)
    }
    const transfers = connection._extra?.transfers
    if (transfers === undefined) submit()
    else transfers.whenIdle(submit)
  } else if ((flags & (flag.gone | SILENT | flag.ended)) === flag.gone) {
    // It has ended already, and perhaps packets that nobody took have kept that from being told.
    connection._flags |= flag.ended
    nativeNextTick(closeIfUnread, connection)
  }
}

/** Calls back when the connection is closed, in a tick of its own when it is already. */
export function whenClosed(connection: Connection, callback: (info: CloseInfo) => void): void {
  const { closeInfo } = connection
  if (closeInfo === undefined) connection.once('close', bound(callback))
  else nativeNextTick(callback, closeInfo)
}

/** Closes at once, by operation `destroy` or `reset`. What was received and not taken is thrown away. */
export function abort(connection: Connection, operation: number): void {
  if (silence(connection)) connection._engine.submission.operation(operation, connection._slot, connection._generation)
}

/** The same for all connections of an engine that native code is about to cut. */
export function silenceAll(
  engine: Pick<ConnectionEngine, 'awaitingReports'>,
  open: Iterable<Connection | undefined>
): void {
  for (const connection of open) if (connection !== undefined) silence(connection)
  for (const connection of [...engine.awaitingReports]) silence(connection)
}

/**
 * From now on nothing but 'close' is emitted.
 * @returns whether native code still has to close it
 */
function silence(connection: Connection): boolean {
  if ((connection._flags & SILENT) !== 0) return false
  connection._flags |= flag.destroyed
  discard(connection)
  const extra = extraOf(connection)
  if (extra.stream !== undefined) {
    countDiscarded(connection, extra.stream.readableLength)
    extra.stream.destroy()
  }
  if (extra.pending === undefined) return true
  // Native code is through with it; only packets that nobody took had kept the end from being told.
  nativeNextTick(emitClose, connection, extra.pending)
  return false
}

/** Resets it because a time limit passed, not because the program wants it. */
export function timedOut(connection: Connection): void {
  if ((connection._flags & SILENT) !== 0) return
  extraOf(connection).cause ??= cause.timeout
  connection.reset()
}

/** Packets of it were lost because the program has transferred their memory away: it must not go on as if nothing had been. */
export function loseMemory(connection: Connection): void {
  if ((connection._flags & SILENT) !== 0) return
  extraOf(connection).cause = cause.detached
  abort(connection, op.reset)
}

/** The last record of a connection. Its slot belongs to somebody else from now on. */
export function closed(connection: Connection, number: number, detail: number, discarded: number): void {
  connection._flags |= flag.gone
  const extra = extraOf(connection)
  extra.addresses = connection._engine.addresses.copy(connection._slot)
  const known = number === cause.local ? (extra.cause ?? number) : number
  const info = new CloseInfo(known, detail, discarded, extra.frameError)
  const receiveQueue = connection._receiveQueue
  connection._engine.transfers.closed(connection, info)
  if (isUnwanted(connection, info)) discard(connection)
  endStream(connection, info.error)
  // A large packet that nobody listens for keeps nothing back from iterations any more.
  if (receiveQueue?.hasReaders === true) receiveQueue.remove(holdReason.noListener)
  const isDestroyed = (connection._flags & flag.destroyed) !== 0
  if (
    receiveQueue === undefined ||
    (receiveQueue.isEmpty && !receiveQueue.has(holdReason.justConnected) && (isDestroyed || !receiveQueue.isAtWork))
  ) {
    emitClose(connection, info)
    return
  }
  extra.pending = info
  // Not a connection of ours that nobody listens to: it may be forgotten, and then it has to be free to go.
  if (!receiveQueue.hasNoListener) connection._engine.awaitingReports.add(connection)
  receiveQueue.push(info)
}

/**
 * Whether nobody will take what has arrived: this side has closed, or nobody has ever listened. A connection that this
 * program made, and has not ended, may have come before its listeners; so its packets are kept where the peer ended in order.
 */
function isUnwanted({ _flags: flags, _receiveQueue: receiveQueue }: Connection, info: CloseInfo): boolean {
  if ((flags & flag.destroyed) !== 0) return true
  return (
    receiveQueue?.hasNoListener === true && ((flags & (flag.accepted | flag.ended)) !== 0 || info.cause !== 'peer-end')
  )
}

/** Tells an end that only packets kept back which, as it turned out, nobody wants. */
export function closeIfUnread(connection: Connection): void {
  const pending = connection._extra?.pending
  if (pending !== undefined && isUnwanted(connection, pending)) abandonPendingData(connection)
}

/** Its server or client closes: packets that nobody has taken keep no end back any more, nor do those that still come. */
export function serverCloses(connection: Connection): void {
  connection._flags |= flag.ended | flag.unwanted
  const receiveQueue = connection._receiveQueue
  // In their order, so that the peer's end is told behind them.
  if (receiveQueue?.hasNoListener === true) receiveQueue.remove(holdReason.noListener)
}

/** Counts bytes that had arrived and that nobody gets. */
export function countDiscarded(connection: Connection, bytes: number): void {
  if (bytes === 0) return
  const extra = extraOf(connection)
  extra.discarded = (extra.discarded ?? 0) + bytes
}

/** Throws away what was received and not taken. */
function discard(connection: Connection): void {
  countDiscarded(connection, connection._receiveQueue?.clear() ?? 0)
}

/** Throws away a stream that nobody has had. */
export function discardStream(connection: Connection, stream: PacketStream): void {
  countDiscarded(connection, stream.readableLength)
  stream.destroy()
}

/** Everything ends: an end that is kept back by packets nobody takes is told now. Iterations still get theirs. */
export function abandonPendingData(connection: Connection): void {
  const { _extra: extra, _receiveQueue: receiveQueue } = connection
  if (extra?.pending === undefined) return
  if (receiveQueue?.hasReaders !== true) discard(connection)
  else if (!receiveQueue.isHeld) return
  emitClose(connection, extra.pending)
}

/** One of the packets whose fate the program wants to know has been told of. */
export function sendReported(connection: Connection): void {
  const extra = extraOf(connection)
  extra.unreportedSends = (extra.unreportedSends ?? 0) - 1
  if (extra.unreportedSends === 0 && extra.ending !== undefined) emitClose(connection, extra.ending)
}

/** Tells the end, as soon as all packets that were sent before have been told of. */
export function emitClose(connection: Connection, ending: CloseInfo): void {
  if ((connection._flags & flag.closed) !== 0) return
  const extra = extraOf(connection)
  if ((extra.unreportedSends ?? 0) > 0) {
    // Handed over when native code was through with the connection already: their answers come behind its last record.
    extra.ending = ending
    extra.pending = ending
    connection._engine.awaitingReports.add(connection)
    return
  }
  connection._flags |= flag.closed
  extra.ending = undefined
  const info = finalInfo(extra, ending)
  extra.info = info
  extra.pending = undefined
  extra.frameError = undefined
  extra.handlerError = undefined
  connection._engine.groups.leaveAll(connection)
  connection._engine.awaitingReports.delete(connection)
  withinConnection(connection, tellEnd, connection, info)
}

function tellEnd(connection: Connection, info: CloseInfo): void {
  connection._receiveQueue?.end(info)
  if (connection._receiveQueue?.keepsPackets === true) extraOf(connection).rest = connection._receiveQueue
  connection._receiveQueue = undefined
  publishClose(connection, info)
  connection._extra?.closed?.resolve(info)
  tellClosed(connection, info)
}

/** What has become known since native code told how it ended. */
function finalInfo({ discarded = 0, handlerError, stream }: Extra, ending: CloseInfo): CloseInfo {
  // Of a stream that breaks off, the reader gets no more than it has.
  const unread = stream?.destroyed === false ? stream.readableLength : 0
  const info = discarded + unread === 0 ? ending : ending._plus(discarded + unread)
  return handlerError === undefined ? info : info._because(handlerError)
}

/** A packet that was being received as a stream will not be complete. */
export function endStream(connection: Connection, error?: IocpError): void {
  const stream = connection._extra?.stream
  if (stream === undefined) return
  extraOf(connection).stream = undefined
  connection._receiveQueue?.streamFull(false)
  if (!stream.destroyed) countDiscarded(connection, stream.readableLength)
  const reason = error ?? new IocpError('ERR_IOCP_CLOSED', errorCodes.ERR_IOCP_CLOSED)
  extraOf(connection).streamError = reason
  // Without a listener an 'error' event would end the process. Whoever reads, then or later, gets the error all the same.
  if (stream.listenerCount('error') === 0) stream.on('error', () => undefined)
  stream.destroy(reason)
}
