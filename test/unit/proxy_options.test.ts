/** Options of the PROXY protocol, and what a header says once it is there. */

import { describe, expect, test } from 'vitest'
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
    [{ source: { address: 'fe80::1%3', port: 1 } }, 'proxyProtocol.source.address'],
    [{ destination: { address: '::1' } }, 'proxyProtocol.destination.port'],
    [{ destination: { address: '::1', port: 65_536 } }, 'proxyProtocol.destination.port'],
    [{ command: 'LOCAL', source: end }, 'proxyProtocol.source'],
    [{ command: 'LOCAL', destination: end }, 'proxyProtocol.destination'],
    [{ version: 1, tlvs: [{ type: 1, value: 'h2' }] }, 'proxyProtocol.tlvs'],
    [{ version: 1, checksum: true }, 'proxyProtocol.checksum'],
    [{ tlvs: {} }, 'proxyProtocol.tlvs'],
    [{ tlvs: [{ value: 'h2' }] }, 'proxyProtocol.tlvs[0].type'],
    [{ tlvs: [{ type: 256, value: '' }] }, 'proxyProtocol.tlvs[0].type'],
    [{ tlvs: [{ type: 5, value: 'x'.repeat(129) }] }, 'proxyProtocol.tlvs[0].value'],
    [{ tlvs: [{ type: 1, value: 'x'.repeat(65_490) }] }, 'proxyProtocol.tlvs[0].value'],
    [{ tlvs: Array<unknown>(2).fill({ type: 1, value: 'x'.repeat(40_000) }) }, 'proxyProtocol.tlvs']
  ])('%j is wrong', (given, option) => {
    expect(() => header(given)).toThrow(expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION', option }))
  })

  test('a value that is none', () => {
    expect(() => header({ tlvs: [{ type: 1, value: 7 }] })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' })
    )
  })
})

test('a header that native code would not write gives no exception', () => {
  for (const bytes of [[], [4], [4, 0, 1, 127, 0, 0, 1], [4, 0, 1, 127, 0, 0, 1, 2, 1, 1, 1], [9, 9, 9]]) {
    const { peer, source, tlvs, ssl } = new ProxyInfo(Uint8Array.from(bytes))
    expect([peer.port <= 1, source, tlvs, ssl]).toEqual([true, undefined, [], undefined])
  }
})
