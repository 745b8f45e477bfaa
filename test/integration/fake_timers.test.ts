import { setTimeout } from 'node:timers/promises'
import { type Connection, createClient, createServer } from 'iocp'
import { expect, test, vi } from 'vitest'
import { frame, pattern } from '../helpers/packets.js'
import { RawClient } from '../helpers/raw_client.js'

// Native code gives the event loop a turn between two long deliveries and must not depend on what a test fakes.
test('packets come although the timers of the process are fake', async () => {
  vi.useFakeTimers({
    toFake: ['setImmediate', 'clearImmediate', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date']
  })
  try {
    const server = createServer()
    const all = new Promise<void>((resolve) => {
      let packets = 0
      server.on('packet', () => {
        // Longer than a delivery may take, so that the rest of them goes on in another turn.
        const end = performance.now() + 3
        while (performance.now() < end);
        if (++packets === 60) resolve()
      })
    })
    const { port } = await server.listen(0, '127.0.0.1')
    const client = await RawClient.open(port)
    for (let i = 0; i < 60; i++) await client.write(frame(pattern(20_000)))
    await all
    expect(vi.getTimerCount()).toBe(0)
    await server.close({ deadline: 0 })
  } finally {
    vi.useRealTimers()
  }
})

// Jest and Sinon fake these too.
test('packets, iterations and answers go on although the ticks and microtasks of the process are fake', async () => {
  const never = (): void => undefined
  // Undone below, whatever happens: vitest needs them too.
  const fakes = [
    vi.spyOn(process, 'nextTick').mockImplementation(never),
    vi.spyOn(globalThis, 'queueMicrotask').mockImplementation(never),
    vi.spyOn(globalThis, 'setImmediate').mockImplementation(never as unknown as typeof setImmediate)
  ]
  const client = createClient()
  const server = createServer()
  try {
    server.on('packet', (packet, connection) => connection.send(packet))
    const accepted = new Promise<Connection>((resolve) => {
      server.once('connection', resolve)
    })
    const { port } = await server.listen(0, '127.0.0.1')
    const connection = await client.connect(port, '127.0.0.1')
    const sent = await connection.sendAsync('0')
    expect(sent).toBe('sent')
    // Many, so that an iteration needs several rounds.
    for (let i = 1; i < 1000; i++) connection.send(String(i))
    let packets = 0
    for await (const packet of connection) {
      expect(packet.toString()).toBe(String(packets))
      if (++packets === 1000) break
    }
    const other = await accepted
    // What was paused is handed over in a tick of its own.
    const rest = new Promise<string>((resolve) => {
      connection.once('packet', (packet) => {
        resolve(packet.toString())
      })
    })
    connection.pause()
    other.send('paused')
    await setTimeout(50)
    connection.resume()
    expect(await rest).toBe('paused')
    connection.end()
    await connection.closed
    expect(await connection.sendAsync('late')).toBe('closed')
    await client.close()
    await server.close({ deadline: 0 })
  } finally {
    for (const fake of fakes) fake.mockRestore()
  }
})
