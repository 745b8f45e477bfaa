/** Sending: how much is queued, and what happens if that is too much. Hot path. */

import { cause, op, outcome } from '../native/protocol.js'
import type { SendCallback } from '../native/submission.js'
import { abort } from './close.js'
import type { Connection } from './connection.js'
import { withinConnection } from './context.js'
import type { DropInfo } from './events.js'
import { guarded, tell } from './notify.js'
import { DEAD, extraOf, flag, NOT_WRITABLE, SILENT } from './state.js'

/** The result of {@link admit} if a packet is accepted and the queue stays below the mark. */
export const ACCEPTED = 0
/** The same, but the queue is above the mark now. */
export const ACCEPTED_ABOVE_HIGH_WATER = 1
/** The overflow policy rejects it. */
export const DROPPED = 2
/** The connection accepts nothing any more. */
export const CLOSED = 3

/**
 * Decides about a packet before it is submitted, and counts it.
 *
 * The length of the queue is estimated, never too low: the last value from native code, plus all that was sent since.
 * Native code is queried again only when the estimate reaches the mark. Until it gets the packet its queue can only
 * become shorter, so a packet that is admitted here is admitted there.
 *
 * Call `submission.reserve()` first: nothing may be submitted between this and the packet.
 *
 * @param bytes of the packet with its header
 */
export function admit(connection: Connection, bytes: number): number {
  if ((connection._flags & NOT_WRITABLE) !== 0) return CLOSED
  const { hardCapPackets, highWater } = connection._profile.native
  if (connection._waitingBytes + bytes > highWater || connection._waitingPackets >= hardCapPackets) {
    return admitAbove(connection, bytes)
  }
  return accept(connection, bytes, ACCEPTED)
}

function accept(connection: Connection, bytes: number, answer: number): number {
  connection._waitingBytes += bytes
  connection._waitingPackets++
  connection._epoch = connection._engine.submission.epoch
  return answer
}

/** The part of {@link admit} for a queue that may be above the mark. */
function admitAbove(connection: Connection, bytes: number): number {
  const { hardCap, hardCapPackets, highWater, onOverflow } = connection._profile.native
  const overCap = (): boolean =>
    connection._waitingBytes + bytes > hardCap || connection._waitingPackets >= hardCapPackets
  // 'drain' is still to come: the exact length makes no difference as long as there is room.
  const waits = (connection._flags & flag.wantsDrain) !== 0
  if (waits && onOverflow === 'queue' && !overCap()) return accept(connection, bytes, ACCEPTED_ABOVE_HIGH_WATER)
  if (!measure(connection)) return CLOSED
  if (connection._waitingBytes + bytes <= highWater && !overCap()) return accept(connection, bytes, ACCEPTED)
  // An empty queue takes a packet larger than the mark: otherwise it could never be sent.
  const fits = (onOverflow === 'queue' || connection._waitingBytes === 0) && !overCap()
  // Native code makes room by dropping older ones.
  const makesRoom = onOverflow === 'drop-oldest' && bytes <= hardCap
  if (fits || makesRoom) return accept(connection, bytes, ACCEPTED_ABOVE_HIGH_WATER)
  if (onOverflow === 'close') {
    extraOf(connection).cause = cause.overflow
    abort(connection, op.destroy)
    return CLOSED
  }
  const extra = extraOf(connection)
  extra.droppedPackets = (extra.droppedPackets ?? 0) + 1
  extra.droppedBytes = (extra.droppedBytes ?? 0) + bytes
  if (extra.droppedPackets === 1) connection._engine.reportDrops(connection)
  wantDrain(connection)
  return DROPPED
}

/** A number by which the outcome of a packet is reported to the program's callback. */
export function tokenFor(connection: Connection, onSent: SendCallback): number {
  const extra = extraOf(connection)
  extra.unreportedSends = (extra.unreportedSends ?? 0) + 1
  return connection._engine.submission.token(guarded(connection, onSent), connection)
}

/** Queries the exact length of the queue. False if the connection has closed. */
function measure(connection: Connection): boolean {
  const { submission } = connection._engine
  // What this connection has sent since the last submission would be missing from native code's figures.
  if (connection._epoch === submission.epoch) submission.flush()
  const bytes = connection._engine.queued(connection._slot, connection._generation)
  if (bytes < 0) return false
  connection._waitingBytes = bytes
  connection._waitingPackets = Math.max(0, connection._engine.queuedPackets(connection._slot, connection._generation))
  return true
}

/** Bytes that wait to be sent; 0 when the connection is gone. */
export function waitingBytes(connection: Connection): number {
  return (connection._flags & DEAD) === 0 && measure(connection) ? connection._waitingBytes : 0
}

/** Requests one report from native code when the queue is low again; it reports immediately if it already is. */
export function wantDrain(connection: Connection): void {
  if ((connection._flags & flag.wantsDrain) !== 0) return
  connection._flags |= flag.wantsDrain
  connection._engine.submission.operation(op.wantDrain, connection._slot, connection._generation)
}

/** Native code reports that the queue is low. */
export function drained(connection: Connection): void {
  if ((connection._flags & flag.wantsDrain) === 0 || (connection._flags & SILENT) !== 0) return
  connection._flags &= ~flag.wantsDrain
  tell(connection, 'drain')
}

/** Packets were dropped, by native code or by {@link admit}. */
export function dropped(connection: Connection, packets: number, bytes: number, why: number): void {
  if (packets === 0) return
  tell(connection, 'drop', { packets, bytes, reason: dropReasons[why] ?? 'overflow' })
}

const dropReasons: Readonly<Record<number, DropInfo['reason']>> = {
  [outcome.detached]: 'detached',
  [outcome.unframeable]: 'framing'
}

/** Reports the packets that {@link admit} has dropped since the last time. */
export function reportDrops(connection: Connection): void {
  const extra = extraOf(connection)
  const { droppedPackets = 0, droppedBytes = 0 } = extra
  extra.droppedPackets = 0
  extra.droppedBytes = 0
  withinConnection(connection, dropped, connection, droppedPackets, droppedBytes, outcome.dropped)
}
