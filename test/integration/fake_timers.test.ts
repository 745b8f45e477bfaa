import { createServer } from 'iocp'
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
