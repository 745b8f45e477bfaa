/** Options of connections: their meaning, ranges and defaults. How most of them are read: endpoint/read_options.ts. */

import { type Duration, MAX_DURATION, OptionReader, type Size } from '../common/option_reader.js'
import type { FramingOption } from '../packets/framing.js'
import type { TransferOptions } from './file_types.js'

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

/** Options of `connection.end`. */
export interface EndOptions {
  /** When the peer has not ended its side by then, the connection is reset. 0 to 24 days, 0 for none. */
  deadline?: Duration | undefined
}

/**
 * The deadline among the options of `end`, in milliseconds.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readEndDeadline(options: unknown): number | undefined {
  const reader = new OptionReader(options, '')
  const deadline = reader.duration('deadline', { min: 0, max: MAX_DURATION }, -1)
  reader.rejectUnknown()
  return deadline === -1 ? undefined : deadline
}
