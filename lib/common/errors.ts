/** All errors that the library creates, or converts from those of Windows. */

import { types } from 'node:util'

/**
 * The library's own codes, each with its message; `docs/errors.md` explains them. Errors of the operating system have
 * Node's names instead (`ECONNRESET`, `EADDRINUSE`, ...).
 */
export const errorCodes = {
  ERR_IOCP_UNSUPPORTED_PLATFORM: 'I/O completion ports exist on Windows only',
  ERR_IOCP_ADDON_NOT_FOUND: 'No native addon was found for this processor',
  ERR_IOCP_ADDON_BLOCKED: 'Node.js was started with native addons disabled',
  ERR_IOCP_ADDON_FAILED: 'The native addon could not be loaded',
  ERR_IOCP_ADDON_MISMATCH: 'The native addon and the JavaScript code are of different versions',
  ERR_IOCP_INVALID_OPTION: 'An option has a value that is not allowed',
  ERR_IOCP_CLOSING: 'The server or client is closing',
  ERR_IOCP_PACKET_SIZE: 'The framing cannot carry a packet of this size',
  ERR_IOCP_PACKET_CONTENT: 'The framing cannot carry these bytes as one packet',
  ERR_IOCP_FRAME_TOO_LARGE: 'The peer sent a packet larger than the limit',
  ERR_IOCP_FRAME_NEGATIVE_LENGTH: 'The peer sent a negative length',
  ERR_IOCP_FRAME_SHORTER_THAN_HEADER: 'The peer sent a length that does not cover the header',
  ERR_IOCP_FRAME_SHORTER_THAN_STRIP: 'The peer sent a packet shorter than the bytes to strip from it',
  ERR_IOCP_FRAME_BAD_FLAG: 'The peer sent a header with the wrong flag',
  ERR_IOCP_FRAME_BAD_LENGTH: 'The peer sent a length that its protocol does not allow',
  ERR_IOCP_FRAME_BAD_VARINT: 'The peer sent a length prefix that is not a valid base-128 number',
  ERR_IOCP_FRAME_NO_MEMORY: 'There was not enough memory to assemble a packet',
  ERR_IOCP_FRAME_CORRUPT: 'The peer sent bytes that the framing cannot decode',
  ERR_IOCP_DETACHED:
    'The program transferred the memory of received packets, so some packets of this connection were lost',
  ERR_IOCP_OVERFLOW: 'More bytes were queued for sending than the limit allows',
  ERR_IOCP_FIRST_PACKET_TIMEOUT: "The peer sent no packet within 'timeouts.firstPacket'",
  ERR_IOCP_PACKET_TIMEOUT: "The peer did not complete a packet within 'timeouts.packet'",
  ERR_IOCP_IDLE_TIMEOUT: "The connection was without activity for longer than 'timeouts.idle' allows",
  ERR_IOCP_SEND_TIMEOUT: "The peer took none of the data that waited for it within 'timeouts.sendStall'",
  ERR_IOCP_TOO_SLOW: "The peer sent a packet more slowly than 'timeouts.minRate' allows",
  ERR_IOCP_RATE_EXCEEDED: "The peer sent more than 'packetRate' or 'byteRate' allows",
  ERR_IOCP_REFUSED: 'The connection was rejected',
  ERR_IOCP_HANDLER: 'A handler of the connection failed',
  ERR_IOCP_CLOSED: 'The connection is closed',
  ERR_IOCP_ATTEMPTS: 'All attempts to connect have failed',
  ERR_IOCP_GAVE_UP: 'Reconnecting was given up',
  ERR_IOCP_NO_ADDRESS: 'The host name has no address that can be used',
  ERR_IOCP_FRAME_BAD_TRANSFER: 'The peer sent a packet of a type reserved for files that is not a valid file frame',
  ERR_IOCP_TRANSFER_OFF: 'Files cannot be transferred on this connection',
  ERR_IOCP_TRANSFER_BUSY: 'The framing cannot be changed during a file transfer',
  ERR_IOCP_TRANSFER_REJECTED: 'The file was rejected',
  ERR_IOCP_TRANSFER_ANSWER_TIMEOUT: 'The offer was not answered in time',
  ERR_IOCP_TRANSFER_ABORTED: 'The transfer was aborted',
  ERR_IOCP_TRANSFER_CLOSED: 'The connection closed before the transfer was complete',
  ERR_IOCP_TRANSFER_LIMIT: 'Too many transfers are in progress',
  ERR_IOCP_TRANSFER_NAME: 'The file name is not allowed',
  ERR_IOCP_TRANSFER_PATH: 'The file would be outside of the allowed folder',
  ERR_IOCP_TRANSFER_DISK_FULL: 'The disk of the receiver is full',
  ERR_IOCP_TRANSFER_FILE: 'A file could not be read or written',
  ERR_IOCP_TRANSFER_SOURCE_CHANGED: 'The file became shorter while it was being sent',
  ERR_IOCP_TRANSFER_CHECKSUM: 'The checksum of the received file does not match',
  ERR_IOCP_TRANSFER_STALL_TIMEOUT: 'The transfer made no progress for too long',
  ERR_IOCP_TRANSFER_TOO_LARGE: 'The file is larger than the limit',
  ERR_IOCP_TRANSFER_EXISTS: 'A file of that name already exists',
  ERR_IOCP_TRANSFER_PROTOCOL: 'The peer violated the transfer protocol',
  ERR_IOCP_NO_WORKERS: "The server or client was created without workers: pass the option 'workers'",
  ERR_IOCP_WORKERS_FULL: 'Too many jobs are waiting',
  ERR_IOCP_WORKER_MODULE: 'The module of the workers did not call defineJobs',
  ERR_IOCP_WORKER_TIMEOUT: 'The worker did not start, give up a job or end in time',
  ERR_IOCP_WORKERS_FAILED: 'No worker starts',
  ERR_IOCP_WORKER_EXITED: 'The worker ended before the job did',
  ERR_IOCP_JOB_UNKNOWN: 'The workers have no handler for this job',
  ERR_IOCP_JOB_SIZE: 'The payload or the result of a job is too large',
  ERR_IOCP_JOB_TIMEOUT: 'The job took too long',
  ERR_IOCP_JOB_CANCELLED: 'The job was cancelled because the server or client is closing',
  ERR_IOCP_READER_BOUNDS: 'The packet ended before the value to be read',
  ERR_IOCP_READER_STRING: 'A string in the packet has no terminating NUL'
} as const

