import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import { toOptionalPath, toPath } from '../../lib/common/paths.js'

test.each([String.raw`C:\a b\ü%.txt`, String.raw`\\server\share\a`])('the file URL of %s is that path', (path) => {
  expect(toPath(pathToFileURL(path, { windows: true }), 'path')).toBe(path)
})

test('text is a path as it is', () => {
  expect(toPath('a/b', 'path')).toBe('a/b')
  expect(toOptionalPath('a', 'path')).toBe('a')
  expect(toOptionalPath(undefined, 'path')).toBeUndefined()
})

const wrong = [
  undefined,
  null,
  '',
  5,
  true,
  {},
  [],
  Buffer.from('a'),
  new URL('http://a/b'),
  new URL('file:///C:/a%2Fb')
]

test.each(wrong.map((value) => [value]))('%s is none', (value) => {
  expect(() => toPath(value, 'transfer.directory')).toThrow(
    expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION', option: 'transfer.directory', value })
  )
})

test.each(['a\0', '\0', 'secret.txt\0.png', new URL('file:///C:/secret.txt%00.png')])(
  '%j has a NUL, and is refused as fs refuses it',
  (value) => {
    expect(() => toPath(value, 'path')).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE', option: 'path', value })
    )
  }
)
