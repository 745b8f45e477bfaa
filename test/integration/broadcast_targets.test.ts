/** Whom a broadcast may be for. */

import type { Connection } from 'iocp'
import { expect, test } from 'vitest'
import { frame } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'
import { nextConnection, startServer } from '../helpers/servers.js'

test('a connection that is named twice gets the packet once', async () => {
  const { server, port } = await startServer()
  const accepted = nextConnection(server)
  const client = await RawClient.open(port)
  const connection = await accepted
  expect(server.broadcast('once', { to: [connection, connection] })).toMatchObject({ sent: 1, closed: 0 })
  expect(server.broadcast('then', { to: [connection] })).toMatchObject({ sent: 1 })
  const wanted = Buffer.concat([frame('once'), frame('then')])
  expect(await client.read(wanted.length)).toEqual(wanted)
})

test('an option that does not exist: those that do include the targets', async () => {
  const { server } = await startServer()
  expect(() => server.broadcastFile('x', { too: 1 } as object)).toThrow(
    /^There is no option 'too' \(did you mean 'to'\?\); known options: .*except, group, .*to, verify$/
  )
})

test('a connection of somebody else is refused, before anything is sent', async () => {
  const { server, port } = await startServer()
  const accepted = nextConnection(server)
  const client = await RawClient.open(port)
  const mine: Connection = await accepted
  const { server: other } = await startServer()
  for (const options of [{ to: [mine] }, { except: mine }]) {
    expect(() => other.broadcast('x', options)).toThrow(expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION' }))
    expect(() => other.broadcastFile('x', options)).toThrow(
      expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION' })
    )
  }
  // One of its own that is closed meanwhile is nobody else's.
  client.reset()
  await mine.closed
  expect(server.broadcast('x', { to: [mine] })).toMatchObject({ sent: 0 })
})
