/** Every program in the README and in docs/, as it is printed, against peers that send whatever comes to their mind. */

import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect as connectPlain, createServer as createPlainServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { connect, framing } from 'iocp'
import { expect, onTestFinished, test } from 'vitest'
import { random } from '../helpers/load.js'
import { frame } from '../helpers/packets.js'
import { freePort } from '../helpers/ports.js'
import { startNode } from '../helpers/programs.js'
import { line } from '../helpers/proxy_headers.js'
import { RawClient } from '../helpers/raw_client.js'
import { pause } from '../helpers/time.js'

/** To each program. Fewer where the same programs are run with a second Node.js. */
const INPUTS = Number(process.env['IOCP_INPUTS'] ?? 100_000)
const CONNECTIONS = 4
const LIMIT = 600_000

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const pages = [
  'README.md',
  ...readdirSync(at('docs'))
    .sort()
    .map((name) => `docs/${name}`)
].filter((name) => name.endsWith('.md'))

/** What stands in the pages, by page and number among the page's blocks. */
const blocks = new Map<string, string>(
  pages.flatMap((page) =>
    [...readFileSync(at(page), 'utf8').matchAll(/^```[jt]s\n(.*?)^```$/gms)].map(
      ([, code = ''], index) => [`${page} ${index}`, code] as const
    )
  )
)

type Dice = ReturnType<typeof random>

interface Wire {
  readonly endian: 'big' | 'little'
  /** First bytes that cost the program much. */
  readonly avoid?: number
  /** So many times as seldom comes what breaks the connection, behind which nothing is read. */
  readonly order?: number
  /** What each connection begins with. */
  readonly front?: Uint8Array
}

function randomBytes(roll: Dice, size: number): Buffer {
  return Buffer.from(Array.from({ length: size }, () => (roll(4) === 0 ? 0 : roll(256))))
}

/** An offer of a file, right or nearly so. */
function offer(roll: Dice): Buffer {
  const name = roll(2) === 0 ? Buffer.from(`file ${roll(50)}.txt`) : randomBytes(roll, roll(20))
  const head = Buffer.alloc(16)
  head[0] = 0xf0
  head.writeUInt32BE(roll(5), 1)
  head.writeBigUInt64BE(BigInt(roll(3) === 0 ? roll(2 ** 31) : roll(100)), 5)
  head[13] = roll(4)
  head.writeUInt16BE(name.length + (roll(10) === 0 ? 1 : 0), 14)
  return Buffer.concat([head, name])
}

/** One input: mostly a frame of anything; now and then an offer of a file, half a frame, or no frame at all. */
function input(roll: Dice, { avoid, endian, order = 3 }: Wire): Buffer {
  const kind = roll(1000 * order)
  if (kind < 5) return frame(offer(roll), 4, endian)
  if (kind < 10) return randomBytes(roll, 1 + roll(30))
  const payload = randomBytes(roll, roll(40))
  if (roll(3) === 0) payload[0] = roll(5)
  if (payload.length > 0 && (payload[0] === avoid || ((payload[0] ?? 0) >= 0xf0 && roll(10) > 0))) payload[0] = 5
  const whole = frame(payload, 4, endian)
  return kind < 15 ? whole.subarray(0, roll(whole.length)) : whole
}

/** Sends all inputs to a server, over some connections at a time. */
async function fuzzServer(port: number, wire: Wire, seed: number): Promise<void> {
  const each = Math.ceil(INPUTS / CONNECTIONS)
  await Promise.all(Array.from({ length: CONNECTIONS }, (_, index) => fuzz(port, wire, random(seed + index), each)))
}

/** Sends so many inputs over one connection after the other. */
async function fuzz(port: number, wire: Wire, roll: Dice, count: number): Promise<void> {
  for (let left = count; left > 0;) {
    const socket = connectPlain({ port, host: '127.0.0.1' })
    const closed = new Promise<void>((resolve) => {
      socket.on('close', () => {
        resolve()
      })
    })
    // What a server says to rubbish is nobody's business, a reset included.
    socket.on('error', () => undefined).resume()
    if (wire.front !== undefined) socket.write(wire.front)
    for (let rounds = 1 + roll(10); rounds > 0 && left > 0 && !socket.destroyed; rounds--) {
      const inputs = Array.from({ length: Math.min(left, 50) }, () => input(roll, wire))
      left -= inputs.length
      const written = new Promise((resolve) => {
        socket.write(Buffer.concat(inputs), resolve)
      })
      await Promise.race([closed, written])
    }
    if (roll(2) === 0) socket.end()
    else socket.destroy()
    // A server that waits for the rest of something is left alone.
    await Promise.race([closed, pause(50)])
    socket.destroy()
    await closed
  }
}

