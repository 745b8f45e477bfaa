import { once } from 'node:events'
import { type BackpressureOptions, framing } from 'iocp'
import { describe, expect, test } from 'vitest'
import { frame, pattern } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'
import { nextConnection, startServer } from '../helpers/servers.js'
import { until } from '../helpers/time.js'

const KIB = 1024
const PACKET = 32 * KIB

/** A connection whose peer does not read. Small socket buffers, so that little is on the way. */
async function stuck(backpressure: BackpressureOptions, options = {}) {
  const { server, port } = await startServer({ sendBuffer: 8 * KIB, backpressure, ...options })
  const accepted = nextConnection(server)
  const client = await RawClient.open(port)
  client.socket.pause()
  return { server, client, connection: await accepted }
}

async function readPackets(client: RawClient, ids: readonly number[]): Promise<void> {
  client.socket.resume()
  for (const id of ids) {
    const bytes = await client.read(4 + PACKET)
    expect(bytes.equals(frame(pattern(PACKET, id)))).toBe(true)
  }
}

describe('send', () => {
  test('a packet for which there never would be room: refused where nobody has set a bound, dropped where somebody has', async () => {
    const framed = { framing: framing.lengthField({ maxPacket: '100MiB', streamAbove: '256KiB' }) }
    const packet = Buffer.alloc(17 * 1024 * KIB)
    const { connection } = await stuck({}, framed)
    expect(() => connection.send(packet)).toThrow("raise 'backpressure.hardCap'")
    await expect(connection.sendAsync(packet)).rejects.toMatchObject({ code: 'ERR_IOCP_PACKET_SIZE' })
    expect(connection.queuedBytes).toBe(0)
    const bounded = await stuck({ hardCap: '16MiB' }, framed)
    expect(bounded.connection.send(packet)).toBe('dropped')
    const wide = await stuck({ hardCap: '32MiB' }, framed)
    expect(wide.connection.send(packet)).toBe('queued')
  })

  test('says queued when the peer does not read, drain comes when it does, and no byte is lost', async () => {
    const { client, connection } = await stuck({ highWater: 256 * KIB, hardCap: '64MiB' })
    const sent: number[] = []
    while (connection.send(pattern(PACKET, sent.length & 255)) === 'sent') {
      sent.push(sent.length & 255)
      // The system takes some: how much is its own affair.
      if (sent.length % 4 === 0) await new Promise(setImmediate)
    }
    sent.push(sent.length & 255)
    expect(connection.queuedBytes).toBeGreaterThan(256 * KIB)
    const drained = once(connection, 'drain')
    await readPackets(client, sent)
    await drained
    expect(connection.queuedBytes).toBeLessThanOrEqual(64 * KIB)
    expect(connection.send('x')).toBe('sent')
    expect(await client.read(5)).toEqual(frame('x'))
  })

  test('drain comes also when the queue has become short before anybody looked', async () => {
    const { client, connection } = await stuck({ highWater: 64 * KIB, lowWater: 0, hardCap: '64MiB' })
    client.socket.resume()
    for (let round = 0; round < 20; round++) {
      let count = 0
      while (connection.send(pattern(PACKET)) !== 'queued') count++
      const drained = once(connection, 'drain')
      await client.read((count + 1) * (4 + PACKET))
      await drained
    }
  })

  test('tells of each packet what became of it', async () => {
    const { client, connection } = await stuck({ hardCap: '64MiB' })
    const outcomes: string[] = []
    const sends = Array.from({ length: 20 }, (_, id) =>
      connection.sendAsync(pattern(PACKET, id)).then((outcome) => outcomes.push(outcome))
    )
    await readPackets(
      client,
      Array.from({ length: 20 }, (_, id) => id)
    )
    await Promise.all(sends)
    expect(outcomes).toEqual(Array.from({ length: 20 }, () => 'sent'))
  })

  test('a large payload is used where it is, and is free when onSent is called', async () => {
    const { client, connection } = await stuck({}, { copyThreshold: 0 })
    client.socket.resume()
    const buffer = Buffer.alloc(100_000)
    for (let round = 0; round < 20; round++) {
      buffer.fill(round)
      expect(await connection.sendAsync(buffer)).toBe('sent')
      buffer.fill(255)
    }
    for (let round = 0; round < 20; round++) {
      const bytes = await client.read(100_004)
      expect(bytes.subarray(4).every((byte) => byte === round)).toBe(true)
    }
  })
})

