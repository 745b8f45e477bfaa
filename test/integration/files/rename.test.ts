/** The last step of a file that has come: its name. Somebody else may hold it for a moment. */

import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { faultsOfLibrary } from '../../helpers/faults.js'
import { acceptNext, code, failure, folders, leftovers, makeFile, pair, sha256, works } from '../../helpers/files.js'
import { pause, until } from '../../helpers/time.js'

const seam = faultsOfLibrary()

const denied = 5
const sharing = 32
const locked = 33
const notKnown = 87

test('a reader that has the file open which is replaced: the new one comes when it lets go', async () => {
  const { from, to } = folders()
  const both = await pair()
  const path = makeFile(from, 100_000, 'a')
  writeFileSync(join(to, 'a'), 'old')
  const reader = openSync(join(to, 'a'), 'r')
  const received = acceptNext(both.server, { directory: to, overwrite: 'replace' })
  const sending = both.client.sendFile(path)
  await until('it comes', () => leftovers(to).length === 1)
  await pause(300)
  closeSync(reader)
  await Promise.all([sending, received])
  expect(await sha256(join(to, 'a'))).toBe(await sha256(path))
  expect(leftovers(to)).toEqual([])
})

test.each([true, false])(
  "fifty files of one name at once, with overwrite 'rename' and resume %s: all arrive",
  { timeout: 120_000 },
  async (resume) => {
    const { from, to } = folders()
    const both = await pair({ transfer: { maxPerConnection: 100 } })
    const path = makeFile(from, 20_000, 'a.txt')
    both.server.on('file', (offer) => {
      offer.accept({ directory: to, overwrite: 'rename', resume }).catch(() => undefined)
    })
    await Promise.all(Array.from({ length: 50 }, () => both.client.sendFile(path)))
    const names = readdirSync(to)
    expect(names.toSorted()).toEqual(['a.txt', ...Array.from({ length: 49 }, (_, i) => `a (${i + 2}).txt`)].toSorted())
    const wanted = readFileSync(path)
    for (const name of names) expect(readFileSync(join(to, name)).equals(wanted)).toBe(true)
  }
)

describe.skipIf(seam === undefined)('what the system refuses', () => {
  const calls = ['rename_posix', 'rename_file', 'move_file'] as const

  /** So that this is the call which is made. */
  function makeOthersUnknown(call: (typeof calls)[number]): void {
    if (call !== 'rename_posix') seam?.set('rename_posix', { error: notKnown })
    if (call === 'move_file') seam?.set('rename_file', { error: notKnown })
  }

  test.each(calls.flatMap((call) => [denied, sharing, locked].map((error) => [call, error] as const)))(
    '%s fails a few times with %d: the file has its name all the same',
    async (call, error) => {
      const { from, to } = folders()
      const both = await pair()
      const path = makeFile(from, 100_000)
      makeOthersUnknown(call)
      // The one that Wine does not have is not called a second time: so there it can only fail.
      seam?.set(call, { error, count: 4 })
      const received = acceptNext(both.server, { directory: to })
      await both.client.sendFile(path)
      const file = await received
      expect(seam?.hits(call)).toBe(4)
      expect(await sha256(file.path)).toBe(await sha256(path))
      expect(leftovers(to)).toEqual([])
      await works(both)
    }
  )

  test.each(calls)(
    '%s fails for too long: with resume all of it is kept, and named; the next attempt takes no byte',
    async (call) => {
      const { from, to } = folders()
      const both = await pair()
      const path = makeFile(from, 100_000)
      makeOthersUnknown(call)
      seam?.set(call, { error: sharing })
      const received = failure(acceptNext(both.server, { directory: to, resume: true }))
      expect(await code(both.client.sendFile(path))).toBe('ERR_IOCP_TRANSFER_FILE')
      const error = await received
      const [part = ''] = leftovers(to)
      expect(error).toMatchObject({
        code: 'EBUSY',
        syscall: 'rename',
        winCode: sharing,
        path: join(to, part),
        dest: join(to, 'file-100000.bin')
      })
      expect(error.message).toContain(join(to, part))
      expect(seam?.hits(call)).toBeGreaterThan(3)
      expect(await sha256(join(to, part))).toBe(await sha256(path))
      seam?.clear()
      const again = acceptNext(both.server, { directory: to, resume: true })
      expect(await both.client.sendFile(path)).toMatchObject({ resumedFrom: 100_000 })
      expect(await sha256((await again).path)).toBe(await sha256(path))
      expect(leftovers(to)).toEqual([])
    }
  )

  test('fails for too long without resume: nothing is left', async () => {
    const { from, to } = folders()
    const both = await pair()
    seam?.set('rename_posix', { error: denied })
    const received = code(acceptNext(both.server, { directory: to }))
    expect(await code(both.client.sendFile(makeFile(from, 1000)))).toBe('ERR_IOCP_TRANSFER_FILE')
    expect(await received).toBe('EPERM')
    expect(readdirSync(to)).toEqual([])
    await works(both)
  })

  test.each(calls)("%s: raw files, and names that are taken, with 'fail', 'rename', 'replace'", async (call) => {
    const { from, to } = folders()
    const both = await pair()
    makeOthersUnknown(call)
    const path = makeFile(from, 5000)
    writeFileSync(join(to, 'a'), 'old')
    const send = async (overwrite: 'fail' | 'rename' | 'replace'): Promise<string> => {
      const ready = new Promise<{ file: Promise<{ path: string }> }>((resolve, reject) => {
        const file = both.server.receiveFile({
          path: join(to, overwrite === 'fail' ? 'b' : 'a'),
          bytes: 5000,
          overwrite,
          onReady: () => {
            setImmediate(() => {
              resolve({ file })
            })
          }
        })
        file.catch(reject)
      })
      const { file } = await ready
      await both.client.sendFile(path, { mode: 'raw' })
      return (await file).path
    }
    expect(await send('rename')).toBe(join(to, 'a (2)'))
    expect(readFileSync(join(to, 'a'), 'utf8')).toBe('old')
    expect(await send('fail')).toBe(join(to, 'b'))
    expect(await send('replace')).toBe(join(to, 'a'))
    for (const name of ['a', 'a (2)', 'b']) expect(readFileSync(join(to, name)).equals(readFileSync(path))).toBe(true)
    expect(readdirSync(to).toSorted()).toEqual(['a', 'a (2)', 'b'])
    // Nobody has it open any more.
    closeSync(openSync(join(to, 'b'), 'r+'))
  })

  test('a name that is taken while the file comes is not written over', async () => {
    const { from, to } = folders()
    const both = await pair()
    const path = makeFile(from, 100_000, 'a')
    const received = failure(acceptNext(both.server, { directory: to }))
    const sending = code(both.client.sendFile(path, { bytesPerSecond: 200_000 }))
    await until('it comes', () => leftovers(to).length === 1)
    writeFileSync(join(to, 'a'), 'mine')
    expect(await sending).toBe('ERR_IOCP_TRANSFER_EXISTS')
    expect((await received).code).toBe('ERR_IOCP_TRANSFER_EXISTS')
    expect(readFileSync(join(to, 'a'), 'utf8')).toBe('mine')
    expect(readdirSync(to)).toEqual(['a'])
  })
})
