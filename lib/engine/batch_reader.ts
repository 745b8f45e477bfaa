/** Walks the batches that native code hands over. Hot path. */

import { markAsUntransferable } from 'node:worker_threads'
import { Queue } from '../common/queue.js'
import { nativeSetImmediate } from '../common/timers.js'
import type { Connection } from '../connection/connection.js'
import { withinConnection } from '../connection/context.js'
import { deliver } from '../connection/receive.js'
import { contexts, notice } from '../native/async_context.js'
import { CARRIES_BYTES, record, RECORD_WORDS, SLOTS } from '../native/protocol.js'
import { PacketBuffer } from '../packets/packet_buffer.js'

/** What the records of batches go to. */
export interface BatchSink {
  /** Open connections by slot. */
  readonly connections: readonly (Connection | undefined)[]
  /** A batch, or a part of one, begins. */
  beginBatch(): void
  /** It ends, also when a handler threw. */
  endBatch(records: number, payloadBytes: number): void
  /** Any record but a packet. The view is good for this call only. */
  record(record: RecordView): void
  /** A record, a packet's too, whose bytes somebody has taken away: it has none. The view is good for this call only. */
  lost(record: RecordView): void
}

const NO_MEMORY = new ArrayBuffer(0)

/** One record of a batch; `docs/architecture.md` says what its numbers mean. A reader has one, which it fills anew. */
export class RecordView {
  kind = 0
  slot = 0
  generation = 0
  a = 0
  b = 0
  c = 0
  payload: ArrayBuffer | undefined = undefined

  /** The id of the connection or job. */
  get id(): number {
    return this.generation * SLOTS + this.slot
  }

  /** What `a` and `b` say of the payload; undefined when that is gone. */
  bytes(): Buffer | undefined {
    return this.payload && new PacketBuffer(this.payload, this.a, this.b)
  }
}

/**
 * Whether Node marks memory with a detach key (26 does, 22 does not). Then even `buffer.transfer()` refuses it; but an
 * environment that ends detaches what is not its own memory, without the key, and aborts the process when that fails. So
 * there every batch is copied into memory of JavaScript's own.
 */
export const marksWithKey = ((): boolean => {
  const memory = new ArrayBuffer(1)
  markAsUntransferable(memory)
  try {
    memory.transfer()
    return false
  } catch {
    return true
  }
})()

/** Undefined when a handler has taken the memory away meanwhile, by `buffer.transfer()`, which Node 22 does not forbid. */
function view(memory: ArrayBuffer, offset: number, length: number): Buffer | undefined {
  try {
    return new PacketBuffer(memory, offset, length)
  } catch {
    return length === 0 ? new PacketBuffer(NO_MEMORY, 0, 0) : undefined
  }
}

/**
 * Hands the records of each batch to a sink, in order.
 *
 * When a handler throws, the error goes on to become an ordinary uncaught exception. The records behind it are kept:
 * they are handed over as soon as the event loop turns again, and before any later batch.
 */
export class BatchReader {
  readonly #control: Uint32Array
  readonly #sink: BatchSink
  readonly #rest = new Queue<{ words: Uint32Array; payload: ArrayBuffer | undefined }>()
  readonly #view = new RecordView()
  #scheduled = false

  constructor(control: Uint32Array, sink: BatchSink) {
    this.#control = control
    this.#sink = sink
  }

  /** Called by native code, once per batch. */
  readonly onBatch = (records: number, payload: ArrayBuffer | undefined): void => {
    // Packets of many connections lie in it: whoever transfers one of them would take all. As with Buffer's own pool,
    // postMessage and structuredClone refuse that.
    if (payload !== undefined) markAsUntransferable(payload)
    const words = records * RECORD_WORDS
    if (this.#rest.length === 0) {
      this.#walk(this.#control, words, payload)
    } else {
      this.#rest.push({ words: this.#control.slice(0, words), payload })
      this.#goOn()
    }
  }

  #goOn(): void {
    try {
      for (let rest = this.#rest.shift(); rest !== undefined; rest = this.#rest.shift()) {
        this.#walk(rest.words, rest.words.length, rest.payload)
      }
    } finally {
      if (this.#rest.length > 0) this.#schedule()
    }
  }

  #walk(words: Uint32Array, end: number, payload: ArrayBuffer | undefined): void {
    const sink = this.#sink
    const connections = sink.connections
    const memory = payload ?? NO_MEMORY
    let at = 0
    sink.beginBatch()
    try {
      while (at < end) {
        const here = at
        at += RECORD_WORDS
        // Every index is below `end`, so that the words are there.
        const kind = words[here] as number
        const slot = words[here + 1] as number
        const generation = words[here + 2] as number
        const a = words[here + 3] as number
        const b = words[here + 4] as number
        if (kind === record.packet) {
          const connection = connections[slot]
          if (connection === undefined || connection._generation !== generation) continue
          const packet = view(memory, a, b)
          if (packet === undefined) sink.lost(this.#fill(kind, slot, generation, 0, 0, 0, undefined))
          else if (contexts.inUse) withinConnection(connection, deliver, connection, packet)
          else deliver(connection, packet)
        } else {
          const c = words[here + 5] as number
          if (payload?.detached !== true || b === 0 || !CARRIES_BYTES.has(kind))
            sink.record(this.#fill(kind, slot, generation, a, b, c, payload))
          else sink.lost(this.#fill(kind, slot, generation, 0, 0, c, undefined))
        }
      }
    } finally {
      if (at < end) {
        // Native code writes the next batch over this one; but what has been copied once need not be again.
        const rest = words === this.#control ? words.slice(at, end) : words.subarray(at, end)
        this.#rest.unshift({ words: rest, payload })
        this.#schedule()
      }
      // A handler may be the first to enter a context. It ends with the batch; other records of it must not see it.
      if (at > RECORD_WORDS) notice()
      this.#view.payload = undefined
      sink.endBatch(at / RECORD_WORDS, memory.byteLength)
    }
  }

  #fill(
    kind: number,
    slot: number,
    generation: number,
    a: number,
    b: number,
    c: number,
    payload: ArrayBuffer | undefined
  ): RecordView {
    const view = this.#view
    view.kind = kind
    view.slot = slot
    view.generation = generation
    view.a = a
    view.b = b
    view.c = c
    view.payload = payload
    return view
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    nativeSetImmediate(() => {
      this.#scheduled = false
      this.#goOn()
    })
  }
}
