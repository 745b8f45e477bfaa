/** Time limits of connections, over real sockets: each has its cause and code, and harms nobody else. */

import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { type CloseInfo, framing, type IdleInfo, type TimeoutOptions } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { folders, makeFile } from '../helpers/files.js'
import { isGone, openSocket } from '../helpers/raw_client.js'
import {
  counter,
  first,
  nextConnection,
  nextDisconnect,
  startClient,
  startEcho,
  startServer
} from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'

const packet = (text: string): Buffer => {
  const bytes = Buffer.alloc(4 + text.length)
  bytes.writeUInt32BE(text.length)
  bytes.write(text, 4)
  return bytes
}

/** A peer of a server with time limits. */
async function meet(timeouts: TimeoutOptions, options: object = {}) {
  const { server, port } = await startEcho({ timeouts, ...options })
  const accepted = nextConnection(server)
  const socket = await openSocket(port)
  return { server, port, socket, connection: await accepted, began: performance.now() }
}

/** Sends bytes one by one, until the connection is over. */
async function trickle(socket: Socket, bytes: Uint8Array, every: number): Promise<void> {
  for (const byte of bytes) {
    if (socket.destroyed) return
    socket.write(Buffer.of(byte))
    await pause(every)
  }
}

/** How a connection has ended, and after how long. */
async function ending(server: Parameters<typeof nextDisconnect>[0], began: number) {
  const { info } = await nextDisconnect(server)
  return { info, after: performance.now() - began }
}

/** Cut after the limit, and not before: a clock of 16 ms, a timer of 16 ms, and what a busy machine adds. */
function expectCut({ info, after }: { info: CloseInfo; after: number }, cause: string, code: string, limit: number) {
  expect(info.cause).toBe(cause)
  expect(info.error).toMatchObject({ code })
  expect(after).toBeGreaterThan(limit - 50)
  // How exact it is, is measured, not tested: docs/performance.md.
  expect(after).toBeLessThan(limit + 15_000)
}

describe('firstPacket', () => {
  test('a peer that says nothing is cut', async () => {
    const { server, began } = await meet({ firstPacket: 300 })
    expectCut(await ending(server, began), 'first-packet-timeout', 'ERR_IOCP_FIRST_PACKET_TIMEOUT', 300)
    expect(counter(server, 'timeouts')).toBe(1)
  })

  test('a peer that never completes its first packet is cut, however often it sends', async () => {
    const { server, socket, began } = await meet({ firstPacket: 500, idle: '10s' })
    const end = ending(server, began)
    void trickle(socket, packet('x'.repeat(200)), 20)
    expectCut(await end, 'first-packet-timeout', 'ERR_IOCP_FIRST_PACKET_TIMEOUT', 500)
  })

  test('after the first packet a peer may be silent', async () => {
    const { socket, connection } = await meet({ firstPacket: 200 })
    socket.write(packet('hello'))
    await once(socket, 'data')
    await pause(500)
    expect(connection.state).toBe('open')
  })

  test('with raw framing the first bytes are enough', async () => {
    const { socket, connection } = await meet({ firstPacket: 200 }, { framing: framing.raw() })
    socket.write('x')
    await once(socket, 'data')
    await pause(500)
    expect(connection.state).toBe('open')
  })

  test('a ban follows where the rules say so', async () => {
    const { server, began, port } = await meet(
      { firstPacket: 200 },
      { access: { banOn: { firstPacketTimeout: true } } }
    )
    await ending(server, began)
    await until(() => server.access.bans().length === 1)
    expect(server.access.bans()).toMatchObject([{ reason: 'firstPacketTimeout' }])
    const next = await openSocket(port)
    await isGone(next)
  })
})

describe('packet', () => {
  test('a packet that takes too long is cut, the time between packets does not count', async () => {
    const { server, socket } = await meet({ packet: 400 })
    for (let i = 0; i < 3; i++) {
      socket.write(packet('hello'))
      await once(socket, 'data')
      await pause(300)
    }
    const end = ending(server, performance.now())
    void trickle(socket, packet('y'.repeat(500)), 20)
    expectCut(await end, 'packet-timeout', 'ERR_IOCP_PACKET_TIMEOUT', 400)
  })

  test('packets that overlap in the segments have a time each', async () => {
    const { connection, socket } = await meet({ packet: 400 })
    const two = Buffer.concat([packet('ab'), packet('cd')])
    // From the middle of one to the middle of the next, for much longer than a packet may take.
    socket.write(two.subarray(0, 3))
    for (let i = 0; i < 12; i++) {
      await pause(100)
      socket.write(Buffer.concat([two.subarray(3), two.subarray(0, 3)]))
    }
    expect(connection.state).toBe('open')
  })

  test('a packet that is streamed may take longer', async () => {
    const { server, port } = await startServer({
      framing: framing.lengthField({ streamAbove: 1000 }),
      timeouts: { packet: 200 }
    })
    let bytes = 0
    server.on('stream', (stream) => stream.on('data', (piece: Buffer) => (bytes += piece.length)))
    const socket = await openSocket(port)
    const large = packet('z'.repeat(5000))
    for (let at = 0; at < large.length; at += 500) {
      socket.write(large.subarray(at, at + 500))
      await pause(60)
    }
    await until(() => bytes === 5000)
  })
})

