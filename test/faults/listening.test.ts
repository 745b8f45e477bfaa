/** What goes wrong with a listening socket, and with its accepts after they have been pending. */

import { createServer } from 'iocp'
import { describe, expect, test } from 'vitest'
import { faultAddon, hasFaults, win } from '../helpers/faults.js'
import { closeAfterTest } from '../helpers/servers.js'
import { pause } from '../helpers/time.js'
import { Rig } from './rig.js'

/** NTSTATUS of a completion. */
const status = { insufficientResources: 0xc000009a, connectionReset: 0xc000020d, networkUnreachable: 0xc000023c }
const networkUnreachable = 10051

describe.skipIf(!hasFaults)('accepts that fail after they have been pending', () => {
  test.each([
    { name: 'WSAENOBUFS', status: status.insufficientResources, error: win.noBuffers },
    { name: 'WSAENETUNREACH', status: status.networkUnreachable, error: networkUnreachable }
  ])('with $name, for ever: it is told, with pauses that grow, and the pool does not', async ({ status, error }) => {
    const rig = new Rig()
    const { faults } = faultAddon()
    faults.set('accept', { status })
    const { port } = rig.listen({ pendingAccepts: 4 })
    await pause(1500)
    // After 0, 100, 300, 700, 1500 ms.
    expect(rig.listenerErrors.length).toBeGreaterThanOrEqual(2)
    expect(rig.listenerErrors.length).toBeLessThanOrEqual(6)
    expect(new Set(rig.listenerErrors)).toEqual(new Set([error]))
    expect(faults.hits('accept')).toBeLessThanOrEqual(4 * 6)
    expect(rig.stats().listeners[0]?.acceptPool).toBe(4)
    faults.clear()
    rig.connect(1, port)
    await rig.until('it accepts again', () => rig.peers.size === 2)
    await rig.finish()
  })

  test('as when a peer leaves early, 500 times: nobody waits, and nothing is told', async () => {
    const rig = new Rig()
    const { faults } = faultAddon()
    faults.set('accept', { status: status.connectionReset, count: 500 })
    const { port } = rig.listen({ pendingAccepts: 4 })
    rig.connect(1, port)
    await rig.until('it accepts', () => rig.peers.size === 2)
    expect(faults.hits('accept')).toBe(500)
    expect(rig.listenerErrors).toEqual([])
    await rig.finish()
  })

  test('as when a peer leaves early, for ever: that is no peer', async () => {
    const rig = new Rig()
    const { faults } = faultAddon()
    faults.set('accept', { status: status.connectionReset })
    const { port } = rig.listen({ pendingAccepts: 4 })
    await rig.until('it is told', () => rig.listenerErrors.length > 0, 20_000)
    const before = faults.hits('accept')
    await pause(1000)
    expect(faults.hits('accept') - before).toBeLessThanOrEqual(4 * 12)
    expect(rig.stats().listeners[0]?.acceptPool).toBe(4)
    faults.clear()
    rig.connect(1, port)
    await rig.until('it accepts again', () => rig.peers.size === 2)
    await rig.finish()
  })
})

describe.skipIf(!hasFaults)('the pool of accepts', () => {
  test(
    'shrinks after a peak, also where accepts cannot be cancelled, and goes on accepting',
    { timeout: 120_000 },
    async () => {
      const rig = new Rig()
      const { faults } = faultAddon()
      const { port } = rig.listen({ pendingAccepts: 2 })
      for (let token = 1; token <= 60; token++) rig.connect(token, port)
      await rig.until('all are there', () => rig.peers.size === 120, 20_000)
      const size = (): number => rig.stats().listeners[0]?.acceptPool ?? NaN
      expect(size()).toBeGreaterThan(2)
      faults.set('cancel', { error: win.invalid })
      await pause(7000)
      faults.clear()
      await rig.until('it is as it was', () => size() === 2, 60_000)
      for (let token = 61; token <= 100; token++) rig.connect(token, port)
      await rig.until('the next are there', () => rig.peers.size === 200, 20_000)
      await rig.finish()
    }
  )
})

describe.skipIf(!hasFaults)('a listener that closes', () => {
  test('has no failed accepts, but for those of peers', async () => {
    const rig = new Rig()
    const { listener } = rig.listen({ pendingAccepts: 16 })
    await rig.until('its accepts are pending', () => rig.stats().listeners[0]?.pendingAccepts === 16)
    rig.engine.closeListener(listener)
    await rig.until('it has closed', () => rig.listenersClosed.length === 1)
    expect(rig.stats().counters.acceptFailures).toBe(0)
    await rig.finish()
  })
})

describe.skipIf(!hasFaults)('the option exclusive', () => {
  test('asks the system for the port alone, unless it is false', async () => {
    const rig = new Rig()
    const { faults } = faultAddon()
    faults.set('exclusive', { error: win.invalid })
    expect(() => rig.listen()).toThrow(expect.objectContaining({ winCode: win.invalid, syscall: 'setsockopt' }))
    rig.listen({ exclusive: false })
    expect(faults.hits('exclusive')).toBe(1)
    await rig.finish()
  })

  test('of a server: a boolean, true by default', async () => {
    const server = createServer({ ioThreads: 1 })
    closeAfterTest(server)
    // @ts-expect-error: not a boolean
    expect(() => server.listen({ exclusive: 1 })).toThrow(expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION' }))
    const { port } = await server.listen({ port: 0, host: '127.0.0.1', exclusive: false })
    expect(port).toBeGreaterThan(0)
  })
})

describe.skipIf(!hasFaults)('a connect to this machine', () => {
  test('sends one SYN, so that a port where nobody listens refuses immediately; and works where that is not to be had', async () => {
    const rig = new Rig()
    const { faults } = faultAddon()
    const { port } = rig.listen()
    faults.set('one_syn', { error: win.invalid })
    rig.connect(1, port)
    await rig.until('it is there', () => rig.peers.size === 2)
    expect(faults.hits('one_syn')).toBe(1)
    // TEST-NET-1 of RFC 5737: nobody's, and not this machine.
    rig.engine.connect({ token: 2, address: '192.0.2.1', port: 9, family: 4, timeout: 50, profile: rig.profile })
    await rig.until('it has failed', () => rig.failedConnects.size === 1)
    expect(faults.hits('one_syn')).toBe(1)
    await rig.finish()
  })
})
