/** Who may connect: decided natively, changed while the server listens, counted to the end. */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type AccessOptions, createServer, type RefusedInfo, type Server } from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { load, random } from '../helpers/load.js'
import { HOST } from '../helpers/ports.js'
import { closeAfterTest, startEcho } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'

interface Peer {
  readonly socket: Socket
  readonly isIn: boolean
}

/** A peer of another address of the loopback, and whether it was let in: then its packet comes back. */
async function come(port: number, from = HOST, host = HOST): Promise<Peer> {
  const socket = connect({ host, port, localAddress: from })
  onTestFinished(() => {
    socket.destroy()
  })
  socket.on('error', () => undefined)
  const isIn = new Promise<boolean>((resolve) => {
    socket.once('data', () => {
      resolve(true)
    })
    for (const event of ['end', 'close']) {
      socket.once(event, () => {
        resolve(false)
      })
    }
  })
  socket.write(Buffer.of(0, 0, 0, 1, 120))
  return { socket, isIn: await isIn }
}

/** Its end, whichever. */
const gone = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.once('close', () => {
      resolve()
    })
  })

const comes = async (port: number, from?: string, host?: string): Promise<boolean> =>
  (await come(port, from, host)).isIn

const start = (access?: AccessOptions, host?: string) => startEcho(access === undefined ? {} : { access }, host)

test('a table that is full is warned of, once', async () => {
  const warnings: NodeJS.ErrnoException[] = []
  const note = (warning: NodeJS.ErrnoException): void => {
    if (warning.code === 'IOCP_ACCESS_TABLE_FULL') warnings.push(warning)
  }
  process.on('warning', note)
  onTestFinished(() => {
    process.off('warning', note)
  })
  const { server, port } = await start({ tableSize: 1000, banOn: { protocolError: true } })
  for (let i = 0; i < 1000; i++) server.access.ban(`10.0.${i >> 8}.${i & 255}`, { time: '1h' })
  const offend = async (): Promise<void> => {
    const { socket } = await come(port)
    socket.write(Buffer.alloc(8, 255))
    await gone(socket)
  }
  await offend()
  await until('it is told', () => warnings.length > 0)
  // No ban that was wanted made way.
  expect(server.stats()?.access).toMatchObject({ evictions: 1, bans: 1000 })
  await offend()
  await pause(1500)
  expect(warnings.length).toBe(1)
})

