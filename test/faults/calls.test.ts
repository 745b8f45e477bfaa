/** Each socket call fails in each way that can be expected of it, while connections exchange packets. */

import { describe, expect, onTestFinished, test } from 'vitest'
import { cause, op, record } from '../../lib/native/protocol.js'
import type { NativeProfile } from '../../lib/native/types.js'
import { type Call, faultAddon, hasFaults, type Rule, win } from '../helpers/faults.js'
import { pause } from '../helpers/time.js'
import { echoClient, type EchoResult, packetOf } from './client.js'
import { type Peer, Rig } from './rig.js'

const CLIENTS = 6

/** Has clients talk while a rule is in force; returns what became of them. */
async function talk(rig: Rig, port: number, { packets = 20, window = 8 } = {}): Promise<EchoResult[]> {
  const results: EchoResult[] = []
  for (let client = 0; client < CLIENTS; client++) {
    void echoClient(client, port, { packets, window }).then((result) => results.push(result))
  }
  await rig.until('every client has ended', () => results.length === CLIENTS, 15_000)
  for (const { wrong } of results) expect(wrong).toBe(undefined)
  return results
}

function incomplete(results: readonly EchoResult[]): number {
  return results.filter(({ complete }) => !complete).length
}

function fault(call: Call, rule: Rule): () => number {
  const { faults } = faultAddon()
  faults.set(call, rule)
  return () => faults.hits(call)
}

/** The causes that were not the usual ones. */
function failures(rig: Rig): (Peer['closed'] & object)[] {
  return [...rig.peers.values()].flatMap(({ closed }) =>
    closed === undefined || closed.cause === cause.peerEnd || closed.cause === cause.local ? [] : [closed]
  )
}

