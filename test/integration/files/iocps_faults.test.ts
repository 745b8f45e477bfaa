/** Files as IOCPS sends them: the faults of the original do not exist here. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FileOffer } from 'iocp'
import { describe, expect, test } from 'vitest'
import {
  acceptNext,
  code,
  folders,
  leftovers,
  makeFile,
  methods,
  MIB,
  pair,
  sha256,
  works
} from '../../helpers/files.js'
import { iocps, served } from '../../helpers/original.js'
import { pause, until } from '../../helpers/time.js'

describe('the faults of the original do not exist here', () => {
  test.each(methods)("refused: sending goes on, and the next file too, by '%s'", async (method) => {
    const { from } = folders()
    const { peer, connection } = await served({ transfer: { method } })
    const path = makeFile(from, 1000)
    const sending = connection.sendFile(path, { mode: 'raw' })
    expect((await peer.next())[0]).toBe(1)
    connection.send('behind')
    peer.say(3)
    expect(await code(sending)).toBe('ERR_IOCP_TRANSFER_REJECTED')
    expect((await peer.next()).toString()).toBe('behind')
    const again = connection.sendFile(path, { mode: 'raw' })
    expect((await peer.next())[0]).toBe(1)
    peer.take(1000)
    await again
  })

  test('a start that nobody waits for is a packet like any other; a second one does nothing', async () => {
    const { from } = folders()
    const { peer, connection } = await served()
    const packets: string[] = []
    connection.on('packet', (packet) => packets.push(packet.toString('hex')))
    peer.say(2)
    peer.say(3)
    await until('both came', () => packets.length === 2)
    expect(packets).toEqual(['02', '03'])
    const path = makeFile(from, 300_000)
    const sending = connection.sendFile(path, { mode: 'raw' })
    await peer.next()
    peer.take(300_000)
    peer.say(2)
    await sending
    await until('it is there', () => peer.file.length === 300_000)
    expect(peer.file.equals(readFileSync(path))).toBe(true)
  })

  test('no answer: the sender is not stuck', async () => {
    const { from } = folders()
    const { peer, connection } = await served({ transfer: { answerTimeout: 100, stallTimeout: 100 } })
    const sending = connection.sendFile(makeFile(from, 10), { mode: 'raw' })
    await peer.next()
    expect(await code(sending)).toBe('ERR_IOCP_TRANSFER_ANSWER_TIMEOUT')
    // The answer could still come, and then what was sent since would be the file: so the connection ends.
    expect((await connection.closed).cause).toBe('local')
  })

  test('a size of more than 32 bits is refused, not cut', async () => {
    const { from } = folders()
    const { connection } = await served()
    const path = join(from, 'sparse')
    const { openSync, ftruncateSync, closeSync } = await import('node:fs')
    const handle = openSync(path, 'w')
    ftruncateSync(handle, 2 ** 32)
    closeSync(handle)
    expect(await code(connection.sendFile(path, { mode: 'raw' }))).toBe('ERR_IOCP_TRANSFER_TOO_LARGE')
  })

  test('names that IOCPS cannot say, and metadata, are refused', async () => {
    const { from } = folders()
    const { connection } = await served()
    const path = makeFile(from, 1)
    for (const name of ['\u4e2d', 'x'.repeat(503), 'a\0b']) {
      expect(await code(connection.sendFile(path, { mode: 'raw', name }))).toBe('ERR_IOCP_TRANSFER_NAME')
    }
    expect(() => connection.sendFile(path, { mode: 'raw', metadata: 'x' })).toThrow(/metadata/)
  })

  test.each(methods)(
    "both sides offer at the same moment, again and again, by '%s'",
    { timeout: 60_000 },
    async (method) => {
      const { from, to } = folders()
      const both = await pair({ framing: iocps, transfer: { method, maxPerConnection: 100 } })
      const count = 20
      const received: Promise<unknown>[] = []
      for (const end of [both.client, both.server]) {
        end.on('file', (offer) => {
          received.push(offer.accept({ directory: to }))
        })
      }
      const paths = Array.from({ length: 2 * count }, (_, index) => makeFile(from, 20_000 + index, `${index}.bin`))
      await Promise.all(
        paths.map((path, index) => (index % 2 === 0 ? both.client : both.server).sendFile(path, { mode: 'raw' }))
      )
      // The senders are not told when a file has its name and is closed.
      await until('all have been offered', () => received.length === 2 * count)
      await Promise.all(received)
      expect(leftovers(to)).toEqual([])
      for (const [index, path] of paths.entries())
        expect(await sha256(join(to, `${index}.bin`))).toBe(await sha256(path))
      await works(both)
    }
  )

  test.each(methods)("an offer that is taken back for the peer's is made again, sent by '%s'", async (method) => {
    const { from, to } = folders()
    const { peer, connection } = await served({ transfer: { method } })
    const path = makeFile(from, 70_000, 'mine')
    const sending = connection.sendFile(path, { mode: 'raw' })
    for (const name of ['one', 'two', 'three']) {
      // Unanswered, when the peer's own comes.
      expect((await peer.next()).toString('latin1', 5)).toBe('mine\0')
      const received = acceptNext(connection, { directory: to })
      connection.send('behind')
      peer.offer(name, 5)
      // The answer does not wait for this side's file; what was sent behind that one does.
      expect(await peer.next()).toEqual(Buffer.from([2]))
      peer.write(Buffer.from('12345'))
      expect((await received).bytes).toBe(5)
    }
    expect((await peer.next()).toString('latin1', 5)).toBe('mine\0')
    peer.take(70_000)
    expect(await sending).toMatchObject({ bytes: 70_000 })
    await until('it is there', () => peer.file.length === 70_000)
    expect(peer.file.equals(readFileSync(path))).toBe(true)
    await until('the rest has come', () => peer.packages.length === 3)
    expect(peer.packages.map(String)).toEqual(['behind', 'behind', 'behind'])
    expect(readdirSync(to).toSorted()).toEqual(['one', 'three', 'two'])
  })

  test.each(methods)("send(), sendFile(), send(), all in one tick, keep their order, by '%s'", async (method) => {
    const { from } = folders()
    const { peer, connection } = await served({ transfer: { method } })
    const seen: string[] = []
    const files = [100_000, 70_000, 50_001].map((size, index) => makeFile(from, size, `${index}`))
    connection.send('a')
    const first = connection.sendFile(files[0] ?? '', { mode: 'raw' })
    connection.send('b')
    const missing = code(connection.sendFile(join(from, 'missing'), { mode: 'raw' }))
    connection.send('c')
    const second = connection.sendFile(files[1] ?? '', { mode: 'raw' })
    const third = connection.sendFile(files[2] ?? '', { mode: 'raw' })
    connection.send('d')
    for (const _ of [1, 2, 3, 4, 5, 6, 7]) {
      const package_ = await peer.next()
      if (package_[0] !== 1) {
        seen.push(package_.toString())
        continue
      }
      seen.push(`offer ${package_.toString('latin1', 5, package_.length - 1)}`)
      await pause(20)
      expect(peer.packages).toEqual([])
      peer.take(package_.readUInt32LE(1))
    }
    expect(seen).toEqual(['a', 'offer 0', 'b', 'c', 'offer 1', 'offer 2', 'd'])
    await Promise.all([first, second, third])
    expect(await missing).toBe('ENOENT')
    await until('all is there', () => peer.file.length === 220_001)
    expect(peer.file.equals(Buffer.concat(files.map((path) => readFileSync(path))))).toBe(true)
  })

  test.each(methods)(
    "while a file waits for its answer the peer's own is answered, and keeps coming, by '%s'",
    async (method) => {
      const { from, to } = folders()
      const both = await pair({ framing: iocps, transfer: { method } })
      const packets: string[] = []
      both.server.on('packet', (packet) => packets.push(packet.toString()))
      const offers: FileOffer[] = []
      both.server.on('file', (offer) => offers.push(offer))
      both.client.on('file', (offer) => {
        void offer.accept({ directory: to })
      })
      const path = makeFile(from, 300_000, 'large')
      const small = makeFile(from, 1000, 'small')
      const sending = [
        both.client.sendFile(path, { mode: 'raw' }),
        both.client.sendFile(small, { mode: 'raw', name: 'second' })
      ]
      both.client.send('behind')
      await until('it is offered', () => offers.length === 1)
      const back = both.server.sendFile(small, { mode: 'raw' })
      await pause(50)
      const first = offers[0]?.accept({ directory: to })
      await until('the second is offered', () => offers.length === 2)
      await first
      await back
      expect(packets).toEqual([])
      await offers[1]?.accept({ directory: to })
      await Promise.all(sending)
      await until('what was sent behind them has come', () => packets.length === 1)
      expect(await sha256(join(to, 'large'))).toBe(await sha256(path))
      for (const name of ['small', 'second']) expect(await sha256(join(to, name))).toBe(await sha256(small))
    }
  )

  test('an offer that is taken back, and then aborted, is not made again', async () => {
    const { from, to } = folders()
    const { peer, connection } = await served()
    const aborting = new AbortController()
    const offers: FileOffer[] = []
    connection.once('file', (offer) => offers.push(offer))
    const sending = connection.sendFile(makeFile(from, 1000), { mode: 'raw', signal: aborting.signal })
    expect((await peer.next())[0]).toBe(1)
    peer.offer('theirs', 5)
    await until('it is offered', () => offers.length === 1)
    aborting.abort()
    await expect(sending).rejects.toBe(aborting.signal.reason)
    const received = offers[0]?.accept({ directory: to })
    expect(await peer.next()).toEqual(Buffer.from([2]))
    peer.write(Buffer.from('12345'))
    expect(await received).toMatchObject({ bytes: 5 })
    await pause(50)
    expect(peer.packages).toEqual([])
    expect(connection.state).toBe('open')
  })

  test.each(methods)("aborted before the answer, by '%s': nothing can be taken for the file", async (method) => {
    const { from } = folders()
    const { peer, connection } = await served({ transfer: { method } })
    const aborting = new AbortController()
    const sending = connection.sendFile(makeFile(from, 100), { mode: 'raw', signal: aborting.signal })
    expect((await peer.next())[0]).toBe(1)
    connection.send('behind')
    connection.flush()
    peer.take(100)
    aborting.abort()
    await Promise.allSettled([sending])
    await until('the connection ends', () => peer.isClosed || peer.file.length === 100)
    expect(peer.file.includes('behind')).toBe(false)
    expect(peer.packages).toEqual([])
  })

  test.each(methods)("both directions at the same time, by '%s'", async (method) => {
    const { from, to } = folders()
    const both = await pair({ framing: iocps, transfer: { method } })
    const received = [
      acceptNext(both.client, { path: join(to, 'c') }),
      acceptNext(both.server, { path: join(to, 's') })
    ]
    const one = makeFile(from, 4 * MIB, 'a')
    const other = makeFile(from, 5 * MIB, 'b')
    const sending = [both.client.sendFile(one, { mode: 'raw' }), both.server.sendFile(other, { mode: 'raw' })]
    await Promise.all([...sending, ...received])
    expect(await sha256(join(to, 's'))).toBe(await sha256(one))
    expect(await sha256(join(to, 'c'))).toBe(await sha256(other))
    await works(both)
  })

  test.each(methods)(
    "aborted in the middle, by '%s': the connection ends at both sides, with nothing left",
    async (method) => {
      const { from, to } = folders()
      const both = await pair({ framing: iocps, transfer: { method } })
      const controller = new AbortController()
      const received = acceptNext(both.server, { directory: to })
      const options = { mode: 'raw', bytesPerSecond: MIB, signal: controller.signal } as const
      const sending = both.client.sendFile(makeFile(from, 5 * MIB), {
        ...options,
        onProgress: () => {
          controller.abort()
        }
      })
      await expect(sending).rejects.toThrow(/abort/)
      expect(await code(received)).toBe('ERR_IOCP_TRANSFER_CLOSED')
      expect(readdirSync(to)).toEqual([])
    }
  )
})
