/** Addresses and prefixes as the access table has them: 16 bytes, IPv4 as mapped IPv6, and the number of bits. */

import { type BlockList, isIPv4, isIPv6 } from 'node:net'
import { invalidOption } from '../common/errors.js'

/** Bytes of a prefix: those of its address, and its length in bits. */
export const PREFIX_BYTES = 17
/** Bits that all addresses of IPv4 have in common. */
export const V4_BITS = 96

/** The 128 bits of an address; undefined for what is no address. A scope is ignored: it says nothing about a peer. */
function bitsOf(text: string): bigint | undefined {
  if (isIPv4(text)) {
    return 0xffff_0000_0000n | text.split('.').reduce((bits, byte) => (bits << 8n) | BigInt(byte), 0n)
  }
  if (!isIPv6(text)) return undefined
  const address = (text.split('%')[0] ?? '').replace(/\d+\.\d+\.\d+\.\d+$/, (tail) => {
    const bytes = tail.split('.').map(Number)
    const group = (at: number): string => (((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)).toString(16)
    return `${group(0)}:${group(2)}`
  })
  const [front = '', back] = address.split('::')
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'))
  const before = groups(front)
  const after = groups(back ?? '')
  const all = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after]
  return all.reduce((bits, group) => (bits << 16n) | BigInt(`0x${group}`), 0n)
}

function encode(address: bigint, bits: number): Uint8Array {
  const bytes = new Uint8Array(PREFIX_BYTES)
  for (let at = 0; at < 16; at++) bytes[at] = Number((address >> BigInt(120 - 8 * at)) & 0xffn)
  bytes[16] = bits
  return bytes
}

/** An address as the access table has it; undefined for what is none. */
export function addressBytes(text: string): Uint8Array | undefined {
  const bits = bitsOf(text)
  return bits === undefined ? undefined : encode(bits, 128).subarray(0, 16)
}

/** An address, or a prefix such as `'10.0.0.0/8'`; what is behind its bits does not count. Undefined for what is neither. */
export function prefixBytes(text: string): Uint8Array | undefined {
  const [address = '', length, ...more] = text.split('/')
  const bits = bitsOf(address)
  if (bits === undefined || more.length > 0) return undefined
  if (length === undefined) return encode(bits, 128)
  const most = isIPv4(address) ? 32 : 128
  if (!/^\d{1,3}$/.test(length) || Number(length) > most) return undefined
  const all = Number(length) + 128 - most
  // A mapped address with so few bits would be a prefix of IPv6, which has no address of IPv4 in it.
  if (all < V4_BITS && bits >> 32n === 0xffffn) return undefined
  const rest = BigInt(128 - all)
  return encode((bits >> rest) << rest, all)
}

/** Whether 16 bytes are an address of IPv4. */
export function addressIs4(address: Uint8Array): boolean {
  return address[10] === 255 && address[11] === 255 && address.subarray(0, 10).every((byte) => byte === 0)
}

/** The prefix of a length that an address is in. */
export function prefixAround(address: Uint8Array, bits: number): Uint8Array {
  const prefix = new Uint8Array(PREFIX_BYTES)
  prefix.set(address.subarray(0, bits >> 3))
  if ((bits & 7) !== 0) prefix[bits >> 3] = (address[bits >> 3] ?? 0) & (0xff00 >> (bits & 7))
  prefix[16] = bits
  return prefix
}

/** Whether an address is in one of some prefixes, which stand one behind the other; one of IPv4 is in none of IPv6. */
export function isInPrefixes(address: Uint8Array, prefixes: Uint8Array): boolean {
  const least = addressIs4(address) ? V4_BITS : 0
  for (let at = 0; at < prefixes.length; at += PREFIX_BYTES) {
    const bits = prefixes[at + 16] ?? 128
    if (bits < least) continue
    const whole = bits >> 3
    let same = 0
    while (same < whole && prefixes[at + same] === address[same]) same++
    if (same < whole) continue
    const rest = 0xff & (0xff00 >> (bits & 7))
    if ((bits & 7) === 0 || (((prefixes[at + whole] ?? 0) ^ (address[whole] ?? 0)) & rest) === 0) return true
  }
  return false
}

/** A prefix as text: an address if it is one, IPv4 in its own form. */
export function prefixText(bytes: Uint8Array): string {
  const bits = bytes[16] ?? 128
  if (bits >= V4_BITS && addressIs4(bytes)) {
    const address = bytes.subarray(12, 16).join('.')
    return bits === 128 ? address : `${address}/${bits - V4_BITS}`
  }
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[2 * at] ?? 0) << 8) | (bytes[2 * at + 1] ?? 0))
  const address = formatIPv6(groups)
  return bits === 128 ? address : `${address}/${bits}`
}

/**
 * The rules of a `net.BlockList` as prefixes.
 * @throws IocpError ERR_IOCP_INVALID_OPTION for one that has no prefix here: no rule is left out, least of all one that
 *   denies
 */
export function blockListPrefixes(list: BlockList, option: string): Uint8Array[] {
  return list.rules.flatMap((rule) => {
    const found = rulePrefixes(rule)
    if (found !== undefined) return found
    throw invalidOption(option, rule, 'a net.BlockList of addresses, subnets and ranges that exist here too')
  })
}

function rulePrefixes(rule: string): Uint8Array[] | undefined {
  const [, kind, text = ''] = /^(Address|Subnet|Range): IPv[46] (.*)$/.exec(rule) ?? []
  if (kind !== 'Range') {
    const prefix = prefixBytes(text)
    return prefix && [prefix]
  }
  const [first, last] = text.split('-').map(bitsOf)
  return first === undefined || last === undefined ? undefined : rangePrefixes(first, last)
}

/** The fewest prefixes that are a range of addresses. */
function rangePrefixes(from: bigint, last: bigint): Uint8Array[] {
  const prefixes: Uint8Array[] = []
  for (let first = from; first <= last;) {
    // As many addresses as the alignment of the first one and the end of the range allow.
    let size = 0
    while (size < 128 && (first & ((2n << BigInt(size)) - 1n)) === 0n && first + (2n << BigInt(size)) - 1n <= last)
      size++
    prefixes.push(encode(first, 128 - size))
    first += 1n << BigInt(size)
  }
  return prefixes
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups shortened. */
export function formatIPv6(groups: readonly number[]): string {
  let best = { start: -1, length: 1 }
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (start + length < 8 && groups[start + length] === 0) length++
    if (length > best.length) best = { start, length }
  }
  const hex = groups.map((group) => group.toString(16))
  if (best.start === -1) return hex.join(':')
  return `${hex.slice(0, best.start).join(':')}::${hex.slice(best.start + best.length).join(':')}`
}
