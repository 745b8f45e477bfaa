/** One TCP connection, accepted or made. */

import { inspect } from 'node:util'
import { endArguments } from '../common/arguments.js'
import { promised } from '../common/deferred.js'
import { LazyEmitter } from '../common/emitter.js'
import { invalidArgument } from '../common/errors.js'
import { toInteger } from '../common/option_reader.js'
import type { Path } from '../common/paths.js'
import { nativeNextTick } from '../common/timers.js'
import { op, SLOTS } from '../native/protocol.js'
import type { ConnectionStats } from '../native/stats.js'
import type { SendCallback, SendOutcome } from '../native/submission.js'
import { bothDirections, type FramingOption } from '../packets/framing.js'
import { checkBytes, checkEncodable, checkSize, neverFits } from '../packets/send_rules.js'
import type { PacketStream } from '../packets/stream.js'
import { abort, closeIfUnread, end, sendReported, whenClosed } from './close.js'
import type { CloseInfo } from './close_info.js'
import { withinConnection } from './context.js'
import { changeFraming, localEnd, proxyOf, remoteEnd } from './details.js'
import type { ConnectionEvents, SendState } from './events.js'
import type { ReceivedFile, ReceiveFileOptions, SendFileOptions, SentFile } from './file_types.js'
import { iterate, type Packets } from './iterator.js'
import { setTimeouts, type TimeoutOptions } from './limits.js'
import { guarded } from './notify.js'
import { type EndOptions, readEndDeadline } from './options.js'
import type { Profile } from './profile.js'
import type { ProxyInfo } from './proxy_info.js'
import { handOver, reading, receiveQueueOf } from './receive.js'
import { holdReason, type Item, type ReceiveQueue } from './receive_queue.js'
import { ACCEPTED, admit, CLOSED, DROPPED, tokenFor, waitingBytes, wantDrain } from './send.js'
import { type ConnectionEngine, DEAD, type Extra, extraOf, flag, NOT_WRITABLE, SILENT } from './state.js'

/**
 * One TCP connection. Created by a server ('connection' event) or by `connect`.
 *
 * It is an EventEmitter that allocates its state with the first listener. The server's own events report the same for
 * all its connections without listeners on each of them.
 */
export class Connection<Data = unknown> extends LazyEmitter<ConnectionEvents<Data>> {
  /** For the program's own use; undefined until it is set. */
  data: Data = undefined as Data

  // Not private to the language, since batches and servers work on them; the declarations leave them out.
  /** @internal */
  readonly _engine: ConnectionEngine
  /** @internal */
  readonly _slot: number
  /** @internal */
  readonly _generation: number
  /** @internal */
  _flags: number
  /** @internal */
  _profile: Profile
  /** @internal The submission in which it has sent last. */
  _epoch = 0
  /** @internal Bytes that wait to be sent, at most. */
  _waitingBytes = 0
  /** @internal Packets that wait to be sent, at most. */
  _waitingPackets = 0
  /** @internal */
  _receiveQueue: ReceiveQueue | undefined = undefined
  /** @internal */
  _extra: Extra | undefined = undefined

  /** @internal */
  constructor(engine: ConnectionEngine, slot: number, generation: number, profile: Profile, accepted: boolean) {
    super()
    this._engine = engine
    this._slot = slot
    this._generation = generation
    this._profile = profile
    this._flags = accepted ? flag.accepted : 0
  }

  /** Unique for the lifetime of the process; a safe integer. */
  get id(): number {
    return this._generation * SLOTS + this._slot
  }

  /**
   * The peer's address; of a connection by way of a load balancer (option `proxyProtocol`) the client's. Still available
   * after 'close'.
   */
  get remoteAddress(): string | undefined {
    return remoteEnd(this)?.address
  }

  get remotePort(): number | undefined {
    return remoteEnd(this)?.port
  }

  get remoteFamily(): 'IPv4' | 'IPv6' | undefined {
    return remoteEnd(this)?.family
  }

  /** This side's address. Still available after 'close'. */
  get localAddress(): string | undefined {
    return localEnd(this)?.address
  }

