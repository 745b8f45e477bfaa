/** Parts that nobody goes on with. */

import { mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pruneParts } from 'iocp'
import { expect, test } from 'vitest'
import { acceptNext, code, folders, leftovers, makeFile, MIB, pair } from '../../helpers/files.js'
import { until } from '../../helpers/time.js'

const HOUR = 3_600_000

/** Makes files of these names, so many hours old. */
function aged(folder: string, hours: number, ...names: string[]): string[] {
  const then = new Date(Date.now() - hours * HOUR)
  for (const name of names) {
    writeFileSync(join(folder, name), 'part')
    utimesSync(join(folder, name), then, then)
  }
  return names
}

const temporary = `.iocp-${'a1'.repeat(12)}.part`
const kept = `.iocp-${'b2'.repeat(16)}.part`

test("pruneParts removes old parts, and nothing else's", async () => {
  const { to } = folders()
  aged(to, 30, temporary, kept)
  const young = aged(to, 10, `.iocp-${'c3'.repeat(12)}.part`)
  const others = aged(
    to,
    1000,
    'a.part',
    '.iocp-.part',
    '.iocp-mine.part',
    `${kept}.txt`,
    `x${kept}`,
    `.iocp-${'b2'.repeat(15)}.part`
  )
  const folder = `.iocp-${'d4'.repeat(12)}.part`
  mkdirSync(join(to, folder))
  expect((await pruneParts(to, { maxAge: '1d' })).toSorted()).toEqual([join(to, temporary), join(to, kept)].toSorted())
  expect(readdirSync(to).toSorted()).toEqual([...young, ...others, folder].toSorted())
  expect(await pruneParts(to)).toEqual([])
  expect(await pruneParts(to, { maxAge: 0 })).toEqual(young.map((name) => join(to, name)))
  expect(readdirSync(to).toSorted()).toEqual([...others, folder].toSorted())
})

test('what it cannot do it says', async () => {
  const { to } = folders()
  expect(await code(pruneParts(join(to, 'nothing')))).toBe('ENOENT')
  expect(() => pruneParts('')).toThrow(/directory/)
  expect(() => pruneParts(to, { maxAge: -1 })).toThrow(/maxAge/)
  expect(() => pruneParts(to, { age: 1 } as object)).toThrow(/age/)
})

test('a part that is being received stays, however old it looks', async () => {
  const { from, to } = folders()
  const both = await pair()
  for (const resume of [true, false]) {
    const received = acceptNext(both.server, { directory: to, resume, overwrite: 'replace' })
    const sending = both.client.sendFile(makeFile(from, MIB), { bytesPerSecond: MIB })
    await until('it comes', () => leftovers(to).length === 1)
    expect(await pruneParts(to, { maxAge: 0 })).toEqual([])
    await sending
    await received
  }
})

test('partMaxAge: old parts go when a file comes to their folder', async () => {
  const { from, to } = folders()
  const both = await pair({ transfer: { partMaxAge: '1d' } })
  aged(to, 30, temporary, kept)
  const young = aged(to, 10, `.iocp-${'c3'.repeat(12)}.part`)
  const received = acceptNext(both.server, { directory: to })
  await both.client.sendFile(makeFile(from, 10))
  await received
  await until('the old ones have gone', () => leftovers(to).length === 1)
  expect(leftovers(to)).toEqual(young)
})
