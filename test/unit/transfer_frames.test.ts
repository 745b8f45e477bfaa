import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { transferKind } from '../../lib/native/protocol.js'
import * as frames from '../../lib/transfer/frames.js'

const header = readFileSync(new URL('../../native/core/transfer_protocol.h', import.meta.url), 'utf8')

/** A constant of native code, which may be a product. */
function native(name: string): number {
  const value = new RegExp(`constexpr size_t ${name} = ([\\d* ]+);`).exec(header)?.[1] ?? ''
  return value.split('*').reduce((product, factor) => product * Number(factor), 1)
}

test.each([
  ['CHUNK_HEADER', 'kTransferChunkHeader'],
  ['HASH_BYTES', 'kTransferHash'],
  ['MAX_NAME', 'kTransferMaxName'],
  ['MAX_METADATA', 'kTransferMaxMetadata'],
  ['MAX_REASON', 'kTransferMaxReason']
] as const)('%s is the %s of native code', (name, constant) => {
  expect(frames[name]).toBe(native(constant))
})

test('an offer of IOCPS has the header of native code, and the NUL', () => {
  expect(frames.IOCPS_OFFER_EXTRA).toBe(native('kIocpsOfferHeader') + 1)
})

const hash = Buffer.alloc(32, 7)
const u = (value: number | bigint, bytes: number): Buffer => {
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64BE(BigInt(value))
  return buffer.subarray(8 - bytes)
}
const frame = (kind: keyof typeof transferKind, ...fields: Buffer[]): Buffer =>
  Buffer.concat([Buffer.of(transferKind[kind]), u(0x01020304, 4), ...fields])
const id = 0x01020304

// As the comment of native/core/transfer_protocol.h has them.
test.each([
  [
    'offer',
    frame('offer', u(5_000_000_000, 8), u(1, 1), u(3, 2), Buffer.from('a.b'), Buffer.from('meta')),
    { number: 5_000_000_000, hasHash: true, name: 'a.b', rest: Buffer.from('meta') }
  ],
  ['accept', frame('accept', u(77, 8), u(1, 1), hash), { number: 77, hasHash: true, hash }],
  ['accept', frame('accept', u(77, 8), u(0, 1)), { number: 77, hasHash: false, hash: undefined }],
  ['reject', frame('reject', u(513, 2), Buffer.from('no')), { code: 513, rest: Buffer.from('no') }],
  ['start', frame('start', u(78, 8)), { number: 78 }],
  ['done', frame('done', u(79, 8), u(1, 1), hash), { number: 79, hasHash: true, hash }],
  ['stored', frame('stored'), {}],
  ['abort', frame('abort', u(1, 1), u(514, 2), Buffer.from('why')), { side: 1, code: 514, rest: Buffer.from('why') }]
] as const)('the fields of %s are where native code has them', (kind, bytes, fields) => {
  expect(frames.readFrame(bytes)).toMatchObject({ kind: transferKind[kind], id, ...fields })
})

test('the headers are as long as what is in front of the text', () => {
  expect(frames.OFFER_HEADER).toBe(frame('offer', u(0, 8), u(0, 1), u(0, 2)).length)
  expect(frames.REASON_HEADER).toBe(frame('abort', u(0, 1), u(0, 2)).length)
  expect(frames.CHUNK_HEADER).toBe(frame('chunk').length)
  expect(frames.LARGEST_NEEDED).toBe(frame('done', u(0, 8), u(1, 1), hash).length)
})

test('the end of a file is read as native code writes it', () => {
  const bytes = Buffer.alloc(24)
  for (const [index, word] of [9, 2, 112, 1].entries()) bytes.writeUInt32LE(word, 4 * index)
  bytes.writeBigUInt64LE(6_000_000_000n, 16)
  const end = { id: 9, outcome: 2, winCode: 112, hasBegun: true, bytes: 6_000_000_000, hash }
  expect(frames.readFileEnd(Buffer.concat([bytes, hash]))).toEqual(end)
})

test('an offer of IOCPS comes back as it was written', () => {
  const offer = frames.writeIocpsOffer(Buffer.from('n\u00e4me', 'latin1'), 0xfffe_0001)
  expect(offer).toEqual(Buffer.from('010100feff6ee46d6500', 'hex'))
  expect(frames.readIocpsOffer(offer)).toEqual({ name: 'n\u00e4me', size: 0xfffe_0001 })
})
