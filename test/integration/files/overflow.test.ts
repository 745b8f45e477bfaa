/** Files on a connection that throws its oldest packets away: no word about a file is among them. */

import { expect, test } from 'vitest'
import { acceptNext, folders, makeFile, pair, sha256 } from '../../helpers/files.js'

const KIB = 1024

test.each(['framed', 'streamed back'])(
  "a flood with 'drop-oldest' loses packets, but files arrive (%s)",
  { timeout: 60_000 },
  async (way) => {
    const { from, to } = folders()
    const both = await pair(
      {
        sendBuffer: 8 * KIB,
        backpressure: { highWater: 32 * KIB, lowWater: 0, hardCap: 256 * KIB, onOverflow: 'drop-oldest' },
        transfer: { answerTimeout: 5000, stallTimeout: 5000 }
      },
      { transfer: { answerTimeout: 5000, stallTimeout: 5000 } }
    )
    let dropped = 0
    both.server.on('drop', ({ packets }) => {
      dropped += packets
    })
    both.client.on('packet', () => undefined)
    const packet = Buffer.alloc(2 * KIB, 0x10)
    const flood = setInterval(() => {
      for (let i = 0; i < 60; i++) both.server.send(packet)
    }, 1)
    try {
      for (let round = 0; round < 10; round++) {
        const [sender, receiver] = way === 'framed' ? [both.client, both.server] : [both.server, both.client]
        const path = makeFile(from, 100 * KIB, `${round}`)
        const received = acceptNext(receiver, { directory: to })
        const [, { path: arrived }] = await Promise.all([sender.sendFile(path), received])
        expect(await sha256(arrived)).toBe(await sha256(path))
      }
    } finally {
      clearInterval(flood)
    }
    expect(dropped).toBeGreaterThan(100)
  }
)
