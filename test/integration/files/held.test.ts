/** A disk that answers nothing: what is pending there is taken back, and nobody waits for it. */

import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { framing } from 'iocp'
import { describe, expect, test } from 'vitest'
import { type Call, faultsOfLibrary } from '../../helpers/faults.js'
import {
  acceptNext,
  code,
  failure,
  folders,
  KIB,
  leftovers,
  makeFile,
  methods,
  MIB,
  pair,
  sha256,
  works
} from '../../helpers/files.js'
import { pause, until } from '../../helpers/time.js'

const seam = faultsOfLibrary()

/** Before this a connection that is stuck would have been reset. */
const SOON = 1500

async function held(call: Call): Promise<void> {
  await until('a call is held', () => (seam?.hits(call) ?? 0) > 0)
}

test.skipIf(seam === undefined)(
  'a disk that answers too late, so that reads are given up and made again: the hash of the part is right',
  async () => {
    const { from, to } = folders()
    const path = makeFile(from, 4 * MIB)
    const first = await pair()
    const broken = acceptNext(first.server, {
      directory: to,
      resume: true,
      onProgress: ({ bytes }) => {
        if (bytes > 2 * MIB) first.server.reset()
      }
    })
    await Promise.allSettled([first.client.sendFile(path, { bytesPerSecond: 8 * MIB }), broken])
    const second = await pair()
    const cancelled = 995 // ERROR_OPERATION_ABORTED
    seam?.set('hash_read', { error: cancelled, skip: 1, count: 9 })
    const received = acceptNext(second.server, { directory: to, resume: true })
    const sent = await second.client.sendFile(path)
    expect(seam?.hits('hash_read')).toBe(9)
    expect(sent.resumedFrom).toBeGreaterThan(MIB)
    expect(await sha256((await received).path)).toBe(await sha256(path))
  }
)

describe.skipIf(seam === undefined)('a disk that answers nothing', () => {
  test.each(methods)(
    "a write, sent by '%s': aborting does not wait for it, and the connection goes on",
    async (method) => {
      const { from, to } = folders()
      const both = await pair({ transfer: { method } })
      seam?.set('write_file', { keep: true, skip: 2 })
      const aborting = new AbortController()
      const received = acceptNext(both.server, { directory: to, signal: aborting.signal })
      const sending = code(both.client.sendFile(makeFile(from, 2 * MIB), { verify: false }))
      await held('write_file')
      const begun = performance.now()
      aborting.abort()
      expect(await failure(received)).toBe(aborting.signal.reason)
      expect(await sending).toBe('ERR_IOCP_TRANSFER_ABORTED')
      expect(performance.now() - begun).toBeLessThan(SOON)
      expect(readdirSync(to)).toEqual([])
      await works(both)
    }
  )

  test('a read: aborting does not wait for it, and the connection goes on', async () => {
    const { from, to } = folders()
    const both = await pair()
    for (const skip of [0, 1, 5]) {
      seam?.set('read_file', { keep: true, skip })
      const aborting = new AbortController()
      const received = code(acceptNext(both.server, { directory: to }))
      const path = makeFile(from, MIB)
      const sending = both.client.sendFile(path, { signal: aborting.signal })
      await held('read_file')
      const begun = performance.now()
      aborting.abort()
      expect(await failure(sending)).toBe(aborting.signal.reason)
      expect(await received).toBe('ERR_IOCP_TRANSFER_ABORTED')
      expect(performance.now() - begun).toBeLessThan(SOON)
      rmSync(path) // nobody has it open any more
      expect(existsSync(path)).toBe(false)
    }
    seam?.clear()
    await works(both)
  })

  const ends = ['destroy', 'reset', 'close'] as const
  test.each(ends.flatMap((how) => [['write_file', how] as const, ['read_file', how] as const]))(
    '%s: %s() does not wait for it',
    async (call, how) => {
      const { from, to } = folders()
      const both = await pair()
      seam?.set(call, { keep: true, skip: 3 })
      const received = code(acceptNext(both.server, { directory: to }))
      const sending = code(both.client.sendFile(makeFile(from, 2 * MIB)))
      await held(call)
      const begun = performance.now()
      if (how === 'close') await both.close({ deadline: 0 })
      else both[call === 'write_file' ? 'server' : 'client'][how]()
      expect(await Promise.all([sending, received])).toEqual(Array(2).fill('ERR_IOCP_TRANSFER_CLOSED'))
      await Promise.all([both.client.closed, both.server.closed])
      expect(performance.now() - begun).toBeLessThan(SOON)
      expect(readdirSync(to)).toEqual([])
    }
  )

  test.each(ends)('a write of the last bytes, when both sides have ended: %s() does not wait for it', async (how) => {
    const { from, to } = folders()
    const both = await pair({ framing: framing.raw() })
    seam?.set('write_file', { keep: true })
    let received: Promise<unknown> = Promise.resolve()
    await new Promise<void>((resolve) => {
      received = code(both.server.receiveFile({ path: join(to, 'raw'), bytes: 100_000, onReady: resolve }))
    })
    await both.client.sendFile(makeFile(from, 100_000), { mode: 'raw' })
    both.client.end()
    await both.client.closed
    await held('write_file')
    const begun = performance.now()
    if (how === 'close') await both.close({ deadline: 0 })
    else both.server[how]()
    expect(await received).toBe('ERR_IOCP_TRANSFER_CLOSED')
    await both.server.closed
    expect(performance.now() - begun).toBeLessThan(SOON)
    expect(readdirSync(to)).toEqual([])
  })

  test('what is kept for a resume ends before the write that was taken back', async () => {
    const { from, to } = folders()
    const path = makeFile(from, MIB)
    const first = await pair()
    seam?.set('write_file', { keep: true, skip: 2, count: 1 })
    const received = code(acceptNext(first.server, { directory: to, resume: true }))
    const sending = code(first.client.sendFile(path))
    await held('write_file')
    await until('all else has come', () => (first.server.stats()?.bytesRead ?? 0) > MIB)
    first.server.reset()
    expect(await Promise.all([sending, received])).toEqual(Array(2).fill('ERR_IOCP_TRANSFER_CLOSED'))
    const [part = ''] = leftovers(to)
    expect(statSync(join(to, part)).size).toBe(2 * 64 * KIB)
    seam?.clear()
    const second = await pair()
    const again = acceptNext(second.server, { directory: to, resume: true })
    expect(await second.client.sendFile(path)).toMatchObject({ resumedFrom: 2 * 64 * KIB })
    expect(await sha256((await again).path)).toBe(await sha256(path))
  })
})

