/** One fault of a disk has one code, however it is told, and its error names the call and the file as fs's do. */

import { readdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { framing } from 'iocp'
import { describe, expect, test } from 'vitest'
import { faultsOfLibrary } from '../../helpers/faults.js'
import { acceptNext, failure, folders, KIB, leftovers, makeFile, pair, works } from '../../helpers/files.js'

const seam = faultsOfLibrary()

interface Failure {
  readonly code?: string
  readonly errno?: number
  readonly winCode?: number
  readonly syscall?: string
  readonly path?: string
  readonly dest?: string
}

/** What an error tells beside its text. */
function told(error: Failure): object {
  const { code, errno, syscall, path, dest } = error
  return { code, errno, syscall, path, dest }
}

/** The same fault: as the number of a call that fails at once, and as the NTSTATUS of one that has pended. */
const faultsOfDisks = [
  ['access denied', 5, 0xc0000022],
  ['not ready', 21, 0xc00000a3],
  ['write-protected', 19, 0xc00000a2],
  ['locked', 33, 0xc0000054],
  ['full', 112, 0xc000007f],
  ['short of resources', 1450, 0xc000009a],
  ['the share has failed', 59, 0xc00000c4],
  ['a device has failed', 1117, 0xc0000185],
  ['the end of the file', 38, 0xc0000011]
] as const

describe.skipIf(seam === undefined)('a fault has one code, whether a call fails at once or has pended', () => {
  test.each(faultsOfDisks)('%s', async (_, error, status) => {
    const { from, to } = folders()
    const both = await pair()
    const path = makeFile(from, 300 * KIB)
    for (const [call, side] of [
      ['read_file', 0],
      ['write_file', 1]
    ] as const) {
      const errors: Failure[] = []
      for (const rule of [
        { error, skip: 1 },
        { status, skip: 1 }
      ]) {
        seam?.set(call, rule)
        const received = failure(acceptNext(both.server, { directory: to }))
        const sending = failure(both.client.sendFile(path))
        errors.push((await Promise.all([sending, received]))[side])
        seam?.clear()
      }
      const [atOnce, late] = errors
      expect(atOnce).toMatchObject({ winCode: error, syscall: side === 0 ? 'read' : 'write' })
      expect(late).toMatchObject({ code: atOnce?.code, winCode: error, syscall: atOnce?.syscall })
      for (const one of errors) {
        if (side === 0) expect(one.path).toBe(path)
        else expect(dirname(one.path ?? '')).toBe(to)
      }
    }
    expect(leftovers(to)).toEqual([])
    await works(both)
  })
})

test.each(['no such file', 'no such folder\\file'])("opening %s fails as fs's open does", async (name) => {
  const { from } = folders()
  const both = await pair()
  const path = join(from, name)
  const expected = told(await failure(open(path)))
  expect(expected).toMatchObject({ syscall: 'open', path })
  expect(told(await failure(both.client.sendFile(path)))).toEqual(expected)
  expect(told(await failure(both.client.sendFile(path, { mode: 'raw' })))).toEqual(expected)
  expect((await failure(both.client.sendFile(path))).message).toContain(`open ENOENT '${path}'`)
})

describe.skipIf(seam === undefined)('the error names the call and the file', () => {
  test.each([
    ['allocate_file', 39, 'open', 'ERR_IOCP_TRANSFER_DISK_FULL'],
    ['open_file', 1920, 'open', 'EACCES'],
    ['query_size', 1117, 'open', 'EIO'],
    ['size_file', 1117, 'write', 'EIO'],
    ['rename_posix', 5, 'rename', 'EPERM'],
    ['rename_posix', 183, 'rename', 'ERR_IOCP_TRANSFER_EXISTS']
  ] as const)('%s: %d', async (call, error, syscall, expected) => {
    const { to } = folders()
    const both = await pair({ framing: framing.raw() })
    seam?.set(call, { error })
    const target = join(to, 'raw')
    const receiving = both.server.receiveFile({
      path: target,
      bytes: 10,
      onReady: () => {
        both.client.send('0123456789')
      }
    })
    const failed = (await failure(receiving)) as Failure
    expect(failed).toMatchObject({ code: expected, syscall, winCode: error })
    expect(dirname(failed.path ?? '')).toBe(to)
    expect(basename(failed.path ?? '')).toMatch(/^\.iocp-.*\.part$/)
    expect(failed.dest).toBe(call === 'rename_posix' ? target : undefined)
    expect(readdirSync(to)).toEqual([])
  })
})
