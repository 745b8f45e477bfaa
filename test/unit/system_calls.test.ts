/** Every call of the system that native code makes can be made to fail, and docs/errors.md says what follows. */

import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { pageTables } from '../faults/sweep_page.js'

const root = new URL('../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')

/** Calls that have no fault point, each with the reason. */
const without: Readonly<Record<string, string>> = {
  AcquireSRWLockExclusive: 'cannot fail',
  AcquireSRWLockShared: 'cannot fail',
  BCryptCloseAlgorithmProvider: 'its result is not used: nothing follows from a failure',
  BCryptDestroyHash: 'its result is not used: nothing follows from a failure',
  BCryptDuplicateHash: 'a digest that is missing is found by the comparison of the two ends',
  BCryptFinishHash: 'a digest that is missing is found by the comparison of the two ends',
  BCryptHashData: 'a digest that is wrong is found by the comparison of the two ends',
  CloseHandle: 'fails only for a handle that is none: UniqueHandle owns it',
  closesocket: 'fails only for a socket that is none: UniqueSocket owns it, and SO_LINGER is never such that it waits',
  GetCurrentThread: 'cannot fail',
  GetCurrentThreadId: 'cannot fail',
  GetLastError: 'cannot fail',
  GetModuleHandleW: 'of a library that every process has',
  GetOverlappedResult: 'its error is that of the read: the point hash_read',
  GetProcAddress: 'the code lives without the function, which older systems lack',
  GetTickCount64: 'cannot fail',
  htonl: 'no call of the system',
  htons: 'no call of the system',
  inet_ntop: 'of an address that is one, into room for any',
  inet_pton: 'that a text is no address is its result',
  ntohl: 'no call of the system',
  ntohs: 'no call of the system',
  ReleaseSRWLockExclusive: 'cannot fail',
  ReleaseSRWLockShared: 'cannot fail',
  Sleep: 'cannot fail',
  SetEvent: 'of an event that its owner keeps open',
  SleepConditionVariableSRW: 'fails only when its time is over',
  TlsGetValue: 'of a slot that there is; null is its result on other threads',
  TlsSetValue: 'of a slot that there is',
  TryAcquireSRWLockExclusive: 'that somebody else holds it is its result',
  WaitForMultipleObjects: 'of events that their owner keeps open',
  WaitForSingleObject: 'of a handle that its owner keeps open',
  WakeAllConditionVariable: 'cannot fail',
  WakeConditionVariable: 'cannot fail',
  WSAGetLastError: 'cannot fail'
}

/** Functions whose calls have their point elsewhere. */
const elsewhere: Readonly<Record<string, string>> = {
  'native/win/engine/conditional_acceptor.cc make_event':
    'without it listen fails, as it does when the event cannot be selected, which has a point',
  'native/win/files/transfer_file.cc hash_some': 'calls::result_of_hash_read has the point of what the read ends with',
  'native/win/sys/completion_port.h associate': 'calls::associate has the point',
  'native/win/sys/completion_port.h post': 'calls::post has the point',
  'native/win/sys/file_calls.h rename_by_handle': 'rename_posix and rename_file have the points',
  'native/win/sys/socket_calls.h check_no_delay': 'a part of test builds',
  'native/win/sys/socket_calls.h select_accepts': 'without it listen fails, as without a thread, which has a point',
  'native/win/io/thread_identity.h slot': 'ThreadIdentity::prepare has the point',
  'native/win/sys/extension_functions.cc load_extension_functions': 'its own point is before the first call'
}

/** Functions of Winsock and of the run time that begin with a small letter. */
const smallNames = new Set(
  `accept bind closesocket connect freeaddrinfo getaddrinfo getpeername getsockname getsockopt htonl htons inet_ntop
  inet_pton ioctlsocket listen ntohl ntohs recv recvfrom select send sendto setsockopt shutdown socket _beginthread
  _beginthreadex _endthreadex _open _read _write _close`.split(/\s+/)
)

interface SystemCall {
  readonly file: string
  readonly line: number
  readonly name: string
  /** The function that makes it, and its text. */
  readonly within: string
  readonly text: string
}

const sources = (readdirSync(new URL('native/', root), { recursive: true }) as string[])
  .map((name) => `native/${name.replaceAll('\\', '/')}`)
  .filter((file) => /\.(cc|h)$/.test(file))
  .map((file) => ({ file, text: plain(read(file)) }))

/** Without comments and texts, which may name anything; lines stay where they are. */
function plain(text: string): string {
  return text
    .replaceAll(/\/\*[^]*?\*\//g, (comment) => comment.replaceAll(/[^\n]/g, ' '))
    .replaceAll(/\/\/[^\n]*/g, '')
    .replaceAll(/L?"(?:\\.|[^"\\\n])*"/g, '""')
}

