/** Servers, clients and faults that act by seeded chance: what each decides follows from the seed alone, never from time. */

import { once } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type Client,
  type CloseInfo,
  type Connection,
  type ConnectOptions,
  createClient,
  createServer,
  framing,
  type Server,
  type ServerOptions
} from 'iocp'
import type { Call, Faults, Rule } from '../helpers/faults.js'
import { jobsModule } from '../helpers/jobs.js'
import { HOST } from '../helpers/ports.js'
import { pause, until } from '../helpers/time.js'

/** The generator of one actor (mulberry32). Each decision draws the same count of numbers, whatever it meets. */
export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A whole number below `end`. */
  below(end: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % end
  }
}

/** One round of an actor. */
export interface Decision {
  readonly kind: number
  readonly which: number
  readonly size: number
  readonly time: number
}

const CLIENTS = 10
const KINDS = 1000

/** The decisions of an actor, in sequence. */
export function* decisions(seed: number, actor: number, rounds: number): Generator<Decision> {
  const chance = new Chance(Math.imul(seed, 0x9e3779b1) ^ Math.imul(actor + 1, 0x85ebca6b))
  for (let round = 0; round < rounds; round++) {
    yield { kind: chance.below(KINDS), which: chance.below(2 ** 30), size: chance.below(3000), time: chance.below(8) }
  }
}

/** What was done, and what went wrong: nothing must have. */
export interface RaceReport {
  readonly log: readonly string[]
  readonly violations: readonly string[]
  readonly connections: number
  readonly restarts: number
  readonly faults: number
}

/** Faults that may come at any time. */
const rules: readonly { call: Call; rule: Rule }[] = [
  { call: 'zero_read', rule: { error: 10_055, perMille: 200, count: 20 } },
  { call: 'zero_read', rule: { status: 0xc000009a, perMille: 200, count: 10 } },
  { call: 'receive', rule: { error: 10_054, perMille: 100, count: 3 } },
  { call: 'receive', rule: { status: 0xc0000120, perMille: 100, count: 3 } },
  { call: 'receive_now', rule: { error: 10_055, perMille: 300, count: 10, shortTo: 5 } },
  { call: 'send', rule: { error: 10_055, perMille: 200, count: 10, shortTo: 7 } },
  { call: 'send', rule: { status: 0xc000020d, perMille: 100, count: 3 } },
  { call: 'shutdown', rule: { error: 10_057, perMille: 200, count: 3 } },
  { call: 'accept', rule: { error: 10_054, perMille: 300, count: 10 } },
  { call: 'accept', rule: { status: 0xc0000241, perMille: 300, count: 10 } },
  { call: 'accept_context', rule: { error: 10_057, perMille: 300, count: 3 } },
  { call: 'associate', rule: { error: 8, perMille: 100, count: 2 } },
  { call: 'skip_port', rule: { error: 8, perMille: 100, count: 2 } },
  { call: 'connect', rule: { error: 10_061, perMille: 300, count: 3 } },
  { call: 'connect', rule: { status: 0xc0000236, perMille: 300, count: 3 } },
  { call: 'connect_context', rule: { error: 10_057, perMille: 300, count: 3 } },
  { call: 'memory', rule: { error: 8, perMille: 100, count: 10 } },
  { call: 'post', rule: { error: 8, perMille: 100, count: 10 } },
  { call: 'wait', rule: { error: 1450, perMille: 100, count: 10 } },
  { call: 'cancel', rule: { error: 1450, perMille: 500, count: 10 } },
  { call: 'completion', rule: { delay: 2, perMille: 200, count: 100 } },
  { call: 'read_file', rule: { error: 23, perMille: 200, count: 2 } },
  { call: 'write_file', rule: { error: 112, perMille: 200, count: 2 } }
]

const typed = framing.lengthField({ typeByte: true })

/** What servers have by turns, beside what all have. */
const kindsOfServer: ServerOptions[] = [
  {},
  {
    timeouts: {
      firstPacket: 100,
      packet: 50,
      idle: { read: 20, both: 50, action: 'event' },
      sendStall: 100,
      life: 150
    },
    packetRate: { count: 2000, onExceed: 'pause' },
    byteRate: { bytes: '1MiB', onExceed: 'pause' }
  },
  { maxConnections: 8, onMax: 'stop-accepting' },
  { proxyProtocol: { from: [HOST], timeout: 50 }, timeouts: { idle: 60, minRate: { bytes: 100, per: 50, grace: 50 } } },
  { maxConnections: 8, onMax: 'close', admission: 'conditional' }
]

export class Race {
  readonly #seed: number
  readonly #faults: Faults
  readonly #file: string
  readonly #directory: string
  readonly #log: string[] = []
  readonly #violations: string[] = []
  readonly #pending = new Map<Promise<unknown>, string>()
  readonly #watched = new Set<Connection>()
  readonly #client: Client
  #server: Server
  #isProxied = false
  #port = 0
  #connections = 0
  #closed = 0
  #restarts = 0
  #faultCount = 0