  get localPort(): number | undefined {
    return localEnd(this)?.port
  }

  get localFamily(): 'IPv4' | 'IPv6' | undefined {
    return localEnd(this)?.family
  }

  /** The load balancer's address; undefined if the connection did not come by way of one. */
  get proxyAddress(): string | undefined {
    return proxyOf(this)?.peer.address
  }

  get proxyPort(): number | undefined {
    return proxyOf(this)?.peer.port
  }

  get proxyFamily(): 'IPv4' | 'IPv6' | undefined {
    return proxyOf(this)?.peer.family
  }

  /** What the load balancer has said of the connection; undefined if it did not come by way of one. */
  get proxy(): ProxyInfo | undefined {
    return proxyOf(this)
  }

  /** `'open'`; `'ending'` after `end()`; `'closing'` after `destroy()` or `reset()`; `'closed'` since 'close'. */
  get state(): 'open' | 'ending' | 'closing' | 'closed' {
    if ((this._flags & flag.closed) !== 0) return 'closed'
    if ((this._flags & flag.destroyed) !== 0) return 'closing'
    return (this._flags & flag.ended) !== 0 ? 'ending' : 'open'
  }

  /** Whether `send` still accepts packets: neither `end` nor `destroy` was called, and it has not closed. */
  get writable(): boolean {
    return (this._flags & NOT_WRITABLE) === 0
  }

  /** Bytes waiting to be sent, including headers and pending writes. Queries native code. */
  get queuedBytes(): number {
    return waitingBytes(this)
  }

  /** How the connection ended; undefined before 'close'. */
  get closeInfo(): CloseInfo | undefined {
    return (this._flags & flag.closed) === 0 ? undefined : this._extra?.info
  }

  /** Resolves with the {@link CloseInfo} when the connection has closed. Never rejects. */
  get closed(): Promise<CloseInfo> {
    const { closeInfo } = this
    if (closeInfo !== undefined) return Promise.resolve(closeInfo)
    return (extraOf(this).closed ??= promised()).promise
  }

  /**
   * Sends one packet; the framing adds its header. All packets of a tick are submitted together.
   *
   * A payload larger than the option `copyThreshold` is not copied: do not modify it until `onSent` is called, and do
   * not transfer or resize its `ArrayBuffer` before that.
   *
   * @param data the payload; text is sent as UTF-8
   * @param onSent called once, later, with the outcome
   * @throws IocpError ERR_IOCP_PACKET_SIZE or ERR_IOCP_PACKET_CONTENT if the framing cannot carry the payload, or it is
   *   larger than the default limit of the queue (`backpressure.hardCap`); ERR_INVALID_ARG_TYPE
   */
  send(data: Uint8Array | string, onSent?: SendCallback): SendState {
    const { copyThreshold, hasDefaultCap, native, rules } = this._profile
    let payload = data
    let size: number
    if (typeof data === 'string') {
      if (rules.looksInside) payload = Buffer.from(data)
      size = Buffer.byteLength(payload)
    } else {
      checkBytes(data)
      size = data.byteLength
    }
    if (onSent !== undefined && typeof onSent !== 'function') throw invalidArgument('onSent', onSent, 'a function')
    if (size < rules.minPayload || size > rules.maxPayload) checkSize(rules, size)
    if (rules.looksInside && typeof payload !== 'string') checkEncodable(rules, payload)

    const bytes = size + rules.overhead
    if (bytes > native.hardCap && hasDefaultCap) throw neverFits(bytes, native.hardCap)
    const { submission } = this._engine
    submission.reserve(size, copyThreshold)
    const answer = admit(this, bytes)
    if (answer === DROPPED || answer === CLOSED) {
      const state = answer === DROPPED ? 'dropped' : 'closed'
      if (onSent !== undefined) nativeNextTick(guarded(this, onSent), state)
      return state
    }
    const token = onSent === undefined ? 0 : tokenFor(this, onSent)
    submission.send(this._slot, this._generation, payload, size, copyThreshold, token)
    if (answer === ACCEPTED) return 'sent'
    wantDrain(this)
    return 'queued'
  }