/** Starts a program of a page, with another port. */
function start(id: string, code: string, port: number) {
  const folder = `.cache/examples/${id.replaceAll(/\W+/g, '-')}`
  rmSync(at(folder), { recursive: true, force: true })
  mkdirSync(at(`${folder}/inbox`), { recursive: true })
  // Modules of workers: blocks that begin with their name.
  for (const [other, module] of blocks) {
    const name = /^\/\/ (\w+\.js)\n/.exec(module)?.[1]
    if (other.split(' ')[0] === id.split(' ')[0] && name !== undefined) writeFileSync(at(`${folder}/${name}`), module)
  }
  const path = at(`${folder}/program.mjs`)
  writeFileSync(path, code.replaceAll(/port: \d+/g, `port: ${port}`))
  const child = startNode(path, [], at(folder))
  let errors = ''
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out = (out + text).slice(-4000)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4000)
  })
  const ended = once(child, 'close') as Promise<[number | null]>
  onTestFinished(() => {
    child.kill()
  })
  return { child, ended, errors: () => errors, out: () => out }
}

type Program = ReturnType<typeof start>

/** Waits until a server accepts connections. */
async function listens({ child, errors }: Program, port: number): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`it has ended: ${errors()}`)
    const socket = connectPlain({ port, host: '127.0.0.1' })
    const isOpen = await new Promise((resolve) => {
      socket
        .on('connect', () => {
          resolve(true)
        })
        .on('error', () => {
          resolve(false)
        })
    })
    socket.destroy()
    if (isOpen === true) return
    await pause(50)
  }
}

async function answers(port: number, asked: Buffer, wanted: Buffer): Promise<void> {
  const client = await RawClient.open(port)
  await client.write(asked)
  expect(await client.read(wanted.length)).toEqual(wanted)
  client.end()
}

async function echoes(port: number): Promise<void> {
  await answers(port, frame('hello'), frame('hello'))
}

async function takesFile(port: number): Promise<void> {
  const connection = await connect({ host: '127.0.0.1', port, framing: framing.lengthField({ typeByte: true }) })
  const { bytes } = await connection.sendFile(at('LICENSE'))
  expect(bytes).toBe(readFileSync(at('LICENSE')).length)
  connection.destroy()
}

const big: Wire = { endian: 'big' }
const balanced = line('192.0.2.7', 40_000)
const receiver = `
import { createServer, framing } from 'iocp'
const server = createServer({ framing: framing.lengthField({ typeByte: true }), transfer: { directory: 'inbox' } })
`

const behind = `
import { createServer as createServerBehind } from 'iocp'
const behind = createServerBehind({ proxyProtocol: { from: ['127.0.0.1'] } })
behind.on('packet', (packet, connection) => connection.send(packet))
await behind.listen({ host: '127.0.0.1' })
`

/** The servers, and what shows that they still serve. */
const servers: Record<
  string,
  { wire: Wire; works: (port: number) => Promise<void>; whole?: (code: string) => string }
> = {
  'README.md 0': { wire: big, works: echoes },
  'README.md 3': { wire: { ...big, avoid: 0x10 }, works: echoes },
  'README.md 4': { wire: big, works: takesFile },
  'docs/access.md 0': { wire: big, works: echoes },
  'docs/access.md 1': { wire: big, works: echoes },
  'docs/limits.md 0': { wire: big, works: echoes },
  'docs/security.md 0': {
    wire: big,
    works: echoes,
    // All inputs come from one address, faster than any peer may send.
    whole: (code) =>
      code
        .replace('access: {', "access: { allow: ['127.0.0.1'],")
        .replace('count: 500, burst: 2000', 'count: 1e8, burst: 2e9')
  },
  'docs/api.md 4': { wire: big, works: (port) => answers(port, frame('{"text":"hello"}'), frame('HELLO')) },
  'docs/file-transfer.md 0': {
    wire: big,
    works: takesFile,
    whole: (code) => `${receiver}${code.slice(code.indexOf('// receives'))}\nawait server.listen({ port: 9999 })\n`
  },
  'docs/framing.md 0': { wire: big, works: echoes },
  'docs/from-iocps.md 0': {
    wire: { endian: 'little' },
    works: (port) => answers(port, frame('\0hello\0', 4, 'little'), frame('\0received\0', 4, 'little'))
  },
  'docs/proxy-protocol.md 0': {
    wire: { ...big, front: balanced },
    works: (port) => answers(port, Buffer.concat([balanced, frame('hello')]), frame('hello'))
  },
  // To a server of the program's own, which would refuse who has no header.
  'docs/proxy-protocol.md 2': {
    wire: big,
    works: echoes,
    whole: (code) => `${behind}${code.replace('port: 9996', 'port: behind.address().port')}`
  },
  'docs/workers.md 0': { wire: { ...big, avoid: 0x10 }, works: echoes }
}

