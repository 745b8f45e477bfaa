/** Transfers that go wrong: by the disk, by the system, by a peer that breaks the rules. */

import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { connect as netConnect } from 'node:net'
import { join } from 'node:path'
import { type Connection, createServer, framing } from 'iocp'
import { describe, expect, test } from 'vitest'
import { faultsOfLibrary } from '../../helpers/faults.js'
import { listening, type Peer } from '../../helpers/file_peer.js'
import {
  acceptNext,
  checks,
  code,
  failure,
  folders,
  makeFile,
  methods,
  MIB,
  pair,
  sha256,
  works
} from '../../helpers/files.js'
import { closeAfterTest } from '../../helpers/servers.js'
import { pause, until } from '../../helpers/time.js'

const seam = faultsOfLibrary()

describe.skipIf(seam === undefined).each(methods)("what the system refuses, sent by '%s'", (method) => {
  test.each([39, 112])('a full disk (%d): both sides know, nothing is left, the connection goes on', async (error) => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const path = makeFile(from, 2 * MIB)
    for (const skip of [0, 3, 20]) {
      seam?.set('write_file', { error, skip })
      const received = acceptNext(both.server, { directory: to })
      const codes = await Promise.all([code(both.client.sendFile(path, checks(method))), code(received)])
      expect(codes).toEqual(['ERR_IOCP_TRANSFER_DISK_FULL', 'ERR_IOCP_TRANSFER_DISK_FULL'])
      expect(readdirSync(to)).toEqual([])
      seam?.clear()
    }
    await works(both)
    const received = acceptNext(both.server, { directory: to })
    await both.client.sendFile(path, checks(method))
    expect(await sha256((await received).path)).toBe(await sha256(path))
  })

  test('a file that becomes shorter: what a frame has promised is made up, and the connection goes on', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    // A chunk of several writes, so that what has been promised is much.
    seam?.set(method === 'read' ? 'read_file' : 'transmit_file', { shortTo: 1000, skip: 5 })
    const received = acceptNext(both.server, { directory: to })
    const sending = both.client.sendFile(makeFile(from, 2 * MIB), checks(method))
    const changed = 'ERR_IOCP_TRANSFER_SOURCE_CHANGED'
    expect(await Promise.all([code(sending), code(received)])).toEqual([changed, changed])
    expect(readdirSync(to)).toEqual([])
    seam?.clear()
    await works(both)
  })

  test.each([true, false])(
    'a raw file that becomes shorter, or is aborted, ends the connection (%s)',
    async (isShort) => {
      const { from } = folders()
      const both = await pair({ framing: framing.raw(), transfer: { method } })
      const controller = new AbortController()
      if (isShort) seam?.set(method === 'read' ? 'read_file' : 'transmit_file', { shortTo: 1000, skip: 2 })
      const sending = both.client.sendFile(makeFile(from, 4 * MIB), {
        mode: 'raw',
        chunk: 65_536,
        bytesPerSecond: MIB,
        signal: controller.signal,
        onProgress: () => {
          if (!isShort) controller.abort()
        }
      })
      await expect(sending).rejects.toThrow()
      expect((await both.client.closed).cause).toBe('local')
    }
  )

  test('completions that come late and short writes change nothing', async () => {
    const { from, to } = folders()
    const both = await pair({ ioThreads: 4, transfer: { method } })
    seam?.set('completion', { delay: 3 })
    seam?.set('send', { shortTo: 777, count: 200 })
    const path = makeFile(from, MIB)
    const received = acceptNext(both.server, { directory: to })
    await both.client.sendFile(path, checks(method))
    expect(await sha256((await received).path)).toBe(await sha256(path))
  })
})

