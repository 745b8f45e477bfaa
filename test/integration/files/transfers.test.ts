import { randomBytes } from 'node:crypto'
import { existsSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type FileOffer, framing } from 'iocp'
import { describe, expect, test } from 'vitest'
import {
  acceptNext,
  checks,
  code,
  failure,
  folders,
  KIB,
  leftovers,
  makeFile,
  methods,
  MIB,
  pair,
  sha256,
  works
} from '../../helpers/files.js'
import { isLong } from '../../helpers/load.js'
import { until } from '../../helpers/time.js'

describe.each(methods)("sent by '%s'", (method) => {
  const sizes = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, isLong ? 300 * MIB : 10 * MIB + 1]
  test.each(sizes)('a file of %d bytes', { timeout: 300_000 }, async (size) => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const path = makeFile(from, 0)
    if (size > 0) writeFileSync(path, Buffer.alloc(size, randomBytes(1_000_003)))
    const wanted = await sha256(path)
    for (const verify of ['sha256', false] as const) {
      const received = acceptNext(both.server, { directory: to, overwrite: 'replace' })
      const sent = await both.client.sendFile(path, { verify })
      const file = await received
      expect(sent).toMatchObject({ bytes: size, resumedFrom: 0 })
      expect(file).toMatchObject({ bytes: size, path: join(to, 'file-0.bin') })
      expect(sent.sha256).toBe(verify === false ? undefined : wanted)
      expect(file.sha256).toBe(verify === false ? undefined : wanted)
      expect(await sha256(file.path)).toBe(wanted)
    }
    expect(leftovers(to)).toEqual([])
    await works(both)
  })

  test('paths that are file URLs', async () => {
    const { from, to } = folders()
    const folder = pathToFileURL(to)
    const both = await pair({ transfer: { method, directory: folder } })
    const path = makeFile(from, 1000, 'a %20ü.bin')
    const received = acceptNext(both.server, { directory: folder })
    await both.client.sendFile(pathToFileURL(path), { verify: false })
    expect((await received).path).toBe(join(to, 'a %20ü.bin'))
    const asPath = acceptNext(both.server, { path: pathToFileURL(join(to, 'other.bin')) })
    const { sent, failed } = await both.endpoint.broadcastFile(pathToFileURL(path), { to: [] })
    expect([sent, failed]).toEqual([[], []])
    await both.client.sendFile(pathToFileURL(path), { verify: false })
    expect((await asPath).path).toBe(join(to, 'other.bin'))
  })

  test('a range, under another name, with metadata', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const path = makeFile(from, 300_000)
    const offers: FileOffer[] = []
    both.server.once('file', (offer) => offers.push(offer))
    const received = acceptNext(both.server, { directory: to })
    const range = { offset: 100_001, length: '100KiB' }
    await both.client.sendFile(path, { ...range, name: 'part.bin', metadata: 'about it', verify: false })
    const file = await received
    expect(file.path).toBe(join(to, 'part.bin'))
    expect(offers[0]).toMatchObject({ name: 'part.bin', size: 100 * KIB, isVerified: false })
    expect(offers[0]?.metadata.toString()).toBe('about it')
    expect(readFileSync(file.path).equals(readFileSync(path).subarray(100_001, 100_001 + 100 * KIB))).toBe(true)
  })

  test('eight files at once, four in each direction, and packets between them in order', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const numbers: number[] = []
    both.server.on('packet', (packet) => numbers.push(packet.readUInt32BE(1)))
    for (const end of [both.client, both.server]) {
      end.on('file', (offer) => {
        void offer.accept({ directory: to })
      })
    }
    const paths = Array.from({ length: 8 }, (_, index) => makeFile(from, 1_500_000 + index, `${index}.bin`))
    const sending = paths.map((path, index) => (index < 4 ? both.client : both.server).sendFile(path, checks(method)))
    for (let number = 0; number < 500; number++) {
      const packet = Buffer.alloc(5, 1)
      packet.writeUInt32BE(number, 1)
      both.client.send(packet)
      if (number % 20 === 0) {
        await new Promise((resolve) => {
          setImmediate(resolve)
        })
      }
    }
    const results = await Promise.all(sending)
    for (const [index, path] of paths.entries()) {
      const wanted = await sha256(path)
      expect(results[index]?.sha256).toBe(method === 'read' ? wanted : undefined)
      expect(await sha256(join(to, `${index}.bin`))).toBe(wanted)
    }
    await until('all packets are there', () => numbers.length === 500)
    expect(numbers).toEqual(Array.from({ length: 500 }, (_, number) => number))
    expect(leftovers(to)).toEqual([])
  })

  test('raw: what was sent before goes before, what is sent later waits', async () => {
    const { from } = folders()
    const both = await pair({ framing: framing.raw(), transfer: { method } })
    const path = makeFile(from, 3_000_001)
    const pieces: Buffer[] = []
    both.server.on('packet', (packet) => pieces.push(Buffer.from(packet)))
    // None of them waits for the other; the file is still to be opened when the last one is called.
    both.client.send('before')
    const sending = both.client.sendFile(path, { mode: 'raw' })
    both.client.send('behind')
    expect(await sending).toMatchObject({ bytes: 3_000_001 })
    const wanted = Buffer.concat([Buffer.from('before'), readFileSync(path), Buffer.from('behind')])
    await until('all has come', () => pieces.reduce((sum, piece) => sum + piece.length, 0) === wanted.length)
    expect(Buffer.concat(pieces).equals(wanted)).toBe(true)
    const none = both.client.sendFile(makeFile(from, 0), { mode: 'raw' })
    both.client.send('last')
    expect((await none).bytes).toBe(0)
    expect(await code(both.client.sendFile(join(from, 'nothing'), { mode: 'raw' }))).toBe('ENOENT')
    await until('the last came', () => Buffer.concat(pieces).toString('latin1').endsWith('last'))
    await works(both)
  })

  test('raw, straight to disk, with packets before and behind it', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const path = makeFile(from, 2_000_003)
    const packets: string[] = []
    both.server.on('packet', (packet) => packets.push(packet.toString()))
    both.client.send('before')
    await until('it came', () => packets.length === 1)
    const ready = new Promise<void>((resolve, reject) => {
      both.server.receiveFile({ path: join(to, 'raw.bin'), bytes: 2_000_003, onReady: resolve }).then(({ bytes }) => {
        packets.push(`file of ${bytes}`)
      }, reject)
    })
    await ready
    const sending = both.client.sendFile(path, { mode: 'raw' })
    await sending
    both.client.send('behind')
    await until('all came', () => packets.length === 3)
    expect(packets.toSorted()).toEqual(['before', 'behind', 'file of 2000003'])
    expect(await sha256(join(to, 'raw.bin'))).toBe(await sha256(path))
    expect(leftovers(to)).toEqual([])
  })

  test('aborted by the sender, in the middle: the connection goes on', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const received = acceptNext(both.server, { directory: to })
    const controller = new AbortController()
    let seen = 0
    const reason = new Error('enough')
    const sending = both.client.sendFile(makeFile(from, 5 * MIB), {
      verify: false,
      bytesPerSecond: MIB,
      signal: controller.signal,
      onProgress: ({ bytes, total }) => {
        seen = bytes
        expect(total).toBe(5 * MIB)
        if (bytes > 0) controller.abort(reason)
      }
    })
    expect(await failure(sending)).toBe(reason)
    expect(seen).toBeGreaterThan(0)
    expect(await code(received)).toBe('ERR_IOCP_TRANSFER_ABORTED')
    expect(readdirSync(to)).toEqual([])
    await works(both)
  })

  test('aborted by the receiver, in the middle: the connection goes on', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const controller = new AbortController()
    const received = acceptNext(both.server, {
      directory: to,
      signal: controller.signal,
      onProgress: () => {
        controller.abort()
      }
    })
    const sending = both.client.sendFile(makeFile(from, 5 * MIB), { verify: false, bytesPerSecond: MIB })
    expect(await code(sending)).toBe('ERR_IOCP_TRANSFER_ABORTED')
    expect((await failure(received)).message).toMatch(/aborted/)
    expect(readdirSync(to)).toEqual([])
    await works(both)
  })

  test("share 'none': while it is sent nobody can change it, though rename and delete it", async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const path = makeFile(from, MIB)
    const wanted = await sha256(path)
    const received = acceptNext(both.server, { directory: to })
    let size = 0
    const sending = both.client.sendFile(path, {
      ...checks(method),
      share: 'none',
      bytesPerSecond: MIB / 2,
      onProgress: ({ bytes }) => {
        size = bytes
      }
    })
    await until('a part has gone', () => size > 0)
    for (const flags of ['r+', 'a', 'w']) expect(() => openSync(path, flags)).toThrow(/EBUSY/)
    const moved = join(from, 'moved')
    renameSync(path, moved)
    rmSync(moved)
    expect(size).toBeLessThan(MIB) // all of it happened under way
    expect(await sending).toMatchObject({ bytes: MIB })
    expect(await sha256((await received).path)).toBe(wanted)
    expect(readdirSync(from)).toEqual([])
    // It is let go of: in its place there may be another one.
    writeFileSync(path, 'another one')
  })

  test('a lost connection fails both ends and leaves nothing', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const received = acceptNext(both.server, {
      directory: to,
      onProgress: () => {
        both.server.reset()
      }
    })
    const path = makeFile(from, 5 * MIB)
    const sending = both.client.sendFile(path, { verify: false, bytesPerSecond: MIB })
    const codes = await Promise.all([code(sending), code(received)])
    expect(codes).toEqual(['ERR_IOCP_TRANSFER_CLOSED', 'ERR_IOCP_TRANSFER_CLOSED'])
    expect(readdirSync(to)).toEqual([])
    rmSync(path) // nobody has it open any more
    expect(existsSync(path)).toBe(false)
  })

  test.each(['sha256', false] as const)('a lost connection is resumed (verify: %s)', async (verify) => {
    const { from, to } = folders()
    const path = makeFile(from, 3 * MIB)
    const first = await pair({ transfer: { method } })
    const broken = acceptNext(first.server, {
      directory: to,
      resume: true,
      onProgress: ({ bytes }) => {
        if (bytes > MIB / 2) first.server.reset()
      }
    })
    await Promise.allSettled([first.client.sendFile(path, { verify, bytesPerSecond: MIB }), broken])
    expect(leftovers(to)).toHaveLength(1)

    const second = await pair({ transfer: { method } })
    const offered = new Promise<FileOffer>((resolve) => {
      second.server.once('file', resolve)
    })
    const sending = second.client.sendFile(path, { verify })
    const offer = await offered
    const there = await offer.resumable({ directory: to })
    expect(there).toBeGreaterThan(0)
    const file = await offer.accept({ directory: to, resume: true })
    expect(file.resumedFrom).toBe(there)
    expect(await sending).toMatchObject({ bytes: 3 * MIB, resumedFrom: there })
    const wanted = await sha256(path)
    expect(await sha256(file.path)).toBe(wanted)
    if (verify !== false) expect(file.sha256).toBe(wanted)
    expect(leftovers(to)).toEqual([])
  })
})

