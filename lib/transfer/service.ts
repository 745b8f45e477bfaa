/** What native code and the peer tell about files, to the transfer that it is about. */

import type { CloseInfo } from '../connection/close_info.js'
import type { Connection } from '../connection/connection.js'
import { SILENT, flag } from '../connection/state.js'
import { deliver } from '../connection/receive.js'
import { outside } from '../common/emitter.js'
import type { Transfer } from './transfer.js'
import { readFileEnd, readFrame, type TransferFrame } from './frames.js'
import { iocpsFile, speaksIocps } from './iocps.js'
import { isFresh } from './offer.js'
import { carriesFiles } from './options.js'
import { offered } from './incoming_file.js'
import { nextTurn } from '../common/timers.js'
import { transferKind } from '../native/protocol.js'

/** Packages that came before it was known whether anybody listens for files. */
const undecided = new WeakSet<Buffer>()

/** What peers said about files before anybody could listen for them, in order. */
const early = new WeakMap<Connection, (() => void)[]>()

/** Runs it now or, while whoever waits for the connection does not have it, in order with the rest of its kind later. */
function inTurn(connection: Connection, body: () => void): void {
  const waiting = early.get(connection)
  if (waiting !== undefined) {
    waiting.push(body)
  } else if (isFresh(connection)) {
    early.set(connection, [body])
    nextTurn(() => {
      goOn(connection)
    })
  } else {
    body()
  }
}

function goOn(connection: Connection): void {
  if (isFresh(connection)) {
    nextTurn(() => {
      goOn(connection)
    })
    return
  }
  const waiting = early.get(connection) ?? []
  early.delete(connection)
  for (const body of waiting) outside(body)
}

function find(connection: Connection, isReceived: boolean, id: number): Transfer | undefined {
  const transfers = connection._extra?.transfers
  return isReceived ? transfers?.received.get(id) : transfers?.sent.get(id)
}

/** A frame of the peer's. One about a transfer that is over here was on its way when it ended. */
export function fileFrame(connection: Connection, bytes: Buffer): void {
  if ((connection._flags & SILENT) !== 0) return
  if ((bytes[0] ?? 0) < transferKind.offer) {
    iocps(connection, bytes)
    return
  }
  const frame = readFrame(bytes)
  inTurn(connection, () => {
    about(connection, frame)
  })
}

function about(connection: Connection, frame: TransferFrame): void {
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
  // Whoever waits for the connection may want to listen for files.
  if (isFresh(connection)) undecided.add(bytes)
  else if (iocpsFile(connection, bytes)) return
  deliver(connection, bytes)
}

/** Whether a packet that was held back is about a file after all; then it has been dealt with. */
export function wasFile(connection: Connection, packet: Uint8Array): boolean {
  return packet instanceof Buffer && undecided.delete(packet) && iocpsFile(connection, packet)
}

/** Native code has come so far. */
export function fileProgress(connection: Connection, isReceived: boolean, id: number, bytes: number): void {
  find(connection, isReceived, id)?.progress(bytes)
}

/** Native code is through with a file. */
export function fileEnded(connection: Connection, isReceived: boolean, bytes: Buffer): void {
  const end = readFileEnd(bytes)
  find(connection, isReceived, end.id)?.ended(end)
}

function all(connection: Connection): Transfer[] {
  const transfers = connection._extra?.transfers
  return transfers === undefined ? [] : [...transfers.sent.values(), ...transfers.received.values()]
}

/**
 * Whether something is waited for that comes between packets, or behind them: a word about a file, or the peer's end.
 * Packets that nobody takes are in its way, and are kept meanwhile.
 */
export function readsOn(connection: Connection): boolean {
  if ((connection._flags & flag.ended) !== 0 || (connection._extra?.transfers?.size ?? 0) > 0) return true
  const { transfer, native } = connection._profile
  if (transfer === undefined || connection.listenerCount('file') + connection._host.owner.listenerCount('file') === 0) return false
  return carriesFiles(native.receive) || speaksIocps(connection)
}

/** The connection is over. */
export function transfersClosed(connection: Connection, info: CloseInfo): void {
  early.delete(connection)
  for (const transfer of all(connection)) transfer.closed(info.error)
}

/** The peer says no more. */
export function transfersPeerEnded(connection: Connection): void {
  connection._flags |= flag.peerEnded
  const tell = (): void => {
    for (const transfer of all(connection)) transfer.peerEnded()
  }
  const waiting = early.get(connection)
  if (waiting === undefined) tell()
  else waiting.push(tell)
}
