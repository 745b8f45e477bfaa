/** Names to addresses. */

import { lookup as lookupName } from 'node:dns/promises'
import { isIP } from 'node:net'
import { IocpError } from './errors.js'
import type { Lookup } from './options.js'

/** An address to listen at or to connect to. */
export interface HostTarget {
  readonly address: string
  readonly family: 4 | 6
}

/**
 * All addresses of a name, in the system's order of preference; an address is its own.
 * @param family 0 for both
 * @throws ENOTFOUND and the like from the system; IocpError ERR_IOCP_NO_ADDRESS
 */
export async function resolveHost(host: string, family: 0 | 4 | 6 = 0, lookup?: Lookup): Promise<HostTarget[]> {
  const literal = isIP(host)
  const found =
    literal === 0
      ? await (lookup?.(host) ?? lookupName(host, { all: true, order: 'verbatim' }))
      : [{ address: host, family: literal }]
  const targets = found.flatMap(({ address }): HostTarget[] => {
    const kind = isIP(address)
    return (kind === 4 || kind === 6) && (family === 0 || kind === family) ? [{ address, family: kind }] : []
  })
  if (targets.length === 0) {
    const wanted = family === 0 ? '' : `IPv${family} `
    throw new IocpError('ERR_IOCP_NO_ADDRESS', `The host name '${host}' has no ${wanted}address`, { address: host })
  }
  return targets
}

/**
 * The order in which to try addresses: the families take turns, and the family that the system prefers begins
 * (RFC 8305, section 4).
 */
export function interleave(targets: readonly HostTarget[]): HostTarget[] {
  const first = targets[0]?.family
  const preferred = targets.filter((target) => target.family === first)
  const others = targets.filter((target) => target.family !== first)
  return preferred
    .flatMap((target, index) => [target, others[index]])
    .concat(others.slice(preferred.length))
    .filter((target) => target !== undefined)
}
