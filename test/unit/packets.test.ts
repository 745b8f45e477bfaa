import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Endian, PacketReader, type StringEnd } from '../../lib/packets/reader.js'
import { iocpsPackage, PacketWriter } from '../../lib/packets/writer.js'

const endian = fc.constantFrom<Endian>('big', 'little')

const values = fc.oneof(
  fc.record({ kind: fc.constant('u8' as const), value: fc.integer({ min: 0, max: 0xff }) }),
  fc.record({ kind: fc.constant('i8' as const), value: fc.integer({ min: -0x80, max: 0x7f }) }),
  fc.record({ kind: fc.constant('u16' as const), value: fc.integer({ min: 0, max: 0xffff }) }),
  fc.record({ kind: fc.constant('i16' as const), value: fc.integer({ min: -0x8000, max: 0x7fff }) }),
  fc.record({ kind: fc.constant('u32' as const), value: fc.integer({ min: 0, max: 0xffff_ffff }) }),
  fc.record({ kind: fc.constant('i32' as const), value: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }) }),
  fc.record({ kind: fc.constant('u64' as const), value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
  fc.record({ kind: fc.constant('i64' as const), value: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }) }),
  fc.record({ kind: fc.constant('f32' as const), value: fc.float({ noNaN: true }) }),
  fc.record({ kind: fc.constant('f64' as const), value: fc.double({ noNaN: true }) })
)

test('what is written is read, in either order of bytes', () => {
  fc.assert(
    fc.property(endian, fc.array(values), (order, list) => {
      const writer = new PacketWriter(order, 1)
      for (const { kind, value } of list) (writer[kind] as (value: unknown) => unknown).call(writer, value)
      const reader = new PacketReader(writer.finish(), order)
      for (const { kind, value } of list) expect(reader[kind]()).toBe(value)
      expect(reader.remaining).toBe(0)
    })
  )
})

test('the bytes are those of the order that was asked for', () => {
  const write = (order?: Endian): string =>
    new PacketWriter(order).u8(1).u16(2).u32(3).u64(4).i16(-2).finish().toString('hex')
  expect(write()).toBe('01' + '0002' + '00000003' + '0000000000000004' + 'fffe')
  expect(write('little')).toBe('01' + '0200' + '03000000' + '0400000000000000' + 'feff')
})

describe('strings', () => {
  const ends = fc.constantFrom<StringEnd>('nul', 'u8', 'u16', 'u32')

  test('come back with every kind of end', () => {
    fc.assert(
      fc.property(ends, endian, fc.string({ unit: 'grapheme', maxLength: 50 }), (end, order, given) => {
        const text = end === 'nul' ? given.replaceAll('\0', '') : given
        const packet = new PacketWriter(order).string(text, end).u8(7).finish()
        const reader = new PacketReader(packet, order)
        expect(reader.string(end)).toBe(text)
        expect(reader.u8()).toBe(7)
      })
    )
  })

  test('a NUL inside is refused where a NUL ends it', () => {
    expect(() => new PacketWriter().string('a\0b')).toThrow("Argument 'value' must be text without NUL")
    expect(new PacketWriter().string('a\0b', 'u8').finish()).toEqual(Buffer.from('\x03a\0b'))
  })

  test('a length that does not fit is refused', () => {
    expect(() => new PacketWriter().string('x'.repeat(256), 'u8')).toThrow(RangeError)
  })

  test('without an end', () => {
    const reader = new PacketReader(Buffer.from('abc'))
    expect(() => reader.string()).toThrow(expect.objectContaining({ code: 'ERR_IOCP_READER_STRING' }))
    expect(reader.position).toBe(0)
  })

  test('with a length beyond the packet', () => {
    const reader = new PacketReader(Buffer.from('\x05abc'))
    expect(() => reader.string('u8')).toThrow(expect.objectContaining({ code: 'ERR_IOCP_READER_BOUNDS' }))
    expect(reader.position).toBe(0)
    expect(reader.rest()).toEqual(Buffer.from('\x05abc'))
  })
})

describe('bounds', () => {
  test.each(['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64', 'f32', 'f64'] as const)('%s', (kind) => {
    const size = { 8: 1, 6: 2, 2: 4, 4: 8 }[Number(kind.at(-1))] ?? 0
    for (let length = 0; length < size; length++) {
      const reader = new PacketReader(Buffer.alloc(length + 3).subarray(3))
      expect(() => reader[kind]()).toThrow(expect.objectContaining({ code: 'ERR_IOCP_READER_BOUNDS' }))
      expect(reader.position).toBe(0)
    }
    expect(Number(new PacketReader(Buffer.alloc(size))[kind]())).toBe(0)
  })

  test('no declared length reads beyond the packet', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), fc.integer({ min: 0, max: 2 ** 40 }), (bytes, length) => {
        const reader = new PacketReader(bytes)
        if (length <= bytes.length) expect(reader.bytes(length)).toHaveLength(length)
        else expect(() => reader.bytes(length)).toThrow(expect.objectContaining({ code: 'ERR_IOCP_READER_BOUNDS' }))
      })
    )
  })

  test.each([-1, 0.5, Number.NaN, Infinity])('a length of %d is none', (length) => {
    expect(() => new PacketReader(Buffer.alloc(5)).bytes(length)).toThrow("Argument 'length'")
  })

  test('only bytes can be read from', () => {
    expect(() => new PacketReader('text' as unknown as Buffer)).toThrow("Argument 'packet'")
  })
})

test('a writer goes on behind what it has finished', () => {
  const writer = new PacketWriter('big', 1).u8(1)
  const first = writer.finish()
  expect(writer.bytes(Buffer.alloc(1000, 2)).finish()).toHaveLength(1001)
  expect(first).toEqual(Buffer.from([1]))
  expect(() => writer.u8(256)).toThrow(RangeError)
  expect(writer.size).toBe(1001)
})

describe('packages of the original', () => {
  test.each([
    ['text', iocpsPackage.text(0, 'Hi'), '00486900'],
    ['type', iocpsPackage.type(2), '02'],
    ['type, number, text', iocpsPackage.keys(1, [0x01020304], 'a.txt'), '0104030201612e74787400'],
    ['type, three keys, text', iocpsPackage.keys(9, [1, 2, 3], ''), '0901000000020000000300000000'],
    ['type, number, bytes', iocpsPackage.bytes(7, 1, Buffer.from([5, 6])), '07010000000506']
  ])('%s', (_, packet, hex) => {
    expect(packet.toString('hex')).toBe(hex)
  })

  test('are single-byte text', () => {
    expect(iocpsPackage.text(0, 'ü').toString('hex')).toBe('00fc00')
  })
})
