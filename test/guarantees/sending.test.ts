/** Guarantees 5 and 19: what waits to be sent, and whose bytes they are. */

import { once } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import {
  type BackpressureOptions,
  type Connection,
  type DropInfo,
  framing,
  type SendOutcome,
  type SendState
} from 'iocp'
import { describe, expect, test } from 'vitest'
import { load, random } from '../helpers/load.js'
import { numbered, NumberedStream } from '../helpers/numbered.js'
import { Deframer } from '../helpers/packets.js'
import { openSocket } from '../helpers/raw_client.js'
import { startClient, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'
import { many, Watch } from './support.js'

const KIB = 1024

/** A connection of a server whose peer reads when it is told to. */
async function slowReader(backpressure: BackpressureOptions, more: { copyThreshold?: number } = {}) {
  // A small buffer in the system, so that it is the connection's own queue that becomes long.
  const { server, port } = await startServer({ backpressure, sendBuffer: 8 * KIB, ...more })
  const accepted = new Promise<Connection>((resolve) => {
    server.once('connection', resolve)
  })
  const socket = await openSocket(port)
  socket.pause()
  const connection = await accepted
  const received: number[] = []
  const deframer = new Deframer((packet) => {
    const number = packet.readUInt32BE()
    if (!packet.subarray(4).equals(numbered(number, 0, packet.length - 4))) {
      socket.destroy()
      throw new Error(`packet ${number} is not whole`)
    }
    received.push(number)
  })
  socket.on('data', deframer.feed)
  socket.pause()
  const drops: DropInfo[] = []
  connection.on('drop', (info) => drops.push(info))
  return { server, connection, socket, received, drops }
}

/** A packet that tells its number. */
function packet(number: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size)
  bytes.writeUInt32BE(number)
  numbered(number, 0, size - 4).copy(bytes, 4)
  return bytes
}

function dropped(drops: readonly DropInfo[]): { packets: number; bytes: number } {
  const sum = { packets: 0, bytes: 0 }
  for (const { packets, bytes } of drops) {
    sum.packets += packets
    sum.bytes += bytes
  }
  return sum
}

