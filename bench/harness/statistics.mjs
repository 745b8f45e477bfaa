/** Median, smallest and largest of numbers; undefined for none. */
export function summary(numbers) {
  const sorted = numbers.filter((number) => Number.isFinite(number)).sort((a, b) => a - b)
  if (sorted.length === 0) return undefined
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  return { median: rounded(median), min: rounded(sorted[0]), max: rounded(sorted.at(-1)) }
}

/** Four digits say more than the noise does. */
export function rounded(number) {
  return number === 0 ? 0 : Number(number.toPrecision(4))
}

/** How much better `ours` is than `theirs`; above 1 is better. */
export function ratio(ours, theirs, better) {
  return better === 'higher' ? ours / theirs : theirs / ours
}
