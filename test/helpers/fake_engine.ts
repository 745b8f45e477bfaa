/** A connection's surroundings without a completion port: what is submitted can be looked at. */

import { EventEmitter } from 'node:events'
import type { Emitter } from '../../lib/common/emitter.js'
import { Connection } from '../../lib/connection/connection.js'
import type { ConnectionOwnerEvents } from '../../lib/connection/events.js'
import { GroupTable } from '../../lib/connection/groups.js'
import type { Profile } from '../../lib/connection/profile.js'
import { reportDrops } from '../../lib/connection/send.js'
import type { ConnectionEngine } from '../../lib/connection/state.js'
import { readProfile } from '../../lib/endpoint/read_options.js'
import { AddressTable } from '../../lib/native/addresses.js'
import { op, OPERATION_WORDS } from '../../lib/native/protocol.js'
import type { ConnectionStats } from '../../lib/native/stats.js'
import { Submission, type SubmissionEngine } from '../../lib/native/submission.js'
import type { NativeFiles } from '../../lib/transfer/native_files.js'
import { FileTransfers } from '../../lib/transfer/service.js'

/** An operation as native code would read it. */
export interface Operation {
  op: string
  slot: number
  generation: number
  a: number
  b: number
  c: number
  /** What is to be sent. */
  payload?: Buffer
}

const names = new Map<number, string>(Object.entries(op).map(([name, number]) => [number, name]))

/** The native side of a submission: keeps everything that it is given. */
export class FakeNativeEngine implements SubmissionEngine {
  readonly submitControl: Uint32Array
  readonly submitPayload: Uint8Array
  /** One list of operations for each call. */
  readonly calls: Operation[][] = []

  constructor(operations = 4096, payloadBytes = 1024 * 1024) {
    this.submitControl = new Uint32Array(operations * OPERATION_WORDS)
    this.submitPayload = new Uint8Array(payloadBytes)
  }

  submit(operations: number, pinned: readonly Uint8Array[] = []): void {
    const call = Array.from({ length: operations }, (_, index): Operation => {
      const at = index * OPERATION_WORDS
      const [kind = 0, slot = 0, generation = 0, a = 0, b = 0, c = 0] = this.submitControl.subarray(
        at,
        at + OPERATION_WORDS
      )
      const operation = { op: names.get(kind) ?? `unknown ${kind}`, slot, generation, a, b, c }
      if (kind === op.send) return { ...operation, payload: Buffer.from(this.submitPayload.subarray(a, a + b)) }
      if (kind === op.sendPinned) return { ...operation, payload: Buffer.from(pinned[a]?.subarray(0, b) ?? []) }
      return operation
    })
    this.calls.push(call)
  }

  /** All operations so far. */
  get operations(): Operation[] {
    return this.calls.flat()
  }

  /** Names of all operations so far. */
  get names(): string[] {
    return this.operations.map((operation) => operation.op)
  }
}

/** An engine whose native queue is what a test says. */
export class FakeEngine implements ConnectionEngine {
  readonly native: FakeNativeEngine
  readonly transfers = new FileTransfers({ active: 0 } as unknown as NativeFiles)
  readonly isStopping = false
  /** What connections have asked for. */
  readonly timeLimits: number[][] = []
  readonly context = undefined
  readonly submission: Submission
  readonly addresses = new AddressTable()
  readonly groups = new GroupTable()
  readonly awaitingReports = new Set<Connection>()
  readonly owner = new EventEmitter() as unknown as Emitter<ConnectionOwnerEvents>
  readonly profiles: Profile[] = []
  /** What native code has to send. */
  queuedBytes = 0
  packetsQueued = 0
  /** How many times it was asked. */
  questions = 0
  #slots = 0

  constructor(native = new FakeNativeEngine()) {
    this.native = native
    this.submission = new Submission(native)
  }

  queued(): number {
    this.questions++
    return this.queuedBytes
  }

  queuedPackets(): number {
    return this.packetsQueued
  }

  profileIndex(profile: Profile): number {
    return this.profiles.push(profile) - 1
  }

  setTimeLimits(_slot: number, _generation: number, limits: Uint32Array): void {
    this.timeLimits.push([...limits])
  }

  connectionInfo(): ConnectionStats | undefined {
    return undefined
  }

  reportDrops(connection: Connection): void {
    process.nextTick(reportDrops, connection)
  }

  /** A connection of this host. */
  connection(options: unknown = {}, accepted = true): Connection {
    return new Connection(this, this.#slots++, 1, readProfile(options), accepted)
  }
}

/** What a connection emits, as words, from now on. */
export function recordEvents(connection: Connection): string[] {
  const seen: string[] = []
  connection.on('packet', (one) => seen.push(one.toString()))
  connection.on('end', () => seen.push('end'))
  connection.on('drain', () => seen.push('drain'))
  connection.on('drop', ({ packets, bytes }) => seen.push(`drop ${packets} ${bytes}`))
  connection.on('close', (info) => seen.push(`close ${info.cause} ${info.discardedBytes}`))
  return seen
}

/** The next tick, and everything that is due before it. */
export function nextTick(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
