/** File transfer for connections: their requests, and the records of native code and frames of the peer. */

import { runUncaught } from '../common/emitter.js'
import type { Path } from '../common/paths.js'
import { nativeSetImmediate } from '../common/timers.js'
import type { CloseInfo } from '../connection/close_info.js'
import type { Connection } from '../connection/connection.js'
import type { ReceivedFile, ReceiveFileOptions, SendFileOptions, SentFile } from '../connection/file_types.js'
import { deliver } from '../connection/receive.js'
import { flag, SILENT } from '../connection/state.js'
import { transferKind } from '../native/protocol.js'
import { readFileEnd, readFrame, type TransferFrame } from './frames.js'
import { offered } from './incoming_file.js'
import { receiveFile } from './incoming_raw_file.js'
import { iocpsFile, speaksIocps } from './iocps.js'
import type { NativeFiles } from './native_files.js'
import { isFresh } from './offer.js'
import { carriesFiles } from './options.js'
import { sendFile } from './outgoing_file.js'
import { type FileService, knownTransfers, type Transfer } from './transfer.js'

/** Packages that arrived before it was known whether there is a listener for files. */
const undecided = new WeakSet<Buffer>()

/** Frames about files that arrived before a listener could be added, in sequence. */
const early = new WeakMap<Connection, (() => void)[]>()

/** Runs it now or, if the promise of the connection has not been settled, later in sequence with the others. */
function afterConnect(connection: Connection, body: () => void): void {
  const waiting = early.get(connection)
  if (waiting !== undefined) {
    waiting.push(body)
  } else if (isFresh(connection)) {
    early.set(connection, [body])
    nativeSetImmediate(() => {
      flushDeferred(connection)
    })
  } else {
    body()
  }
}

function flushDeferred(connection: Connection): void {
  if (isFresh(connection)) {
    nativeSetImmediate(() => {
      flushDeferred(connection)
    })
    return
  }
  const waiting = early.get(connection) ?? []
  early.delete(connection)
  for (const body of waiting) runUncaught(body)
}

function find(connection: Connection, isReceived: boolean, id: number): Transfer | undefined {
  const transfers = knownTransfers(connection)
  return isReceived ? transfers?.received.get(id) : transfers?.sent.get(id)
}

/** A frame from the peer. One about a transfer that has ended here was in transit when it ended. */
export function fileFrame(connection: Connection, bytes: Buffer): void {
  if ((connection._flags & SILENT) !== 0) return
  if ((bytes[0] ?? 0) < transferKind.offer) {
    iocps(connection, bytes)
    return
  }
  const frame = readFrame(bytes)
  afterConnect(connection, () => {
    dispatchFrame(connection, frame)
  })
}

function dispatchFrame(connection: Connection, frame: TransferFrame): void {
  if ((connection._flags & SILENT) !== 0) return
  switch (frame.kind) {
    case transferKind.offer:
      offered(connection, frame)
      return
    case transferKind.start:
    case transferKind.done:
      find(connection, true, frame.id)?.take(frame)
      return
    case transferKind.abort:
      find(connection, frame.side === 0, frame.id)?.take(frame)
      return
    default:
      find(connection, false, frame.id)?.take(frame)
  }
}

/** A package of IOCPS about a file, or a packet that looks like one. */
function iocps(connection: Connection, bytes: Buffer): void {
  // A listener for files may be added when the promise of the connection is settled.
  if (isFresh(connection)) undecided.add(bytes)
  else if (iocpsFile(connection, bytes)) return
  deliver(connection, bytes)
}

/** Progress of native code. */
export function fileProgress(connection: Connection, isReceived: boolean, id: number, bytes: number): void {
  find(connection, isReceived, id)?.progress(bytes)
}

/** Native code has finished a file. */
export function fileEnded(connection: Connection, isReceived: boolean, bytes: Buffer): void {
  const end = readFileEnd(bytes)
  find(connection, isReceived, end.id)?.ended(end)
}

function all(connection: Connection): Transfer[] {
  const transfers = knownTransfers(connection)
  return transfers === undefined ? [] : [...transfers.sent.values(), ...transfers.received.values()]
}

/** The implementation of the interface for connections. */
export class FileTransfers implements FileService {
  readonly files: NativeFiles

  constructor(files: NativeFiles) {
    this.files = files
  }

  send(connection: Connection, path: Path, options: SendFileOptions | undefined): Promise<SentFile> {
    return sendFile(connection, path, options)
  }

  receive(connection: Connection, options: ReceiveFileOptions): Promise<ReceivedFile> {
    return receiveFile(connection, options)
  }

  consumedAsFile(connection: Connection, packet: Uint8Array): boolean {
    return packet instanceof Buffer && undecided.delete(packet) && iocpsFile(connection, packet)
  }

  readsOn(connection: Connection): boolean {
    if ((connection._flags & flag.ended) !== 0 || (connection._extra?.transfers?.size ?? 0) > 0) return true
    const { transfer, native } = connection._profile
    if (
      transfer === undefined ||
      connection.listenerCount('file') + connection._engine.owner.listenerCount('file') === 0
    )
      return false
    return carriesFiles(native.receive) || speaksIocps(connection)
  }

  peerEnded(connection: Connection): void {
    const tell = (): void => {
      for (const transfer of all(connection)) transfer.peerEnded()
    }
    const waiting = early.get(connection)
    if (waiting === undefined) tell()
    else waiting.push(tell)
  }

  closed(connection: Connection, info: CloseInfo): void {
    early.delete(connection)
    for (const transfer of all(connection)) transfer.closed(info.error)
  }
}
