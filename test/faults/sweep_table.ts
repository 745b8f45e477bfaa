/** What a program sees of each system call that fails: the table of docs/errors.md, and what the sweep expects. */

import type { CloseCause } from 'iocp'
import type { Call } from '../helpers/faults.js'

/**
 * Numbers that Winsock's reference and the file system give, and the NTSTATUS of those that a call can also end with
 * after it has been pending.
 */
export const errors = {
  ERROR_INVALID_FUNCTION: { number: 1 },
  ERROR_FILE_NOT_FOUND: { number: 2 },
  ERROR_TOO_MANY_OPEN_FILES: { number: 4 },
  ERROR_ACCESS_DENIED: { number: 5 },
  ERROR_NOT_ENOUGH_MEMORY: { number: 8, status: 0xc0000017 },
  ERROR_OUTOFMEMORY: { number: 14 },
  ERROR_CRC: { number: 23, status: 0xc000003f },
  ERROR_SHARING_VIOLATION: { number: 32 },
  ERROR_HANDLE_DISK_FULL: { number: 39 },
  ERROR_NETNAME_DELETED: { number: 64, status: 0xc000020c },
  ERROR_INVALID_PARAMETER: { number: 87 },
  ERROR_DISK_FULL: { number: 112, status: 0xc000007f },
  ERROR_SEM_TIMEOUT: { number: 121 },
  ERROR_OPERATION_ABORTED: { number: 995, status: 0xc0000120 },
  ERROR_IO_DEVICE: { number: 1117, status: 0xc0000185 },
  ERROR_CONNECTION_REFUSED: { number: 1225 },
  ERROR_CONNECTION_ABORTED: { number: 1236 },
  ERROR_NO_SYSTEM_RESOURCES: { number: 1450, status: 0xc000009a },
  ERROR_WORKING_SET_QUOTA: { number: 1453, status: 0xc00000a1 },
  ERROR_COMMITMENT_LIMIT: { number: 1455, status: 0xc000012d },
  ERROR_INVALID_USER_BUFFER: { number: 1784 },
  ERROR_NOT_ENOUGH_QUOTA: { number: 1816, status: 0xc0000044 },
  WSAEINTR: { number: 10_004 },
  WSAEACCES: { number: 10_013, status: 0xc0000022 },
  WSAEFAULT: { number: 10_014, status: 0xc0000005 },
  WSAEINVAL: { number: 10_022, status: 0xc000000d },
  WSAEMFILE: { number: 10_024 },
  WSAEWOULDBLOCK: { number: 10_035, status: 0xc00000a3 },
  WSAENOTSOCK: { number: 10_038, status: 0xc0000128 },
  WSAENOPROTOOPT: { number: 10_042 },
  WSAEPROTONOSUPPORT: { number: 10_043 },
  WSAEOPNOTSUPP: { number: 10_045, status: 0xc00000bb },
  WSAEAFNOSUPPORT: { number: 10_047 },
  WSAEADDRINUSE: { number: 10_048, status: 0xc0000209 },
  WSAEADDRNOTAVAIL: { number: 10_049, status: 0xc0000141 },
  WSAENETDOWN: { number: 10_050, status: 0xc00000c4 },
  WSAENETUNREACH: { number: 10_051, status: 0xc000023c },
  WSAENETRESET: { number: 10_052 },
  WSAECONNABORTED: { number: 10_053, status: 0xc0000241 },
  WSAECONNRESET: { number: 10_054, status: 0xc000020d },
  WSAENOBUFS: { number: 10_055, status: 0xc000009a },
  WSAENOTCONN: { number: 10_057, status: 0xc0000140 },
  WSAESHUTDOWN: { number: 10_058, status: 0xc00000b0 },
  WSAETIMEDOUT: { number: 10_060, status: 0xc00000b5 },
  WSAECONNREFUSED: { number: 10_061, status: 0xc0000236 },
  WSAEHOSTUNREACH: { number: 10_065, status: 0xc000023d },
  WSASYSNOTREADY: { number: 10_091 },
  WSAVERNOTSUPPORTED: { number: 10_092 },
  WSAEDISCON: { number: 10_101, status: 0xc0000237 },
  WSAEPROVIDERFAILEDINIT: { number: 10_106 }
} as const satisfies Readonly<Record<string, { number: number; status?: number }>>

