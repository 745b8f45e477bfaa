/** What a header of the PROXY protocol has said of a connection. Parsed when somebody asks. */

import { inspect } from 'node:util'
import { addressAt, type AddressBlock, type SocketAddress } from '../native/addresses.js'

/** Types of TLVs: those of the specification (2.2), and of two clouds whose numbers are widely known. */
export const proxyTlv = {
  alpn: 0x01,
  authority: 0x02,
  checksum: 0x03,
  noop: 0x04,
  uniqueId: 0x05,
  ssl: 0x20,
  netns: 0x30,
  aws: 0xea,
  azure: 0xee
} as const

/** Within the one of TLS. */
const sslTlv = { version: 0x21, commonName: 0x22, cipher: 0x23, signature: 0x24, key: 0x25 } as const
const clientBit = { ssl: 1, certificate: 2, certificateInSession: 4 } as const
const VPC_ENDPOINT = 1
const PRIVATE_LINK = 1

/** A type and its bytes. */
export interface ReceivedProxyTlv {
  readonly type: number
  readonly value: Buffer
}

/** The TLS connection between the client and the balancer. */
export interface ProxySslInfo {
  /** Whether the client has connected by TLS. */
  readonly secure: boolean
  /** Whether it has shown a certificate: in this connection, or once in its session. */
  readonly certificate: boolean
  readonly certificateInSession: boolean
  /** Whether that was verified. */
  readonly verified: boolean
  /** Such as `'TLSv1.3'`. */
  readonly version: string | undefined
  /** The common name of the certificate. */
  readonly commonName: string | undefined
  /** Such as `'ECDHE-RSA-AES128-GCM-SHA256'`. */
  readonly cipher: string | undefined
  /** Algorithms of the balancer's own certificate. */
  readonly signatureAlgorithm: string | undefined
  readonly keyAlgorithm: string | undefined
}

const families = ['unspecified', 'IPv4', 'IPv6', 'unix'] as const
const transports = ['unspecified', 'stream', 'datagram'] as const

/** A header that was received. Addresses and texts are as the balancer has sent them; believe them as you believe it. */
export class ProxyInfo {
  /** The balancer's end. */
  readonly peer: SocketAddress
  readonly version: 1 | 2
  /** `'LOCAL'`: a connection of the balancer's own, such as a health check. */
  readonly command: 'PROXY' | 'LOCAL'
  /** What the balancer has passed on. `'unspecified'` is UNKNOWN in version 1. */
  readonly family: (typeof families)[number]
  readonly transport: (typeof transports)[number]
  /** The client, and what it had connected to; undefined unless the family is one of IP. */
  readonly source: SocketAddress | undefined
  readonly destination: SocketAddress | undefined
  /** All TLVs in their sequence. */
  readonly tlvs: readonly ReceivedProxyTlv[]

  /** @internal */
  constructor(bytes: Uint8Array) {
    const peer = addressAt(bytes, 0)
    let at = peer?.size ?? 0
    const [version, command, family = 0, transport = 0] = bytes.subarray(at, (at += 4))
    const next = (): SocketAddress | undefined => {
      const found = addressAt(bytes, at)
      at += found?.size ?? 0
      return found && plain(found)
    }
    this.peer = peer === undefined ? { address: '', family: 'IPv4', port: 0 } : plain(peer)
    this.version = version === 1 ? 1 : 2
    this.command = command === 1 ? 'PROXY' : 'LOCAL'
    this.family = families[family] ?? 'unspecified'
    this.transport = transports[transport] ?? 'unspecified'
    const isKnown = this.command === 'PROXY' && (this.family === 'IPv4' || this.family === 'IPv6')
    this.source = isKnown ? next() : undefined
    this.destination = isKnown ? next() : undefined
    this.tlvs = parseTlvs(bytes.subarray(at)) ?? []
  }

  /** The value of the first TLV of a type. */
  tlv(type: number): Buffer | undefined {
    return this.tlvs.find((one) => one.type === type)?.value
  }

