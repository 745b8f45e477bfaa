/** Options of servers, clients and connections: their meaning, ranges and defaults. How they are read: read_options.ts. */

import type { FramingOption } from '../packets/framing.js'
import type { ReconnectingConnection, RetryInfo } from './reconnecting.js'
import type { TransferOptions } from '../transfer/options.js'
import type { Duration, Size } from '../common/option_reader.js'
import type { WorkersOptions } from '../jobs/options.js'

/** When a peer reads more slowly than the program sends. */
export interface BackpressureOptions {
  /** Bytes waiting in a connection above which `send()` says `'queued'`. 1 to 1 TiB; default 1 MiB. */
  highWater?: Size
  /** 'drain' comes when no more than this many bytes wait. 0 to `highWater`; default a quarter of `highWater`. */
  lowWater?: Size
  /**
   * Bytes that may wait at most, whatever `onOverflow` says. `highWater` to 1 TiB; default 16 times `highWater` and, where
   * that is not given either, no less than the framing's largest packet, or than `streamAbove` where there is one.
   * Where neither is given, `send` refuses a larger packet.
   */
  hardCap?: Size
  /** Packets that may wait at most. 1 to 2^32 - 1; default 2^32 - 1. */
  hardCapPackets?: number
  /**
   * What happens to a packet that would take the queue above `highWater`:
   * `'queue'` (default) it waits, up to `hardCap`, then it is dropped; `'drop-newest'` it is dropped; `'drop-oldest'`
   * older packets are dropped in its favour; `'close'` the connection closes with cause 'overflow'. An empty queue
   * takes a packet larger than `highWater`.
   */
  onOverflow?: 'queue' | 'drop-newest' | 'drop-oldest' | 'close'
}

/** Probes that find out whether a silent peer still exists. */
export interface KeepAliveOptions {
  /** Silence before the first probe. 1 s to 24 days; default 2 hours. */
  delay?: Duration
  /** Time between probes. 1 s to 24 days; default 1 s. */
  interval?: Duration
  /** Probes without an answer until the connection counts as lost. 1 to 255; default 10. */
  count?: number
}

/** How connections behave, on either side. */
export interface ConnectionOptions {
  /** How the stream is cut into packets. Default: a length of 4 bytes, big-endian, that counts the packet alone. */
  framing?: FramingOption
  /** Reads outstanding per connection. 1 to 64; default 1. */
  pendingReads?: number
  /**
   * `'zero-byte'`: no memory is used while it waits; `'direct'`: a buffer always waits in the kernel;
   * `'adaptive'` (default): the first while a connection is idle, the second while it is busy.
   */
  readMode?: 'adaptive' | 'zero-byte' | 'direct'
  /**
   * `'flowing'` (default): packets come as they arrive. A number: that many may come, then as many as
   * `connection.demand(n)` asks for. 0 to 2^31 - 1.
   */
  receive?: 'flowing' | number
  /** Water marks and what happens above them. */
  backpressure?: BackpressureOptions
  /** Whether a connection stays open for sending after the peer has ended its side. Default false. */
  allowHalfOpen?: boolean
  /** Send small packets at once instead of waiting for more (TCP_NODELAY). Default true. */
  noDelay?: boolean
  /** Keep-alive probes: off (default), on with the defaults, on after this silence, or in detail. */
  keepAlive?: boolean | Duration | KeepAliveOptions
  /**
   * SO_RCVBUF in bytes, 0 for what the system chooses. 0 to 1 GiB; default 0. A server sets it before it listens, since it
   * limits how far the TCP window of a connection can be scaled (RFC 7323).
   */
  receiveBuffer?: Size
  /** SO_SNDBUF in bytes, 0 for what the system chooses. 0 to 1 GiB; default 0. */
  sendBuffer?: Size
  /** The IP header's type of service. 0 to 255; default 0. */
  typeOfService?: number
  /** After `end()`: how long the peer may take to end its side before the connection is reset. 0 = for ever; default 10 s. */
  endDeadline?: Duration
  /** Payloads up to this many bytes are copied by `send()`, larger ones are used where they are. 0 to 1 MiB; default 16 KiB. */
  copyThreshold?: Size
  /**
   * What becomes of an exception in a handler of the connection's events, on the connection itself or on its server or
   * client: `'throw'` (default) it is an ordinary uncaught exception; `'close'` it ends that connection with cause
   * 'handler-error', and 'handlerError' tells it. Rejections of handlers that return a promise are treated alike.
   */
  onHandlerError?: 'throw' | 'close'
  /**
   * Transfers of files: false switches all of it off, and then packets may begin with the bytes 0xF0 to 0xF7 that are
   * else reserved where the framing has `typeByte`. Default: on.
   */
  transfer?: boolean | TransferOptions
}

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

/** Options of `connection.end`. */
export interface EndOptions {
  /** When the peer has not ended its side by then, the connection is reset. 0 to 24 days, 0 for none. */
  deadline?: Duration | undefined
}

/** Options of `createServer`. */
export interface ServerOptions extends ConnectionOptions, EngineOptions {
  /** Connections at one time; more are accepted and reset at once. 1 to 2,097,151; default 2,097,151. */
  maxConnections?: number
  /** AcceptEx calls outstanding to begin with. 1 to 1024; default 64. */
  accepts?: number
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
  attempts?: number
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

/** What `connect` does with a name: as `dns.lookup` with `all: true`. */
export type Lookup = (host: string) => Promise<readonly { address: string; family: number }[]>

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
