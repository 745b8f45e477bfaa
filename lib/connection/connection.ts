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
import { changeFraming, localEnd, remoteEnd } from './details.js'
import type { ConnectionEvents, SendState } from './events.js'
import type { ReceivedFile, ReceiveFileOptions, SendFileOptions, SentFile } from './file_types.js'
import { iterate, type Packets } from './iterator.js'
import { guarded } from './notify.js'
import { type EndOptions, readEndDeadline } from './options.js'
import type { Profile } from './profile.js'
import { handOver, reading, receiveQueueOf } from './receive.js'
import { holdReason, type Item, type ReceiveQueue } from './receive_queue.js'
import { ACCEPTED, admit, CLOSED, DROPPED, tokenFor, waitingBytes, wantDrain } from './send.js'
import { type ConnectionEngine, DEAD, type Extra, extraOf, flag, NOT_WRITABLE, SILENT } from './state.js'

/**
 * One TCP connection. Made by a server ('connection' event) or by `connect`.
 *
 * It is an EventEmitter whose state comes with the first listener; a server's own events tell the same for all its
 * connections without any.
 */
export class Connection<Data = unknown> extends LazyEmitter<ConnectionEvents<Data>> {
  /** Anything that the program wants to keep with the connection; undefined until it does. */
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

  /** Unique for the life of the process; a safe integer. */
  get id(): number {
    return this._generation * SLOTS + this._slot
  }

  /** The peer's address. Still there after 'close'. */
  get remoteAddress(): string | undefined {
    return remoteEnd(this)?.address
  }

  get remotePort(): number | undefined {
    return remoteEnd(this)?.port
  }

  get remoteFamily(): 'IPv4' | 'IPv6' | undefined {
    return remoteEnd(this)?.family
  }

  /** This side's address. Still there after 'close'. */
  get localAddress(): string | undefined {
    return localEnd(this)?.address
  }

  get localPort(): number | undefined {
    return localEnd(this)?.port
  }

  get localFamily(): 'IPv4' | 'IPv6' | undefined {
    return localEnd(this)?.family
  }

  /** `'open'`; `'ending'` after `end()`; `'closing'` after `destroy()` or `reset()`; `'closed'` since 'close'. */
  get state(): 'open' | 'ending' | 'closing' | 'closed' {
    if ((this._flags & flag.closed) !== 0) return 'closed'
    if ((this._flags & flag.destroyed) !== 0) return 'closing'
    return (this._flags & flag.ended) !== 0 ? 'ending' : 'open'
  }

  /** Whether `send` still takes packets: neither `end` nor `destroy` was called, and 'close' has not come. */
  get writable(): boolean {
    return (this._flags & NOT_WRITABLE) === 0
  }

  /** Bytes that wait to be sent, headers and what the system is just taking included. Asks native code. */
  get queuedBytes(): number {
    return waitingBytes(this)
  }

  /** How the connection ended; undefined before 'close'. */
  get closeInfo(): CloseInfo | undefined {
    return (this._flags & flag.closed) === 0 ? undefined : this._extra?.info
  }

  /** Resolves with what 'close' says, at once when that has been. Never rejects. */
  get closed(): Promise<CloseInfo> {
    const { closeInfo } = this
    if (closeInfo !== undefined) return Promise.resolve(closeInfo)
    return (extraOf(this).closed ??= promised()).promise
  }

  /**
   * Sends one packet; the framing puts its header on. All sends of a tick leave together.
   *
   * A payload larger than the option `copyThreshold` is not copied: leave it unchanged until `onSent` is called, and do
   * not transfer or resize its `ArrayBuffer` before that.
   *
   * @param data the payload; text is sent as UTF-8
   * @param onSent called once, later, with what became of the packet
   * @throws IocpError ERR_IOCP_PACKET_SIZE or ERR_IOCP_PACKET_CONTENT when the framing cannot carry the payload, or it
   *   is larger than all that may wait by default (`backpressure.hardCap`); ERR_INVALID_ARG_TYPE
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
   * Sends one packet and tells what became of it.
   * @throws as `send`, by rejecting
   */
  sendAsync(data: Uint8Array | string): Promise<SendOutcome> {
    return new Promise((resolve) => {
      this.send(data, resolve)
    })
  }

