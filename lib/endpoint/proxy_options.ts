/** Options of the PROXY protocol: what a server expects of its balancers, and what a connection of this side begins with. */

import { isIP } from 'node:net'
import { invalidOption } from '../common/errors.js'
import { type Duration, type EachOption, MAX_DURATION, OptionReader, type Size } from '../common/option_reader.js'
import { Connection } from '../connection/connection.js'
import { type ProxyInfo, proxyTlv } from '../connection/proxy_info.js'
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
   * so only what nobody else can connect from belongs here; `['0.0.0.0/0', '::/0']` trusts everybody. Without zones.
   */
  from: AddressList
  /** Versions that are accepted. Default both: `[1, 2]`. */
  versions?: readonly (1 | 2)[] | undefined
  /** Time for the whole header. 1 ms to 24 days; default 5 s. The specification recommends at least 3 s. */
  timeout?: Duration | undefined
  /**
   * Whether others, who are not in `from`, may connect directly, without a header. Default true. If false they are refused
   * (`denied`), whatever `access` says.
   */
  direct?: boolean | undefined
  /** Bytes of a header of version 2. 536 to 65,551; default 4 KiB. (One of version 1 has 107 at most.) */
  maxHeader?: Size | undefined
}

/** One end of a connection, for a header. */
export interface ProxyEndpoint {
  /** IPv4 or IPv6. A zone (`%3`), which says nothing to somebody else, is left out. */
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
  version?: 1 | 2 | undefined
  /**
   * `'PROXY'` (default): the connection stands for one from `source`. `'LOCAL'`: it is one of this side's own, such as a
   * health check; version 1 has `UNKNOWN` for it.
   */
  command?: 'PROXY' | 'LOCAL' | undefined
  /** The client. Default this side's end of the connection. */
  source?: ProxyEndpoint | undefined
  /** What the client has connected to. Default the peer's end. */
  destination?: ProxyEndpoint | undefined
  /**
   * Passes this connection on: the header says what is known of it, in place of `command`, `source` and `destination`,
   * and of `tlvs` unless these are given. That is what its own header said (`connection.proxy`), or, if it has come
   * without one, its remote and its local address. One whose header named no TCP client is passed on as `'LOCAL'`. It may
   * have closed.
   */
  forward?: Connection | undefined
  /**
   * Version 2 only: further information, in this sequence; 65,535 bytes at most with everything. A checksum among them
   * (type 3), which holds for the header that it came in, is left out. Default none, with `forward` those of its header.
   */
  tlvs?: readonly ProxyTlv[] | undefined
  /** Version 2 only: adds a checksum (CRC32C). Default false. */
  checksum?: boolean | undefined
}

/**
 * The option `proxyProtocol` of a server.
 * @throws IocpError ERR_IOCP_INVALID_OPTION
 */
export function readProxyProtocol(outer: OptionReader, option: string): NativeProxyRules | undefined {
  const value = outer.raw(option)
  if (value === undefined) return undefined
  const reader = new OptionReader(value, option, "an object such as { from: ['10.0.0.0/8'] }")
  const { from, versions, timeout, direct, maxHeader } = {
    from: readAddresses(reader, 'from'),
    versions: readVersions(reader, 'versions'),
    timeout: reader.duration('timeout', { min: 1, max: MAX_DURATION }, 5000),
    direct: reader.boolean('direct', true),
    maxHeader: reader.size('maxHeader', { min: 536, max: 65_551 }, 4096)
  } satisfies EachOption<ProxyProtocolOptions>
  reader.rejectUnknown()
  if (from.length === 0) {
    throw invalidOption(reader.name('from'), reader.raw('from'), 'the addresses of the balancers, at least one')
  }
  return { from, version1: versions.includes(1), version2: versions.includes(2), timeout, direct, maxHeader }
}

function readVersions(reader: OptionReader, name: string): readonly unknown[] {
  const value = reader.raw(name)
  if (value === undefined) return [1, 2]
  // every() would pass over the holes of an array.
  const versions: readonly unknown[] = Array.isArray(value) ? Array.from(value) : []
  if (versions.length > 0 && versions.every((one) => one === 1 || one === 2)) return versions
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
  const { version, command, source, destination, forward, tlvs, checksum } = {
    version: reader.oneOf('version', [1, 2], 2),
    command: reader.oneOf('command', ['PROXY', 'LOCAL'], 'PROXY'),
    source: readEndpoint(reader, 'source'),
    destination: readEndpoint(reader, 'destination'),
    forward: readForward(reader, 'forward'),
    tlvs: readTlvs(reader, 'tlvs'),
    checksum: reader.boolean('checksum', false)
  } satisfies EachOption<ProxyHeaderOptions>
  reader.rejectUnknown()
  const mustBeOmitted = (name: keyof ProxyHeaderOptions, why: string): void => {
    const given = reader.raw(name)
    if (given !== undefined) throw invalidOption(reader.name(name), given, `omitted ${why}`)
  }
  if (forward !== undefined)
    for (const name of ['command', 'source', 'destination'] as const) mustBeOmitted(name, "with 'forward'")
  if (command === 'LOCAL')
    for (const name of ['source', 'destination'] as const) mustBeOmitted(name, "with the command 'LOCAL'")
  if (version === 1 && tlvs !== undefined && tlvs.length > 0) mustBeOmitted('tlvs', 'with version 1')
  if (version === 1 && checksum) mustBeOmitted('checksum', 'with version 1')
  const none = new Uint8Array(0)
  if (forward === undefined) {
    return { version, local: command === 'LOCAL', source, destination, tlvs: tlvs ?? none, checksum }
  }
  // Version 1 has no room for those of the connection.
  const own = version === 1 ? none : (tlvs ?? forwardedTlvs(forward.proxy, reader.name('forward')))
  return { version, ...forwardedEnds(forward), tlvs: own, checksum }
}

