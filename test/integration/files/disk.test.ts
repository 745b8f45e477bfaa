/** Disks that take their time, in the calling thread as NTFS does: nobody else waits for them. */

import { join } from 'node:path'
import { connect, type Connection, createServer, type Server } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { diskHits, faultsOfLibrary, slowDisk } from '../../helpers/faults.js'
import { acceptNext, code, folders, KIB, leftovers, makeFile, sha256, typed } from '../../helpers/files.js'
import { closeAfterTest } from '../../helpers/servers.js'
import { pause, until } from '../../helpers/time.js'

const seam = faultsOfLibrary()

interface Busy {
  readonly server: Server
  /** Connections that do nothing but packets. */
  readonly echoes: Connection[]
  readonly pairs: { readonly here: Connection; readonly there: Connection }[]
}

/** One server; some connections echo, the others are for files. */
async function busyServer(ioThreads: number, files: number): Promise<Busy> {
  const server = createServer({ framing: typed, ioThreads, transfer: { stallTimeout: 60_000, answerTimeout: 60_000 } })
  closeAfterTest(server)
  server.on('connection', (connection) => {
    connection.on('packet', (packet) => connection.send(packet))
  })
  const { port } = await server.listen({ host: '127.0.0.1' })
  const open = (): Promise<Connection> =>
    connect({ host: '127.0.0.1', port, framing: typed, transfer: { stallTimeout: 60_000, answerTimeout: 60_000 } })
  const accepted: Connection[] = []
  server.on('connection', (connection) => accepted.push(connection))
  const echoes = await Promise.all(Array.from({ length: 4 }, open))
  const mine = await Promise.all(Array.from({ length: files }, open))
  onTestFinished(() => {
    for (const connection of [...echoes, ...mine]) connection.destroy()
  })
  await until('all are there', () => accepted.length === echoes.length + mine.length)
  const pairs = mine.flatMap((here) => {
    const there = accepted.find((one) => one.remotePort === here.localPort)
    return there === undefined ? [] : [{ here, there }]
  })
  return { server, echoes, pairs }
}

/** Round trips in milliseconds, one at a time on each connection. */
class Echoes {
  readonly times: { at: number; took: number }[] = []
  #isOver = false
  readonly #all: Promise<unknown>

  constructor(connections: Connection[]) {
    this.#all = Promise.all(connections.map((connection) => this.#one(connection)))
  }

  async #one(connection: Connection): Promise<void> {
    while (!this.#isOver) {
      const begun = performance.now()
      const back = new Promise((resolve) => {
        connection.once('packet', resolve)
      })
      connection.send('ping')
      await back
      this.times.push({ at: begun, took: performance.now() - begun })
      await pause(1)
    }
  }

  async stop(): Promise<void> {
    this.#isOver = true
    await this.#all
  }

  /** Round trips per second. */
  rate(from: number, to: number): number {
    return (this.times.filter(({ at }) => at >= from && at < to).length * 1000) / (to - from)
  }

  /** The 99th percentile of each half second; of those the median, since a busy machine has bad moments of its own. */
  p99(from: number, to: number): number {
    const windows = new Map<number, number[]>()
    for (const { at, took } of this.times) {
      if (at < from || at >= to) continue
      const window = Math.floor((at - from) / 500)
      windows.set(window, [...(windows.get(window) ?? []), took])
    }
    const each = [...windows.values()].map((times) => times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? 0)
    return each.sort((a, b) => a - b)[Math.floor(each.length / 2)] ?? Infinity
  }
}

describe.skipIf(seam === undefined)('a disk whose every call takes its thread', () => {
  test('200 ms, with 16 uploads and 16 downloads: echoes are as quick as without', { timeout: 120_000 }, async () => {
    const { from, to } = folders()
    const { echoes, pairs } = await busyServer(1, 16)
    const path = makeFile(from, 130 * KIB)
    const measured = new Echoes(echoes)
    const begun = performance.now()
    await pause(1500)
    slowDisk(200)
    const filesBegun = performance.now()
    const received: Promise<{ path: string }>[] = []
    const sent: Promise<unknown>[] = []
    pairs.forEach(({ here, there }, n) => {
      received.push(acceptNext(there, { path: join(to, `up ${n}`) }), acceptNext(here, { path: join(to, `down ${n}`) }))
      sent.push(here.sendFile(path), there.sendFile(path))
    })
    await Promise.all([...sent, ...received])
    const filesEnded = performance.now()
    await measured.stop()
    const hash = await sha256(path)
    for (const { path: target } of await Promise.all(received)) expect(await sha256(target)).toBe(hash)
    expect(leftovers(to)).toEqual([])
    const without = measured.p99(begun, filesBegun)
    const during = measured.p99(filesBegun, filesEnded)
    console.log(
      `echo p99: ${without.toFixed(1)} ms without, ${during.toFixed(1)} ms with slow files (${((filesEnded - filesBegun) / 1000).toFixed(1)} s)`
    )
    // What a round trip takes of itself is small beside what one call of this disk takes.
    expect(during).toBeLessThan(2 * without + 20)
    expect(measured.rate(filesBegun, filesEnded)).toBeGreaterThan(measured.rate(begun, filesBegun) / 3)
  })

  test(
    '1.5 s, with one I/O thread: packets go on, and so does everything else of the program',
    { timeout: 120_000 },
    async () => {
      const { from, to } = folders()
      const { echoes, pairs } = await busyServer(1, 8)
      const path = makeFile(from, 300 * KIB)
      const settled: Promise<unknown>[] = []
      // Under way in both directions before the disk stops answering.
      pairs.forEach(({ here, there }, n) => {
        const options = { bytesPerSecond: 100 * KIB }
        settled.push(
          code(acceptNext(there, { path: join(to, `up ${n}`) })),
          code(acceptNext(here, { path: join(to, `down ${n}`) }))
        )
        settled.push(code(here.sendFile(path, options)), code(there.sendFile(path, options)))
      })
      await until('bytes come', () => pairs.every(({ here }) => (here.stats()?.bytesRead ?? 0) > 30 * KIB))
      slowDisk(1500)
      await until('the disk is asked', () => diskHits() >= 4)
      const measured = new Echoes(echoes)
      const begun = performance.now()
      await pause(1000)
      await measured.stop()
      expect(measured.p99(begun, Infinity)).toBeLessThan(500)
      expect(measured.times.length).toBeGreaterThan(50)
      for (const { here } of pairs) here.destroy()
      expect(new Set(await Promise.all(settled))).toEqual(new Set(['ERR_IOCP_TRANSFER_CLOSED']))
      expect(leftovers(to)).toEqual([])
    }
  )
})