/** The codes of the library's own errors. */
export type IocpErrorCode = keyof typeof errorCodes

/** Properties of an {@link IocpError} besides its code and message. */
export interface IocpErrorDetails {
  /** The call that failed, for example `'bind'` or `'connect'`. */
  syscall?: string | undefined
  /** Node's negative number of an operating system error. */
  errno?: number | undefined
  /** The error number from Windows (Winsock or Win32). */
  winCode?: number | undefined
  /** The address concerned. */
  address?: string | undefined
  /** The port concerned. */
  port?: number | undefined
  /** The file concerned. */
  path?: string | undefined
  /** The intended new name of the file. */
  dest?: string | undefined
  /** The option or argument that was invalid. */
  option?: string | undefined
  /** The value that the option had. */
  value?: unknown
  /** The underlying error. */
  cause?: unknown
}

/**
 * An error of the library. `code` identifies it: Node's name if Node has one (`ECONNRESET`, `EADDRINUSE`, `ETIMEDOUT`),
 * otherwise one of the `ERR_IOCP_*` codes, each of which has a section in `docs/errors.md`.
 */
export class IocpError extends Error {
  readonly code: string
  declare readonly syscall?: string
  declare readonly errno?: number
  declare readonly winCode?: number
  declare readonly address?: string
  declare readonly port?: number
  declare readonly path?: string
  declare readonly dest?: string
  declare readonly option?: string
  declare readonly value?: unknown

  constructor(code: string, message: string, details: IocpErrorDetails = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined)
    this.code = code
    const { syscall, errno, winCode, address, port, path, dest, option } = details
    // Only known values become properties, so that a printed error shows no empty lines.
    Object.assign(
      this,
      syscall !== undefined && { syscall },
      errno !== undefined && { errno },
      winCode !== undefined && { winCode },
      address !== undefined && { address },
      port !== undefined && { port },
      path !== undefined && { path },
      dest !== undefined && { dest },
      option !== undefined && { option, value: details.value }
    )
  }
}

/** Several failed attempts as one error; `errors` contains them in sequence. */
export class IocpAttemptsError extends IocpError {
  readonly errors: readonly Error[]

  constructor(message: string, errors: readonly Error[], details: IocpErrorDetails = {}) {
    super(commonCode(errors), message, details)
    this.errors = errors
  }
}

/**
 * Data from a peer that the framing does not accept. `discarded` is true if only that packet was skipped (framing
 * option `onOversize: 'discard'`) and the connection continues; otherwise the connection is being closed.
 */
export class IocpFrameError extends IocpError {
  /** The first of the offending bytes, as far as they are known. At most 32. */
  readonly header: Buffer
  /** Size of the whole frame on the wire, if it is known. */
  readonly frameSize: number | undefined
  readonly discarded: boolean