describe.skipIf(seam === undefined)('what only one way of sending can meet', () => {
  test('a file that cannot be read: the receiver hears of it', async () => {
    const { from, to } = folders()
    const both = await pair()
    const path = makeFile(from, 2 * MIB)
    for (const skip of [0, 1, 7]) {
      seam?.set('read_file', { error: 23, skip })
      const received = acceptNext(both.server, { directory: to })
      expect(await Promise.all([code(both.client.sendFile(path)), code(received)])).toEqual([
        'EIO',
        'ERR_IOCP_TRANSFER_FILE'
      ])
      expect(readdirSync(to)).toEqual([])
      seam?.clear()
    }
    await works(both)
  })

  test('TransmitFile that fails is the end of the connection, and of the transfer', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method: 'transmit' } })
    seam?.set('transmit_file', { error: 10054, skip: 3 })
    const received = acceptNext(both.server, { directory: to })
    const sending = both.client.sendFile(makeFile(from, 2 * MIB), { verify: false })
    const closed = 'ERR_IOCP_TRANSFER_CLOSED'
    expect(await Promise.all([code(sending), code(received)])).toEqual([closed, closed])
    expect(readdirSync(to)).toEqual([])
  })

  test.each([true, false])(
    'TransmitFile that ends with END_OF_FILE (at once: %s), since the file is shorter: the connection ends, and says so',
    async (atOnce) => {
      const { from, to } = folders()
      const both = await pair({ transfer: { method: 'transmit' } })
      const others = await pair()
      // A packet with the status comes before the call returns, or there is none.
      seam?.set('transmit_file', { error: 38, skip: 3, count: 1, ...(atOnce ? {} : { delay: 7 }) })
      const received = acceptNext(both.server, { directory: to })
      const error = (await failure(both.client.sendFile(makeFile(from, 2 * MIB), { verify: false }))) as Error
      expect(error).toMatchObject({ code: 'ERR_IOCP_TRANSFER_CLOSED', cause: { code: 'EOF' } })
      expect(await code(received)).toBe('ERR_IOCP_TRANSFER_CLOSED')
      expect(await both.client.closed).toMatchObject({ cause: 'io-error', error: { code: 'EOF' } })
      expect(readdirSync(to)).toEqual([])
      await works(others)
    }
  )

  test('TransmitFile that fails and leaves a packet all the same, as in Wine: the connection ends once', async () => {
    const { from } = folders()
    const path = makeFile(from, MIB)
    const server = createServer({ framing: framing.raw(), transfer: { method: 'transmit' } })
    closeAfterTest(server)
    const { port } = await server.listen({ host: '127.0.0.1' })
    for (let round = 0; round < 20; round++) {
      const accepted = new Promise<Connection>((resolve) => {
        server.once('connection', resolve)
      })
      const peer = netConnect({ host: '127.0.0.1', port })
      peer.on('error', () => undefined).resume()
      const connection = await accepted
      const reset = 10054
      seam?.set('transmit_file', { error: reset, delay: 6, skip: round % 3 })
      expect(await code(connection.sendFile(path, { mode: 'raw', chunk: MIB / 16 }))).toBe('ERR_IOCP_TRANSFER_CLOSED')
      expect((await connection.closed).cause).toBe('peer-reset')
      seam?.clear()
    }
    await until(
      'nothing is left',
      () => server.stats()?.pendingObjects === 2 && server.stats()?.pools.contexts.inUse === 0
    )
  })

  test('a shortage of memory at TransmitFile passes', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method: 'transmit' } })
    seam?.set('transmit_file', { error: 10055, skip: 2, count: 3 })
    const received = acceptNext(both.server, { directory: to })
    const path = makeFile(from, 2 * MIB)
    await both.client.sendFile(path, { verify: false })
    expect(seam?.hits('transmit_file')).toBe(3)
    expect(await sha256((await received).path)).toBe(await sha256(path))
  })
})

