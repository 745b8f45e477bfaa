/** Receiving: packets go directly to the listeners, or are held until they are consumed. Hot path. */

import { IocpFrameError } from '../common/errors.js'
import { op } from '../native/protocol.js'
import { declaredSize, limitOf } from '../packets/declared_size.js'
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

/** False if there is no listener. */
function emitPacket(connection: Connection, packet: Buffer): boolean {
  if (tell(connection, 'packet', packet) || (connection._flags & flag.discarding) !== 0) return true
  if ((connection._flags & flag.unwanted) === 0) return false
  countDiscarded(connection, packet.length)
  return true
}

/** The receive queue, created on first use. */
export function receiveQueueOf(connection: Connection): ReceiveQueue {
  return (connection._receiveQueue ??= new ReceiveQueue(connection))
}

/** Delivers a held item. False if there is no listener for it. */
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
  // The rest of a large packet will not arrive, and later items must not wait for it.
  endStream(connection)
  if (connection._receiveQueue === undefined) emitEnd(connection)
  else connection._receiveQueue.push(END)
}

function emitEnd(connection: Connection): void {
  if ((connection._flags & SILENT) !== 0) return
  try {
    tell(connection, 'end')
  } finally {
    // After everything that the handlers have sent, so that a reply to the last packet is still sent.
    if (!connection._profile.allowHalfOpen) connection.end()
  }
}

/** The beginning of a packet that is too large for one Buffer. */
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
  // It was not delivered yet, so the end of the connection left it incomplete.
  if (stream.destroyed || emitStream(connection, stream)) return true
  if ((connection._flags & flag.gone) === 0 || connection._receiveQueue?.hasReaders !== true) return false
  // The iterations wait for later items, and this one has no consumer.
  discardStream(connection, stream)
  return true
}

/** False if there is no listener. */
function emitStream(connection: Connection, stream: PacketStream): boolean {
  let isTaken = true
  try {
    isTaken = tell(connection, 'stream', stream)
  } catch (error) {
    // Like a packet whose handler throws, it counts as delivered. Otherwise later items would wait indefinitely.
    if (stream._isUntouched) stream.destroy()
    throw error
  } finally {
    if (isTaken && (connection._flags & SILENT) === 0) receiveQueueOf(connection).show(stream)
  }
  if (isTaken) return true
  if ((connection._flags & (flag.discarding | flag.unwanted)) === 0) return false
  if ((connection._flags & flag.discarding) === 0) {
    discardStream(connection, stream)
    // So that bytes of it that still arrive are counted too.
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

/** The peer sent data that the framing does not accept, and native code closes the connection. */
export function frameProblem(connection: Connection, number: number, bytes: Buffer): void {
  // A copy: an error may be kept for long, and a view would keep the whole batch.
  const header = Buffer.from(bytes)
  const code = frameErrorCode(number)
  const { receive } = connection._profile.native
  const error =
    code === 'ERR_IOCP_FRAME_TOO_LARGE'
      ? new IocpFrameError(code, header, false, declaredSize(receive, header), limitOf(receive))
      : new IocpFrameError(code, header, false)
  extraOf(connection).frameError = error
  tell(connection, 'frameError', error)
}

/** The peer sent a packet that is too large, and native code has skipped it. @param bytes its size, and its header */
export function packetSkipped(connection: Connection, bytes: Buffer): void {
  const header = Buffer.from(bytes.subarray(8))
  // Size 0: not known, because the end of the packet has not come.
  const size = Number(bytes.readBigUInt64LE()) || undefined
  tell(
    connection,
    'frameError',
    new IocpFrameError('ERR_IOCP_FRAME_TOO_LARGE', header, true, size, limitOf(connection._profile.native.receive))
  )
}

/** Starts or stops reading. */
export function reading(connection: Connection, on: boolean): void {
  if ((connection._flags & DEAD) !== 0) return
  connection._engine.submission.operation(on ? op.resume : op.pause, connection._slot, connection._generation)
}
