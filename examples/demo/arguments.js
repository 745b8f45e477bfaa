// @ts-check
import { parseArgs } from 'node:util'

export const usage = `
npm start -- [options]            a server and its clients; every byte that comes back is checked
  --connections <n>               clients at the same time (500)
  --seconds <n>                   how long they send (5)
  --size <bytes>                  largest packet; sizes are random from 0 on (65536)
  --client iocp | net             clients of this library, or of node:net (iocp)

npm start -- serve [options]      an echo server until Ctrl-C
  --port <n>                      (9999)
  --host <address or name>        (all addresses)

A packet is 4 bytes of length, big-endian, and then so many bytes.
`.trim()

/** @typedef {ReturnType<typeof readArguments>} Arguments */

/** @param {string[]} args */
export function readArguments(args) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      connections: { type: 'string', default: '500' },
      seconds: { type: 'string', default: '5' },
      size: { type: 'string', default: '65536' },
      client: { type: 'string', default: 'iocp' },
      port: { type: 'string', default: '9999' },
      host: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false }
    }
  })
  const [command = 'load', ...more] = positionals
  if (!['load', 'serve'].includes(command) || more.length > 0) {
    throw new Error(`"${positionals.join(' ')}" is no command.\n\n${usage}`)
  }
  if (!['iocp', 'net'].includes(values.client)) throw new Error(`--client must be iocp or net, not "${values.client}".`)
  return {
    command,
    help: values.help,
    connections: number('--connections', values.connections, 1, 100_000),
    seconds: number('--seconds', values.seconds, 0.1, 1_000_000),
    size: number('--size', values.size, 0, 1_048_576),
    client: values.client,
    port: number('--port', values.port, 0, 65_535),
    host: values.host
  }
}

/**
 * @param {string} name
 * @param {string} text
 * @param {number} min
 * @param {number} max
 */
function number(name, text, min, max) {
  const value = Number(text)
  if (text.trim() !== '' && value >= min && value <= max && (name === '--seconds' || Number.isInteger(value)))
    return value
  throw new Error(`${name} must be a number from ${min} to ${max}, not "${text}".`)
}
