/** Options of the PROXY protocol: what a server expects of its balancers, and what a connection of this side begins with. */

import { isIP } from 'node:net'
import { invalidArgument, invalidOption } from '../common/errors.js'
import { type Duration, type EachOption, MAX_DURATION, OptionReader, type Size } from '../common/option_reader.js'
import { proxyTlv } from '../connection/proxy_info.js'
import type { NativeProxyRules, NativeProxySend } from '../native/types.js'
import { type AddressList, readAddresses } from './access_options.js'

/**
 * What a server expects of the load balancers in front of it: a header of the PROXY protocol (HAProxy's
 * proxy-protocol.txt) before anything else. It is required from the addresses of `from`, and not looked for in what
 * others send.
 */
export interface ProxyProtocolOptions {
  /**
   * The balancers: addresses and prefixes, or a `net.BlockList`. Required. Whoever may send a header may name any client,
   * so only what nobody else can connect from belongs here; `['0.0.0.0/0', '::/0']` trusts everybody.
   */
  from: AddressList
  /** Versions that are accepted. Default both: `[1, 2]`. */
  versions?: readonly (1 | 2)[]
  /** Time for the whole header. 1 ms to 24 days; default 5 s. The specification recommends at least 3 s. */
  timeout?: Duration
  /** Bytes of a header of version 2. 536 to 65,551; default 4 KiB. (One of version 1 has 107 at most.) */
  maxHeader?: Size
}

/** One end of a connection, for a header. */
export interface ProxyEndpoint {
  /** IPv4 or IPv6. */
  address: string
  /** 0 to 65535. */
  port: number
}

/** A type and its bytes; text is sent as UTF-8. */
export interface ProxyTlv {
  /** 0 to 255. */
  type: number
  value: Uint8Array | string
}

/** The header of the PROXY protocol that a connection begins with, before any packet. */
export interface ProxyHeaderOptions {
  /** 1 for text, 2 (default) for binary. */
  version?: 1 | 2
  /**
   * `'PROXY'` (default): the connection stands for one from `source`. `'LOCAL'`: it is one of this side's own, such as a
   * health check; version 1 has `UNKNOWN` for it.
   */
  command?: 'PROXY' | 'LOCAL'
  /** The client. Default this side's end of the connection. */
  source?: ProxyEndpoint
  /** What the client has connected to. Default the peer's end. */
  destination?: ProxyEndpoint
  /**
   * Version 2 only: further information, in this sequence; 65,535 bytes at most with everything. A checksum among them
   * (type 3), which holds for the header that it came in, is left out.
   */
  tlvs?: readonly ProxyTlv[]
  /** Version 2 only: adds a checksum (CRC32C). Default false. */
  checksum?: boolean
}

/**
 * The option `proxyProtocol` of a server.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readProxyProtocol(outer: OptionReader, option: string): NativeProxyRules | undefined {
  const value = outer.raw(option)
  if (value === undefined) return undefined
  const reader = new OptionReader(value, option, "an object such as { from: ['10.0.0.0/8'] }")
  const { from, versions, timeout, maxHeader } = {
    from: readAddresses(reader, 'from'),
    versions: readVersions(reader, 'versions'),
    timeout: reader.duration('timeout', { min: 1, max: MAX_DURATION }, 5000),
    maxHeader: reader.size('maxHeader', { min: 536, max: 65_551 }, 4096)
  } satisfies EachOption<ProxyProtocolOptions>
  reader.rejectUnknown()
  if (from.length === 0) {
    throw invalidOption(reader.name('from'), reader.raw('from'), 'the addresses of the balancers, at least one')
  }
  return { from, version1: versions.includes(1), version2: versions.includes(2), timeout, maxHeader }
}

function readVersions(reader: OptionReader, name: string): readonly unknown[] {
  const value = reader.raw(name)
  if (value === undefined) return [1, 2]
  if (Array.isArray(value) && value.length > 0 && value.every((one) => one === 1 || one === 2)) return value
  throw invalidOption(reader.name(name), value, '[1], [2] or [1, 2]')
}

/** Bytes behind the addresses of IPv6, the largest: what the size of a header of version 2 can say. */
const MAX_TLVS = 65_535 - 36 - 7
const TLV_HEADER = 3

