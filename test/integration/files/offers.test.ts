/** Offers of files: accepted, refused, left alone; and what an end refuses to offer. */

import { readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, createServer, type FileOffer, framing } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { acceptNext, code, failure, folders, leftovers, makeFile, pair, typed, works } from '../../helpers/files.js'
import { until } from '../../helpers/time.js'

describe('offers', () => {
  test('are rejected with a reason, by nobody listening, by nobody answering', async () => {
    const { from } = folders()
    const both = await pair({ transfer: { answerTimeout: 200 } })
    const path = makeFile(from, 10)
    expect(await code(both.client.sendFile(path))).toBe('ERR_IOCP_TRANSFER_REJECTED')
    both.server.once('file', (offer) => {
      offer.reject('not today')
      offer.reject('not tomorrow')
    })
    const rejected = await failure(both.client.sendFile(path))
    expect(rejected.code).toBe('ERR_IOCP_TRANSFER_REJECTED')
    expect(rejected.message).toContain('not today')
    const offers: FileOffer[] = []
    both.server.once('file', (offer) => offers.push(offer))
    expect(await code(both.client.sendFile(path))).toBe('ERR_IOCP_TRANSFER_ANSWER_TIMEOUT')
    const [late] = offers
    expect(late?.isAnswered).toBe(true)
    expect(await code(late?.accept({ path: join(from, 'x') }) ?? Promise.resolve())).toBe(
      'ERR_IOCP_TRANSFER_ANSWER_TIMEOUT'
    )
    await works(both)
  })

  test('reach the server too, with the connection', async () => {
    const { from, to } = folders()
    const server = createServer({ framing: typed })
    onTestFinished(async () => {
      await server.close({ deadline: 0 })
    })
    server.on('file', (offer, connection) => {
      expect(offer.connection).toBe(connection)
      void offer.accept({ path: join(to, 'chosen.bin') })
    })
    const { port } = await server.listen({ host: '127.0.0.1' })
    const client = await connect({ host: '127.0.0.1', port, framing: typed })
    await client.sendFile(makeFile(from, 10))
    expect(readdirSync(to)).toEqual(['chosen.bin'])
    client.end()
    await client.closed
  })

  test('have limits: size, number, folder', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { maxFileSize: 100, maxPerConnection: 2, directory: to } }, { transfer: {} })
    expect(await code(both.client.sendFile(makeFile(from, 101)))).toBe('ERR_IOCP_TRANSFER_TOO_LARGE')
    const offers: FileOffer[] = []
    both.server.on('file', (offer) => offers.push(offer))
    const path = makeFile(from, 100)
    const waiting = Promise.allSettled([both.client.sendFile(path), both.client.sendFile(path)])
    await until('two are offered', () => offers.length === 2)
    expect(await code(both.client.sendFile(path))).toBe('ERR_IOCP_TRANSFER_LIMIT')
    const [first, second] = offers
    expect(await code(first?.accept({ path: join(from, 'outside') }) ?? Promise.resolve())).toBe(
      'ERR_IOCP_TRANSFER_PATH'
    )
    await second?.accept({ directory: to })
    // Which of them was offered first is chance: both are opened at the same time.
    expect((await waiting).map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  })

  test('have a limit for all connections of a server, whose own files count too', async () => {
    const { from, to } = folders()
    const both = await pair({ transfer: { maxTotal: 2 } }, { transfer: {} })
    const others = await Promise.all(
      [1, 2].map(() => connect({ host: '127.0.0.1', port: both.port, framing: typed, transfer: {} }))
    )
    onTestFinished(() => {
      for (const other of others) other.destroy()
    })
    const [second, third] = others
    if (second === undefined || third === undefined) throw new Error('no connection')
    const offers: FileOffer[] = []
    both.endpoint.on('file', (offer) => offers.push(offer))
    const path = makeFile(from, 100)
    const waiting = [both.client.sendFile(path), second.sendFile(path)]
    await until('two are offered', () => offers.length === 2)
    expect(await code(third.sendFile(path))).toBe('ERR_IOCP_TRANSFER_LIMIT')
    expect(await code(both.server.sendFile(path))).toBe('ERR_IOCP_TRANSFER_LIMIT')
    // The end of each makes room for one.
    await Promise.all(offers.map((offer, i) => offer.accept({ path: join(to, String(i)) })))
    await Promise.all(waiting)
    offers.length = 0
    const next = third.sendFile(path)
    await until('it is offered', () => offers.length === 1)
    const back = acceptNext(both.client, { path: join(to, 'back') })
    expect(await both.server.sendFile(path)).toMatchObject({ bytes: 100 })
    await back
    await offers[0]?.accept({ path: join(to, 'next') })
    expect(await next).toMatchObject({ bytes: 100 })
    expect(readdirSync(to).toSorted()).toEqual(['0', '1', 'back', 'next'])
  })

  test('a link does not lead out of the folder', async () => {
    const { from, to } = folders()
    const link = join(to, 'link')
    try {
      symlinkSync(from, link, 'junction')
    } catch {
      return // not everybody may make one
    }
    const both = await pair({ transfer: { directory: to } }, { transfer: {} })
    const received = acceptNext(both.server, { path: join(link, 'a') })
    await Promise.allSettled([both.client.sendFile(makeFile(from, 1))])
    expect(await code(received)).toBe('ERR_IOCP_TRANSFER_PATH')
  })

  test('overwrite: fail, replace, rename', async () => {
    const { from, to } = folders()
    const both = await pair()
    const path = makeFile(from, 10, 'a.txt')
    writeFileSync(join(to, 'a.txt'), 'old')
    const send = async (overwrite: 'fail' | 'replace' | 'rename'): Promise<string> => {
      const received = acceptNext(both.server, { directory: to, overwrite })
      const [sent, file] = await Promise.allSettled([both.client.sendFile(path), received])
      if (file.status === 'fulfilled') return file.value.path
      expect((sent as PromiseRejectedResult).reason).toMatchObject({ code: 'ERR_IOCP_TRANSFER_EXISTS' })
      return (file.reason as { code: string }).code
    }
    expect(await send('fail')).toBe('ERR_IOCP_TRANSFER_EXISTS')
    expect(readFileSync(join(to, 'a.txt'), 'utf8')).toBe('old')
    expect(await send('rename')).toBe(join(to, 'a (2).txt'))
    expect(await send('rename')).toBe(join(to, 'a (3).txt'))
    expect(await send('replace')).toBe(join(to, 'a.txt'))
    expect(readFileSync(join(to, 'a.txt')).equals(readFileSync(path))).toBe(true)
    expect(leftovers(to)).toEqual([])
  })
})

