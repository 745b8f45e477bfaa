// What a test run counted.
export const noCounts = Object.freeze({ passed: 0, failed: 0, skipped: 0 })

export function addCounts(total, counts) {
  for (const key of Object.keys(noCounts)) total[key] += counts[key]
  return total
}

/** "3 passed, 0 failed", and the skipped ones where there are any. */
export function showCounts({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}
