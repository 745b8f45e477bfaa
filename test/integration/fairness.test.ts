/** The packets of many busy connections: each connection gets its share of the handlers' time. */

import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type Connection, createServer } from 'iocp'
import { expect, onTestFinished, test } from 'vitest'
import { startNode } from '../helpers/programs.js'
import { closeAfterTest } from '../helpers/servers.js'

const KIB = 1024
const WINDOWED = 24
/** Packets of 1 KiB. All windows together are more than half of `total`, none is more than `perConnection`. */
const WINDOW = 128
const DELIVERY = { total: 4096 * KIB, perConnection: 192 * KIB }
const STRETCHES = 4
/** A round is every packet of every window once; a stretch is far longer than a second's worth of the bounds. */
const STRETCH_PACKETS = 6 * WINDOWED * WINDOW

test(
  '1 client of 25 that is always at its own bound gets its share while the others go on',
  { timeout: 180_000 },
  async () => {
    const server = createServer({ delivery: DELIVERY })
    closeAfterTest(server)
    const { port } = await server.listen(0, '127.0.0.1')
    const taken = new Map<Connection, number>()
    const owed = new Map<Connection, number>()
    const stretches: { packets: number[]; seconds: number }[] = []
    let count = 0
    let begun = performance.now()
    const answer = Buffer.alloc(4)
    let done: () => void = () => undefined
    const finished = new Promise<void>((resolve) => {
      done = resolve
    })
    server.on('connection', (connection) => {
      taken.set(connection, 0)
      owed.set(connection, 0)
    })
    server.on('packet', (_, connection) => {
      // A handler that is slower than the peers, so that the queue is never empty.
      const until = performance.now() + 0.03
      while (performance.now() < until);
      taken.set(connection, (taken.get(connection) ?? 0) + 1)
      const now = (owed.get(connection) ?? 0) + 1
      owed.set(connection, now % 8)
      if (now === 8) {
        answer.writeUInt32BE(8)
        connection.send(answer)
      }
      if (taken.size < WINDOWED + 1 || ++count % STRETCH_PACKETS !== 0) return
      stretches.push({ packets: [...taken.values()], seconds: (performance.now() - begun) / 1000 })
      begun = performance.now()
      for (const one of taken.keys()) taken.set(one, 0)
      if (stretches.length === STRETCHES) done()
    })
    const program = fileURLToPath(new URL('programs/windowed_clients.mjs', import.meta.url))
    const child = startNode(program, [String(port), String(WINDOWED), String(WINDOW)])
    const exited = once(child, 'exit')
    onTestFinished(async () => {
      child.kill()
      await exited
    })
    await finished
    // The first stretch has the start in it.
    for (const { packets, seconds } of stretches.slice(1)) {
      const share = packets.reduce((sum, one) => sum + one, 0) / packets.length
      const least = Math.min(...packets)
      expect(
        least,
        `${least} of a share of ${share} in ${seconds.toFixed(1)} s: ${packets.join(' ')}`
      ).toBeGreaterThanOrEqual(share / 2)
    }
  }
)

test(
  'an iteration gets as much as a listener whose connection is paused now and then',
  { timeout: 180_000 },
  async () => {
    const server = createServer()
    closeAfterTest(server)
    const { port } = await server.listen(0, '127.0.0.1')
    const taken: number[] = []
    let count = 0
    let before: number[] = []
    let done: () => void = () => undefined
    const finished = new Promise<void>((resolve) => {
      done = resolve
    })
    const took = (index: number): void => {
      taken[index] = (taken[index] ?? 0) + 1
      // The first packets come before all clients do.
      if (++count === 500_000) before = [...taken]
      if (count === 2_500_000) done()
    }
    const iterate = async (connection: Connection, index: number): Promise<void> => {
      try {
        for await (const packet of connection) took(index + packet.length - 1)
      } catch {
        // The clients are ended in the middle.
      }
    }
    server.on('connection', (connection) => {
      const index = taken.push(0) - 1
      if (index % 2 === 0) {
        void iterate(connection, index)
        return
      }
      connection.on('packet', () => {
        took(index)
        connection.pause()
        connection.resume()
      })
    })
    const child = startNode(fileURLToPath(new URL('programs/flooding_clients.mjs', import.meta.url)), [
      String(port),
      '6'
    ])
    const exited = once(child, 'exit')
    onTestFinished(async () => {
      child.kill()
      await exited
    })
    await finished
    const packets = taken.map((all, index) => all - (before[index] ?? 0))
    const share = packets.reduce((sum, one) => sum + one, 0) / packets.length
    expect(packets).toHaveLength(6)
    expect(Math.min(...packets), packets.join(' ')).toBeGreaterThanOrEqual(share / 2)
  }
)
