import { BlockList, isIPv4 } from 'node:net'
import { describe, expect, test } from 'vitest'
import { readRules } from '../../lib/endpoint/access_options.js'
import { addressBytes, blockListPrefixes, prefixBytes, prefixText } from '../../lib/native/ip_prefix.js'

const bytes = (text: string): number[] => [...(prefixBytes(text) ?? [])]
const V4 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]

describe('prefixBytes', () => {
  test.each([
    ['192.0.2.7', [...V4, 192, 0, 2, 7, 128]],
    ['10.0.0.0/8', [...V4, 10, 0, 0, 0, 104]],
    ['0.0.0.0/0', [...V4, 0, 0, 0, 0, 96]],
    ['::ffff:192.0.2.7', [...V4, 192, 0, 2, 7, 128]],
    ['::', [...Array<number>(16).fill(0), 128]],
    ['::/0', [...Array<number>(16).fill(0), 0]],
    ['2001:db8::1/32', [0x20, 1, 0x0d, 0xb8, ...Array<number>(12).fill(0), 32]],
    ['10.1.2.3/8', [...V4, 10, 0, 0, 0, 104]],
    ['fe80::1%eth0', [0xfe, 0x80, ...Array<number>(13).fill(0), 1, 128]],
    ['1:2:3:4:5:6:7:8', [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 128]],
    ['1::8', [0, 1, ...Array<number>(13).fill(0), 8, 128]],
    ['64:ff9b::192.0.2.33', [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 33, 128]]
  ])('%s', (text, expected) => {
    expect(bytes(text)).toEqual(expected)
  })

  test.each([
    '',
    'localhost',
    '1.2.3',
    '1.2.3.4/33',
    '1.2.3.4/-1',
    '1.2.3.4/',
    '1.2.3.4/8/8',
    '::/129',
    ':::',
    '1.2.3.4 ',
    '01.2.3.4',
    '::ffff:10.0.0.0/8'
  ])('%j is none', (text) => {
    expect(prefixBytes(text)).toBeUndefined()
  })

  test.each(['192.0.2.7', '10.0.0.0/8', '0.0.0.0/0', '::', '::/0', '2001:db8::/32', 'fe80::1', '1::8', '::1'])(
    'and back: %s',
    (text) => {
      expect(prefixText(prefixBytes(text) ?? new Uint8Array())).toBe(text)
    }
  )
})

/** Whether one of some prefixes contains an address, by bits as text. */
function contains(prefixes: Uint8Array[], address: string): boolean {
  const text = (list: Uint8Array): string => [...list].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const asked = text(addressBytes(address) ?? new Uint8Array())
  return prefixes.some((prefix) => asked.startsWith(text(prefix.subarray(0, 16)).slice(0, prefix[16])))
}

test('the rules of a net.BlockList say the same as it does, its ranges too', () => {
  const list = new BlockList()
  list.addAddress('192.0.2.7')
  list.addSubnet('10.1.0.0', 16)
  list.addRange('198.51.100.5', '198.51.101.77')
  list.addAddress('2001:db8::9', 'ipv6')
  list.addSubnet('2001:db8:1::', 48, 'ipv6')
  list.addRange('2001:db8:2::3', '2001:db8:2::1:4', 'ipv6')
  const prefixes = blockListPrefixes(list, 'list')
  const asked = [
    ...['192.0.2.6', '192.0.2.7', '192.0.2.8', '10.0.255.255', '10.1.0.0', '10.1.255.255', '10.2.0.0'],
    ...['198.51.100.4', '198.51.100.5', '198.51.100.255', '198.51.101.0', '198.51.101.77', '198.51.101.78'],
    ...['2001:db8::8', '2001:db8::9', '2001:db8:1::', '2001:db8:1:ffff::1', '2001:db8:2::2', '2001:db8:2::3'],
    ...['2001:db8:2::1:4', '2001:db8:2::1:5', '2001:db8:2::ffff']
  ]
  for (const address of asked) {
    expect([address, contains(prefixes, address)]).toEqual([
      address,
      list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
    ])
  }
})

test('a rule of a net.BlockList that has no prefix here is an error, and not left out', () => {
  const list = new BlockList()
  list.addAddress('192.0.2.1')
  list.addSubnet('::ffff:10.0.0.0', 8, 'ipv6')
  for (const name of ['allow', 'deny'] as const) {
    expect(() => readRules({ [name]: list }, 'access')).toThrow(
      expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION', option: `access.${name}` })
    )
  }
})

describe('the option access', () => {
  test.each([
    [{}],
    [{ allow: [], deny: ['::/0', '10.0.0.0/8'] }],
    [{ deny: new BlockList() }],
    [{ maxPerAddress: 0, maxPerSubnet: { count: 0, v4: 0, v6: 128 } }],
    [{ connectRate: { count: 1 } }],
    [{ connectRate: { count: 10, per: '1m', burst: 1 } }],
    [
      {
        ban: { time: '1s', factor: 1.5, max: '2s' },
        banOn: { protocolError: true, connectRate: { count: 3, within: '1m' } }
      }
    ],
    [{ ban: { time: '3653d' } }],
    [{ ban: { max: '3653d' } }],
    [{ tableSize: 1000, onRefuse: 'close' }]
  ])('takes %j', (access) => {
    expect(() => readRules(access, 'access')).not.toThrow()
  })

  test.each([
    [{ allow: '10.0.0.0/8' }, 'access.allow'],
    [{ deny: ['10.0.0.0/8', 'x'] }, 'access.deny[1]'],
    [{ deny: [5] }, 'access.deny[0]'],
    [{ deny: ['::1', 'fe80::1%3'] }, 'access.deny[1]'],
    [{ allow: ['fe80::1%eth0'] }, 'access.allow[0]'],
    [{ maxPerAddress: -1 }, 'access.maxPerAddress'],
    [{ maxPerSubnet: {} }, 'access.maxPerSubnet.count'],
    [{ maxPerSubnet: { count: 1, v4: 33 } }, 'access.maxPerSubnet.v4'],
    [{ maxPerSubnet: { count: 1, v5: 33 } }, 'access.maxPerSubnet.v5'],
    [{ connectRate: {} }, 'access.connectRate.count'],
    [{ connectRate: { count: 0 } }, 'access.connectRate.count'],
    [{ connectRate: { count: 1, burst: 0 } }, 'access.connectRate.burst'],
    [{ ban: { factor: 0.5 } }, 'access.ban.factor'],
    [{ ban: { factor: '2' } }, 'access.ban.factor'],
    [{ ban: { time: '2h', max: '1h' } }, 'access.ban.max'],
    [{ ban: { time: '3654d' } }, 'access.ban.time'],
    [{ ban: { max: '3654d' } }, 'access.ban.max'],
    [{ banOn: { handshake: true } }, 'access.banOn.handshake'],
    [{ banOn: { protocolError: 3 } }, 'access.banOn.protocolError'],
    [{ banOn: { protocolError: { count: 0 } } }, 'access.banOn.protocolError.count'],
    [{ tableSize: 5 }, 'access.tableSize'],
    [{ onRefuse: 'silent' }, 'access.onRefuse'],
    [{ denny: [] }, 'access.denny'],
    [5, 'access']
  ])('refuses %j', (access, option) => {
    expect(() => readRules(access, 'access')).toThrow(
      expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION', option })
    )
  })
})