describe('a peer that breaks the rules', () => {
  test.each([
    '../evil',
    String.raw`..\evil`,
    'C:evil',
    'a:b',
    'NUL',
    'con.txt',
    'a.',
    'a\0b',
    '',
    'a\u202eb',
    'x'.repeat(300)
  ])('the name %j is refused', async (name) => {
    const { peer, to } = await listening()
    peer.offer(name, 10)
    const answer = await peer.answer()
    expect(answer[0]).toBe(0xf2)
    expect(answer.readUInt16BE(5)).toBe(5)
    expect(readdirSync(to)).toEqual([])
  })

  test('another checksum: nothing is kept', async () => {
    const { peer, to, received } = await listening()
    peer.offer('a', 3, true)
    expect((await peer.answer())[0]).toBe(0xf1)
    peer.say(0xf3, 0n)
    peer.say(0xf4, 'abc')
    peer.say(0xf5, 3n, 1, createHash('sha256').update('abd').digest())
    expect(await code(received)).toBe('ERR_IOCP_TRANSFER_CHECKSUM')
    const answer = await peer.answer()
    expect([answer[0], answer[5], answer.readUInt16BE(6)]).toEqual([0xf7, 1, 9])
    expect(readdirSync(to)).toEqual([])
  })

  test('the right checksum: it is there, and the peer hears of it', async () => {
    const { peer, received } = await listening()
    peer.offer('a', 3, true)
    await peer.answer()
    peer.say(0xf3, 0n)
    peer.say(0xf4, 'ab')
    peer.say(0xf4, 'c')
    peer.say(0xf5, 3n, 1, createHash('sha256').update('abc').digest())
    expect((await received).sha256).toBe(createHash('sha256').update('abc').digest('hex'))
    expect((await peer.answer())[0]).toBe(0xf6)
  })

  test.each([
    [
      'more bytes than offered',
      (peer: Peer) => {
        peer.say(0xf3, 0n)
        peer.say(0xf4, 'abcd')
      }
    ],
    [
      'fewer',
      (peer: Peer) => {
        peer.say(0xf3, 0n)
        peer.say(0xf4, 'ab')
        peer.say(0xf5, 3n, 0)
      }
    ],
    [
      'a beginning that nobody offered',
      (peer: Peer) => {
        peer.say(0xf3, 2n)
        peer.say(0xf4, 'c')
        peer.say(0xf5, 3n, 0)
      }
    ],
    [
      'another size at the end',
      (peer: Peer) => {
        peer.say(0xf3, 0n)
        peer.say(0xf4, 'abc')
        peer.say(0xf5, 4n, 0)
      }
    ],
    [
      'an end without a beginning',
      (peer: Peer) => {
        peer.say(0xf5, 3n, 0)
      }
    ]
  ])('%s', async (_, go) => {
    const { peer, to, received } = await listening()
    peer.offer('a', 3)
    await peer.answer()
    go(peer)
    expect(await code(received)).toBe('ERR_IOCP_TRANSFER_PROTOCOL')
    expect((await peer.answer())[0]).toBe(0xf7)
    expect(readdirSync(to)).toEqual([])
  })

  test('chunks, ends and answers of nothing are ignored; malformed frames close the connection', async () => {
    const { peer, accepted } = await listening()
    peer.say(0xf4, 'abc')
    peer.say(0xf3, 0n)
    peer.say(0xf5, 3n, 0)
    peer.say(0xf6)
    peer.say(0xf7, 1, 0, 3)
    const connection = await accepted
    await pause(100)
    expect(connection.state).toBe('open')
    peer.say(0xf6, 'too long')
    const info = await connection.closed
    expect(info.cause).toBe('protocol-error')
    expect(info.error).toMatchObject({ code: 'ERR_IOCP_FRAME_BAD_TRANSFER' })
  })

  test('it may choose any number for its file, also one that this side would take for a raw one', async () => {
    const { peer, to, accepted, received } = await listening()
    peer.file = 0x8000_0001
    peer.offer('a', 3)
    await peer.answer()
    const connection = await accepted
    const raw = code(connection.receiveFile({ path: join(to, 'raw'), bytes: 10 }))
    await until('both are there', () => readdirSync(to).length === 2)
    connection.destroy()
    expect(await Promise.all([code(received), raw])).toEqual(Array(2).fill('ERR_IOCP_TRANSFER_CLOSED'))
    expect(readdirSync(to)).toEqual([])
  })

  test('peers that end at once: a raw file has lost its connection, and is not one too many', async () => {
    const { to } = folders()
    const server = createServer({ framing: framing.raw() })
    closeAfterTest(server)
    const codes: Promise<unknown>[] = []
    server.on('connection', (connection) => {
      codes.push(code(connection.receiveFile({ path: join(to, String(connection.id)), bytes: 1_000_000 })))
    })
    const { port } = await server.listen({ host: '127.0.0.1' })
    for (let count = 0; count < 150; count++) {
      const socket = netConnect(port, '127.0.0.1', () => socket.end())
      socket.on('error', () => undefined)
    }
    await until('all have come', () => codes.length === 150)
    expect(new Set(await Promise.all(codes))).toEqual(new Set(['ERR_IOCP_TRANSFER_CLOSED']))
  })

  test('an answer that does not fit fails the sender', async () => {
    const { from } = folders()
    const { peer, accepted } = await listening()
    const connection = await accepted
    const sending = connection.sendFile(makeFile(from, 10))
    expect((await peer.answer())[0]).toBe(0xf0)
    peer.say(0xf6)
    expect(await code(sending)).toBe('ERR_IOCP_TRANSFER_PROTOCOL')
    expect((await peer.answer())[0]).toBe(0xf7)
  })
})