describe('onOverflow', () => {
  async function fill(onOverflow: 'queue' | 'drop-newest' | 'drop-oldest' | 'close', packets: number) {
    const made = await stuck({ highWater: 256 * KIB, hardCap: 512 * KIB, onOverflow })
    const { connection } = made
    const drops = { packets: 0, bytes: 0 }
    connection.on('drop', (info) => {
      drops.packets += info.packets
      drops.bytes += info.bytes
    })
    // First what the system takes.
    while (connection.send(pattern(PACKET, 200)) === 'sent') await new Promise(setImmediate)
    const states: string[] = []
    let most = 0
    for (let id = 0; id < packets; id++) {
      states.push(connection.send(pattern(PACKET, id)))
      connection.flush()
      most = Math.max(most, connection.queuedBytes)
      if (id % 8 === 0) await new Promise(setImmediate)
    }
    return { ...made, states, drops, most }
  }

  const count = (list: string[], word: string): number => list.filter((one) => one === word).length

  test('queue: up to the hard cap, which is never exceeded', async () => {
    const { states, most, drops } = await fill('queue', 60)
    expect(count(states, 'queued')).toBeGreaterThan(0)
    expect(count(states, 'dropped')).toBeGreaterThan(30)
    expect(most).toBeGreaterThan(256 * KIB)
    expect(most).toBeLessThanOrEqual(512 * KIB)
    await until(() => drops.packets === count(states, 'dropped'))
  })

  test('drop-newest: what is said to be dropped never arrives, all else does, in order', async () => {
    const { client, connection, states, drops, most } = await fill('drop-newest', 60)
    expect(count(states, 'dropped')).toBeGreaterThan(0)
    expect(most).toBeLessThanOrEqual(512 * KIB)
    connection.end()
    client.socket.resume()
    const bytes = await client.readToEnd()
    const arrived = idsOf(bytes).filter((id) => id !== 200)
    expect(arrived).toEqual(states.flatMap((state, id) => (state === 'dropped' ? [] : [id])))
    await until(() => drops.packets >= count(states, 'dropped'))
  })

  test('drop-oldest: the newest arrive, the counts are told', async () => {
    const { server, client, connection, states, drops, most } = await fill('drop-oldest', 60)
    expect(count(states, 'dropped')).toBe(0)
    expect(most).toBeLessThanOrEqual(512 * KIB)
    connection.end()
    client.socket.resume()
    const bytes = await client.readToEnd()
    const arrived = idsOf(bytes)
    expect(arrived.at(-1)).toBe(59)
    const fresh = arrived.filter((id) => id !== 200)
    expect(fresh).toEqual(fresh.toSorted((a, b) => a - b))
    expect(drops.packets).toBeGreaterThan(0)
    expect(server.stats()?.counters).toMatchObject({ drops: drops.packets, droppedBytes: drops.bytes })
  })

  test('close: the connection closes with cause overflow', async () => {
    const { connection, states } = await fill('close', 20)
    expect(states).toContain('closed')
    const info = await connection.closed
    expect(info.cause).toBe('overflow')
    expect(info.error).toMatchObject({ code: 'ERR_IOCP_OVERFLOW' })
  })

  /** Which packets a stream consists of. */
  function idsOf(bytes: Buffer): number[] {
    const ids: number[] = []
    for (let at = 0; at < bytes.length; at += 4 + PACKET) {
      expect(bytes.readUInt32BE(at)).toBe(PACKET)
      const id = bytes[at + 4] ?? 0
      expect(bytes.subarray(at + 4, at + 4 + PACKET).equals(pattern(PACKET, id))).toBe(true)
      ids.push(id)
    }
    return ids
  }
})

