/** Completions come late, calls come short or fail, all at random: nothing is lost, nothing hangs, everything balances. */

import { Worker } from 'node:worker_threads'
import { describe, expect, onTestFinished, test } from 'vitest'
import { record } from '../../lib/native/protocol.js'
import { type Call, faultAddon, hasFaults, type Rule, win } from '../helpers/faults.js'
import { pause } from '../helpers/time.js'
import { echoClient, type EchoResult } from './client.js'
import { type Peer, Rig } from './rig.js'

type Rules = Partial<Record<Call, Rule>>

function setAll(rules: Rules): void {
  for (const [call, rule] of Object.entries(rules)) faultAddon().faults.set(call as Call, rule)
}

/** Sizes from nothing to several reads, the same in each run. */
function sizeOf(number: number): number {
  const draw = (Math.imul(number + 1, 2_654_435_761) >>> 8) % 1000
  return draw < 50 ? 0 : draw < 800 ? draw : draw < 980 ? draw * 4 : 20_000
}

/** Clients that talk, all at once; resolves when each has ended. */
async function talk(
  rig: Rig,
  port: number,
  clients: number,
  options: Parameters<typeof echoClient>[2]
): Promise<EchoResult[]> {
  const results: EchoResult[] = []
  for (let client = 0; client < clients; client++) {
    void echoClient(client, port, options).then((result) => results.push(result))
  }
  await rig.until('every client has ended', () => results.length === clients, 25_000)
  for (const { wrong } of results) expect(wrong).toBe(undefined)
  return results
}

const shortage: Rules = {
  zero_read: { error: win.noBuffers, perMille: 30 },
  receive: { error: win.noBuffers, perMille: 30 },
  receive_now: { error: win.noBuffers, perMille: 30, shortTo: 100 },
  send: { error: win.noBuffers, perMille: 30, shortTo: 50 }
}

describe.skipIf(!hasFaults)('at random', () => {
  const smooth: { name: string; rules: Rules; clients: number; packets: number; size?: (number: number) => number }[] =
    [
      { name: 'completions up to 3 ms late', rules: { completion: { delay: 3 } }, clients: 60, packets: 20 },
      {
        name: 'a few completions 30 ms late',
        rules: { completion: { delay: 30, perMille: 30 } },
        clients: 60,
        packets: 20
      },
      ...[1, 3, 7].map((shortTo) => ({
        name: `sends of ${shortTo} bytes at most`,
        rules: { send: { shortTo } },
        clients: 6,
        packets: shortTo === 1 ? 6 : 20,
        size: (number: number) => (number * 23) % 70
      })),
      ...[1, 5].map((shortTo) => ({
        name: `reads of ${shortTo} bytes at most`,
        rules: { receive: { shortTo }, receive_now: { shortTo } },
        clients: 6,
        packets: shortTo === 1 ? 6 : 20,
        size: (number: number) => (number * 23) % 70
      })),
      { name: 'shortages', rules: shortage, clients: 40, packets: 20 },
      {
        name: 'packets that cannot be posted',
        rules: { post: { error: win.notEnoughMemory, perMille: 500 } },
        clients: 40,
        packets: 20
      },
      {
        name: 'everything at once',
        rules: {
          ...shortage,
          post: { error: win.notEnoughMemory, perMille: 200 },
          completion: { delay: 2, perMille: 300 }
        },
        clients: 40,
        packets: 15
      }
    ]
  const engines = [
    { ioThreads: 8, pendingReads: 8, readMode: 'direct' },
    { ioThreads: 3, pendingReads: 2, readMode: 'adaptive' },
    { ioThreads: 1, pendingReads: 1, readMode: 'zero-byte' }
  ] as const
  const cases = smooth.flatMap((load, index) =>
    // Each with all threads and reads, and with one of the others.
    [engines[0], engines[1 + (index % 2)] ?? engines[1]].map((engine) => ({ ...load, ...engine }))
  )

  test.each(cases)(
    '$name, $ioThreads threads, $pendingReads reads, $readMode: no byte is lost',
    { timeout: 60_000 },
    async ({ rules, clients, packets, size, ioThreads, pendingReads, readMode }) => {
      const rig = new Rig({ ioThreads, profile: { pendingReads, readMode } })
      rig.pinnedFrom = 1000
      const { port } = rig.listen({ pendingAccepts: 4 })
      setAll(rules)
      const results = await talk(rig, port, clients, { packets, sizeOf: size ?? sizeOf })
      expect(results.filter(({ complete }) => !complete)).toEqual([])
      await rig.until('all have closed', () => rig.open().length === 0)
      expect(rig.peers.size).toBe(clients)
      expect(rig.outcomes).toEqual([clients * packets, 0, 0])
      // Not every mode uses every call.
      expect(Object.keys(rules).some((call) => faultAddon().faults.hits(call as Call) > 0)).toBe(true)
      await rig.finish()
    }
  )

  test('no packet can be posted for a while: nothing is lost, no thread is', { timeout: 60_000 }, async () => {
    const rig = new Rig({ ioThreads: 4 })
    rig.echo = false
    const { port } = rig.listen()
    const other = new Rig({ ioThreads: 4 })
    const numbers = new Map<Peer, number>()
    other.onPacket = (peer, packet) => {
      const due = numbers.get(peer) ?? 0
      if (packet.readUInt32BE() !== due) other.violations.push(`${packet.readUInt32BE()} where ${due} was due`)
      numbers.set(peer, due + 1)
    }
    for (let token = 1; token <= 20; token++) other.connect(token, port)
    await rig.until('all are there', () => rig.peers.size === 20 && other.peers.size === 20)
    setAll({ post: { error: win.notEnoughMemory } })
    const begun = performance.now()
    let sent = 0
    for (; performance.now() - begun < 700; sent++) {
      const packet = Buffer.alloc(20)
      packet.writeUInt32BE(sent)
      for (const peer of rig.peers.values()) {
        rig.send(peer, packet)
        // Each asks an I/O thread to serve its connection.
        rig.flush()
      }
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
    }
    faultAddon().faults.clear()
    const complete = (): boolean => [...numbers.values()].filter((number) => number === sent).length === 20
    await other.until('everything has come', complete)
    await other.finish()
    await rig.finish()
  })

  test('connections break: each closes once, the others lose nothing', { timeout: 60_000 }, async () => {
    const rig = new Rig({ ioThreads: 8, profile: { pendingReads: 8, readMode: 'direct' } })
    rig.pinnedFrom = 500
    const { port } = rig.listen()
    setAll({
      receive: { error: win.reset, perMille: 4 },
      send: { error: win.aborted, perMille: 4 },
      completion: { delay: 2, perMille: 500 }
    })
    const results = await talk(rig, port, 80, { packets: 20, sizeOf })
    const { faults } = faultAddon()
    const broken = faults.hits('receive') + faults.hits('send')
    expect(broken).toBeGreaterThan(0)
    expect(results.filter(({ complete }) => !complete).length).toBeLessThanOrEqual(broken)
    expect(results.some(({ complete }) => complete)).toBe(true)
    await rig.finish(1000)
  })
})

