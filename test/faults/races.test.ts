/**
 * Servers and clients connect, send, end, destroy, reset, ban, close and listen again by seeded chance, while system calls
 * fail: one 'close' each, every promise settles, nothing is left. IOCP_SEED sets the seed, IOCP_ROUNDS the rounds.
 */

import { describe, expect, test } from 'vitest'
import { faultsOfLibrary } from '../helpers/faults.js'
import { folders, makeFile } from '../helpers/files.js'
import { decisions, Race } from './races.js'

const seam = faultsOfLibrary()

const isLong = process.env['IOCP_LONG'] === '1'
const rounds = Number(process.env['IOCP_ROUNDS'] ?? (isLong ? 100_000 : 3000))
const seed = Number(process.env['IOCP_SEED'] ?? Date.now() % 1_000_000)

async function race(seed: number, rounds: number) {
  if (seam === undefined) throw new Error('there is no seam')
  const { from, to } = folders()
  const began = performance.now()
  const report = await new Race(seed, seam, makeFile(from, 20_000), to).run(rounds)
  console.log(
    `seed ${seed}: ${rounds} rounds, ${report.connections} connections, ${report.restarts} restarts, ${report.faults} faults, ${Math.round(performance.now() - began)} ms`
  )
  return report
}

describe.skipIf(seam === undefined)('by seeded chance', () => {
  test(
    `${rounds} rounds from both sides, under faults (IOCP_SEED=${seed})`,
    { timeout: isLong ? 3_600_000 : 120_000 },
    async () => {
      const report = await race(seed, rounds)
      expect(report.violations, `IOCP_SEED=${seed}`).toEqual([])
      expect(report.connections).toBeGreaterThan(rounds / 100)
      expect(report.faults).toBeGreaterThan(rounds / 1000)
      expect(report.log.length).toBeGreaterThan(0.99 * rounds - 20)
    }
  )

  test(
    'the same seed makes the same decisions, whatever the time; another one others',
    { timeout: 60_000 },
    async () => {
      const first = await race(7, 600)
      const second = await race(7, 600)
      expect(first.violations).toEqual([])
      expect(second.violations).toEqual([])
      expect(second.log).toEqual(first.log)
      expect([...decisions(8, 0, 50)]).not.toEqual([...decisions(7, 0, 50)])
      expect([...decisions(7, 1, 50)]).not.toEqual([...decisions(7, 0, 50)])
    }
  )
})
