/** What the records of a batch mean for a connection or a job. */

import { closed } from '../connection/close.js'
import type { Connection } from '../connection/connection.js'
import { frameProblem, peerEnded, streamBegins, streamEnds, streamGoesOn } from '../connection/receive.js'
import { drained, dropped } from '../connection/send.js'
import { frameError, record } from '../native/protocol.js'
import { PacketBuffer } from '../packets/packet_buffer.js'
import { fileEnded, fileFrame, fileProgress } from '../transfer/service.js'

/** What records about jobs go to. */
export interface JobSink {
  /** Whether somebody waits for a job, which keeps the process alive. */
  readonly isBusy: boolean
  jobDone(job: number, outcome: number, result: Buffer | undefined): void
  jobFailed(connection: Connection | undefined, outcome: number, error: Buffer | undefined): void
  jobTaken(job: number, worker: number): void
  jobsDrained(): void
}

/** A record of an open connection. */
export function connectionRecord(
  connection: Connection,
  kind: number,
  a: number,
  b: number,
  c: number,
  payload: ArrayBuffer | undefined
): void {
  switch (kind) {
    case record.close:
      closed(connection, a, b, c)
      return
    case record.peerEnd:
      peerEnded(connection)
      return
    case record.drain:
      drained(connection)
      return
    case record.dropped:
      dropped(connection, a, b, c)
      return
    case record.streamBegin:
      streamBegins(connection, b * 2 ** 32 + a)
      return
    case record.streamEnd:
      streamEnds(connection)
      return
    case record.sendProgress:
    case record.receiveProgress:
      fileProgress(connection, kind === record.receiveProgress, a, c * 2 ** 32 + b)
      return
  }
  if (payload !== undefined) withPayload(connection, kind, new PacketBuffer(payload, a, b), c)
}

function withPayload(connection: Connection, kind: number, bytes: Buffer, c: number): void {
  switch (kind) {
    case record.streamData:
      streamGoesOn(connection, bytes)
      return
    case record.discarded: {
      // A copy: an error may be kept for long, and a view would keep the whole batch.
      const header = Buffer.from(bytes.subarray(8))
      // Size 0: not known, because the end of the packet has not come.
      frameProblem(connection, frameError.none, header, Number(bytes.readBigUInt64LE()) || undefined)
      return
    }
    case record.transfer:
      fileFrame(connection, bytes)
      return
    case record.sendFileEnd:
    case record.receiveFileEnd:
      fileEnded(connection, kind === record.receiveFileEnd, bytes)
      return
    case record.protocolError:
      frameProblem(connection, c, Buffer.from(bytes))
      return
  }
}

/** A record about a job. For a job about a packet `id` is that of its connection, which may have closed. */
export function jobRecord(
  sink: JobSink | undefined,
  kind: number,
  id: number,
  connection: Connection | undefined,
  a: number,
  b: number,
  c: number,
  payload: ArrayBuffer | undefined
): void {
  const bytes = b === 0 || payload === undefined ? undefined : new PacketBuffer(payload, a, b)
  switch (kind) {
    case record.jobDone:
      sink?.jobDone(id, c, bytes)
      return
    case record.jobFailed:
      sink?.jobFailed(connection, c, bytes)
      return
    case record.jobTaken:
      sink?.jobTaken(id, a)
      return
    case record.jobsDrained:
      sink?.jobsDrained()
      return
  }
}