function readForward(reader: OptionReader, name: string): Connection | undefined {
  const value = reader.raw(name)
  if (value === undefined || value instanceof Connection) return value
  throw invalidOption(reader.name(name), value, 'a connection')
}

/** Who is connected to what, as a connection knows it. */
function forwardedEnds(connection: Connection): Pick<NativeProxySend, 'local' | 'source' | 'destination'> {
  const { proxy, remoteAddress, remotePort = 0, localAddress, localPort = 0 } = connection
  // Also what is no TCP, or has no address: its connection has that of the balancer, and the next server shall not take
  // that for a client.
  const isClient = proxy === undefined || (proxy.command === 'PROXY' && proxy.transport === 'stream')
  const source =
    proxy === undefined ? endOf(remoteAddress, remotePort) : endOf(proxy.source?.address, proxy.source?.port)
  const destination =
    proxy === undefined ? endOf(localAddress, localPort) : endOf(proxy.destination?.address, proxy.destination?.port)
  if (!isClient || source === undefined || destination === undefined) {
    return { local: true, source: undefined, destination: undefined }
  }
  return { local: false, source, destination }
}

function endOf(address: string | undefined, port = 0): NativeProxySend['source'] {
  return address === undefined ? undefined : { address: withoutZone(address), port }
}

/** A zone is the number of an interface of this machine. */
function withoutZone(address: string): string {
  return address.split('%')[0] ?? ''
}

/** As they came; the checksum is one of the header that they came in. */
function forwardedTlvs(proxy: ProxyInfo | undefined, option: string): Uint8Array {
  const kept = (proxy?.tlvs ?? []).filter(({ type }) => type !== proxyTlv.checksum)
  return joined(
    kept.map(({ type, value }) => encodeTlv(type, value)),
    option,
    proxy
  )
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
  if (isIP(address) === 0) throw invalidOption(reader.name('address'), given.address, 'an IPv4 or IPv6 address')
  if (port === undefined) throw invalidOption(reader.name('port'), port, 'a whole number from 0 to 65535')
  return { address: withoutZone(address), port }
}

function readTlvs(outer: OptionReader, name: string): Uint8Array | undefined {
  const value = outer.raw(name)
  if (value === undefined) return undefined
  const option = outer.name(name)
  if (!Array.isArray(value)) throw invalidOption(option, value, 'an array of { type, value }')
  // Also where the array has holes, which map() would leave as they are.
  return joined(
    Array.from(value, (one: unknown, at) => readTlv(one, `${option}[${at}]`)),
    option,
    value
  )
}

function joined(tlvs: readonly Uint8Array[], option: string, given: unknown): Uint8Array {
  const all = Buffer.concat(tlvs)
  if (all.length > MAX_TLVS)
    throw invalidOption(option, given, `${MAX_TLVS} bytes of TLVs at most, with three for each`)
  return new Uint8Array(all)
}

function readTlv(value: unknown, option: string): Uint8Array {
  const allowed = 'an object { type, value }'
  if (value === undefined) throw invalidOption(option, value, allowed)
  const reader = new OptionReader(value, option, allowed)
  const type = reader.integer('type', { min: 0, max: 255 }, -1)
  const given = reader.raw('value')
  reader.rejectUnknown()
  if (type === -1) throw invalidOption(reader.name('type'), undefined, 'a whole number from 0 to 255')
  if (typeof given !== 'string' && !(given instanceof Uint8Array))
    throw invalidOption(reader.name('value'), given, 'text or a Uint8Array')
  const bytes = Buffer.from(given)
  const most = type === proxyTlv.uniqueId ? 128 : MAX_TLVS - TLV_HEADER
  if (bytes.length > most) throw invalidOption(reader.name('value'), given, `${most} bytes at most`)
  return type === proxyTlv.checksum ? bytes.subarray(0, 0) : encodeTlv(type, bytes)
}

function encodeTlv(type: number, value: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.of(type, value.length >> 8, value.length & 255), value])
}
