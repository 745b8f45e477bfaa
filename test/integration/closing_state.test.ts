/** What a connection says of itself while its server or client closes. */

import { connect, type Connection, createClient, createServer, type SendOutcome } from 'iocp'
import { expect, test } from 'vitest'
import { closeAfterTest, first } from '../helpers/servers.js'

const HOST = '127.0.0.1'
const PATIENCE = { timeout: 20_000 }

test.each(['server', 'client'] as const)('from the moment of close(), connections of a %s are ending', async (side) => {
  const server = createServer()
  const client = createClient()
  closeAfterTest(server)
  closeAfterTest(client)
  const { port } = await server.listen(0, HOST)
  const accepted = first<Connection>(server, 'connection')
  const made = await client.connect({ port, host: HOST })
  const peer = await accepted
  const endpoint = side === 'server' ? server : client
  const [ours, theirs] = side === 'server' ? [peer, made] : [made, peer]
  const got: string[] = []
  theirs.on('packet', (packet) => got.push(packet.toString()))
  ours.send('before')
  const late = first<undefined>(theirs, 'end')
  const closed = endpoint.close({ deadline: 5000 })
  const look = (): unknown[] => {
    const outcome: SendOutcome[] = []
    return [ours.state, ours.writable, ours.send('after', (one) => outcome.push(one)), endpoint.broadcast('after all')]
  }
  const ending = ['ending', false, 'closed', { sent: 0, queued: 0, dropped: 0, closed: 1 }]
  expect(look()).toEqual(ending)
  await new Promise(setImmediate)
  expect(look()).toEqual(ending)
  await late
  await closed
  expect(got).toEqual(['before'])
  expect(ours.state).toBe('closed')
})

test('so are those that are accepted in that moment', async () => {
  const server = createServer()
  closeAfterTest(server)
  const { port } = await server.listen(0, HOST)
  const states: string[] = []
  server.on('connection', ({ state }) => states.push(state))
  const attempts = Array.from({ length: 50 }, () => connect({ port, host: HOST }).catch(() => undefined))
  await expect.poll(() => states.length, PATIENCE).toBeGreaterThan(0)
  const before = states.length
  await server.close({ deadline: 1000 })
  expect(new Set(states.slice(before))).not.toContain('open')
  for (const connection of await Promise.all(attempts)) connection?.destroy()
})
