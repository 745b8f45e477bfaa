import { once } from 'node:events'
import { type Connection, framing, type JobPriority } from 'iocp'
import { expect, test } from 'vitest'
import { load, random } from '../helpers/load.js'
import { startClient, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'

const DURATION = load(4000, 180_000)
const ECHO = 0x10
const EXITS = 0x14
const CODES = [
  'ERR_IOCP_WORKER_EXITED',
  'ERR_IOCP_JOB_TIMEOUT',
  'ERR_IOCP_JOB_CANCELLED',
  'ERR_IOCP_CLOSED',
  'ERR_IOCP_WORKERS_FULL'
]
const priorities: readonly JobPriority[] = ['high', 'normal', 'low']

interface Peer {
  readonly connection: Connection
  readonly received: number[]
  sent: number
}

test('a storm: workers come, go and die while connections do; each job ends once, each packet is answered once', async () => {
  const seed = Number(process.env['IOCP_SEED'] ?? Date.now() % 1_000_000)
  const below = random(seed)
  const typed = framing.lengthField({ bytes: 4, typeByte: true })
  const module = new URL('../fixtures/jobs.mjs', import.meta.url)
  const { server, port } = await startServer({
    framing: typed,
    workers: { module, count: 3, route: [ECHO, EXITS], maxQueued: 5000 }
  })
  server.on('workerExit', () => undefined)
  server.on('packet', () => expect.unreachable())
  const client = startClient({ framing: typed })
  const peers: Peer[] = []
  let settled = 0
  const problems: string[] = []
  const jobs: Promise<void>[] = []

  const open = async (): Promise<void> => {
    // A peer that resets before it has been accepted would be none.
    const [connection] = await Promise.all([client.connect({ port, host: '127.0.0.1' }), once(server, 'connection')])
    const received: number[] = []
    connection.on('packet', (packet) => received.push(packet.readUInt32LE(1)))
    peers.push({ connection, received, sent: 0 })
  }
  const send = (peer: Peer, type: number): void => {
    const packet = Buffer.alloc(5 + below(200), type)
    packet.writeUInt32LE(peer.sent, 1)
    if (type === ECHO) peer.sent++
    peer.connection.send(packet)
  }
  const watch = (job: Promise<unknown>, wanted: unknown): void => {
    const check = (isRight: boolean, what: unknown): void => {
      settled++
      if (!isRight) problems.push(`${String(what)} for ${String(wanted)}`)
    }
    jobs.push(
      job.then(
        (value) => {
          check(value === wanted, value)
        },
        (error: unknown) => {
          const { code, message } = error as { code?: string; message: string }
          check(CODES.includes(code ?? '') || message === 'given up' || message === 'as asked', message)
        }
      )
    )
  }
  const run = (): void => {
    const number = below(1_000_000)
    const priority = priorities[below(3)] ?? 'normal'
    // Seldom: the more of them die young, the longer the others wait for a worker.
    if (below(400) === 0) {
      const isLoop = below(2) === 0
      watch(
        isLoop ? server.workers.run('loops', 0, { timeout: 1 + below(200) }) : server.workers.run('exits'),
        undefined
      )
      return
    }
    switch (below(10)) {
      case 0:
        watch(server.workers.run('throws'), undefined)
        return
      case 1: {
        const given = new AbortController()
        watch(
          server.workers.run('wait', below(50), { signal: given.signal, timeout: 5000 }).then(() => 0),
          0
        )
        setTimeout(() => {
          given.abort(new Error('given up'))
        }, below(60))
        return
      }
      case 2: {
        const memory = new ArrayBuffer(1 + below(5000))
        const size = memory.byteLength
        watch(server.workers.run('isDetached', memory, { transferList: [memory], priority }), size)
        return
      }
      case 3: {
        const all = [...server.connections]
        const connection = all[below(all.length)]
        if (connection !== undefined) watch(server.workers.run('echo', number, { connection, priority }), number)
        return
      }
      default:
        watch(server.workers.run('echo', number, { priority }), number)
    }
  }

  for (let i = 0; i < 6; i++) await open()
  const end = performance.now() + DURATION
  const resizing = (async () => {
    while (performance.now() < end) {
      const done = server.workers.resize(below(6))
      await Promise.race([done, pause(below(400))])
    }
  })()
  while (performance.now() < end) {
    await pause(below(12))
    for (let i = below(4); i > 0; i--) run()
    for (const peer of peers) for (let i = below(5); i > 0; i--) send(peer, ECHO)
    const one = peers[below(peers.length)]
    if (one !== undefined && below(300) === 0) send(one, EXITS)
    if (one !== undefined && below(30) === 0) {
      peers.splice(peers.indexOf(one), 1)
      if (below(2) === 0) one.connection.reset()
      else one.connection.end()
      await open()
    }
  }
  await resizing
  await server.workers.resize(2)
  const added = jobs.length
  await Promise.all(jobs)
  await until('all are answered', () => peers.every(({ received, sent }) => received.length >= sent), 300_000)
  for (const { received, sent } of peers) expect(received).toEqual(Array.from({ length: sent }, (_, number) => number))

  // And once more, cut off in the middle.
  for (let i = 0; i < 200; i++) run()
  for (const peer of peers) for (let i = 0; i < 50; i++) send(peer, ECHO)
  await server.close({ deadline: below(300) })
  await Promise.all(jobs)
  expect(problems, `IOCP_SEED=${seed}`).toEqual([])
  expect(settled).toBe(jobs.length)
  expect(added).toBeGreaterThan(100)
}, 600_000)
