/** Guarantees 1 and 2: reads that are outstanding at the same time, on any number of threads. */

import { framing } from 'iocp'
import { describe, expect, test } from 'vitest'
import { load } from '../helpers/load.js'
import { numbered, NumberedStream } from '../helpers/numbered.js'
import { openSocket } from '../helpers/raw_client.js'
import { startServer } from '../helpers/servers.js'
import { until } from '../helpers/time.js'
import { echoBytes, echoPackets } from './echo.js'

describe('guarantee 1: a read keeps its own length, whatever completes before it', () => {
  test('pieces of one byte between pieces that fill a buffer, with 16 reads outstanding', async () => {
    const { server, port } = await startServer({
      ioThreads: 4,
      pendingReads: 16,
      readMode: 'direct',
      framing: framing.raw()
    })
    const seen = new NumberedStream(7)
    server.on('packet', (packet) => {
      seen.take(packet)
    })
    const socket = await openSocket(port)
    const sizes = [1, 8191, 8192, 8193, 2, 65_536, 3, 8192, 1, 20_000]
    let at = 0
    for (let round = 0; round < 60; round++) {
      const size = sizes[round % sizes.length] ?? 1
      socket.write(numbered(7, at, size))
      at += size
      // Most pieces become a read of their own.
      if (round % 3 === 0) await new Promise(setImmediate)
    }
    await until('all bytes have come', () => seen.at >= at)
    expect(seen.at).toBe(at)
  })
})

describe('guarantee 2: bytes arrive in order for any number of I/O threads and pending reads', () => {
  test.each([
    { ioThreads: 1, pendingReads: 1, readMode: 'direct' },
    { ioThreads: 1, pendingReads: 64, readMode: 'direct' },
    { ioThreads: 64, pendingReads: 1, readMode: 'direct' },
    { ioThreads: 64, pendingReads: 64, readMode: 'direct' },
    { ioThreads: 4, pendingReads: 3, readMode: 'direct' },
    { ioThreads: 3, pendingReads: 5, readMode: 'adaptive' },
    { ioThreads: 4, pendingReads: 8, readMode: 'zero-byte' },
    { ioThreads: 8, pendingReads: 8, readMode: 'direct', skipOnSuccess: false }
  ] as const)('$ioThreads threads, $pendingReads reads, $readMode, without framing', async (options) => {
    await echoBytes(options, 12, load(400_000, 50_000_000))
  })

  test('8 threads, 8 reads, 100 connections, every packet numbered', { timeout: load(60_000, 3_600_000) }, async () => {
    await echoPackets({ ioThreads: 8, pendingReads: 8, readMode: 'direct' }, 100, load(250, 400_000))
  })
})
