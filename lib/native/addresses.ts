/** Socket addresses as native code writes them: stored in binary form, converted to text on access. */

import { networkInterfaces } from 'node:os'
import { formatIPv6 } from './ip_prefix.js'

/** One end of a connection. */
export interface SocketAddress {
  /** IPv4 in dotted form, or IPv6 in its shortest form, with `%scope` if it has one. */
  readonly address: string
  readonly family: 'IPv4' | 'IPv6'
  readonly port: number
}

/**
 * Both ends take at most this: family 1, port 2, address 16 and scope 4 bytes each.
 */
export const ADDRESSES_BYTES = 48

const V4_SIZE = 1 + 2 + 4
const V6_SIZE = 1 + 2 + 16 + 4

/** An address, and the bytes that it takes in a block. */
export type AddressBlock = SocketAddress & { readonly size: number }

/**
 * An address at an offset: `[u8 family 4|6][u16 BE port][4 or 16 address bytes][u32 BE scope id only for 6]`.
 * Undefined when the family is neither.
 */
export function addressAt(bytes: Uint8Array, at: number): AddressBlock | undefined {
  const byte = (index: number): number => bytes[at + index] ?? 0
  const port = (byte(1) << 8) | byte(2)
  if (byte(0) === 4) {
    return { address: `${byte(3)}.${byte(4)}.${byte(5)}.${byte(6)}`, family: 'IPv4', port, size: V4_SIZE }
  }
  if (byte(0) !== 6) return undefined
  const groups = Array.from({ length: 8 }, (_, i) => (byte(3 + 2 * i) << 8) | byte(4 + 2 * i))
  const scope = ((byte(19) << 24) | (byte(20) << 16) | (byte(21) << 8) | byte(22)) >>> 0
  return { address: formatIPv6(groups) + (scope === 0 ? '' : `%${scope}`), family: 'IPv6', port, size: V6_SIZE }
}

/** The peer's end in an address block. */
export function remoteOf(block: Uint8Array, at: number): SocketAddress | undefined {
  return addressAt(block, at)
}

/** This side's end in an address block. */
export function localOf(block: Uint8Array, at: number): SocketAddress | undefined {
  const remote = addressAt(block, at)
  return remote && addressAt(block, at + remote.size)
}

/** What stands behind both ends in a record: of a connection by way of a balancer, its header. Undefined when nothing does. */
export function behindAddresses(block: Uint8Array): Uint8Array | undefined {
  const sizeAt = (at: number): number => (block[at] === 4 ? V4_SIZE : V6_SIZE)
  const remote = sizeAt(0)
  const both = remote + sizeAt(remote)
  // A copy: the batch goes.
  return block.length > both ? new Uint8Array(block.subarray(both)) : undefined
}

const SEGMENT = 1024

/**
 * The address blocks of all open connections by slot, in segments that are allocated as needed. Bytes in a shared block
 * cost a tenth of the corresponding strings, which most programs never read.
 */
export class AddressTable {
  readonly #segments: (Uint8Array | undefined)[] = []

  /** Keeps the block of a connection that has just been opened. */
  set(slot: number, block: Uint8Array): void {
    const index = Math.floor(slot / SEGMENT)
    const segment = (this.#segments[index] ??= new Uint8Array(SEGMENT * ADDRESSES_BYTES))
    segment.set(block.subarray(0, ADDRESSES_BYTES), (slot % SEGMENT) * ADDRESSES_BYTES)
  }

  /** A copy for a connection that releases its slot. */
  copy(slot: number): Uint8Array | undefined {
    const at = (slot % SEGMENT) * ADDRESSES_BYTES
    return this.#segments[Math.floor(slot / SEGMENT)]?.slice(at, at + ADDRESSES_BYTES)
  }

  remote(slot: number): SocketAddress | undefined {
    const segment = this.#segments[Math.floor(slot / SEGMENT)]
    return segment && remoteOf(segment, (slot % SEGMENT) * ADDRESSES_BYTES)
  }

  local(slot: number): SocketAddress | undefined {
    const segment = this.#segments[Math.floor(slot / SEGMENT)]
    return segment && localOf(segment, (slot % SEGMENT) * ADDRESSES_BYTES)
  }
}

/** An address of this machine. */
export interface HostAddress {
  readonly address: string
  readonly family: 'IPv4' | 'IPv6'
  /** Name of the network interface. */
  readonly interface: string
  /** Whether it is a loopback address. */
  readonly internal: boolean
}

/** The addresses of this machine, including loopback. */
export function hostAddresses(): HostAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([name, list]) =>
    (list ?? []).map(({ address, family, internal }) => ({ address, family, interface: name, internal }))
  )
}
