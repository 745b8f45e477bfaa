/** Each call on a file fails, at the sender or at the receiver: both are told, nothing is left, the connection goes on. */

import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { faultsOfLibrary } from '../helpers/faults.js'
import { acceptNext, folders, makeFile, pair, sha256, works } from '../helpers/files.js'
import { never, pause, until } from '../helpers/time.js'
import { howsOf, manners, ruleFor } from './sweep_support.js'
import { fileRows } from './sweep_table.js'

const seam = faultsOfLibrary()

const cases = fileRows.flatMap(({ calls, errors, at, skip = 0, codes }) =>
  calls.flatMap(({ call, name }) => errors.map((error) => ({ call, name, error, at, skip, codes })))
)

async function outcome(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'ok'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

describe.skipIf(seam === undefined)('a file is sent', () => {
  test.each(cases)(
    '$name fails with $error at the $at: $codes',
    { timeout: 60_000 },
    async ({ call, error, skip, codes }) => {
      const { from, to } = folders()
      const both = await pair({ pendingAccepts: 2 })
      const path = makeFile(from, 300_000)
      for (const how of howsOf(call, error)) {
        for (const manner of manners) {
          const variant = `${how}, ${manner}`
          seam?.set(call, ruleFor(error, how, { count: 1, skip }))
          if (manner === 'late') seam?.set('completion', { delay: 3 })
          if (manner === 'short') seam?.set('send', { shortTo: 5000 })
          const received = acceptNext(both.server, { directory: to, overwrite: 'replace' })
          const sending = both.client.sendFile(path, { verify: 'sha256' })
          const sent = await outcome(sending)
          // What has failed before it was offered never comes.
          const neverCame = sent === 'ok' ? never() : pause(100).then(() => 'none')
          expect([sent, await Promise.race([outcome(received), neverCame])], variant).toEqual(codes)
          both.server.removeAllListeners('file')
          expect(seam?.hits(call), variant).toBeGreaterThan(0)
          seam?.clear()
          if (codes[1] === 'ok') expect(await sha256((await received).path)).toBe(await sha256(path))
          else expect(readdirSync(to)).toEqual([])
          await works(both)
          const idle = { running: 0, queued: 0 }
          await until(
            'no disk thread has work',
            () => JSON.stringify(idle) === JSON.stringify(diskOf(both.endpoint.stats()))
          )
        }
      }
      const received = acceptNext(both.server, { directory: to, overwrite: 'replace' })
      await both.client.sendFile(path)
      expect(await sha256((await received).path)).toBe(await sha256(path))
    }
  )
})

function diskOf(stats: { disk: { running: number; queued: number } } | undefined): unknown {
  return { running: stats?.disk.running, queued: stats?.disk.queued }
}