describe('files', () => {
  test('a file is many packets: neither firstPacket nor packet cut it off', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'iocp-limits-'))
    onTestFinished(() => {
      rmSync(folder, { recursive: true, force: true })
    })
    const source = join(folder, 'source')
    writeFileSync(source, Buffer.alloc(3_000_000, 7))
    const typed = framing.lengthField({ typeByte: true })
    const { server, port } = await startServer({ framing: typed, timeouts: { firstPacket: 400, packet: 400 } })
    server.on('file', (offer) => void offer.accept({ path: join(folder, 'target') }).catch(() => undefined))
    const client = startClient({ framing: typed })
    const connection = await client.connect({ port, host: '127.0.0.1' })
    const sent = await connection.sendFile(source, { bytesPerSecond: 1_500_000 })
    expect(sent.bytes).toBe(3_000_000)
    expect(connection.state).toBe('open')
  })

  test('the first bytes of a raw file are the first that a peer says', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'iocp-limits-'))
    onTestFinished(() => {
      rmSync(folder, { recursive: true, force: true })
    })
    const { server, port } = await startServer({ framing: framing.raw(), timeouts: { firstPacket: 900 } })
    const received = new Promise<unknown>((resolve) => {
      server.on('connection', (connection) => {
        resolve(connection.receiveFile({ path: join(folder, 'raw'), bytes: 30 }))
      })
    })
    const socket = await openSocket(port)
    await pause(400) // until the file is there
    for (let i = 0; i < 30; i++) {
      socket.write('x')
      await pause(40)
    }
    expect(await received).toMatchObject({ bytes: 30 })
  })
})

describe('minRate', () => {
  test('a peer that sends a packet too slowly is cut, also one that is streamed', async () => {
    for (const streamAbove of [undefined, 100]) {
      const { server, socket, began } = await meet(
        { minRate: { bytes: 100, per: 200, grace: 100 } },
        { framing: framing.lengthField(streamAbove === undefined ? {} : { streamAbove }) }
      )
      server.on('stream', (stream) => stream.resume())
      const end = ending(server, began)
      void trickle(socket, packet('y'.repeat(2000)), 20)
      expectCut(await end, 'too-slow', 'ERR_IOCP_TOO_SLOW', 300)
    }
  })

  test('it can be taken away while a peer is slow', async () => {
    const { connection, socket } = await meet({ minRate: { bytes: 1000, per: 300, grace: 300 } })
    socket.write(packet('y'.repeat(100)).subarray(0, 50))
    await pause(100)
    connection.setTimeouts({ minRate: 0 })
    await pause(1200)
    expect(connection.state).toBe('open')
  })

  test('a peer that is fast enough is not', async () => {
    const { socket } = await meet({ minRate: { bytes: 100, per: 300, grace: 100 } })
    const large = packet('z'.repeat(3000))
    const answer = once(socket, 'data')
    for (let at = 0; at < large.length; at += 100) {
      socket.write(large.subarray(at, at + 100))
      await pause(40)
    }
    await answer
  })
})

