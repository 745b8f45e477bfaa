// How late the event loop of this thread is: what a timer that is due at any moment waits.
import { createHistogram, performance } from 'node:perf_hooks'

const INTERVAL = 5

const histogram = createHistogram()
let due = performance.now() + INTERVAL

function late() {
  const now = performance.now()
  // All timers that would have been due meanwhile, not only the one that was.
  for (let delay = now - due; delay > 0; delay -= INTERVAL) histogram.record(Math.max(1, Math.round(delay * 1000)))
  due = now + INTERVAL
  setTimeout(late, INTERVAL).unref()
}
setTimeout(late, INTERVAL).unref()

/** The 99th percentile since the last call, in microseconds. */
export function takeDelay() {
  const delay = histogram.count === 0 ? 0 : histogram.percentile(99)
  histogram.reset()
  return delay
}
