// Charts as SVG: one kind for ratios, one for how a figure grows. Plain text, so that a change of a figure is a small
// change of a file.

const FONT = 'font-family="system-ui, Segoe UI, Helvetica, Arial, sans-serif"'
const INK = '#1f2328'
const FAINT = '#d0d7de'
const GOOD = '#1a7f37'
const BAD = '#cf222e'
const COLOURS = { iocp: '#0969da', net: '#bf8700', cpp: '#57606a', asio: '#8250df' }
const OTHER = '#1b7c83'

export const colourOf = (peer) => COLOURS[peer] ?? OTHER

const escape = (text) => String(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
const at = (number) => Number(number.toFixed(1))

function text(x, y, words, { anchor = 'start', size = 12, colour = INK, weight = 'normal' } = {}) {
  return (
    `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}" font-size="${size}" font-weight="${weight}" ` +
    `fill="${colour}">${escape(words)}</text>`
  )
}

function line(x1, y1, x2, y2, colour, width = 1, dash = '') {
  const style = dash === '' ? '' : ` stroke-dasharray="${dash}"`
  return (
    `<line x1="${at(x1)}" y1="${at(y1)}" x2="${at(x2)}" y2="${at(y2)}" ` +
    `stroke="${colour}" stroke-width="${width}"${style}/>`
  )
}

function picture(width, height, title, parts) {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ${FONT}>`,
    `<title>${escape(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...parts,
    '</svg>',
    ''
  ].join('\n')
}

/** Places numbers on a logarithmic axis. */
function logScale(low, high, from, to) {
  const span = Math.log(high) - Math.log(low)
  return (value) => from + ((Math.log(value) - Math.log(low)) / span) * (to - from)
}

const short = (value) => {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`
  return value >= 1e3 ? `${Number((value / 1e3).toPrecision(3))}k` : String(Number(value.toPrecision(3)))
}

/**
 * Ratios, a row for each case and peer: the median as a dot, the spread as a line, the target as a bar.
 * @param rows [{ label, peer, value: { median, min, max }, target }]
 */
export function ratioChart(title, rows, note) {
  const [left, right, top, step] = [210, 700, 60, 24]
  const all = rows.flatMap(({ value, target }) => [value.min, value.max, ...(target === undefined ? [] : [target])])
  const low = Math.min(0.5, ...all) * 0.9
  const high = Math.max(2, ...all) * 1.1
  const x = logScale(low, high, left, right)
  const bottom = top + rows.length * step
  const parts = [text(16, 24, title, { size: 15, weight: 'bold' }), text(16, 42, note, { colour: '#57606a' })]
  for (const tick of [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50].filter((value) => value >= low && value <= high)) {
    parts.push(line(x(tick), top - 6, x(tick), bottom, tick === 1 ? INK : FAINT, 1))
    parts.push(text(x(tick), bottom + 16, `${tick}×`, { anchor: 'middle', size: 11 }))
  }
  rows.forEach(({ label, peer, value, target }, i) => {
    const y = top + i * step + step / 2
    const isMet = target === undefined || value.median >= target
    parts.push(text(16, y + 4, label), text(left - 12, y + 4, `vs ${peer}`, { anchor: 'end', colour: colourOf(peer) }))
    parts.push(line(x(value.min), y, x(value.max), y, colourOf(peer), 2))
    parts.push(`<circle cx="${at(x(value.median))}" cy="${at(y)}" r="4.5" fill="${colourOf(peer)}"/>`)
    if (target !== undefined) parts.push(line(x(target), y - 8, x(target), y + 8, isMet ? GOOD : BAD, 3))
    const words = `${Number(value.median.toPrecision(3))}×`
    parts.push(text(right + 12, y + 4, words, { weight: 'bold', colour: isMet ? INK : BAD }))
  })
  return picture(780, bottom + 34, title, parts)
}

/**
 * How a figure grows, both axes logarithmic.
 * @param series { name: [{ at, value: { median, min, max } }] }
 */
export function growthChart(title, series, { unit, labelOf = short, note }) {
  const [left, right, top, bottom] = [80, 620, 70, 360]
  const points = Object.values(series).flat()
  const places = [...new Set(points.map((point) => point.at))].sort((a, b) => a - b)
  // A run in which nothing was done has no place on such an axis: it is drawn at its foot.
  const values = points.flatMap(({ value }) => [value.min, value.median, value.max]).filter((value) => value > 0)
  const low = Math.min(...values) * 0.8
  const high = Math.max(...values) * 1.25
  const x = logScale(places[0], places.at(-1), left + 20, right - 20)
  const scale = logScale(low, high, bottom, top)
  const y = (value) => scale(Math.max(value, low))
  const parts = [
    text(16, 24, title, { size: 15, weight: 'bold' }),
    text(16, 42, note, { colour: '#57606a' }),
    text(left, top - 8, unit, { size: 11 })
  ]
  for (const tick of ticks(low, high)) {
    parts.push(
      line(left, y(tick), right, y(tick), FAINT),
      text(left - 8, y(tick) + 4, short(tick), { anchor: 'end', size: 11 })
    )
  }
  parts.push(line(left, bottom, right, bottom, INK))
  for (const place of places) parts.push(text(x(place), bottom + 18, labelOf(place), { anchor: 'middle', size: 11 }))
  Object.entries(series).forEach(([name, list], i) => {
    const colour = colourOf(name)
    const path = list.map((point) => `${at(x(point.at))},${at(y(point.value.median))}`).join(' ')
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`)
    for (const point of list) {
      parts.push(line(x(point.at), y(point.value.min), x(point.at), y(point.value.max), colour, 1))
      parts.push(`<circle cx="${at(x(point.at))}" cy="${at(y(point.value.median))}" r="3.5" fill="${colour}"/>`)
    }
    parts.push(text(right + 16, top + 16 + i * 20, name, { colour, weight: 'bold' }))
  })
  return picture(700, bottom + 34, title, parts)
}

/** 1, 2 and 5 of each power of ten in the range. */
function ticks(low, high) {
  const list = []
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
    list.push(...[1, 2, 5].map((digit) => digit * power).filter((value) => value >= low && value <= high))
  }
  return list.length > 8 ? list.filter((value) => String(value).replace(/[0.]/g, '')[0] === '1') : list
}
