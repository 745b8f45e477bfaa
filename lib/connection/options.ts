/** Options of connections: their meaning, ranges and defaults. How most of them are read: endpoint/read_options.ts. */

import { type Duration, MAX_DURATION, OptionReader, type Size } from '../common/option_reader.js'
import type { FramingOption } from '../packets/framing.js'
import type { TransferOptions } from './file_types.js'
import type { ByteRateOptions, PacketRateOptions, TimeoutOptions } from './limits.js'

/** Flow control for peers that read more slowly than the program sends. */
export interface BackpressureOptions {
  /** Queued bytes of a connection above which `send()` returns `'queued'`. 1 to 1 TiB; default 1 MiB. */
  highWater?: Size
  /** 'drain' is emitted when at most this many bytes are queued. 0 to `highWater`; default a quarter of `highWater`. */
  lowWater?: Size
  /**
   * Limit for queued bytes, regardless of `onOverflow`. `highWater` to 1 TiB; default 16 times `highWater` and, if that
   * is not set either, at least the framing's largest packet, or `streamAbove` if set. If neither is set, `send`
   * rejects a larger packet.
   */
  hardCap?: Size
  /** Limit for queued packets. 1 to 2^32 - 1; default 2^32 - 1. */
  hardCapPackets?: number
  /**
   * What to do with a packet that would take the queue above `highWater`: `'queue'` (default) queue it up to `hardCap`,
   * drop it above that; `'drop-newest'` drop it; `'drop-oldest'` drop older packets to make room; `'close'` close the
   * connection with cause 'overflow'. An empty queue accepts a packet larger than `highWater`.
   */
  onOverflow?: 'queue' | 'drop-newest' | 'drop-oldest' | 'close'
}

/** Probes that detect whether a silent peer still exists. */
export interface KeepAliveOptions {
  /** Silence before the first probe. 1 s to 24 days; default 2 hours. */
  delay?: Duration
  /** Time between probes. 1 s to 24 days; default 1 s. */
  interval?: Duration
  /** Unanswered probes until the connection is considered lost. 1 to 255; default 10. */
  count?: number
}

/** How connections behave, on either side. */
export interface ConnectionOptions {
  /** How the stream is divided into packets. Default: a 4-byte big-endian length that counts the packet only. */
  framing?: FramingOption
  /** Pending reads per connection. 1 to 64; default 1. */
  pendingReads?: number
  /**
   * `'zero-byte'`: no memory is used while waiting; `'direct'`: a buffer is always pending in the kernel;
   * `'adaptive'` (default): the first while a connection is idle, the second while it is busy.
   */
  readMode?: 'adaptive' | 'zero-byte' | 'direct'
  /**
   * `'flowing'` (default): packets are delivered as they arrive. A number: that many are delivered, then as many as
   * `connection.demand(n)` requests. 0 to 2^31 - 1.
   */
  receive?: 'flowing' | number
  /** Water marks and the overflow policy. */
  backpressure?: BackpressureOptions
  /** Whether a connection stays open for sending after the peer has ended its side. Default false. */
  allowHalfOpen?: boolean
  /** Send small packets immediately instead of waiting for more (TCP_NODELAY). Default true. */
  noDelay?: boolean
  /** Keep-alive probes: off (default), on with the defaults, on after this silence, or in detail. */
  keepAlive?: boolean | Duration | KeepAliveOptions
  /**
   * SO_RCVBUF in bytes, 0 for the system's default. 0 to 1 GiB; default 0. A server also sets it on the listening
   * socket, because it limits the scaling of a connection's TCP window (RFC 7323).
   */
  receiveBuffer?: Size
  /** SO_SNDBUF in bytes, 0 for the system's default. 0 to 1 GiB; default 0. */
  sendBuffer?: Size
  /** The IP header's type of service. 0 to 255; default 0. */
  typeOfService?: number
  /**
   * After `end()`: how long the peer may take to end its side before the connection is reset. 0 = no limit; default 10
   * s.
   */
  endDeadline?: Duration
  /** How long the peer may take, and how long a connection may be idle or live. Default no limits. */
  timeouts?: TimeoutOptions | undefined
  /** How many packets the peer may send. Default no limit. */
  packetRate?: PacketRateOptions | undefined
  /** How many bytes the peer may send. Default no limit. */
  byteRate?: ByteRateOptions | undefined
  /**
   * Payloads up to this many bytes are copied by `send()`; larger ones are sent without copying. 0 to 1 MiB; default 16
   * KiB.
   */
  copyThreshold?: Size
  /**
   * What to do about an exception in a handler of the connection's events, on the connection itself or on its server or
   * client: `'throw'` (default) it is an ordinary uncaught exception; `'close'` the connection closes with cause
   * 'handler-error', and 'handlerError' is emitted. Rejections of handlers that return a promise are treated the same
   * way.
   */
  onHandlerError?: 'throw' | 'close'
  /**
   * File transfer: false disables it, so that packets may start with the bytes 0xF0 to 0xF7, which are otherwise
   * reserved if the framing has `typeByte`. Default: on.
   */
  transfer?: boolean | TransferOptions
}

/** Options of `connection.end`. */
export interface EndOptions {
  /** If the peer has not ended its side by then, the connection is reset. 0 to 24 days, 0 for none. */
  deadline?: Duration | undefined
}

/**
 * The deadline among the options of `end`, in milliseconds.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readEndDeadline(options: unknown): number | undefined {
  const reader = new OptionReader(options, '', "an object such as { deadline: '10s' }")
  const deadline = reader.duration('deadline', { min: 0, max: MAX_DURATION }, -1)
  reader.rejectUnknown()
  return deadline === -1 ? undefined : deadline
}
