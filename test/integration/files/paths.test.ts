/** A path with a NUL: the system would cut it there, and take another file than the one that was meant. */

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, createClient, createServer, type FileOffer, pruneParts } from 'iocp'
import { expect, test } from 'vitest'
import { acceptNext, folders, makeFile, pair, works } from '../../helpers/files.js'
import { until } from '../../helpers/time.js'

const refused = expect.objectContaining({ name: 'IocpError', code: 'ERR_INVALID_ARG_VALUE' }) as Error

test('sendFile, in both modes, and broadcastFile', async () => {
  const { from } = folders()
  writeFileSync(join(from, 'secret.txt'), 'secret')
  const path = join(from, 'secret.txt\0.png')
  const both = await pair()
  let offers = 0
  both.server.on('file', (offer) => {
    offers++
    offer.reject()
  })
  expect(() => both.client.sendFile(path, { name: 'a.png' })).toThrow(refused)
  expect(() => both.client.sendFile(path, { name: 'a.png', mode: 'raw' })).toThrow(refused)
  expect(() => both.endpoint.broadcastFile(path, { name: 'a.png' })).toThrow(refused)
  await works(both)
  expect(offers).toBe(0)
})

test('accept, resumable and receiveFile', async () => {
  const { from, to } = folders()
  const both = await pair()
  const offers: FileOffer[] = []
  both.server.once('file', (offer) => offers.push(offer))
  const sending = both.client.sendFile(makeFile(from, 10))
  await until('it is offered', () => offers.length === 1)
  const [offer] = offers
  expect(() => offer?.accept({ path: join(to, 'a.exe\0.txt') })).toThrow(refused)
  expect(() => offer?.accept({ directory: `${to}\0` })).toThrow(refused)
  await expect(offer?.resumable({ directory: `${to}\0` })).rejects.toThrow(refused)
  expect(() => both.server.receiveFile({ path: join(to, 'a\0b'), bytes: 1 })).toThrow(refused)
  expect(readdirSync(to)).toEqual([])
  // It can still be answered properly.
  await offer?.accept({ path: join(to, 'a') })
  await sending
})

test('folders of servers, clients and connections, and of pruneParts', async () => {
  const { from, to } = folders()
  const transfer = { directory: `${to}\0` }
  expect(() => createServer({ transfer })).toThrow(refused)
  expect(() => createClient({ transfer })).toThrow(refused)
  await expect((async () => connect({ port: 1, transfer }))()).rejects.toThrow(refused)
  expect(() => pruneParts(`${to}\0`)).toThrow(refused)
  const both = await pair({ transfer: { directory: to } }, { transfer: {} })
  const received = acceptNext(both.server, { directory: to })
  await both.client.sendFile(makeFile(from, 10))
  await received
})

test('a folder where a file is wanted: the error says so, before anything is sent', async () => {
  const { from, to } = folders()
  const both = await pair()
  for (const mode of ['framed', 'raw'] as const) {
    await expect(both.client.sendFile(from, { mode, name: 'a' })).rejects.toMatchObject({
      code: 'EISDIR',
      syscall: 'open',
      path: from,
      winCode: 5
    })
  }
  const taken = join(to, 'taken')
  mkdirSync(taken)
  for (const overwrite of ['fail', 'replace'] as const) {
    const received = acceptNext(both.server, { path: taken, overwrite })
    await expect(both.client.sendFile(makeFile(from, 10))).rejects.toMatchObject({ code: 'ERR_IOCP_TRANSFER_EXISTS' })
    await expect(received).rejects.toMatchObject({ code: 'ERR_IOCP_TRANSFER_EXISTS', path: taken })
  }
  expect(both.server.stats()?.bytesRead).toBeLessThan(1000)
  await works(both)
})

test('a folder for files that is not there, and a file outside of it', async () => {
  const { from, to } = folders()
  const nowhere = join(to, 'nowhere')
  const lost = await pair({ transfer: { directory: nowhere } })
  const received = acceptNext(lost.server, { directory: nowhere })
  await expect(lost.client.sendFile(makeFile(from, 10))).rejects.toMatchObject({ code: 'ERR_IOCP_TRANSFER_FILE' })
  await expect(received).rejects.toMatchObject({
    name: 'IocpError',
    code: 'ENOENT',
    syscall: 'realpath',
    path: nowhere
  })
  const both = await pair({ transfer: { directory: to } })
  const outside = acceptNext(both.server, { path: from })
  await expect(both.client.sendFile(makeFile(from, 10))).rejects.toMatchObject({ code: 'ERR_IOCP_TRANSFER_REJECTED' })
  await expect(outside).rejects.toMatchObject({ code: 'ERR_IOCP_TRANSFER_PATH', path: from })
  await works(both)
})