describe('idle', () => {
  test('is judged by the bytes of the peer, not by what is sent to it', async () => {
    const { server, connection, socket, began } = await meet({ idle: 400 })
    socket.resume()
    const end = ending(server, began)
    const sending = setInterval(() => connection.send('tick'), 50)
    expectCut(await end, 'idle-timeout', 'ERR_IOCP_IDLE_TIMEOUT', 400)
    clearInterval(sending)
  })

  test('the peer sees an end, not a reset', async () => {
    const { socket } = await meet({ idle: 200 })
    socket.resume()
    const error = first(socket, 'error')
    await Promise.race([once(socket, 'end'), error.then((e) => Promise.reject(e as Error))])
  })

  test('write and both', async () => {
    const write = await meet({ idle: { write: 300 } })
    write.socket.write(packet('a'))
    expectCut(await ending(write.server, performance.now()), 'idle-timeout', 'ERR_IOCP_IDLE_TIMEOUT', 300)

    const both = await meet({ idle: { both: 400 } })
    const sending = setInterval(() => both.connection.send('tick'), 100)
    await pause(900)
    expect(both.connection.state).toBe('open')
    clearInterval(sending)
    // The last one was sent up to 100 ms ago.
    expectCut(await ending(both.server, performance.now()), 'idle-timeout', 'ERR_IOCP_IDLE_TIMEOUT', 300)
  })

  test('as an event it is told again and again, on the connection and its server, until the peer speaks', async () => {
    const { server, connection, socket } = await meet({ idle: { read: 150, action: 'event' } })
    const own: IdleInfo[] = []
    const all: [IdleInfo, unknown][] = []
    connection.on('idle', (info) => own.push(info))
    server.on('idle', (info, who) => all.push([info, who]))
    await until(() => own.length >= 3)
    expect(own.slice(0, 3)).toEqual([1, 2, 3].map((count) => ({ kind: 'read', count })))
    expect(all[0]).toEqual([{ kind: 'read', count: 1 }, connection])
    socket.write(packet('here'))
    await once(socket, 'data')
    own.length = 0
    await until(() => own.length > 0)
    expect(own[0]).toEqual({ kind: 'read', count: 1 })
    expect(connection.state).toBe('open')
  })

  test('a heartbeat by idle.write, as an event', async () => {
    const { connection, socket } = await meet({ idle: { write: 100, action: 'event' } })
    connection.on('idle', () => connection.send('beat'))
    for (let i = 0; i < 3; i++) await once(socket, 'data')
  })

  test('what has arrived and waits for this side is no silence of the peer', async () => {
    const { server, port } = await startServer({ timeouts: { idle: 300, packet: 300, firstPacket: 300 } })
    const accepted = nextConnection(server)
    const socket = await openSocket(port)
    const connection = await accepted
    connection.pause()
    const packets: string[] = []
    socket.write(packet('one'))
    await pause(1000)
    expect(connection.state).toBe('open')
    connection.on('packet', (bytes) => packets.push(bytes.toString()))
    connection.resume()
    await until(() => packets.length === 1)
  })

  test('a blocked JavaScript thread cuts nobody who goes on speaking', async () => {
    const { server, port } = await startServer({ timeouts: { idle: 400, firstPacket: 400 } })
    let packets = 0
    server.on('packet', () => packets++)
    const accepted = nextConnection(server)
    const peer = new Worker(
      `const { workerData } = require('node:worker_threads')
       const socket = require('node:net').connect(workerData, '127.0.0.1')
       socket.on('error', () => {})
       setInterval(() => socket.write(Buffer.of(0, 0, 0, 1, 120)), 100)`,
      { eval: true, workerData: port }
    )
    onTestFinished(async () => {
      await peer.terminate()
    })
    const connection = await accepted
    const before = packets
    const end = performance.now() + 1500
    while (performance.now() < end);
    await until(() => packets > before + 5)
    expect(connection.state).toBe('open')
  })

  test('a peer that is silent because this side does not read is not idle', async () => {
    const { server, port } = await startServer({ timeouts: { idle: 300 } })
    const accepted = nextConnection(server)
    await openSocket(port)
    const connection = await accepted
    connection.on('packet', () => undefined)
    connection.pause()
    await pause(1000)
    expect(connection.state).toBe('open')
    connection.resume()
    expect((await connection.closed).cause).toBe('idle-timeout')
  })

  test('a peer that has ended its side and reads on is not idle', async () => {
    const { server, port } = await startServer({ timeouts: { idle: 300 }, allowHalfOpen: true })
    const accepted = nextConnection(server)
    const socket = await openSocket(port, { allowHalfOpen: true })
    const connection = await accepted
    connection.on('packet', () => undefined)
    socket.end()
    await once(connection as never, 'end')
    await pause(800)
    expect(connection.send('still here')).toBe('sent')
    await once(socket, 'data')
  })
})

