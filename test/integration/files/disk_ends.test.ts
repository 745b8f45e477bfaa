/** Ends at any moment while every call on a file takes its thread for a while. */

import { join } from 'node:path'
import { connect, type Connection, framing } from 'iocp'
import { describe, expect, test } from 'vitest'
import { faultsOfLibrary, slowDisk } from '../../helpers/faults.js'
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
  typed,
  works
} from '../../helpers/files.js'
import { pause, until } from '../../helpers/time.js'

const seam = faultsOfLibrary()

/** Of files that nobody has under way any more. */
async function nothingIsLeft(folder: string): Promise<void> {
  await until('no part is left', () => leftovers(folder).length === 0)
}

describe.skipIf(seam === undefined)('a slow disk', () => {
  const ends = ['destroy', 'reset', 'abort', 'close'] as const
  test.each(methods.flatMap((method) => ends.map((how) => [how, method] as const)))(
    "%s() at any moment, sent by '%s': both sides settle, nothing is left",
    { timeout: 120_000 },
    async (how, method) => {
      const { from, to } = folders()
      const path = makeFile(from, 300 * KIB)
      for (const [round, moment] of [0, 30, 70, 130, 220, 340, 500].entries()) {
        const both = await pair({ transfer: { method }, diskThreads: 2 })
        slowDisk(30)
        const aborting = new AbortController()
        const received = [
          acceptNext(both.server, { path: join(to, `${round}`), signal: aborting.signal }),
          acceptNext(both.client, { path: join(to, `back ${round}`) })
        ]
        const sent = Promise.allSettled([both.client.sendFile(path, checks(method)), both.server.sendFile(path)])
        await pause(moment)
        const begun = performance.now()
        if (how === 'abort') aborting.abort()
        else if (how === 'close') await both.close({ deadline: 0 })
        else both[round % 2 === 0 ? 'client' : 'server'][how]()
        await sent
        if (how === 'abort') both.client.destroy()
        await both.server.closed
        // The offers may never have come.
        await Promise.race([Promise.allSettled(received), pause(500)])
        expect(performance.now() - begun).toBeLessThan(15_000)
        seam?.clear()
        await nothingIsLeft(to)
      }
    }
  )

  test(
    'one that serves a crowd in turn: each file comes, the last not much behind the first',
    { timeout: 60_000 },
    async () => {
      const { from, to } = folders()
      const path = makeFile(from, 4 * 64 * KIB)
      const both = await pair({ diskThreads: 1 })
      const large = acceptNext(both.server, { path: join(to, 'large') })
      const sendingLarge = both.client.sendFile(makeFile(from, 8 * MIB), { verify: false })
      await until('the large one is under way', () => (both.server.stats()?.bytesRead ?? 0) > 256 * KIB)
      slowDisk(5)
      const others = await Promise.all(Array.from({ length: 4 }, () => pair({ diskThreads: 1 })))
      await Promise.all(
        others.map(async (one, n) => {
          const received = acceptNext(one.server, { path: join(to, `small ${n}`) })
          await one.client.sendFile(path)
          await received
        })
      )
      seam?.clear()
      await Promise.all([sendingLarge, large])
      await works(both)
    }
  )

  test('files that wait to be opened do not hold up close({ deadline: 0 })', { timeout: 60_000 }, async () => {
    const { to } = folders()
    const both = await pair({ framing: framing.raw(), diskThreads: 1, transfer: { maxPerConnection: 100 } })
    seam?.set('open_file', { block: 300 })
    const opening = Array.from({ length: 50 }, (_, n) =>
      code(both.server.receiveFile({ path: join(to, `${n}`), bytes: 10 }))
    )
    await until('the first is being opened', () => (seam?.hits('open_file') ?? 0) > 0)
    const begun = performance.now()
    await both.close({ deadline: 0 })
    expect(new Set(await Promise.all(opening))).toEqual(new Set(['ERR_IOCP_TRANSFER_CLOSED']))
    // All of them would take 15 s.
    expect(performance.now() - begun).toBeLessThan(7000)
    expect(leftovers(to)).toEqual([])
  })

  test('a read that ends in spite of its cancel waits for no other file', { timeout: 60_000 }, async () => {
    const { from, to } = folders()
    const both = await pair({ diskThreads: 1 })
    seam?.set('read_file', { keep: true, late: true, count: 1 })
    const aborting = new AbortController()
    const mine = code(acceptNext(both.client, { path: join(to, 'mine') }))
    const sending = failure(both.server.sendFile(makeFile(from, 64 * KIB), { signal: aborting.signal }))
    await until('its read is under way', () => (seam?.hits('read_file') ?? 0) === 1)
    seam?.set('write_file', { block: 1500, count: 1 })
    const other = acceptNext(both.server, { path: join(to, 'other') })
    const held = both.client.sendFile(makeFile(from, KIB))
    await until('the only thread is held', () => (seam?.hits('write_file') ?? 0) === 1)
    aborting.abort()
    expect(await sending).toMatchObject({ name: 'AbortError' })
    expect(await mine).toMatch(/^ERR_IOCP_TRANSFER_/)
    await Promise.all([other, held])
    await works(both)
  })

  test('an end does not wait for the files of others', { timeout: 60_000 }, async () => {
    const { from, to } = folders()
    const first = await pair({ diskThreads: 1 })
    const accepted = new Promise<Connection>((resolve) => {
      first.endpoint.once('connection', resolve)
    })
    const client = await connect({ host: '127.0.0.1', port: first.port, framing: typed })
    const server = await accepted
    const path = makeFile(from, MIB)
    const mine = code(acceptNext(server, { path: join(to, 'mine') }))
    const sending = code(client.sendFile(path, { bytesPerSecond: 500 * KIB }))
    await until('bytes come', () => (server.stats()?.bytesRead ?? 0) > 64 * KIB)
    const settled = Promise.all([sending, mine])
    // The only thread is held in the other connection's file.
    const other = code(acceptNext(first.server, { path: join(to, 'other') }))
    seam?.set('allocate_file', { block: 4000, count: 1 })
    const held = code(first.client.sendFile(path))
    await until('it is held', () => (seam?.hits('allocate_file') ?? 0) === 1)
    await pause(300)
    const begun = performance.now()
    client.destroy()
    server.destroy()
    expect(await settled).toEqual(Array(2).fill('ERR_IOCP_TRANSFER_CLOSED'))
    await Promise.all([client.closed, server.closed])
    expect(performance.now() - begun).toBeLessThan(3000)
    first.client.destroy()
    await Promise.all([other, held])
    expect(leftovers(to)).toEqual([])
  })
})
