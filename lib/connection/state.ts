/** The internal parts of a connection. */

import type { Promised } from '../common/deferred.js'
import type { Emitter } from '../common/emitter.js'
import type { IocpError, IocpFrameError } from '../common/errors.js'
import type { Path } from '../common/paths.js'
import type { AddressTable } from '../native/addresses.js'
import type { Context } from '../native/async_context.js'
import type { ConnectionStats } from '../native/stats.js'
import type { Submission } from '../native/submission.js'
import type { PacketStream } from '../packets/stream.js'
import type { CloseInfo } from './close_info.js'
import type { Connection } from './connection.js'
import type { ConnectionOwnerEvents } from './events.js'
import type { ReceivedFile, ReceiveFileOptions, SendFileOptions, SentFile } from './file_types.js'
import type { GroupTable } from './groups.js'
import type { Profile } from './profile.js'
import type { ProxyInfo } from './proxy_info.js'
import type { ReceiveQueue } from './receive_queue.js'

/** The interface of the engine for connections. */
export interface ConnectionEngine {
  readonly submission: Submission
  readonly addresses: AddressTable
  readonly groups: GroupTable
  /** Where the events of all connections go. */
  readonly owner: Pick<Emitter<ConnectionOwnerEvents>, 'emit' | 'listenerCount' | 'rawListeners'>
  /** What carries files out. */
  readonly transfers: TransferService
  /** The context of the events of accepted connections. */
  readonly context: Context | undefined
  /** Whether the engine is about to stop. */
  readonly isStopping: boolean
  /** Connections whose 'close' waits for packets to be consumed. */
  readonly awaitingReports: Set<Connection>
  /** Bytes that native code has to send, -1 when the connection is gone. */
  queued(slot: number, generation: number): number
  /** Packets that it has to send, -1 when the connection is gone. */
  queuedPackets(slot: number, generation: number): number
  profileIndex(profile: Profile): number
  setTimeLimits(slot: number, generation: number, limits: Uint32Array): void
  connectionInfo(slot: number, generation: number): ConnectionStats | undefined
  /** Asks for a 'drop' event in a tick of its own. */
  reportDrops(connection: Connection): void
}

/** The interface of file transfer for connections; the engine passes it to them. */
export interface TransferService {
  send(connection: Connection, path: Path, options: SendFileOptions | undefined): Promise<SentFile>
  receive(connection: Connection, options: ReceiveFileOptions): Promise<ReceivedFile>
  /** Whether a packet that was held back is about a file after all; then it has been dealt with. */
  consumedAsFile(connection: Connection, packet: Uint8Array): boolean
  /**
   * Whether something between or after packets is awaited: a frame about a file, or the peer's end. Packets without a
   * consumer before it are kept meanwhile.
   */
  readsOn(connection: Connection): boolean
  /** The peer has ended its side. */
  peerEnded(connection: Connection): void
  /** The connection has closed. */
  closed(connection: Connection, info: CloseInfo): void
}

/** The interface of a connection's transfers in progress. */
export interface ConnectionTransfers {
  readonly size: number
  /** Calls back when no transfer has anything left to send, immediately if none has. */
  whenIdle(callback: () => void): void
}

/** The interface of the link that reconnects, for its connection. It is also an emitter. */
export interface ConnectionLink {
  /** @internal Its present connection is over. */
  _lostConnection(info: CloseInfo, connection: Connection): void
}

/** Bits of a connection's flags. */
export const flag = {
  /** `end()` was called. */
  ended: 1,
  /** `destroy()` or `reset()` was called: nothing but 'close' is emitted any more. */
  destroyed: 2,
  /** 'close' was emitted. */
  closed: 4,
  /** Somebody waits for 'drain'. */
  wantsDrain: 8,
  /** Packets without a listener are discarded: `resume()` was called. */
  discarding: 16,
  /** Accepted by a server, as against made by `connect`. */
  accepted: 32,
  /** Native code has closed it; at most packets that still have to be consumed delay 'close'. */
  gone: 64,
  /** The peer has ended its side. */
  peerEnded: 128,
  /** The server or client closes: packets without a listener are discarded, and counted. */
  unwanted: 256
} as const

/** After any of these no packet can be sent. */
export const NOT_WRITABLE = flag.ended | flag.destroyed | flag.closed | flag.gone

/** After any of these native code is asked nothing any more. */
export const DEAD = flag.destroyed | flag.closed | flag.gone

/** After any of these no event but 'close' is emitted. */
export const SILENT = flag.destroyed | flag.closed

/** State that most connections never need, or only at their end. */
export interface Extra {
  /** The address block, once the slot is given back. */
  addresses?: Uint8Array | undefined
  /** What the balancer's header has said, as native code tells it, and when somebody has asked. */
  proxyHeader?: Uint8Array
  proxy?: ProxyInfo
  /** The packet that is being received as a stream. */
  stream?: PacketStream | undefined
  /** The error that interrupted the packet being received as a stream. */
  streamError?: IocpError
  /** The peer's protocol error, until 'close' reports it. */
  frameError?: IocpFrameError | undefined
  /** How it ended, while packets delay 'close'. */
  pending?: CloseInfo | undefined
  /** Packets whose outcome has not been reported. */
  unreportedSends?: number
  /** How it ended, while only these reports delay 'close'. */
  ending?: CloseInfo | undefined
  /** How it ended. */
  info?: CloseInfo
  /** Packets that iterations have not taken before it closed. */
  rest?: ReceiveQueue
  /** A cause that overrides that of native code. */
  cause?: number
  /** Bytes that were discarded in JavaScript. */
  discarded?: number
  droppedPackets?: number
  droppedBytes?: number
  /** Names of the groups that it is in. */
  groups?: Set<string>
  transfers?: ConnectionTransfers
  /** The promise `closed`, if it was requested. */
  closed?: Promised<CloseInfo>
  /** The link that has made it, and makes it again when it is lost. */
  link?: ConnectionLink
  /** The error of a handler that failed, until 'close' reports it. */
  handlerError?: IocpError | undefined
  /** The context that its events run in. */
  context?: Context
}

/** The rarely needed part of a connection, made when it is first needed. */
export function extraOf(connection: Connection): Extra {
  return (connection._extra ??= {})
}
