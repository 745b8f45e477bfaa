/** What the native addon looks like to TypeScript: its classes, and what goes in and comes out. */

import type { NativeNumbers } from './protocol.js'
import type { ConnectionStats, EndpointStats, JobStats } from './stats.js'

/** How a completion port is made. */
export interface NativeEngineOptions {
  ioThreads: number
  diskThreads: number
  /** Bytes that may wait for JavaScript, all connections together. */
  deliveryBytes: number
  /** The same for one connection. */
  deliveryPerConnection: number
  /** Free buffers and contexts to keep: 0 all, -1 none. */
  maxFreeBuffers: number
  maxFreeContexts: number
  skipOnSuccess: boolean
}

/** What native code has to know of the Node.js that it runs in. */
export interface NativeHostOptions {
  /** Whether the memory of batches may be native code's own, see `marksWithKey`. */
  externalMemory: boolean
}

/** A framing as native code reads it. Sizes in bytes; `Number.MAX_SAFE_INTEGER` stands for "never". */
export type NativeFraming =
  | {
      readonly kind: 'lengthField'
      readonly offset: number
      readonly bytes: 1 | 2 | 3 | 4 | 8
      readonly endian: 'big' | 'little'
      readonly adjustment: number
      readonly strip: number
      readonly maxPacket: number
      readonly failFast: boolean
      readonly typeByte: boolean
      readonly onOversize: 'close' | 'discard'
      readonly streamAbove: number
      /** Types 1, 2 and 3 speak of files as IOCPS does. */
      readonly iocpsFiles?: boolean
    }
  | {
      readonly kind: 'delimiter'
      readonly delimiters: readonly Uint8Array[]
      readonly strip: boolean
      readonly maxPacket: number
      readonly failFast: boolean
      readonly typeByte: boolean
      readonly onOversize: 'close' | 'discard'
    }
  | { readonly kind: 'fixed'; readonly bytes: number; readonly typeByte: boolean }
  | { readonly kind: 'raw' }
  | {
      readonly kind: 'varint'
      readonly maxPacket: number
      readonly failFast: boolean
      readonly typeByte: boolean
      readonly onOversize: 'close' | 'discard'
      readonly streamAbove: number
    }
  | {
      readonly kind: 'hpSocketPack'
      readonly flag: number
      readonly maxPacket: number
      readonly failFast: boolean
      readonly typeByte: boolean
      readonly onOversize: 'close' | 'discard'
      readonly streamAbove: number
    }

/** How fast a peer may send; `count` is of packets or of bytes, times in milliseconds. */
export interface NativeRateLimit {
  readonly count: number
  readonly per: number
  readonly burst: number
  readonly onExceed: 'pause' | 'drop' | 'close' | 'ban'
}

/** How connections behave. Sizes in bytes, times in milliseconds, 0 for "as the system has it" or "off". */
export interface NativeProfile {
  receive: NativeFraming
  send: NativeFraming
  readMode: 'adaptive' | 'zero-byte' | 'direct'
  pendingReads: number
  highWater: number
  lowWater: number
  hardCap: number
  hardCapPackets: number
  onOverflow: 'queue' | 'drop-newest' | 'drop-oldest' | 'close'
  noDelay: boolean
  keepAlive: number
  keepAliveInterval: number
  keepAliveCount: number
  receiveBuffer: number
  sendBuffer: number
  typeOfService: number
  packetRate: NativeRateLimit | undefined
  byteRate: NativeRateLimit | undefined
  /** See `nativeTimeLimits`. */
  timeLimits: readonly number[]
  demand: boolean
  /** Packets of the reserved types are about files. */
  transfers: boolean
}

/** An open file. */
export interface NativeFile {
  /** What native code knows it by. */
  readonly file: unknown
  /** Bytes that it had when it was opened. */
  readonly size: number
}

/** A file to be sent. */
export interface NativeSendFile {
  id: number
  offset: number
  length: number
  /** Bytes of what was offered that the receiver has already. */
  start: number
  /** Bytes per piece. */
  chunk: number
  framed: boolean
  /** Raw: keeps its place in the queue, but waits for startSentFile(). */
  held: boolean
  /** By TransmitFile. */
  transmit: boolean
  bytesPerSecond: number
}

/** A file to be received. */
export interface NativeReceiveFile {
  id: number
  /** Bytes that are there already. */
  offset: number
  /** Bytes of the whole file. */
  bytes: number
  raw: boolean
}

/** A frame about a file, to be sent; native code encodes it. */
export interface NativeTransferFrame {
  kind: number
  id: number
  /** Size of an offer, offset of accept. */
  number?: number
  hasHash?: boolean
  hash?: Uint8Array | undefined
  name?: Uint8Array
  /** 0: this side sends the file; 1: it receives it. */
  side?: number
  code?: number
  /** Metadata or reason. */
  rest?: Uint8Array
}

