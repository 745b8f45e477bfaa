/** The parts of a connection that only the library itself looks at. */

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
import type { ReceiveQueue } from './receive_queue.js'

/** What a connection needs of the completion port that it belongs to. */
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
  /** Whether everything is about to end. */
  readonly isStopping: boolean
  /** Connections whose end waits for packets that somebody still has to take. */
  readonly awaitingReports: Set<Connection>
  /** Bytes that native code has to send, -1 when the connection is gone. */
  queued(slot: number, generation: number): number
  /** Packets that it has to send, -1 when the connection is gone. */
  queuedPackets(slot: number, generation: number): number
  profileIndex(profile: Profile): number
  connectionInfo(slot: number, generation: number): ConnectionStats | undefined
  /** Asks for a 'drop' event in a tick of its own. */
  reportDrops(connection: Connection): void
}

/** Transfers of files as connections see them. Whoever makes connections hands it to them. */
export interface TransferService {
  send(connection: Connection, path: Path, options: SendFileOptions | undefined): Promise<SentFile>
  receive(connection: Connection, options: ReceiveFileOptions): Promise<ReceivedFile>
  /** Whether a packet that was held back is about a file after all; then it has been dealt with. */
  consumedAsFile(connection: Connection, packet: Uint8Array): boolean
  /**
   * Whether something is waited for that comes between packets, or behind them: a word about a file, or the peer's end.
   * Packets that nobody takes are in its way, and are kept meanwhile.
   */
  readsOn(connection: Connection): boolean
  /** The peer says no more. */
  peerEnded(connection: Connection): void
  /** The connection is over. */
  closed(connection: Connection, info: CloseInfo): void
}

/** The files of one connection that are under way, as it sees them. */
export interface ConnectionTransfers {
  readonly size: number
  /** Calls back when nothing is under way that has to say something, at once when nothing is. */
  whenIdle(callback: () => void): void
}

/** What makes a connection again when it is lost, as the connection sees it. It is an emitter too. */
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
  /** Packets that nobody listens for are thrown away: `resume()` was called. */
  discarding: 16,
  /** Accepted by a server, as against made by `connect`. */
  accepted: 32,
  /** Native code is through with it; at most packets that somebody still has to take keep 'close' back. */
  gone: 64,
  /** The peer has ended its side. */
  peerEnded: 128,
  /** The server or client closes: packets that nobody listens for are thrown away, and counted. */
  unwanted: 256
} as const

/** After any of these no packet can be sent. */
export const NOT_WRITABLE = flag.ended | flag.destroyed | flag.closed | flag.gone

/** After any of these native code is asked nothing any more. */
export const DEAD = flag.destroyed | flag.closed | flag.gone

/** After any of these no event but 'close' is emitted. */
export const SILENT = flag.destroyed | flag.closed

/** What most connections never need, or only at their end. */
export interface Extra {
  /** The address block, once the slot is given back. */
  addresses?: Uint8Array | undefined
  /** The packet that is being received as a stream. */
  stream?: PacketStream | undefined
  /** What broke off the packet that was being received as a stream. */
  streamError?: IocpError
  /** What the peer did wrong, until 'close' tells it. */
  frameError?: IocpFrameError | undefined
  /** How it ended, while packets keep that from being told. */
  pending?: CloseInfo | undefined
  /** Packets whose fate is still to be told. */
  unreportedSends?: number
  /** How it ended, while only that is still to be told. */
  ending?: CloseInfo | undefined
  /** How it ended. */
  info?: CloseInfo
  /** Packets that iterations have not taken before it closed. */
  rest?: ReceiveQueue
  /** A cause that JavaScript knows better than native code does. */
  cause?: number
  /** Bytes that were thrown away in JavaScript. */
  discarded?: number
  droppedPackets?: number
  droppedBytes?: number
  /** Names of the groups that it is in. */
  groups?: Set<string>
  transfers?: ConnectionTransfers
  /** The promise of its end, where somebody has asked for it. */
  closed?: Promised<CloseInfo>
  /** The link that has made it, and makes it again when it is lost. */
  link?: ConnectionLink
  /** What it ends with because a handler failed, until 'close' tells it. */
  handlerError?: IocpError | undefined
  /** The context that its events run in. */
  context?: Context
}

/** The rarely needed part of a connection, made when it is first needed. */
export function extraOf(connection: Connection): Extra {
  return (connection._extra ??= {})
}