test('errors of this side', async () => {
  const { from } = folders()
  const both = await pair()
  expect(await code(both.client.sendFile(join(from, 'nothing')))).toBe('ENOENT')
  const path = makeFile(from, 10)
  expect(await code(both.client.sendFile(path, { offset: 11 }))).toBe('ERR_IOCP_INVALID_OPTION')
  expect(await code(both.client.sendFile(path, { length: 11 }))).toBe('ERR_IOCP_INVALID_OPTION')
  expect(() => both.client.sendFile(path, { mode: 'other' as 'raw' })).toThrow(/mode/)
  const mine = Object.assign(new Error('no'), { code: 'MINE' })
  expect(await code(both.client.sendFile(path, { signal: AbortSignal.abort(mine) }))).toBe('MINE')
  const plain = await pair({ framing: framing.lengthField() })
  expect(await code(plain.client.sendFile(path))).toBe('ERR_IOCP_TRANSFER_OFF')
  const off = await pair({ transfer: false })
  expect(() => off.client.sendFile(path)).toThrow(/transfer/)
  const packets: Buffer[] = []
  off.server.on('packet', (packet) => packets.push(Buffer.from(packet)))
  off.client.send(Buffer.from([0xf0, 1, 2]))
  await until('it came as a packet', () => packets.length === 1)
  both.client.destroy()
  expect(await code(both.client.sendFile(path))).toBe('ERR_IOCP_TRANSFER_CLOSED')
})