  /** @internal */
  _sendReported(): void {
    sendReported(this)
  }

  /**
   * Sends one packet.
   * @returns a promise of the outcome
   * @throws as `send`, by rejecting
   */
  sendAsync(data: Uint8Array | string): Promise<SendOutcome> {
    return new Promise((resolve) => {
      this.send(data, resolve)
    })
  }

  /**
   * Sends a file. In framed mode it is offered to the peer ('file' event), and the promise resolves when the peer has
   * the complete and verified file; in raw mode when the system has accepted its last byte.
   * @throws IocpError ERR_IOCP_INVALID_OPTION, ERR_IOCP_TRANSFER_OFF; by rejecting: ERR_IOCP_TRANSFER_* and errors of
   *   the file system such as ENOENT, the signal's reason
   */
  sendFile(path: Path, options?: SendFileOptions): Promise<SentFile> {
    return this._engine.transfers.send(this, path, options)
  }

  /**
   * Receives a file without frames: exactly `bytes` bytes, from the next packet boundary on.
   * @throws as {@link Connection.sendFile}
   */
  receiveFile(options: ReceiveFileOptions): Promise<ReceivedFile> {
    return this._engine.transfers.receive(this, options)
  }

  /** Submits everything that all connections of this server or client sent in this tick to native code now. */
  flush(): void {
    this._engine.submission.flush()
  }

  /**
   * Sends the queued data, then ends this side; data from the peer is still received. If the peer has not ended its
   * side at the deadline, the connection is reset.
   * @param data a last packet, sent as by `send`
   * @param options.deadline 0 for none; default the option `endDeadline`
   * @param callback called when the connection has closed
   * @throws IocpError ERR_IOCP_INVALID_OPTION, ERR_INVALID_ARG_TYPE, ERR_IOCP_PACKET_SIZE, ERR_IOCP_PACKET_CONTENT;
   *   the call had no effect then
   */
  end(options?: EndOptions, callback?: (info: CloseInfo) => void): this
  end(callback: (info: CloseInfo) => void): this
  end(data: Uint8Array | string, callback: (info: CloseInfo) => void): this
  end(data: Uint8Array | string, options?: EndOptions, callback?: (info: CloseInfo) => void): this
  end(...given: unknown[]): this {
    const { data, options, callback } = endArguments(given)
    const deadline = readEndDeadline(options) ?? this._profile.endDeadline
    if (data !== undefined) this.send(data)
    if (callback !== undefined) whenClosed(this, callback as (info: CloseInfo) => void)
    end(this, deadline)
    return this
  }

  /** Closes immediately; queued data is not sent. After this call only 'close' is emitted. */
  destroy(): this {
    abort(this, op.destroy)
    return this
  }

  /** Closes immediately with RST, so that the peer sees an error. After this call only 'close' is emitted. */
  reset(): this {
    abort(this, op.reset)
    return this
  }

  /** Stops the delivery of packets. Packets that have arrived are kept, and TCP throttles the peer. */
  pause(): this {
    if ((this._flags & SILENT) === 0) receiveQueueOf(this).add(holdReason.paused)
    return this
  }

  /** Restarts the delivery of packets. From now on packets without a listener are discarded. */
  resume(): this {
    this._flags |= flag.discarding
    this._receiveQueue?.remove(holdReason.paused)
    this._receiveQueue?.remove(holdReason.noListener)
    return this
  }

  /** Whether `pause()` is in force. */
  isPaused(): boolean {
    return this._receiveQueue?.has(holdReason.paused) === true
  }

  /**
   * With the option `receive` as a number: permits the delivery of more packets.
   * @param packets 1 to 2^31 - 1; default 1
   * @throws IocpError ERR_IOCP_INVALID_OPTION
   */
  demand(packets = 1): this {
    toInteger(packets, 'packets', { min: 1, max: 2 ** 31 - 1 })
    if ((this._flags & DEAD) === 0) {
      this._engine.submission.operation(op.demand, this._slot, this._generation, packets)
    }
    return this
  }

