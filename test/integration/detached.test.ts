/** Memory that is taken away: of payloads on their way out, and of packets that have come. */

import { connect, type Connection, createServer, type DropInfo, type SendOutcome, type Server } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { closeAfterTest, first } from '../helpers/servers.js'
import { refusesTransfer } from '../helpers/transferring.js'

const HOST = '127.0.0.1'
const PATIENCE = { timeout: 20_000 }
const BIG = 200_000

/** A server, and clients of it with the server's ends, in the same order. */
async function some(count: number): Promise<{ server: Server; clients: Connection[]; peers: Connection[] }> {
  const server = createServer({ copyThreshold: 4096 })
  closeAfterTest(server)
  const { port } = await server.listen(0, HOST)
  const clients: Connection[] = []
  const peers: Connection[] = []
  for (let index = 0; index < count; index++) {
    const accepted = first<Connection>(server, 'connection')
    clients.push(await connect({ port, host: HOST }))
    peers.push(await accepted)
  }
  onTestFinished(() => {
    for (const client of clients) client.destroy()
  })
  return { server, clients, peers }
}

const next = (connection: Connection): Promise<Buffer> => first<Buffer>(connection, 'packet')

/** How memory can go between a send and its submission. */
const ways: [string, (bytes: Uint8Array<ArrayBuffer>) => unknown, (size: number) => ArrayBuffer][] = [
  ['transferred', ({ buffer }) => structuredClone(buffer, { transfer: [buffer] }), (size) => new ArrayBuffer(size)],
  [
    'shrunk',
    ({ buffer }) => {
      buffer.resize(10)
    },
    (size) => new ArrayBuffer(size, { maxByteLength: size })
  ]
]

describe.each(ways)('a large payload whose memory is %s in the tick of its send', (_, takeAway, make) => {
  test('is gone alone: its sender is told, everything else goes out', async () => {
    const { clients, peers } = await some(20)
    const received = clients.map(next)
    const outcomes: SendOutcome[] = []
    const drops: DropInfo[] = []
    peers[7]?.on('drop', (info) => drops.push(info))
    const bytes = new Uint8Array(make(BIG))
    for (const [index, peer] of peers.entries()) {
      peer.send(index === 7 ? bytes : Buffer.alloc(BIG, index), (outcome) => (outcomes[index] = outcome))
    }
    takeAway(bytes)
    peers[7]?.send('behind it')
    const packets = await Promise.all(received)
    for (const [index, packet] of packets.entries()) {
      if (index === 7) expect(packet.toString()).toBe('behind it')
      else expect(packet.equals(Buffer.alloc(BIG, index))).toBe(true)
    }
    await expect.poll(() => Object.keys(outcomes).length, PATIENCE).toBe(20)
    expect(outcomes[7]).toBe('detached')
    expect(new Set(outcomes.toSpliced(7, 1))).toEqual(new Set(['sent']))
    expect(drops).toEqual([{ packets: 1, bytes: BIG, reason: 'detached' }])
    for (const peer of peers) peer.end()
    for (const client of clients) client.end()
    await Promise.all(peers.map(({ closed }) => closed))
  })

  test('in a broadcast is gone for all of them, and nothing else is', async () => {
    const { server, clients, peers } = await some(3)
    const received = clients.map(next)
    const drops: DropInfo[] = []
    for (const peer of peers) peer.on('drop', (info) => drops.push(info))
    const bytes = new Uint8Array(make(BIG))
    const { sent, queued } = server.broadcast(bytes)
    expect(sent + queued).toBe(3)
    takeAway(bytes)
    for (const peer of peers) peer.send('behind it')
    for (const packet of await Promise.all(received)) expect(packet.toString()).toBe('behind it')
    expect(drops).toEqual(peers.map(() => ({ packets: 1, bytes: BIG, reason: 'detached' })))
  })
})

test('a payload that is gone already is refused at the call, and leaves nothing behind', async () => {
  const { clients, peers } = await some(1)
  const bytes = new Uint8Array(10)
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
  const outcomes: SendOutcome[] = []
  expect(() => peers[0]?.send(bytes, (outcome) => outcomes.push(outcome))).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE', option: 'data' })
  )
  peers[0]?.end()
  clients[0]?.end()
  expect((await peers[0]?.closed)?.cause).toBe('local')
  expect(outcomes).toEqual([])
})

