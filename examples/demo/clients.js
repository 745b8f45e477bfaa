// @ts-check
// Two ways to be a client: with this library, and with node:net, which has to cut the packets itself.
import net from 'node:net'
import { createClient } from 'iocp'

/**
 * @typedef {import('./peer.js').Peer} Peer
 * @typedef {(port: number, peer: Peer) => Promise<import('./peer.js').Link>} Connect
 */

/** @returns {{ connect: Connect, close: () => Promise<unknown> }} */
export function iocpClients() {
  const client = createClient()
  return {
    async connect(port, peer) {
      const connection = await client.connect({ host: '127.0.0.1', port })
      connection.on('packet', (packet) => peer.received(packet))
      connection.on('close', ({ cause, error }) => peer.closed(error?.message ?? `closed: ${cause}`))
      return {
        send: (packet) => void connection.send(packet),
        end: () => void connection.end()
      }
    },
    close: () => client.close({ deadline: 0 })
  }
}

/** @returns {{ connect: Connect, close: () => Promise<unknown> }} */
export function netClients() {
  return {
    connect(port, peer) {
      const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
      const cut = packetCutter((packet) => peer.received(packet))
      let reason = 'closed'
      return new Promise((resolve, reject) => {
        socket.once('error', reject)
        socket.once('connect', () => {
          socket.off('error', reject)
          socket.on('error', ({ message }) => (reason = message))
          socket.on('data', cut)
          socket.on('close', () => peer.closed(reason))
          resolve({
            send(packet) {
              const header = Buffer.allocUnsafe(4)
              header.writeUInt32BE(packet.length)
              socket.cork()
              socket.write(header)
              socket.write(packet)
              socket.uncork()
            },
            end: () => void socket.end()
          })
        })
      })
    },
    close: () => Promise.resolve()
  }
}

/**
 * Puts packets together from what arrives.
 * @param {(packet: Buffer) => void} onPacket
 * @returns {(bytes: Buffer) => void}
 */
function packetCutter(onPacket) {
  /** @type {Buffer} */
  let rest = Buffer.alloc(0)
  return (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
    while (rest.length >= 4) {
      const end = 4 + rest.readUInt32BE()
      if (rest.length < end) return
      onPacket(rest.subarray(4, end))
      rest = rest.subarray(end)
    }
  }
}
