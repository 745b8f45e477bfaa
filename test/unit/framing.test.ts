import { describe, expect, test } from 'vitest'
import { bothDirections, framing, isFraming } from '../../lib/packets/framing.js'

describe('lengthField', () => {
  test('without options: 4 bytes, big-endian, not counting themselves, 1 MiB', () => {
    expect(framing.lengthField()).toEqual({
      kind: 'lengthField',
      offset: 0,
      bytes: 4,
      endian: 'big',
      adjustment: 0,
      strip: 4,
      maxPacket: 1_048_576,
      failFast: true,
      typeByte: false,
      onOversize: 'close',
      streamAbove: Number.MAX_SAFE_INTEGER
    })
  })

  test('strips the whole header unless told otherwise', () => {
    expect(framing.lengthField({ offset: 3, bytes: 2 })).toMatchObject({ strip: 5 })
    expect(framing.lengthField({ offset: 3, bytes: 2, strip: 0 })).toMatchObject({ strip: 0 })
  })

  test.each([1, 2, 3, 4, 8] as const)('takes a field of %d bytes up to the end of 32', (bytes) => {
    expect(framing.lengthField({ bytes, offset: 32 - bytes })).toMatchObject({ bytes, offset: 32 - bytes })
    expect(() => framing.lengthField({ bytes, offset: 33 - bytes })).toThrow("'offset'")
  })

  test.each([
    ['bytes', 5],
    ['bytes', '4'],
    ['endian', 'middle'],
    ['offset', -1],
    ['adjustment', 2 ** 31],
    ['adjustment', -(2 ** 31) - 1],
    ['adjustment', 0.5],
    ['strip', 33],
    ['maxPacket', -1],
    ['maxPacket', 2 ** 30 + 1],
    ['streamAbove', 2 ** 30 + 1],
    ['failFast', 1],
    ['typeByte', 'yes'],
    ['onOversize', 'ignore'],
    ['onCorrupt', 'discard']
  ])('refuses %s: %j', (name, value) => {
    expect(() => framing.lengthField({ [name]: value })).toThrow(`Option '${name}' must be`)
  })

  test('what is corrupt closes the connection, and may be written down so', () => {
    expect(framing.lengthField({ onCorrupt: 'close' })).toEqual(framing.lengthField())
    expect(framing.line({ onCorrupt: 'close' })).toEqual(framing.line())
  })

  test('packets above 1 GiB need a stream', () => {
    expect(framing.lengthField({ bytes: 8, maxPacket: 2 ** 40, streamAbove: '1MiB' })).toMatchObject({
      maxPacket: 2 ** 40,
      streamAbove: 1_048_576
    })
  })

  test('refuses options that it does not know', () => {
    expect(() => framing.lengthField({ length: 4 } as object)).toThrow("There is no option 'length'")
  })
})

describe('delimiter', () => {
  test('takes text, bytes and lists of them, and keeps copies', () => {
    const bytes = Buffer.from([1, 2])
    const made = framing.delimiter({ delimiters: ['§', bytes] })
    bytes[0] = 9
    expect(made).toMatchObject({ delimiters: [Buffer.from('§'), Buffer.from([1, 2])], strip: true })
    expect(framing.delimiter({ delimiters: '\0' })).toMatchObject({ delimiters: [Buffer.from([0])] })
  })

  test.each([[[]], [''], [['a', '']], ['x'.repeat(65)], [Array.from({ length: 17 }, () => 'x')], [5], [undefined]])(
    'refuses %j',
    (delimiters) => {
      expect(() => framing.delimiter({ delimiters: delimiters as string })).toThrow("Option 'delimiters' must be")
    }
  )

  test('refuses one that can never be found', () => {
    expect(() => framing.delimiter({ delimiters: ['ab', 'xaby'] })).toThrow(
      "Option 'delimiters[1]' must be one that can be found: delimiters[0] ends inside it"
    )
    // At the end of the longer one is no harm: both end at the same place, and the longer one wins.
    expect(() => framing.delimiter({ delimiters: ['\n', '\r\n'] })).not.toThrow()
  })

  test('has no streams, because the length is not known before', () => {
    expect(() => framing.delimiter({ delimiters: 'x', streamAbove: 5 } as never)).toThrow("'streamAbove'")
  })
})

