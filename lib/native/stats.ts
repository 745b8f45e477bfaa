/** Statistics of native code. */

import type { ProxyErrorName, refusal } from './protocol.js'

/** Counters since the start of a completion port. */
export const counterNames = [
  /** Connections accepted. */
  'accepts',
  /** Times that no AcceptEx was pending. */
  'acceptDry',
  'acceptFailures',
  /** Connections accepted and reset immediately. */
  'refused',
  'connects',
  'connectFailures',
  'closes',
  /** Bytes on the wire, including headers. */
  'bytesIn',
  'bytesOut',
  'packetsIn',
  'packetsOut',
  'recvCalls',
  'sendCalls',
  /** Zero-byte reads, which wait without a buffer. */
  'zeroReads',
  /** Reads with a buffer. */
  'directReads',
  /** Operations that succeeded immediately and needed no completion packet. */
  'skipSuccess',
  /** Times that the system had no memory for an operation. */
  'enobufs',
  /** Packets dropped by native code, for any reason of 'drop', and their bytes. */
  'drops',
  'droppedBytes',
  /** Connections closed because the framing could not decode what they sent. */
  'protocolErrors',
  /** Received packets dropped because of `packetRate` or `byteRate`. */
  'rateDrops',
  /** Connections closed because of a time limit of `timeouts`, except `life`. */
  'timeouts',
  /** Times that reading stopped because JavaScript did not keep up. */
  'parks',
  /** Calls that took completions from the port, and completions taken. */
  'dequeues',
  'completions',
  /** Wake-ups of JavaScript, delivered batches, records in them. */
  'wakes',
  'batches',
  'records'
] as const

/** Name of a counter. */
export type CounterName = (typeof counterNames)[number]

/** Memory kept for reuse. */
export interface PoolStats {
  readonly inUse: number
  readonly free: number
  readonly peak: number
  readonly allocations: number
}

/** The distribution of a value. */
export interface Distribution {
  readonly count: number
  readonly mean: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
}

/** Statistics of one connection. Bytes are those on the wire. */
export interface ConnectionStats {
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly packetsRead: number
  readonly packetsWritten: number
  readonly queuedBytes: number
  readonly queuedPackets: number
}

/** Statistics of a server or client. They are always collected; only reading them has a cost. */
export interface EndpointStats {
  readonly connections: { readonly now: number; readonly peak: number; readonly total: number }
  readonly listeners: readonly {
    readonly pendingAccepts: number
    readonly acceptPool: number
    /** With `proxyProtocol`: connections whose header has not come yet. */
    readonly unannounced?: number
    /** With `proxyProtocol`: what was wrong with headers, and how often. */
    readonly proxyErrors?: Readonly<Partial<Record<ProxyErrorName, number>>>
    /** Whether peers are refused before the handshake, or once they have been accepted. */
    readonly admission: 'conditional' | 'accepted'
  }[]
  /** Data waiting for JavaScript. */
  readonly delivery: {
    readonly bytes: number
    readonly peakBytes: number
    /** Connections that are not read from because of it: now, and how often this happened. */
    readonly parked: number
    readonly timesParked: number
    /** Records per batch. */
    readonly batchRecords: Distribution
    /** How long records waited, in microseconds. */
    readonly latencyMicroseconds: Distribution
  }
  /** Data waiting to be sent, all connections together. */
  readonly sending: { readonly queuedBytes: number; readonly queuedPackets: number }
  readonly pools: Readonly<Record<'readBuffers' | 'waitBuffers' | 'contexts', PoolStats>>
  /** Disk threads: started, running, and files queued for one. */
  readonly disk: { readonly threads: number; readonly running: number; readonly queued: number }
  /** Native objects that keep the completion port from ending. */
  readonly pendingObjects: number
  readonly pendingDirectReads: number
  /** Connection profiles (framings with their limits) that native code keeps: those in use, and up to 64 others. */
  readonly profiles: number
  /** Whether operations that succeed immediately are processed without a completion packet. */
  readonly skipOnSuccess: boolean
  /** Of a server with rules of access, or bans: what was refused, by the reason, and what is remembered. */
  readonly access?: {
    readonly refused: Readonly<Record<keyof typeof refusal, number>>
    /** Open connections that count. */
    readonly connections: number
    /** Addresses and subnets with a connection. */
    readonly addresses: number
    readonly subnets: number
    /** How many rates are remembered: of addresses, and of subnets of IPv6. */
    readonly rates: number
    /** Bans, those that are over and not yet forgotten included. */
    readonly bans: number
    /** Memory of all that. */
    readonly bytes: number
    /** What was forgotten too early, because there was too much of it: raise `tableSize`. */
    readonly evictions: number
  }
  /** By name, see {@link counterNames}; native code may count more than that. */
  readonly counters: Readonly<Record<CounterName, number>> & Readonly<Record<string, number>>
}

/** Statistics of the workers. Times in microseconds. */
export interface JobStats {
  /** Workers that take jobs. */
  readonly size: number
  /** Of those, the ones without a running job. */
  readonly idle: number
  readonly queued: number
  readonly queuedBytes: number
  readonly running: number
  readonly completed: number
  readonly failed: number
  /** Not run, because their connection had closed. */
  readonly skipped: number
  /** Routed packets that were rejected because too many were waiting. */
  readonly rejected: number
  /** Failures of routed packets that no 'jobError' reported, because the main thread was too far behind. */
  readonly unreportedFailures: number
  readonly waitMicroseconds: Distribution
  readonly runMicroseconds: Distribution
}