/** Who may connect. Prefixes: see ip_prefix.ts. */
export interface NativeAccessRules {
  allow: Uint8Array
  deny: Uint8Array
  maxPerAddress: number
  maxPerSubnet: number
  v4SubnetBits: number
  v6SubnetBits: number
  /** 0 for no limit. */
  rateCount: number
  ratePer: number
  rateBurst: number
  /** A count, 0 for never, and a time for each number of `offence`. */
  banOn: Uint32Array
  banTime: number
  banFactorThousandths: number
  banMax: number
  tableSize: number
  resetRefused: boolean
}

/** Who may connect to the listeners of an engine. */
export interface NativeAccess {
  /** Rules from now on; without any, everybody may connect, and the following four have no effect. */
  setAccess(rules: NativeAccessRules): void
  /** @param time in milliseconds, 0 as the rules say, below 0 for ever. Returns how long it holds, below 0 for ever. */
  ban(prefix: Uint8Array, time: number, reason: number): number
  lift(prefix: Uint8Array): boolean
  /**
   * `[prefix, 17 bytes][times, 1][automatic, 1][reason, 2][milliseconds left, a double]`. Infinity: for ever; below 0: it
   * has been over for so long, and only `times` counts. Another ban of the same prefix that is longer stays.
   */
  restoreBan(ban: Uint8Array): void
  /** Those in one of so many parts (from 0) of the table, as for restoreBan, one behind the other. */
  bans(part: number, parts: number): Uint8Array
  /** The number of the `refusal`, above all of them for none. */
  testAccess(address: Uint8Array): number
}

/** What a listener expects of its balancers. */
export interface NativeProxyRules {
  readonly from: Uint8Array
  readonly version1: boolean
  readonly version2: boolean
  readonly timeout: number
  readonly direct: boolean
  readonly maxHeader: number
}

/** The header that a connection of this side begins with. Undefined ends are those of the socket. */
export interface NativeProxySend {
  readonly version: 1 | 2
  readonly local: boolean
  readonly source: { readonly address: string; readonly port: number } | undefined
  readonly destination: { readonly address: string; readonly port: number } | undefined
  readonly tlvs: Uint8Array
  readonly checksum: boolean
}

/** A listener to be opened. */
export interface NativeListen {
  address: string
  port: number
  family: 4 | 6
  dualStack: boolean
  exclusive: boolean
  backlog: number
  pendingAccepts: number
  maxConnections: number
  proxy?: NativeProxyRules | undefined
  onMax: 'reset' | 'close' | 'stop-accepting'
  /** Refuse before the handshake, where the system can; stats() tells. */
  conditional: boolean
  profile: number
}

/** A connection to be made; the answer is one record CONNECTED or CONNECT_FAILED with the token. */
export interface NativeConnect {
  token: number
  address: string
  port: number
  family: 4 | 6
  localAddress?: string
  localPort?: number
  timeout: number
  proxy?: NativeProxySend | undefined
  profile: number
}

/** How packets and calls become jobs. */
export interface NativeJobOptions {
  maxQueued: number
  maxQueuedBytes: number
  /** One job of a connection at a time. */
  ordered: boolean
  /** 0 high, 1 normal, 2 low. */
  priority: number
  reject: boolean
  skipWhenClosed: boolean
  routeAll: boolean
  route: Uint8Array
}

/** The jobs of an engine, in the engine's own environment. */
export interface NativeJobs {
  /** Once, before the first connection. Returns the key for workers. */
  openJobs(options: NativeJobOptions): number
  /** The job's number; -1 when too many wait, -2 when the jobs have ended. */
  addJob(
    priority: number,
    slot: number,
    generation: number,
    skipWhenClosed: boolean,
    announce: boolean,
    head: Uint8Array,
    body: Uint8Array
  ): number
  /** 0 it is over, 1 it waited and is taken out, 2 it runs and its worker is told. No record follows. */
  cancelJob(job: number): number
  /** The worker that was told to give the job up and has not; -1 when there is none. */
  stuckWorker(job: number): number
  /** Fails routed jobs that have run for longer. Returns them. */
  expireJobs(milliseconds: number): number[]
  retireWorker(worker: number): void
  /** Reading stops; the record JOBS_DRAINED comes when all jobs are done. */
  drainJobs(): void
  /** Refuses jobs, and fails those that wait; or accepts jobs again, as it does when a worker comes. */
  refuseJobs(on: boolean): void
  /** Cancels all jobs. */
  closeJobs(): void
  jobStats(): JobStats | undefined
}