export type ErrorName = keyof typeof errors

/** The calls of one row, as the fault seam and as the page name them. */
export type Calls = readonly { readonly call: Call; readonly name: string }[]

const named = (...pairs: readonly (readonly [Call, string])[]): Calls => pairs.map(([call, name]) => ({ call, name }))

/** A call on an open connection fails. */
export interface ConnectionRow {
  readonly calls: Calls
  readonly errors: readonly ErrorName[]
  /** `'retry'`: nothing is lost, the call is made again after a pause. */
  readonly outcome: 'retry' | { readonly cause: CloseCause; readonly code: string }
}

const reads = named(
  ['zero_read', 'WSARecv without a buffer'],
  ['receive', 'WSARecv'],
  ['receive_now', 'WSARecv, not waiting']
)
const writes = named(['send', 'WSASend'])
const traffic = [...reads, ...writes]
const ends = named(['shutdown', 'shutdown'])

/** What Windows may report when a connection is no more. */
const gone = [
  'ERROR_NETNAME_DELETED',
  'ERROR_OPERATION_ABORTED',
  'ERROR_CONNECTION_ABORTED',
  'WSAEINTR',
  'WSAENOTSOCK',
  'WSAECONNABORTED',
  'WSAECONNRESET',
  'WSAENOTCONN',
  'WSAEDISCON'
] as const

/** What passes. */
export const shortages = [
  'ERROR_NOT_ENOUGH_MEMORY',
  'ERROR_OUTOFMEMORY',
  'ERROR_NO_SYSTEM_RESOURCES',
  'ERROR_WORKING_SET_QUOTA',
  'ERROR_COMMITMENT_LIMIT',
  'ERROR_INVALID_USER_BUFFER',
  'ERROR_NOT_ENOUGH_QUOTA',
  'WSAEMFILE',
  'WSAENOBUFS'
] as const

export const connectionRows: readonly ConnectionRow[] = [
  { calls: [...traffic, ...ends], errors: gone, outcome: { cause: 'peer-reset', code: 'ECONNRESET' } },
  { calls: traffic, errors: ['WSAETIMEDOUT', 'ERROR_SEM_TIMEOUT'], outcome: { cause: 'timeout', code: 'ETIMEDOUT' } },
  { calls: traffic, errors: ['WSAENETRESET'], outcome: { cause: 'timeout', code: 'ENETRESET' } },
  { calls: [...traffic, ...ends], errors: ['WSAENETDOWN'], outcome: { cause: 'io-error', code: 'ENETDOWN' } },
  { calls: traffic, errors: ['WSAENETUNREACH'], outcome: { cause: 'io-error', code: 'ENETUNREACH' } },
  { calls: traffic, errors: ['WSAEHOSTUNREACH'], outcome: { cause: 'io-error', code: 'EHOSTUNREACH' } },
  { calls: [...traffic, ...ends], errors: ['WSAEINVAL'], outcome: { cause: 'io-error', code: 'EINVAL' } },
  { calls: traffic, errors: ['WSAEFAULT'], outcome: { cause: 'io-error', code: 'EFAULT' } },
  { calls: traffic, errors: ['WSAESHUTDOWN'], outcome: { cause: 'io-error', code: 'EPIPE' } },
  { calls: traffic, errors: ['WSAEOPNOTSUPP'], outcome: { cause: 'io-error', code: 'ENOTSUP' } },
  { calls: traffic, errors: [...shortages, 'WSAEWOULDBLOCK'], outcome: 'retry' },
  { calls: named(['memory', 'memory for a buffer']), errors: ['ERROR_NOT_ENOUGH_MEMORY'], outcome: 'retry' },
  { calls: named(['non_blocking', 'ioctlsocket(FIONBIO)']), errors: ['WSAENOBUFS'], outcome: 'retry' },
  {
    calls: named(['non_blocking', 'ioctlsocket(FIONBIO)']),
    errors: ['WSAENETDOWN'],
    outcome: { cause: 'io-error', code: 'ENETDOWN' }
  },
  {
    calls: named(['non_blocking', 'ioctlsocket(FIONBIO)']),
    errors: ['WSAENOTSOCK'],
    outcome: { cause: 'peer-reset', code: 'ECONNRESET' }
  }
]

