/** File names from peers. A name is untrusted data: it is checked here, and never selects a folder. */

/** Longest file name of Windows, in UTF-16 units. */
const MAX_NAME = 255

/** Names of devices, with or without an extension. The superscript digits count too. */
const DEVICE = /^(?:con|prn|aux|nul|clock\$|conin\$|conout\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])$/i

/** Characters that Windows does not allow in names or interprets otherwise: separators, streams, patterns. */
const FORBIDDEN = /[\\/:*?"<>|]/

/** Control characters, marks that change the text direction, invisible characters, unpaired surrogates. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Co}\p{Cn}]/u

/** Prefix and suffix of this library's partial files. */
const PARTIAL = /^\.iocp-.*\.part$/i

/**
 * The short names that Windows generates for files with long names: LONGNA~1.TXT. Writing to such a name could write to
 * that file.
 */
const ALIAS = /^(?=[^.]{2,8}(?:\.|$))[^.]*~\d+(?:\.[^.]{0,3})?$/

/** Why a name is rejected, as the end of a sentence that starts with "the name"; undefined if it is accepted. */
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

/** A name in Unicode normalization form C, so that two spellings are one file. */
export function normalName(name: string): string {
  return name.normalize('NFC')
}

/** The n-th other name for a file whose own is taken: `report (2).pdf`. */
export function otherName(name: string, n: number): string {
  const dot = name.lastIndexOf('.')
  const stem = dot > 0 ? name.slice(0, dot) : name
  const extension = dot > 0 ? name.slice(dot) : ''
  const number = ` (${n})`
  // Whole characters only, no unpaired surrogates.
  const room = Math.max(1, MAX_NAME - number.length - extension.length)
  let short = stem.slice(0, room)
  if (/[\ud800-\udbff]$/.test(short)) short = short.slice(0, -1)
  return `${short}${number}${extension}`
}

/** A path in the usual notation. */
export function plainPath(path: string): string {
  return path.replace(/^\\\\\?\\UNC\\/, String.raw`\\`).replace(/^\\\\\?\\/, '')
}