describe('rules', () => {
  test('who is denied does not come in, who is allowed does all the same', async () => {
    const { port, server } = await start({ deny: ['127.0.0.0/28', '127.0.0.20'], allow: ['127.0.0.3'] })
    expect(await comes(port, '127.0.0.2')).toBe(false)
    expect(await comes(port, '127.0.0.3')).toBe(true)
    expect(await comes(port, '127.0.0.15')).toBe(false)
    expect(await comes(port, '127.0.0.16')).toBe(true)
    expect(await comes(port, '127.0.0.20')).toBe(false)
    expect(server.access.test('127.0.0.20')).toBe('denied')
    expect(server.access.test('::ffff:127.0.0.20')).toBe('denied')
    expect(server.access.test('127.0.0.3')).toBeUndefined()
  })

  test('a mapped address of IPv6 is the one of IPv4, and IPv6 has its own', async () => {
    const { port } = await start({ deny: ['127.0.0.2'], maxPerAddress: 1 }, '::')
    expect(await comes(port, '127.0.0.2')).toBe(false)
    expect(await comes(port, '127.0.0.3')).toBe(true)
    expect(await comes(port, '127.0.0.3')).toBe(false)
    expect(await comes(port, '::1', '::1')).toBe(true)
    expect(await comes(port, '::1', '::1')).toBe(false)
  })

  test('so many of an address, and of its subnet; a place is free when one has closed', async () => {
    const { port, server } = await start({ maxPerAddress: 2, maxPerSubnet: { count: 3, v4: 30 } })
    const [one] = [await come(port, '127.0.1.1'), await come(port, '127.0.1.1')]
    expect(await comes(port, '127.0.1.1')).toBe(false)
    expect(await comes(port, '127.0.1.2')).toBe(true)
    expect(await comes(port, '127.0.1.2')).toBe(false)
    expect(await comes(port, '127.0.1.5')).toBe(true)
    expect(server.stats()?.access?.refused).toMatchObject({ maxPerAddress: 1, maxPerSubnet: 1 })
    one.socket.destroy()
    await until('it has gone', () => server.stats()?.access?.connections === 3)
    expect(await comes(port, '127.0.1.2')).toBe(true)
  })

  test('so many of an address in a time', async () => {
    const { port, server } = await start({ connectRate: { count: 2, per: '1h' } })
    expect([await comes(port), await comes(port), await comes(port)]).toEqual([true, true, false])
    expect(await comes(port, '127.0.0.2')).toBe(true)
    expect(server.access.test(HOST)).toBe('connectRate')
  })

  test('maxConnections comes behind deny and before the limit of an address', async () => {
    const { port, server } = await startEcho({ maxConnections: 1, access: { deny: ['127.0.0.2'], maxPerAddress: 1 } })
    expect(await comes(port)).toBe(true)
    expect(await comes(port)).toBe(false)
    expect(await comes(port, '127.0.0.2')).toBe(false)
    expect(server.stats()?.access?.refused).toMatchObject({ maxConnections: 1, denied: 1, maxPerAddress: 0 })
  })

  test('without rules nobody is refused, and nothing is counted', async () => {
    const { port, server } = await start()
    expect(await comes(port)).toBe(true)
    expect(server.stats()?.access).toBeUndefined()
    expect(server.access.bans()).toEqual([])
    expect(server.access.test(HOST)).toBeUndefined()
  })

  test('test says the same before the server listens, and after it', async () => {
    const deny = ['127.0.0.0/28', '2001:db8::/32', '::/0']
    const server = createServer({ access: { deny, allow: ['127.0.0.3', '2001:db8:1::/48'] } })
    closeAfterTest(server)
    server.access.ban('127.0.1.0/25', { time: 0 })
    server.access.ban('fe80::/10', { time: 0 })
    const addresses = [
      ...['127.0.0.1', '127.0.0.3', '127.0.0.16', '127.0.1.1', '127.0.1.128', '::ffff:127.0.1.1', '::1'],
      ...['2001:db8::1', '2001:db8:1::1', 'fe80::1', '255.255.255.255', '0.0.0.0']
    ]
    const all = () => addresses.map((address) => [address, server.access.test(address)])
    const before = all()
    expect(Object.fromEntries(before)).toMatchObject({ '127.0.0.1': 'denied', '127.0.1.1': 'banned' })
    const { port } = await server.listen({ host: HOST })
    expect(all()).toEqual(before)
    expect(await comes(port, '127.0.0.2')).toBe(false)
    await server.close({ deadline: 0 })
    expect(all()).toEqual(before)
  })

  test('update changes all that is given in one step, or nothing', async () => {
    const { port, server } = await start({ deny: ['127.0.0.2'], maxPerAddress: 1 })
    const first = await come(port)
    expect(() => {
      server.access.update({ maxPerAddress: 5, deny: ['nonsense'] })
    }).toThrow(expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION' }))
    expect(await comes(port)).toBe(false)
    server.access.update({ maxPerAddress: 2 })
    expect(await comes(port)).toBe(true)
    expect(await comes(port, '127.0.0.2')).toBe(false)
    server.access.update({ deny: [HOST] })
    expect(await comes(port)).toBe(false)
    expect(await comes(port, '127.0.0.2')).toBe(true)
    // Who is in stays in.
    const answer = once(first.socket, 'data')
    first.socket.write(Buffer.of(0, 0, 0, 1, 121))
    await answer
  })
})

describe('bans', () => {
  test('hold for an address or a prefix, until they are lifted or over', async () => {
    const { port, server } = await start()
    const before = Date.now()
    const end = server.access.ban('127.0.0.2', { time: '300ms', reason: 'too loud' })
    expect(end).toBeGreaterThanOrEqual(before + 200)
    expect(server.access.ban('127.0.1.0/24', { time: 0 })).toBe(Infinity)
    expect(await comes(port, '127.0.0.2')).toBe(false)
    expect(await comes(port, '127.0.1.77')).toBe(false)
    expect(await comes(port)).toBe(true)
    expect(server.access.bans().toSorted((a, b) => a.until - b.until)).toMatchObject([
      { prefix: '127.0.0.2', reason: 'too loud', times: 1 },
      { prefix: '127.0.1.0/24', reason: 'manual', until: Infinity }
    ])
    expect(server.access.lift('127.0.1.77')).toBe(false)
    expect(server.access.lift('127.0.1.0/24')).toBe(true)
    expect(await comes(port, '127.0.1.77')).toBe(true)
    await until('the other one is over', () => server.access.bans().length === 0)
    expect(await comes(port, '127.0.0.2')).toBe(true)
  })

  test('hold for years, and after the next listen', async () => {
    const { port, server } = await start({ ban: { time: '200d', factor: 10, max: '3653d' } })
    server.access.ban('127.0.0.2', { time: '1000d' })
    for (let count = 0; count < 3; count++) server.access.ban('127.0.0.3')
    const { bans } = JSON.parse(JSON.stringify(server.access)) as ReturnType<Server['access']['toJSON']>
    const days = (): number[] =>
      server.access
        .bans()
        .map(({ until }) => Math.round((until - Date.now()) / 86_400_000))
        .toSorted((a, b) => a - b)
    expect(days()).toEqual([1000, 3653])
    await server.close({ deadline: 0 })
    expect(days()).toEqual([1000, 3653])
    server.access.clear()
    await server.listen({ port, host: HOST })
    expect(await comes(port, '127.0.0.2')).toBe(true)
    server.access.load({ bans })
    expect(days()).toEqual([1000, 3653])
    expect(await comes(port, '127.0.0.2')).toBe(false)
  })

  test('are cleared, with what makes the next one longer', async () => {
    const { port, server } = await start({ ban: { time: '1m', factor: 3, max: '1h' } })
    for (let count = 0; count < 3; count++) server.access.ban('127.0.0.2', { reason: `reason ${count}` })
    for (let count = 0; count < 300; count++) server.access.ban(`10.0.${count >> 8}.${count & 255}`, { time: 1 })
    expect(await comes(port, '127.0.0.2')).toBe(false)
    server.access.clear()
    expect(server.access.toJSON().bans).toEqual([])
    expect(server.stats()?.access?.bans).toBe(0)
    expect(await comes(port, '127.0.0.2')).toBe(true)
    expect(Math.round((server.access.ban('127.0.0.2') - Date.now()) / 60_000)).toBe(1)
  })

  test('have their reasons, of which there are 1000 at a time: those that no ban has any more make room', async () => {
    const { port, server } = await start()
    const name = (count: number): string => `10.0.${count >> 8}.${count & 255}`
    const reasons = (): string[] => server.access.bans().map(({ reason }) => reason)
    for (let count = 0; count < 1100; count++) server.access.ban(name(count), { time: 0, reason: `reason ${count}` })
    expect(reasons().filter((reason) => reason === 'manual')).toHaveLength(100)
    for (let count = 0; count < 200; count++) server.access.lift(name(count))
    for (let count = 2000; count < 2200; count++) server.access.ban(name(count), { time: 0, reason: `reason ${count}` })
    for (const count of [200, 999, 2000, 2198]) expect(reasons()).toContain(`reason ${count}`)
    expect(reasons().filter((reason) => reason === 'manual').length).toBeLessThanOrEqual(102)
    // While it does not listen each has its own; so after many rounds there is room for others.
    await server.close({ deadline: 0 })
    server.access.clear()
    for (let count = 0; count < 1100; count++) server.access.ban(name(count), { reason: `other ${count}` })
    expect(reasons()).not.toContain('manual')
    for (let count = 0; count < 200; count++) server.access.lift(name(count))
    await server.listen({ port, host: HOST })
    expect(new Set(reasons()).size).toBe(900)
    expect(reasons()).not.toContain('manual')
  })

  test('grow from one to the next', async () => {
    const { server } = await start({ ban: { time: '1m', factor: 3, max: '10m' } })
    const minutes = [1, 2, 3, 4].map(() => Math.round((server.access.ban('192.0.2.1') - Date.now()) / 60_000))
    expect(minutes).toEqual([1, 3, 9, 10])
  })

  test('come by themselves for what a peer does', async () => {
    const { port, server } = await start({
      connectRate: { count: 5, per: '1h' },
      banOn: { protocolError: { count: 2 }, connectRate: true }
    })
    for (let count = 0; count < 2; count++) {
      const peer = await come(port, '127.0.0.2')
      const closing = gone(peer.socket)
      peer.socket.write(Buffer.of(0xff, 0, 0, 0))
      await closing
    }
    expect(await comes(port, '127.0.0.2')).toBe(false)
    expect(server.access.bans()).toMatchObject([{ prefix: '127.0.0.2', reason: 'protocolError' }])
    for (let count = 0; count < 6; count++) await come(port, '127.0.0.3')
    expect(server.access.test('127.0.0.3')).toBe('banned')
    expect(await comes(port)).toBe(true)
  })

  test('of banOn come back from JSON as such, with their growth', async () => {
    const banOn = { protocolError: true }
    const { port, server } = await start({ banOn, ban: { time: '1m', factor: 3, max: '1h' } })
    const offend = async (port: number) => {
      const peer = await come(port, '127.0.0.2')
      const closing = gone(peer.socket)
      peer.socket.write(Buffer.of(0xff, 0, 0, 0))
      await closing
    }
    await offend(port)
    const [ban] = server.access.bans()
    expect(ban).toMatchObject({ prefix: '127.0.0.2', reason: 'protocolError', times: 1, automatic: true })
    const state = JSON.parse(JSON.stringify(server.access)) as ReturnType<Server['access']['toJSON']>
    for (const [isOver, minutes] of [
      [false, 1],
      [true, 3]
    ] as const) {
      const other = await start()
      const until = isOver ? Date.now() - 1000 : (state.bans[0]?.until ?? 0)
      const bans = state.bans.map((kept) => ({ ...kept, until }))
      other.server.access.load({ rules: state.rules, bans })
      other.server.access.load({ rules: state.rules, bans })
      expect(await comes(other.port, '127.0.0.2')).toBe(isOver)
      if (isOver) await offend(other.port)
      const [again] = other.server.access.bans()
      expect(again).toMatchObject({ prefix: '127.0.0.2', times: isOver ? 2 : 1, automatic: true })
      expect(Math.round(((again?.until ?? 0) - Date.now()) / 60_000)).toBe(minutes)
      // The next listen knows it too.
      await other.server.close({ deadline: 0 })
      await other.server.listen({ port: other.port, host: HOST })
      expect(other.server.access.bans()).toMatchObject([{ times: isOver ? 2 : 1, automatic: true }])
    }
  })

  test('are listed one by one, while the server goes on', { timeout: 120_000 }, async () => {
    const { port, server } = await start({ tableSize: 1_000_000 })
    const count = load(20_000, 300_000)
    for (let number = 0; number < count; number++) {
      server.access.ban(`10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`)
    }
    const listed = new Set<string>()
    let turns = 0
    for (const { prefix } of server.access.eachBan()) {
      listed.add(prefix)
      if (listed.size % 5000 !== 0) continue
      turns++
      server.access.ban(`10.200.0.${turns % 200}`)
      expect(await comes(port)).toBe(true)
    }
    expect([...listed].filter((prefix) => !prefix.startsWith('10.200.')).length).toBe(count)
    expect(server.access.bans().length).toBe(count + Math.min(turns, 200))
  })

  test('stay for the next listen, and can be kept as JSON', async () => {
    const { port, server } = await start({ deny: ['127.0.0.9'] })
    server.access.ban('127.0.0.2', { reason: 'again' })
    server.access.ban('127.0.0.3', { time: 0 })
    const state = JSON.stringify(server.access)
    await server.close({ deadline: 0 })
    server.access.lift('127.0.0.3')
    await server.listen({ port, host: HOST })
    expect(await comes(port, '127.0.0.2')).toBe(false)
    expect(await comes(port, '127.0.0.3')).toBe(true)
    expect(await comes(port, '127.0.0.9')).toBe(false)

    const other = createServer()
    closeAfterTest(other)
    other.on('packet', (packet, connection) => connection.send(packet))
    other.access.load(JSON.parse(state) as ReturnType<Server['access']['toJSON']>)
    const { port: otherPort } = await other.listen({ host: HOST })
    for (const [last, isIn] of [
      [2, false],
      [3, false],
      [4, true],
      [9, false]
    ] as const) {
      expect(await comes(otherPort, `127.0.0.${last}`)).toBe(isIn)
    }
    expect(JSON.parse(JSON.stringify(other.access))).toMatchObject({
      rules: { deny: ['127.0.0.9'] },
      bans: expect.arrayContaining([
        expect.objectContaining({ prefix: '127.0.0.2', reason: 'again' }),
        expect.objectContaining({ prefix: '127.0.0.3', until: null })
      ]) as unknown
    })
  })
})

test('what is banned while the server closes is banned afterwards', async () => {
  const { port, server } = await start({ banOn: { protocolError: true } })
  const peer = await come(port, '127.0.0.2')
  const other = await come(port)
  const closing = server.close({ deadline: '2s' })
  server.access.ban('127.0.0.7')
  peer.socket.write(Buffer.of(0xff, 0, 0, 0))
  other.socket.end()
  await closing
  expect(server.access.bans().map(({ prefix }) => prefix)).toContain('127.0.0.7')
})

describe("'refused'", () => {
  test('comes at most once a second, with all that were refused by their reasons', async () => {
    const { port, server } = await start({ deny: ['127.0.0.2'], maxPerAddress: 1 })
    const seen: { at: number; info: RefusedInfo }[] = []
    server.on('refused', (info) => seen.push({ at: performance.now(), info }))
    await come(port)
    for (let count = 0; count < 40; count++) {
      await come(port, '127.0.0.2')
      await come(port)
    }
    await until('all are told', () => seen.reduce((sum, { info }) => sum + info.total, 0) === 80)
    const reasons = (name: 'denied' | 'maxPerAddress') =>
      seen.reduce((sum, { info }) => sum + (info.reasons[name] ?? 0), 0)
    expect([reasons('denied'), reasons('maxPerAddress')]).toEqual([40, 40])
    for (const [index, { at }] of seen.entries()) {
      const before = seen[index - 1]
      if (before !== undefined) expect(at - before.at).toBeGreaterThan(800)
    }
  })

  test('comes before the close of the server, and never after', async () => {
    const { port, server } = await start({ deny: [HOST] })
    const seen: string[] = []
    server.on('refused', ({ total }) => seen.push(`refused ${total}`))
    server.on('close', () => seen.push('close'))
    await come(port)
    await server.close()
    await pause(1200)
    expect(seen).toEqual(['refused 1', 'close'])
  })
})

const ROUNDS = load(800, 100_000)

test(
  'random rounds of open, refuse, reset, close and new rules leave every count at 0',
  { timeout: load(120_000, 3_600_000) },
  async () => {
    const { port, server } = await startEcho({
      ...{ ioThreads: 4, maxConnections: 40 },
      access: { maxPerAddress: 3, maxPerSubnet: { count: 10, v4: 29 } }
    })
    const chance = random(5)
    const open: Socket[] = []
    let came = 0
    for (let round = 0; round < ROUNDS; round++) {
      const socket = connect({ host: HOST, port, localAddress: `127.0.2.${1 + chance(40)}` })
      socket.on('error', () => undefined)
      // A system that is asked for very many connections may refuse some.
      if (await Promise.race([once(socket, 'connect').then(() => true), gone(socket).then(() => false)])) came++
      open.push(socket)
      if (chance(100) === 0) {
        server.access.update({ maxPerAddress: 1 + chance(5), allow: chance(2) === 0 ? [] : ['127.0.2.0/30'] })
      }
      if (chance(50) === 0) server.access.ban(`127.0.2.${1 + chance(40)}`, { time: 1 + chance(200) })
      if (chance(20) === 0) [...server.connections][chance(40)]?.reset()
      while (open.length > 50) {
        const [one] = open.splice(chance(open.length), 1)
        const how = chance(3)
        if (how === 0) one?.resetAndDestroy()
        else if (how === 1) one?.destroy()
        else one?.end().resume()
      }
    }
    for (const socket of open) socket.destroy()
    const isEmpty = () => server.stats()?.access?.connections === 0 && server.connections.size === 0
    await until('all have gone', isEmpty, 60_000)
    const { refused, addresses, subnets } = server.stats()?.access ?? {}
    expect({ addresses, subnets }).toEqual({ addresses: 0, subnets: 0 })
    expect(Math.min(refused?.maxConnections ?? 0, refused?.maxPerAddress ?? 0, refused?.banned ?? 0)).toBeGreaterThan(0)
    const { counters } = server.stats() ?? {}
    expect(Object.values(refused ?? {}).reduce((sum, count) => sum + count, 0)).toBe(counters?.refused)
    const { accepts = 0, refused: sent = 0, acceptFailures = 0 } = counters ?? {}
    expect(accepts + sent + acceptFailures).toBeGreaterThanOrEqual(came)
    // Every place is free: as many as fit come in at once.
    server.access.update({ allow: ['127.0.0.0/8'] })
    const peers = await Promise.all(Array.from({ length: 40 }, () => come(port)))
    expect(peers.every(({ isIn }) => isIn)).toBe(true)
    expect(await comes(port)).toBe(false)
  }
)