/** A call by which a peer is accepted fails. The listener goes on in each case. */
export interface AcceptRow {
  readonly calls: Calls
  readonly errors: readonly ErrorName[]
  /**
   * `'again'`: it is tried again, after a pause if it is no peer that left, and told by 'acceptError'; `'peer'`: this one
   * peer is turned away; `'ignored'`: the connection comes all the same.
   */
  readonly outcome: 'again' | 'peer' | 'ignored'
}

const option = named(
  ['no_delay', 'setsockopt(TCP_NODELAY)'],
  ['read_no_delay', 'getsockopt(TCP_NODELAY)'],
  ['option', 'setsockopt: keep-alive, buffer sizes, type of service']
)

export const acceptRows: readonly AcceptRow[] = [
  {
    calls: named(['accept', 'AcceptEx']),
    errors: [
      ...gone,
      'WSAENETDOWN',
      'WSAENETUNREACH',
      'WSAEINVAL',
      'WSAEFAULT',
      'WSAEOPNOTSUPP',
      ...shortages,
      'WSAEWOULDBLOCK'
    ],
    outcome: 'again'
  },
  {
    calls: named(['socket', 'WSASocket']),
    errors: [
      'WSAEAFNOSUPPORT',
      'WSAENETDOWN',
      'WSAEINVAL',
      'WSAEPROTONOSUPPORT',
      'WSAEPROVIDERFAILEDINIT',
      ...shortages
    ],
    outcome: 'again'
  },
  {
    calls: named(['accept_context', 'setsockopt(SO_UPDATE_ACCEPT_CONTEXT)']),
    errors: ['WSAENOTSOCK', 'WSAENOTCONN', 'WSAEINVAL', 'WSAEFAULT', 'WSAENETDOWN', 'WSAENOBUFS'],
    outcome: 'peer'
  },
  {
    calls: named(['associate', 'CreateIoCompletionPort'], ['skip_port', 'SetFileCompletionNotificationModes']),
    errors: ['ERROR_INVALID_PARAMETER', 'ERROR_NOT_ENOUGH_MEMORY', 'ERROR_NO_SYSTEM_RESOURCES'],
    outcome: 'peer'
  },
  { calls: named(['memory', 'memory for a connection']), errors: ['ERROR_NOT_ENOUGH_MEMORY'], outcome: 'peer' },
  { calls: option, errors: ['WSAENOPROTOOPT', 'WSAEINVAL', 'WSAENOBUFS', 'WSAENOTSOCK'], outcome: 'ignored' }
]

/** A call of `connect`, `listen` or of the start of a server fails: the promise rejects with this code. */
export interface CallRow {
  readonly calls: Calls
  /** And their code. `'ignored'`: it works all the same. */
  readonly errors: readonly (readonly [ErrorName, string])[]
}

const ofSocket = [
  ['WSAEMFILE', 'EMFILE'],
  ['WSAENOBUFS', 'ENOBUFS'],
  ['WSAENETDOWN', 'ENETDOWN'],
  ['WSAEAFNOSUPPORT', 'EAFNOSUPPORT'],
  ['WSAEPROVIDERFAILEDINIT', 'ENETDOWN']
] as const
const ofBind = [
  ['WSAEACCES', 'EACCES'],
  ['WSAEADDRINUSE', 'EADDRINUSE'],
  ['WSAEADDRNOTAVAIL', 'EADDRNOTAVAIL'],
  ['WSAENOBUFS', 'ENOBUFS']
] as const
const ofPort = [
  ['ERROR_INVALID_PARAMETER', 'EINVAL'],
  ['ERROR_NOT_ENOUGH_MEMORY', 'ENOMEM'],
  ['ERROR_NO_SYSTEM_RESOURCES', 'ENOBUFS']
] as const

