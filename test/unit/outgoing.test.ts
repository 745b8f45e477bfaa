import { describe, expect, test } from 'vitest'
import { framing } from '../../lib/framing.js'
import { checkContent, checkSize, sendRules } from '../../lib/outgoing.js'

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
    checkContent(rules, good)
    const bad = Buffer.from(good)
    bad[0] = 1 + (bad[0] ?? 0)
    expect(() => {
      checkContent(rules, bad)
    }).toThrow(expect.objectContaining({ code: 'ERR_IOCP_PACKET_CONTENT' }))
  })

  test('may be stripped in part', () => {
    // Frame: AA | 00 02 | payload of 2; the first two bytes are stripped, so the packet begins with 02.
    const rules = sendRules(framing.lengthField({ offset: 1, bytes: 2, strip: 2 }))
    checkContent(rules, Buffer.from([2, 9, 9]))
    expect(() => {
      checkContent(rules, Buffer.from([3, 9, 9]))
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
    // Its end and the delimiter would make the longer one: the peer would see 'ab'.
    [['\n', '\r\n'], 'ab\r', false],
    [['\r\n', '\n'], 'ab\r', true],
    [['xx'], 'abx', false],
    [['aab'], 'a', true],
    [['ab', 'b'], 'x', true],
    [['b', 'ab'], 'xa', false]
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