/** A worker's end of the jobs, in the worker's environment. */
export interface NativeWorkerPort {
  /** The records of one turn, how many they are, and whether its job has been begun: that is for JavaScript to say. */
  readonly batchControl: Uint32Array
  readonly submitControl: Uint32Array
  readonly submitPayload: Uint8Array
  submit(operations: number, pinned?: readonly Uint8Array[]): void
  /**
   * Within onBatch: the next turn, as that gets the first one; undefined when it has to return.
   * @param pending whether the last job goes on in microtasks, which run behind onBatch
   */
  next(pending: boolean): ArrayBuffer | undefined
  /** Bytes that a connection has to send; -1 when it is gone. */
  queued(slot: number, generation: number): number
  detach(): void
}

/** One completion port and its I/O threads. */
export interface NativeEngine extends NativeJobs, NativeAccess {
  /** Records of a batch; written by native code just before it calls onBatch. */
  readonly batchControl: Uint32Array
  /** Operations for the next submit(). */
  readonly submitControl: Uint32Array
  /** Payloads of those operations. */
  readonly submitPayload: Uint8Array
  submit(operations: number, pinned?: readonly Uint8Array[]): void
  /** Bytes that a connection has to send, headers and what is in flight included; -1 when it is gone. */
  queued(slot: number, generation: number): number
  /** The same in packets. */
  queuedPackets(slot: number, generation: number): number
  addProfile(profile: NativeProfile): number
  listen(options: NativeListen): number
  listenerAddress(listener: number): { address: string; family: 'IPv4' | 'IPv6'; port: number }
  closeListener(listener: number): void
  connect(options: NativeConnect): void
  cancelConnect(token: number): void
  /** See `nativeTimeLimits`. */
  setTimeLimits(slot: number, generation: number, limits: Uint32Array): void
  connectionInfo(slot: number, generation: number): ConnectionStats | undefined
  stats(): EndpointStats
  openSource(path: string, hash: boolean, shareWrite: boolean): Promise<NativeFile>
  openTarget(path: string, size: number, resume: boolean, hash: boolean): Promise<NativeFile>
  /** At the exit of the process: none of those is in the middle of making a file then. Blocks for 2 s at most. */
  finishCreations(): void
  /** Hashes for a while, from `at` on. Gives how far it has come, and at `bytes` the SHA-256. */
  hashSome(file: unknown, at: number, bytes: number, keep: boolean): Promise<number | Uint8Array>
  /** hashSome() fails soon, one that is under way and any other. */
  stopFile(file: unknown): void
  closeFile(file: unknown): Promise<void> | undefined
  moveFile(from: string, to: string, replace: boolean): Promise<void>
  /** By its handle. */
  renameFile(file: unknown, to: string, replace: boolean): Promise<void>
  /** Takes the file over; false when the connection takes none. */
  sendFile(slot: number, generation: number, file: unknown, options: NativeSendFile): boolean
  /** The same; a file that is complete can be renamed and has to be closed, any other is closed by then. */
  receiveFile(slot: number, generation: number, file: unknown, options: NativeReceiveFile): boolean
  cancelFile(slot: number, generation: number, received: boolean, id: number): void
  /** Takes a raw file's place in the queue; sendFile() with the same number fills it. */
  reserveFile(slot: number, generation: number, id: number): boolean
  startSentFile(slot: number, generation: number, id: number): void
  /** While it is on, the FIN waits, though not beyond the deadline of the end. */
  holdEnd(slot: number, generation: number, on: boolean): void
  transferFrame(slot: number, generation: number, frame: NativeTransferFrame): boolean
  /** A whole packet, in front of the held file of a number, or with 0 of the first one that is held. */
  sendControl(slot: number, generation: number, packet: Uint8Array, before: number): boolean
  /** Ends everything; the record STOPPED is the last one. */
  stop(deadline: number): void
  /** After STOPPED: waits for the threads and releases everything. */
  join(): void
  ref(): void
  unref(): void
}

/** What the addon exports. */
export interface NativeBinding {
  Engine: new (
    options: NativeEngineOptions & NativeHostOptions,
    onBatch: (records: number, payload: ArrayBuffer | undefined) => void,
    setImmediate: (callback: () => void) => unknown
  ) => NativeEngine
  /** Throws when the worker is not wanted any more. */
  WorkerPort: new (
    key: number,
    worker: number,
    concurrency: number,
    onBatch: (memory: ArrayBuffer) => void,
    setImmediate: (callback: () => void) => unknown
  ) => NativeWorkerPort
  /** Calls the function in no asynchronous context (AsyncLocalStorage), and gives what it returns. */
  withoutContext: <T>(body: () => T) => T
  errorInfo(winCode: number): { code: string; message: string }
  constants: NativeNumbers
}