describe('receiving', () => {
  test('pause stops the peer, resume brings everything, in order', async () => {
    const { server, port } = await startServer()
    const accepted = nextConnection(server)
    const client = await RawClient.open(port)
    const connection = await accepted
    const seen: number[] = []
    connection.on('packet', (packet) => {
      seen.push(packet.readUInt32BE())
      if (seen.length === 5) connection.pause()
    })
    const total = 800
    const writing = (async () => {
      for (let id = 0; id < total; id++) {
        const packet = Buffer.alloc(PACKET)
        packet.writeUInt32BE(id)
        await client.write(frame(packet))
      }
    })()
    await until(() => seen.length === 5)
    // The peer gets stuck: what it has written is far less than it wants to.
    await until(() => client.socket.writableLength > 0)
    const atPause = seen.length
    await new Promise(setImmediate)
    expect(seen.length).toBe(atPause)
    connection.resume()
    await writing
    await until(() => seen.length === total)
    expect(seen).toEqual(Array.from({ length: total }, (_, id) => id))
  })

  test('on demand, never more than was asked for', async () => {
    const { server, port } = await startServer({ receive: 2 })
    const accepted = nextConnection(server)
    const client = await RawClient.open(port)
    const connection = await accepted
    const seen: string[] = []
    connection.on('packet', (packet) => seen.push(String(packet)))
    await client.write(Buffer.concat(['1', '2', '3', '4', '5', '6'].map((text) => frame(text))))
    await until(() => seen.length === 2)
    await until(() => server.stats()?.counters.bytesIn === 30)
    expect(seen).toEqual(['1', '2'])
    connection.demand()
    await until(() => seen.length === 3)
    connection.demand(2)
    await until(() => seen.length === 5)
    await new Promise(setImmediate)
    expect(seen).toEqual(['1', '2', '3', '4', '5'])
  })

  test('iteration takes packets one by one', async () => {
    const { server, port } = await startServer()
    const accepted = nextConnection(server)
    const client = await RawClient.open(port)
    const connection = await accepted
    const total = 300
    const writing = (async () => {
      for (let id = 0; id < total; id++) await client.write(frame(pattern(PACKET, id & 255)))
      client.end()
    })()
    let id = 0
    for await (const packet of connection) {
      expect(packet.equals(pattern(PACKET, id++ & 255))).toBe(true)
      if (id % 50 === 0) await new Promise(setImmediate)
    }
    expect(id).toBe(total)
    await writing
  })

  test('packets wait for a listener that comes late', async () => {
    const { server, port } = await startServer()
    const accepted = nextConnection(server)
    const client = await RawClient.open(port)
    const connection = await accepted
    await client.write(Buffer.concat([frame('early'), frame('bird')]))
    client.end()
    await until(() => server.stats()?.counters.packetsIn === 2 || server.stats()?.counters.bytesIn === 17)
    const seen: string[] = []
    connection.on('packet', (packet) => seen.push(String(packet)))
    connection.on('end', () => seen.push('end'))
    await connection.closed
    expect(seen).toEqual(['early', 'bird', 'end'])
  })

  test('an event loop that is blocked stops the reading: memory stays bounded', async () => {
    const { server, port } = await startServer({ delivery: { total: '1MiB', perConnection: '256KiB' } })
    const clients = await Promise.all(Array.from({ length: 4 }, () => RawClient.open(port)))
    let received = 0
    server.on('packet', (packet) => {
      received += packet.length
    })
    const each = 100
    const writing = clients.map(async (client) => {
      for (let id = 0; id < each; id++) await client.write(frame(pattern(PACKET)))
    })
    // Blocked again and again, with the peers in between.
    while (received < clients.length * each * PACKET) {
      const until = performance.now() + 20
      while (performance.now() < until);
      await new Promise(setImmediate)
      expect(server.stats()?.delivery.bytes).toBeLessThanOrEqual(2 * 1024 * KIB)
    }
    await Promise.all(writing)
    expect(received).toBe(clients.length * each * PACKET)
    expect(server.stats()?.delivery.peakBytes).toBeLessThanOrEqual(2 * 1024 * KIB)
  })
})
