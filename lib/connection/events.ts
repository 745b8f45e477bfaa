/** The events of a connection, and those of its server or client about it. */

import type { IocpFrameError } from '../common/errors.js'
import type { PacketStream } from '../packets/stream.js'
import type { CloseInfo } from './close_info.js'
import type { Connection } from './connection.js'
import type { FileOffer } from './file_types.js'
import type { IdleInfo } from './limits.js'

/**
 * The result of `send`: `'sent'` the packet was accepted, continue; `'queued'` it was accepted, but more than
 * `highWater` bytes are queued, stop until 'drain'; `'dropped'` it was not accepted, because too much is queued;
 * `'closed'` it was not accepted, because the connection is closed or ending.
 */
export type SendState = 'sent' | 'queued' | 'dropped' | 'closed'

/** Packets that were dropped since the last 'drop' event. */
export interface DropInfo {
  /**
   * `'overflow'` the overflow policy; `'detached'` the memory of a payload was transferred or resized after `send`;
   * `'framing'` a worker sent a packet that the connection's framing cannot carry.
   */
  readonly reason: 'overflow' | 'detached' | 'framing'
  readonly packets: number
  readonly bytes: number
}

/** Events of a connection. */
export interface ConnectionEvents<Data = unknown> {
  /** A whole packet. It is a view of a batch of packets: to keep a small packet for a long time, copy it. */
  packet: [packet: Buffer]
  /** A packet larger than the framing's `streamAbove`. Later data waits until it is read to its end, or destroyed. */
  stream: [stream: PacketStream]
  /** With `timeouts.idle.action: 'event'`: nothing has come, or gone, for so long. Repeated while that lasts. */
  idle: [info: IdleInfo]
  /** The peer has ended its side; no packet follows. */
  end: []
  /** After `send` returned 'queued' or 'dropped': at most `lowWater` bytes are queued now. */
  drain: []
  /** Packets were dropped. */
  drop: [info: DropInfo]
  /** The peer sent data that the framing does not accept. The connection closes, unless `error.discarded` is true. */
  frameError: [error: IocpFrameError]
  /** The same error as in 'close', immediately before it. It is ignored if there is no listener. */
  error: [error: Error]
  /** The peer offers a file. Without a listener it is rejected. */
  file: [offer: FileOffer<Data>]
  /** A handler failed, and `onHandlerError` is `'close'`: the connection is being closed. */
  handlerError: [error: unknown]
  /** The connection has closed; its last event. */
  close: [info: CloseInfo]
}

/** The same events of any connection of a server or client; 'close' is called 'disconnect' there. */
export interface ConnectionOwnerEvents<Data = unknown> {
  packet: [packet: Buffer, connection: Connection<Data>]
  stream: [stream: PacketStream, connection: Connection<Data>]
  idle: [info: IdleInfo, connection: Connection<Data>]
  end: [connection: Connection<Data>]
  drain: [connection: Connection<Data>]
  drop: [info: DropInfo, connection: Connection<Data>]
  frameError: [error: IocpFrameError, connection: Connection<Data>]
  file: [offer: FileOffer<Data>, connection: Connection<Data>]
  /** With `onHandlerError: 'close'`: a handler failed, one of 'disconnect' or 'close' included. */
  handlerError: [error: unknown, connection: Connection<Data>]
  disconnect: [info: CloseInfo, connection: Connection<Data>]
}
