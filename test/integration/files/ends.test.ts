/** The moments around a transfer: closing, other framings, slow disks, limits of time and speed. */

import { createHash } from 'node:crypto'
import { closeSync, openSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type FileOffer, framing } from 'iocp'
import { describe, expect, test } from 'vitest'
import { faultsOfLibrary } from '../../helpers/faults.js'
import {
  acceptNext,
  checks,
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

describe.each(methods)("closing, sent by '%s'", (method) => {
  test.each(['server', 'client'] as const)('server.close() waits for files, the %s sends', async (side) => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const [sender, receiver] = side === 'server' ? [both.server, both.client] : [both.client, both.server]
    const received = acceptNext(receiver, { directory: to })
    const path = makeFile(from, 2 * MIB)
    const sending = sender.sendFile(path, { ...checks(method), bytesPerSecond: 4 * MIB })
    await until('it comes', () => leftovers(to).length === 1)
    const closing = both.close({ deadline: 20_000 })
    expect(await sending).toMatchObject({ bytes: 2 * MIB })
    expect(await sha256((await received).path)).toBe(await sha256(path))
    expect(await closing).toEqual({ drained: 1, cut: 0 })
    expect((await both.client.closed).error).toBeUndefined()
  })

  test('server.close() cuts them at the deadline, and begins no others', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const received = acceptNext(both.server, { directory: to })
    const path = makeFile(from, 2 * MIB)
    const sending = both.client.sendFile(path, { ...checks(method), bytesPerSecond: 100_000 })
    await until('it comes', () => leftovers(to).length === 1)
    const closing = both.close({ deadline: 300 })
    await pause(20)
    expect(await code(both.server.sendFile(path))).toBe('ERR_IOCP_TRANSFER_CLOSED')
    expect(await code(both.client.sendFile(path))).toBe('ERR_IOCP_TRANSFER_REJECTED')
    expect(await Promise.all([code(sending), code(received)])).toEqual(Array(2).fill('ERR_IOCP_TRANSFER_CLOSED'))
    expect(await closing).toEqual({ drained: 0, cut: 1 })
    expect(readdirSync(to)).toEqual([])
  })

  test('end() in the tick of sendFile() waits for it', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const received = acceptNext(both.server, { directory: to })
    const sending = both.client.sendFile(makeFile(from, MIB), checks(method))
    both.client.end()
    expect(await sending).toMatchObject({ bytes: MIB })
    await received
    expect((await both.client.closed).error).toBeUndefined()
  })

  test.skipIf(seam === undefined)('a raw file whose last writes are late, when both sides have ended', async () => {
    const { from, to } = folders()
    const both = await pair({ ioThreads: 4, allowHalfOpen: true, transfer: { method } })
    seam?.set('write_file', { block: 300 })
    const path = makeFile(from, 100_000)
    let received: Promise<unknown> = Promise.resolve()
    await new Promise<void>((resolve) => {
      received = both.server.receiveFile({ path: join(to, 'raw'), bytes: 100_000, onReady: resolve })
    })
    both.server.end()
    await both.client.sendFile(path, { mode: 'raw' })
    both.client.end()
    await both.client.closed
    await received
    expect(await sha256(join(to, 'raw'))).toBe(await sha256(path))
  })

  test('end() does not wait for what is received raw; and the file still comes', async () => {
    const { from, to } = folders()
    const both = await pair({ allowHalfOpen: true, transfer: { method } }, { allowHalfOpen: true })
    const path = makeFile(from, 100_000)
    const ended = new Promise<void>((resolve) => {
      both.server.once('end', resolve)
    })
    const received = both.client.receiveFile({
      path: join(to, 'raw'),
      bytes: 100_000,
      onReady: () => {
        both.client.end()
      }
    })
    await ended
    await both.server.sendFile(path, { mode: 'raw' })
    both.server.end()
    await received
    expect(await sha256(join(to, 'raw'))).toBe(await sha256(path))
  })

  test.each([0, 999])('a raw file of which %d bytes come before the peer ends', async (bytes) => {
    const { from, to } = folders()
    const both = await pair({ allowHalfOpen: true, transfer: { method } }, { allowHalfOpen: true })
    const ready = new Promise<{ received: Promise<unknown> }>((resolve) => {
      const received = both.server.receiveFile({
        path: join(to, 'raw'),
        bytes: 1000,
        onReady: () => {
          setImmediate(() => {
            resolve({ received })
          })
        }
      })
      received.catch(() => undefined)
    })
    const { received } = await ready
    await both.client.sendFile(makeFile(from, bytes), { mode: 'raw' })
    both.client.end()
    expect(await code(received)).toBe('ERR_IOCP_TRANSFER_CLOSED')
    expect(readdirSync(to)).toEqual([])
    // And when it ended before it was asked for.
    expect(await code(both.server.receiveFile({ path: join(to, 'raw'), bytes: 1 }))).toBe('ERR_IOCP_TRANSFER_CLOSED')
  })

  test.each(['destroy', 'reset'] as const)('%s() at any moment: both sides settle, nothing is left', async (how) => {
    const { from, to } = folders()
    const path = makeFile(from, 3 * MIB)
    for (const delay of [0, 1, 3, 7, 15, 30]) {
      const both = await pair({ transfer: { method } })
      const received = acceptNext(both.server, { directory: to, overwrite: 'replace' })
      const sending = both.client.sendFile(path, checks(method))
      await pause(delay)
      both[delay % 2 === 0 ? 'client' : 'server'][how]()
      const [sent] = await Promise.allSettled([sending])
      await both.server.closed
      if (sent.status === 'rejected') expect(sent.reason).toMatchObject({ code: 'ERR_IOCP_TRANSFER_CLOSED' })
      // The offer may never have come.
      await Promise.race([received.catch(() => undefined), pause(200)])
      expect(leftovers(to)).toEqual([])
    }
  })
})

