/** Files that somebody else writes, or changes, while they are sent. */

import {
  closeSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync
} from 'node:fs'
import { join } from 'node:path'
import { framing } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { acceptNext, checks, code, folders, makeFile, methods, MIB, pair, sha256, works } from '../../helpers/files.js'
import { iocps } from '../../helpers/original.js'
import { until } from '../../helpers/time.js'

function opened(path: string, flags: string): number {
  const file = openSync(path, flags)
  onTestFinished(() => {
    closeSync(file)
  })
  return file
}

describe.each(methods)("sent by '%s'", (method) => {
  test('a log that is open and grows is sent up to the size at the beginning', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const path = makeFile(from, MIB, 'log')
    const beginning = readFileSync(path)
    const log = opened(path, 'a')
    let writes = 0
    const received = acceptNext(both.server, { directory: to })
    const sent = await both.client.sendFile(path, {
      ...checks(method),
      bytesPerSecond: 2 * MIB,
      onProgress: () => {
        writeSync(log, 'another line\n')
        writes++
      }
    })
    expect(sent.bytes).toBe(MIB)
    expect(writes).toBeGreaterThan(1)
    expect(readFileSync((await received).path).equals(beginning)).toBe(true)
    // Raw too, as it is now.
    const now = readFileSync(path)
    const ready = new Promise<{ file: Promise<unknown> }>((resolve) => {
      const file = both.server.receiveFile({
        path: join(to, 'raw'),
        bytes: now.length,
        onReady: () => {
          setImmediate(() => {
            resolve({ file })
          })
        }
      })
    })
    const { file } = await ready
    await both.client.sendFile(path, { mode: 'raw' })
    await file
    expect(readFileSync(join(to, 'raw')).equals(now)).toBe(true)
  })

  test('its own program goes on: it writes, renames and deletes', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const path = makeFile(from, MIB)
    const received = acceptNext(both.server, { directory: to })
    let size = 0
    const sending = both.client.sendFile(path, {
      ...checks(method),
      bytesPerSecond: MIB,
      onProgress: ({ bytes }) => {
        size = bytes
      }
    })
    await until('a part has gone', () => size > 0)
    for (const flags of ['r+', 'a']) closeSync(openSync(path, flags))
    renameSync(path, join(from, 'moved'))
    rmSync(join(from, 'moved'))
    expect(await sending).toMatchObject({ bytes: MIB })
    expect((await received).bytes).toBe(MIB)
    expect(readdirSync(from)).toEqual([])
  })

  test.each(['framed', 'raw', 'iocps'] as const)('%s: a file that shrinks fails in order', async (kind) => {
    const { from, to } = folders()
    const options = { framed: {}, raw: { framing: framing.raw() }, iocps: { framing: iocps } }[kind]
    const both = await pair({ ...options, transfer: { method } })
    const path = makeFile(from, 2 * MIB)
    const file = opened(path, 'r+')
    const received = code(acceptNext(both.server, { directory: to }))
    let shrunk = false
    const sending = code(
      both.client.sendFile(path, {
        ...(kind === 'framed' ? checks(method) : { mode: 'raw' as const, chunk: 65_536 }),
        bytesPerSecond: MIB,
        onProgress: ({ bytes }) => {
          if (bytes === 0 || shrunk) return
          shrunk = true
          ftruncateSync(file, 100)
        }
      })
    )
    expect(await sending).toBe('ERR_IOCP_TRANSFER_SOURCE_CHANGED')
    if (kind === 'framed') {
      expect(await received).toBe('ERR_IOCP_TRANSFER_SOURCE_CHANGED')
      await works(both)
    } else {
      expect((await both.client.closed).cause).toBe('local')
    }
    if (kind === 'iocps') expect(await received).toBe('ERR_IOCP_TRANSFER_CLOSED')
    expect(readdirSync(to)).toEqual([])
  })

  test("share 'none': a file that somebody has open for writing is not sent", async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const path = makeFile(from, 10)
    const file = openSync(path, 'a')
    expect(await code(both.client.sendFile(path, { share: 'none' }))).toBe('EBUSY')
    closeSync(file)
    const received = acceptNext(both.server, { directory: to })
    await both.client.sendFile(path, { share: 'none' })
    await received
  })
})

test("broadcastFile with share 'none' sends one file to many", async () => {
  const { from, to } = folders()
  const both = await pair()
  const path = makeFile(from, 100_000)
  const received = acceptNext(both.client, { directory: to })
  const { sent, failed } = await both.endpoint.broadcastFile(path, { share: 'none' })
  expect([sent.length, failed]).toEqual([1, []])
  expect(await sha256((await received).path)).toBe(await sha256(path))
})

test('inherited options of broadcastFile count', async () => {
  const { from, to } = folders()
  const both = await pair()
  const path = makeFile(from, 10)
  const received = acceptNext(both.client, { directory: to })
  await both.endpoint.broadcastFile(path, Object.create({ name: 'inherited' }) as object)
  expect((await received).path).toMatch(/inherited$/)
})

test('share is checked', async () => {
  const { from } = folders()
  const both = await pair()
  const path = join(from, 'a')
  writeFileSync(path, 'a')
  for (const share of ['read', 1, null]) {
    expect(() => both.client.sendFile(path, { share: share as 'none' })).toThrow(
      expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION' })
    )
  }
})
