/** The addon's test variant, in which any socket call can be made to fail, to come short or to come late. */

import { createRequire } from 'node:module'
import { afterEach } from 'vitest'
import type { NativeBinding } from '../../lib/native/types.js'

/** What happens to a call, from now on. All counts are of calls since the rule was set. */
export interface Rule {
  /** The Winsock or Win32 number to fail with. */
  error?: number
  /** The NTSTATUS with which a call fails after it has been pending. */
  status?: number
  /** So many calls are let through first. */
  skip?: number
  /** Then so many are hit; 0: no end. */
  count?: number
  /** Of those, how many in a thousand. */
  perMille?: number
  /** Sends and receives take at most so many bytes; with an error too: those that do not fail. */
  shortTo?: number
  /** Completions are held back for up to so many milliseconds. */
  delay?: number
  /** Calls on files hold their thread for so many milliseconds. */
  block?: number
  /** The call is not made, and succeeds. */
  pretend?: boolean
  /** Reads and writes of files are pending until they are cancelled. */
  keep?: boolean
  /** Of those that are kept the cancel comes too late: they end well. */
  late?: boolean
}

/** Every call that may wait for a disk. */
const diskCalls = [
  'open_file',
  'read_file',
  'hash_read',
  'write_file',
  'allocate_file',
  'size_file',
  'close_file',
  'move_file'
] as const

export type DiskCall = (typeof diskCalls)[number]

export type Call =
  | 'start_winsock'
  | 'extension_function'
  | 'providers'
  | 'thread_slot'
  | 'thread'
  | 'create_port'
  | 'wait'
  | 'post'
  | 'post_quit'
  | 'memory'
  | 'socket'
  | 'bind'
  | 'exclusive'
  | 'v6_only'
  | 'listen'
  | 'local_address'
  | 'no_delay'
  | 'read_no_delay'
  | 'option'
  | 'share_port'
  | 'associate'
  | 'skip_port'
  | 'accept'
  | 'accept_context'
  | 'conditional'
  | 'conditional_accept'
  | 'one_syn'
  | 'connect'
  | 'connect_context'
  | 'zero_read'
  | 'non_blocking'
  | 'unread'
  | 'receive'
  | 'receive_now'
  | 'send'
  | 'transmit_file'
  | 'linger'
  | 'shutdown'
  | 'cancel'
  | 'file_type'
  | 'file_information'
  | 'event'
  | 'hash'
  | 'query_size'
  | 'rename_posix'
  | 'rename_file'
  | 'temporary'
  | 'delete_file'
  | 'cancel_file'
  | 'cancel_disk'
  | 'arm'
  | 'completion'
  | DiskCall

export interface Faults {
  readonly calls: readonly string[]
  set(call: Call, rule: Rule): void
  clear(): void
  /** Where the chance of `perMille` begins. */
  seed(number: number): void
  /** How often the rule has hit. */
  hits(call: Call): number
}

const file = process.env['IOCP_FAULT_ADDON']

/** False where there is no compiler, and so no test variant. */
export const hasFaults = file !== undefined && file !== ''

let loaded: (NativeBinding & { readonly faults: Faults }) | undefined

/** The raw binding with its faults. */
export function faultAddon(): NativeBinding & { readonly faults: Faults } {
  if (file === undefined || file === '') throw new Error('IOCP_FAULT_ADDON names no file')
  loaded ??= createRequire(import.meta.url)(file) as NativeBinding & { readonly faults: Faults }
  return loaded
}

/**
 * Makes the library load the test variant too, here and in programs that are started from here. The rules are of one
 * test each. Undefined where there is no test variant.
 */
export function faultsOfLibrary(): Faults | undefined {
  if (!hasFaults) return undefined
  process.env['IOCP_ADDON'] = file
  const { faults } = faultAddon()
  afterEach(() => {
    faults.clear()
  })
  return faults
}

/** Every call that may wait for a disk takes its thread for so many milliseconds, as NTFS does. */
export function slowDisk(milliseconds: number): void {
  for (const call of diskCalls) faultAddon().faults.set(call, { block: milliseconds })
}

/** How many calls have come to the disk since then. */
export function diskHits(): number {
  return diskCalls.reduce((sum, call) => sum + faultAddon().faults.hits(call), 0)
}

/** Winsock and Win32 numbers. */
export const win = {
  notEnoughMemory: 8,
  netnameDeleted: 64,
  semTimeout: 121,
  operationAborted: 995,
  noSystemResources: 1450,
  invalid: 10022,
  tooManyFiles: 10024,
  wouldBlock: 10035,
  notSocket: 10038,
  familyNotSupported: 10047,
  addressInUse: 10048,
  addressNotAvailable: 10049,
  networkDown: 10050,
  networkReset: 10052,
  aborted: 10053,
  reset: 10054,
  noBuffers: 10055,
  notConnected: 10057,
  shutDown: 10058,
  timedOut: 10060,
  refused: 10061,
  hostUnreachable: 10065
} as const