test('the framing stays while files are under way', async () => {
  const { from, to } = folders()
  const both = await pair()
  const offers: FileOffer[] = []
  both.server.once('file', (offer) => offers.push(offer))
  const sending = both.client.sendFile(makeFile(from, 1000))
  await until('it is offered', () => offers.length === 1)
  for (const end of [both.client, both.server]) {
    expect(() => end.setFraming(framing.raw())).toThrow(
      expect.objectContaining({ code: 'ERR_IOCP_TRANSFER_BUSY' }) as Error
    )
  }
  await offers[0]?.accept({ directory: to })
  await sending
  for (const end of [both.client, both.server]) end.setFraming(framing.varint({ typeByte: true }))
  const received = acceptNext(both.server, { directory: to, overwrite: 'replace' })
  await both.client.sendFile(makeFile(from, 2000))
  expect((await received).bytes).toBe(2000)
  await works(both)
})

describe('time', () => {
  test.each(methods)("bytesPerSecond is kept, sent by '%s'", async (method) => {
    const { from, to } = folders()
    const both = await pair({ transfer: {} }, { transfer: { method, bytesPerSecond: MIB } })
    const received = acceptNext(both.server, { directory: to })
    const begun = performance.now()
    const { seconds } = await both.client.sendFile(makeFile(from, MIB), { verify: false })
    await received
    // All but the last piece, a quarter of a second's worth at most, has to be waited for.
    expect(performance.now() - begun).toBeGreaterThan(700)
    expect(seconds).toBeLessThan(10)
  })

  test.skipIf(seam === undefined).each(methods)(
    "a slow disk slows the peer, sent by '%s', and memory stays bounded",
    { timeout: 60_000 },
    async (method) => {
      const { from, to } = folders()
      const both = await pair({ transfer: { method } })
      seam?.set('write_file', { block: 20 })
      let most = 0
      const written = (bytes: number): void => {
        most = Math.max(most, (both.server.stats()?.bytesRead ?? 0) - bytes)
      }
      const received = acceptNext(both.server, {
        directory: to,
        onProgress: ({ bytes }) => {
          written(bytes)
        }
      })
      const path = makeFile(from, 6 * MIB)
      const begun = performance.now()
      await both.client.sendFile(path, { verify: false })
      expect(await sha256((await received).path)).toBe(await sha256(path))
      // 96 writes of 20 ms each, one at a time.
      expect(performance.now() - begun).toBeGreaterThan(1800)
      expect(seam?.hits('write_file')).toBeGreaterThan(90)
      // Four writes that are pending, one that is gathered, what has been read and not decoded, and what became known late.
      expect(most).toBeGreaterThan(0)
      expect(most).toBeLessThan(12 * 64 * KIB)
    }
  )

  test.each(methods)(
    "a receiver that hears nothing more gives up, sent by '%s'; the connection goes on",
    async (method) => {
      const { from, to } = folders()
      const both = await pair({ transfer: { stallTimeout: 300 } }, { transfer: { method, stallTimeout: 20_000 } })
      const received = acceptNext(both.server, { directory: to })
      const sending = both.client.sendFile(makeFile(from, MIB), { bytesPerSecond: 1, verify: false })
      expect(await Promise.all([code(sending), code(received)])).toEqual(
        Array(2).fill('ERR_IOCP_TRANSFER_STALL_TIMEOUT')
      )
      expect(readdirSync(to)).toEqual([])
      await works(both)
    }
  )
})

