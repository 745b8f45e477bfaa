import { describe, expect, test } from 'vitest'
import { readArguments } from '../../examples/demo/arguments.js'
import { createPayloads } from '../../examples/demo/payloads.js'
import { Peer } from '../../examples/demo/peer.js'
import { formatBytes } from '../../examples/demo/progress.js'

describe('arguments', () => {
  test('have defaults', () => {
    expect(readArguments([])).toMatchObject({
      command: 'load',
      connections: 500,
      seconds: 5,
      size: 65_536,
      client: 'iocp'
    })
    expect(readArguments(['serve'])).toMatchObject({ command: 'serve', port: 9999, host: undefined })
  })

  test('are taken', () => {
    expect(readArguments(['--connections', '5000', '--seconds', '0.5', '--size=64', '--client', 'net'])).toMatchObject({
      connections: 5000,
      seconds: 0.5,
      size: 64,
      client: 'net'
    })
    expect(readArguments(['serve', '--port', '0', '--host', '::1'])).toMatchObject({ port: 0, host: '::1' })
  })

  test.each([
    [['--connections', '0']],
    [['--connections', '1.5']],
    [['--seconds', '']],
    [['--size', '-1']],
    [['--size', '2000000']],
    [['--client', 'curl']],
    [['--speed', '5']],
    [['serve', 'more']],
    [['dance']]
  ])('%j is refused', (args) => {
    expect(() => readArguments(args)).toThrow()
  })
})

test('payloads have every size up to the largest, and hardly ever the same content', () => {
  const payloads = createPayloads(3)
  const sizes = new Set<number>()
  while (sizes.size < 4) sizes.add(payloads.next().length)
  expect([...sizes].toSorted()).toEqual([0, 1, 2, 3])
  const large = createPayloads(100_000)
  expect(large.next().equals(large.next())).toBe(false)
})

describe('a client', () => {
  function setUp() {
    const totals = { packets: 0, bytes: 0, errors: [] as string[] }
    const sent: Buffer[] = []
    let [ends, done, made] = [0, 0, 0]
    const payloads = { next: () => Buffer.from(`packet ${made++}`) }
    const peer = new Peer(payloads, totals, () => done++)
    peer.start({ send: (packet) => sent.push(packet), end: () => ends++ })
    return { totals, sent, peer, ends: () => ends, done: () => done }
  }

  test('sends a few ahead, one more for each that comes back, and ends when all are back', () => {
    const { totals, sent, peer, ends, done } = setUp()
    expect(sent.map(String)).toEqual(['packet 0', 'packet 1', 'packet 2', 'packet 3'])
    peer.received(Buffer.from('packet 0'))
    expect(sent).toHaveLength(5)
    peer.stop()
    for (let index = 1; index < 5; index++) {
      expect(ends()).toBe(0)
      peer.received(Buffer.from(`packet ${index}`))
    }
    expect(ends()).toBe(1)
    peer.closed('closed')
    expect(done()).toBe(1)
    expect(totals).toEqual({ packets: 5, bytes: 40, errors: [] })
  })

  test.each([
    ['changed bytes', Buffer.from('packet X')],
    ['a missing byte', Buffer.from('packet ')],
    ['another packet of its own', Buffer.from('packet 1')]
  ])('notices %s', (_, packet) => {
    const { totals, peer } = setUp()
    peer.received(packet)
    expect(totals.errors).toHaveLength(1)
  })

  test('notices a packet that was never sent', () => {
    const { totals, peer } = setUp()
    peer.stop()
    for (let index = 0; index < 4; index++) peer.received(Buffer.from(`packet ${index}`))
    peer.received(Buffer.from('packet 4'))
    expect(totals.errors).toHaveLength(1)
  })

  test('notices a connection that ends before everything is back', () => {
    const { totals, peer, done } = setUp()
    peer.received(Buffer.from('packet 0'))
    peer.closed('gone')
    expect(totals.errors).toEqual(['gone; 4 packets have not come back'])
    expect(done()).toBe(1)
  })
})

test('bytes are shown in units that can be read', () => {
  expect([0, 9999, 10_240, 5 * 2 ** 20, 50 * 2 ** 30].map(formatBytes)).toEqual([
    '0 bytes',
    '9,999 bytes',
    '10 KiB',
    '5,120 KiB',
    '50 GiB'
  ])
})