describe('presets', () => {
  test('line accepts both ends and sends the chosen one', () => {
    const text = (made: unknown): string[] => (made as { delimiters: Buffer[] }).delimiters.map(String)
    expect(text(framing.line())).toEqual(['\n', '\r\n'])
    expect(text(framing.line({ endOfLine: '\r\n', maxPacket: 80 }))).toEqual(['\r\n', '\n'])
    expect(() => framing.line({ endOfLine: 'x' as '\n' })).toThrow("'endOfLine'")
    expect(() => framing.line({ delimiters: 'x' } as object)).toThrow("There is no option 'delimiters'")
  })

  test('iocps is the wire format of the original, its limit liftable', () => {
    expect(framing.iocps()).toMatchObject({ bytes: 4, endian: 'little', strip: 4, maxPacket: 508, typeByte: true })
    expect(framing.iocps({ maxPacket: '1MiB' })).toMatchObject({ maxPacket: 1_048_576, endian: 'little' })
  })

  test.each([1, 2, 4] as const)('erlang(%d)', (bytes) => {
    expect(framing.erlang(bytes)).toMatchObject({
      kind: 'lengthField',
      bytes,
      endian: 'big',
      adjustment: 0,
      strip: bytes
    })
  })

  /** All builders, each with what it needs. */
  const builders: [name: string, build: (options: object) => unknown][] = [
    ['lengthField', (options) => framing.lengthField(options)],
    ['delimiter', (options) => framing.delimiter(Object.assign(Object.create(options) as object, { delimiters: '|' }))],
    ['line', (options) => framing.line(options)],
    ['varint', (options) => framing.varint(options)],
    ['iocps', (options) => framing.iocps(options)],
    ['erlang', (options) => framing.erlang(4, options)],
    ['hpSocketPack', (options) => framing.hpSocketPack(options)]
  ]

  test.each(builders)('%s: an option that is undefined is one that is not given', (_, build) => {
    for (const name of ['maxPacket', 'onOversize', 'onCorrupt', 'failFast', 'typeByte']) {
      expect(build({ [name]: undefined })).toEqual(build({}))
    }
  })

  test.each(builders)('%s reads options that are inherited, and refuses misspelt ones', (_, build) => {
    const settings = Object.create({ maxPacket: 100 }) as object
    expect(build(settings)).toMatchObject({ maxPacket: 100 })
    expect(() => build(Object.create({ maxPaket: 100 }) as object)).toThrow("There is no option 'maxPaket'")
  })

  test('a misspelt name is told before the option that is missing because of it', () => {
    expect(() => framing.delimiter({ delimiter: '\n' } as never)).toThrow(
      "There is no option 'delimiter' (did you mean 'delimiters'?); known options: delimiters, "
    )
    expect(() => framing.fixed({ size: 5 } as never)).toThrow("There is no option 'size'; known options: bytes")
  })

  test('erlang(3) does not exist', () => {
    expect(() => framing.erlang(3 as 4)).toThrow("Option 'bytes' must be 1, 2 or 4; it is 3")
  })

  test('fixed needs a size', () => {
    expect(framing.fixed({ bytes: '4KiB' })).toMatchObject({ kind: 'fixed', bytes: 4096 })
    expect(() => framing.fixed({ bytes: 0 })).toThrow("'bytes'")
    expect(() => framing.fixed({} as { bytes: number })).toThrow("'bytes'")
  })

  test('hpSocketPack has a flag of 10 bits', () => {
    expect(framing.hpSocketPack({ flag: 1023 })).toMatchObject({ kind: 'hpSocketPack', flag: 1023 })
    expect(() => framing.hpSocketPack({ flag: 1024 })).toThrow("'flag'")
  })

  test('raw and varint', () => {
    expect(framing.raw()).toEqual({ kind: 'raw' })
    expect(framing.varint({ maxPacket: 5 })).toMatchObject({ kind: 'varint', maxPacket: 5 })
  })
})

test('a framing cannot be changed, and only a builder makes one', () => {
  const made = framing.lengthField()
  expect(Object.isFrozen(made)).toBe(true)
  expect(isFraming(made)).toBe(true)
  expect(isFraming({ ...made })).toBe(false)
  expect(() => bothDirections({ ...made }, 'framing')).toThrow("'framing")
})

test('directions', () => {
  const [receive, send] = [framing.raw(), framing.line()]
  expect(bothDirections(receive, 'framing')).toEqual({ receive, send: receive })
  expect(bothDirections({ receive, send }, 'framing')).toEqual({ receive, send })
  expect(() => bothDirections({ receive, send, other: 1 }, 'framing')).toThrow("There is no option 'framing.other'")
})
