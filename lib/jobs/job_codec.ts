/** Encoding of values as bytes, for the way between the main thread and the workers through native code. */

import { DefaultDeserializer, serialize } from 'node:v8'
import { IocpError } from '../common/errors.js'
import { describeThrown } from '../common/thrown.js'

/** The form of encoded bytes: the first byte of a call's job and of every result. */
export const form = { nothing: 0, bytes: 1, text: 2, clone: 3, message: 4 } as const

const NO_BYTES = new Uint8Array(0)

/** Bytes of one payload or result, with the name of the job: what native code can count. */
const MAX_SIZE = 2 ** 31 - 1

/** A value as bytes. */
export interface Encoded {
  readonly form: number
  readonly body: Uint8Array
}

/**
 * A value as bytes. Bytes stay unchanged, text is UTF-8, everything else is cloned.
 * @throws DataCloneError for values that cannot be cloned, such as functions
 */
export function encodeValue(value: unknown): Encoded {
  if (value === undefined) return { form: form.nothing, body: NO_BYTES }
  if (typeof value === 'string') return { form: form.text, body: Buffer.from(value) }
  // Only types that are preserved: other views, and classes derived from Buffer, are cloned.
  if (value instanceof Uint8Array && (Buffer.isBuffer(value) || value.constructor === Uint8Array)) {
    return { form: form.bytes, body: value }
  }
  return { form: form.clone, body: serialize(value) }
}

/**
 * The error of a call that has cloned a value; the message says what the value is.
 * @param what the beginning of the message
 */
export function cloneError(error: unknown, what: string): unknown {
  // V8's own text. Anything else is thrown by the value, such as by a getter, or tells of the list to transfer.
  if (!(error instanceof Error) || !/could not be cloned/.test(error.message)) return error
  const message = `${what} cannot be cloned: ${error.message}`
  return error instanceof DOMException ? new DOMException(message, error.name) : new Error(message, { cause: error })
}

/**
 * {@link encodeValue}, with the error that says what the value is.
 * @param what called only if it cannot be cloned
 */
export function encodeNamed(value: unknown, what: () => string): Encoded {
  try {
    return encodeValue(value)
  } catch (error) {
    throw cloneError(error, what())
  }
}

/** Bytes in memory of their own, as the same kind of view, without the other contents of the batch. */
export function ownBytes<T extends ArrayBufferView>(view: T): T {
  if (view instanceof DataView) {
    const { buffer, byteOffset, byteLength } = view
    return new DataView(buffer.slice(byteOffset, byteOffset + byteLength)) as ArrayBufferView as T
  }
  // Not Buffer's own slice, which is another view.
  return Uint8Array.prototype.slice.call(view) as ArrayBufferView as T
}

/** Node's own deserializer creates views of its input, or of its pool. */
class Reader extends DefaultDeserializer {
  /** Called by V8 for each view. */
  _readHostObject(): unknown {
    const inherited = DefaultDeserializer.prototype as unknown as { _readHostObject(): ArrayBufferView }
    return ownBytes(inherited._readHostObject.call(this))
  }
}

function deserialize(bytes: Uint8Array): unknown {
  const reader = new Reader(bytes)
  reader.readHeader()
  return reader.readValue()
}

/** Decodes the value. All bytes in it have memory of their own. */
export function decodeValue(kind: number, body: Uint8Array): unknown {
  switch (kind) {
    case form.bytes:
      return ownBytes(body)
    case form.text:
      return Buffer.from(body.buffer, body.byteOffset, body.length).toString()
    case form.clone:
      return deserialize(body)
    default:
      return undefined
  }
}

/**
 * A result as bytes, its form in front.
 * @throws IocpError ERR_IOCP_JOB_SIZE, and as {@link encodeValue}
 */
export function encodeResult(value: unknown): Uint8Array {
  const { form: kind, body } = encodeNamed(value, () => 'The result of the job')
  if (kind === form.nothing) return NO_BYTES
  checkJobSize('A result', body.length + 1)
  const bytes = Buffer.allocUnsafe(1 + body.length)
  bytes[0] = kind
  bytes.set(body, 1)
  return bytes
}

