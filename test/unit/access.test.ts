/** server.access while the server does not listen; with native code: integration/access.test.ts. */

import { BlockList } from 'node:net'
import { describe, expect, test } from 'vitest'
import { readRefused, ServerAccess } from '../../lib/endpoint/access.js'
import { readRules } from '../../lib/endpoint/access_options.js'

const access = (rules?: object): ServerAccess => new ServerAccess(rules && readRules(rules, 'access'))
const invalid = expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION' }) as Error
const inAnHour = (): number => Date.now() + 3_600_000

describe('bans', () => {
  test('the longer one of a prefix stays, whatever its other bits are, and each is there once', () => {
    const it = access()
    expect(it.ban('10.1.2.3/8', { time: 0, reason: 'first' })).toBe(Infinity)
    expect(it.ban('10.0.0.0/8', { time: '1m' })).toBe(Infinity)
    expect(it.bans()).toEqual([{ prefix: '10.0.0.0/8', until: Infinity, reason: 'first', times: 2, automatic: false }])
    expect(it.lift('10.9.9.9/8')).toBe(true)
    expect(it.lift('10.0.0.0/8')).toBe(false)
  })

  test('grow by default from one to the next, as they do while the server listens', () => {
    const it = access({ ban: { time: '1m', factor: 3, max: '10m' } })
    const minutes = [1, 2, 3, 4].map(() => Math.round((it.ban('192.0.2.1') - Date.now()) / 60_000))
    expect(minutes).toEqual([1, 3, 9, 10])
  })

  test('by default hold as the rules say', () => {
    const end = access({ ban: { time: '1h' } }).ban('192.0.2.1')
    expect(Math.abs(end - inAnHour())).toBeLessThan(1000)
  })

  test('hold for years, by the rules too, and come back from JSON', () => {
    const years = 5 * 365 * 86_400_000
    const it = access({ ban: { time: '365d', factor: 5, max: '3653d' } })
    const ends = [it.ban('192.0.2.1', { time: years }), it.ban('192.0.2.2'), it.ban('192.0.2.2'), it.ban('192.0.2.2')]
    expect(ends.map((end) => Math.round((end - Date.now()) / 86_400_000))).toEqual([1825, 365, 1825, 3653])
    const other = access()
    other.load(JSON.parse(JSON.stringify(it)) as ReturnType<ServerAccess['toJSON']>)
    expect(other.bans()).toEqual(it.bans())
    expect(() => it.ban('192.0.2.3', { time: '3654d' })).toThrow(invalid)
  })

  test('are cleared, with what makes the next one longer', () => {
    const it = access({ ban: { time: '1m', factor: 3, max: '1h' } })
    for (let count = 0; count < 3; count++) it.ban('192.0.2.1')
    it.load({ bans: [{ prefix: '192.0.2.2', until: Date.now() - 1, reason: 'x', times: 3 }] })
    it.clear()
    expect(it.toJSON().bans).toEqual([])
    const minutes = [1, 2].map((last) => Math.round((it.ban(`192.0.2.${last}`) - Date.now()) / 60_000))
    expect(minutes).toEqual([1, 1])
  })

  test('are no more than the table takes, and a little; those that are over go first, then automatic ones', () => {
    const it = access({ tableSize: 1000 })
    it.ban('192.0.2.1', { time: 0, reason: 'first' })
    const bans = (count: number, until: number, automatic: boolean, second: number) =>
      Array.from({ length: count }, (_, at) => ({
        ...{ prefix: `10.${second}.${at >> 8}.${at & 255}`, until, times: 1, automatic },
        reason: automatic ? 'protocolError' : 'x'
      }))
    it.load({ bans: [...bans(900, inAnHour(), true, 1), ...bans(900, Date.now() - 1, false, 2)] })
    for (const { prefix, reason } of bans(900, 0, false, 3)) it.ban(prefix, { reason })
    const left = it.toJSON().bans
    expect(left.length).toBeLessThan(2000)
    const of = (start: string): number => left.filter(({ prefix }) => prefix.startsWith(start)).length
    expect([of('192.'), of('10.3.')]).toEqual([1, 900])
    expect(of('10.1.')).toBeGreaterThan(0)
  })

  test.each([0, '0', '0s', '0.0s', ' 00 d '])('a time of %j is for ever', (time) => {
    expect(access().ban('192.0.2.1', { time })).toBe(Infinity)
  })

  test.each([
    ['localhost', {}],
    ['::ffff:10.0.0.0/8', {}],
    ['192.0.2.1', { time: '0.4ms' }],
    ['192.0.2.1', { time: '0 bananas' }],
    ['192.0.2.1', { time: 3653 * 86_400_000 + 1 }],
    ['192.0.2.1', { time: -1 }],
    ['192.0.2.1', { reason: 5 }],
    ['192.0.2.1', { reason: 'x'.repeat(201) }],
    ['192.0.2.1', { until: 5 }],
    [5, {}]
  ])('%j %j is refused, and nothing has changed', (peer, options) => {
    const it = access()
    expect(() => it.ban(peer as string, options as never)).toThrow(invalid)
    expect(it.bans()).toEqual([])
  })
})

