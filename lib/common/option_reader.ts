/** Reading options: types, ranges, units, and names that do not exist. */

import { escaped, invalidOption, IocpError, show } from './errors.js'

/**
 * Bytes: a whole number, or text with a unit: `'512'`, `'512B'`, `'64KiB'`, `'1MiB'`, `'1.5 GiB'` (powers of 1024),
 * `'64kB'`, `'1MB'`, `'1GB'` (powers of 1000). Upper or lower case, with or without a space; the result is rounded.
 */
export type Size = number | string

export const KIB = 1024
export const MIB = 1024 * KIB

/**
 * Time: milliseconds, or text with a unit: `'250'`, `'250ms'`, `'1.5s'`, `'5m'` (minutes), `'2h'`, `'7d'`. Upper or lower
 * case, with or without a space; the result is rounded.
 */
export type Duration = number | string

const sizeUnits: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1000,
  mb: 1000 ** 2,
  gb: 1000 ** 3,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3
}

const durationUnits: Readonly<Record<string, number>> = {
  '': 1,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000
}

/**
 * Every option of a type, with what has been read of it. Readers state it (`satisfies EachOption<…>`), so that an option
 * that a type has and its reader does not know fails to compile, and one that only the reader knows.
 */
export type EachOption<Options> = Readonly<Record<keyof Options, unknown>>

/** What a number may be. Both ends are included. */
export interface Range {
  min: number
  max: number
  /** Follows the range in a message: where an end of it comes from, or what else there is. */
  note?: string
}

function parseExactly(value: unknown, units: Readonly<Record<string, number>>): number | undefined {
  if (typeof value === 'number') return value
  if (typeof value !== 'string') return undefined
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(value)
  const unit = units[match?.[2]?.toLowerCase() ?? '-']
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit
}

function parse(value: unknown, units: Readonly<Record<string, number>>): number | undefined {
  const exact = parseExactly(value, units)
  return typeof value === 'string' && exact !== undefined ? Math.round(exact) : exact
}

/** Whether a duration is none at all, as text too (`'0'`, `'0.0s'`); not what is only rounded to nothing (`'0.4ms'`). */
export function isZeroDuration(value: unknown): boolean {
  return parseExactly(value, durationUnits) === 0
}

/** The same of a number of bytes. */
export function isZeroSize(value: unknown): boolean {
  return parseExactly(value, sizeUnits) === 0
}

function isWithin(parsed: number | undefined, { min, max }: Range): parsed is number {
  return parsed !== undefined && Number.isSafeInteger(parsed) && parsed >= min && parsed <= max
}

function checked(parsed: number | undefined, given: unknown, option: string, kind: string, range: Range): number {
  if (!isWithin(parsed, range)) {
    throw invalidOption(option, given, `${kind} from ${range.min} to ${range.max}${range.note ?? ''}`)
  }
  return parsed
}

/** A whole number within a range. */
export function toInteger(value: unknown, option: string, range: Range): number {
  return checked(typeof value === 'number' ? value : undefined, value, option, 'a whole number', range)
}

/** A number of bytes within a range; text has a unit. */
export function toSize(value: unknown, option: string, range: Range): number {
  return checked(parse(value, sizeUnits), value, option, "a number of bytes (or text like '64KiB')", range)
}

/**
 * A number of milliseconds within a range; text has a unit.
 * @param allowed what a message says that it may be, if that is more than these
 */
export function toDuration(value: unknown, option: string, range: Range, allowed?: string): number {
  const parsed = parse(value, durationUnits)
  if (allowed !== undefined && !isWithin(parsed, range)) throw invalidOption(option, value, allowed)
  return checked(parsed, value, option, "a number of milliseconds (or text like '10s')", range)
}

/** The longest time a timer can run. */
export const MAX_DURATION = 2 ** 31 - 1

/** Whether a value can hold options: not an array, a Map, bytes or the like, whose contents are no options. */
export function isRecord(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const kind = Object.prototype.toString.call(value)
  return kind === '[object Object]' || kind === '[object Module]'
}

/**
 * Reads one object of options. It remembers every name that is read; {@link OptionReader.rejectUnknown} throws for all
 * others, so that misspelt names are not silently ignored.
 */
export class OptionReader {
  readonly #source: Readonly<Record<string, unknown>>
  readonly #path: string
  readonly #asked = new Set<string>()

  /**
   * @param source what the user gave; undefined means no options
   * @param path name of the option that holds these, '' for the outermost
   * @param allowed what the option itself may be, as the end of a sentence that begins with "must be"
   */
  constructor(source: unknown, path: string, allowed = 'an object of options') {
    if (source !== undefined && !isRecord(source)) throw wrongKind(source, path, allowed)
    this.#source = (source ?? {}) as Readonly<Record<string, unknown>>
    this.#path = path
  }