/** Decodes the result. */
export function decodeResult(bytes: Buffer | undefined): unknown {
  return bytes === undefined ? undefined : decodeValue(bytes[0] ?? form.nothing, bytes.subarray(1))
}

/** @throws IocpError ERR_IOCP_JOB_SIZE */
export function checkJobSize(what: string, size: number): void {
  if (size > MAX_SIZE)
    throw new IocpError('ERR_IOCP_JOB_SIZE', `${what} of ${size} bytes is above the limit of ${MAX_SIZE}`)
}

/** The number that represents a payload sent as a message. */
export function encodeNumber(number: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeDoubleLE(number)
  return bytes
}

/** Decodes the number. */
export function decodeNumber(bytes: Buffer): number {
  return bytes.readDoubleLE()
}

const MAX_NAME = 255
const heads = new Map<string, Buffer>()

/**
 * The header of a call's payload: `[form, length of the name, name]`. Cached, because a program has few names.
 */
export function callHead(name: string, kind: number): Buffer {
  const key = `${kind}${name}`
  const known = heads.get(key)
  if (known !== undefined) return known
  const bytes = Buffer.from(name)
  if (bytes.length > MAX_NAME) throw new IocpError('ERR_IOCP_JOB_UNKNOWN', `No job has a name of ${bytes.length} bytes`)
  const head = Buffer.concat([Buffer.of(kind, bytes.length), bytes])
  if (heads.size < 1000) heads.set(key, head)
  return head
}

/** The parts of a call's job. */
export function readCall(job: Buffer): { form: number; name: string; body: Buffer } {
  const from = 2 + (job[1] ?? 0)
  return { form: job[0] ?? form.nothing, name: job.toString('utf8', 2, from), body: job.subarray(from) }
}

interface PlainError {
  name: string
  message: string
  stack: string | undefined
  code: unknown
}

/** Of the description of something that was thrown, in characters. */
const LONGEST_TEXT = 10_000

/** A value that a handler threw, as bytes. Never throws. */
export function encodeError(error: unknown): Uint8Array {
  try {
    const bytes = serialize(error instanceof Error ? plainError(error) : { thrown: error })
    checkJobSize('What a handler threw', bytes.length)
    return bytes
  } catch {
    // Values that cannot be cloned, are too large, or throw when they are inspected.
    const text = describeThrown(error).slice(0, LONGEST_TEXT)
    return serialize(plainError(new Error(`A handler threw ${text}`)))
  }
}

function plainError(error: Error): PlainError {
  // Classes of errors may define these in any way.
  const { name, message, stack, code }: { name: unknown; message: unknown; stack?: unknown; code?: unknown } = error
  const isPlain = typeof code === 'string' || typeof code === 'number'
  return {
    name: String(name),
    message: String(message),
    stack: typeof stack === 'string' ? stack : undefined,
    code: isPlain ? code : undefined
  }
}

/** Decodes it: an Error with name, message, stack and code, or the value that was thrown. */
export function decodeError(bytes: Buffer | undefined): unknown {
  const plain = bytes === undefined ? undefined : (deserialize(bytes) as PlainError | { thrown: unknown })
  if (plain === undefined) return new Error('The job failed')
  if ('thrown' in plain) return plain.thrown
  const isOurs = typeof plain.code === 'string' && plain.code.startsWith('ERR_IOCP_')
  const error = isOurs ? new IocpError(plain.code as string, plain.message) : new Error(plain.message)
  const hidden = { configurable: true, enumerable: false, writable: true }
  if (plain.stack !== undefined) Object.defineProperty(error, 'stack', { ...hidden, value: plain.stack })
  if (plain.name !== error.name) Object.defineProperty(error, 'name', { ...hidden, value: plain.name })
  if (plain.code !== undefined && !isOurs) Object.assign(error, { code: plain.code })
  return error
}