describe.skipIf(seam === undefined)('timers', () => {
  // A timer that is armed late, behind the end of its file, ends the process of a test build.
  test.each(methods)(
    "a slow file that ends at any moment leaves no timer, by '%s'",
    { timeout: 60_000 },
    async (method) => {
      const { from, to } = folders()
      const path = makeFile(from, MIB)
      seam?.set('arm', { delay: 200 })
      for (let round = 0; round < 6; round++) {
        const both = await pair({ transfer: { method } })
        const aborting = new AbortController()
        const received = acceptNext(both.server, { directory: to })
        const sending = both.client.sendFile(path, {
          verify: false,
          bytesPerSecond: 400 * KIB,
          signal: aborting.signal
        })
        const timers = seam?.hits('arm') ?? 0
        await until('a thread is about to arm the timer', () => (seam?.hits('arm') ?? 0) > timers)
        if (round % 3 === 0) both.client.destroy()
        else if (round % 3 === 1) both.server.reset()
        else aborting.abort()
        await Promise.allSettled([sending, received])
        if (round % 3 === 2) await works(both)
        expect(leftovers(to)).toEqual([])
      }
      // Time for a timer that should not be there any more.
      await pause(300)
    }
  )
})

describe.skipIf(seam === undefined)('a disk that is full at once', () => {
  test.each(['allocate_file', 'write_file'] as const)('at %s: with resume nothing is left either', async (call) => {
    const { from, to } = folders()
    const both = await pair()
    seam?.set(call, { error: 112 })
    const received = code(acceptNext(both.server, { directory: to, resume: true }))
    const sending = code(both.client.sendFile(makeFile(from, 300_000)))
    expect(await Promise.all([sending, received])).toEqual(Array(2).fill('ERR_IOCP_TRANSFER_DISK_FULL'))
    expect(readdirSync(to)).toEqual([])
  })
})

describe('a raw file of which no byte has gone', () => {
  test.each(methods)("aborted, by '%s': the connection goes on, and what waits behind it goes", async (method) => {
    const { from } = folders()
    const both = await pair(
      { framing: framing.raw(), transfer: { method } },
      { backpressure: { hardCap: '64MiB' }, sendBuffer: 64 * KIB }
    )
    let bytes = 0
    both.server.on('packet', (packet) => (bytes += packet.length))
    both.server.pause()
    // More than the system takes while nobody reads.
    const before = 24 * MIB
    expect(both.client.send(Buffer.alloc(before))).not.toBe('dropped')
    const aborting = new AbortController()
    const sending = both.client.sendFile(makeFile(from, MIB), { mode: 'raw', signal: aborting.signal })
    both.client.send('behind')
    await pause(200)
    aborting.abort()
    expect(await failure(sending)).toBe(aborting.signal.reason)
    both.server.resume()
    await until('the rest has come', () => bytes === before + 6)
    await works(both)
  })

  test.skipIf(seam === undefined)('that cannot be read: the connection goes on', async () => {
    const { from } = folders()
    const both = await pair({ framing: framing.raw(), transfer: { method: 'read' } })
    seam?.set('read_file', { error: 23 })
    const sending = both.client.sendFile(makeFile(from, MIB), { mode: 'raw' })
    const packets: string[] = []
    both.server.on('packet', (packet) => packets.push(packet.toString()))
    both.client.send('behind')
    expect(await code(sending)).toBe('EIO')
    await until('what waited has come', () => packets.join('') === 'behind')
    await works(both)
  })
})
