/**
 * Options of servers and clients, and of connecting: their meaning, ranges and defaults. How they are read:
 * read_options.ts.
 */

import type { Duration, Size } from '../common/option_reader.js'
import type { ConnectionOptions } from '../connection/options.js'
import type { Lookup } from '../engine/connect_target.js'
import type { WorkersOptions } from '../jobs/options.js'
import type { AccessOptions } from './access_options.js'
import type { ProxyHeaderOptions, ProxyProtocolOptions } from './proxy_options.js'
import type { ReconnectingConnection, RetryInfo } from './reconnecting.js'

/** The completion port of a server or client, and its resources. */
export interface EngineOptions {
  /**
   * Threads that serve the completion port. 1 to 64, default 8. As many of them run at a time as there are processors;
   * the others take over when one blocks.
   */
  ioThreads?: number
  /**
   * Threads that wait for disks, so that slow disks delay file transfers only: they open, read, hash, write, rename and
   * close. 1 to 64, default 4; an additional one closes files if all of them are busy. They are started on first use.
   */
  diskThreads?: number
  /** Limits for received bytes waiting for JavaScript; above them reading stops, so that TCP throttles the peers. */
  delivery?: {
    /** All connections together. 64 KiB to 1 TiB; default 16 MiB. */
    total?: Size
    /** One connection. 4 KiB to `total`; default 1 MiB. */
    perConnection?: Size
  }
  /**
   * Free buffers kept for reuse: 0 (default) as many as there were, -1 none, otherwise up to this number. The blocks of
   * large packets are kept too, up to 64 MiB for the whole process, unless every server and client has -1.
   */
  maxFreeBuffers?: number
  /**
   * Free connection contexts kept for reuse: 0 (default) as many as there were, -1 none, otherwise up to this number.
   */
  maxFreeContexts?: number
  /**
   * Process operations that succeed immediately without a completion packet, if all providers allow it. Default true.
   */
  skipOnSuccess?: boolean
}

/** Options of `createServer`. */
export interface ServerOptions extends ConnectionOptions, EngineOptions {
  /** Open connections at a time. 1 to 2,097,151; default 2,097,151. */
  maxConnections?: number
  /**
   * What becomes of peers above `maxConnections`: they are accepted and reset (default), accepted and closed, or not
   * accepted (`'stop-accepting'`): they wait in the backlog of the system until another connection has closed. Other
   * refused peers: `access.onRefuse`.
   */
  onMax?: 'reset' | 'close' | 'stop-accepting'
  /** AcceptEx calls that are pending initially. 1 to 1024; default 64. */
  pendingAccepts?: number
  /** Who may connect. Default everybody. */
  access?: AccessOptions | undefined
  /** Load balancers in front of the server, which tell whose connections they pass on. Default none. */
  proxyProtocol?: ProxyProtocolOptions | undefined
  /**
   * When peers are refused: once they have been accepted (`'accepted'`, default), or before the handshake
   * (`'conditional'`, SO_CONDITIONAL_ACCEPT), so that they see what they would see where nobody listens. The latter turns
   * parts of the system's protection off, see docs/access.md; where the system lacks it, a warning with the code
   * IOCP_NO_CONDITIONAL_ACCEPT is emitted, and peers are refused once they have been accepted.
   */
  admission?: 'accepted' | 'conditional'
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
  /** 0 to 65535, also as text; with 0 (default) the system chooses, see `server.address()`. */
  port?: number | string
  /** Address or name. Default `'::'`, which includes IPv4; if there is no IPv6, `'0.0.0.0'`. */
  host?: string
  /** Connections that may wait to be accepted. 1 to 65535; default 4096. */
  backlog?: number
  /**
   * Whether no other socket may bind the port (SO_EXCLUSIVEADDRUSE). Default true. With false another program of the
   * same user may share the port; in return the port can be bound while connections of an earlier listener still exist.
   */
  exclusive?: boolean
}

/** How often and how fast to reconnect. */
export interface ReconnectOptions {
  /** Failures in a row after which it gives up. 1 to 2^31 - 1; default no limit. */
  maxAttempts?: number
  /** The longest delay before the first new attempt. 1 ms to 24 days; default 250 ms. */
  minDelay?: Duration
  /** The longest delay. `minDelay` to 24 days; default 30 s, or `minDelay` if that is longer. */
  maxDelay?: Duration
  /** Each delay is this many times as long as the one before. 1 to 100; default 2. */
  factor?: number
  /**
   * The random part of each delay, so that many clients do not reconnect at the same time. 0 to 1; default 1, that is
   * anything between no delay and the whole delay.
   */
  jitter?: number
  /**
   * Called when an attempt failed or a connection was lost and the next attempt is scheduled, also before the first
   * connection. `link.destroy()` gives up.
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
  /** Time limit for the whole attempt, including name resolution. 1 ms to 24 days, 0 for none; default 30 s. */
  timeout?: Duration
  /**
   * After this time without an answer the next address is tried in parallel (RFC 8305, section 5: 250 ms is
   * recommended, 10 ms the minimum). 10 ms to 24 days; default 250 ms.
   */
  attemptDelay?: Duration
  /** Aborts the attempt; afterwards it has no effect. */
  signal?: AbortSignal
  /** Resolves names instead of the system. */
  lookup?: Lookup
  /** Begins each connection with a header of the PROXY protocol. Default none. */
  proxyProtocol?: ProxyHeaderOptions | undefined
}

/** Options of `connect`: where to, and how the connection behaves. */
export interface ConnectOptions extends ConnectTarget, ConnectionOptions {
  /** Connect again when the connection is lost. */
  reconnect?: boolean | ReconnectOptions
}