test('a listener for progress that throws is an uncaught exception, and the file comes all the same', async () => {
  const { from, to } = folders()
  const both = await pair()
  const thrown: unknown[] = []
  const before = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', (error) => thrown.push(error))
  try {
    const mine = new Error('mine')
    const received = acceptNext(both.server, {
      directory: to,
      onProgress: () => {
        throw mine
      }
    })
    await both.client.sendFile(makeFile(from, 100_000))
    expect((await received).bytes).toBe(100_000)
    await until('it surfaces', () => thrown.length > 0)
    expect(thrown[0]).toBe(mine)
  } finally {
    process.removeAllListeners('uncaughtException')
    for (const listener of before) process.on('uncaughtException', listener)
  }
})

test('broadcastFile checks its options, also when there is nobody', async () => {
  const { from } = folders()
  const both = await pair()
  const path = makeFile(from, 1)
  expect(() => both.endpoint.broadcastFile(path, { chunk: 0 })).toThrow(/chunk/)
  expect(() => both.endpoint.broadcastFile(path, { group: 1 as unknown as string })).toThrow(/group/)
  expect(() => both.endpoint.broadcastFile('')).toThrow(/path/)
  expect(await both.endpoint.broadcastFile(path, { group: 'nobody' })).toEqual({ sent: [], failed: [] })
  expect((await failure(both.client.sendFile(join(from, 'no')))).message).toMatch(/no such file/i)
})

test.each(methods)("a slow sender has not stalled, by '%s'", async (method) => {
  const { from, to } = folders()
  const both = await pair({ transfer: { method, stallTimeout: 700 } })
  const path = makeFile(from, 6000)
  const received = acceptNext(both.server, { directory: to })
  expect(await both.client.sendFile(path, { ...checks(method), bytesPerSecond: 3000 })).toMatchObject({ bytes: 6000 })
  expect(await sha256((await received).path)).toBe(await sha256(path))
})

test('an abort while a part is being hashed: the part is closed when the promise is broken', async () => {
  const { from, to } = folders()
  const both = await pair()
  const bytes = Buffer.alloc(192 * MIB, 7)
  const path = join(from, 'large')
  writeFileSync(path, bytes)
  const name = createHash('sha256').update(`large/${bytes.length}`).digest('hex').slice(0, 32)
  const part = join(to, `.iocp-${name}.part`)
  writeFileSync(part, bytes.subarray(0, -1))
  const isOpen = (): boolean => {
    try {
      closeSync(openSync(part, 'r+'))
      return false
    } catch {
      return true
    }
  }
  const begin = async () => {
    const aborting = new AbortController()
    const received = acceptNext(both.server, { directory: to, resume: true, signal: aborting.signal })
    let ended = false
    const sending = code(both.client.sendFile(path, { verify: false })).finally(() => (ended = true))
    await until('it is open', () => ended || isOpen())
    return { aborting, received, sending, ended }
  }
  let begun = await begin()
  // This test has looked just when it was to be opened, and so it could not be.
  for (let attempt = 1; begun.ended && attempt < 5; attempt++) begun = await begin()
  const { aborting, received, sending } = begun
  aborting.abort()
  await expect(received).rejects.toBe(aborting.signal.reason)
  closeSync(openSync(part, 'r+'))
  expect(await sending).toBe('ERR_IOCP_TRANSFER_ABORTED')
})