test('what is there of another file is not taken for a beginning', async () => {
  const { from, to } = folders()
  const path = makeFile(from, 2 * MIB)
  const first = await pair()
  const onProgress = (): void => {
    first.server.reset()
  }
  const broken = acceptNext(first.server, { directory: to, resume: true, onProgress })
  await Promise.allSettled([first.client.sendFile(path, { bytesPerSecond: MIB }), broken])
  writeFileSync(path, randomBytes(2 * MIB))
  const second = await pair()
  const received = acceptNext(second.server, { directory: to, resume: true })
  expect(await second.client.sendFile(path)).toMatchObject({ resumedFrom: 0 })
  expect(await sha256((await received).path)).toBe(await sha256(path))
})

describe.each(methods)("ends, sent by '%s'", (method) => {
  test('end() waits for the files that are under way', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { method } })
    const received = acceptNext(both.server, { directory: to })
    const path = makeFile(from, MIB)
    const sending = both.client.sendFile(path, checks(method))
    await until('it is offered', () => both.client.stats()?.packetsWritten !== 0)
    both.client.end()
    expect(await sending).toMatchObject({ bytes: MIB })
    expect(await sha256((await received).path)).toBe(await sha256(path))
    expect((await both.client.closed).error).toBeUndefined()
  })

  test('a peer that stops reading: the sender gives up', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: {} }, { transfer: { method, stallTimeout: 500 }, sendBuffer: 64 * KIB })
    const received = acceptNext(both.server, { directory: to })
    // When it has accepted; later the whole file may be there before JavaScript hears of its beginning.
    both.server.once('file', () => both.server.pause())
    const sending = both.client.sendFile(makeFile(from, 40 * MIB), { verify: false })
    expect(await code(sending)).toBe('ERR_IOCP_TRANSFER_STALL_TIMEOUT')
    // The program has not done it.
    expect(await both.client.closed).toMatchObject({ cause: 'timeout', error: { code: 'ETIMEDOUT' } })
    both.server.resume()
    expect(await code(received)).toMatch(/ERR_IOCP_TRANSFER_(CLOSED|STALLED)/)
    expect(readdirSync(to)).toEqual([])
  })
})
