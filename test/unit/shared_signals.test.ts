import { expect, test, vi } from 'vitest'
import { SharedSignals } from '../../lib/jobs/shared_signals.js'

/** Signals of jobs, and which of these were aborted with which reason. */
function shared() {
  const seen: unknown[] = []
  const signals = new SharedSignals((job, reason) => {
    seen.push([job, reason])
    signals.delete(one.signal, job)
  })
  const one = new AbortController()
  return { signals, seen, one }
}

test('a signal has one listener, however many jobs have it, and none when they have ended', () => {
  const { signals, one } = shared()
  const add = vi.spyOn(one.signal, 'addEventListener')
  const remove = vi.spyOn(one.signal, 'removeEventListener')
  for (let job = 0; job < 1000; job++) signals.add(one.signal, job)
  expect(add).toHaveBeenCalledTimes(1)
  for (let job = 0; job < 999; job++) signals.delete(one.signal, job)
  expect(remove).not.toHaveBeenCalled()
  signals.delete(one.signal, 999)
  signals.delete(one.signal, 999)
  expect(remove).toHaveBeenCalledTimes(1)
  signals.add(one.signal, 5)
  expect(add).toHaveBeenCalledTimes(2)
})

test('all jobs of a signal that aborts are told, those that have ended not, nor those of others', () => {
  const { signals, seen, one } = shared()
  const other = new AbortController()
  for (const job of [3, 1, 2]) signals.add(one.signal, job)
  signals.add(other.signal, 4)
  signals.delete(one.signal, 1)
  const reason = new Error('enough')
  one.abort(reason)
  expect(seen).toEqual([
    [3, reason],
    [2, reason]
  ])
})
