// The echo server of the demo, and programs that talk to it. They run on this machine; the server runs in a Windows
// Node.js, under Wine where this is not Windows.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { chooseAddon } from '../../tools/prebuild.mjs'

/** A file below this folder. */
export const file = (name) => fileURLToPath(new URL(name, import.meta.url))

/** Starts `npm start -- serve` on a port that the system chooses. */
export async function startServer() {
  const child = spawn(process.execPath, [file('../../tools/start.mjs'), 'serve', '--port', '0'], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let out = ''
  let error = ''
  child.stderr.setEncoding('utf8').on('data', (text) => (error += text))
  const ended = new Promise((resolve) => {
    child.on('close', (code) => resolve(code))
  })
  const port = await new Promise((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text
      const found = /Listening on .*:(\d+)\./.exec(out)
      if (found) resolve(Number(found[1]))
    })
    void ended.then((code) => reject(new Error(`the server ended with ${code}: ${out}${error}`)))
  })
  return {
    port,
    out: () => out,
    /** Ctrl-C; gives the exit code. */
    async interrupt() {
      child.kill('SIGINT')
      return ended
    },
    kill: () => child.kill('SIGKILL')
  }
}

/** A server of this folder in a Windows Node.js, which says on its first line `port` and the number. */
export async function startProgram(name) {
  const child = spawn(process.execPath, [file('../../tools/wine/node.mjs'), file(name)], {
    env: { ...process.env, ...(await chooseAddon()) },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const ended = once(child, 'close')
  let out = ''
  const port = await new Promise((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text
      const found = /port (\d+)/.exec(out)
      if (found) resolve(Number(found[1]))
    })
    void ended.then(([code]) => reject(new Error(`the server ended with ${code}: ${out}`)))
  })
  return {
    port,
    out: () => out,
    async stop() {
      child.kill('SIGINT')
      await ended
    }
  }
}

/**
 * Runs a program to its end.
 * @param {string} program
 * @param {string[]} args
 * @param {{ input?: Uint8Array, limit?: number }} options
 */
export async function run(program, args, { input, limit = 60_000 } = {}) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const out = []
  let error = ''
  child.stdout.on('data', (bytes) => out.push(bytes))
  child.stderr.setEncoding('utf8').on('data', (text) => (error += text))
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const timer = setTimeout(() => child.kill('SIGKILL'), limit)
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  clearTimeout(timer)
  return { code, out: Buffer.concat(out), error }
}

/** A client written in another language, in clients/. */
export const client = (name) => file(`clients/${name}`)

/** Whether a program can be started at all. */
export async function has(program, ...args) {
  try {
    return (await run(program, args, { limit: 20_000 })).code !== null
  } catch {
    return false
  }
}

export function frame(payload) {
  const body = Buffer.from(payload)
  const header = Buffer.alloc(4)
  header.writeUInt32BE(body.length)
  return Buffer.concat([header, body])
}
