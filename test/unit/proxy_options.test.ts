/** Options of the PROXY protocol, and what a header says once it is there. */

import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { Connection } from '../../lib/connection/connection.js'
import { ProxyInfo } from '../../lib/connection/proxy_info.js'
import { readServerOptions, readTarget } from '../../lib/endpoint/read_options.js'
import { tlv } from '../helpers/proxy_headers.js'

const server = (proxyProtocol: unknown) => readServerOptions({ proxyProtocol }).proxyProtocol
const header = (proxyProtocol: unknown) => readTarget({ port: 1, proxyProtocol }).proxyProtocol

describe('of a server', () => {
  test('have defaults, but none of whom to trust', () => {
    expect(readServerOptions({}).proxyProtocol).toBeUndefined()
    expect(server({ from: ['10.0.0.0/8'] })).toMatchObject({
      version1: true,
      version2: true,
      timeout: 5000,
      maxHeader: 4096
    })
    expect(server({ from: ['::/0'], versions: [2], timeout: '3s', maxHeader: '1KiB' })).toMatchObject({
      version1: false,
      version2: true,
      timeout: 3000,
      maxHeader: 1024
    })
  })

  test.each([
    [true, 'proxyProtocol'],
    [{}, 'proxyProtocol.from'],
    [{ from: [] }, 'proxyProtocol.from'],
    [{ from: '10.0.0.0/8' }, 'proxyProtocol.from'],
    [{ from: ['nonsense'] }, 'proxyProtocol.from[0]'],
    [{ from: ['::1'], versions: [] }, 'proxyProtocol.versions'],
    [{ from: ['::1'], versions: [3] }, 'proxyProtocol.versions'],
    [{ from: ['::1'], versions: new Array(1) }, 'proxyProtocol.versions'],
    [{ from: ['fe80::1%3'] }, 'proxyProtocol.from[0]'],
    [{ from: ['::1'], timeout: 0 }, 'proxyProtocol.timeout'],
    [{ from: ['::1'], maxHeader: 535 }, 'proxyProtocol.maxHeader'],
    [{ from: ['::1'], maxHeader: 65_552 }, 'proxyProtocol.maxHeader'],
    [{ from: ['::1'], optional: true }, 'proxyProtocol.optional']
  ])('%j is wrong', (given, option) => {
    expect(() => server(given)).toThrow(expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION', option }))
  })
})

describe('of connect', () => {
  test('have defaults', () => {
    expect(header(undefined)).toBeUndefined()
    expect(header({})).toEqual({
      version: 2,
      local: false,
      source: undefined,
      destination: undefined,
      tlvs: new Uint8Array(0),
      checksum: false
    })
  })

  test('take an end as a connection has it, and TLVs as a header has them', () => {
    const source = { address: '::1', family: 'IPv6', port: 0 }
    const tlvs = [
      { type: 1, value: 'h2' },
      { type: 3, value: Buffer.alloc(4) },
      { type: 0xea, value: Buffer.of(1) }
    ]
    expect(header({ source, tlvs })).toMatchObject({
      source: { address: '::1', port: 0 },
      tlvs: new Uint8Array(Buffer.concat([tlv(1, 'h2'), tlv(0xea, Buffer.of(1))]))
    })
  })

  const end = { address: '::1', port: 1 }
  test.each([
    [1, 'proxyProtocol'],
    [{ version: 3 }, 'proxyProtocol.version'],
    [{ command: 'local' }, 'proxyProtocol.command'],
    [{ source: '::1' }, 'proxyProtocol.source'],
    [{ source: { port: 1 } }, 'proxyProtocol.source.address'],
    [{ source: { address: 'localhost', port: 1 } }, 'proxyProtocol.source.address'],
    [{ destination: { address: '::1' } }, 'proxyProtocol.destination.port'],
    [{ destination: { address: '::1', port: 65_536 } }, 'proxyProtocol.destination.port'],
    [{ command: 'LOCAL', source: end }, 'proxyProtocol.source'],
    [{ command: 'LOCAL', destination: end }, 'proxyProtocol.destination'],
    [{ version: 1, tlvs: [{ type: 1, value: 'h2' }] }, 'proxyProtocol.tlvs'],
    [{ version: 1, checksum: true }, 'proxyProtocol.checksum'],
    [{ tlvs: {} }, 'proxyProtocol.tlvs'],
    [{ tlvs: new Array(1) }, 'proxyProtocol.tlvs[0]'],
    [{ tlvs: [{ value: 'h2' }] }, 'proxyProtocol.tlvs[0].type'],
    [{ tlvs: [{ type: 1 }] }, 'proxyProtocol.tlvs[0].value'],
    [{ tlvs: [{ type: 1, value: 7 }] }, 'proxyProtocol.tlvs[0].value'],
    [{ forward: { remoteAddress: '::1', remotePort: 1 } }, 'proxyProtocol.forward'],
    [{ forward: null }, 'proxyProtocol.forward'],
    [{ tlvs: [{ type: 256, value: '' }] }, 'proxyProtocol.tlvs[0].type'],
    [{ tlvs: [{ type: 5, value: 'x'.repeat(129) }] }, 'proxyProtocol.tlvs[0].value'],
    [{ tlvs: [{ type: 1, value: 'x'.repeat(65_490) }] }, 'proxyProtocol.tlvs[0].value'],
    [{ tlvs: Array<unknown>(2).fill({ type: 1, value: 'x'.repeat(40_000) }) }, 'proxyProtocol.tlvs']
  ])('%j is wrong', (given, option) => {
    expect(() => header(given)).toThrow(expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION', option }))
  })

  test('leave the zone of an address out', () => {
    const { source, destination } = header({
      source: { address: 'fe80::1%3', family: 'IPv6', port: 1 },
      destination: { address: 'fe80::2%eth0', port: 2 }
    }) as { source: unknown; destination: unknown }
    expect({ source, destination }).toEqual({
      source: { address: 'fe80::1', port: 1 },
      destination: { address: 'fe80::2', port: 2 }
    })
  })
})

describe('a connection that is passed on', () => {
  const v4 = (last: number, port: number): number[] => [4, port >> 8, port & 255, 192, 0, 2, last]
  const linkLocal = (last: number, port: number, zone: number): number[] => [
    ...[6, port >> 8, port & 255, 0xfe, 0x80, ...Array<number>(13).fill(0), last],
    ...[0, 0, 0, zone]
  ]
  /** One that has closed, so that it knows all by itself. */
  const known = (addresses: readonly number[], proxyHeader?: readonly number[]): Connection =>
    Object.assign(Object.create(Connection.prototype) as Connection, {
      _extra: {
        addresses: Uint8Array.from(addresses),
        ...(proxyHeader && { proxyHeader: Uint8Array.from(proxyHeader) })
      }
    })
  const direct = known([...v4(7, 40_000), ...v4(1, 443)])
  const authority = tlv(2, 'example.com')
  const checksum = tlv(3, Buffer.alloc(4))
  /** By way of a balancer: version, command, family, transport, and what is behind. */
  const by = (kind: readonly number[], ...rest: readonly number[]): Connection =>
    known([...v4(9, 5), ...v4(1, 443)], [...v4(9, 5), ...kind, ...rest])
  const ends = [...v4(7, 40_000), ...v4(8, 80)]
  const nothing = new Uint8Array(0)

  test('without a header has its own addresses', () => {
    expect(header({ forward: direct })).toEqual({
      version: 2,
      local: false,
      source: { address: '192.0.2.7', port: 40_000 },
      destination: { address: '192.0.2.1', port: 443 },
      tlvs: nothing,
      checksum: false
    })
  })

  test('has no zone in them', () => {
    expect(header({ forward: known([...linkLocal(7, 1, 3), ...linkLocal(8, 2, 3)]) })).toMatchObject({
      source: { address: 'fe80::7', port: 1 },
      destination: { address: 'fe80::8', port: 2 }
    })
  })

  test('with a header has what that says, but the checksum', () => {
    const forward = by([2, 1, 1, 1], ...ends, ...authority, ...checksum)
    expect(header({ forward, checksum: true })).toEqual({
      version: 2,
      local: false,
      source: { address: '192.0.2.7', port: 40_000 },
      destination: { address: '192.0.2.8', port: 80 },
      tlvs: new Uint8Array(authority),
      checksum: true
    })
    expect(header({ forward, version: 1 })).toMatchObject({ version: 1, local: false, tlvs: nothing })
    expect(header({ forward, tlvs: [] })).toMatchObject({ tlvs: nothing })
    const own = [...(forward.proxy?.tlvs ?? []), { type: 0xe0, value: 'mine' }]
    expect(header({ forward, tlvs: own })).toMatchObject({
      tlvs: new Uint8Array(Buffer.concat([authority, tlv(0xe0, 'mine')]))
    })
  })

  test.each([
    ['LOCAL', by([2, 0, 0, 0], ...authority)],
    ['LOCAL with a family', by([2, 0, 1, 1], ...authority)],
    ['no family', by([2, 1, 0, 0], ...authority)],
    ['a socket of Unix', by([2, 1, 3, 1], ...authority)],
    ['UDP', by([2, 1, 1, 2], ...ends, ...authority)],
    ['TCP or UDP', by([2, 1, 1, 0], ...ends, ...authority)]
  ])('is no client: %s', (_, forward) => {
    expect(header({ forward })).toEqual({
      version: 2,
      local: true,
      source: undefined,
      destination: undefined,
      tlvs: new Uint8Array(authority),
      checksum: false
    })
  })

  test.each([
    [{ command: 'PROXY' }, 'command'],
    [{ command: 'LOCAL' }, 'command'],
    [{ source: { address: '::1', port: 1 } }, 'source'],
    [{ destination: { address: '::1', port: 1 } }, 'destination'],
    [{ version: 1, tlvs: [{ type: 1, value: 'h2' }] }, 'tlvs'],
    [{ version: 1, checksum: true }, 'checksum']
  ])('not together with %j', (given, option) => {
    expect(() => header({ forward: direct, ...given })).toThrow(
      expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION', option: `proxyProtocol.${option}` })
    )
  })
})

test('a header that native code would not write gives no exception', () => {
  for (const bytes of [[], [4], [4, 0, 1, 127, 0, 0, 1], [4, 0, 1, 127, 0, 0, 1, 2, 1, 1, 1], [9, 9, 9]]) {
    const { peer, source, tlvs, ssl } = new ProxyInfo(Uint8Array.from(bytes))
    expect([peer.port <= 1, source, tlvs, ssl]).toEqual([true, undefined, [], undefined])
  }
})

test('console.log and JSON have what a header says, by name, and nothing that it does not', () => {
  const ssl = tlv(0x20, Buffer.concat([Buffer.of(1, 0, 0, 0, 0), tlv(0x21, 'TLSv1.3')]))
  const list = [tlv(1, 'h2'), tlv(2, 'example.com'), tlv(5, 'check'), ssl, tlv(0xe0, 'blue')]
  const address = (last: number): number[] => [4, 0, last, 192, 0, 2, last]
  const header = [...address(9), 2, 1, 1, 1, ...address(7), ...address(8), ...list.flatMap((one) => [...one])]
  const info = new ProxyInfo(Uint8Array.from(header))
  const parsed = JSON.parse(JSON.stringify(info)) as Record<string, unknown>
  expect(parsed).toMatchObject({
    version: 2,
    command: 'PROXY',
    source: { address: '192.0.2.7', port: 7 },
    authority: 'example.com',
    alpn: 'h2',
    ssl: { secure: true, version: 'TLSv1.3' }
  })
  expect(Buffer.from(parsed['uniqueId'] as never).toString()).toBe('check')
  expect((parsed['tlvs'] as unknown[]).length).toBe(5)
  expect(Object.keys(parsed)).not.toContain('netns')
  expect(inspect(info)).toMatch(/authority: 'example\.com'.*alpn: 'h2'.*uniqueId: .*secure: true/s)
  expect(inspect(info)).not.toMatch(/netns|azure/)
  expect(Object.keys(new ProxyInfo(Uint8Array.from([...address(9), 1, 0, 0, 0])).toJSON())).toEqual([
    ...['version', 'command', 'family', 'transport', 'peer', 'tlvs']
  ])
})