export const connectRows: readonly CallRow[] = [
  { calls: named(['socket', 'WSASocket']), errors: ofSocket },
  { calls: named(['bind', 'bind']), errors: ofBind },
  {
    calls: named(['associate', 'CreateIoCompletionPort'], ['skip_port', 'SetFileCompletionNotificationModes']),
    errors: ofPort
  },
  {
    calls: named(['connect', 'ConnectEx']),
    errors: [
      ['WSAECONNREFUSED', 'ECONNREFUSED'],
      ['ERROR_CONNECTION_REFUSED', 'ECONNREFUSED'],
      ['WSAENETUNREACH', 'ENETUNREACH'],
      ['WSAEHOSTUNREACH', 'EHOSTUNREACH'],
      ['WSAETIMEDOUT', 'ETIMEDOUT'],
      ['ERROR_SEM_TIMEOUT', 'ETIMEDOUT'],
      ['WSAENETDOWN', 'ENETDOWN'],
      ['WSAECONNRESET', 'ECONNRESET'],
      ['WSAEADDRINUSE', 'EADDRINUSE'],
      ['WSAEADDRNOTAVAIL', 'EADDRNOTAVAIL'],
      ['WSAEACCES', 'EACCES'],
      ['WSAEINVAL', 'EINVAL'],
      ['WSAENOBUFS', 'ENOBUFS']
    ]
  },
  {
    calls: named(['connect_context', 'setsockopt(SO_UPDATE_CONNECT_CONTEXT)'], ['local_address', 'getsockname']),
    errors: [
      ['WSAENOTCONN', 'ENOTCONN'],
      ['WSAEINVAL', 'EINVAL'],
      ['WSAENOBUFS', 'ENOBUFS'],
      ['WSAENETDOWN', 'ENETDOWN']
    ]
  },
  { calls: named(['memory', 'memory for a connection']), errors: [['ERROR_NOT_ENOUGH_MEMORY', 'ENOMEM']] },
  {
    calls: named(
      ['share_port', 'setsockopt(SO_REUSE_UNICASTPORT)'],
      ['one_syn', 'WSAIoctl(SIO_TCP_INITIAL_RTO)'],
      ['no_delay', 'setsockopt(TCP_NODELAY)'],
      ['option', 'setsockopt: keep-alive, buffer sizes, type of service']
    ),
    errors: [
      ['WSAENOPROTOOPT', 'ignored'],
      ['WSAEINVAL', 'ignored'],
      ['WSAENOBUFS', 'ignored']
    ]
  }
]

export const listenRows: readonly CallRow[] = [
  { calls: named(['socket', 'WSASocket']), errors: ofSocket },
  { calls: named(['bind', 'bind']), errors: ofBind },
  { calls: named(['associate', 'CreateIoCompletionPort']), errors: ofPort },
  {
    calls: named(['exclusive', 'setsockopt(SO_EXCLUSIVEADDRUSE)'], ['v6_only', 'setsockopt(IPV6_V6ONLY)']),
    errors: [
      ['WSAENOPROTOOPT', 'ENOPROTOOPT'],
      ['WSAENOBUFS', 'ENOBUFS'],
      ['WSAENETDOWN', 'ENETDOWN']
    ]
  },
  {
    calls: named(['listen', 'listen'], ['local_address', 'getsockname']),
    errors: [
      ['WSAEADDRINUSE', 'EADDRINUSE'],
      ['WSAENOBUFS', 'ENOBUFS'],
      ['WSAENETDOWN', 'ENETDOWN'],
      ['WSAEMFILE', 'EMFILE']
    ]
  },
  {
    calls: named(['no_delay', 'setsockopt(TCP_NODELAY)'], ['option', 'setsockopt: buffer sizes']),
    errors: [
      ['WSAENOPROTOOPT', 'ignored'],
      ['WSAENOBUFS', 'ignored']
    ]
  }
]