  /** An option's name with the path to it. */
  name(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`
  }

  /** An option as it was given. */
  raw(name: string): unknown {
    this.#asked.add(name)
    return this.#source[name]
  }

  /** Marks names as known that another reader reads. */
  allow(...names: string[]): this {
    for (const name of names) this.#asked.add(name)
    return this
  }

  /** The number of a port, as a number or as text. */
  port(name: string, range: Range): number | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined
    const number = typeof value === 'string' && /^\s*\d+\s*$/.test(value) ? Number(value) : value
    return checked(typeof number === 'number' ? number : undefined, value, this.name(name), 'a whole number', range)
  }

  /** What gives something up. */
  signal(name: string): AbortSignal | undefined {
    const value = this.raw(name)
    if (value === undefined || value instanceof AbortSignal) return value
    throw invalidOption(this.name(name), value, 'an AbortSignal')
  }

  integer(name: string, range: Range, fallback: number): number {
    const value = this.raw(name)
    return value === undefined ? fallback : toInteger(value, this.name(name), range)
  }

  size(name: string, range: Range, fallback: number): number {
    const value = this.raw(name)
    return value === undefined ? fallback : toSize(value, this.name(name), range)
  }

  duration(name: string, range: Range, fallback: number): number {
    const value = this.raw(name)
    return value === undefined ? fallback : toDuration(value, this.name(name), range)
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.raw(name)
    if (value === undefined) return fallback
    if (typeof value !== 'boolean') throw invalidOption(this.name(name), value, 'true or false')
    return value
  }

  oneOf<const T extends string | number>(name: string, allowed: readonly T[], fallback: T): T {
    const value = this.raw(name)
    if (value === undefined) return fallback
    const found = allowed.find((one) => one === value)
    if (found !== undefined) return found
    const list = allowed.map((one) => show(one))
    throw invalidOption(this.name(name), value, `one of ${list.join(', ')}`)
  }

  text(name: string): string | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined
    if (typeof value !== 'string') throw invalidOption(this.name(name), value, 'text')
    return value
  }

  /** A function of the program; only that it is a function can be checked. */
  callback<T>(name: string): T | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined
    if (typeof value !== 'function') throw invalidOption(this.name(name), value, 'a function')
    return value as T
  }

  /** Throws if there is an option that has not been read. */
  rejectUnknown(): void {
    // Inherited ones count, as they do for those that are read. A getter of one that has been read is not called again.
    for (const name in this.#source) {
      if (this.#asked.has(name)) continue
      const value = this.#source[name]
      if (value === undefined) continue
      const known = [...this.#asked].toSorted().join(', ')
      const meant = closest(name, this.#asked)
      const hint = meant === undefined ? '' : ` (did you mean '${meant}'?)`
      const message = `There is no option '${escaped(this.name(name))}'${hint}; known options: ${known}`
      throw new IocpError('ERR_IOCP_INVALID_OPTION', message, { option: this.name(name), value })
    }
  }
}

/** The error for something that cannot hold options, as an argument or as an option. */
function wrongKind(source: unknown, path: string, allowed: string): IocpError {
  if (path !== '') return invalidOption(path, source, allowed)
  const message = `Argument 'options' must be ${allowed}; it is ${show(source)}`
  return new IocpError('ERR_IOCP_INVALID_OPTION', message, { option: 'options', value: source })
}

/**
 * The name that was most probably meant: the one with the fewest differences, or the only one that begins with the name,
 * or that ends with it (`attempts`: `maxAttempts`). Undefined when none is like it.
 */
export function closest(name: string, known: Iterable<string>): string | undefined {
  const given = name.toLowerCase()
  const names = [...known]
  let best: string | undefined
  let least = Math.max(1, Math.floor(name.length / 3)) + 1
  for (const one of names) {
    const distance = distanceOf(given, one.toLowerCase())
    if (distance < least) [best, least] = [one, distance]
  }
  if (best !== undefined || name.length < 3) return best
  const only = (found: readonly string[]): string | undefined => (found.length === 1 ? found[0] : undefined)
  const begins = names.filter((one) => one.toLowerCase().startsWith(given))
  // A whole word at the end, not any letters.
  const word = `${name.slice(0, 1).toUpperCase()}${name.slice(1)}`
  return only(begins.length > 0 ? begins : names.filter((one) => one.endsWith(word)))
}

/**
 * How many letters have to be put in, left out, replaced or exchanged with their neighbour to make one text of the other
 * (Damerau-Levenshtein, each letter changed once).
 */
function distanceOf(from: string, to: string): number {
  // No option has so long a name, and whoever gave it may have chosen any.
  if (Math.abs(from.length - to.length) > 8) return Infinity
  let before: number[] = []
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 0; i < from.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < to.length; j++) {
      const replaced = (row[j] ?? 0) + (from[i] === to[j] ? 0 : 1)
      const isExchanged = i > 0 && j > 0 && from[i] === to[j - 1] && from[i - 1] === to[j]
      const exchanged = isExchanged ? (before[j - 1] ?? 0) + 1 : Infinity
      next.push(Math.min(replaced, exchanged, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    ;[before, row] = [row, next]
  }
  return row[to.length] ?? 0
}
