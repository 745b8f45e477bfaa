import { describe, expect, test } from 'vitest'
import { nameProblem, normalName, otherName } from '../../lib/transfer/file_names.js'

const devices = [
  'CON',
  'PRN',
  'AUX',
  'NUL',
  'CLOCK$',
  'CONIN$',
  'CONOUT$',
  'COM0',
  'COM1',
  'COM9',
  'LPT1',
  'COM\u00b9',
  'LPT\u00b3'
]

describe('refused', () => {
  test.each([
    ['nothing', ''],
    ['this folder', '.'],
    ['the folder above', '..'],
    ['a path', 'a/b'],
    ['a path of Windows', String.raw`a\b`],
    ['a path upwards', String.raw`..\..\a`],
    ['an absolute path', '/a'],
    ['a drive', 'C:a'],
    ['a path with a drive', String.raw`C:\a`],
    ['a share', String.raw`\\server\share\a`],
    ['a path of the object manager', String.raw`\\?\C:\a`],
    ['a stream', 'a.txt:b'],
    ['the main stream', 'a.txt::$DATA'],
    ['patterns', 'a*'],
    ['a question mark', 'a?'],
    ['quotes', 'a"b'],
    ['less', 'a<b'],
    ['greater', 'a>b'],
    ['a pipe', 'a|b'],
    ['a trailing dot', 'a.'],
    ['a trailing space', 'a.txt '],
    ['only dots', '...'],
    ['a leading space', ' a'],
    ['a NUL', 'a\0.txt'],
    ['a line end', 'a\nb'],
    ['a delete character', 'a\u007f'],
    ['a C1 control', 'a\u0085'],
    ['text turned round', 'a\u202etxt.exe'],
    ['an isolate', 'a\u2066b'],
    ['a zero-width space', 'a\u200bb'],
    ['a byte order mark', '\ufeffa'],
    ['half of a pair', 'a\ud800'],
    ['the other half', 'a\udc00b'],
    ['a character of private use', 'a\ue000'],
    ['256 characters', 'a'.repeat(256)],
    ['a part of ours', '.iocp-0123.part'],
    ['a part of ours in capitals', '.IOCP-0123.PART'],
    ['what Windows calls a file with a long name', 'LONGNA~1.TXT'],
    ['the same in small letters', 'longna~1.txt'],
    ['the same without an extension', 'PROGRA~2'],
    ['the same of a short one', 'A~1.B'],
    ['the same with a large number', 'AB~12345.TXT'],
    ['the same with a checksum in it', 'LO3F2A~1.TXT'],
    ['nothing but a number', '~1'],
    ...devices.flatMap((name) => [
      [`the device ${name}`, name],
      [`the device ${name} in small letters`, name.toLowerCase()],
      [`the device ${name} with an extension`, `${name}.txt`],
      [`the device ${name} with two`, `${name}.tar.gz`],
      [`the device ${name} with a space`, `${name} .txt`]
    ])
  ])('%s', (_, name) => {
    expect(nameProblem(normalName(name))).toBeTypeOf('string')
  })
})

describe('allowed', () => {
  test.each([
    'a',
    'a.txt',
    '.profile',
    'a b',
    'a..b',
    'CONSOLE',
    'com10',
    'nulls.txt',
    'COM',
    'b\u00e4r',
    '\u65e5\u672c.txt',
    '\u{1f600}',
    '~',
    'a'.repeat(255),
    '%USERPROFILE%',
    '$MFT',
    '-rf',
    'report.txt~',
    'a~b',
    '~',
    'a~1.html',
    'longname~1.txt',
    'a~1.tar.gz',
    'a~1b'
  ])('%s', (name) => {
    expect(nameProblem(normalName(name))).toBeUndefined()
  })
})

test('two spellings of a letter are one name', () => {
  expect(normalName('ba\u0308r')).toBe('b\u00e4r')
})

test('the next name has a number before the extension, and is never too long', () => {
  expect(otherName('a.txt', 2)).toBe('a (2).txt')
  expect(otherName('a', 3)).toBe('a (3)')
  expect(otherName('.profile', 2)).toBe('.profile (2)')
  expect(otherName('a.tar.gz', 2)).toBe('a.tar (2).gz')
  const long = otherName(`${'a'.repeat(251)}.txt`, 1000)
  expect(long).toHaveLength(255)
  expect(nameProblem(long)).toBeUndefined()
  expect(nameProblem(otherName(`${'a'.repeat(246)}\u{1f600}.txt`, 2))).toBeUndefined()
})
