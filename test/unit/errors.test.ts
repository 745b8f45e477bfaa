import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import {
  errorCodes,
  invalidArgument,
  invalidOption,
  IocpAttemptsError,
  IocpError,
  IocpFrameError,
  show
} from '../../lib/common/errors.js'
import { CloseInfo, frameErrorCode } from '../../lib/connection/close_info.js'
import { cause, frameError } from '../../lib/native/protocol.js'
import { fromNative, systemError } from '../../lib/native/system_error.js'

const docs = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')

test.each(Object.keys(errorCodes))('%s has its section in docs/errors.md', (code) => {
  expect(docs).toMatch(new RegExp(`^### ${code}$`, 'm'))
})

test('docs/errors.md has no section of a code that does not exist', () => {
  const described = [...docs.matchAll(/^### (ERR_IOCP_\w+)$/gm)].map(([, code]) => code)
  expect(described.toSorted()).toEqual(Object.keys(errorCodes).toSorted())
})

describe('IocpError', () => {
  test('is an Error with a name, a code and only the properties that are known', () => {
    const error = new IocpError('ECONNRESET', 'gone', { syscall: 'recv', port: 5, address: undefined })
    expect(error).toBeInstanceOf(Error)
    expect(Object.fromEntries(Object.entries(error))).toEqual({ code: 'ECONNRESET', syscall: 'recv', port: 5 })
    expect(String(error)).toBe('IocpError: gone')
    expect(inspect(error).split('\n')[0]).toBe('IocpError: gone')
  })

  test('has the cause that it is given', () => {
    const reason = new Error('why')
    expect(new IocpError('X', 'y', { cause: reason }).cause).toBe(reason)
    expect('cause' in new IocpError('X', 'y')).toBe(false)
  })
})

test('several attempts have the code that they have in common', () => {
  const error = (code: string): IocpError => new IocpError(code, code)
  expect(new IocpAttemptsError('x', [error('A'), error('A')]).code).toBe('A')
  expect(new IocpAttemptsError('x', [error('A'), error('B')]).code).toBe('ERR_IOCP_ATTEMPTS')
  expect(new IocpAttemptsError('x', []).code).toBe('ERR_IOCP_ATTEMPTS')
})

test('a frame error shows what was wrong', () => {
  const error = new IocpFrameError('ERR_IOCP_FRAME_TOO_LARGE', Buffer.from([0xff, 1]), true, 65_281)
  expect(error).toMatchObject({ name: 'IocpFrameError', discarded: true, frameSize: 65_281 })
  expect(error.message).toBe(
    'The peer sent a packet larger than the limit; the frame has 65281 bytes; it began with ff01'
  )
})

test('a frame error names the limit, if it is known', () => {
  const error = new IocpFrameError('ERR_IOCP_FRAME_TOO_LARGE', Buffer.of(9), false, 20, 10)
  expect(error.message).toBe(
    "The peer sent a packet larger than the limit of 10 bytes ('maxPacket'); the frame has 20 bytes; it began with 09"
  )
})

test('wrong options and arguments', () => {
  expect(invalidOption('a.b', 7, 'text').message).toBe("Option 'a.b' must be text; it is 7")
  expect(invalidArgument('data', null, 'a Buffer')).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' })
})

test.each([
  ['x', "'x'"],
  ['y'.repeat(100), `'${'y'.repeat(60)}...'`],
  [5n, '5n'],
  [() => 1, 'a function'],
  [Symbol('x'), 'a symbol'],
  [[1, 2], 'an array of 2'],
  ['a\r\n\0\t\u001b\u202e', String.raw`'a\r\n\0\t\u{1b}\u{202e}'`],
  ['C:\\folder', String.raw`'C:\folder'`],
  [new ArrayBuffer(3), 'an ArrayBuffer'],
  [new Uint16Array(3), 'a Uint16Array'],
  [Promise.resolve(), 'a Promise'],
  [Object.create(null), 'an object'],
  [
    new Proxy(
      {},
      {
        getPrototypeOf: () => {
          throw new Error('never called')
        }
      }
    ),
    'an object'
  ],
  [
    {
      toString: () => {
        throw new Error('never called')
      }
    },
    'an object'
  ],
  [null, 'null'],
  [undefined, 'undefined']
])('shows values shortly (%#)', (value, text) => {
  expect(show(value)).toBe(text)
})

describe('system errors', () => {
  const native = {
    errorInfo: (winCode: number) => ({ code: winCode === 10_048 ? 'EADDRINUSE' : 'UNKNOWN', message: 'In use' })
  }

  test('say what failed, where, and by which number', () => {
    const error = systemError(native, { winCode: 10_048, syscall: 'bind', address: '::1', port: 80 })
    expect(error.message).toBe('bind EADDRINUSE [::1]:80: In use')
    expect(error).toMatchObject({ code: 'EADDRINUSE', winCode: 10_048, syscall: 'bind', address: '::1', port: 80 })
    expect(error.errno).toBeLessThan(0)
  })

  test('name a file on one line', () => {
    const error = systemError(native, { winCode: 10_048, syscall: 'open', path: 'a\nb', dest: 'c' })
    expect(error.message).toBe(String.raw`open EADDRINUSE 'a\nb' -> 'c': In use`)
    expect(error.path).toBe('a\nb')
  })

  test('a port that may not be bound is held by a socket, not always one of another process', () => {
    const forbidden = { errorInfo: () => ({ code: 'EACCES', message: 'Not allowed' }) }
    const message = (syscall: string): string => systemError(forbidden, { winCode: 10_013, syscall }).message
    expect(message('bind')).toBe('bind EACCES: Another socket holds the port exclusively, or the port is reserved')
    expect(message('open')).toBe('open EACCES: Not allowed')
  })

  test('come from what native code throws', () => {
    const thrown = Object.assign(new Error('raw'), { winCode: 10_048, syscall: 'listen' })
    expect(fromNative(native, thrown)).toMatchObject({ code: 'EADDRINUSE', syscall: 'listen' })
    const other = new TypeError('wrong argument')
    expect(fromNative(native, other)).toBe(other)
    expect(fromNative(native, 'text')).toBeInstanceOf(Error)
  })
})

describe('CloseInfo', () => {
  test.each([
    [cause.local, 'local'],
    [cause.peerEnd, 'peer-end'],
    [cause.serverClosing, 'server-closing']
  ])('%d has no error', (number, name) => {
    const info = new CloseInfo(number, 0, 3, undefined)
    expect(info.cause).toBe(name)
    expect(info.error).toBeUndefined()
    expect(info.discardedBytes).toBe(3)
  })

  test.each([
    [cause.peerReset, 'peer-reset', 'ECONNRESET'],
    [cause.timeout, 'timeout', 'ETIMEDOUT'],
    [cause.overflow, 'overflow', 'ERR_IOCP_OVERFLOW'],
    [cause.refused, 'refused', 'ERR_IOCP_REFUSED']
  ])('%d has an error, always the same', (number, name, code) => {
    const info = new CloseInfo(number, 0, 0, undefined)
    expect(info.cause).toBe(name)
    expect(info.error?.code).toBe(code)
    expect(info.error).toBe(info.error)
  })

  test('a protocol error is the one that the event told', () => {
    const error = new IocpFrameError('ERR_IOCP_FRAME_BAD_FLAG', Buffer.alloc(0), false)
    expect(new CloseInfo(cause.protocolError, frameError.badFlag, 0, error).error).toBe(error)
    expect(new CloseInfo(cause.protocolError, frameError.badFlag, 0, undefined).error?.code).toBe(
      'ERR_IOCP_FRAME_BAD_FLAG'
    )
  })

  test('every number of a frame error has a code of its own', () => {
    const codes = Object.values(frameError)
      .slice(1)
      .map((number) => frameErrorCode(number))
    expect(new Set(codes).size).toBe(codes.length)
    expect(codes).not.toContain('ERR_IOCP_FRAME_CORRUPT')
    expect(frameErrorCode(200)).toBe('ERR_IOCP_FRAME_CORRUPT')
  })
})