  /** @param file a small file, which is sent now and then; @param directory where files go */
  constructor(seed: number, faults: Faults, file: string, directory: string) {
    this.#seed = seed
    this.#faults = faults
    this.#file = file
    this.#directory = directory
    this.#client = createClient({ ioThreads: 2, framing: typed, endDeadline: 200 })
    this.#client.on('connection', (connection) => {
      this.#watch(connection, 'client')
    })
    this.#server = this.#newServer()
  }

  async run(rounds: number): Promise<RaceReport> {
    this.#faults.seed(this.#seed)
    await this.#listen()
    const each = Math.floor(rounds / (CLIENTS + 2))
    const clients = Array.from({ length: CLIENTS }, (_, actor) =>
      this.#act(actor, each, (decision) => this.#clientActs(actor, decision))
    )
    const server = this.#act(CLIENTS, each, (decision) => this.#serverActs(decision))
    const faults = this.#act(CLIENTS + 1, each, (decision) => {
      this.#faultsAct(decision)
    })
    await Promise.all([...clients, server, faults])
    this.#faults.clear()
    await this.#end()
    return {
      log: this.#log.toSorted(),
      violations: this.#violations,
      connections: this.#connections,
      restarts: this.#restarts,
      faults: this.#faultCount
    }
  }

  async #act(actor: number, rounds: number, act: (decision: Decision) => void | Promise<void>): Promise<void> {
    let round = 0
    for (const decision of decisions(this.#seed, actor, rounds)) {
      this.#log.push(
        `${String(actor).padStart(2, '0')} ${String(round++).padStart(6, '0')} ${JSON.stringify(decision)}`
      )
      await act(decision)
      if (decision.time < 3) await pause(decision.time)
      else await nextTurn()
    }
  }

  /** Both promises and events are expected exactly once. */
  #expect(what: string, promise: Promise<unknown>): void {
    this.#pending.set(promise, what)
    const settled = (): void => {
      this.#pending.delete(promise)
    }
    promise.then(settled, settled)
  }

  #watch(connection: Connection, side: string): void {
    this.#connections++
    this.#watched.add(connection)
    let closes = 0
    let due = 0
    const alive = (event: string): void => {
      if (closes > 0) this.#violations.push(`${side} ${connection.id}: '${event}' after 'close'`)
    }
    connection.on('packet', (packet) => {
      alive('packet')
      // Numbered packets of the other side come whole, in sequence, none twice.
      if (packet.length < 5 || packet[0] !== 0x40) return
      const number = packet.readUInt32LE(1)
      if (number !== due++) this.#violations.push(`${side} ${connection.id}: packet ${number} where ${due - 1} was due`)
    })
    connection.on('end', () => {
      alive('end')
    })
    connection.on('drain', () => {
      alive('drain')
    })
    connection.on('error', () => {
      alive('error')
    })
    connection.on('file', (offer) => {
      alive('file')
      this.#expect('accept', offer.accept({ directory: this.#directory, overwrite: 'rename' }))
    })
    connection.on('close', (info: CloseInfo) => {
      if (++closes > 1) this.#violations.push(`${side} ${connection.id}: closed twice (${info.cause})`)
      this.#closed++
      this.#watched.delete(connection)
    })
    this.#expect(`closed of ${side} ${connection.id}`, connection.closed)
  }

  readonly #numbers = new WeakMap<Connection, number>()

  #send(connection: Connection, size: number): void {
    if (!connection.writable) return
    const packet = Buffer.alloc(5 + size, 0x61)
    packet[0] = 0x40
    const number = this.#numbers.get(connection) ?? 0
    packet.writeUInt32LE(number, 1)
    if (connection.send(packet) !== 'dropped') this.#numbers.set(connection, number + 1)
  }

  /** What either side may do with a connection. */
  #use(connection: Connection | undefined, { kind, which, size, time }: Decision): void {
    if (connection === undefined) return
    const share = which % 100
    if (share < 55) for (let more = 0; more <= size % 4; more++) this.#send(connection, size)
    else if (share < 62) connection.end({ deadline: time * 5 })
    else if (share < 70) connection.destroy()
    else if (share < 78) connection.reset()
    else if (share < 84) connection.end()
    else if (share < 90) {
      connection.pause()
      setTimeout(() => connection.resume(), time)
    } else if (share < 95) {
      this.#expect(`sendAsync ${kind}`, connection.sendAsync(Buffer.alloc(5, 0x41)))
    } else if (connection.writable) {
      this.#expect('sendFile', connection.sendFile(this.#file, { verify: size % 2 === 0 ? 'sha256' : false }))
    }
  }

  readonly #own: (Connection | undefined)[] = []

  async #clientActs(actor: number, decision: Decision): Promise<void> {
    const { kind, which, size, time } = decision
    const own = this.#own[actor]
    if (own?.state !== 'open' || kind < 30) {
      const controller = new AbortController()
      const options = {
        port: this.#port,
        host: HOST,
        timeout: kind < 10 ? 1 : 2000,
        signal: controller.signal,
        framing: typed,
        ...this.#header(which)
      }
      const connecting = this.#client.connect(options).then(
        (connection) => {
          this.#own[actor] = connection
          if (kind % 5 === 0) connection.destroy()
        },
        () => undefined
      )
      this.#expect('connect', connecting)
      if (size % 20 === 0)
        setTimeout(() => {
          controller.abort()
        }, time)
      else await Promise.race([connecting, pause(20)])
      return
    }
    this.#use(own, decision)
  }

  async #serverActs(decision: Decision): Promise<void> {
    const { kind, which, size, time } = decision
    const server = this.#server
    if (kind < 8) return this.#restart(decision)
    if (kind < 60) {
      server.access.ban(HOST, { time: time + 1 })
      if (size % 2 === 0) server.disconnectAll({ graceful: size % 4 === 0 })
      return
    }
    if (kind < 100) return void server.access.lift(HOST)
    if (kind < 140) server.access.update({ maxPerAddress: 1 + (size % 20) })
    else if (kind < 200) server.broadcast(Buffer.alloc(5, 0x41))
    else if (kind < 240) this.#expect('run', server.workers.run('echo', 'x', { timeout: 1 + time * 200 }))
    else {
      const open = [...server.connections]
      this.#use(open[which % Math.max(1, open.length)], decision)
    }
  }

  #faultsAct({ kind, which }: Decision): void {
    if (kind < 200) {
      this.#faults.clear()
      return
    }
    const chosen = rules[which % rules.length]
    if (chosen === undefined || kind > 400) return
    this.#faultCount++
    this.#faults.set(chosen.call, chosen.rule)
  }

  async #restart({ size, time }: Decision): Promise<void> {
    this.#restarts++
    const old = this.#server
    const closing = old.close({ deadline: size % 3 === 0 ? 0 : time * 20 })
    this.#expect('close', closing)
    await closing
    if (old.connections.size !== 0 || old.stats() !== undefined)
      this.#violations.push('a closed server has something left')
    if (size % 2 === 0) this.#server = this.#newServer()
    await this.#listen()
  }

  /** Mostly what the server wants. */
  #header(which: number): Pick<ConnectOptions, 'proxyProtocol'> {
    return this.#isProxied !== (which % 50 === 0)
      ? { proxyProtocol: { source: { address: `203.0.113.${which % 256}`, port: 1 } } }
      : {}
  }

  #newServer(): Server {
    const options = kindsOfServer[(this.#seed + this.#restarts) % kindsOfServer.length]
    this.#isProxied = options?.proxyProtocol !== undefined
    const server = createServer({
      ioThreads: 3,
      pendingAccepts: 4,
      framing: typed,
      access: {},
      endDeadline: 200,
      backpressure: { highWater: 20_000 },
      workers: { module: jobsModule, count: 1, route: [] },
      ...options
    })
    server.on('connection', (connection) => {
      this.#watch(connection, 'server')
    })
    return server
  }

  async #listen(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        this.#port = (await this.#server.listen({ port: 0, host: HOST })).port
        return
      } catch (error) {
        // A fault of the moment.
        if (attempt === 20) throw error
        await pause(1)
      }
    }
  }

  /** Everything comes to rest, and the server serves one more. */
  async #end(): Promise<void> {
    this.#server.access.lift(HOST)
    this.#server.access.update({ maxPerAddress: 1000 })
    const connection = await this.#client.connect({ port: this.#port, host: HOST, framing: typed, ...this.#header(1) })
    connection.destroy()
    for (const one of this.#watched) one.destroy()
    await until(`every connection has closed (seed ${this.#seed})`, () => this.#watched.size === 0, 20_000)
    await until(`nothing is open natively (seed ${this.#seed})`, () => this.#isIdle(), 20_000).catch(() => {
      this.#violations.push(`left: ${JSON.stringify([this.#server.stats(), this.#client.stats()])}`)
    })
    const ended = once(this.#server, 'close')
    await this.#server.close({ deadline: 1000 })
    await ended
    await this.#client.close({ deadline: 1000 })
    await until(
      `all promises are settled: ${[...new Set(this.#pending.values())].join(', ')} (seed ${this.#seed})`,
      () => this.#pending.size === 0,
      20_000
    )
    if (this.#closed !== this.#connections)
      this.#violations.push(`${this.#connections} connections, ${this.#closed} closed`)
  }

  #isIdle(): boolean {
    return [this.#server, this.#client].every((endpoint) => {
      const stats = endpoint.stats()
      if (stats === undefined) return true
      const { connections, pools, sending, pendingDirectReads, disk } = stats
      const counts = [
        connections.now,
        endpoint.connections.size,
        pools.readBuffers.inUse,
        pools.waitBuffers.inUse,
        pools.contexts.inUse
      ]
      return [...counts, sending.queuedBytes, pendingDirectReads, disk.running, disk.queued].every(
        (count) => count === 0
      )
    })
  }
}