describe('guarantee 5: water marks with a result to act on; partial writes resume', () => {
  test("'sent' up to the mark, 'queued' above it, 'dropped' at the cap, 'drain' when it is low again", async () => {
    const marks = { highWater: 64 * KIB, lowWater: 16 * KIB, hardCap: 256 * KIB }
    const { connection, socket, received, drops } = await slowReader(marks)
    let drains = 0
    let queuedAtDrain = -1
    connection.on('drain', () => {
      drains++
      queuedAtDrain = connection.stats()?.queuedBytes ?? -1
    })
    const taken: number[] = []
    const states: SendState[] = []
    for (let number = 0; states.filter((state) => state === 'dropped').length < 10; number++) {
      const state = connection.send(packet(number, 4 * KIB))
      states.push(state)
      const { queuedBytes } = connection
      expect(queuedBytes).toBeLessThanOrEqual(marks.hardCap)
      // The system may have taken some of it since `send` decided: 'sent' never leaves more than the mark.
      if (state === 'sent') expect(queuedBytes).toBeLessThanOrEqual(marks.highWater)
      if (state === 'dropped') expect(queuedBytes).toBeGreaterThan(marks.hardCap - 4 * KIB - 4)
      if (state !== 'dropped') taken.push(number)
      // Lets the system take what it can.
      if (number % 8 === 7) await pause(1)
      if (number === 2000) throw new Error('the queue does not fill')
    }
    expect(states[0]).toBe('sent')
    expect(states).toContain('queued')
    // While its own buffers fill, the system may empty the queue once more; then nobody takes anything.
    const before = drains

    socket.resume()
    await until('everything has come', () => received.length === taken.length)
    await until("'drain' has come", () => drains > before)
    expect(received).toEqual(taken)
    expect(drains).toBe(before + 1)
    expect(queuedAtDrain).toBeLessThanOrEqual(marks.lowWater)
    expect(dropped(drops)).toEqual({ packets: 10, bytes: 10 * (4 * KIB + 4) })
    expect(connection.send(packet(0, 4 * KIB))).toBe('sent')
  })

  test('the cap holds at every moment while a slow reader is flooded', async () => {
    const marks = { highWater: 32 * KIB, lowWater: 8 * KIB, hardCap: 64 * KIB }
    const { connection, socket, received } = await slowReader(marks)
    const watch = new Watch(() => connection.stats()?.queuedBytes ?? 0, 1)
    const draw = random(5)
    const count = load(1500, 200_000)
    const slowly = setInterval(() => {
      if (socket.isPaused()) socket.resume()
      else socket.pause()
    }, 3)
    try {
      for (let number = 0; number < count;) {
        const state = connection.send(packet(number, 4 + draw(3000)))
        watch.add(connection.stats()?.queuedBytes ?? 0)
        expect(state).not.toBe('closed')
        if (state !== 'dropped') number++
        if (state !== 'sent') await once(connection, 'drain')
      }
    } finally {
      clearInterval(slowly)
    }
    socket.resume()
    await until('everything has come', () => received.length === count)
    expect(received).toEqual(Array.from({ length: count }, (_, index) => index))
    expect(watch.most).toBeGreaterThan(marks.highWater / 2)
    expect(watch.most).toBeLessThanOrEqual(marks.hardCap)
  })

  test('the number of packets has a cap of its own', async () => {
    const { connection, socket, received } = await slowReader({ hardCapPackets: 50, hardCap: '64MiB' })
    // One after the other, until the system takes no more.
    let filled = 0
    while (connection.queuedBytes === 0) {
      for (let i = 0; i < 2; i++) expect(connection.send(packet(filled++, 512 * KIB))).not.toBe('dropped')
      await pause(20)
    }
    const waiting = connection.stats()?.queuedPackets ?? 0
    expect(waiting).toBeGreaterThan(0)
    const states: SendState[] = []
    for (let number = 0; number < 60; number++) states.push(connection.send(packet(filled + number, 4)))
    expect(states.filter((state) => state === 'dropped').length).toBe(60 - (50 - waiting))
    expect(connection.stats()?.queuedPackets).toBe(50)
    socket.resume()
    const all = filled + 50 - waiting
    await until('everything has come', () => received.length === all)
    expect(received).toEqual(Array.from({ length: all }, (_, index) => index))
  })

  test("'drop-newest': what does not fit is dropped, what was taken comes whole", async () => {
    const marks = { highWater: 32 * KIB, onOverflow: 'drop-newest' } as const
    const { connection, socket, received, drops } = await slowReader(marks)
    const taken: number[] = []
    for (let number = 0; number < 400; number++) {
      const state = connection.send(packet(number, 2 * KIB))
      if (state !== 'dropped') taken.push(number)
      expect(connection.queuedBytes).toBeLessThanOrEqual(marks.highWater)
      if (number % 20 === 0) await pause(1)
    }
    expect(taken.length).toBeLessThan(400)
    await until('the drops are told', () => dropped(drops).packets === 400 - taken.length)
    socket.resume()
    await until('everything has come', () => received.length === taken.length)
    expect(received).toEqual(taken)
  })

  test("'drop-oldest': the newest always comes, older ones make room, none is cut in half", async () => {
    const marks = { highWater: 32 * KIB, onOverflow: 'drop-oldest' } as const
    const { server, connection, socket, received, drops } = await slowReader(marks)
    for (let number = 0; number < 600; number++) {
      expect(connection.send(packet(number, 2 * KIB))).toMatch(/sent|queued/)
      expect(connection.queuedBytes).toBeLessThanOrEqual(marks.highWater)
      if (number % 20 === 0) await pause(1)
    }
    socket.resume()
    await until('the newest has come', () => received.at(-1) === 599)
    await until('the drops are told', () => dropped(drops).packets === 600 - received.length)
    expect(received).toEqual([...received].sort((a, b) => a - b))
    expect(received.length).toBeLessThan(600)
    expect(server.stats()?.counters['drops']).toBe(600 - received.length)
  })

  test("'close': the connection is closed with the cause 'overflow'", async () => {
    const { connection } = await slowReader({ highWater: 32 * KIB, onOverflow: 'close' })
    const states: SendState[] = []
    while (states.at(-1) !== 'closed') {
      states.push(connection.send(packet(0, 2 * KIB)))
      if (states.length > 2000) throw new Error('the queue does not fill')
    }
    const { cause, error } = await connection.closed
    expect(cause).toBe('overflow')
    expect(error?.code).toBe('ERR_IOCP_OVERFLOW')
    expect(connection.send('more')).toBe('closed')
  })

  test.each(['queue', 'drop-newest'] as const)(
    "an empty queue takes what is larger than the mark: '%s'",
    async (onOverflow) => {
      const { connection, socket, received } = await slowReader({ highWater: 4 * KIB, hardCap: 512 * KIB, onOverflow })
      expect(connection.send(packet(1, 600 * KIB))).toBe('dropped')
      expect(connection.send(packet(2, 300 * KIB))).toBe('queued')
      expect(connection.queuedBytes).toBeLessThanOrEqual(512 * KIB)
      socket.resume()
      await until('it has come', () => received.length === 1)
      expect(received).toEqual([2])
    }
  )

  test('writes of which the system takes a part go on with the rest', async () => {
    const { connection, socket, received } = await slowReader({ hardCap: '1GiB' }, { copyThreshold: 16 * KIB })
    // Far more than the system buffers, in pieces that are copied and pieces that are not.
    const sizes = [4_000_000, 5, 40_000, 16 * KIB, 16 * KIB + 1, 1_000_000, 900, 70_001]
    const outcomes: Promise<SendOutcome>[] = []
    for (const [number, size] of sizes.entries()) {
      // The default framing carries 1 MiB; larger ones are cut here.
      const pieces = Math.ceil(size / 1_000_000)
      for (let piece = 0; piece < pieces; piece++) {
        outcomes.push(connection.sendAsync(packet(number * 100 + piece, Math.max(4, Math.floor(size / pieces)))))
      }
    }
    for (let round = 0; round < 40; round++) {
      socket.resume()
      await pause(2)
      socket.pause()
      await pause(2)
    }
    socket.resume()
    expect(new Set(await Promise.all(outcomes))).toEqual(new Set(['sent']))
    await until('everything has come', () => received.length === outcomes.length)
    expect(received).toEqual([...received].sort((a, b) => a - b))
  })

  test('every packet that asks is told once what became of it, in order', async () => {
    const { connection, socket } = await slowReader({ highWater: 32 * KIB, hardCap: 64 * KIB })
    const told: [number, SendOutcome][] = []
    const states: SendState[] = []
    for (let number = 0; number < 100; number++) {
      states.push(connection.send(packet(number, 2 * KIB), (outcome) => told.push([number, outcome])))
    }
    socket.resume()
    await until('all are told', () => told.length === 100)
    const sent = told.filter(([, outcome]) => outcome === 'sent').map(([number]) => number)
    const lost = told.filter(([, outcome]) => outcome === 'dropped').map(([number]) => number)
    expect(sent).toEqual(states.flatMap((state, number) => (state === 'dropped' ? [] : [number])))
    expect(lost).toEqual(states.flatMap((state, number) => (state === 'dropped' ? [number] : [])))
    expect(lost.length).toBeGreaterThan(0)

    socket.pause()
    const late: SendOutcome[] = []
    let asked = 0
    const ask = (): SendState => {
      asked++
      return connection.send(packet(0, 2 * KIB), (outcome) => late.push(outcome))
    }
    // Until neither the system nor the peer takes any more, as far as one can see.
    for (let written = -1, still = 0; still < 25;) {
      while (ask() !== 'dropped');
      await pause(10)
      const now = connection.stats()?.bytesWritten ?? 0
      still = now === written ? still + 1 : 0
      written = now
    }
    connection.destroy()
    // What is not even taken over is told at once.
    const refused: SendOutcome[] = []
    expect(connection.send('more', (outcome) => refused.push(outcome))).toBe('closed')
    await connection.closed
    expect(refused).toEqual(['closed'])
    await until('the rest is told', () => late.length >= asked)
    await pause(20)
    expect(late.length).toBe(asked)
    const taken = late.filter((outcome) => outcome !== 'dropped')
    expect(taken.at(-1)).toBe('closed')
    // First those that have left, then those that the close has caught.
    expect(taken.lastIndexOf('sent')).toBeLessThan(taken.indexOf('closed'))
    expect(told.length).toBe(100)
  })
})

