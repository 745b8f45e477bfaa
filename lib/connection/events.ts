/** What a connection tells: its events, and those of its server or client about it. */

import type { IocpFrameError } from '../common/errors.js'
import type { PacketStream } from '../packets/stream.js'
import type { CloseInfo } from './close_info.js'
import type { Connection } from './connection.js'
import type { FileOffer } from './file_types.js'

/**
 * What `send` did: `'sent'` the packet was taken over, go on; `'queued'` it was taken over, but more than `highWater`
 * bytes wait, so stop until 'drain'; `'dropped'` it was not taken over, because too much waits; `'closed'` it was not
 * taken over, because the connection is closed or ending.
 */
export type SendState = 'sent' | 'queued' | 'dropped' | 'closed'

/** Packets that an overflow policy threw away since the last such event. */
export interface DropInfo {
  /**
   * `'overflow'` the overflow policy; `'detached'` the memory of a payload was transferred or resized after `send`;
   * `'framing'` a worker sent what the framing of the connection cannot carry.
   */
  readonly reason: 'overflow' | 'detached' | 'framing'
  readonly packets: number
  readonly bytes: number
}

/** Events of a connection. */
export interface ConnectionEvents<Data = unknown> {
  /** A whole packet. It is a view on a batch of packets: copy it to keep a small one for long. */
  packet: [packet: Buffer]
  /** A packet larger than the framing's `streamAbove`. What is behind it waits until it is read to its end, or destroyed. */
  stream: [stream: PacketStream]
  /** The peer has ended its side; no packet will come after it. */
  end: []
  /** After `send` said 'queued' or 'dropped': no more than `lowWater` bytes wait. */
  drain: []
  /** Packets were thrown away. */
  drop: [info: DropInfo]
  /** The peer sent what the framing cannot accept. The connection closes, unless `error.discarded` is true. */
  frameError: [error: IocpFrameError]
  /** The same error as in 'close', just before it. Nothing happens when nobody listens. */
  error: [error: Error]
  /** The peer wants to send a file. Without a listener it is rejected. */
  file: [offer: FileOffer<Data>]
  /** A handler failed, and `onHandlerError` is `'close'`: the connection is being closed. */
  handlerError: [error: unknown]
  /** The connection is over; the last event of it. */
  close: [info: CloseInfo]
}

/** The same events of any connection of a server or client; 'close' is called 'disconnect' there. */
export interface ConnectionOwnerEvents<Data = unknown> {
  packet: [packet: Buffer, connection: Connection<Data>]
  stream: [stream: PacketStream, connection: Connection<Data>]
  end: [connection: Connection<Data>]
  drain: [connection: Connection<Data>]
  drop: [info: DropInfo, connection: Connection<Data>]
  frameError: [error: IocpFrameError, connection: Connection<Data>]
  file: [offer: FileOffer<Data>, connection: Connection<Data>]
  /** With `onHandlerError: 'close'`: a handler failed, one of 'disconnect' or 'close' included. */
  handlerError: [error: unknown, connection: Connection<Data>]
  disconnect: [info: CloseInfo, connection: Connection<Data>]
}