describe('sendStall', () => {
  test('a peer that takes nothing of what waits for it is cut; one that takes its time is not', async () => {
    const { server, port } = await startServer({
      timeouts: { sendStall: 500 },
      sendBuffer: 8192,
      framing: framing.raw()
    })
    const big = Buffer.alloc(4 * 1024 * 1024)
    const accepted = nextConnection(server)
    const reader = await openSocket(port)
    const slowly = await accepted
    let bytes = 0
    reader.on('data', (piece: Buffer) => {
      bytes += piece.length
      reader.pause()
      setTimeout(() => reader.resume(), 20)
    })
    slowly.send(big)
    const next = nextConnection(server)
    const nobody = await openSocket(port)
    nobody.pause()
    const stalled = await next
    const end = stalled.closed
    const began = performance.now()
    stalled.send(big)
    const info = await end
    expectCut({ info, after: performance.now() - began }, 'send-timeout', 'ERR_IOCP_SEND_TIMEOUT', 500)
    await until(() => bytes === big.length || slowly.state !== 'open')
    expect(slowly.state).toBe('open')
  })
})

test('a peer that sends without an end is cut, however fast it is', async () => {
  const { server, port } = await startServer({
    timeouts: { firstPacket: 400 },
    framing: framing.line({ maxPacket: '1GiB', onOversize: 'discard' })
  })
  server.on('packet', () => undefined)
  const socket = await openSocket(port)
  const block = Buffer.alloc(1_000_000, 65)
  const flood = (): void => {
    while (!socket.destroyed && socket.write(block));
  }
  socket.on('drain', flood)
  const over = nextDisconnect(server)
  flood()
  expect((await over).info.cause).toBe('first-packet-timeout')
})

describe('life', () => {
  test('is not longer for a program that does not read', async () => {
    const { server, connection, socket, began } = await meet({ life: 500 })
    socket.resume()
    connection.pause()
    const pausing = setInterval(() => {
      connection.resume()
      setTimeout(() => connection.pause(), 5)
    }, 50)
    const { info, after } = await ending(server, began)
    clearInterval(pausing)
    expect(info.cause).toBe('max-life')
    expect(after).toBeLessThan(1500)
  })

  test('answers that the program is about to give are sent', async () => {
    const { server, port } = await startServer({ timeouts: { life: 300 } })
    server.on('packet', (_, connection) => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
      connection.send('answer')
    })
    const socket = await openSocket(port)
    socket.write(packet('x'))
    expect(String(await first(socket, 'data'))).toContain('answer')
  })

  test('ends gracefully, what is queued included; no error', async () => {
    const { server, connection, socket, began } = await meet({ life: 500 })
    const chunks: Buffer[] = []
    socket.on('data', (bytes: Buffer) => chunks.push(bytes))
    setTimeout(() => connection.send('last words'), 100)
    const { info, after } = await ending(server, began)
    expect(info.cause).toBe('max-life')
    expect(info.error).toBe(undefined)
    expect(after).toBeGreaterThan(400)
    expect(after).toBeLessThan(15_000)
    expect(Buffer.concat(chunks).toString()).toContain('last words')
  })

  test('a peer that does not end its side is cut, with the cause of the limit', async () => {
    for (const endDeadline of [300, 0]) {
      const { server, port } = await startEcho({ timeouts: { life: 200 }, endDeadline })
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => undefined)
      socket.resume()
      const { info } = await nextDisconnect(server)
      expect(info.cause).toBe('max-life')
      expect(info.error).toBe(undefined)
      socket.destroy()
    }
  })

  test('holds while JavaScript does not come to it', async () => {
    const { port } = await startEcho({ timeouts: { life: 300 } })
    const peer = new Worker(
      `const { workerData, parentPort } = require('node:worker_threads')
       const socket = require('node:net').connect(workerData, '127.0.0.1', () => parentPort.postMessage('open'))
       socket.resume().on('error', () => undefined).on('end', () => parentPort.postMessage(Date.now()))`,
      { eval: true, workerData: port }
    )
    onTestFinished(async () => {
      await peer.terminate()
    })
    await once(peer, 'message')
    const ended = once(peer, 'message') as Promise<[number]>
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4500)
    const unblocked = Date.now()
    expect((await ended)[0]).toBeLessThan(unblocked - 500)
  })

  test('a file that is under way is sent first', async () => {
    const { from } = folders()
    const path = makeFile(from, 30_000_000)
    const { server, port } = await startServer({ timeouts: { life: 200 }, framing: framing.raw() })
    server.on('connection', (connection) => {
      connection.sendFile(path, { mode: 'raw' }).catch(() => undefined)
    })
    const over = nextDisconnect(server)
    const socket = await openSocket(port)
    await pause(1500)
    let bytes = 0
    socket.on('data', (chunk: Buffer) => (bytes += chunk.length))
    await isGone(socket)
    expect((await over).info.cause).toBe('max-life')
    expect(bytes).toBe(30_000_000)
  })

  test('connections that began together do not end together', async () => {
    const { server, port } = await startServer({ timeouts: { life: 2000 } })
    const ends: number[] = []
    server.on('disconnect', () => ends.push(performance.now()))
    for (let i = 0; i < 20; i++) (await openSocket(port)).resume()
    await until(() => ends.length === 20)
    expect(Math.max(...ends) - Math.min(...ends)).toBeGreaterThan(100)
  })
})