describe('guarantee 19: one rule for the ownership of buffers', () => {
  test('up to `copyThreshold` the bytes are those at the time of the call, whatever the caller does next', async () => {
    const { server, port } = await startServer({ framing: framing.raw() })
    const seen = new NumberedStream(1)
    server.on('packet', (bytes) => {
      seen.take(bytes)
    })
    const connection = await startClient().connect({ port, host: '127.0.0.1', framing: framing.raw() })
    const scratch = Buffer.alloc(16 * KIB)
    const draw = random(9)
    let at = 0
    for (let i = 0; i < 300; i++) {
      const size = i % 10 === 0 ? scratch.length : 1 + draw(500)
      numbered(1, at, size).copy(scratch)
      connection.send(scratch.subarray(0, size))
      at += size
      scratch.fill(0xee)
      if (i % 50 === 0) await pause(1)
    }
    // A broadcast of a small packet is copied too, once for all.
    const others = await many(5, () => startClient().connect({ port, host: '127.0.0.1', framing: framing.raw() }))
    await until('everything has come', () => seen.at === at)
    expect(others.length).toBe(5)
  })

  test('a broadcast may be changed by its caller as soon as the call returns', async () => {
    const { server, port } = await startServer()
    const sockets = await many(20, () => openSocket(port))
    await until('all are connected', () => server.connections.size === sockets.length)
    const received: string[] = []
    for (const socket of sockets) {
      const deframer = new Deframer((one) => received.push(one.toString()))
      socket.on('data', deframer.feed)
    }
    const scratch = Buffer.from('first')
    server.broadcast(scratch)
    scratch.write('WRONG')
    await until('all have it', () => received.length === sockets.length)
    expect(new Set(received)).toEqual(new Set(['first']))
  })

  test('a larger one is used where it is, and kept in place although the caller has forgotten it', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const { connection, socket, received } = await slowReader({ hardCap: '1GiB' }, { copyThreshold: KIB })
    let told = 0
    for (let number = 0; number < 20; number++) {
      connection.send(packet(number, 200 * KIB), (outcome) => {
        expect(outcome).toBe('sent')
        told++
      })
    }
    for (let round = 0; round < 5; round++) {
      collect()
      // What was free is written over.
      for (let i = 0; i < 40; i++) Buffer.alloc(200 * KIB, 0xee)
      await pause(5)
    }
    expect(told).toBeLessThan(20)
    socket.resume()
    await until('everything has come', () => received.length === 20 && told === 20)
  })

  test('a packet that was received stays as it is, however many come after it', async () => {
    const { server, port } = await startServer()
    const kept: Buffer[] = []
    server.on('packet', (bytes) => kept.push(bytes))
    const connection = await startClient().connect({ port, host: '127.0.0.1' })
    for (let number = 0; number < 3000; number++) {
      connection.send(packet(number, 4 + (number % 700)))
      if (number % 200 === 0) await pause(1)
    }
    await until('everything has come', () => kept.length === 3000)
    for (const [number, bytes] of kept.entries()) expect(bytes.equals(packet(number, 4 + (number % 700)))).toBe(true)
    // And it is the receiver's to change.
    kept[0]?.fill(1)
    expect(kept[1]?.equals(packet(1, 5))).toBe(true)
  })
})
