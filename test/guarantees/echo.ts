/** Peers that send numbered bytes to a server, which checks them and sends them back, and they check them again. */

import { framing, type ServerOptions } from 'iocp'
import { expect } from 'vitest'
import { random } from '../helpers/load.js'
import { numbered, NumberedStream } from '../helpers/numbered.js'
import { Deframer, frame } from '../helpers/packets.js'
import { openSocket } from '../helpers/raw_client.js'
import { counter, startServer } from '../helpers/servers.js'
import { asError, many, write } from './support.js'

/** Packets that say which stream they are of and which number they have, and go on with numbered bytes. */
class NumberedPackets {
  readonly #index: number
  readonly #stream: NumberedStream
  count = 0

  constructor(index: number) {
    this.#index = index
    this.#stream = new NumberedStream(index)
  }

  take(packet: Buffer): void {
    const [index, number] = [packet.readUInt32BE(), packet.readUInt32BE(4)]
    if (index !== this.#index || number !== this.count) {
      throw new Error(`packet ${number} of stream ${index} came where ${this.count} of ${this.#index} was due`)
    }
    this.#stream.take(packet.subarray(8))
    this.count++
  }
}

/** Bytes without any framing, in pieces of all sizes. */
export async function echoBytes(options: ServerOptions, connections: number, bytes: number): Promise<void> {
  const { server, port } = await startServer({ ...options, framing: framing.raw() })
  const failures: unknown[] = []
  server.on('connection', (connection) => {
    let stream: NumberedStream | undefined
    connection.on('packet', (packet) => {
      try {
        // The first four bytes say which stream it is. One read can be as short as a byte.
        const rest = stream === undefined ? packet.subarray(4) : packet
        stream ??= new NumberedStream(packet.readUInt32BE())
        stream.take(rest)
      } catch (error) {
        failures.push(error)
        connection.destroy()
      }
      connection.send(packet)
    })
  })
  await many(
    connections,
    async (index) => {
      const socket = await openSocket(port)
      const back = new NumberedStream(index)
      let header = 4
      const finished = new Promise<void>((resolve, reject) => {
        socket.on('data', (data) => {
          const skip = Math.min(header, data.length)
          header -= skip
          try {
            back.take(data.subarray(skip))
          } catch (error) {
            reject(asError(error))
          }
          if (back.at === bytes) resolve()
        })
        socket.on('close', () => {
          reject(new Error(`stream ${index} was closed after ${back.at} of ${bytes} bytes`))
        })
      })
      finished.catch(() => undefined)
      const name = Buffer.alloc(4)
      name.writeUInt32BE(index)
      socket.write(name)
      const draw = random(index + 1)
      for (let at = 0; at < bytes;) {
        const size = Math.min(bytes - at, draw(4) === 0 ? 1 + draw(64) : 1 + draw(40_000))
        await write(socket, numbered(index, at, size))
        at += size
      }
      await finished
      socket.destroy()
    },
    connections
  )
  expect(failures).toEqual([])
  if (options.readMode === 'direct') expect(counter(server, 'directReads')).toBeGreaterThan(connections)
}

/** Packets that say their number, several in one write. */
export async function echoPackets(options: ServerOptions, connections: number, packets: number): Promise<void> {
  const { server, port } = await startServer(options)
  const seen = new Map<number, NumberedPackets>()
  const failures: unknown[] = []
  server.on('packet', (packet, connection) => {
    let stream = seen.get(connection.id)
    if (stream === undefined) seen.set(connection.id, (stream = new NumberedPackets(packet.readUInt32BE())))
    try {
      stream.take(packet)
    } catch (error) {
      failures.push(error)
      connection.destroy()
    }
    connection.send(packet)
  })

  const talk = async (index: number): Promise<void> => {
    const socket = await openSocket(port)
    const answers = new NumberedPackets(index)
    const finished = new Promise<void>((resolve, reject) => {
      const deframer = new Deframer((packet) => {
        answers.take(packet)
        if (answers.count === packets) resolve()
      })
      socket.on('data', (data) => {
        try {
          deframer.feed(data)
        } catch (error) {
          reject(asError(error))
        }
      })
      socket.on('close', () => {
        reject(new Error(`connection ${index} was closed after ${answers.count} packets`))
      })
    })
    finished.catch(() => undefined)
    const draw = random(index + 1)
    for (let at = 0, number = 0; number < packets;) {
      // Several packets in one write; that reads end inside of packets comes from TCP by itself.
      const batch: Buffer[] = []
      for (let more = 1 + draw(8); more > 0 && number < packets; more--) {
        const size = draw(8) === 0 ? draw(9000) : draw(400)
        const head = Buffer.alloc(8)
        head.writeUInt32BE(index)
        head.writeUInt32BE(number, 4)
        batch.push(frame(Buffer.concat([head, numbered(index, at, size)])))
        at += size
        number++
      }
      await write(socket, Buffer.concat(batch))
    }
    await finished
    socket.destroy()
  }
  await many(connections, talk, connections)
  expect(failures).toEqual([])
  expect([...seen.values()].map((stream) => stream.count)).toEqual(Array<number>(connections).fill(packets))
  if (options.readMode === 'direct') expect(counter(server, 'directReads')).toBeGreaterThan(connections)
}
