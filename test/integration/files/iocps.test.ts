/** Files as IOCPS sends them: against a peer that does what IOCPS did, and between two ends of the library. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer as createNetServer } from 'node:net'
import { join } from 'node:path'
import { connect, createServer, type FileOffer, type ReceivedFile } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { acceptNext, code, folders, leftovers, makeFile, methods, sha256 } from '../../helpers/files.js'
import { iocps, Original, served } from '../../helpers/original.js'
import { pause, until } from '../../helpers/time.js'

describe.each(methods)("sent to the original by '%s'", (method) => {
  test.each([0, 1, 508, 3_000_001])('a file of %d bytes, with packages before and behind it', async (size) => {
    const { from } = folders()
    const { peer, connection } = await served({ transfer: { method } })
    const path = makeFile(from, size, 'Größe.bin')
    connection.send('before')
    const sending = connection.sendFile(path, { mode: 'raw' })
    await until('it is offered', () => peer.packages.length === 2)
    connection.send('behind')
    const [before, offer] = peer.packages.splice(0)
    expect(before?.toString()).toBe('before')
    expect([offer?.[0], offer?.readUInt32LE(1), offer?.toString('latin1', 5)]).toEqual([1, size, 'Größe.bin\0'])
    await pause(50)
    // What is sent later waits, so that it cannot be taken for the file; behind an empty file nothing can.
    expect(peer.packages.length).toBe(size === 0 ? 1 : 0)
    peer.take(size)
    expect(await sending).toMatchObject({ bytes: size, resumedFrom: 0 })
    expect((await peer.next()).toString()).toBe('behind')
    expect(peer.file.equals(readFileSync(path))).toBe(true)
  })

  test('a range; then another file', async () => {
    const { from } = folders()
    const { peer, connection } = await served({ transfer: { method } })
    const path = makeFile(from, 100_000)
    const both = Promise.all([
      connection.sendFile(path, { mode: 'raw', offset: 10, length: 70_000, name: 'a' }),
      connection.sendFile(path, { mode: 'raw', name: 'b' })
    ])
    const seen: string[] = []
    for (const _ of [1, 2]) {
      const offer = await peer.next()
      seen.push(offer.toString('latin1', 5))
      peer.take(offer.readUInt32LE(1))
    }
    await both
    await until('both are there', () => peer.file.length === 170_000)
    const whole = readFileSync(path)
    const range = whole.subarray(10, 70_010)
    const wanted = seen[0] === 'a\0' ? [range, whole] : [whole, range]
    expect(peer.file.equals(Buffer.concat(wanted))).toBe(true)
  })
})

describe('received from the original', () => {
  test.each([0, 1, 2_000_003])('%d bytes; what follows is a package again', async (size) => {
    const { from, to } = folders()
    const { peer, connection } = await served()
    const bytes = readFileSync(makeFile(from, size))
    const offers: FileOffer[] = []
    connection.once('file', (offer) => offers.push(offer))
    const packets: string[] = []
    connection.on('packet', (packet) => packets.push(packet.toString()))
    const received = acceptNext(connection, { directory: to })
    peer.offer('Größe.bin', size)
    expect(await peer.next()).toEqual(Buffer.from([2]))
    peer.write(bytes)
    peer.say(Buffer.from('behind'))
    const file = await received
    expect(offers[0]).toMatchObject({ name: 'Größe.bin', size, isVerified: false })
    expect(file).toMatchObject({ path: join(to, 'Größe.bin'), bytes: size })
    expect(readFileSync(file.path).equals(bytes)).toBe(true)
    await until('the package came', () => packets.length === 1)
    expect(packets).toEqual(['behind'])
    expect(leftovers(to)).toEqual([])
  })

  test('rejected, by the program and by its name, its size, the time', async () => {
    const { to } = folders()
    const { peer, connection } = await served({ transfer: { maxFileSize: 100, answerTimeout: 200 } })
    const answers: string[] = []
    connection.on('file', (offer) => {
      answers.push(offer.name)
      if (offer.name === 'no') offer.reject('not now')
    })
    for (const [name, size] of [
      ['no', 1],
      ['..\\evil', 1],
      ['NUL', 1],
      ['large', 101],
      ['unanswered', 1]
    ] as const) {
      peer.offer(name, size)
      expect(await peer.next()).toEqual(Buffer.from([3]))
    }
    expect(answers).toEqual(['no', 'unanswered'])
    expect(readdirSync(to)).toEqual([])
    expect(connection.state).toBe('open')
  })

  test('offers in one piece, the first of which is refused immediately: each has its answer', async () => {
    const { peer, connection } = await served()
    const names: string[] = []
    connection.on('file', (offer) => {
      names.push(offer.name)
      offer.reject()
    })
    const offer = Buffer.from('\x08\0\0\0\x01\x05\0\0\0ab\0', 'latin1')
    peer.write(Buffer.concat([offer, offer, offer, offer]))
    for (let answers = 0; answers < 4; answers++) expect(await peer.next()).toEqual(Buffer.from([3]))
    peer.offer('later', 1)
    expect(await peer.next()).toEqual(Buffer.from([3]))
    expect(names[0]).toBe('ab')
    expect(names.at(-1)).toBe('later')
    expect(connection.state).toBe('open')
  })

  test('two offers before the first answer: neither is taken', async () => {
    const { to } = folders()
    const { peer, connection } = await served()
    const received: Promise<ReceivedFile>[] = []
    connection.on('file', (offer) => {
      setTimeout(() => {
        const file = offer.accept({ directory: to })
        file.catch(() => undefined)
        received.push(file)
      }, 200)
    })
    peer.offer('one', 5)
    peer.offer('two', 5)
    expect(await peer.next()).toEqual(Buffer.from([3]))
    await until('it was accepted too late', () => received.length === 1)
    expect(await code(received[0] ?? Promise.resolve())).toBe('ERR_IOCP_TRANSFER_PROTOCOL')
    await pause(50)
    expect(peer.packages).toEqual([])
    expect(connection.state).toBe('open')
  })

  test('a peer that is lost in the middle leaves nothing', async () => {
    const { to } = folders()
    const { peer, connection } = await served()
    const received = acceptNext(connection, { directory: to })
    peer.offer('a', 1000)
    await peer.next()
    peer.write(Buffer.alloc(500))
    await pause(50)
    peer.destroy()
    expect(await code(received)).toBe('ERR_IOCP_TRANSFER_CLOSED')
    expect(readdirSync(to)).toEqual([])
  })

  test('a peer that ends too early, and one that says nothing more', async () => {
    const { to } = folders()
    const { peer, connection } = await served({ transfer: { stallTimeout: 300 } })
    const received = acceptNext(connection, { directory: to })
    peer.offer('a', 1000)
    await peer.next()
    peer.write(Buffer.alloc(999))
    expect(await code(received)).toBe('ERR_IOCP_TRANSFER_STALL_TIMEOUT')
    expect((await connection.closed).cause).toBe('local')
    expect(readdirSync(to)).toEqual([])
  })
})

test('a server that sends a file at once reaches whoever waits for the connection', async () => {
  const { from, to } = folders()
  const path = makeFile(from, 1000)
  const server = createServer({ framing: iocps })
  onTestFinished(async () => {
    await server.close({ deadline: 0 })
  })
  server.on('connection', (connection) => {
    void connection.sendFile(path, { mode: 'raw' })
  })
  const { port } = await server.listen({ host: '127.0.0.1' })
  const client = await connect({ host: '127.0.0.1', port, framing: iocps })
  await acceptNext(client, { directory: to })
  expect(await sha256(join(to, 'file-1000.bin'))).toBe(await sha256(path))
  client.destroy()
})

test('an offer that comes with the connection reaches whoever waits for it', async () => {
  const { to } = folders()
  const listener = createNetServer((socket) => {
    const peer = new Original(socket)
    peer.offer('first', 3)
    peer.say(Buffer.from('second'))
    void peer.next().then(() => {
      peer.write(Buffer.from('abc'))
    })
  })
  onTestFinished(() => {
    listener.close()
  })
  await new Promise<void>((resolve) => {
    listener.listen(0, '127.0.0.1', resolve)
  })
  const address = listener.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  const packets: string[] = []
  const client = await connect({ host: '127.0.0.1', port, framing: iocps })
  client.on('packet', (packet) => packets.push(packet.toString()))
  await acceptNext(client, { directory: to })
  expect(readFileSync(join(to, 'first'), 'utf8')).toBe('abc')
  expect(packets).toEqual(['second'])
  client.destroy()
})

test('transfer: false, or nobody who listens: packages like any other', async () => {
  const { from } = folders()
  writeFileSync(join(from, 'a'), 'a')
  for (const transfer of [true, false]) {
    const { peer, connection } = await served({ transfer })
    const packets: number[] = []
    connection.on('packet', (packet) => packets.push(packet[0] ?? 0))
    if (!transfer) connection.on('file', () => packets.push(99))
    peer.offer('a', 1)
    peer.say(2)
    peer.say(3)
    await until('all came', () => packets.length === 3)
    expect(packets).toEqual([1, 2, 3])
    if (!transfer) expect(() => connection.sendFile(join(from, 'a'), { mode: 'raw' })).toThrow(/transfer/)
  }
})