/** Names of our own that are written with a capital letter: types and macros. */
const ours = new Set(
  sources.flatMap(({ text }) =>
    [...text.matchAll(/\b(?:class|struct|union|enum|using|typename|#define)\s+(?:class\s+)?(\w+)/g)].map(
      ([, name = '']) => name
    )
  )
)
const notCalls = new Set(['MAKEWORD', 'LONG', 'ULONG', 'HRESULT', 'DWORD'])

/** The text of the innermost function around a place: its name and everything up to its end. */
function functionAround(text: string, at: number): { name: string; text: string } {
  // Functions begin in the first columns of a line, or two in within a class.
  const heads = [
    ...text.matchAll(
      /^(?: {2})?(?! )(?:[\w:~<>&*,]+ )+[*&]*(?:[\w:]+::)?(~?\w+)\([^;{}]*\)(?:\s|const|noexcept|override|final)*(?::[^;{}]*)?\{/gm
    )
  ]
  const head = heads.findLast(({ index }) => index <= at)
  if (head === undefined) return { name: '(none)', text: '' }
  let depth = 0
  for (let end = head.index + head[0].length - 1; end < text.length; end++) {
    if (text[end] === '{') depth++
    if (text[end] === '}' && --depth === 0) return { name: head[1] ?? '', text: text.slice(head.index, end) }
  }
  return { name: head[1] ?? '', text: text.slice(head.index) }
}

const systemCalls: SystemCall[] = sources
  .filter(({ file }) => file.startsWith('native/win/') && !/fault_(?:seam|memory)/.test(file))
  .flatMap(({ file, text }) =>
    [...text.matchAll(/(?<![\w.>~])(?<!\w::)(?:::)?([A-Za-z_]\w*)\s*\(/g)].flatMap((match) => {
      const name = match[1] ?? ''
      const isNamed = /^[A-Z][a-z0-9A-Z]*[a-z]\w*$/.test(name) || /^WSA[A-Z]\w*$/.test(name)
      if (!(isNamed || smallNames.has(name)) || ours.has(name) || notCalls.has(name)) return []
      const around = functionAround(text, match.index)
      // Our own functions of those names are declared or defined there, not called: a type stands before them.
      if (
        smallNames.has(name) &&
        /(?:[\w>]|[*&])\s+[*&]*$/.test(text.slice(0, match.index)) &&
        !/\breturn\s+$/.test(text.slice(0, match.index))
      )
        return []
      const line = text.slice(0, match.index).split('\n').length
      return [{ file, line, name, within: around.name, text: around.text }]
    })
  )

describe('calls of the system', () => {
  test('are found', () => {
    const names = new Set(systemCalls.map(({ name }) => name))
    for (const name of ['WSASend', 'WSARecv', 'setsockopt', 'CreateFileW', '_beginthreadex', 'bind', 'TlsAlloc']) {
      expect(names).toContain(name)
    }
    expect(names.size).toBeGreaterThan(60)
  })

  test('have a fault point in the function that makes them, or a reason why not', () => {
    const missing = systemCalls.filter(
      ({ file, name, within, text }) =>
        !/IOCP_FAULT_|fault::/.test(text) && without[name] === undefined && elsewhere[`${file} ${within}`] === undefined
    )
    expect(missing.map(({ file, line, name, within }) => `${file}:${line} ${within} calls ${name}`)).toEqual([])
  })

  test('that are excepted are still made', () => {
    const made = new Set(systemCalls.map(({ name }) => name))
    expect(Object.keys(without).filter((name) => !made.has(name))).toEqual([])
    const functions = new Set(systemCalls.map(({ file, within }) => `${file} ${within}`))
    expect(Object.keys(elsewhere).filter((one) => !functions.has(one))).toEqual([])
  })

  test('are not made by the addon itself: native/napi asks native/win, but for staying loaded', () => {
    const windows = /\b(?:WSA[A-Z]\w+|CreateFile\w*|setsockopt|GetLastError|CloseHandle|\w+Ex[AW]?)\s*\(/
    const own = sources
      .filter(({ file }) => file.startsWith('native/napi/'))
      .flatMap(({ file, text }) => {
        const found = windows.exec(text)
        return found === null ? [] : [`${file}: ${found[0]}`]
      })
    expect(own).toEqual(['native/napi/addon.cc: GetModuleHandleExW('])
  })

  test('each fault point is one that there is, and each is used', () => {
    const [, body = ''] = /#define IOCP_FAULT_CALLS\(X\)([^]*?)\n\n/.exec(read('native/win/sys/fault_seam.h')) ?? []
    const points = [...body.matchAll(/X\((\w+)\)/g)].map(([, name = '']) => name)
    const used = new Set(
      sources.flatMap(({ text }) =>
        [...text.matchAll(/(?:IOCP_FAULT_\w+\(|fault::Call::)(\w+)/g)].map(([, name = '']) => name)
      )
    )
    expect(points.length).toBeGreaterThan(45)
    expect(points.filter((point) => !used.has(point))).toEqual([])
  })
})

describe('docs/errors.md', () => {
  const page = read('docs/errors.md')
  test.each(pageTables)('$title: the table is that of the tests', ({ title, table }) => {
    const [, section = ''] = page.split(`\n${title}\n`)
    const shown = section.split('\n').filter((line) => line.startsWith('|'))
    const end = section.split('\n#')[0] ?? ''
    expect(end).toContain(table)
    expect(shown.length).toBeGreaterThan(2)
  })
})

test('the shipped addon has no way in: faults are in the test variant alone', () => {
  for (const { file, text } of sources) {
    if (!/\bfault::|define_faults/.test(text)) continue
    // Whatever names them is between an #ifdef of the test variant and its end.
    const outside = text.replaceAll(/#ifdef IOCP_FAULT_SEAM[^]*?#(?:else|endif)/g, '')
    expect(outside, file).not.toMatch(/\bfault::|define_faults/)
  }
})
