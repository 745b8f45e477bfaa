/** Where to connect to. */

import type { NativeProxySend } from '../native/types.js'

/** What `connect` does with a name: as `dns.lookup` with `all: true`. */
export type Lookup = (host: string) => Promise<readonly { address: string; family: number }[]>

/** Where to connect to, checked and completed. */
export interface Target {
  readonly host: string
  readonly port: number
  readonly family: 4 | 6 | 0
  readonly localAddress: string | undefined
  readonly localPort: number
  readonly timeout: number
  readonly attemptDelay: number
  readonly signal: AbortSignal | undefined
  readonly lookup: Lookup | undefined
  /** The header that each connection begins with. */
  readonly proxyProtocol: NativeProxySend | undefined
}
