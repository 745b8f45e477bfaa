/** One raw engine that echoes packets, and keeps a record of every record: whatever fails, the rules must hold. */

import { expect, onTestFinished } from 'vitest'
import { op, OPERATION_WORDS, outcome, record, RECORD_WORDS, SLOTS } from '../../lib/native/protocol.js'
import type {
  NativeEngine,
  NativeEngineOptions,
  NativeFraming,
  NativeHostOptions,
  NativeListen,
  NativeProfile
} from '../../lib/native/types.js'
import { faultAddon } from '../helpers/faults.js'
import { HOST } from '../helpers/ports.js'
import { plainProfile } from '../helpers/raw_engine.mjs'
import { pause } from '../helpers/time.js'

const framing: NativeFraming = {
  kind: 'lengthField',
  offset: 0,
  bytes: 4,
  endian: 'big',
  adjustment: 0,
  strip: 4,
  maxPacket: 1024 * 1024,
  failFast: true,
  typeByte: false,
  onOversize: 'close',
  streamAbove: Number.MAX_SAFE_INTEGER
}

export interface Peer {
  readonly id: number
  readonly slot: number
  readonly generation: number
  /** What the connect call said; 0 for an accepted connection. */
  readonly token: number
  packets: number
  peerEnded: boolean
  closed: { cause: number; detail: number } | undefined
}

interface RigOptions extends Partial<NativeEngineOptions & NativeHostOptions> {
  profile?: Partial<NativeProfile>
}

export class Rig {
  readonly engine: NativeEngine
  readonly profile: number
  readonly peers = new Map<number, Peer>()
  readonly violations: string[] = []
  readonly counts = new Map<number, number>()
  readonly failedConnects = new Map<number, number>()
  readonly listenerErrors: number[] = []
  readonly listenersClosed: number[] = []
  /** Answer each packet of an accepted connection with itself. */
  echo = true
  /** Packets from this size on are sent from where they are. */
  pinnedFrom = Infinity
  /** Answer the peer's end with an end. */
  endBack = true
  onConnection: ((peer: Peer) => void) | undefined
  onPacket: ((peer: Peer, packet: Buffer) => void) | undefined
  onDrain: ((peer: Peer) => void) | undefined
  onClose: ((peer: Peer) => void) | undefined
  stopped: { drained: number; cut: number } | undefined
  #joined = false
  #operations = 0
  #bytes = 0
  #pinned: Uint8Array[] = []
  #nextToken = 1
  readonly #tokens = new Set<number>()
  readonly #outcomes = [0, 0, 0]
  #changed: (() => void)[] = []

  constructor({ profile, ...options }: RigOptions = {}) {
    const { Engine } = faultAddon()
    this.engine = new Engine(
      {
        ioThreads: 2,
        diskThreads: 1,
        deliveryBytes: 16 * 1024 * 1024,
        deliveryPerConnection: 1024 * 1024,
        maxFreeBuffers: 0,
        maxFreeContexts: 0,
        skipOnSuccess: true,
        externalMemory: true,
        ...options
      },
      (records, payload) => {
        this.#batch(records, payload)
      },
      setImmediate
    )
    this.profile = this.engine.addProfile({ ...plainProfile(framing), ...profile })
    onTestFinished(() => {
      faultAddon().faults.clear()
      this.join()
    })
  }

  /** Listens and says where. */
  listen({
    pendingAccepts = 8,
    maxConnections = 10_000,
    onMax = 'reset',
    conditional = false,
    port = 0,
    exclusive = true
  }: Partial<NativeListen> = {}): {
    listener: number
    port: number
  } {
    const listener = this.engine.listen({
      address: HOST,
      port,
      family: 4,
      dualStack: false,
      exclusive,
      backlog: 511,
      pendingAccepts,
      maxConnections,
      onMax,
      conditional,
      profile: this.profile
    })
    return { listener, port: this.engine.listenerAddress(listener).port }
  }