describe('test while the server does not listen', () => {
  test('judges by the rules and the bans', () => {
    const it = access({ deny: ['10.0.0.0/7', '2001:db8::/33', '::/0'], allow: ['10.1.0.0/17', '2001:db8:4000::/35'] })
    it.ban('192.0.2.0/27')
    it.ban('203.0.113.0/24', { time: 0 })
    it.ban('fe80::1%3')
    const expected = {
      '10.0.0.0': 'denied',
      '11.255.255.255': 'denied',
      '12.0.0.0': undefined,
      '9.255.255.255': undefined,
      '10.1.0.0': undefined,
      '10.1.127.255': undefined,
      '10.1.128.0': 'denied',
      '::ffff:10.1.128.0': 'denied',
      '192.0.2.31': 'banned',
      '192.0.2.32': undefined,
      '203.0.113.77': 'banned',
      '2001:db8::1': 'denied',
      '2001:db8:5fff::1': undefined,
      '2001:db8:6000::1': 'denied',
      'fe80::1%7': 'denied'
    }
    for (const [address, reason] of Object.entries(expected))
      expect([address, it.test(address)]).toEqual([address, reason])
    it.update({ deny: [] })
    expect(['fe80::1%7', 'fe80::2', '10.0.0.0'].map((one) => it.test(one))).toEqual(['banned', undefined, undefined])
    it.lift('fe80::1')
    expect(it.test('fe80::1')).toBeUndefined()
  })

  test('knows bans that are over, and that nobody is connected', () => {
    const it = access({ maxPerAddress: 1, maxPerSubnet: { count: 1 }, connectRate: { count: 1 } })
    it.load({ bans: [{ prefix: '192.0.2.1', until: Date.now() - 1, reason: 'x', times: 1 }] })
    expect(it.test('192.0.2.1')).toBeUndefined()
    it.ban('::/0')
    expect([it.test('192.0.2.1'), it.test('::1')]).toEqual([undefined, 'banned'])
  })

  test.each([5, 'localhost', '10.0.0.0/8', undefined])('refuses %j', (address) => {
    expect(() => access().test(address as string)).toThrow(invalid)
  })
})

describe('rules', () => {
  test('those that are not given, or undefined, stay', () => {
    const it = access({ deny: ['10.0.0.0/8'], maxPerAddress: 3 })
    it.update({ maxPerAddress: 5, deny: undefined })
    expect(it.toJSON().rules).toEqual({ deny: ['10.0.0.0/8'], maxPerAddress: 5 })
  })

  test.each([undefined, null, 5, true, [], new Map(), '', () => 0, { denny: [] }, { deny: ['x'] }])(
    'update refuses %j, and nothing has changed',
    (rules) => {
      const it = access({ deny: ['10.0.0.0/8'] })
      expect(() => {
        it.update(rules as object)
      }).toThrow(invalid)
      expect(it.toJSON().rules).toEqual({ deny: ['10.0.0.0/8'] })
    }
  )

  test('no later change of what was given reaches them', () => {
    const deny = ['10.0.0.0/8']
    const list = new BlockList()
    list.addAddress('192.0.2.1')
    const rate = { count: 5 }
    const it = access({ deny, allow: list, connectRate: rate })
    deny.push('nonsense')
    list.addAddress('192.0.2.2')
    rate.count = 7
    it.update({ maxPerAddress: 1 })
    const rules = { deny: ['10.0.0.0/8'], allow: ['192.0.2.1'], connectRate: { count: 5 }, maxPerAddress: 1 }
    expect(it.toJSON().rules).toEqual(rules)
  })

  test('inherited ones and getters count', () => {
    class Settings {
      get deny(): string[] {
        return ['10.0.0.0/8']
      }
    }
    const it = access(new Settings())
    it.update({ maxPerAddress: 1 })
    expect(it.toJSON().rules).toEqual({ deny: ['10.0.0.0/8'], maxPerAddress: 1 })
  })
})

