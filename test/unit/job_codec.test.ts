import { describe, expect, test } from 'vitest'
import { decodeError, decodeValue, encodeError, encodeResult, encodeValue } from '../../lib/jobs/job_codec.js'

/** As it comes: in the middle of a batch that holds other things. */
function inBatch(bytes: Uint8Array): Uint8Array {
  const batch = Buffer.from(new ArrayBuffer(bytes.length + 64)).fill('secret')
  batch.set(bytes, 13)
  return batch.subarray(13, 13 + bytes.length)
}

function throughBatch(value: unknown): { decoded: unknown; batch: ArrayBufferLike } {
  const { form, body } = encodeValue(value)
  const given = inBatch(body)
  return { decoded: decodeValue(form, given), batch: given.buffer }
}

describe('bytes of a value', () => {
  const views = [
    Buffer.from('bytes'),
    Uint8Array.of(1, 2, 3),
    Float64Array.of(1.5, -2),
    BigInt64Array.of(5n),
    new Uint16Array(0),
    Buffer.alloc(0),
    new DataView(Uint8Array.of(9, 8, 7).buffer, 1, 2)
  ]
  test.each(views.map((view) => [view.constructor.name, view] as const))('%s: have memory of their own', (_, view) => {
    const { decoded, batch } = throughBatch({ list: [view, Buffer.from('another')] })
    const [first, second] = (decoded as { list: [ArrayBufferView, Buffer] }).list
    expect(first).toEqual(view)
    expect(first.constructor).toBe(view.constructor)
    expect(first.buffer).not.toBe(batch)
    expect(first.buffer.byteLength).toBe(view.byteLength)
    // What is handed on takes nothing from the others.
    structuredClone(first, { transfer: [first.buffer as ArrayBuffer] })
    expect(String(second)).toBe('another')
    expect(batch.byteLength).toBeGreaterThan(64)
  })

  test('also those that are the whole value, and those in what was thrown', () => {
    const { decoded, batch } = throughBatch(Buffer.from('whole'))
    expect(String(decoded)).toBe('whole')
    expect((decoded as Buffer).buffer.byteLength).toBe(5)
    expect((decoded as Buffer).buffer).not.toBe(batch)
    const thrown = decodeError(Buffer.from(inBatch(encodeError({ bytes: Buffer.from('thrown') })))) as { bytes: Buffer }
    expect(String(thrown.bytes)).toBe('thrown')
    expect(thrown.bytes.buffer.byteLength).toBe(6)
  })
})

test('what is too large is refused before it is copied', () => {
  const large = Buffer.from(new ArrayBuffer(2 ** 32))
  expect(() => encodeResult(large)).toThrow(expect.objectContaining({ code: 'ERR_IOCP_JOB_SIZE' }))
  expect(() => encodeResult(large.subarray(0, 2 ** 31 - 1))).toThrow(
    expect.objectContaining({ code: 'ERR_IOCP_JOB_SIZE' })
  )
})

test.each([
  ['an object without a text', { toString: 1 }],
  ['a symbol', Symbol('s')],
  ['nothing', null],
  ['a revoked proxy', revoked()],
  ['an error whose name is none', Object.assign(new Error('x'), { name: { toString: 1 } })],
  ['an object whose tag throws', Object.defineProperty({}, Symbol.toStringTag, { get: fails, enumerable: true })],
  ['an object whose getter throws', Object.defineProperty({}, 'a', { get: fails, enumerable: true })]
])('%s that was thrown travels without throwing', (_, thrown) => {
  expect(() => decodeError(Buffer.from(encodeError(thrown)))).not.toThrow()
})

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

function fails(): never {
  throw new Error('not to be looked at')
}