describe('setTimeouts', () => {
  test('limits can be set, changed and taken away on an open connection', async () => {
    const { connection, socket, server } = await meet({})
    socket.write(packet('x'))
    await once(socket, 'data')
    connection.setTimeouts({ idle: 300 })
    await pause(150)
    connection.setTimeouts({ idle: 0 })
    await pause(600)
    expect(connection.state).toBe('open')
    connection.setTimeouts({ packet: 5000 }).setTimeouts({ idle: { read: 200 } })
    expectCut(await ending(server, performance.now()), 'idle-timeout', 'ERR_IOCP_IDLE_TIMEOUT', 0)
  })

  test('set on a connection that has had its first packet, firstPacket has no effect', async () => {
    const { connection, socket } = await meet({})
    socket.write(packet('x'))
    await once(socket, 'data')
    connection.setTimeouts({ firstPacket: 100 })
    await pause(500)
    expect(connection.state).toBe('open')
  })

  test('sendStall, set while a write waits, is for that write too', async () => {
    const { server, port } = await startServer({ sendBuffer: 8192, framing: framing.raw() })
    const accepted = nextConnection(server)
    const nobody = await openSocket(port)
    nobody.pause()
    const connection = await accepted
    connection.send(Buffer.alloc(4 * 1024 * 1024))
    await pause(300)
    connection.setTimeouts({ sendStall: 200 })
    expect((await connection.closed).cause).toBe('send-timeout')
  })

  test('what is not given stays; wrong options change nothing', async () => {
    const { connection, server, began } = await meet({ idle: 800 })
    expect(() => connection.setTimeouts({ packet: 3 })).toThrow(/timeouts|packet/)
    expect(() => connection.setTimeouts({ idle: '1s', nonsense: 1 } as never)).toThrow(/nonsense/)
    expect(() => connection.setTimeouts(undefined as never)).toThrow(/options.*; it is undefined$/)
    expect(() => connection.setTimeouts(5 as never)).toThrow(/'options'.*; it is 5$/)
    connection.setTimeouts({ packet: '1m' })
    expectCut(await ending(server, began), 'idle-timeout', 'ERR_IOCP_IDLE_TIMEOUT', 800)
    expect(() => connection.setTimeouts({ idle: '1s' })).not.toThrow()
  })

  test('a link connects again when the life of a connection is over', async () => {
    const { port } = await startServer()
    const link = await startClient().connect({
      ...{ port, host: '127.0.0.1', timeouts: { life: 200 } },
      reconnect: { minDelay: 1, maxDelay: 2 }
    })
    const causes: string[] = []
    link.on('disconnect', ({ cause }) => causes.push(cause))
    await once(link as never, 'connect')
    await once(link as never, 'connect')
    expect(causes).toEqual(['max-life', 'max-life'])
    link.destroy()
  })

  test('a client has them too', async () => {
    const { port } = await startServer()
    const client = startClient({ timeouts: { idle: 300 } })
    const connection = await client.connect({ port, host: '127.0.0.1' })
    expect((await connection.closed).cause).toBe('idle-timeout')
  })
})

test('a crowd of slow peers is cut, and good ones do not notice', async () => {
  const { server, port } = await startEcho({ timeouts: { firstPacket: 1000, packet: 1000 } })
  const slow = await Promise.all(Array.from({ length: 200 }, () => openSocket(port)))
  const trickling = setInterval(() => {
    for (const socket of slow) if (!socket.destroyed) socket.write(Buffer.of(1))
  }, 300)
  for (const socket of slow) socket.write(Buffer.of(0, 0))
  const good = await openSocket(port)
  let answers = 0
  good.on('data', () => {
    answers++
    if (answers < 1e6) good.write(packet('ping'))
  })
  good.write(packet('ping'))
  await until(() => server.connections.size === 1)
  clearInterval(trickling)
  expect(counter(server, 'timeouts')).toBe(200)
  const before = answers
  await until(() => answers > before + 10)
})
