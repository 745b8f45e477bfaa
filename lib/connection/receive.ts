/** The way of packets into JavaScript: straight to the listeners, or held until somebody takes them. Hot path. */

import { IocpFrameError } from '../common/errors.js'
import { op } from '../native/protocol.js'
import { PacketStream } from '../packets/stream.js'
import { countDiscarded, discardStream, emitClose, endStream } from './close.js'
import { frameErrorCode } from './close_info.js'
import type { Connection } from './connection.js'
import { streamTeller, tell } from './notify.js'
import { END, holdReason, type Item, ReceiveQueue } from './receive_queue.js'
import { DEAD, extraOf, flag, SILENT } from './state.js'

/** A packet has arrived. */
export function deliver(connection: Connection, packet: Buffer): void {
  if ((connection._flags & SILENT) !== 0) {
    countDiscarded(connection, packet.length)
  } else if (connection._receiveQueue !== undefined) {
    connection._receiveQueue.push(packet)
  } else if (!emitPacket(connection, packet)) {
    const receiveQueue = receiveQueueOf(connection)
    receiveQueue.add(holdReason.noListener)
    receiveQueue.push(packet)
  }
}

/** False when nobody listens. */
function emitPacket(connection: Connection, packet: Buffer): boolean {
  if (tell(connection, 'packet', packet) || (connection._flags & flag.discarding) !== 0) return true
  if ((connection._flags & flag.unwanted) === 0) return false
  countDiscarded(connection, packet.length)
  return true
}

/** What holds packets back, made when it is first needed. */
export function receiveQueueOf(connection: Connection): ReceiveQueue {
  return (connection._receiveQueue ??= new ReceiveQueue(connection))
}

/** Hands over what was held. False when nobody listens for it. */
export function handOver(connection: Connection, item: Item): boolean {
  if (item instanceof Uint8Array) return emitPacket(connection, item)
  if (item instanceof PacketStream) return handOverStream(connection, item)
  if (item === END) emitEnd(connection)
  else emitClose(connection, item)
  return true
}

/** The peer has ended its side. */
export function peerEnded(connection: Connection): void {
  if ((connection._flags & SILENT) !== 0) return
  connection._flags |= flag.peerEnded
  connection._engine.transfers.peerEnded(connection)
  // The rest of a large packet will not come, and what is behind it must not wait for that.
  endStream(connection)
  if (connection._receiveQueue === undefined) emitEnd(connection)
  else connection._receiveQueue.push(END)
}

function emitEnd(connection: Connection): void {
  if ((connection._flags & SILENT) !== 0) return
  try {
    tell(connection, 'end')
  } finally {
    // Behind whatever the handlers have sent, so that an answer to the last packet still goes out.
    if (!connection._profile.allowHalfOpen) connection.end()
  }
}

/** A packet begins that is too large for one Buffer. */
export function streamBegins(connection: Connection, size: number): void {
  if ((connection._flags & SILENT) !== 0) return
  const stream = new PacketStream(connection, size, streamTeller(connection))
  extraOf(connection).stream = stream
  if (connection._receiveQueue !== undefined) {
    connection._receiveQueue.push(stream)
  } else if (!emitStream(connection, stream)) {
    const receiveQueue = receiveQueueOf(connection)
    receiveQueue.push(stream)
    receiveQueue.add(holdReason.noListener)
  }
}

/** A stream that had to wait. */
function handOverStream(connection: Connection, stream: PacketStream): boolean {
  // Nobody has had it yet, so it was the end of the connection that left it incomplete.
  if (stream.destroyed || emitStream(connection, stream)) return true
  if ((connection._flags & flag.gone) === 0 || connection._receiveQueue?.hasReaders !== true) return false
  // The iterations want what is behind it, and nobody will ever want this one.
  discardStream(connection, stream)
  return true
}

/** False when nobody listens. */
function emitStream(connection: Connection, stream: PacketStream): boolean {
  let isTaken = true
  try {
    isTaken = tell(connection, 'stream', stream)
  } catch (error) {
    // As with a packet whose handler throws, it has had it. Otherwise what is behind it would wait for ever.
    if (stream._isUntouched) stream.destroy()
    throw error
  } finally {
    if (isTaken && (connection._flags & SILENT) === 0) receiveQueueOf(connection).show(stream)
  }
  if (isTaken) return true
  if ((connection._flags & (flag.discarding | flag.unwanted)) === 0) return false
  if ((connection._flags & flag.discarding) === 0) {
    discardStream(connection, stream)
    // So that what still comes of it is counted too.
    extraOf(connection).stream = undefined
  } else {
    stream.destroy()
  }
  return true
}

/** A piece of that packet. */
export function streamGoesOn(connection: Connection, bytes: Buffer): void {
  const stream = connection._extra?.stream
  if ((connection._flags & SILENT) !== 0 || stream === undefined) countDiscarded(connection, bytes.length)
  else stream._feed(bytes)
}

/** Its last piece has come. */
export function streamEnds(connection: Connection): void {
  const extra = connection._extra
  if (extra?.stream === undefined) return
  const { stream } = extra
  extra.stream = undefined
  connection._receiveQueue?.streamFull(false)
  stream._finish()
}

/** The peer sent what the framing cannot accept, and native code closes the connection. */
export function frameProblem(connection: Connection, number: number, bytes: Buffer): void {
  // A copy: an error may be kept for long, and a view would keep the whole batch.
  const error = new IocpFrameError(frameErrorCode(number), Buffer.from(bytes), false)
  extraOf(connection).frameError = error
  tell(connection, 'frameError', error)
}

/** The peer sent a packet that is too large, and native code has skipped it. @param bytes its size, and its header */
export function packetSkipped(connection: Connection, bytes: Buffer): void {
  const header = Buffer.from(bytes.subarray(8))
  // Size 0: not known, because the end of the packet has not come.
  const size = Number(bytes.readBigUInt64LE()) || undefined
  tell(connection, 'frameError', new IocpFrameError('ERR_IOCP_FRAME_TOO_LARGE', header, true, size))
}

/** Starts or stops reading. */
export function reading(connection: Connection, on: boolean): void {
  if ((connection._flags & DEAD) !== 0) return
  connection._engine.submission.operation(on ? op.resume : op.pause, connection._slot, connection._generation)
}