  /** @param maxPacket the limit that the packet exceeded */
  constructor(code: IocpErrorCode, header: Buffer, discarded: boolean, frameSize?: number, maxPacket?: number) {
    const limit = maxPacket === undefined ? '' : ` of ${maxPacket} bytes ('maxPacket')`
    const size = frameSize === undefined ? '' : `; the frame has ${frameSize} bytes`
    const bytes = header.length === 0 ? '' : `; it began with ${header.toString('hex', 0, 16)}`
    super(code, `${errorCodes[code]}${limit}${size}${bytes}`)
    this.header = header
    this.frameSize = frameSize
    this.discarded = discarded
  }
}

// On the prototypes, as with JavaScript's own errors: so the name stands in the stack and not among the properties.
for (const [constructor, name] of [
  [IocpError, 'IocpError'],
  [IocpAttemptsError, 'IocpAttemptsError'],
  [IocpFrameError, 'IocpFrameError']
] as const) {
  Object.defineProperty(constructor.prototype, 'name', { value: name, configurable: true, writable: true })
}

/** The code of a set of errors: their common code, if they have one. */
function commonCode(errors: readonly Error[]): string {
  const codes = new Set(errors.map((error) => (error as { code?: unknown }).code))
  const [first] = codes
  return codes.size === 1 && typeof first === 'string' ? first : 'ERR_IOCP_ATTEMPTS'
}

/**
 * The error for an invalid option.
 * @param option its name with the path to it, for example `framing.bytes`
 * @param value what it was
 * @param allowed what it may be, as the end of a sentence that begins with "must be"
 */
export function invalidOption(option: string, value: unknown, allowed: string): IocpError {
  const given = value === undefined ? 'missing' : show(value)
  return new IocpError('ERR_IOCP_INVALID_OPTION', `Option '${option}' must be ${allowed}; it is ${given}`, {
    option,
    value
  })
}

/** The error for an invalid value of the right type; the code is Node's. */
export function invalidValue(option: string, value: unknown, allowed: string): IocpError {
  return new IocpError('ERR_INVALID_ARG_VALUE', `'${option}' must be ${allowed}; it is ${show(value)}`, {
    option,
    value
  })
}

/**
 * The error for an argument of the wrong type; the code is Node's.
 * @param remedy the end of the message
 */
export function invalidArgument(name: string, value: unknown, allowed: string, remedy = ''): IocpError {
  const message = `Argument '${name}' must be ${allowed}; it is ${show(value)}${remedy}`
  return new IocpError('ERR_INVALID_ARG_TYPE', message, { option: name, value })
}

/** The error for an argument that is not bytes. */
export function notBytes(name: string, value: unknown, allowed: string): IocpError {
  const remedy = types.isAnyArrayBuffer(value)
    ? ': wrap it in a Uint8Array'
    : ArrayBuffer.isView(value)
      ? ': pass new Uint8Array(view.buffer, view.byteOffset, view.byteLength)'
      : ''
  return invalidArgument(name, value, allowed, remedy)
}

const escapes: Readonly<Record<string, string>> = { '\0': '0', '\t': 't', '\n': 'n', '\r': 'r' }

/** Text for a message, on one line and visible: control and format characters are escaped as in JavaScript. */
export function escaped(text: string): string {
  return text.replaceAll(
    /[\p{C}\u2028\u2029]/gu,
    (one) => `\\${escapes[one] ?? `u{${(one.codePointAt(0) ?? 0).toString(16)}}`}`
  )
}

/** A value as text for an error message: short, and without calling methods of the value. */
export function show(value: unknown): string {
  if (typeof value === 'string') {
    return value.length > 60 ? `'${escaped(value.slice(0, 60))}...'` : `'${escaped(value)}'`
  }
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'symbol') return 'a symbol'
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (typeof value === 'object' && value !== null) return showObject(value)
  return String(value)
}

/** Names its class, without running getters or traps of the program. */
function showObject(value: object): string {
  if (types.isProxy(value)) return 'an object'
  const made = ownValue(Object.getPrototypeOf(value) as object | null, 'constructor')
  const name = typeof made === 'function' && !types.isProxy(made) ? ownValue(made, 'name') : undefined
  if (typeof name !== 'string' || !/^[A-Z]\w{0,40}$/.test(name)) return 'an object'
  return name === 'Object' ? 'an object' : `${/^[AEIO]/.test(name) ? 'an' : 'a'} ${name}`
}

function ownValue(object: object | null, name: string): unknown {
  if (object === null || types.isProxy(object)) return undefined
  return Object.getOwnPropertyDescriptor(object, name)?.value
}
