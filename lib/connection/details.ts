/** What a connection does seldom: its ends, as the program asks for them, and another framing. */

import { errorCodes, IocpError } from '../common/errors.js'
import { localOf, remoteOf, type SocketAddress } from '../native/addresses.js'
import { op } from '../native/protocol.js'
import type { bothDirections } from '../packets/framing.js'
import type { Connection } from './connection.js'
import { checkRates } from './limits.js'
import { withFraming } from './profile.js'
import { ProxyInfo } from './proxy_info.js'
import { DEAD, flag } from './state.js'

/** The peer's end. Still known when the slot belongs to somebody else. */
export function remoteEnd({ _engine: engine, _extra: extra, _slot: slot }: Connection): SocketAddress | undefined {
  const block = extra?.addresses
  return block === undefined ? engine.addresses.remote(slot) : remoteOf(block, 0)
}

/** This side's end. */
export function localEnd({ _engine: engine, _extra: extra, _slot: slot }: Connection): SocketAddress | undefined {
  const block = extra?.addresses
  return block === undefined ? engine.addresses.local(slot) : localOf(block, 0)
}

/** What the balancer has said of the connection; undefined when it did not come by way of one. */
export function proxyOf({ _extra: extra }: Connection): ProxyInfo | undefined {
  if (extra?.proxyHeader === undefined) return undefined
  return (extra.proxy ??= new ProxyInfo(extra.proxyHeader))
}

/** Sends with another framing from now on, and cuts what comes with it. @throws IocpError ERR_IOCP_TRANSFER_BUSY, ERR_IOCP_INVALID_OPTION */
export function changeFraming(connection: Connection, framing: ReturnType<typeof bothDirections>): void {
  const profile = withFraming(connection._profile, framing)
  checkRates(profile.native, (connection._flags & flag.accepted) !== 0)
  if ((connection._extra?.transfers?.size ?? 0) > 0) {
    throw new IocpError('ERR_IOCP_TRANSFER_BUSY', errorCodes.ERR_IOCP_TRANSFER_BUSY)
  }
  connection._profile = profile
  if ((connection._flags & DEAD) !== 0) return
  const { _engine: engine, _slot: slot, _generation: generation } = connection
  engine.submission.operation(op.setFraming, slot, generation, engine.profileIndex(profile))
}
