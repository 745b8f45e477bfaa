/** The argument forms of calls, as in node:net: an object of options, or separate values. */

import { invalidArgument } from './errors.js'

/** The optional last argument, a callback. */
export type Callback = (...args: never[]) => void

/** The given arguments, without trailing undefined ones, and the callback at the end. */
function takeCallback(
  given: readonly unknown[],
  most: number,
  name: string
): { values: unknown[]; callback: Callback | undefined } {
  const values = [...given]
  while (values.length > 0 && values.at(-1) === undefined) values.pop()
  const callback = typeof values.at(-1) === 'function' ? (values.pop() as Callback) : undefined
  if (values.length > most) throw invalidArgument(name, values[most], 'a function, and the last argument')
  return { values, callback }
}

const isObject = (value: unknown): boolean => typeof value === 'object'

/**
 * `listen([options][, callback])`, `listen([port[, host][, backlog]][, callback])`.
 * @throws IocpError ERR_INVALID_ARG_TYPE
 */
export function listenArguments(given: readonly unknown[]): { options: unknown; callback: (() => void) | undefined } {
  const isOptions = isObject(given[0])
  const { values, callback } = takeCallback(given, isOptions ? 1 : 3, 'callback')
  if (isOptions) return { options: values[0], callback }
  const [port, second, third] = values
  // As in node:net: a number in place of the host is the backlog.
  const [host, backlog] = typeof second === 'number' && third === undefined ? [undefined, second] : [second, third]
  return { options: { port, host, backlog }, callback }
}

/**
 * `connect(options[, listener])`, `connect(port[, host][, listener])`.
 * @throws IocpError ERR_INVALID_ARG_TYPE
 */
export function connectArguments(given: readonly unknown[]): { options: unknown; listener: Callback | undefined } {
  const isOptions = isObject(given[0]) || given[0] === undefined
  const { values, callback: listener } = takeCallback(given, isOptions ? 1 : 2, 'connectListener')
  const [first, host] = values
  return { options: isOptions ? first : { port: first, host }, listener }
}

/**
 * `createServer([options][, connectionListener])`, `createServer(connectionListener)`.
 * @throws IocpError ERR_INVALID_ARG_TYPE
 */
export function serverArguments(given: readonly unknown[]): { options: unknown; listener: Callback | undefined } {
  const { values, callback: listener } = takeCallback(given, 1, 'connectionListener')
  return { options: values[0], listener }
}

/**
 * `end([data][, options][, callback])`.
 * @throws IocpError ERR_INVALID_ARG_TYPE
 */
export function endArguments(given: readonly unknown[]): {
  data: Uint8Array | string | undefined
  options: unknown
  callback: Callback | undefined
} {
  const [first] = given
  const isData = typeof first === 'string' || first instanceof Uint8Array
  const { values, callback } = takeCallback(isData ? given.slice(1) : given, 1, 'callback')
  const [options] = values
  if (options !== undefined && !isObject(options)) {
    throw invalidArgument(
      isData ? 'options' : 'data',
      options,
      isData ? 'an object' : 'a Buffer, a Uint8Array, text or options'
    )
  }
  return { data: isData ? first : undefined, options, callback }
}
