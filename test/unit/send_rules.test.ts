import { describe, expect, test } from 'vitest'
import { framing } from '../../lib/packets/framing.js'
import { checkEncodable, checkSize, sendRules } from '../../lib/packets/send_rules.js'

test.each([
  ['one byte', framing.lengthField({ bytes: 1 }), 0, 255],
  ['two bytes', framing.lengthField({ bytes: 2 }), 0, 65_535],
  ['three bytes, 32 MiB allowed', framing.lengthField({ bytes: 3, maxPacket: '32MiB' }), 0, 16_777_215],
  ['maxPacket below the field', framing.lengthField({ bytes: 4, maxPacket: 100 }), 0, 100],
  ['a length that counts itself', framing.lengthField({ bytes: 1, adjustment: -1 }), 0, 254],
  ['a length that leaves out 2 bytes', framing.lengthField({ bytes: 1, adjustment: 2 }), 2, 257],
  ['a header that stays', framing.lengthField({ bytes: 2, strip: 0, maxPacket: 70_000 }), 2, 65_537],
  ['fixed', framing.fixed({ bytes: 7 }), 7, 7],
  ['HP-Socket', framing.hpSocketPack({ maxPacket: '8MiB' }), 1, 4_194_303],
  ['varint', framing.varint({ maxPacket: 300 }), 0, 300],
  ['line', framing.line({ maxPacket: 80 }), 0, 80],
  ['raw', framing.raw(), 0, 2 ** 31 - 1]
])('sizes with %s', (_, made, min, max) => {
  const rules = sendRules(made)
  expect([rules.minPayload, rules.maxPayload]).toEqual([min, max])
  expect(() => {
    checkSize(rules, min)
    checkSize(rules, max)
  }).not.toThrow()
  expect(() => {
    checkSize(rules, max + 1)
  }).toThrow(expect.objectContaining({ code: 'ERR_IOCP_PACKET_SIZE' }))
  if (min === 0) return
  expect(() => {
    checkSize(rules, min - 1)
  }).toThrow(expect.objectContaining({ code: 'ERR_IOCP_PACKET_SIZE' }))
})

describe('a header that stays in the packet', () => {
  test.each([
    ['big', Buffer.from([0, 3, 9, 9, 9])],
    ['little', Buffer.from([3, 0, 9, 9, 9])]
  ] as const)('has to say the right length (%s-endian)', (endian, good) => {
    const rules = sendRules(framing.lengthField({ bytes: 2, endian, strip: 0 }))
    checkEncodable(rules, good)
    const bad = Buffer.from(good)
    bad[0] = 1 + (bad[0] ?? 0)
    expect(() => {
      checkEncodable(rules, bad)
    }).toThrow(expect.objectContaining({ code: 'ERR_IOCP_PACKET_CONTENT' }))
  })

  test('may be stripped in part', () => {
    // Frame: AA | 00 02 | payload of 2; the first two bytes are stripped, so the packet begins with 02.
    const rules = sendRules(framing.lengthField({ offset: 1, bytes: 2, strip: 2 }))
    checkEncodable(rules, Buffer.from([2, 9, 9]))
    expect(() => {
      checkEncodable(rules, Buffer.from([3, 9, 9]))
    }).toThrow(/another length/)
  })
})

describe('delimiters', () => {
  const accepts = (delimiters: string[], payload: string, strip = true): boolean =>
    sendRules(framing.delimiter({ delimiters, strip })).accepts?.(Buffer.from(payload)) ?? false

  test.each([
    [['\n'], 'abc', true],
    [['\n'], '', true],
    [['\n'], 'a\nb', false],
    [['\n', '\r\n'], 'abc', true],
    // With '\n' its end would make the longer one, and the peer would see 'ab'; so '\r\n' goes behind it.
    [['\n', '\r\n'], 'ab\r', true],
    [['\n'], 'ab\r', true],
    [['\r\n', '\n'], 'ab\r', true],
    [['xx'], 'abx', false],
    [['aab'], 'a', true],
    [['ab', 'b'], 'x', true],
    [['b', 'ab'], 'xa', true],
    [['xx', 'x-'], 'abx', false]
  ])('%j with %j: %s', (delimiters, payload, expected) => {
    expect(accepts(delimiters, payload)).toBe(expected)
  })

  test.each([
    ['abc\n', true],
    ['\n', true],
    ['abc', false],
    ['a\nb\n', false]
  ])('not stripped, %j: %s', (payload, expected) => {
    expect(accepts(['\n'], payload, false)).toBe(expected)
  })
})

describe('types that are reserved for files', () => {
  const typed = framing.lengthField({ typeByte: true, maxPacket: 100, streamAbove: 50 })
  const code = (rules: ReturnType<typeof sendRules>, payload: Buffer): unknown => {
    try {
      checkEncodable(rules, payload)
    } catch (error) {
      return (error as { code?: unknown }).code
    }
    return undefined
  }

  test('are refused, where the peer would take them for files', () => {
    const rules = sendRules(typed, true)
    for (let type = 0; type < 256; type++) {
      const isReserved = type >= 0xf0 && type <= 0xf7
      expect(code(rules, Buffer.of(type, 1, 2))).toBe(isReserved ? 'ERR_IOCP_PACKET_CONTENT' : undefined)
    }
    expect(code(rules, Buffer.alloc(0))).toBeUndefined()
    expect(code(rules, Buffer.from('\u{1f600}'))).toBe('ERR_IOCP_PACKET_CONTENT')
  })

  test('are not where they come as a stream, or no files are carried', () => {
    expect(code(sendRules(typed, true), Buffer.alloc(51, 0xf0))).toBeUndefined()
    const reserved = Buffer.of(0xf0, 1, 2, 3)
    for (const rules of [
      sendRules(typed, false),
      sendRules(framing.lengthField(), true),
      sendRules(framing.fixed({ bytes: 4, typeByte: true }), true),
      sendRules(framing.delimiter({ delimiters: '\n', typeByte: true }), true),
      sendRules(framing.lengthField({ bytes: 2, strip: 0, typeByte: true, maxPacket: 4 }), true)
    ]) {
      expect(code(rules, rules.accepts === undefined ? reserved : Buffer.from(reserved))).not.toBe('reserved')
      expect(rules.reservedUpTo).toBe(0)
    }
  })
})

test('a framing that can say no length at all takes no packet, not even an empty one', () => {
  const rules = sendRules(framing.lengthField({ bytes: 1, adjustment: -300 }))
  for (const size of [0, 1, 300]) {
    expect(() => {
      checkSize(rules, size)
    }).toThrow(expect.objectContaining({ code: 'ERR_IOCP_PACKET_SIZE' }))
  }
})
