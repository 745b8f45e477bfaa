/** A client of Node's own that sends numbered packets and checks that they come back, every byte of them. */

import net from 'node:net'
import { onTestFinished } from 'vitest'
import { frame } from '../helpers/packets.js'
import { HOST } from '../helpers/ports.js'

/** The bytes of a packet follow from who sends it and its number. */
export function packetOf(client: number, number: number, size: number): Buffer {
  const packet = Buffer.allocUnsafe(size)
  let state = (client * 2_654_435_761 + number * 40_503 + 1) >>> 0
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    packet[at] = state >>> 24
  }
  return packet
}

export interface EchoResult {
  /** All packets have come back. */
  complete: boolean
  /** Something came that is not what was sent. */
  wrong: string | undefined
  packets: number
  error: string | undefined
}

/**
 * Sends `packets` packets of sizes that `sizeOf` tells, at most `window` of them unanswered, then ends. Resolves when the
 * socket has closed, whoever did it.
 */
export function echoClient(
  client: number,
  port: number,
  { packets = 20, sizeOf = (number: number): number => (number * 37) % 300, window = 8 } = {}
): Promise<EchoResult> {
  const socket = net.connect({ host: HOST, port, noDelay: true })
  onTestFinished(() => {
    socket.destroy()
  })
  const result: EchoResult = { complete: false, wrong: undefined, packets: 0, error: undefined }
  let sent = 0
  let received = Buffer.alloc(0)
  const more = (): void => {
    while (sent < packets && sent - result.packets < window) {
      socket.write(frame(packetOf(client, sent, sizeOf(sent))))
      sent++
    }
  }
  socket.on('connect', more)
  socket.on('data', (bytes) => {
    received = received.length === 0 ? bytes : Buffer.concat([received, bytes])
    for (;;) {
      if (received.length < 4) break
      const size = received.readUInt32BE()
      const number = result.packets
      if (number >= packets || size !== sizeOf(number)) {
        result.wrong ??= `a packet of ${size} bytes where number ${number} was due`
        socket.destroy()
        return
      }
      if (received.length < 4 + size) break
      if (!received.subarray(4, 4 + size).equals(packetOf(client, number, size))) {
        result.wrong ??= `wrong bytes in packet ${number}`
        socket.destroy()
        return
      }
      received = received.subarray(4 + size)
      result.packets++
    }
    if (result.packets === packets) {
      result.complete = true
      socket.end()
    } else {
      more()
    }
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    result.error = error.code ?? error.message
  })
  return new Promise((resolve) => {
    socket.on('close', () => {
      resolve(result)
    })
  })
}