describe.skipIf(!hasFaults)('the end comes in the middle of it', () => {
  const ways: { name: string; end: (rig: Rig) => Promise<void> }[] = [
    { name: 'stop(0)', end: (rig) => rig.finish(0) },
    { name: 'stop(100)', end: (rig) => rig.finish(100) },
    {
      name: 'join() at once',
      end: async (rig) => {
        rig.join()
        expect(rig.violations).toEqual([])
      }
    }
  ]
  test.each(ways.flatMap((way) => [0, 3, 11, 40].map((after) => ({ ...way, after }))))(
    '$name after $after ms: one close each, no hang',
    async ({ end, after }) => {
      const rig = new Rig({ ioThreads: 8, profile: { pendingReads: 4, readMode: 'direct' } })
      rig.pinnedFrom = 200
      const { port } = rig.listen({ pendingAccepts: 2 })
      setAll({
        completion: { delay: 4, perMille: 500 },
        receive: { error: win.noBuffers, perMille: 50 },
        post: { error: win.notEnoughMemory, perMille: 200 },
        accept: { error: win.reset, perMille: 100 }
      })
      const clients: Promise<EchoResult>[] = []
      for (let client = 0; client < 20; client++) clients.push(echoClient(client, port, { packets: 1000, sizeOf }))
      // Connections of our own, whose attempts may still be under way.
      for (let token = 1; token <= 10; token++) rig.connect(token, port)
      await pause(after)
      await end(rig)
      for (const { wrong } of await Promise.all(clients)) expect(wrong).toBe(undefined)
      if (rig.stopped !== undefined) {
        const connected = [...rig.peers.values()].filter(({ token }) => token !== 0).length
        expect(connected + rig.failedConnects.size).toBe(10)
        expect(rig.stopped.drained + rig.stopped.cut).toBeLessThanOrEqual(rig.count(record.close))
      }
    }
  )

  test('connections that come while it stops are told of before they are closed', { timeout: 60_000 }, async () => {
    const storm = new Worker(new URL('storm.mjs', import.meta.url))
    onTestFinished(async () => {
      await storm.terminate()
    })
    for (let round = 0; round < 12; round++) {
      const rig = new Rig({ ioThreads: 8 })
      const { port } = rig.listen({ pendingAccepts: 8 })
      storm.postMessage(port)
      await rig.until('some are there', () => rig.peers.size > 5 * round)
      await rig.finish(round % 2 === 0 ? 0 : 50)
    }
  })

  test('after stop(): connect() fails once, listen() throws; after STOPPED both throw', async () => {
    const rig = new Rig()
    const { port } = rig.listen()
    rig.connect(1, port)
    await rig.until('it is there', () => rig.peers.size === 2)
    setAll({ completion: { delay: 20 } })
    rig.engine.stop(50)
    rig.connect(2, port)
    expect(() => rig.listen()).toThrow(expect.objectContaining({ winCode: win.operationAborted }) as Error)
    await rig.until('it has stopped', () => rig.stopped !== undefined)
    expect([...rig.failedConnects]).toEqual([[2, win.operationAborted]])
    expect(() => {
      rig.connect(3, port)
    }).toThrow('the engine has ended')
    expect(() => rig.listen()).toThrow()
    await rig.finish()
  })
})
