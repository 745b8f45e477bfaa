/** A connection that was fed reads again a little later: never not at all, and not later the longer it is busy. */

import { describe, expect, onTestFinished, test } from 'vitest'
import { op, OPERATION_WORDS } from '../../lib/native/protocol.js'
import { faultAddon, hasFaults, win } from '../helpers/faults.js'
import { pause } from '../helpers/time.js'
import { type Peer, Rig } from './rig.js'

const empty = new Uint8Array(0)

interface Some {
  /** It waits without buffers, and answers nothing. */
  readonly rig: Rig
  readonly sender: Rig
  /** The connections, as the first one sees them. */
  readonly peers: Peer[]
  /** As the sender sees them. */
  readonly to: Peer[]
}

/** A rig that listens, and one that has connected to it so many times. */
async function some(connections: number): Promise<Some> {
  const rig = new Rig({ ioThreads: 1, profile: { readMode: 'zero-byte' } })
  const sender = new Rig({ ioThreads: 1 })
  rig.echo = false
  const { port } = rig.listen({ pendingAccepts: 64 })
  const peers: Peer[] = []
  rig.onConnection = (peer) => peers.push(peer)
  for (let token = 1; token <= connections; token++) sender.connect(token, port)
  await sender.until('all are there', () => sender.peers.size === connections && peers.length === connections)
  return { rig, sender, peers, to: [...sender.peers.values()] }
}

async function one(): Promise<Some & { peer: Peer; there: Peer }> {
  const all = await some(1)
  const [peer] = all.peers
  const [there] = all.to
  if (peer === undefined || there === undefined) throw new Error('no connection')
  return { ...all, peer, there }
}

/** A packet without content, which is told to nobody. */
function sendEmpty(sender: Rig, to: Peer[]): void {
  for (const peer of to) sender.send(peer, empty, { told: false })
  sender.flush()
}

async function finish({ rig, sender }: Some): Promise<void> {
  await sender.finish()
  await rig.finish()
}

/** Until nobody reads any more. */
async function quiet(rig: Rig): Promise<void> {
  const reads = (): number => rig.stats().counters.zeroReads + rig.stats().counters.recvCalls
  for (let before = -1; before !== reads();) {
    before = reads()
    await pause(100)
  }
}

describe.skipIf(!hasFaults)('a deferred read', () => {
  test('is posted although nothing else happens', async () => {
    const connections = 300
    const all = await some(connections)
    const { rig, sender, peers, to } = all
    // Many packets are waiting when the thread comes to look.
    faultAddon().faults.set('completion', { delay: 100, count: 3 })
    sendEmpty(sender, to)
    await rig.until('all have come', () => peers.every(({ packets }) => packets === 1))
    await rig.until('all are waited for again', () => rig.stats().counters['zeroReads'] === 2 * connections, 2500)
    await finish(all)
  })

  test('finds something again and again: it does not ask first', async () => {
    const all = await one()
    const { rig, sender, peer, there } = all
    // 128 reads of a packet that has come: each leaves something, so that the next one is deferred.
    const shortTo = 8192
    const packet = new Uint8Array(128 * shortTo - 4)
    faultAddon().faults.set('receive_now', { shortTo })
    await rig.until('it is waited for', () => rig.stats().counters.zeroReads === 1)
    sender.send(there, packet, { told: false })
    sender.flush()
    await rig.until('it has come', () => peer.packets === 1)
    const { recvCalls, zeroReads } = rig.stats().counters
    expect(recvCalls).toBeGreaterThanOrEqual(128)
    expect(zeroReads).toBeLessThan(100)
    // Then nothing is there: it waits without a buffer, and hears of what comes.
    await quiet(rig)
    expect(rig.stats().pools.readBuffers.inUse).toBe(0)
    sendEmpty(sender, [there])
    await rig.until('the next one has come', () => peer.packets === 2)
    await finish(all)
  })

  test('finds nothing after all, and no memory to look with: it waits without', async () => {
    const all = await one()
    const { rig, sender, peer, there } = all
    // The second read finds something at once; the third would find nothing, and fails.
    const { faults } = faultAddon()
    faults.set('receive_now', { error: win.noBuffers, skip: 2, shortTo: 4 })
    sender.send(there, new Uint8Array(4), { told: false })
    sender.flush()
    await rig.until('it has come', () => peer.packets === 1)
    // Longer than all retries of a read that is needed.
    await pause(2000)
    expect(peer.closed).toBe(undefined)
    expect(faults.hits('receive_now')).toBe(1)
    faults.clear()
    sendEmpty(sender, [there])
    await rig.until('the next one has come', () => peer.packets === 2)
    await finish(all)
  })

  test('is not the later the longer others ask for more', async () => {
    const all = await some(201)
    const { rig, sender, peers, to } = all
    const last = to.pop()
    if (last === undefined) throw new Error('no connection')
    faultAddon().faults.set('receive_now', { shortTo: 4 })
    faultAddon().faults.set('receive', { shortTo: 4 })
    sendEmpty(sender, [last])
    await rig.until('it is known', () => peers.some(({ packets }) => packets === 1))
    const others = peers.filter(({ packets }) => packets === 0)
    const quiet = peers.find(({ packets }) => packets === 1)
    if (quiet === undefined) throw new Error('no connection')
    // Each read takes four bytes of it.
    const long = new Uint8Array(1024 * 1024 - 4)
    for (const peer of to) sender.send(peer, long, { told: false })
    sender.flush()
    let asks = true
    const ask = (): void => {
      if (!asks) return
      others.forEach(({ slot, generation }, i) => {
        rig.engine.submitControl.set([op.resume, slot, generation, 0, 0, 0], i * OPERATION_WORDS)
      })
      rig.engine.submit(others.length, [])
      setImmediate(ask)
    }
    onTestFinished(() => {
      asks = false
    })
    ask()
    const reads = (): number => rig.stats().counters.bytesIn / 4
    // The list would now have thousands of entries if a connection were in it more than once.
    await rig.until('they have read a lot', () => reads() > 10_000, 20_000)
    for (let packets = 2; packets <= 4; packets++) {
      const before = reads()
      sendEmpty(sender, [last])
      await rig.until(
        'its packet comes, or many other reads',
        () => quiet.packets === packets || reads() - before > 10_000,
        20_000
      )
      expect(quiet.packets).toBe(packets)
    }
    asks = false
    await finish(all)
  })
})
