/** Guarantee 17: shutting down waits for everything that is under way. */

import { createServer } from 'iocp'
import { describe, expect, test } from 'vitest'
import { frame } from '../helpers/packets.js'
import { HOST } from '../helpers/ports.js'
import { openSocket } from '../helpers/raw_client.js'
import { startClient } from '../helpers/servers.js'
import { until } from '../helpers/time.js'
import { many } from './support.js'
import { Witness } from './witness.js'

const KIB = 1024

describe('guarantee 17: shutting down waits for everything that is under way', () => {
  test.each([
    { deadline: 0, ioThreads: 8 },
    { deadline: 40, ioThreads: 4 },
    { deadline: 800, ioThreads: 1 }
  ])('while all connections send and receive, with a deadline of $deadline ms', async ({ deadline, ioThreads }) => {
    const server = createServer({ ioThreads, pendingReads: 4, readMode: 'direct', sendBuffer: 16 * KIB })
    const witness = new Witness(server)
    let told = 0
    let asked = 0
    server.on('packet', (packet, connection) => {
      asked += 2
      connection.send(packet, () => told++)
      connection.send(Buffer.alloc(40 * KIB), () => told++)
    })
    for (let start = 0; start < 3; start++) {
      const before = witness.seen.length
      const alreadyAsked = asked
      const { port } = await server.listen(0, HOST)
      const mine = startClient({ ioThreads: 2 })
      const others = new Witness(mine)
      const sockets = await many(20, () => openSocket(port))
      const connections = await many(20, () => mine.connect({ port, host: HOST }))
      let flows = true
      const flood = (): void => {
        for (const [index, socket] of sockets.entries()) {
          if (socket.writable) socket.write(frame(Buffer.alloc(2000)))
          // Some do not read: their connections cannot end in order.
          if (index % 4 !== 0) socket.resume()
        }
        for (const connection of connections) connection.send(Buffer.alloc(2000))
        if (flows) setTimeout(flood, 2)
      }
      flood()
      await until('it flows', () => witness.seen.length === before + 40 && asked > alreadyAsked + 400)
      const pending = mine.connect({ port, host: HOST }).then(
        () => 'connected',
        () => 'refused'
      )
      // Peers end too, when they see that the server does.
      const report = await server.close({ deadline })
      flows = false
      expect(server.listening).toBe(false)
      expect(server.stats()).toBeUndefined()
      expect(server.connections.size).toBe(0)
      witness.check()
      expect(told).toBe(asked)
      const ended = witness.seen.length - before
      expect([40, 41]).toContain(ended)
      expect(report.drained + report.cut).toBe(ended)
      if (deadline === 0) expect(report.drained).toBe(0)
      expect(await pending).toMatch(/connected|refused/)
      await mine.close({ deadline: 0 })
      others.check()
      for (const socket of sockets) socket.destroy()
    }
  })
})
