/// <reference types="node" preserve="true" />
/** TCP servers and clients on Windows I/O completion ports. */

export type { Emitter, EventMap, Listener } from './common/emitter.js'
export {
  errorCodes,
  IocpAttemptsError,
  IocpError,
  type IocpErrorCode,
  type IocpErrorDetails,
  IocpFrameError
} from './common/errors.js'
export type { Duration, Size } from './common/option_reader.js'
export type { Path } from './common/paths.js'
export type { CloseCause, CloseInfo } from './connection/close_info.js'
export type { Connection } from './connection/connection.js'
export type { ConnectionEvents, ConnectionOwnerEvents, DropInfo, SendState } from './connection/events.js'
export type {
  AcceptOptions,
  FileOffer,
  ReceivedFile,
  ReceiveFileOptions,
  SendFileOptions,
  SentFile,
  TransferOptions,
  TransferProgress
} from './connection/file_types.js'
export type {
  ByteRateOptions,
  IdleInfo,
  IdleOptions,
  MinRateOptions,
  PacketRateOptions,
  TimeoutOptions
} from './connection/limits.js'
export type { BackpressureOptions, ConnectionOptions, KeepAliveOptions } from './connection/options.js'
export type { ProxyDetails, ProxyInfo, ProxySslInfo, ReceivedProxyTlv } from './connection/proxy_info.js'
export type {
  AccessState,
  Ban,
  BanOptions,
  KeptAccess,
  KeptBan,
  RefusalReason,
  RefusedInfo,
  ServerAccess
} from './endpoint/access.js'
export type { AccessOptions, AddressList, OffenceOptions, RateOptions } from './endpoint/access_options.js'
export type { BroadcastResult } from './endpoint/broadcast.js'
export { type Client, connect, createClient } from './endpoint/client.js'
export type {
  BroadcastOptions,
  CloseOptions,
  ConnectionList,
  DisconnectOptions,
  EndpointEvents,
  WorkerEvents
} from './endpoint/endpoint.js'
export type {
  ClientOptions,
  ConnectOptions,
  ConnectTarget,
  EngineOptions,
  ListenOptions,
  ReconnectOptions,
  ServerOptions
} from './endpoint/options.js'
export type { ProxyEndpoint, ProxyHeaderOptions, ProxyProtocolOptions, ProxyTlv } from './endpoint/proxy_options.js'
export type { ReconnectingConnection, ReconnectingEvents, RetryInfo } from './endpoint/reconnecting.js'
export { createServer, type Server, type ServerEvents } from './endpoint/server.js'
export type { Lookup } from './engine/connect_target.js'
export type { CloseReport } from './engine/engine.js'
export type { JobPriority, RunOptions, WorkersOptions } from './jobs/options.js'
export type { WorkerExitInfo } from './jobs/worker_pool.js'
export type { Workers } from './jobs/workers.js'
export { setAddonPath } from './native/addon.js'
export { type HostAddress, hostAddresses, type SocketAddress } from './native/addresses.js'
export type { ProxyErrorName } from './native/protocol.js'
export type { ConnectionStats, CounterName, Distribution, EndpointStats, JobStats, PoolStats } from './native/stats.js'
export type { SendCallback, SendOutcome } from './native/submission.js'
export {
  type DelimiterOptions,
  type FixedOptions,
  type Framing,
  framing,
  type FramingOption,
  type HpSocketPackOptions,
  type LengthFieldOptions,
  type LineOptions,
  type PacketLimits,
  type StreamLimits
} from './packets/framing.js'
export { type Endian, PacketReader, type StringEnd } from './packets/reader.js'
export type { PacketStream } from './packets/stream.js'
export { iocpsPackage, PacketWriter } from './packets/writer.js'
export type { BroadcastFileResult } from './transfer/outgoing_file.js'
export { type PruneOptions, pruneParts } from './transfer/partial_files.js'