  /**
   * Sends a file. In framed mode the peer is offered it ('file' event), and the promise is kept when the peer has it,
   * complete and verified; in raw mode when the system has taken its last byte.
   * @throws IocpError ERR_IOCP_INVALID_OPTION, ERR_IOCP_TRANSFER_OFF; by rejecting: ERR_IOCP_TRANSFER_* and errors of the
   *   file system such as ENOENT, the signal's reason
   */
  sendFile(path: Path, options?: SendFileOptions): Promise<SentFile> {
    return this._engine.transfers.send(this, path, options)
  }

  /**
   * Receives a file that comes without any frame: exactly so many bytes, from the next packet boundary on.
   * @throws as {@link Connection.sendFile}
   */
  receiveFile(options: ReceiveFileOptions): Promise<ReceivedFile> {
    return this._engine.transfers.receive(this, options)
  }

  /** Hands over now what was sent in this tick, by all connections of this server or client. */
  flush(): void {
    this._engine.submission.flush()
  }

  /**
   * Sends what is queued, then ends this side; what the peer still says is received. When the peer has not ended its
   * side after the deadline, the connection is reset.
   * @param data a last packet, sent as by `send`
   * @param options.deadline 0 for none; default the option `endDeadline`
   * @param callback called when the connection is closed
   * @throws IocpError ERR_IOCP_INVALID_OPTION, ERR_INVALID_ARG_TYPE, ERR_IOCP_PACKET_SIZE, ERR_IOCP_PACKET_CONTENT;
   *   then nothing has been done
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

  /** Closes at once; what is queued is not sent. After this call only 'close' is emitted. */
  destroy(): this {
    abort(this, op.destroy)
    return this
  }

  /** Closes at once with a reset (RST), so that the peer sees an error. After this call only 'close' is emitted. */
  reset(): this {
    abort(this, op.reset)
    return this
  }

  /** Stops the packets. What has arrived already is kept, and TCP slows the peer down. */
  pause(): this {
    if ((this._flags & SILENT) === 0) receiveQueueOf(this).add(holdReason.paused)
    return this
  }

  /** Lets the packets come again. From now on they are thrown away when nobody listens to them. */
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
   * With the option `receive` as a number: lets more packets come.
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
   * Changes the framing. What is sent from now on has the new one; what comes in has it from the next packet on that
   * native code has not cut yet. Where the peer does not wait for an answer before it changes, receive on demand
   * (option `receive`), so that no packet is cut too early.
   * @throws IocpError ERR_IOCP_INVALID_OPTION; ERR_IOCP_TRANSFER_BUSY while files are under way
   */
  setFraming(framing: FramingOption): this {
    changeFraming(this, bothDirections(framing, 'framing'))
    return this
  }

  /** Joins a group; `broadcast` can send to all of it. The connection leaves by itself when it closes. */
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

  /** The names of its groups, in the order in which it joined. */
  get groups(): readonly string[] {
    return [...(this._extra?.groups ?? [])]
  }

  /** Figures of this connection; undefined when it is closed. */
  stats(): ConnectionStats | undefined {
    return this._engine.connectionInfo(this._slot, this._generation)
  }

  /**
   * The packets, one by one; the connection is read no faster than they are taken. While an iteration runs, packets go
   * to it and not to listeners, and 'end' waits until it asks for more behind the last one. Leaving the loop early keeps
   * the connection open. The iteration ends with the connection, by an error when that ended by one; 'close' does not
   * wait for an iteration that rests, which still gets what had arrived.
   */
  [Symbol.asyncIterator](): Packets {
    return iterate(this)
  }

  /** Ends the connection in order and waits until it is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
    // Nobody will take what has not been taken yet, and it must not keep the peer's end from being seen.
    this.resume()
    await this.closed
  }

  /** What console.log shows. */
  [inspect.custom](): unknown {
    const { id, state, remoteAddress, remotePort, data } = this
    return { connection: id, state, remoteAddress, remotePort, data }
  }

  // What receive queues and packet streams ask of their connection.

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