/** Programs that connect, and how they end by themselves; undefined: they do not. */
const clients: Record<string, { ends: readonly number[] | undefined }> = {
  'README.md 1': { ends: [0] },
  'README.md 5': { ends: [0, 1] },
  'docs/api.md 1': { ends: undefined },
  'docs/limits.md 1': { ends: [0, 1] },
  'docs/proxy-protocol.md 1': { ends: [0] }
}

/** Parts of programs that neither serve nor connect. */
const parts = new Set(['docs/api.md 0', 'docs/api.md 2', 'docs/framing.md 1'])

test('every program of the pages is known here', () => {
  const programs = [...blocks].filter(
    ([id, code]) => /\b(createServer|connect|server\.on|sendFile)\(/.test(code) && !parts.has(id)
  )
  expect(programs.map(([id]) => id)).toEqual([...Object.keys(servers), ...Object.keys(clients)].toSorted())
})

test.each(Object.entries(servers))(
  `%s survives ${INPUTS} inputs and still serves`,
  { timeout: LIMIT },
  async (id, { wire, works, whole }) => {
    const port = await freePort()
    const code = blocks.get(id) ?? ''
    const program = start(id, whole?.(code) ?? code, port)
    await listens(program, port)
    await works(port)
    await fuzzServer(port, wire, 2008)
    expect([program.child.exitCode, program.child.signalCode], program.errors()).toEqual([null, null])
    await works(port)
  }
)

/** Sends inputs to whoever connects, until all have been sent; `isRight`: none that closes the connection. */
function fuzzClients(wire: Wire, isRight: boolean) {
  const roll = random(81)
  let left = INPUTS
  let connections = 0
  const pump = (socket: Socket): void => {
    connections++
    socket.on('error', () => undefined).resume()
    const go = (): void => {
      while (left > 0 && !socket.destroyed) {
        const inputs = Array.from({ length: Math.min(left, 50) }, () =>
          isRight ? frame(randomBytes(roll, roll(40))) : input(roll, wire)
        )
        left -= inputs.length
        if (!socket.write(Buffer.concat(inputs))) {
          socket.once('drain', go)
          return
        }
      }
    }
    go()
  }
  const server = createPlainServer(pump)
  onTestFinished(() => {
    server.close()
  })
  return { server, left: () => left, connections: () => connections }
}

test.each(Object.entries(clients))(`%s survives ${INPUTS} inputs`, { timeout: LIMIT }, async (id, { ends }) => {
  // What breaks the connection, some eight of all inputs, lets a program that comes again wait each time.
  const order = ends === undefined ? Math.ceil(INPUTS / 800) : 1
  const fuzz = fuzzClients({ ...big, order }, ends?.length === 1)
  fuzz.server.listen(0, '127.0.0.1')
  await once(fuzz.server, 'listening')
  const { port } = fuzz.server.address() as AddressInfo
  const program = start(id, blocks.get(id) ?? '', port)
  if (ends === undefined) {
    while (fuzz.left() > 0 && program.child.exitCode === null) await pause(20)
    const before = fuzz.connections()
    // It comes again when its connection is lost, as it did before.
    // Rubbish from each connection may use its attempts up, after which it ends in peace.
    expect(program.child.signalCode, program.errors()).toBe(null)
    expect([null, 0], program.errors()).toContain(program.child.exitCode)
    expect(before).toBeGreaterThan(1)
    return
  }
  const [exitCode] = await program.ended
  expect(ends, program.errors()).toContain(exitCode)
  // A program that ends by an error says which.
  if (exitCode !== 0) expect(program.errors()).toMatch(/code: '(ERR_IOCP_\w+|E[A-Z]+)'/)
})

test('the job of docs/workers.md tells its progress', async () => {
  const [id = '', code = ''] = [...blocks].find(([, block]) => block.startsWith('// main.js\n')) ?? []
  const program = start(id, code, 0)
  expect(await program.ended, program.errors()).toEqual([0, null])
  expect(program.out()).toBe('25 %\n50 %\n75 %\n100 %\n4 steps\n')
})