/**
 * The option `proxyProtocol` of `connect`.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readProxyHeader(outer: OptionReader, option: string): NativeProxySend | undefined {
  const value = outer.raw(option)
  if (value === undefined) return undefined
  const reader = new OptionReader(value, option, 'an object such as { version: 2 }')
  const { version, command, source, destination, tlvs, checksum } = {
    version: reader.oneOf('version', [1, 2], 2),
    command: reader.oneOf('command', ['PROXY', 'LOCAL'], 'PROXY'),
    source: readEndpoint(reader, 'source'),
    destination: readEndpoint(reader, 'destination'),
    tlvs: readTlvs(reader, 'tlvs'),
    checksum: reader.boolean('checksum', false)
  } satisfies EachOption<ProxyHeaderOptions>
  reader.rejectUnknown()
  const isLocal = command === 'LOCAL'
  for (const name of ['source', 'destination'] as const) {
    if (isLocal && reader.raw(name) !== undefined) {
      throw invalidOption(reader.name(name), reader.raw(name), "omitted with the command 'LOCAL'")
    }
  }
  if (version === 1 && tlvs.length > 0)
    throw invalidOption(reader.name('tlvs'), reader.raw('tlvs'), 'omitted with version 1')
  if (version === 1 && checksum) throw invalidOption(reader.name('checksum'), true, 'omitted with version 1')
  return { version, local: isLocal, source, destination, tlvs, checksum }
}

function readEndpoint(outer: OptionReader, name: string): NativeProxySend['source'] {
  const value = outer.raw(name)
  if (value === undefined) return undefined
  // What a connection says of an end has its family too, which the address says as well.
  const reader = new OptionReader(value, outer.name(name), 'an object { address, port }').allow('family')
  const given = {
    address: reader.text('address'),
    port: reader.port('port', { min: 0, max: 65_535 })
  } satisfies EachOption<ProxyEndpoint>
  reader.rejectUnknown()
  const { address = '', port } = given
  // A zone says nothing to somebody else.
  if (isIP(address) === 0 || address.includes('%'))
    throw invalidOption(reader.name('address'), given.address, 'an IPv4 or IPv6 address')
  if (port === undefined) throw invalidOption(reader.name('port'), port, 'a whole number from 0 to 65535')
  return { address, port }
}

function readTlvs(outer: OptionReader, name: string): Uint8Array {
  const value = outer.raw(name)
  if (value === undefined) return new Uint8Array(0)
  if (!Array.isArray(value)) throw invalidOption(outer.name(name), value, 'an array of { type, value }')
  const parts = value.map((one: unknown, at) => readTlv(one, `${outer.name(name)}[${at}]`))
  const all = Buffer.concat(parts)
  if (all.length > MAX_TLVS)
    throw invalidOption(outer.name(name), value, `${MAX_TLVS} bytes at most, with three for each`)
  return new Uint8Array(all)
}

function readTlv(value: unknown, option: string): Buffer {
  const reader = new OptionReader(value, option, 'an object { type, value }')
  const type = reader.integer('type', { min: 0, max: 255 }, -1)
  const given = reader.raw('value')
  reader.rejectUnknown()
  if (type === -1) throw invalidOption(reader.name('type'), undefined, 'a whole number from 0 to 255')
  if (typeof given !== 'string' && !(given instanceof Uint8Array))
    throw invalidArgument(reader.name('value'), given, 'text or a Uint8Array')
  const bytes = Buffer.from(given)
  const most = type === proxyTlv.uniqueId ? 128 : MAX_TLVS - TLV_HEADER
  if (bytes.length > most) throw invalidOption(reader.name('value'), given, `${most} bytes at most`)
  if (type === proxyTlv.checksum) return Buffer.alloc(0)
  return Buffer.concat([Buffer.of(type, bytes.length >> 8, bytes.length & 255), bytes])
}