  connect(token: number, port: number, timeout = 5000): void {
    this.engine.connect({ token, address: HOST, port, family: 4, timeout, profile: this.profile })
  }

  send(peer: Peer, packet: Uint8Array, { told = true, pinned = false } = {}): void {
    const token = told ? this.#nextToken++ : 0
    if (told) this.#tokens.add(token)
    if (pinned) {
      if (this.#operations === 4096) this.flush()
      this.#pinned.push(packet)
      this.#write(op.sendPinned, peer, this.#pinned.length - 1, packet.length, token)
      return
    }
    if (this.#operations === 4096 || this.#bytes + packet.length > this.engine.submitPayload.length) this.flush()
    this.engine.submitPayload.set(packet, this.#bytes)
    this.#write(op.send, peer, this.#bytes, packet.length, token)
    this.#bytes += packet.length
  }

  /** END, DESTROY, PAUSE and the others, at once. */
  order(operation: number, peer: Peer, a = 0): void {
    this.#write(operation, peer, a, 0, 0)
    this.flush()
  }

  flush(): void {
    if (this.#operations === 0) return
    const operations = this.#operations
    const pinned = this.#pinned
    this.#operations = 0
    this.#bytes = 0
    this.#pinned = []
    this.engine.submit(operations, pinned)
  }

  stats(): ReturnType<NativeEngine['stats']> {
    return this.engine.stats()
  }

  open(): Peer[] {
    return [...this.peers.values()].filter((peer) => peer.closed === undefined)
  }

  count(kind: number): number {
    return this.counts.get(kind) ?? 0
  }

  /** Resolves when a condition holds; looks after each batch and from time to time. */
  async until(what: string, isSo: () => boolean, limit = 10_000): Promise<void> {
    const end = performance.now() + limit
    while (!isSo()) {
      if (performance.now() > end) throw new Error(`waited ${limit} ms in vain until ${what}\n${this.describe()}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 10)
        this.#changed.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  describe(): string {
    const kinds = Object.entries(record).flatMap(([name, kind]) =>
      this.count(kind) ? [`${name} ${this.count(kind)}`] : []
    )
    return `${kinds.join(', ')}; open ${this.open().length}; ${JSON.stringify(this.#joined ? 'joined' : this.stats())}`
  }

  /** Ends the engine and checks that every count has come back to nothing. */
  async finish(deadline = 0): Promise<void> {
    this.engine.stop(deadline)
    await this.until('the engine has stopped', () => this.stopped !== undefined)
    // A second STOPPED, or anything else after it, would come now.
    await pause(20)
    this.check()
    const { pendingObjects, pendingDirectReads, connections, pools, delivery, listeners } = this.stats()
    expect({ pendingObjects, pendingDirectReads, open: connections.now }).toEqual({
      pendingObjects: 0,
      pendingDirectReads: 0,
      open: 0
    })
    expect({
      readBuffers: pools.readBuffers.inUse,
      waitBuffers: pools.waitBuffers.inUse,
      contexts: pools.contexts.inUse
    }).toEqual({ readBuffers: 0, waitBuffers: 0, contexts: 0 })
    expect({ bytes: delivery.bytes, parked: delivery.parked }).toEqual({ bytes: 0, parked: 0 })
    for (const listener of listeners) expect(listener.pendingAccepts).toBe(0)
    expect(this.listenersClosed.length).toBe(listeners.length)
    this.join()
  }

  /** The rules that hold at every moment at which nothing is open. */
  check(): void {
    expect(this.violations).toEqual([])
    expect(this.open()).toEqual([])
    expect(this.count(record.stopped)).toBe(1)
    expect(this.count(record.close)).toBe(this.peers.size)
    // Whoever asked what became of a packet has been told, once.
    expect(this.#tokens.size).toBe(0)
  }

  /** Blocks until the threads have ended. */
  join(): void {
    if (this.#joined) return
    this.#joined = true
    this.engine.join()
  }

  /** How many packets were sent, dropped, closed under. */
  get outcomes(): readonly number[] {
    return this.#outcomes
  }

  #write(operation: number, peer: Peer, a: number, b: number, c: number): void {
    if (this.#operations === 4096) this.flush()
    this.engine.submitControl.set(
      [operation, peer.slot, peer.generation, a, b, c],
      this.#operations++ * OPERATION_WORDS
    )
  }

  #batch(records: number, payload: ArrayBuffer | undefined): void {
    for (let i = 0; i < records; i++) {
      const at = i * RECORD_WORDS
      const [kind = 0, slot = 0, generation = 0, a = 0, b = 0, c = 0] = this.engine.batchControl.subarray(
        at,
        at + RECORD_WORDS
      )
      this.counts.set(kind, this.count(kind) + 1)
      // STOPPED is the last word, but for answers to what was sent while it came.
      if (this.stopped !== undefined && kind !== record.sent) this.violations.push(`record ${kind} after STOPPED`)
      this.#take(kind, slot, generation, a, b, c, payload)
    }
    this.flush()
    const changed = this.#changed
    this.#changed = []
    for (const wake of changed) wake()
  }

  #take(
    kind: number,
    slot: number,
    generation: number,
    a: number,
    b: number,
    c: number,
    payload: ArrayBuffer | undefined
  ): void {
    switch (kind) {
      case record.listenerClosed:
        this.listenersClosed.push(slot)
        return
      case record.listenerError:
        this.listenerErrors.push(a)
        return
      case record.stopped:
        this.stopped = { drained: a, cut: b }
        return
      case record.connectFailed:
        if (this.failedConnects.has(c)) this.violations.push(`attempt ${c} failed twice`)
        this.failedConnects.set(c, a)
        return
      case record.sent:
        if (!this.#tokens.delete(a)) this.violations.push(`token ${a} was told twice`)
        this.#outcomes[b] = (this.#outcomes[b] ?? 0) + 1
        if (b > outcome.closed) this.violations.push(`outcome ${b}`)
        return
      default:
        this.#ofConnection(kind, slot, generation, a, b, c, payload)
    }
  }

  #ofConnection(
    kind: number,
    slot: number,
    generation: number,
    a: number,
    b: number,
    c: number,
    payload: ArrayBuffer | undefined
  ): void {
    const id = generation * SLOTS + slot
    let peer = this.peers.get(id)
    if (kind === record.connection || kind === record.connected) {
      if (peer !== undefined) this.violations.push(`connection ${id} came twice`)
      const token = kind === record.connected ? c : 0
      peer = { id, slot, generation, token, packets: 0, peerEnded: false, closed: undefined }
      this.peers.set(id, peer)
      this.onConnection?.(peer)
      return
    }
    if (peer === undefined) {
      this.violations.push(`record ${kind} of ${id}, which nobody has heard of`)
      return
    }
    if (peer.closed !== undefined) {
      this.violations.push(`record ${kind} of ${id} after its close`)
      return
    }
    switch (kind) {
      case record.packet: {
        peer.packets++
        const packet = Buffer.from(payload ?? new ArrayBuffer(0), b === 0 ? 0 : a, b)
        if (this.echo && peer.token === 0) this.send(peer, packet, { pinned: packet.length >= this.pinnedFrom })
        this.onPacket?.(peer, packet)
        return
      }
      case record.peerEnd:
        if (peer.peerEnded) this.violations.push(`two ends of ${id}`)
        peer.peerEnded = true
        if (this.endBack) this.#write(op.end, peer, 2000, 0, 0)
        return
      case record.close:
        peer.closed = { cause: a, detail: b }
        this.onClose?.(peer)
        return
      case record.drain:
        this.onDrain?.(peer)
        return
      case record.dropped:
        return
      default:
        this.violations.push(`record ${kind} of ${id}`)
    }
  }
}