/** Before anything else, when the first server listens or the first client connects. */
export const startRows: readonly CallRow[] = [
  {
    calls: named(['start_winsock', 'WSAStartup']),
    errors: [
      ['WSASYSNOTREADY', 'ENETDOWN'],
      ['WSAVERNOTSUPPORTED', 'ENOTSUP'],
      ['WSAENOBUFS', 'ENOBUFS']
    ]
  },
  {
    calls: named(['extension_function', 'WSAIoctl(SIO_GET_EXTENSION_FUNCTION_POINTER)']),
    errors: [
      ['WSAEINVAL', 'EINVAL'],
      ['WSAEOPNOTSUPP', 'ENOTSUP'],
      ['WSAENOBUFS', 'ENOBUFS']
    ]
  },
  { calls: named(['providers', 'WSAEnumProtocols']), errors: [['WSAENETDOWN', 'ignored']] },
  { calls: named(['thread_slot', 'TlsAlloc']), errors: [['ERROR_NO_SYSTEM_RESOURCES', 'ENOBUFS']] },
  { calls: named(['create_port', 'CreateIoCompletionPort']), errors: ofPort },
  { calls: named(['thread', '_beginthreadex']), errors: [['ERROR_NOT_ENOUGH_MEMORY', 'ENOMEM']] }
]

/** A call that every server makes over and over: it is made again, and nothing is lost. */
export const upkeepRows: readonly CallRow[] = [
  {
    calls: named(
      ['wait', 'GetQueuedCompletionStatusEx'],
      ['post', 'PostQueuedCompletionStatus'],
      ['post_quit', 'PostQueuedCompletionStatus, at the end'],
      ['cancel', 'CancelIoEx'],
      ['linger', 'setsockopt(SO_LINGER)']
    ),
    errors: [
      ['ERROR_NOT_ENOUGH_MEMORY', 'ignored'],
      ['ERROR_NO_SYSTEM_RESOURCES', 'ignored']
    ]
  }
]

/** A call on a file fails, at the sender or at the receiver. */
export interface FileRow {
  readonly calls: Calls
  readonly at: 'sender' | 'receiver'
  /** Calls of the other side that come before. */
  readonly skip?: number
  readonly errors: readonly ErrorName[]
  /** What the promise of `sendFile` rejects with, and the receiver's. `'ok'`: the file arrives; `'none'`: it is never offered. */
  readonly codes: readonly [sender: string, receiver: string]
}

