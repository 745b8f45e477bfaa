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
import { idleInfo, LIFE_END } from './limits.js'
import { tell, tellClosed } from './notify.js'
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

/** Closes immediately, by operation `destroy` or `reset`. Data that was received and not consumed is discarded. */
export function abort(connection: Connection, operation: number): void {
  if (silence(connection)) connection._engine.submission.operation(operation, connection._slot, connection._generation)
}

/** The same for a connection that native code is about to reset because the engine stops. */
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
  // Native code has closed it already; only unread packets had delayed 'close'.
  nativeNextTick(emitClose, connection, extra.pending)
  return false
}

/** Resets it because a time limit passed, not because the program wants it. */
export function timedOut(connection: Connection): void {
  if ((connection._flags & SILENT) !== 0) return
  extraOf(connection).cause ??= cause.timeout
  connection.reset()
}

/** Native code reports that a time limit has passed that does not simply close the connection. */
export function timeLimitPassed(connection: Connection, event: number, times: number): void {
  const info = idleInfo(event, times)
  if (info !== undefined) {
    tell(connection, 'idle', info)
  } else if ((connection._flags & NOT_WRITABLE) === 0) {
    extraOf(connection).cause ??= cause.maxLife
    end(connection, connection._profile.endDeadline || LIFE_END)
  }
}

/**
 * Packets of it were lost because the program transferred their memory: it must not continue with a gap in its data.
 */
export function loseMemory(connection: Connection): void {
  if ((connection._flags & SILENT) !== 0) return
  extraOf(connection).cause = cause.detached
  abort(connection, op.reset)
}

/** The last record of a connection. Its slot may be reused from now on. */
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
  // A large packet without a listener no longer holds back iterations.
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
  // Client connections without listeners are not kept, so that they can be garbage-collected.
  if (!receiveQueue.hasNoListener) connection._engine.awaitingReports.add(connection)
  receiveQueue.push(info)
}

/**
 * Whether received data will not be consumed: this side has closed, or there has never been a listener. An outgoing
 * connection that this side has not ended may be older than its listeners, so its packets are kept if the peer closed
 * gracefully.
 */
function isUnwanted({ _flags: flags, _receiveQueue: receiveQueue }: Connection, info: CloseInfo): boolean {
  if ((flags & flag.destroyed) !== 0) return true
  return (
    receiveQueue?.hasNoListener === true && ((flags & (flag.accepted | flag.ended)) !== 0 || info.cause !== 'peer-end')
  )
}

/** Emits 'close' if only unread packets without a listener delayed it. */
export function closeIfUnread(connection: Connection): void {
  const pending = connection._extra?.pending
  if (pending !== undefined && isUnwanted(connection, pending)) abandonPendingData(connection)
}

/** Its server or client closes: unread packets, including those that still arrive, no longer delay 'close'. */
export function serverCloses(connection: Connection): void {
  connection._flags |= flag.ended | flag.unwanted
  const receiveQueue = connection._receiveQueue
  // In sequence, so that 'end' is emitted after them.
  if (receiveQueue?.hasNoListener === true) receiveQueue.remove(holdReason.noListener)
}

/** Counts bytes that had arrived and are discarded. */
export function countDiscarded(connection: Connection, bytes: number): void {
  if (bytes === 0) return
  const extra = extraOf(connection)
  extra.discarded = (extra.discarded ?? 0) + bytes
}

/** Discards data that was received and not consumed. */
function discard(connection: Connection): void {
  countDiscarded(connection, connection._receiveQueue?.clear() ?? 0)
}

/** Discards a stream that was not delivered. */
export function discardStream(connection: Connection, stream: PacketStream): void {
  countDiscarded(connection, stream.readableLength)
  stream.destroy()
}

/** Everything ends: 'close' is emitted even if unread packets delayed it. Iterations still get their packets. */
export function abandonPendingData(connection: Connection): void {
  const { _extra: extra, _receiveQueue: receiveQueue } = connection
  if (extra?.pending === undefined) return
  if (receiveQueue?.hasReaders !== true) discard(connection)
  else if (!receiveQueue.isHeld) return
  emitClose(connection, extra.pending)
}

/** The outcome of a packet with a callback has been reported. */
export function sendReported(connection: Connection): void {
  const extra = extraOf(connection)
  extra.unreportedSends = (extra.unreportedSends ?? 0) - 1
  if (extra.unreportedSends === 0 && extra.ending !== undefined) emitClose(connection, extra.ending)
}

/** Emits 'close', as soon as the outcomes of all packets have been reported. */
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

/** Adds what has become known since native code reported the end. */
function finalInfo({ discarded = 0, handlerError, stream }: Extra, ending: CloseInfo): CloseInfo {
  // The reader of an interrupted stream receives nothing more.
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
  // Without a listener an 'error' event would end the process. Whoever reads, then or later, gets the error all the
  // same.
  if (stream.listenerCount('error') === 0) stream.on('error', () => undefined)
  stream.destroy(reason)
}