describe.skipIf(!hasFaults)('a call on a connection fails', () => {
  const established: { call: Call; profile: Partial<NativeProfile> }[] = [
    { call: 'zero_read', profile: { readMode: 'zero-byte' } },
    { call: 'receive_now', profile: { readMode: 'zero-byte' } },
    { call: 'receive', profile: { readMode: 'direct', pendingReads: 4 } },
    { call: 'send', profile: {} }
  ]
  const fatal: { name: string; error: number; cause: number; detail: number }[] = [
    { name: 'WSAECONNRESET', error: win.reset, cause: cause.peerReset, detail: win.reset },
    { name: 'WSAECONNABORTED', error: win.aborted, cause: cause.peerReset, detail: win.reset },
    { name: 'ERROR_NETNAME_DELETED', error: win.netnameDeleted, cause: cause.peerReset, detail: win.reset },
    { name: 'ERROR_OPERATION_ABORTED', error: win.operationAborted, cause: cause.peerReset, detail: win.reset },
    { name: 'WSAETIMEDOUT', error: win.timedOut, cause: cause.timeout, detail: win.timedOut },
    { name: 'WSAENETDOWN', error: win.networkDown, cause: cause.ioError, detail: win.networkDown },
    { name: 'WSAEINVAL', error: win.invalid, cause: cause.ioError, detail: win.invalid }
  ]
  const cases = established.flatMap((how) =>
    fatal.flatMap((what) =>
      (what.error === win.reset ? [0, 5, 23] : [5]).map((skip) => ({ ...how, ...what, skip, call: how.call }))
    )
  )

  test.each(cases)('$call number $skip fails with $name: that connection closes', async (wanted) => {
    const rig = new Rig({ profile: wanted.profile })
    const { port } = rig.listen()
    const hits = fault(wanted.call, { error: wanted.error, skip: wanted.skip, count: 1 })
    const results = await talk(rig, port, { window: 2 })
    expect(hits()).toBe(1)
    expect(incomplete(results)).toBeLessThanOrEqual(1)
    await rig.until('all have closed', () => rig.open().length === 0)
    expect(failures(rig)).toEqual([{ cause: wanted.cause, detail: wanted.detail }])
    expect(rig.peers.size).toBe(CLIENTS)
    await rig.finish()
  })

  const passing: { call: Call; name: string; rule: Rule; profile?: Partial<NativeProfile> }[] = [
    ...established.flatMap(({ call, profile }) => [
      { call, profile, name: 'WSAENOBUFS five times', rule: { error: win.noBuffers, skip: 4, count: 5 } },
      { call, profile, name: 'WSAENOBUFS now and then', rule: { error: win.noBuffers, perMille: 150 } },
      { call, profile, name: 'ERROR_NO_SYSTEM_RESOURCES twice', rule: { error: win.noSystemResources, count: 2 } }
    ]),
    {
      call: 'receive_now',
      profile: { readMode: 'zero-byte' },
      name: 'WSAEWOULDBLOCK, though there is something',
      rule: { error: win.wouldBlock, perMille: 300 }
    }
  ]
  test.each(passing)('$call fails with $name: nothing is lost', async ({ call, rule, profile }) => {
    const rig = new Rig(profile === undefined ? {} : { profile })
    const { port } = rig.listen()
    const hits = fault(call, rule)
    const results = await talk(rig, port, { window: 2 })
    expect(incomplete(results)).toBe(0)
    expect(hits()).toBeGreaterThan(0)
    await rig.until('all have closed', () => rig.open().length === 0)
    expect(failures(rig)).toEqual([])
    await rig.finish()
  })

  test('shutdown fails: the connection closes with that', async () => {
    const rig = new Rig()
    const { port } = rig.listen()
    const hits = fault('shutdown', { error: win.notConnected, count: 2 })
    expect(incomplete(await talk(rig, port))).toBe(0)
    await rig.until('all have closed', () => rig.open().length === 0)
    expect(hits()).toBe(2)
    expect(failures(rig).length).toBe(2)
    await rig.finish()
  })

  test('a shortage that lasts closes a connection that sends, and no other', async () => {
    const rig = new Rig()
    const { port } = rig.listen()
    const sent: Peer[] = []
    rig.onConnection = (peer) => sent.push(peer)
    const quiet = new Rig()
    quiet.echo = false
    quiet.connect(1, port)
    quiet.connect(2, port)
    await rig.until('both are there', () => sent.length === 2 && quiet.peers.size === 2)
    fault('send', { error: win.noBuffers })
    const [speaker, listener] = sent
    if (speaker === undefined || listener === undefined) throw new Error('no connections')
    rig.send(speaker, packetOf(1, 1, 100))
    rig.flush()
    await rig.until('it gives up', () => speaker.closed !== undefined)
    expect(speaker.closed).toEqual({ cause: cause.ioError, detail: win.noBuffers })
    expect(listener.closed).toBe(undefined)
    faultAddon().faults.clear()
    await quiet.finish()
    await rig.finish()
  })

  test('sends during the wait after a shortage do not use the retries up', async () => {
    const rig = new Rig()
    const { port } = rig.listen()
    const peers: Peer[] = []
    rig.onConnection = (peer) => peers.push(peer)
    const other = new Rig()
    other.echo = false
    let received = 0
    other.onPacket = (_, packet) => {
      if (packet.equals(packetOf(7, received, 50))) received++
    }
    other.connect(1, port)
    await rig.until('it is there', () => peers.length === 1)
    const [peer] = peers
    if (peer === undefined) throw new Error('no connection')
    const hits = fault('send', { error: win.noBuffers })
    const begun = performance.now()
    let sent = 0
    while (sent < 60 && performance.now() - begun < 200) {
      rig.send(peer, packetOf(7, sent++, 50))
      rig.flush()
      await pause(1)
    }
    // After 20, 40, 80... ms.
    expect(hits()).toBeLessThanOrEqual(5)
    expect(peer.closed).toBe(undefined)
    faultAddon().faults.clear()
    await other.until('everything has come', () => received === sent)
    await other.finish()
    await rig.finish()
  })

  test('with one read outstanding, a shortage for more does not close an idle connection', async () => {
    const rig = new Rig({ profile: { readMode: 'direct', pendingReads: 4 } })
    const { port } = rig.listen()
    const other = new Rig({ profile: { readMode: 'zero-byte' } })
    // It posts one read that stays; every further one fails.
    fault('receive', { error: win.noBuffers, skip: 1 })
    other.connect(1, port)
    await rig.until('it is there', () => rig.peers.size === 1)
    await pause(1800)
    expect(rig.open().length).toBe(1)
    faultAddon().faults.clear()
    await other.finish()
    await rig.finish()
  })

  test('an empty packet whose write fails is told about all the same', async () => {
    const raw = { kind: 'raw' } as const
    const rig = new Rig({ profile: { receive: raw, send: raw } })
    const { port } = rig.listen()
    const peers: Peer[] = []
    rig.onConnection = (peer) => peers.push(peer)
    rig.connect(1, port)
    await rig.until('both ends are there', () => peers.length === 2)
    const hits = fault('send', { error: win.noBuffers, count: 2 })
    for (const peer of peers) {
      rig.send(peer, new Uint8Array(0))
      rig.order(op.end, peer, 1000)
    }
    await rig.until('both have closed', () => rig.open().length === 0)
    expect(hits()).toBe(2)
    expect(rig.outcomes).toEqual([2, 0, 0])
    await rig.finish()
  })
})

