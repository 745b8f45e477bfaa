/** A path with a NUL: the system would cut it there, and take another file than the one that was meant. */

import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, createClient, createServer, pruneParts, type FileOffer } from 'iocp'
import { expect, test } from 'vitest'
import { acceptNext, folders, makeFile, pair, until, works } from '../helpers/files.js'

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
