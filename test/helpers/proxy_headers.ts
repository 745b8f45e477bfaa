/** Headers of the PROXY protocol, made without the library. */

import { isIPv4 } from 'node:net'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')

/** A line of version 1. */
export function line(source: string, port: number, destination = '198.51.100.1', destinationPort = 443): Buffer {
  const family = isIPv4(source) ? 'TCP4' : 'TCP6'
  return Buffer.from(`PROXY ${family} ${source} ${destination} ${port} ${destinationPort}\r\n`)
}

/** A type and its value. */
export function tlv(type: number, value: Uint8Array | string): Buffer {
  const bytes = Buffer.from(value as string)
  return Buffer.concat([Buffer.of(type, bytes.length >> 8, bytes.length & 255), bytes])
}

/** The front of version 2, and whatever is behind it. */
export function block(command: number, family: number, ...rest: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(rest)
  return Buffer.concat([SIGNATURE, Buffer.of(0x20 | command, family, body.length >> 8, body.length & 255), body])
}

function v4(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number))
}

const ports = (...numbers: readonly number[]): Buffer => Buffer.from(numbers.flatMap((port) => [port >> 8, port & 255]))

/** Version 2 for TCP over IPv4. */
export function inet(source: string, port: number, ...tlvs: readonly Uint8Array[]): Buffer {
  return block(1, 0x11, v4(source), v4('198.51.100.1'), ports(port, 443), ...tlvs)
}

/** The same over IPv6; addresses as 32 hexadecimal digits. */
export function inet6(source: string, port: number, ...tlvs: readonly Uint8Array[]): Buffer {
  const addresses = [Buffer.from(source, 'hex'), Buffer.from('20010db8000000000000000000000001', 'hex')]
  return block(1, 0x21, ...addresses, ports(port, 443), ...tlvs)
}

/** The checksum (RFC 4960, appendix B) of a header whose last TLV is to be it. */
export function withChecksum(header: Buffer): Buffer {
  const all = Buffer.from(header)
  let value = 0xffffffff
  for (const byte of all) {
    value ^= byte
    for (let bit = 0; bit < 8; bit++) value = (value & 1) === 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
  }
  all.writeUInt32BE((value ^ 0xffffffff) >>> 0, all.length - 4)
  return all
}
