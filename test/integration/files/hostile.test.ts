/** Peers that offer more than they may, take back what they said, or speak in an order of their own. */

import { readdirSync } from 'node:fs'
import { createServer as createNetServer } from 'node:net'
import { connect, type FileOffer, framing } from 'iocp'
import { expect, onTestFinished, test } from 'vitest'
import { listening, Peer } from '../../helpers/file_peer.js'
import {
  acceptNext,
  code,
  failure,
  folders,
  KIB,
  makeFile,
  methods,
  MIB,
  pair,
  sha256,
  typed
} from '../../helpers/files.js'
import { isLong } from '../../helpers/load.js'
import { pause, until } from '../../helpers/time.js'

/** Refused, because there are too many. */
const LIMIT = 4

test('a flood of offers: no more are open than may be, the rest is refused', async () => {
  // Longer than the flood takes on a busy machine.
  const { peer, accepted } = await listening({ transfer: { maxPerConnection: 5, answerTimeout: 4000 } })
  const connection = await accepted
  const offers: FileOffer[] = []
  connection.removeAllListeners('file')
  connection.on('file', (offer) => offers.push(offer))
  const count = 4000
  peer.together(() => {
    for (peer.file = 1; peer.file <= count; peer.file++) peer.offer(`file ${peer.file}`, 100)
  })
  await until('the rest is refused', () => peer.frames.length >= count - 5)
  expect(offers).toHaveLength(5)
  expect(peer.frames).toHaveLength(count - 5)
  expect(peer.frames.every((frame) => frame[0] === 0xf2 && frame.readUInt16BE(5) === LIMIT)).toBe(true)
  // This side may send none meanwhile: they count together.
  const { from } = folders()
  const path = makeFile(from, 10)
  expect(await code(connection.sendFile(path))).toBe('ERR_IOCP_TRANSFER_LIMIT')
  // Nobody answers them, and then there is room again.
  await until('they are given up', () => peer.frames.length === count)
  expect(offers.every((offer) => offer.isAnswered)).toBe(true)
  peer.offer('one more', 100)
  await until('it is offered', () => offers.length === 6)
  expect(connection.state).toBe('open')
})

test.skipIf(!isLong)(
  'a flood by a peer that takes no answers ends the connection (only with IOCP_LONG=1)',
  async () => {
    const { peer, accepted } = await listening({
      transfer: { maxPerConnection: 1 },
      backpressure: { hardCap: '64KiB', highWater: '32KiB', lowWater: '1KiB' },
      sendBuffer: 16 * KIB
    })
    const connection = await accepted
    let most = 0
    const timer = setInterval(() => (most = Math.max(most, connection.queuedBytes)), 5)
    onTestFinished(() => {
      clearInterval(timer)
    })
    peer.pause()
    while (connection.state !== 'closed') {
      peer.together(() => {
        for (let n = 0; n < 2000; n++) {
          peer.file++
          peer.offer('x', 1)
        }
      })
      await peer.drained()
    }
    const info = await connection.closed
    expect(info.cause).toBe('overflow')
    expect(most).toBeLessThan(64 * KIB + MIB + 64 * KIB)
  }
)

test.each(methods)("'stored' is the receiver's last word, also when its end comes with it, by '%s'", async (method) => {
  const { from } = folders()
  const { peer, accepted } = await listening({ allowHalfOpen: true, transfer: { method } })
  const connection = await accepted
  const sending = connection.sendFile(makeFile(from, MIB), { verify: false, bytesPerSecond: 4 * MIB })
  expect((await peer.answer())[0]).toBe(0xf0)
  peer.say(0xf1, 0n, 0)
  await until('it comes', () => peer.frames.some((frame) => frame[0] === 0xf4))
  // The words of both ends may overtake each other.
  peer.say(0xf6)
  peer.end()
  expect(await sending).toMatchObject({ bytes: MIB })
})

test('an end without it is none', async () => {
  const { from } = folders()
  const { peer, accepted } = await listening({ allowHalfOpen: true })
  const connection = await accepted
  const sending = connection.sendFile(makeFile(from, 1000))
  expect((await peer.answer())[0]).toBe(0xf0)
  peer.say(0xf1, 0n, 0)
  peer.end()
  expect(await code(sending)).toBe('ERR_IOCP_TRANSFER_CLOSED')
  // Nobody would answer another one.
  expect(await code(connection.sendFile(makeFile(from, 1000)))).toBe('ERR_IOCP_TRANSFER_CLOSED')
})

test.each([
  [
    'taken back',
    'ERR_IOCP_TRANSFER_ABORTED',
    (peer: Peer) => {
      peer.say(0xf7, 0, 0, 3)
    }
  ],
  [
    'cut off',
    'ERR_IOCP_TRANSFER_CLOSED',
    (peer: Peer) => {
      peer.end()
    }
  ]
])('an offer that comes with the connection, and is %s at once', async (_, wanted, then) => {
  const { to } = folders()
  const listener = createNetServer({ allowHalfOpen: true }, (socket) => {
    const peer = new Peer(socket)
    peer.offer('first', 3)
    then(peer)
  })
  onTestFinished(() => {
    listener.close()
  })
  await new Promise<void>((resolve) => {
    listener.listen(0, '127.0.0.1', resolve)
  })
  const address = listener.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  const client = await connect({ host: '127.0.0.1', port, framing: typed, allowHalfOpen: true })
  onTestFinished(() => {
    client.destroy()
  })
  expect(await code(acceptNext(client, { directory: to }))).toBe(wanted)
  expect(readdirSync(to)).toEqual([])
})

test.each(methods)("very slow is not stalled, by '%s'", async (method) => {
  const { from, to } = folders()
  const both = await pair({ transfer: { method, stallTimeout: 900 } })
  const aborting = new AbortController()
  const received = code(acceptNext(both.server, { directory: to }))
  const sending = code(
    both.client.sendFile(makeFile(from, 600), { verify: false, bytesPerSecond: 9, signal: aborting.signal })
  )
  await pause(1800)
  aborting.abort(Object.assign(new Error('enough'), { code: 'ENOUGH' }))
  expect(await Promise.all([sending, received])).toEqual(['ENOUGH', 'ERR_IOCP_TRANSFER_ABORTED'])
})

test('with streamAbove everything about files stays below it', async () => {
  const { from, to } = folders()
  const both = await pair({ framing: framing.lengthField({ typeByte: true, streamAbove: 200 }) })
  let streams = 0
  both.server.on('stream', () => streams++)
  const path = makeFile(from, 50_000)
  const received = acceptNext(both.server, { directory: to })
  expect(await both.client.sendFile(path, { metadata: 'x'.repeat(100) })).toMatchObject({ bytes: 50_000 })
  expect(await sha256((await received).path)).toBe(await sha256(path))
  expect(await code(both.client.sendFile(path, { metadata: 'x'.repeat(200) }))).toBe('ERR_IOCP_TRANSFER_OFF')
  both.server.once('file', (offer) => {
    offer.reject('because '.repeat(50))
  })
  expect((await failure(both.client.sendFile(path))).message).toContain('because because')
  expect(streams).toBe(0)
  const small = await pair({ framing: framing.lengthField({ typeByte: true, streamAbove: 20 }) })
  expect(await code(small.client.sendFile(path))).toBe('ERR_IOCP_TRANSFER_OFF')
})
