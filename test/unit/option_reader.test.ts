import { describe, expect, test } from 'vitest'
import { OptionReader, toDuration, toInteger, toSize } from '../../lib/common/option_reader.js'

const any = { min: 0, max: Number.MAX_SAFE_INTEGER }

describe('sizes', () => {
  test.each([
    [0, 0],
    [512, 512],
    ['512', 512],
    ['512b', 512],
    ['64KiB', 65_536],
    ['64 kib', 65_536],
    ['1MiB', 1_048_576],
    ['1.5MiB', 1_572_864],
    ['2GiB', 2_147_483_648],
    ['1kB', 1000],
    ['1MB', 1_000_000],
    ['1GB', 1_000_000_000]
  ])('%j is %d bytes', (given, bytes) => {
    expect(toSize(given, 'size', any)).toBe(bytes)
  })

  test.each(['', 'KiB', '-1', '1e3', '1 TiB x', '0x10', '1,5MiB', Number.NaN, 1.5, -1, Infinity, null, {}, true, 5n])(
    '%o is refused',
    (given) => {
      expect(() => toSize(given, 'maxPacket', any)).toThrow(/^Option 'maxPacket' must be a number of bytes/)
    }
  )

  test('both ends of a range are included and the message names them', () => {
    const range = { min: 10, max: 20 }
    expect(toSize(10, 'x', range)).toBe(10)
    expect(toSize(20, 'x', range)).toBe(20)
    expect(() => toSize(9, 'x', range)).toThrow(/from 10 to 20; it is 9$/)
    expect(() => toSize('21', 'x', range)).toThrow(/from 10 to 20; it is '21'$/)
  })
})

describe('durations', () => {
  test.each([
    [250, 250],
    ['250', 250],
    ['250ms', 250],
    ['10s', 10_000],
    ['1.5s', 1500],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000]
  ])('%j is %d ms', (given, milliseconds) => {
    expect(toDuration(given, 'time', any)).toBe(milliseconds)
  })

  test.each(['10 min', 's', '-5s', Number.NaN, {}])('%j is refused', (given) => {
    expect(() => toDuration(given, 'idle', any)).toThrow(/^Option 'idle' must be a number of milliseconds/)
  })
})

test('whole numbers take no text', () => {
  expect(toInteger(3, 'n', any)).toBe(3)
  expect(() => toInteger('3', 'n', any)).toThrow("Option 'n' must be a whole number")
})

describe('OptionReader', () => {
  test('gives fallbacks for what is not there', () => {
    const reader = new OptionReader(undefined, '')
    expect(reader.integer('n', any, 7)).toBe(7)
    expect(reader.boolean('b', true)).toBe(true)
    expect(reader.oneOf('o', ['a', 'b'], 'b')).toBe('b')
    expect(reader.text('t')).toBeUndefined()
    expect(reader.callback('f')).toBeUndefined()
    reader.rejectUnknown()
  })

  test('an undefined option is one that is not there', () => {
    const reader = new OptionReader({ n: undefined, unknown: undefined }, '')
    expect(reader.integer('n', any, 7)).toBe(7)
    reader.rejectUnknown()
  })

  test.each([
    ['boolean', (reader: OptionReader) => reader.boolean('x', true), 'true or false'],
    ['one of', (reader: OptionReader) => reader.oneOf('x', ['a', 2], 'a'), "one of 'a', 2"],
    ['text', (reader: OptionReader) => reader.text('x'), 'text'],
    ['callback', (reader: OptionReader) => reader.callback('x'), 'a function']
  ])('a wrong %s names the path, the value and what is allowed', (_, read, allowed) => {
    expect(() => read(new OptionReader({ x: 5 }, 'outer'))).toThrow(
      expect.objectContaining({
        code: 'ERR_IOCP_INVALID_OPTION',
        message: `Option 'outer.x' must be ${allowed}; it is 5`,
        option: 'outer.x',
        value: 5
      })
    )
  })

  test('an option that nobody asks for is an error that lists the known ones', () => {
    const reader = new OptionReader({ maxPackets: 1 }, 'framing')
    reader.integer('maxPacket', any, 0)
    expect(() => {
      reader.rejectUnknown()
    }).toThrow("There is no option 'framing.maxPackets' (did you mean 'maxPacket'?); known options: maxPacket")
  })

  test.each([null, 5, 'x', []])('options that are %j are refused', (given) => {
    expect(() => new OptionReader(given, 'backpressure')).toThrow("Option 'backpressure' must be an object")
    expect(() => new OptionReader(given, '')).toThrow("Argument 'options' must be an object")
  })
})

test('a getter is called once, whether its option is known or not', () => {
  let calls = 0
  const options = {
    get known() {
      return ++calls
    }
  }
  const reader = new OptionReader(options, '')
  expect(reader.raw('known')).toBe(1)
  reader.rejectUnknown()
  expect(calls).toBe(1)
  expect(() => {
    new OptionReader(options, '').rejectUnknown()
  }).toThrow(expect.objectContaining({ value: 2 }))
  expect(calls).toBe(2)
})

describe('a name that does not exist', () => {
  const problem = (name: string): string => {
    const reader = new OptionReader({ [name]: 1 }, '').allow('highWater', 'hardCap', 'to')
    try {
      reader.rejectUnknown()
    } catch (error) {
      return (error as Error).message
    }
    return ''
  }

  test.each([
    ['highwater', 'highWater'],
    ['ihghWater', 'highWater'],
    ['high', 'highWater'],
    ['water', 'highWater'],
    ['highWatr', 'highWater'],
    ['hardCaps', 'hardCap']
  ])('%s: the message asks whether %s was meant', (name, meant) => {
    const known = 'known options: hardCap, highWater, to'
    expect(problem(name)).toBe(`There is no option '${name}' (did you mean '${meant}'?); ${known}`)
  })

  test.each(['port', 'x'.repeat(100_000), ''])('and nothing when it is like none', (name) => {
    expect(problem(name)).not.toContain('did you mean')
  })
})
