/** Names that come from outside. A name is data: it is checked here, and never chooses a folder. */

/** What a file of Windows can be called, in UTF-16 units. */
const MAX_NAME = 255

/** Names of devices, with or without an extension. The superscript digits count too. */
const DEVICE = /^(?:con|prn|aux|nul|clock\$|conin\$|conout\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])$/i

/** What Windows allows in no name, or takes for something else: separators, streams, patterns. */
const FORBIDDEN = /[\\/:*?"<>|]/

/** Control characters, marks that turn the direction of writing, invisible characters, halves of pairs. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Co}\p{Cn}]/u

/** Beginnings and ends that are this library's own, for files that are not complete yet. */
const PARTIAL = /^\.iocp-.*\.part$/i

/**
 * What Windows itself makes up as a second name for a file with a long one: LONGNA~1.TXT. To take such a name for a new
 * one would be to take that file.
 */
const ALIAS = /^(?=[^.]{2,8}(?:\.|$))[^.]*~\d+(?:\.[^.]{0,3})?$/

/** Why a name is refused, as the end of a sentence that begins with "the name"; undefined when it is not. */
export function nameProblem(name: string): string | undefined {
  if (name === '') return 'is empty'
  if (name === '.' || name === '..') return 'is a folder'
  if (FORBIDDEN.test(name)) return 'has a character that Windows does not allow in names'
  if (INVISIBLE.test(name)) return 'has an invisible or control character'
  if (name.length > MAX_NAME) return `is longer than ${MAX_NAME} characters`
  if (/[. ]$/.test(name)) return 'ends with a dot or a space'
  if (/^\s/u.test(name)) return 'starts with a space'
  // Also "nul.txt" and "nul .txt" are the device.
  const stem = name.split('.')[0] ?? ''
  if (DEVICE.test(stem.trimEnd())) return 'is a device name'
  if (ALIAS.test(name)) return 'has the form of a short name that Windows generates'
  if (PARTIAL.test(name)) return 'has the form of a partial file of this library'
  return undefined
}

/** A name as it is used from then on: in Unicode's normal form C, so that two spellings are one file. */
export function normalName(name: string): string {
  return name.normalize('NFC')
}

/** The n-th other name for a file whose own is taken: `report (2).pdf`. */
export function otherName(name: string, n: number): string {
  const dot = name.lastIndexOf('.')
  const stem = dot > 0 ? name.slice(0, dot) : name
  const extension = dot > 0 ? name.slice(dot) : ''
  const number = ` (${n})`
  // Whole characters only: half of a pair is no name.
  const room = Math.max(1, MAX_NAME - number.length - extension.length)
  let short = stem.slice(0, room)
  if (/[\ud800-\udbff]$/.test(short)) short = short.slice(0, -1)
  return `${short}${number}${extension}`
}

/** A path as people write it. */
export function plainPath(path: string): string {
  return path.replace(/^\\\\\?\\UNC\\/, String.raw`\\`).replace(/^\\\\\?\\/, '')
}
