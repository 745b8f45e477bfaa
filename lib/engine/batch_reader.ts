/** Walks the batches that native code hands over. Hot path. */

import { markAsUntransferable } from 'node:worker_threads'
import { Queue } from '../common/queue.js'
import { nativeSetImmediate } from '../common/timers.js'
import type { Connection } from '../connection/connection.js'
import { withinConnection } from '../connection/context.js'
import { deliver } from '../connection/receive.js'
import { contexts, notice } from '../native/async_context.js'
import { CARRIES_BYTES, record, RECORD_WORDS } from '../native/protocol.js'
import { PacketBuffer } from '../packets/packet_buffer.js'

/** What the records of batches go to. */
export interface BatchSink {
  /** Open connections by slot. */
  readonly connections: readonly (Connection | undefined)[]
  /** A batch, or a part of one, begins. */
  beginBatch(): void
  /** It ends, also when a handler threw. */
  endBatch(records: number, payloadBytes: number): void
  /** A record whose payload somebody has taken away; `c` as in the record. */
  lost(kind: number, slot: number, generation: number, c: number): void
  /** Any record but a packet. */
  record(
    kind: number,
    slot: number,
    generation: number,
    a: number,
    b: number,
    c: number,
    payload: ArrayBuffer | undefined
  ): void
}

const NO_MEMORY = new ArrayBuffer(0)

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
          if (packet === undefined) sink.lost(kind, slot, generation, 0)
          else if (contexts.inUse) withinConnection(connection, deliver, connection, packet)
          else deliver(connection, packet)
        } else {
          const c = words[here + 5] as number
          if (payload?.detached !== true || b === 0 || !CARRIES_BYTES.has(kind))
            sink.record(kind, slot, generation, a, b, c, payload)
          else sink.lost(kind, slot, generation, c)
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
      sink.endBatch(at / RECORD_WORDS, memory.byteLength)
    }
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
