/**
 * The binary interface between native code and JavaScript: the records of batches, the operations of submissions, and
 * what both say about an end. The native side has the same lists (native/core/records.h, transfer_protocol.h,
 * framing/frame_state.h, access/access_rules.h and proxy_protocol/proxy_header.h); {@link mismatch} compares them when the addon is loaded.
 */

/** 32-bit words per record of a batch: `[kind, slot, generation, a, b, c]`. */
export const RECORD_WORDS = 6

/** 32-bit words per operation of a submission: `[op, slot, generation, a, b, c]`. */
export const OPERATION_WORDS = 6

/** A connection's id is `generation * SLOTS + slot`. */
export const SLOTS = 2 ** 21

/** Kinds of records in a batch. */
export const record = {
  connection: 1,
  packet: 2,
  close: 3,
  drain: 4,
  peerEnd: 5,
  listenerClosed: 6,
  listenerError: 7,
  stopped: 8,
  connected: 9,
  connectFailed: 10,
  sent: 11,
  dropped: 12,
  discarded: 13,
  streamBegin: 14,
  streamData: 15,
  streamEnd: 16,
  protocolError: 17,
  transfer: 18,
  sendProgress: 19,
  sendFileEnd: 20,
  receiveProgress: 21,
  receiveFileEnd: 22,
  refused: 23,
  timeLimit: 24,
  job: 40,
  jobAbort: 41,
  retire: 42,
  jobDone: 43,
  jobFailed: 44,
  jobTaken: 45,
  jobsDrained: 46
} as const

/** Records whose `a` and `b` are the offset and the length of bytes in the payload of their batch. */
export const CARRIES_BYTES: ReadonlySet<number> = new Set([
  record.connection,
  record.packet,
  record.connected,
  record.discarded,
  record.streamData,
  record.protocolError,
  record.transfer,
  record.sendFileEnd,
  record.receiveFileEnd,
  record.refused,
  record.job,
  record.jobDone,
  record.jobFailed
])

/** Kinds of operations in a submission. */
export const op = {
  send: 1,
  sendPinned: 2,
  end: 3,
  destroy: 4,
  reset: 5,
  pause: 6,
  resume: 7,
  demand: 8,
  setFraming: 9,
  freeProfile: 11,
  wantDrain: 12,
  broadcast: 40,
  broadcastPinned: 41,
  jobDone: 42,
  jobDonePinned: 43
} as const

/** Why a connection closed. */
export const cause = {
  local: 1,
  peerEnd: 2,
  peerReset: 3,
  timeout: 4,
  protocolError: 5,
  overflow: 6,
  refused: 7,
  serverClosing: 8,
  ioError: 9,
  handlerError: 10,
  detached: 11,
  firstPacketTimeout: 12,
  packetTimeout: 13,
  idleTimeout: 14,
  sendTimeout: 15,
  tooSlow: 16,
  maxLife: 17,
  rateExceeded: 18
} as const

/** Time limits that native code reports, and JavaScript acts on. */
export const timeEvent = { idleRead: 0, idleWrite: 1, idleBoth: 2, life: 3 } as const

/** The outcome of a send with a callback. */
export const outcome = { sent: 0, dropped: 1, closed: 2, detached: 3, unframeable: 4 } as const

/** How a job ended. */
export const jobOutcome = {
  done: 0,
  failed: 1,
  workerExited: 2,
  connectionClosed: 3,
  rejected: 4,
  timedOut: 5,
  cancelled: 6,
  noWorkers: 7
} as const

/** Why bytes of a peer are invalid. */
export const frameError = {
  none: 0,
  tooLarge: 1,
  negativeLength: 2,
  shorterThanHeader: 3,
  shorterThanStrip: 4,
  badFlag: 5,
  badVarint: 6,
  outOfMemory: 7,
  badLength: 8,
  badTransfer: 9
} as const

/** How the native part of a file transfer ended. */
export const fileOutcome = { complete: 0, cancelled: 1, failed: 2, excess: 3 } as const

/** Why a peer may not connect, in the sequence in which native code looks. */
export const refusal = {
  denied: 0,
  banned: 1,
  maxConnections: 2,
  maxPerAddress: 3,
  maxPerSubnet: 4,
  connectRate: 5,
  proxyHeader: 6,
  proxyTimeout: 7
} as const

/** What is wrong with a header of the PROXY protocol. */
export const proxyError = {
  none: 0,
  noHeader: 1,
  versionNotAllowed: 2,
  lineTooLong: 3,
  badLineEnd: 4,
  badProtocol: 5,
  badAddress: 6,
  badPort: 7,
  badVersion: 8,
  badCommand: 9,
  badFamily: 10,
  tooLarge: 11,
  shortAddress: 12,
  badTlv: 13,
  badChecksum: 14
} as const

/** Name of what can be wrong with one. */
export type ProxyErrorName = Exclude<keyof typeof proxyError, 'none'>

/** What a peer can be banned for. */
export const offence = { protocolError: 0, connectRate: 1, firstPacketTimeout: 2, rateExceeded: 3 } as const

/** The first byte of each frame of file transfer (native/core/transfer_protocol.h). */
export const transferKind = {
  offer: 0xf0,
  accept: 0xf1,
  reject: 0xf2,
  start: 0xf3,
  chunk: 0xf4,
  done: 0xf5,
  stored: 0xf6,
  abort: 0xf7
} as const

/** Every list of numbers that both sides have. */
export const sharedNumbers = {
  record,
  op,
  cause,
  outcome,
  jobOutcome,
  frameError,
  fileOutcome,
  transferKind,
  refusal,
  proxyError,
  offence,
  timeEvent
} as const

/** Lists of numbers as native code has them, by their names. */
export type NativeNumbers = Readonly<Record<keyof typeof sharedNumbers, Readonly<Record<string, number>>>>

/** The first difference between the lists of both sides, in words; a list or a name that only one has is one too. */
export function mismatch(native: Readonly<Record<string, Readonly<Record<string, number>>>>): string | undefined {
  const mine: Readonly<Record<string, Readonly<Record<string, number>>>> = sharedNumbers
  for (const list of new Set([...Object.keys(mine), ...Object.keys(native)])) {
    const here = mine[list] ?? {}
    const there = native[list] ?? {}
    for (const name of new Set([...Object.keys(here), ...Object.keys(there)])) {
      if (here[name] === there[name]) continue
      return `${list} '${name}' is ${there[name] ?? 'not there'} in native code and ${here[name] ?? 'not there'} in JavaScript`
    }
  }
  return undefined
}