describe.skipIf(!hasFaults)('accepting fails', () => {
  test.each([
    { call: 'accept', name: 'WSAECONNRESET', rule: { error: win.reset, count: 40 } },
    { call: 'accept', name: 'WSAECONNRESET now and then', rule: { error: win.reset, perMille: 400 } },
    { call: 'accept', name: 'WSAENOBUFS', rule: { error: win.noBuffers, count: 8 } },
    { call: 'accept', name: 'WSAEINVAL', rule: { error: win.invalid, count: 130 } },
    { call: 'socket', name: 'WSAEMFILE', rule: { error: win.tooManyFiles, count: 8 } },
    { call: 'socket', name: 'WSAENOBUFS in the middle', rule: { error: win.noBuffers, skip: 3, count: 4 } },
    { call: 'socket', name: 'WSAEAFNOSUPPORT', rule: { error: win.familyNotSupported, count: 20 } }
  ] as { call: Call; name: string; rule: Rule }[])('$call with $name: the listener goes on', async ({ call, rule }) => {
    const rig = new Rig()
    const { faults } = faultAddon()
    // Listening takes a socket too.
    if (call === 'accept') faults.set(call, rule)
    const { port } = rig.listen({ pendingAccepts: 8 })
    if (call === 'socket') faults.set(call, rule)
    const results = await talk(rig, port)
    expect(faults.hits(call)).toBeGreaterThan(0)
    expect(incomplete(results)).toBe(0)
    await rig.finish()
  })

  test.each([
    { call: 'accept_context', error: win.notConnected },
    { call: 'accept_context', error: win.notSocket },
    { call: 'associate', error: 87 },
    { call: 'associate', error: win.notEnoughMemory }
  ] as { call: Call; error: number }[])('$call with $error: only that peer is turned away', async ({ call, error }) => {
    const rig = new Rig()
    const { port } = rig.listen()
    const hits = fault(call, { error, skip: 1, count: 2 })
    const results = await talk(rig, port)
    expect(hits()).toBe(2)
    expect(incomplete(results)).toBe(2)
    expect(rig.peers.size).toBe(CLIENTS - 2)
    await rig.finish()
  })

  test('a listener that can accept nothing closes at once when it is told to', async () => {
    const rig = new Rig()
    fault('accept', { error: win.noBuffers })
    const { listener } = rig.listen()
    await rig.until('it says so', () => rig.listenerErrors.length > 0)
    expect(rig.listenerErrors[0]).toBe(win.noBuffers)
    const begun = performance.now()
    rig.engine.closeListener(listener)
    await rig.until('it has closed', () => rig.listenersClosed.length === 1)
    expect(performance.now() - begun).toBeLessThan(500)
    await rig.finish()
  })

  test('a shortage is told ten times a second at most', async () => {
    const rig = new Rig()
    const hits = fault('accept', { error: win.noBuffers })
    rig.listen({ pendingAccepts: 4 })
    await pause(550)
    expect(rig.listenerErrors.length).toBeGreaterThan(0)
    expect(rig.listenerErrors.length).toBeLessThanOrEqual(7)
    expect(hits()).toBeLessThanOrEqual(4 * 7)
    await rig.finish()
  })

  const firstCalls = ['socket', 'bind', 'listen', 'associate'] as const
  test.each(firstCalls)('%s fails when listening begins: an error, and nothing is left', async (call) => {
    const rig = new Rig()
    fault(call, { error: win.noBuffers, count: 1 })
    let thrown: unknown
    try {
      rig.listen()
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ winCode: win.noBuffers })
    expect(incomplete(await talk(rig, rig.listen().port))).toBe(0)
    await rig.finish()
  })
})

describe.skipIf(!hasFaults)('connecting fails', () => {
  test.each([
    { call: 'socket', error: win.tooManyFiles },
    { call: 'bind', error: win.addressInUse },
    { call: 'bind', error: win.noBuffers },
    { call: 'associate', error: win.notEnoughMemory },
    { call: 'connect', error: win.refused },
    { call: 'connect', error: win.hostUnreachable },
    { call: 'connect', error: win.semTimeout },
    { call: 'connect_context', error: win.notConnected }
  ] as { call: Call; error: number }[])(
    '$call with $error: one CONNECT_FAILED, the others connect',
    async ({ call, error }) => {
      const server = new Rig()
      const { port } = server.listen({ pendingAccepts: 1 })
      // The accepts that are posted take sockets too.
      await server.until('the accepts are there', () => server.stats().listeners[0]?.pendingAccepts === 1)
      const rig = new Rig()
      const hits = fault(call, { error, count: 1 })
      rig.connect(1, port)
      await rig.until('it has failed', () => rig.failedConnects.size === 1)
      expect(hits()).toBe(1)
      expect([...rig.failedConnects]).toEqual([[1, error]])
      for (let token = 2; token < 6; token++) rig.connect(token, port)
      await rig.until('the others are there', () => rig.peers.size === 4)
      expect(rig.failedConnects.size).toBe(1)
      onTestFinished(() => {
        server.join()
      })
      await rig.finish()
      await server.finish()
      expect(rig.count(record.connected)).toBe(4)
    }
  )
})