describe('load', () => {
  const ban = { prefix: '192.0.2.1', until: 8.64e15, reason: 'x', times: 1 }

  test('takes what toJSON gave, twice as well', () => {
    const it = access({ deny: ['10.0.0.0/8'], banOn: { protocolError: { count: 2 } } })
    it.ban('192.0.2.1', { time: 0, reason: 'for ever' })
    it.ban('192.0.2.0/24', { time: '1h' })
    const state = JSON.parse(JSON.stringify(it)) as ReturnType<ServerAccess['toJSON']>
    const other = access()
    other.load(state)
    other.load(state)
    expect(other.toJSON().rules).toEqual(it.toJSON().rules)
    expect(other.bans().map(({ prefix }) => prefix)).toEqual(['192.0.2.1', '192.0.2.0/24'])
    expect(other.bans()[0]).toMatchObject({ until: Infinity, reason: 'for ever' })
  })

  test('keeps how often a peer was banned, how, and that it was when the ban is over', () => {
    const it = access({ ban: { time: '1m', factor: 2, max: '1h' } })
    const soon = Date.now() + 1000
    it.load({
      rules: { ban: { time: '1m', factor: 2, max: '1h' } },
      bans: [
        { prefix: '192.0.2.1', until: soon, reason: 'protocolError', times: 3, automatic: true },
        { prefix: '192.0.2.2', until: Date.now() - 1000, reason: 'x', times: 2, automatic: false },
        { prefix: '192.0.2.3', until: Date.now() - 3_700_000, reason: 'x', times: 2, automatic: false }
      ]
    })
    expect(it.bans()).toEqual([
      { prefix: '192.0.2.1', until: soon, reason: 'protocolError', times: 3, automatic: true }
    ])
    const again = access()
    again.load(JSON.parse(JSON.stringify(it)) as ReturnType<ServerAccess['toJSON']>)
    const minutes = [1, 2, 3].map((last) => Math.round((again.ban(`192.0.2.${last}`) - Date.now()) / 60_000))
    expect(minutes).toEqual([8, 4, 1])
  })

  test('takes states that earlier versions have written', () => {
    const it = access()
    const until = inAnHour()
    it.load({
      rules: {},
      bans: [
        { prefix: '192.0.2.1', until, reason: 'protocolError', times: 2 },
        { prefix: '192.0.2.2', until, reason: 'manual', times: 1 }
      ]
    })
    expect(it.bans().map(({ automatic, times }) => ({ automatic, times }))).toEqual([
      { automatic: true, times: 2 },
      { automatic: false, times: 1 }
    ])
  })

  test('bans that end now, or have ended, are none; those far away are', () => {
    const it = access()
    it.load({
      rules: {},
      bans: [
        { ...ban, until: Date.now() },
        { ...ban, prefix: '192.0.2.2', until: 1 }
      ]
    })
    expect(it.bans()).toEqual([])
    it.load({ rules: {}, bans: [ban] })
    expect(it.bans()).toHaveLength(1)
  })

  test('of bans alone, or of rules alone, leaves the rest as it is', () => {
    const it = access({ maxPerAddress: 3 })
    it.ban('192.0.2.2', { time: 0 })
    it.load({ bans: [ban, { ...ban, prefix: '192.0.2.3', until: null }] })
    expect(it.toJSON().rules).toEqual({ maxPerAddress: 3 })
    it.load({ rules: { deny: ['10.0.0.0/8'] }, bans: undefined })
    expect(it.toJSON().rules).toEqual({ deny: ['10.0.0.0/8'] })
    expect(it.bans().map(({ prefix }) => prefix)).toEqual(['192.0.2.2', '192.0.2.1', '192.0.2.3'])
    it.load({})
    expect(it.bans()).toHaveLength(3)
  })

  test('without rules those there are stay', () => {
    const it = access({ maxPerAddress: 3 })
    it.load({ bans: [] })
    expect(it.toJSON().rules).toEqual({ maxPerAddress: 3 })
  })

  test.each([
    undefined,
    null,
    5,
    { bans: 5 },
    { rules: 5 },
    { rules: {}, more: 1 },
    { rules: { deny: ['x'] }, bans: [ban] },
    { rules: {}, bans: [ban, undefined] },
    // eslint-disable-next-line no-sparse-arrays
    { rules: {}, bans: [ban, , ban] },
    { rules: {}, bans: [{ ...ban, until: NaN }] },
    { rules: {}, bans: [{ ...ban, prefix: 'x' }] },
    { rules: {}, bans: [{ ...ban, more: 1 }] },
    { rules: {}, bans: [{ ...ban, automatic: 'yes' }] }
  ])('refuses %j, and nothing has changed', (state) => {
    const it = access({ maxPerAddress: 3 })
    expect(() => {
      it.load(state as never)
    }).toThrow(invalid)
    expect(it.toJSON()).toEqual({ rules: { maxPerAddress: 3 }, bans: [] })
  })
})

test('what a record says of refused peers', () => {
  const bytes = new Uint8Array(36)
  new DataView(bytes.buffer).setUint32(4, 70_000, true)
  bytes[20] = 2
  bytes[28] = 1
  bytes[32] = 3
  expect(readRefused(bytes)).toEqual({
    info: { total: 70_003, reasons: { banned: 70_000, connectRate: 2, proxyTimeout: 1 } },
    evictions: 3
  })
})
