/// <reference types="node" preserve="true" />
/** TCP servers and clients on Windows I/O completion ports. */

export { setAddonPath } from './addon.js'
export { hostAddresses, type HostAddress, type SocketAddress } from './addresses.js'
export type { BroadcastResult } from './broadcast.js'
export { connect, createClient, type Client } from './client.js'
export type { CloseCause, CloseInfo } from './close_info.js'
export type { Connection, ConnectionEvents, ConnectionOwnerEvents, DropInfo, SendState } from './connection.js'
export type { BroadcastOptions, CloseOptions, ConnectionList, DisconnectOptions, EndpointEvents, WorkerEvents } from './endpoint.js'
export {
  IocpAttemptsError,
  IocpError,
  IocpFrameError,
  errorCodes,
  type IocpErrorCode,
  type IocpErrorDetails
} from './errors.js'
export type { Emitter, EventMap, Listener } from './events.js'
export {
  framing,
  type DelimiterOptions,
  type FixedOptions,
  type Framing,
  type FramingOption,
  type HpSocketPackOptions,
  type LengthFieldOptions,
  type LineOptions,
  type PacketLimits,
  type StreamLimits
} from './framing.js'
export type { CloseReport } from './host.js'
export type {
  BackpressureOptions,
  ClientOptions,
  ConnectOptions,
  ConnectTarget,
  ConnectionOptions,
  EngineOptions,
  KeepAliveOptions,
  ListenOptions,
  Lookup,
  ReconnectOptions,
  ServerOptions
} from './options.js'
export type { Path } from './paths.js'
export { PacketReader, type Endian, type StringEnd } from './packet_reader.js'
export type { PacketStream } from './packet_stream.js'
export { PacketWriter, iocpsPackage } from './packet_writer.js'
export type { ReconnectingConnection, ReconnectingEvents, RetryInfo } from './reconnect.js'
export { createServer, type Server, type ServerEvents } from './server.js'
export type { ConnectionStats, CounterName, Distribution, EndpointStats, JobStats, PoolStats } from './stats.js'
export type { SendCallback, SendOutcome } from './submission.js'
export type {
  AcceptOptions,
  ReceiveFileOptions,
  SendFileOptions,
  TransferOptions,
  TransferProgress,
} from './transfer_options.js'
export type { ReceivedFile } from './transfer_in.js'
export type { FileOffer } from './transfer_offer.js'
export { pruneParts, type PruneOptions } from './transfer_parts.js'
export type { BroadcastFileResult } from './transfer_send.js'
export type { SentFile } from './transfer_source.js'
export type { Duration, Size } from './validate.js'
export type { WorkerExitInfo } from './worker_pool.js'
export type { Workers } from './workers.js'
export type { JobPriority, RunOptions, WorkersOptions } from './workers_options.js'
