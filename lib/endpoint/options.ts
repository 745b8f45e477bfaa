/** Options of servers and clients, and of connecting: their meaning, ranges and defaults. How they are read: read_options.ts. */

import type { Duration, Size } from '../common/option_reader.js'
import type { ConnectionOptions } from '../connection/options.js'
import type { Lookup } from '../engine/connect_target.js'
import type { WorkersOptions } from '../jobs/options.js'
import type { ReconnectingConnection, RetryInfo } from './reconnecting.js'

/** The completion port of a server or client, and what it may use. */
export interface EngineOptions {
  /**
   * Threads that serve the completion port. 1 to 64, default 8. The port lets as many of them run at a time as there
   * are processors; the others step in when one has to wait.
   */
  ioThreads?: number
  /**
   * Threads that wait for disks, so that nothing but files does: they open, read, hash, write, rename and close. 1 to
   * 64, default 4; one more closes files where these are all busy. They are started when they are needed first.
   */
  diskThreads?: number
  /** Received bytes that may wait for JavaScript; beyond them reading stops, so that TCP slows the peers down. */
  delivery?: {
    /** All connections together. 64 KiB to 1 TiB; default 16 MiB. */
    total?: Size
    /** One connection. 4 KiB to `total`; default 1 MiB. */
    perConnection?: Size
  }
  /**
   * Free buffers kept for reuse: 0 (default) as many as there were, -1 none, else up to this number. The blocks of big
   * packets are kept too, up to 64 MiB for the whole process, unless every server and client says -1.
   */
  maxFreeBuffers?: number
  /** Free connection contexts kept for reuse: 0 (default) as many as there were, -1 none, else up to this number. */
  maxFreeContexts?: number
  /** Handle operations that succeed at once without a completion packet, where all providers allow it. Default true. */
  skipOnSuccess?: boolean
}

/** Options of `createServer`. */
export interface ServerOptions extends ConnectionOptions, EngineOptions {
  /** Connections at one time; more are accepted and reset at once. 1 to 2,097,151; default 2,097,151. */
  maxConnections?: number
  /** AcceptEx calls outstanding to begin with. 1 to 1024; default 64. */
  pendingAccepts?: number
  /** Threads that do heavy work, beside the main thread. Default none. */
  workers?: WorkersOptions
}

/** Options of `createClient`. */
export interface ClientOptions extends ConnectionOptions, EngineOptions {
  /** Threads that do heavy work, beside the main thread. Default none. */
  workers?: WorkersOptions
}

/** Options of `server.listen`. */
export interface ListenOptions {
  /** 0 to 65535, also as text; 0 (default) lets the system choose, `server.address()` says what. */
  port?: number | string
  /** Address or name. Default `'::'`, which takes IPv4 too; where there is no IPv6, `'0.0.0.0'`. */
  host?: string
  /** Connections that may wait for being accepted. 1 to 65535; default 4096. */
  backlog?: number
  /**
   * Whether no other socket may bind the port (SO_EXCLUSIVEADDRUSE). Default true. With false another program of the same
   * user may take the port over; in return the port can be bound again while connections of an earlier listener live on.
   */
  exclusive?: boolean
}

/** How often and how fast a lost connection is made again. */
export interface ReconnectOptions {
  /** Failures in a row after which it is given up. 1 to 2^31 - 1; default without limit. */
  maxAttempts?: number
  /** The wait before the first new attempt, at most. 1 ms to 24 days; default 250 ms. */
  minDelay?: Duration
  /** The longest wait. `minDelay` to 24 days; default 30 s. */
  maxDelay?: Duration
  /** By how much each wait is longer than the one before. 1 to 100; default 2. */
  factor?: number
  /**
   * The part of each wait that is left to chance, so that many clients do not come back all at once.
   * 0 to 1; default 1, that is anything between nothing and the whole wait.
   */
  jitter?: number
  /**
   * Called when an attempt has failed or a connection was lost, and the next attempt is planned, also before there has
   * been any connection. `link.destroy()` gives it up.
   */
  onRetry?: (info: RetryInfo, link: ReconnectingConnection) => void
}

/** Where to connect to, and how. */
export interface ConnectTarget {
  /** 1 to 65535, also as text. */
  port: number | string
  /** Address or name; default `'localhost'`. */
  host?: string
  /** Only addresses of this family. Default both. */
  family?: 4 | 6
  /** The local address to connect from; only addresses of its family are tried. */
  localAddress?: string
  /** The local port to connect from. 1 to 65535; default one that the system chooses. */
  localPort?: number | string
  /** Time for everything: the name, all addresses. 1 ms to 24 days, 0 for none; default 30 s. */
  timeout?: Duration
  /**
   * After this time without an answer the next address is tried beside it (RFC 8305, section 5: 250 ms is
   * recommended, 10 ms the least). 10 ms to 24 days; default 250 ms.
   */
  attemptDelay?: Duration
  /** Gives up the attempt; afterwards it has no effect. */
  signal?: AbortSignal
  /** Resolves names instead of the system. */
  lookup?: Lookup
}

/** Options of `connect`: where to, and how the connection behaves. */
export interface ConnectOptions extends ConnectTarget, ConnectionOptions {
  /** Make the connection again when it is lost. */
  reconnect?: boolean | ReconnectOptions
}
