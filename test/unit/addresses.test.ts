import { isIP } from 'node:net'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { ADDRESSES_BYTES, AddressTable, hostAddresses, localOf, remoteOf } from '../../lib/native/addresses.js'

function v4(a: number, b: number, c: number, d: number, port: number): Buffer {
  return Buffer.from([4, port >> 8, port & 255, a, b, c, d])
}

function v6(groups: readonly number[], port: number, scope = 0): Buffer {
  const bytes = Buffer.alloc(23)
  bytes[0] = 6
  bytes.writeUInt16BE(port, 1)
  for (const [index, group] of groups.entries()) bytes.writeUInt16BE(group, 3 + 2 * index)
  bytes.writeUInt32BE(scope, 19)
  return bytes
}

test('both ends of an IPv4 connection', () => {
  const block = Buffer.concat([v4(192, 168, 0, 255, 65_535), v4(10, 0, 0, 1, 80)])
  expect(remoteOf(block, 0)).toMatchObject({ address: '192.168.0.255', family: 'IPv4', port: 65_535 })
  expect(localOf(block, 0)).toMatchObject({ address: '10.0.0.1', family: 'IPv4', port: 80 })
})

test('both ends of an IPv6 connection, with a scope', () => {
  const block = Buffer.concat([v6([0xfe80, 0, 0, 0, 0, 0, 0, 1], 1, 4_000_000_000), v6([0, 0, 0, 0, 0, 0, 0, 1], 2)])
  expect(remoteOf(block, 0)).toMatchObject({ address: 'fe80::1%4000000000', family: 'IPv6', port: 1 })
  expect(localOf(block, 0)).toMatchObject({ address: '::1', family: 'IPv6', port: 2 })
})

test.each([
  [[0, 0, 0, 0, 0, 0, 0, 0], '::'],
  [[1, 0, 0, 0, 0, 0, 0, 0], '1::'],
  [[0x2001, 0xdb8, 0, 1, 1, 1, 1, 1], '2001:db8:0:1:1:1:1:1'],
  [[0x2001, 0xdb8, 0, 0, 1, 0, 0, 1], '2001:db8::1:0:0:1'],
  [[0, 0, 1, 0, 0, 0, 1, 0], '0:0:1::1:0']
])('%j is written %s', (groups, text) => {
  expect(remoteOf(v6(groups, 1), 0)?.address).toBe(text)
})

test('IPv6 is written as URLs write it', () => {
  const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }))
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
      const plain = groups.map((one) => one.toString(16)).join(':')
      expect(`[${remoteOf(v6(groups, 1), 0)?.address ?? ''}]`).toBe(new URL(`http://[${plain}]/`).hostname)
    })
  )
})

test('an unknown family is no address', () => {
  expect(remoteOf(Buffer.alloc(ADDRESSES_BYTES), 0)).toBeUndefined()
  expect(localOf(Buffer.alloc(ADDRESSES_BYTES), 0)).toBeUndefined()
})

test('a table keeps the addresses of each slot apart', () => {
  const table = new AddressTable()
  for (const slot of [0, 1, 1023, 1024, 5000]) {
    const block = Buffer.concat([v4(1, 2, slot >> 8, slot & 255, slot), v6([slot, 0, 0, 0, 0, 0, 0, 9], 7)])
    const payload = new ArrayBuffer(100)
    Buffer.from(payload).set(block, 13)
    table.set(slot, new Uint8Array(payload, 13, block.length))
  }
  for (const slot of [0, 1, 1023, 1024, 5000]) {
    expect(table.remote(slot)).toMatchObject({ address: `1.2.${slot >> 8}.${slot & 255}`, port: slot })
    expect(table.local(slot)?.address).toBe(slot === 0 ? '::9' : `${slot.toString(16)}::9`)
    const copy = table.copy(slot)
    expect(copy && remoteOf(copy, 0)?.port).toBe(slot)
  }
  expect(table.remote(2000)).toBeUndefined()
  expect(table.copy(900_000)).toBeUndefined()
})

test('the addresses of this machine', () => {
  const list = hostAddresses()
  expect(list.some(({ internal }) => internal)).toBe(true)
  for (const { address, family } of list) expect(isIP(address)).toBe(family === 'IPv4' ? 4 : 6)
})
