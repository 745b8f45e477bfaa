// Peers of a server whose limits are measured.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'

const HOST = '127.0.0.1'

/** Opens connections, so many at a time. */
export async function openMany(port, count, { atOnce = 50, from } = {}) {
  const sockets = []
  while (sockets.length < count) {
    const some = Array.from({ length: Math.min(atOnce, count - sockets.length) }, () =>
      net.connect({ port, host: HOST, localAddress: from, noDelay: true }).on('error', () => undefined)
    )
    await Promise.all(some.map((socket) => once(socket, 'connect')))
    sockets.push(...some)
  }
  return sockets
}

/** Good clients: each sends a message now and then, and measures how long its echo takes. Milliseconds, sorted. */
export async function roundTrips(port, { clients = 50, seconds = 5, every = 40, message = Buffer.alloc(64, 1) } = {}) {
  const sockets = await openMany(port, clients)
  const times = []
  const end = performance.now() + seconds * 1000
  await Promise.all(
    sockets.map(async (socket) => {
      let got = 0
      let wake
      socket.on('data', (bytes) => {
        got += bytes.length
        if (got >= message.length) wake?.()
      })
      await pause(Math.random() * every)
      while (performance.now() < end) {
        got = 0
        const sent = performance.now()
        const answered = new Promise((resolve) => {
          wake = resolve
        })
        socket.write(message)
        await answered
        times.push(performance.now() - sent)
        await pause(every * (0.5 + Math.random()))
      }
    })
  )
  for (const socket of sockets) socket.destroy()
  return times.toSorted((a, b) => a - b)
}

function startPeers(program, ...args) {
  const child = fork(new URL(program, import.meta.url), args.map(String))
  return {
    /** What it says next. */
    said: async () => (await once(child, 'message'))[0],
    async ask() {
      const answer = once(child, 'message')
      child.send('')
      return (await answer)[0]
    },
    async stop() {
      const over = once(child, 'exit')
      child.kill()
      await over
    }
  }
}

/** Unwanted peers in another process. */
export const startFlood = (port, rate, addresses) => startPeers('flood.mjs', port, rate, addresses)

/** Slow peers in another process, once they are connected. */
export async function startSlow(port, count) {
  const peers = startPeers('slow.mjs', port, count)
  await peers.said()
  return peers
}

/** Connects, sends, waits for as many bytes, resets; so many in all. */
export async function visit(port, count, bytes, expected, atOnce = 16) {
  let left = count
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (left-- > 0) {
        const socket = net.connect({ port, host: HOST, noDelay: true }).on('error', () => undefined)
        socket.write(bytes)
        let got = 0
        await new Promise((resolve) => {
          socket.on('close', resolve).on('data', (chunk) => {
            got += chunk.length
            if (got >= expected) socket.resetAndDestroy()
          })
        })
      }
    })
  )
}

export const quantile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]