  /**
   * Changes the framing. It applies to everything sent from now on, and to received data from the next packet on that
   * has not been decoded yet. If the peer changes its framing without waiting for a reply, receive on demand (option
   * `receive`), so that no packet is decoded too early.
   * @throws IocpError ERR_IOCP_INVALID_OPTION; ERR_IOCP_TRANSFER_BUSY during file transfers
   */
  setFraming(framing: FramingOption): this {
    changeFraming(this, bothDirections(framing, 'framing'))
    return this
  }

  /**
   * Changes time limits; those that are not given stay. Each counts from what it always counts from; where the connection
   * had no limit at all before, nothing before this call counts.
   * @throws IocpError ERR_IOCP_INVALID_OPTION; nothing has changed then
   */
  setTimeouts(options: TimeoutOptions): this {
    setTimeouts(this, options)
    return this
  }

  /** Joins a group for `broadcast`. The connection leaves it automatically when it closes. */
  join(group: string): this {
    if (typeof group !== 'string') throw invalidArgument('group', group, 'text')
    if ((this._flags & DEAD) === 0) this._engine.groups.join(this, group)
    return this
  }

  /** Leaves a group. */
  leave(group: string): this {
    if (typeof group !== 'string') throw invalidArgument('group', group, 'text')
    this._engine.groups.leave(this, group)
    return this
  }

  /** The names of its groups, in the sequence in which it joined them. */
  get groups(): readonly string[] {
    return [...(this._extra?.groups ?? [])]
  }

  /** Statistics of this connection; undefined if it is closed. */
  stats(): ConnectionStats | undefined {
    return this._engine.connectionInfo(this._slot, this._generation)
  }

  /**
   * Iterates over the packets; the connection is read no faster than they are consumed. While an iteration runs,
   * packets go to it and not to listeners, and 'end' waits until it requests the next packet after the last one.
   * Leaving the loop early keeps the connection open. The iteration ends when the connection closes, and throws if that
   * closed with an error. 'close' does not wait for an idle iteration, which still receives the packets that had
   * arrived.
   */
  [Symbol.asyncIterator](): Packets {
    return iterate(this)
  }

  /** Ends the connection gracefully and waits until it has closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
    // Discard unread packets; otherwise the peer's FIN would not be processed.
    this.resume()
    await this.closed
  }

  /** The output of console.log. */
  [inspect.custom](): unknown {
    const { id, state, remoteAddress, remotePort, data } = this
    return { connection: id, state, remoteAddress, remotePort, data }
  }

  // The interface for receive queues and packet streams.

  /** @internal */
  _handOver(item: Item): boolean {
    return withinConnection(this, handOver, this, item)
  }

  /** @internal */
  _noListener(): void {
    closeIfUnread(this)
  }

  /** @internal */
  _reading(on: boolean): void {
    reading(this, on)
  }

  /** @internal */
  _readsOn(): boolean {
    return this._engine.transfers.readsOn(this)
  }

  /** @internal */
  _receiveQueueEmpty(): void {
    this._receiveQueue = undefined
  }

  /** @internal */
  _consumedAsFile(packet: Buffer): boolean {
    return withinConnection(this, () => this._engine.transfers.consumedAsFile(this, packet))
  }

  /** @internal */
  _wanted(): void {
    if (this._profile.receive !== -1) this.demand()
  }

  /** @internal */
  _streamFull(stream: PacketStream): void {
    if (this._extra?.stream === stream) this._receiveQueue?.streamFull(true)
  }

  /** @internal */
  _streamReady(stream: PacketStream): void {
    if (this._extra?.stream === stream) this._receiveQueue?.streamFull(false)
  }

  /** @internal */
  _streamOver(stream: PacketStream): void {
    this._receiveQueue?.streamOver(stream)
  }

  /** @internal */
  override _listened(event: string): void {
    if (event === 'file') this._receiveQueue?.reconsider()
    if (event !== 'packet' && event !== 'stream') return
    this._receiveQueue?.remove(holdReason.noListener)
    if (event === 'packet') this._receiveQueue?.yieldClaims()
  }
}
