/** Each call of connect, of listen, and of what every server needs fails: an error that says so, and nothing is left. */

import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { connect, createServer } from 'iocp'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { faultsOfLibrary, type Rule } from '../helpers/faults.js'
import { HOST } from '../helpers/ports.js'
import { startClient, startEcho } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'
import { casesOf, failure, howsOf, manners, ruleFor, serves, Subject } from './sweep_support.js'
import { connectRows, listenRows, upkeepRows } from './sweep_table.js'

const seam = faultsOfLibrary()

describe.skipIf(seam === undefined)('listen', () => {
  test.each(casesOf(listenRows))('$name fails with $error', async ({ call, error, code }) => {
    const server = createServer({ ioThreads: 2, keepAlive: true, receiveBuffer: '32KiB', pendingAccepts: 2 })
    const host = call === 'v6_only' ? '::' : HOST
    seam?.set(call, ruleFor(error, 'immediate', { count: 1 }))
    if (code === 'ignored') await server.listen({ port: 0, host })
    else
      expect(await failure(server.listen({ port: 0, host }))).toMatchObject({
        code,
        syscall: expect.any(String) as string
      })
    expect(seam?.hits(call)).toBe(1)
    seam?.clear()
    if (code === 'ignored') {
      await server.close()
      return
    }
    expect(server.listening).toBe(false)
    expect(server.stats()).toBeUndefined()
    // The same server works.
    const { port } = await server.listen({ port: 0, host: HOST })
    server.on('packet', (packet, connection) => connection.send(packet))
    await new Subject(server, port).serves()
    await server.close()
  })
})

describe.skipIf(seam === undefined)('connect', () => {
  const peer = net.createServer((socket) => socket.pipe(socket).on('error', () => undefined))
  let port = 0
  beforeAll(async () => {
    peer.listen(0, HOST)
    await once(peer, 'listening')
    port = (peer.address() as AddressInfo).port
  })
  afterAll(() => {
    peer.close()
  })

  test.each(casesOf(connectRows))('$name fails with $error', async ({ call, error, code }) => {
    const client = startClient({ maxFreeContexts: -1, keepAlive: true, typeOfService: 8 })
    for (const how of howsOf(call, error)) {
      for (const manner of manners) {
        seam?.set(call, ruleFor(error, how, { count: 1 }))
        if (manner === 'late') seam?.set('completion', { delay: 3 })
        if (manner === 'short') seam?.set('send', { shortTo: 1 })
        const connecting = client.connect({ host: HOST, port })
        if (code === 'ignored') {
          const connection = await connecting
          const echo = once(connection, 'packet')
          connection.send('hello')
          expect(String((await echo)[0])).toBe('hello')
          connection.destroy()
          await connection.closed
        } else {
          expect(await failure(connecting), `${how}, ${manner}`).toMatchObject({ code, syscall: 'connect' })
        }
        expect(seam?.hits(call), `${how}, ${manner}`).toBe(1)
        seam?.clear()
        expect(client.connections.size).toBe(0)
        await until('nothing is left', () => client.stats()?.pools.contexts.inUse === 0)
        const { connections, pools, pendingObjects, pendingDirectReads } = client.stats() ?? {}
        expect({ now: connections?.now, read: pools?.readBuffers.inUse, wait: pools?.waitBuffers.inUse }).toEqual({
          now: 0,
          read: 0,
          wait: 0
        })
        // Its own.
        expect({ pendingObjects, pendingDirectReads }).toEqual({ pendingObjects: 1, pendingDirectReads: 0 })
        // The next one connects.
        const next = await client.connect({ host: HOST, port })
        next.destroy()
        await next.closed
      }
    }
  })
})

describe.skipIf(seam === undefined)('what is done over and over', () => {
  test.each(casesOf(upkeepRows))('$name fails with $error', { timeout: 60_000 }, async ({ call, error }) => {
    // What has not been posted waits for the next look at the timers, up to a second.
    const rules: Rule[] = [
      { count: 1 },
      call === 'post' ? { count: 4 } : { count: 40, perMille: 500 },
      { count: 3, skip: 1 }
    ]
    for (const rule of rules) {
      const { server, port } = await startEcho({ ioThreads: 2 })
      const subject = new Subject(server, port)
      seam?.set(call, ruleFor(error, 'immediate', rule))
      const client = await connect({ host: HOST, port })
      const results = await Promise.all([subject.talk(5), subject.talk(5), subject.talk(5)])
      for (const result of results) expect(result).toMatchObject({ complete: true, wrong: undefined })
      client.reset()
      await client.closed
      await until('all have closed', () => subject.closed.length === 4)
      // Where cancelling fails, closing ends what is pending.
      await server.close({ deadline: 500 })
      if (rule.count === 1) expect(seam?.hits(call)).toBe(1)
      seam?.clear()
      await pause(1)
      await serves()
    }
  })
})
