/**
 * The way of every record but a packet: from the batch to the engine, a connection, its files, or the jobs. What each does
 * with it stands there. Packets go straight from the batch to their connections (`batch_reader.ts`).
 */

import { closed, loseMemory, timeLimitPassed } from '../connection/close.js'
import type { Connection } from '../connection/connection.js'
import { withinConnection } from '../connection/context.js'
import {
  frameProblem,
  packetSkipped,
  peerEnded,
  streamBegins,
  streamEnds,
  streamGoesOn
} from '../connection/receive.js'
import { drained, dropped } from '../connection/send.js'
import { jobOutcome, record } from '../native/protocol.js'
import { fileEnded, fileFrame, fileProgress } from '../transfer/service.js'
import type { BatchSink, RecordView } from './batch_reader.js'

/** What records about the completion port itself go to. */
export interface EngineSink extends Pick<BatchSink, 'connections' | 'beginBatch' | 'endBatch'> {
  /** What records about jobs go to, when there are workers. */
  readonly jobSink: JobSink | undefined
  /** The open connection with an id. */
  find(id: number): Connection | undefined
  /** A listener has accepted a connection. */
  accepted(slot: number, generation: number, listener: number, addresses: Uint8Array | undefined): void
  /** An attempt to connect has succeeded, or has failed. */
  connected(slot: number, generation: number, token: number, addresses: Uint8Array | undefined): void
  connectFailed(token: number, winCode: number): void
  acceptFailed(winCode: number): void
  refused(counts: Uint8Array): void
  /** What became of a packet whose sender wants to know. */
  sent(token: number, outcome: number): void
  /** A connection gives its slot back. */
  vacated(slot: number): void
  /** Everything has ended. */
  stopped(drained: number, cut: number): void
}

/** What records about jobs go to. */
export interface JobSink {
  /** Whether somebody waits for a job, which keeps the process alive. */
  readonly isBusy: boolean
  jobDone(job: number, outcome: number, result: Buffer | undefined): void
  /** For a job about a packet; its connection may have closed. */
  jobFailed(connection: Connection | undefined, outcome: number, error: Buffer | undefined): void
  jobTaken(job: number, worker: number): void
  jobsDrained(): void
}

/** The sink of an engine's batches. */
export class RecordDispatch implements BatchSink {
  readonly connections: EngineSink['connections']
  readonly #engine: EngineSink

  constructor(engine: EngineSink) {
    this.#engine = engine
    this.connections = engine.connections
  }

  beginBatch(): void {
    this.#engine.beginBatch()
  }

  endBatch(records: number, payloadBytes: number): void {
    this.#engine.endBatch(records, payloadBytes)
  }

  record(view: RecordView): void {
    dispatch(this.#engine, view)
  }

  lost(view: RecordView): void {
    if (view.kind === record.connection || view.kind === record.connected) {
      dispatch(this.#engine, view) // without its addresses
    } else if (view.kind >= record.job) {
      view.c = jobOutcome.failed
      dispatch(this.#engine, view)
    } else {
      const connection = this.#engine.find(view.id)
      if (connection !== undefined) loseMemory(connection)
    }
  }
}

/** Hands a record on. One about a connection that is gone is left out. */
function dispatch(engine: EngineSink, view: RecordView): void {
  // Copied: the view is filled anew for the next record, and what is called here may keep some of this.
  const { kind, slot, generation, a, b, c } = view
  switch (kind) {
    case record.connection:
      engine.accepted(slot, generation, c, view.bytes())
      return
    case record.connected:
      engine.connected(slot, generation, c, view.bytes())
      return
    case record.connectFailed:
      engine.connectFailed(c, a)
      return
    case record.listenerError:
      engine.acceptFailed(a)
      return
    case record.refused:
      if (view.payload !== undefined) engine.refused(view.bytes() as Uint8Array)
      return
    case record.sent:
      engine.sent(a, b)
      return
    case record.stopped:
      engine.stopped(a, b)
      return
    case record.jobDone:
      engine.jobSink?.jobDone(view.id, c, jobBytes(view))
      return
    case record.jobFailed:
      engine.jobSink?.jobFailed(engine.find(view.id), c, jobBytes(view))
      return
    case record.jobTaken:
      engine.jobSink?.jobTaken(view.id, a)
      return
    case record.jobsDrained:
      engine.jobSink?.jobsDrained()
      return
  }
  const connection = engine.find(view.id)
  if (connection === undefined) return
  switch (kind) {
    case record.close:
      engine.vacated(slot)
      withinConnection(connection, closed, connection, a, b, c)
      return
    case record.peerEnd:
      withinConnection(connection, peerEnded, connection)
      return
    case record.drain:
      withinConnection(connection, drained, connection)
      return
    case record.timeLimit:
      withinConnection(connection, timeLimitPassed, connection, a, b)
      return
    case record.dropped:
      withinConnection(connection, dropped, connection, a, b, c)
      return
    case record.streamBegin:
      withinConnection(connection, streamBegins, connection, b * 2 ** 32 + a)
      return
    case record.streamEnd:
      withinConnection(connection, streamEnds, connection)
      return
    case record.sendProgress:
    case record.receiveProgress:
      withinConnection(connection, fileProgress, connection, kind === record.receiveProgress, a, c * 2 ** 32 + b)
      return
  }
  const bytes = view.bytes()
  if (bytes === undefined) return
  switch (kind) {
    case record.streamData:
      withinConnection(connection, streamGoesOn, connection, bytes)
      return
    case record.discarded:
      withinConnection(connection, packetSkipped, connection, bytes)
      return
    case record.protocolError:
      withinConnection(connection, frameProblem, connection, c, bytes)
      return
    case record.transfer:
      withinConnection(connection, fileFrame, connection, bytes)
      return
    case record.sendFileEnd:
    case record.receiveFileEnd:
      withinConnection(connection, fileEnded, connection, kind === record.receiveFileEnd, bytes)
      return
  }
}

function jobBytes(view: RecordView): Buffer | undefined {
  return view.b === 0 ? undefined : view.bytes()
}