const ofPeer = 'ERR_IOCP_TRANSFER_FILE'
export const fileRows: readonly FileRow[] = [
  {
    calls: named(['open_file', 'CreateFile']),
    at: 'sender',
    errors: ['ERROR_FILE_NOT_FOUND'],
    codes: ['ENOENT', 'none']
  },
  {
    calls: named(['open_file', 'CreateFile']),
    at: 'sender',
    errors: ['ERROR_ACCESS_DENIED'],
    codes: ['EPERM', 'none']
  },
  {
    calls: named(['open_file', 'CreateFile']),
    at: 'sender',
    errors: ['ERROR_SHARING_VIOLATION'],
    codes: ['EBUSY', 'none']
  },
  {
    calls: named(['open_file', 'CreateFile']),
    at: 'sender',
    errors: ['ERROR_TOO_MANY_OPEN_FILES'],
    codes: ['EMFILE', 'none']
  },
  {
    calls: named(['open_file', 'CreateFile']),
    at: 'receiver',
    skip: 1,
    errors: ['ERROR_ACCESS_DENIED'],
    codes: [ofPeer, 'EPERM']
  },
  {
    calls: named(['open_file', 'CreateFile']),
    at: 'receiver',
    skip: 1,
    errors: ['ERROR_TOO_MANY_OPEN_FILES'],
    codes: [ofPeer, 'EMFILE']
  },
  { calls: named(['query_size', 'GetFileSizeEx']), at: 'sender', errors: ['ERROR_IO_DEVICE'], codes: ['EIO', 'none'] },
  {
    calls: named(['query_size', 'GetFileSizeEx']),
    at: 'receiver',
    skip: 1,
    errors: ['ERROR_IO_DEVICE'],
    codes: [ofPeer, 'EIO']
  },
  {
    calls: named(['file_information', 'GetFileInformationByHandle']),
    at: 'receiver',
    errors: ['ERROR_IO_DEVICE'],
    codes: [ofPeer, 'EIO']
  },
  {
    calls: named(['file_type', 'GetFileType']),
    at: 'sender',
    errors: ['ERROR_INVALID_FUNCTION'],
    codes: ['EISDIR', 'none']
  },
  {
    calls: named(['file_type', 'GetFileType']),
    at: 'receiver',
    skip: 1,
    errors: ['ERROR_INVALID_FUNCTION'],
    codes: [ofPeer, 'EISDIR']
  },
  {
    calls: named(['hash', 'BCryptCreateHash']),
    at: 'sender',
    errors: ['ERROR_NOT_ENOUGH_MEMORY'],
    codes: ['ENOTSUP', 'none']
  },
  {
    calls: named(['hash', 'BCryptCreateHash']),
    at: 'receiver',
    skip: 1,
    errors: ['ERROR_NOT_ENOUGH_MEMORY'],
    codes: [ofPeer, 'ENOTSUP']
  },
  {
    calls: named(['associate', 'CreateIoCompletionPort']),
    at: 'sender',
    skip: 1,
    errors: ['ERROR_NOT_ENOUGH_MEMORY'],
    codes: ['ENOMEM', ofPeer]
  },
  {
    calls: named(['associate', 'CreateIoCompletionPort']),
    at: 'receiver',
    errors: ['ERROR_NOT_ENOUGH_MEMORY'],
    codes: [ofPeer, 'ENOMEM']
  },
  {
    calls: named(['read_file', 'ReadFile']),
    at: 'sender',
    errors: ['ERROR_CRC', 'ERROR_IO_DEVICE'],
    codes: ['EIO', ofPeer]
  },
  {
    calls: named(['read_file', 'ReadFile']),
    at: 'sender',
    errors: ['ERROR_NO_SYSTEM_RESOURCES', 'ERROR_WORKING_SET_QUOTA'],
    codes: ['ENOBUFS', ofPeer]
  },
  { calls: named(['write_file', 'WriteFile']), at: 'receiver', errors: ['ERROR_IO_DEVICE'], codes: [ofPeer, 'EIO'] },
  {
    calls: named(['write_file', 'WriteFile']),
    at: 'receiver',
    errors: ['ERROR_NO_SYSTEM_RESOURCES', 'ERROR_WORKING_SET_QUOTA'],
    codes: [ofPeer, 'ENOBUFS']
  },
  {
    calls: named(['write_file', 'WriteFile'], ['allocate_file', 'SetFileInformationByHandle(FileAllocationInfo)']),
    at: 'receiver',
    errors: ['ERROR_DISK_FULL', 'ERROR_HANDLE_DISK_FULL'],
    codes: ['ERR_IOCP_TRANSFER_DISK_FULL', 'ERR_IOCP_TRANSFER_DISK_FULL']
  },
  {
    calls: named(['size_file', 'SetFileInformationByHandle(FileEndOfFileInfo)']),
    at: 'receiver',
    errors: ['ERROR_IO_DEVICE'],
    codes: [ofPeer, 'EIO']
  },
  {
    calls: named(['rename_posix', 'SetFileInformationByHandle(FileRenameInfoEx)']),
    at: 'receiver',
    errors: ['ERROR_ACCESS_DENIED'],
    codes: ['ok', 'ok']
  },
  {
    calls: named(['rename_posix', 'SetFileInformationByHandle(FileRenameInfoEx)']),
    at: 'receiver',
    errors: ['ERROR_INVALID_PARAMETER', 'ERROR_INVALID_FUNCTION'],
    codes: ['ok', 'ok']
  },
  {
    calls: named(['temporary', 'SetFileInformationByHandle(FileDispositionInfo)']),
    at: 'receiver',
    errors: ['ERROR_ACCESS_DENIED'],
    codes: ['ok', 'ok']
  },
  {
    calls: named(['skip_port', 'SetFileCompletionNotificationModes']),
    at: 'sender',
    errors: ['ERROR_INVALID_PARAMETER'],
    codes: ['ok', 'ok']
  },
  {
    calls: named(['skip_port', 'SetFileCompletionNotificationModes']),
    at: 'receiver',
    skip: 1,
    errors: ['ERROR_INVALID_PARAMETER'],
    codes: ['ok', 'ok']
  },
  {
    calls: named(['allocate_file', 'SetFileInformationByHandle(FileAllocationInfo)']),
    at: 'receiver',
    errors: ['ERROR_INVALID_PARAMETER'],
    codes: ['ok', 'ok']
  }
]
