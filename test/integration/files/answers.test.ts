/** Answers to offers that are wrong, or never come: the sender hears at once. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type FileOffer, framing, type TransferProgress } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { listening } from '../../helpers/file_peer.js'
import { acceptNext, code, failure, folders, makeFile, methods, pair, works } from '../../helpers/files.js'
import { until } from '../../helpers/time.js'

/** So long that nothing ends in time that only a time limit would end. */
const NEVER = '1h'
const patient = { transfer: { answerTimeout: NEVER, stallTimeout: NEVER } }

/** What handlers throw, instead of the end of the process. */
function uncaught(): unknown[] {
  const thrown: unknown[] = []
  const before = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', (error) => thrown.push(error))
  onTestFinished(() => {
    process.removeAllListeners('uncaughtException')
    for (const listener of before) process.on('uncaughtException', listener)
  })
  return thrown
}

const framings = { framed: framing.lengthField({ typeByte: true }), iocps: framing.iocps() } as const

describe.each(['framed', 'iocps'] as const)('%s', (kind) => {
  const mode = kind === 'framed' ? 'framed' : 'raw'

  test.each([404, null, {}, Symbol('no')])('reject(%s) throws, and the file is refused', async (reason) => {
    const { from } = folders()
    const both = await pair({ framing: framings[kind], ...patient })
    const thrown: unknown[] = []
    both.server.once('file', (offer) => {
      try {
        offer.reject(reason as string)
      } catch (error) {
        thrown.push(error)
      }
    })
    expect(await code(both.client.sendFile(makeFile(from, 10), { mode }))).toBe('ERR_IOCP_TRANSFER_REJECTED')
    expect(thrown).toEqual([expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE', option: 'reason' })])
    await works(both)
  })

  test.each(['connection', 'server'] as const)(
    "a handler of the %s's that throws before it has answered",
    async (whose) => {
      const { from } = folders()
      const both = await pair({ framing: framings[kind], ...patient })
      const thrown = uncaught()
      const mine = new Error('mine')
      const fail = (): void => {
        throw mine
      }
      if (whose === 'server') both.endpoint.once('file', fail)
      else both.server.once('file', fail)
      const path = makeFile(from, 10)
      expect(await code(both.client.sendFile(path, { mode }))).toBe('ERR_IOCP_TRANSFER_REJECTED')
      await until('it surfaces', () => thrown.length === 1)
      expect(thrown).toEqual([mine])
      await works(both)
    }
  )

  test('a handler that throws behind its answer changes nothing', async () => {
    const { from, to } = folders()
    const both = await pair({ framing: framings[kind], ...patient })
    const thrown = uncaught()
    const mine = new Error('mine')
    let received: Promise<unknown> = Promise.resolve()
    both.server.once('file', (offer) => {
      received = offer.accept({ directory: to })
      throw mine
    })
    const path = makeFile(from, 10)
    await both.client.sendFile(path, { mode })
    // With framing.iocps() the sender is not told that it is there.
    await received
    expect(readFileSync(join(to, 'file-10.bin')).equals(readFileSync(path))).toBe(true)
    expect(thrown).toEqual([mine])
  })

  test('wrong options of accept() that a handler does not catch', async () => {
    const { from } = folders()
    const both = await pair({ framing: framings[kind], ...patient })
    const thrown = uncaught()
    both.server.once('file', (offer) => {
      void offer.accept({})
    })
    expect(await code(both.client.sendFile(makeFile(from, 10), { mode }))).toBe('ERR_IOCP_TRANSFER_REJECTED')
    await until('it surfaces', () => thrown.length === 1)
    expect(thrown[0]).toMatchObject({ code: 'ERR_IOCP_INVALID_OPTION' })
  })
})

test('names that are no UTF-8 are refused', async () => {
  for (const name of [
    [0xff, 0xfe],
    [0x61, 0x80],
    [0xc0, 0xaf],
    [0xed, 0xa0, 0x80],
    [0xe4, 0xbd]
  ]) {
    const { peer, to } = await listening()
    peer.offer(Buffer.from(name), 10)
    const answer = await peer.answer()
    expect([answer[0], answer.readUInt16BE(5)]).toEqual([0xf2, 5])
    expect(readdirSync(to)).toEqual([])
    peer.destroy()
  }
})

test('a name that UTF-8 cannot say is not sent', async () => {
  const { from } = folders()
  const both = await pair()
  const offers: FileOffer[] = []
  both.server.on('file', (offer) => offers.push(offer))
  const error = await failure(both.client.sendFile(makeFile(from, 10), { name: 'a\ud800b' }))
  expect(error.code).toBe('ERR_IOCP_TRANSFER_NAME')
  await works(both)
  expect(offers).toEqual([])
})

test.each(methods)("progress says how far it is, of an empty file too, by '%s'", async (method) => {
  const { from, to } = folders()
  const both = await pair({ transfer: { method } })
  for (const size of [0, 100_000]) {
    const seen: TransferProgress[] = []
    const onProgress = (progress: TransferProgress): number => seen.push(progress)
    const received = acceptNext(both.server, { directory: to, onProgress })
    await both.client.sendFile(makeFile(from, size), { verify: false, onProgress })
    await received
    expect(seen.length).toBeGreaterThanOrEqual(2)
    for (const { bytes, total, fraction } of seen) {
      expect(total).toBe(size)
      expect(fraction).toBe(size === 0 ? 1 : bytes / size)
    }
    expect(seen.at(-1)).toEqual({ bytes: size, total: size, fraction: 1 })
  }
})
