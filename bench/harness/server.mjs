// A server under test: a process of its own that is controlled by lines on its stdin.
import { Stop } from '../../tools/lib/run.mjs'
import { JsonLines } from './json_lines.mjs'
import { cpuSeconds, privateMemory, spawnOnHost } from './wine_host.mjs'

const START_LIMIT = 30_000
const END_LIMIT = 10_000

const running = new Set()

export class Server {
  port = 0
  #name
  #child
  #lines
  #ended

  /** Starts it and waits until it listens. */
  static async start(name, { program, args, env }) {
    const server = new Server()
    server.#name = name
    server.#child = spawnOnHost(program, args, env)
    server.#lines = new JsonLines(server.#child.stdout)
    server.#ended = new Promise((resolve, reject) => {
      server.#child.on('error', reject)
      server.#child.on('close', resolve)
    })
    running.add(server)
    const ready = await within(START_LIMIT, server.#lines.next())
    if (typeof ready?.ready !== 'number') {
      server.kill()
      throw new Stop(`the server of ${name} did not start`)
    }
    server.port = ready.ready
    return server
  }

  /** Has it do one of its commands. */
  async ask(command) {
    this.#child.stdin.write(`${command}\n`)
    const answer = await within(END_LIMIT, this.#lines.next())
    if (answer === undefined) throw new Stop(`the server of ${this.#name} has ended`)
    return answer
  }

  get pid() {
    return this.#child.pid
  }

  /** Seconds of processor time, its own and that of Wine's server. */
  async cpu() {
    const seconds = cpuSeconds(this.#child.pid)
    if (seconds !== undefined) return seconds
    const { cpu } = await this.ask('stats')
    return { own: (cpu.user + cpu.system) / 1e6, kernel: 0 }
  }

  /** Bytes of memory, after a garbage collection where there is one. */
  async memory() {
    const { memory } = await this.ask('memory')
    return privateMemory(this.#child.pid) ?? memory
  }

  /** Ends it; it is killed when it does not. */
  async end() {
    this.#child.stdin.end()
    const status = await within(END_LIMIT, this.#ended)
    if (status === undefined) this.kill()
    await this.#ended
    running.delete(this)
    return status
  }

  kill() {
    this.#child.kill('SIGKILL')
  }
}

/** The process is about to end: no server stays behind. */
process.once('exit', () => {
  for (const server of running) server.kill()
})

/** Undefined when it takes longer. */
async function within(milliseconds, promise) {
  let timer
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, milliseconds)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
