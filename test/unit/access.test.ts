/** server.access while the server does not listen; with native code: integration/access.test.ts. */

import { BlockList } from 'node:net'
import { describe, expect, test } from 'vitest'
import { readRefused, ServerAccess } from '../../lib/endpoint/access.js'

const access = (rules?: object): ServerAccess => new ServerAccess(rules)
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

  test.each([0, '0', '0s'])('a time of %j is for ever', (time) => {
    expect(access().ban('192.0.2.1', { time })).toBe(Infinity)
  })

  test.each([
    ['localhost', {}],
    ['::ffff:10.0.0.0/8', {}],
    ['192.0.2.1', { time: '0.4ms' }],
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

describe('rules', () => {
  test('those that are not given, or undefined, stay', () => {
    const it = access({ deny: ['10.0.0.0/8'], maxPerAddress: 3 })
    it.update({ maxPerAddress: 5, deny: undefined } as object)
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

  test('without rules those there are stay', () => {
    const it = access({ maxPerAddress: 3 })
    it.load({ bans: [] } as never)
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
