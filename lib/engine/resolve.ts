/** Name resolution. */

import { lookup as lookupName } from 'node:dns/promises'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { invalidOption, IocpError, show } from '../common/errors.js'
import type { Lookup } from './connect_target.js'

/** An address to listen at or to connect to. */
export interface HostTarget {
  readonly address: string
  readonly family: 4 | 6
}

/**
 * All addresses of a name, in the system's order of preference; an address resolves to itself.
 * @param family 0 for both
 * @throws ENOTFOUND and the like from the system; IocpError ERR_IOCP_NO_ADDRESS; ERR_IOCP_INVALID_OPTION for what a
 *   program's own `lookup` gives
 */
export async function resolveHost(host: string, family: 0 | 4 | 6 = 0, lookup?: Lookup): Promise<HostTarget[]> {
  const targets = (await find(host, lookup)).filter((target) => family === 0 || target.family === family)
  if (targets.length === 0) {
    const wanted = family === 0 ? '' : `IPv${family} `
    throw new IocpError('ERR_IOCP_NO_ADDRESS', `The host name ${show(host)} has no ${wanted}address`, { address: host })
  }
  return targets
}

async function find(host: string, lookup: Lookup | undefined): Promise<HostTarget[]> {
  const literal = toAddress(host)
  if (literal !== undefined) return [literal]
  if (lookup === undefined) {
    const found = await lookupName(host, { all: true, order: 'verbatim' })
    return found.flatMap(({ address }) => toAddress(address) ?? [])
  }
  const found: unknown = await lookup(host)
  const targets = Array.isArray(found)
    ? Array.from(found, (one: { address?: unknown } | null | undefined) => toAddress(one?.address))
    : [undefined]
  const good = targets.filter((target) => target !== undefined)
  if (good.length === targets.length) return good
  const message = `Option 'lookup' must return an array of { address, family }; for ${show(host)} it returned ${show(found)}`
  throw new IocpError('ERR_IOCP_INVALID_OPTION', message, { option: 'lookup', value: found })
}

/**
 * An address as native code takes it: a scope is a number there, and may be the name of an interface here. Undefined for
 * what is no address of this machine's or any other, such as one with a scope that does not exist.
 */
export function toAddress(text: unknown): HostTarget | undefined {
  if (typeof text !== 'string') return undefined
  const family = isIP(text)
  if (family === 4) return { address: text, family: 4 }
  if (family !== 6) return undefined
  const [address = '', scope] = text.split('%')
  if (scope === undefined) return { address, family: 6 }
  const number = /^\d{1,10}$/.test(scope) ? Number(scope) : scopeOf(scope)
  return number === undefined || number > 0xffff_ffff ? undefined : { address: `${address}%${number}`, family: 6 }
}

function scopeOf(name: string): number | undefined {
  for (const one of networkInterfaces()[name] ?? []) if (one.family === 'IPv6' && one.scopeid !== 0) return one.scopeid
  return undefined
}

/**
 * The option `host`: an address or a name.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function toHost(value: string, option: string): string {
  // A system call would truncate the name there.
  if (value.includes('\0')) throw invalidOption(option, value, 'an address or a name without NUL')
  if (isIP(value) !== 0 && toAddress(value) === undefined) throw invalidOption(option, value, SCOPED)
  return value
}

/**
 * A local address.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function toLocalAddress(value: string, option: string): HostTarget {
  const address = toAddress(value)
  if (address !== undefined) return address
  throw invalidOption(option, value, isIP(value) === 0 ? 'an IPv4 or IPv6 address' : SCOPED)
}

const SCOPED = 'an address whose scope is the number or name of a network interface'

/**
 * The sequence in which to try addresses: alternating families, starting with the one that the system prefers (RFC
 * 8305, section 4).
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