describe('the memory of packets', () => {
  test.each([
    [
      'postMessage',
      (buffer: ArrayBuffer) => {
        new MessageChannel().port1.postMessage(buffer, [buffer])
      }
    ],
    ['structuredClone', (buffer: ArrayBuffer) => structuredClone(buffer, { transfer: [buffer] })]
  ] as const)('cannot be taken away by %s', async (_, take) => {
    const { clients, peers } = await some(2)
    const seen: string[] = []
    const errors: unknown[] = []
    for (const peer of peers) {
      peer.on('packet', (packet) => {
        seen.push(packet.toString())
        try {
          take(packet.buffer as ArrayBuffer)
        } catch (error) {
          errors.push(error)
        }
      })
    }
    for (let round = 0; round < 50; round++) for (const client of clients) client.send(`packet ${round}`)
    await expect.poll(() => seen.length, PATIENCE).toBe(100)
    expect(errors).toHaveLength(100)
    for (const error of errors) expect(error).toMatchObject({ name: 'DataCloneError' })
    expect(seen.every((text) => /^packet \d+$/.test(text))).toBe(true)
  })

  test('of any size cannot be taken away by postMessage, nor by transfer() in a Node.js that refuses it', async () => {
    const { clients, peers } = await some(2)
    const seen: string[] = []
    const errors: unknown[] = []
    const attempt = (take: () => void): void => {
      try {
        take()
      } catch (error) {
        errors.push(error)
      }
    }
    for (const [index, peer] of peers.entries()) {
      peer.on('packet', (packet) => {
        const memory = packet.buffer as ArrayBuffer
        if (index === 0) {
          attempt(() => structuredClone(memory, { transfer: [memory] }))
          if (refusesTransfer) attempt(() => memory.transfer())
        }
        seen.push(`${index} ${packet.length} ${packet.subarray(0, 8).toString()}`)
      })
    }
    const sizes = Array.from({ length: 20 }, (_, round) => 20_000 + round * 30_000)
    for (const size of sizes) {
      for (const client of clients) {
        client.send(Buffer.alloc(size, 'large'))
        client.send('small')
      }
    }
    await expect.poll(() => seen.length, PATIENCE).toBe(80)
    for (const index of [0, 1]) {
      const expected = sizes.map((size) => [`${index} ${size} largelar`, `${index} 5 small`])
      expect(seen.filter((text) => text.startsWith(`${index} `))).toEqual(expected.flat())
    }
    expect(errors).toHaveLength(refusesTransfer ? 80 : 40)
    for (const error of errors) expect((error as Error).name).toMatch(/^(DataCloneError|TypeError)$/)
  })

  test('may be copied and given away', async () => {
    const { clients, peers } = await some(1)
    const arrived = next(peers[0] as Connection)
    clients[0]?.send('mine')
    const own = new Uint8Array(await arrived)
    const { buffer } = structuredClone(own, { transfer: [own.buffer] })
    expect(Buffer.from(buffer).toString()).toBe('mine')
  })

  test.skipIf(refusesTransfer)(
    'taken away by transfer(), in a Node.js that lets it: those whose packets are lost are reset, and nobody else notices',
    async () => {
      const { clients, peers } = await some(3)
      const [thief, victim, other] = peers as [Connection, Connection, Connection]
      thief.on('packet', (packet) => {
        if (packet[0] === 1) (packet.buffer as ArrayBuffer).transfer()
      })
      const seen: string[] = []
      victim.on('packet', (packet) => seen.push(packet.toString()))
      other.on('packet', (packet) => seen.push(packet.toString()))
      // Until something has come behind one of the thief's in the same batch: the victim's, or another one of its own.
      for (let round = 0; round < 2000 && victim.state === 'open' && thief.state === 'open'; round++) {
        clients[0]?.send(Buffer.of(1))
        clients[1]?.send('lost or found')
        await new Promise(setImmediate)
      }
      const { cause, error } = await Promise.race([thief.closed, victim.closed])
      expect([cause, error?.code]).toEqual(['detached', 'ERR_IOCP_DETACHED'])
      expect(other.state).toBe('open')
      clients[2]?.send('still there')
      await expect.poll(() => seen.includes('still there'), PATIENCE).toBe(true)
    }
  )
})