  /** The protocol that was agreed upon by ALPN. */
  get alpn(): string | undefined {
    return this.tlv(proxyTlv.alpn)?.toString('latin1')
  }

  /** The host name that the client has asked for, such as the one of TLS's SNI. */
  get authority(): string | undefined {
    return this.tlv(proxyTlv.authority)?.toString()
  }

  /** What the balancer calls the connection. */
  get uniqueId(): Buffer | undefined {
    return this.tlv(proxyTlv.uniqueId)
  }

  /** The network namespace. */
  get netns(): string | undefined {
    return this.tlv(proxyTlv.netns)?.toString('latin1')
  }

  /** TLS between the client and the balancer; undefined if the balancer says nothing of it. */
  get ssl(): ProxySslInfo | undefined {
    const bytes = this.tlv(proxyTlv.ssl)
    const inner = bytes && bytes.length >= 5 ? parseTlvs(bytes.subarray(5)) : undefined
    if (bytes === undefined || inner === undefined) return undefined
    const client = bytes[0] ?? 0
    const value = (type: number): Buffer | undefined => inner.find((one) => one.type === type)?.value
    const ascii = (type: number): string | undefined => value(type)?.toString('latin1')
    const certificateInSession = (client & clientBit.certificateInSession) !== 0
    const certificate = (client & clientBit.certificate) !== 0
    return {
      secure: (client & clientBit.ssl) !== 0,
      certificate,
      certificateInSession,
      // Zero too where there was none.
      verified: (certificate || certificateInSession) && bytes.readUInt32BE(1) === 0,
      version: ascii(sslTlv.version),
      commonName: value(sslTlv.commonName)?.toString(),
      cipher: ascii(sslTlv.cipher),
      signatureAlgorithm: ascii(sslTlv.signature),
      keyAlgorithm: ascii(sslTlv.key)
    }
  }

  /** The id of the VPC endpoint, by AWS. */
  get awsVpcEndpointId(): string | undefined {
    const bytes = this.tlv(proxyTlv.aws)
    return bytes?.[0] === VPC_ENDPOINT ? bytes.toString('latin1', 1) : undefined
  }

  /** The link identifier of a private endpoint, by Azure. */
  get azureLinkId(): number | undefined {
    const bytes = this.tlv(proxyTlv.azure)
    return bytes?.length === 5 && bytes[0] === PRIVATE_LINK ? bytes.readUInt32LE(1) : undefined
  }

  /** What was sent, by name and as it came; what was not is left out. */
  toJSON(): Partial<ProxyDetails> {
    const { peer, version, command, family, transport, source, destination, alpn, authority, uniqueId, netns } = this
    const { ssl, awsVpcEndpointId, azureLinkId, tlvs } = this
    const connection = { version, command, family, transport, source, destination, peer }
    const details: ProxyDetails = {
      ...connection,
      ...{ authority, alpn, uniqueId, netns, ssl, awsVpcEndpointId, azureLinkId, tlvs }
    }
    return Object.fromEntries(Object.entries(details).filter(([, value]) => value !== undefined))
  }

  /** The output of console.log. */
  [inspect.custom](): unknown {
    return this.toJSON()
  }
}

/** What {@link ProxyInfo} has, without its methods. */
export type ProxyDetails = { readonly [K in Exclude<keyof ProxyInfo, 'tlv' | 'toJSON' | symbol>]: ProxyInfo[K] }

function plain({ address, family, port }: AddressBlock): SocketAddress {
  return { address, family, port }
}

/** Undefined when the bytes are no whole ones. */
function parseTlvs(bytes: Uint8Array): ReceivedProxyTlv[] | undefined {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const tlvs: ReceivedProxyTlv[] = []
  for (let at = 0; at < all.length;) {
    if (all.length - at < 3) return undefined
    const end = at + 3 + all.readUInt16BE(at + 1)
    if (end > all.length) return undefined
    tlvs.push({ type: all[at] ?? 0, value: all.subarray(at + 3, end) })
    at = end
  }
  return tlvs
}
