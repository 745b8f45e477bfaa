/** Headers of the PROXY protocol: of balancers, and of connections of this side. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, BlockList, createServer as createPlainServer, type Socket } from 'node:net'
import {
  connect,
  type Connection,
  framing,
  type FramingOption,
  type PacketStream,
  type ProxyHeaderOptions,
  type ProxyProtocolOptions,
  type ReceivedFile,
  type RefusedInfo,
  type ServerOptions
} from 'iocp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { acceptNext, folders, makeFile, sha256, typed } from '../helpers/files.js'
import { numbered, packetTypes, startWorkers } from '../helpers/jobs.js'
import { random } from '../helpers/load.js'
import { frame, pattern } from '../helpers/packets.js'
import { HOST } from '../helpers/ports.js'
import { block, inet, inet6, line, tlv, withChecksum } from '../helpers/proxy_headers.js'
import { isGone, openSocket, RawClient } from '../helpers/raw_client.js'
import { counter, first, nextConnection, startEcho, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'

const from = [HOST]
const start = (options: ServerOptions = {}, proxy: Partial<ProxyProtocolOptions> = {}) =>
  startEcho({ proxyProtocol: { from, ...proxy }, ...options })

/** What the server says of a connection that begins with these bytes; it echoes a packet before. */
async function seen(bytes: Uint8Array, options: ServerOptions = {}): Promise<Connection> {
  const { server, port } = await start(options)
  const connection = nextConnection(server)
  const client = await RawClient.open(port)
  await client.write(Buffer.concat([bytes, frame('hello')]))
  expect(await client.read(9)).toEqual(frame('hello'))
  return connection
}

/** The server lets go of a peer without a word: the kind of its end. */
async function refused(port: number, bytes: Uint8Array): Promise<string | undefined> {
  const client = await RawClient.open(port)
  client.socket.write(bytes)
  expect((await client.readToEnd()).length).toBe(0)
  return client.over
}

/** Its end, whichever. */
const gone = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.once('close', () => {
      resolve()
    })
  })

const listenerStats = (server: Parameters<typeof counter>[0]) => server.stats()?.listeners[0]

describe('a header tells of the client', () => {
  test('version 1', async () => {
    const connection = await seen(line('203.0.113.7', 40_000))
    expect(connection).toMatchObject({ remoteAddress: '203.0.113.7', remotePort: 40_000, remoteFamily: 'IPv4' })
    expect(connection).toMatchObject({ localAddress: HOST, proxyAddress: HOST, proxyFamily: 'IPv4' })
    expect(connection.proxyPort).toBeGreaterThan(1023)
    expect(connection.proxy).toMatchObject({
      version: 1,
      command: 'PROXY',
      family: 'IPv4',
      transport: 'stream',
      source: { address: '203.0.113.7', port: 40_000, family: 'IPv4' },
      destination: { address: '198.51.100.1', port: 443, family: 'IPv4' },
      tlvs: []
    })
  })

  test('version 1 with IPv6', async () => {
    const connection = await seen(line('2001:db8::7', 1, '2001:db8::1', 2))
    expect(connection).toMatchObject({ remoteAddress: '2001:db8::7', remotePort: 1, remoteFamily: 'IPv6' })
    expect(connection.proxy?.destination).toEqual({ address: '2001:db8::1', family: 'IPv6', port: 2 })
  })

  test('version 2', async () => {
    const connection = await seen(inet('203.0.113.7', 65_535))
    expect(connection).toMatchObject({ remoteAddress: '203.0.113.7', remotePort: 65_535, proxyAddress: HOST })
    expect(connection.proxy).toMatchObject({
      version: 2,
      command: 'PROXY',
      destination: { address: '198.51.100.1', port: 443 }
    })
  })

  test('version 2 with IPv6, and IPv4 that is written so', async () => {
    const six = await seen(inet6('20010db8000000000000000000000007', 5))
    expect(six).toMatchObject({ remoteAddress: '2001:db8::7', remotePort: 5, remoteFamily: 'IPv6' })
    const mapped = await seen(inet6('00000000000000000000ffffcb007107', 5))
    expect(mapped).toMatchObject({ remoteAddress: '203.0.113.7', remoteFamily: 'IPv4' })
  })

  test('it stays known when the connection has closed', async () => {
    const { server, port } = await start()
    const socket = await openSocket(port)
    const opened = nextConnection(server)
    socket.write(inet('203.0.113.7', 1, tlv(1, 'h2')))
    const connection = await opened
    socket.destroy()
    await connection.closed
    expect(connection).toMatchObject({ remoteAddress: '203.0.113.7', proxyAddress: HOST, proxy: { alpn: 'h2' } })
  })
})

describe('a connection of the balancer itself', () => {
  test.each([
    ['LOCAL', block(0, 0)],
    ['LOCAL with an address, which does not count', Buffer.concat([inet('203.0.113.7', 1).fill(0x20, 12, 13)])],
    ['UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n')],
    ['UNKNOWN with something behind it', Buffer.from('PROXY UNKNOWN 1.2.3.4 whatever\r\n')],
    ['no family', block(1, 0)],
    ['AF_UNIX', block(1, 0x31, Buffer.alloc(216))],
    ['UDP', block(1, 0x12, Buffer.alloc(12))]
  ])('%s keeps its own address', async (_, header) => {
    const connection = await seen(header, { access: { deny: ['0.0.0.0/0'] } })
    expect(connection).toMatchObject({ remoteAddress: HOST, proxyAddress: HOST, localAddress: HOST })
    expect(connection.remotePort).toBe(connection.proxyPort)
  })

  test('says what it is', async () => {
    // What version 1 has instead.
    expect((await seen(Buffer.from('PROXY UNKNOWN\r\n'))).proxy).toMatchObject({ version: 1, command: 'LOCAL' })
    expect((await seen(block(0, 0, tlv(5, 'check')))).proxy).toMatchObject({
      command: 'LOCAL',
      family: 'unspecified',
      source: undefined,
      uniqueId: Buffer.from('check')
    })
    expect((await seen(block(1, 0x31, Buffer.alloc(216)))).proxy).toMatchObject({ family: 'unix', command: 'PROXY' })
  })
})

describe('TLVs', () => {
  test('are there by name, and as they came', async () => {
    const ssl = Buffer.concat([
      Buffer.of(3, 0, 0, 0, 0),
      tlv(0x21, 'TLSv1.3'),
      tlv(0x22, 'Jürgen'),
      tlv(0x23, 'TLS_AES_256_GCM_SHA384'),
      tlv(0x24, 'RSA-SHA256'),
      tlv(0x25, 'RSA2048')
    ])
    const list = [
      tlv(1, 'h2'),
      tlv(2, 'exämple.com'),
      tlv(4, 'padding'),
      tlv(5, Buffer.of(0, 1, 255)),
      tlv(0x20, ssl),
      tlv(0x30, 'blue'),
      tlv(0xea, '\x01vpce-08d2bf15fac5001c9'),
      tlv(0xee, Buffer.of(1, 0x78, 0x56, 0x34, 0x12)),
      tlv(0xe0, '')
    ]
    const { proxy } = await seen(inet('203.0.113.7', 1, ...list))
    expect(proxy).toMatchObject({
      alpn: 'h2',
      authority: 'exämple.com',
      uniqueId: Buffer.of(0, 1, 255),
      netns: 'blue',
      awsVpcEndpointId: 'vpce-08d2bf15fac5001c9',
      azureLinkId: 0x12345678,
      ssl: {
        secure: true,
        certificate: true,
        certificateInSession: false,
        verified: true,
        version: 'TLSv1.3',
        commonName: 'Jürgen',
        cipher: 'TLS_AES_256_GCM_SHA384',
        signatureAlgorithm: 'RSA-SHA256',
        keyAlgorithm: 'RSA2048'
      }
    })
    expect(proxy?.tlvs.map(({ type, value }) => tlv(type, value))).toEqual(list)
    expect(proxy?.tlv(0xe0)).toEqual(Buffer.alloc(0))
  })

  test('that are not there, or make no sense, are undefined', async () => {
    const bad = [tlv(0x20, Buffer.of(1, 0, 0)), tlv(0xea, '\x02other'), tlv(0xee, Buffer.of(1, 2))]
    const { proxy } = await seen(inet('203.0.113.7', 1, ...bad))
    const { alpn, authority, uniqueId, netns, ssl, awsVpcEndpointId, azureLinkId } = proxy ?? {}
    expect({ alpn, authority, uniqueId, netns, ssl, awsVpcEndpointId, azureLinkId }).toEqual({})
    expect((await seen(inet('203.0.113.7', 1, tlv(0x20, Buffer.of(1, 0, 0, 0, 1))))).proxy?.ssl).toMatchObject({
      secure: true,
      certificate: false,
      verified: false,
      cipher: undefined
    })
  })

  test('a checksum is checked', async () => {
    const header = withChecksum(inet('203.0.113.7', 1, tlv(2, 'example.com'), tlv(3, Buffer.alloc(4))))
    expect((await seen(header)).remoteAddress).toBe('203.0.113.7')
    const { server, port } = await start()
    const wrong = Buffer.from(header)
    wrong[17] = 9
    expect(await refused(port, wrong)).toBe('ECONNRESET')
    expect(listenerStats(server)?.proxyErrors).toEqual({ badChecksum: 1 })
  })
})

describe('however the bytes come', () => {
  const packets = Buffer.concat([frame('one'), frame(pattern(3000)), frame('two')])
  const headers: readonly (readonly [string, Buffer])[] = [
    ['version 1', line('203.0.113.7', 1)],
    ['version 2', inet('203.0.113.7', 1, tlv(5, pattern(100)))]
  ]

  test.each(headers)('a byte at a time, %s', async (_, header) => {
    const { server, port } = await start()
    const opened = nextConnection(server)
    const client = await RawClient.open(port)
    const all = Buffer.concat([header, frame('x')])
    for (const byte of all.subarray(0, 40)) {
      await client.write(Buffer.of(byte))
      await pause(1)
    }
    await client.write(all.subarray(40))
    expect(await client.read(5)).toEqual(frame('x'))
    expect((await opened).remoteAddress).toBe('203.0.113.7')
  })

  test.each(headers)('cut anywhere, %s', { timeout: 60_000 }, async (_, header) => {
    const roll = random(5)
    const { port } = await start()
    const all = Buffer.concat([header, packets])
    for (let round = 0; round < 60; round++) {
      const client = await RawClient.open(port)
      const cut = round < header.length ? round : roll(all.length)
      await client.write(all.subarray(0, cut))
      if (round % 3 === 0) await pause(1)
      await client.write(all.subarray(cut))
      expect(await client.read(packets.length)).toEqual(packets)
      client.reset()
    }
  })

  test('with the end of the peer behind it', async () => {
    const { port } = await start()
    const client = await RawClient.open(port, { allowHalfOpen: true })
    client.socket.end(Buffer.concat([line('203.0.113.7', 1), packets]))
    expect(await client.readToEnd()).toEqual(packets)
    expect(client.over).toBe('end')
  })

  test('large ones fill no memory while JavaScript is behind, and none is late because of that', async () => {
    const { server, port } = await startServer({
      proxyProtocol: { from, maxHeader: 65_551, timeout: 500 },
      delivery: { total: '64KiB' }
    })
    const sockets = await Promise.all(Array.from({ length: 100 }, () => openSocket(port)))
    await pause(100)
    const header = inet('203.0.113.7', 1, tlv(0xe0, Buffer.alloc(60_000)))
    for (const socket of sockets) socket.write(header)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500)
    await until('all are there', () => server.connections.size === 100)
    expect(server.stats()?.delivery.peakBytes).toBeLessThan(1024 * 1024)
    expect(counter(server, 'refused')).toBe(0)
  })

  test('while the event loop is blocked, and with receive on demand', async () => {
    const { server, port } = await startServer({
      proxyProtocol: { from, timeout: 300 },
      receive: 0,
      delivery: { total: '64KiB' }
    })
    const sockets = await Promise.all(Array.from({ length: 20 }, () => openSocket(port)))
    for (const [index, socket] of sockets.entries())
      socket.write(Buffer.concat([inet(`203.0.113.${index}`, 1), frame(pattern(9000))]))
    await pause(100)
    const end = performance.now() + 600
    while (performance.now() < end);
    await until('all are there', () => server.connections.size === 20)
    expect(counter(server, 'refused')).toBe(0)
    expect([...server.connections].map(({ remoteAddress }) => remoteAddress).toSorted()).toEqual(
      Array.from({ length: 20 }, (_, index) => `203.0.113.${index}`).toSorted()
    )
  })
})

describe('who does not send a proper one', () => {
  const cases: readonly (readonly [string, Uint8Array, string])[] = [
    ['a packet', frame('hello'), 'noHeader'],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'noHeader'],
    ['a line without its end', Buffer.from(`PROXY ${'x'.repeat(200)}`), 'lineTooLong'],
    ['a line with LF', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n'), 'badLineEnd'],
    ['another protocol', Buffer.from('PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n'), 'badProtocol'],
    ['no address', Buffer.from('PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n'), 'badAddress'],
    ['no port', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n'), 'badPort'],
    ['version 3', Buffer.concat([block(0, 0).subarray(0, 12), Buffer.of(0x31, 0, 0, 0)]), 'badVersion'],
    ['another command', block(2, 0x11, Buffer.alloc(12)), 'badCommand'],
    ['another family', block(1, 0x41, Buffer.alloc(12)), 'badFamily'],
    ['half an address', block(1, 0x11, Buffer.alloc(11)), 'shortAddress'],
    ['half a TLV', inet('1.2.3.4', 1, Buffer.of(1, 0, 9)), 'badTlv'],
    ['too many bytes', inet('1.2.3.4', 1, tlv(4, Buffer.alloc(5000))), 'tooLarge']
  ]

  test.each(cases)('%s is refused', async (_, bytes, error) => {
    const { server, port } = await start()
    expect(await refused(port, bytes)).toBe('ECONNRESET')
    expect(listenerStats(server)).toMatchObject({ proxyErrors: { [error]: 1 }, unannounced: 0 })
  })

  test('nobody hears of each of them, and all are told together', async () => {
    const { server, port } = await start()
    const events: string[] = []
    server.on('connection', () => events.push('connection'))
    server.on('disconnect', () => events.push('disconnect'))
    server.on('refused', ({ total, reasons }) => events.push(`${total} ${JSON.stringify(reasons)}`))
    for (const [, bytes] of cases) await refused(port, bytes)
    await until(() => events.length > 0)
    expect(events).toEqual([`${cases.length} {"proxyHeader":${cases.length}}`])
    expect(server.stats()?.access?.refused).toMatchObject({ proxyHeader: cases.length })
    expect(server.stats()?.connections).toEqual({ now: 0, peak: 0, total: 0 })
    // Native code tells of nothing but that.
    expect(counter(server, 'records')).toBe(1)
    expect([counter(server, 'accepts'), counter(server, 'refused'), counter(server, 'closes')]).toEqual([
      ...[0, cases.length],
      0
    ])
  })

  test('only some versions are accepted', async () => {
    const { server, port } = await start({}, { versions: [2] })
    expect(await refused(port, line('1.2.3.4', 1))).toBe('ECONNRESET')
    expect(listenerStats(server)?.proxyErrors).toEqual({ versionNotAllowed: 1 })
    const other = await start({}, { versions: [1] })
    expect(await refused(other.port, inet('1.2.3.4', 1))).toBe('ECONNRESET')
  })

  test('a longer one is accepted where the limit is higher', async () => {
    const { server, port } = await start({}, { maxHeader: '64KiB' })
    const opened = nextConnection(server)
    ;(await openSocket(port)).write(inet('203.0.113.7', 1, tlv(0xe0, pattern(60_000))))
    expect((await opened).proxy?.tlv(0xe0)).toEqual(pattern(60_000))
  })

  test('who is late is refused, also with a part of it, and the others are not', async () => {
    const { server, port } = await start({}, { timeout: 250 })
    const early = await RawClient.open(port)
    await early.write(Buffer.concat([line('203.0.113.7', 1), frame('x')]))
    await early.read(5)
    const begin = performance.now()
    const clients = await Promise.all(
      ['', 'PROXY TCP4 1.2', '\r\n\r\n'].map((text) =>
        RawClient.open(port).then((client) => {
          client.socket.write(text)
          return client
        })
      )
    )
    for (const client of clients) {
      await client.readToEnd()
      expect(client.over).toBe('ECONNRESET')
    }
    const passed = performance.now() - begin
    expect(passed).toBeGreaterThan(200)
    expect(passed).toBeLessThan(3000)
    expect(server.stats()?.access?.refused).toMatchObject({ proxyTimeout: 3, proxyHeader: 0 })
    await early.write(frame('y'))
    expect(await early.read(5)).toEqual(frame('y'))
  })

  test('who leaves before is counted as such', async () => {
    const { server, port } = await start()
    const socket = await openSocket(port)
    socket.end('PROXY TCP4 ')
    await until(() => counter(server, 'acceptFailures') === 1)
    const other = await openSocket(port)
    await until(() => listenerStats(server)?.unannounced === 1)
    other.resetAndDestroy()
    await until(() => counter(server, 'acceptFailures') === 2)
    expect(listenerStats(server)?.unannounced).toBe(0)
    expect(counter(server, 'refused')).toBe(0)
  })
})

describe('who is no balancer', () => {
  test('is an ordinary client, whose header is data', async () => {
    const { server, port } = await startServer({ proxyProtocol: { from: ['127.0.0.2'] }, framing: framing.line() })
    const opened = nextConnection(server)
    const packet = first<Buffer>(server, 'packet')
    ;(await openSocket(port)).write(line('203.0.113.7', 1))
    const connection = await opened
    expect(connection).toMatchObject({
      remoteAddress: HOST,
      proxyAddress: undefined,
      proxyPort: undefined,
      proxy: undefined
    })
    expect(String(await packet)).toMatch(/^PROXY TCP4 203\.0\.113\.7 /)
    expect(counter(server, 'refused')).toBe(0)
  })

  test('breaks the protocol with a header, where the framing cannot read it', async () => {
    const { server, port } = await startServer({
      proxyProtocol: { from: ['127.0.0.2'] },
      access: { banOn: { protocolError: true } }
    })
    for (const [index, header] of [line('203.0.113.7', 1), inet('203.0.113.7', 1)].entries()) {
      const ended = first<{ cause: string }>(server, 'disconnect')
      ;(await openSocket(port, { localAddress: `127.0.0.${10 + index}` })).write(header)
      expect((await ended).cause).toBe('protocol-error')
    }
    expect(server.access.test('127.0.0.10')).toBe('banned')
    expect(server.access.test('203.0.113.7')).toBeUndefined()
  })

  test('and the balancers may be given as a net.BlockList', async () => {
    const list = new BlockList()
    list.addRange('127.0.0.5', '127.0.0.9')
    const { server, port } = await start({}, { from: list })
    for (const [last, address] of [
      [6, '203.0.113.7'],
      [10, '127.0.0.10']
    ] as const) {
      const opened = nextConnection(server)
      const socket = await openSocket(port, { localAddress: `127.0.0.${last}` })
      if (last === 6) socket.write(line('203.0.113.7', 1))
      expect((await opened).remoteAddress).toBe(address)
    }
  })
})

describe('who may connect', () => {
  test('only who comes through a balancer, where others are not wanted', async () => {
    const { server, port } = await start({}, { direct: false })
    const told = first<RefusedInfo>(server, 'refused')
    const stranger = await openSocket(port, { localAddress: '127.0.0.9' })
    await isGone(stranger)
    expect((await told).reasons).toEqual({ denied: 1 })
    expect(server.stats()?.access?.refused).toMatchObject({ denied: 1 })
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([inet('203.0.113.7', 1), frame('x')]))
    expect(await client.read(5)).toEqual(frame('x'))
    // Without a header nobody is a client.
    expect(server.connections.size).toBe(1)
  })

  /** Whether a client comes in by way of the balancer. */
  async function comes(port: number, address: string): Promise<RawClient | undefined> {
    const client = await RawClient.open(port)
    client.socket.write(
      Buffer.concat([address.includes(':') ? line(address, 1, '::1', 2) : line(address, 1), frame('x')])
    )
    try {
      await client.read(5)
      return client
    } catch {
      return undefined
    }
  }

  test('is decided by the address of the client', async () => {
    const { server, port } = await start({
      access: { deny: ['203.0.113.0/28', HOST, '2001:db8::/32'], allow: ['203.0.113.3'] }
    })
    expect(await comes(port, '203.0.113.2')).toBeUndefined()
    expect(await comes(port, '2001:db8::7')).toBeUndefined()
    expect(await comes(port, '203.0.113.3')).toBeDefined()
    expect(await comes(port, '203.0.113.99')).toBeDefined()
    server.access.ban('203.0.113.99')
    expect(await comes(port, '203.0.113.99')).toBeUndefined()
    expect(server.stats()?.access?.refused).toMatchObject({ denied: 2, banned: 1, proxyHeader: 0 })
    expect(server.stats()?.access?.connections).toBe(2)
  })

  test('counts for each client, not for the balancer', async () => {
    const { server, port } = await start({ access: { maxPerAddress: 2, connectRate: { count: 3, per: '1h' } } })
    for (let index = 1; index <= 30; index++) expect(await comes(port, `203.0.113.${index}`)).toBeDefined()
    const one = await comes(port, '203.0.113.1')
    expect(one).toBeDefined()
    expect(await comes(port, '203.0.113.1')).toBeUndefined()
    expect(server.stats()?.access?.refused).toMatchObject({ maxPerAddress: 1 })
    one?.reset()
    await until(() => server.stats()?.access?.connections === 30)
    expect(await comes(port, '203.0.113.1')).toBeDefined()
    expect(await comes(port, '203.0.113.1')).toBeUndefined()
  })

  test('bans the client for what comes from it, and the balancer never', async () => {
    const { server, port } = await start({ access: { banOn: { protocolError: true } } })
    for (const header of [line('203.0.113.7', 1), block(0, 0)]) {
      const ended = first<{ cause: string }>(server, 'disconnect')
      ;(await openSocket(port)).write(Buffer.concat([header, Buffer.of(255, 255, 255, 255)]))
      expect((await ended).cause).toBe('protocol-error')
    }
    expect(server.access.bans().map(({ prefix }) => prefix)).toEqual(['203.0.113.7'])
    expect(await comes(port, '203.0.113.8')).toBeDefined()
  })

  test('maxConnections counts from the accept', async () => {
    const { server, port } = await start({ maxConnections: 2 })
    const waiting = await openSocket(port)
    await until(() => listenerStats(server)?.unannounced === 1)
    expect(await comes(port, '203.0.113.1')).toBeDefined()
    expect(await comes(port, '203.0.113.2')).toBeUndefined()
    expect(server.stats()?.access?.refused).toMatchObject({ maxConnections: 1 })
    waiting.destroy()
    await until(() => listenerStats(server)?.unannounced === 0)
    expect(await comes(port, '203.0.113.3')).toBeDefined()
  })
})

describe('limits of a connection', () => {
  test('time counts from the end of the header, and nobody hears of it before', async () => {
    const { server, port } = await start({ timeouts: { firstPacket: 300, idle: { read: 100, action: 'event' } } })
    const events: string[] = []
    server.on('idle', () => events.push('idle'))
    const client = await RawClient.open(port)
    await pause(600)
    expect(events).toEqual([])
    expect(listenerStats(server)?.unannounced).toBe(1)
    const ended = first<{ cause: string }>(server, 'disconnect')
    const begin = performance.now()
    await client.write(line('203.0.113.7', 1))
    expect((await ended).cause).toBe('first-packet-timeout')
    expect(performance.now() - begin).toBeGreaterThan(250)
    expect(events.length).toBeGreaterThan(0)
  })

  test('bytes count from the end of the header', async () => {
    const { server, port } = await start({ byteRate: { bytes: 1000, per: '1h', burst: 1000, onExceed: 'ban' } })
    const header = inet('203.0.113.7', 1, tlv(0xe0, pattern(3000)))
    const client = await RawClient.open(port)
    await client.write(Buffer.concat([header, frame(pattern(900))]))
    expect(await client.read(904)).toEqual(frame(pattern(900)))
    const ended = first<{ cause: string }>(server, 'disconnect')
    await client.write(frame(pattern(200)))
    expect((await ended).cause).toBe('rate-exceeded')
    expect(server.access.bans().map(({ prefix }) => prefix)).toEqual(['203.0.113.7'])
    // Also those that come with the header; and the balancer itself is not banned.
    for (const front of [line('203.0.113.8', 1), block(0, 0)]) {
      const over = first<{ cause: string }>(server, 'disconnect')
      ;(await openSocket(port)).write(Buffer.concat([front, frame(pattern(1500))]))
      expect((await over).cause).toBe('rate-exceeded')
    }
    expect(
      server.access
        .bans()
        .map(({ prefix }) => prefix)
        .toSorted()
    ).toEqual(['203.0.113.7', '203.0.113.8'])
  })
})

describe('the end of the server', () => {
  test.each([
    ['with a deadline', { deadline: '5s' }],
    ['at once', { deadline: 0 }]
  ] as const)('at each step of the header, %s', async (_, options) => {
    const header = inet('203.0.113.7', 1)
    const cuts = [0, 1, 12, 16, 20, header.length - 1, header.length]
    const { server, port } = await start()
    const sockets: Socket[] = []
    for (const cut of cuts) {
      // Who is not known yet is not waited for, not even while it does not end its side.
      const socket = await openSocket(port, { allowHalfOpen: cut < header.length })
      if (cut > 0) socket.write(header.subarray(0, cut))
      sockets.push(socket)
    }
    await until(() => server.connections.size === 1 && listenerStats(server)?.unannounced === cuts.length - 1)
    const events: string[] = []
    server.on('disconnect', () => events.push('disconnect'))
    const ends = sockets.map(gone)
    const begin = performance.now()
    const report = await server.close(options)
    expect(performance.now() - begin).toBeLessThan(3000)
    expect(report.drained + report.cut).toBe(1)
    expect(events).toEqual(['disconnect'])
    await Promise.all(ends)
  })

  test('who has sent its header when the server is closing does not come in, while jobs still run', async () => {
    const { server, port } = await startWorkers({}, { proxyProtocol: { from } })
    const worker = await openSocket(port)
    // A client's, and the balancer's own.
    const header = inet('203.0.113.7', 1)
    const own = block(0, 0)
    worker.resume().write(Buffer.concat([header, frame(numbered(packetTypes.slow, 1))]))
    await first(server, 'connection')
    const late = [await openSocket(port), await openSocket(port)]
    late[0]?.write(header.subarray(0, 20))
    late[1]?.write(own.subarray(0, 10))
    await until(() => listenerStats(server)?.unannounced === 2 && server.workers.running === 1)
    const opened: unknown[] = []
    server.on('connection', (connection) => opened.push(connection))
    const closing = server.close({ deadline: '10s' })
    await pause(50)
    late[0]?.write(Buffer.concat([header.subarray(20), frame('x')]))
    late[1]?.write(Buffer.concat([own.subarray(10), frame('x')]))
    await Promise.all(late.map(isGone))
    worker.end()
    await closing
    expect(opened).toEqual([])
  })

  test('while headers come', { timeout: 60_000 }, async () => {
    for (let round = 0; round < 15; round++) {
      const { server, port } = await start()
      let opened = 0
      let closed = 0
      server.on('connection', () => opened++)
      server.on('disconnect', () => closed++)
      const sockets = await Promise.all(Array.from({ length: 20 }, () => openSocket(port)))
      for (const socket of sockets) {
        socket.resume()
        socket.write(Buffer.concat([inet('203.0.113.7', 1), frame('x')]))
      }
      await pause(round % 5)
      const report = await server.close({ deadline: round % 2 === 0 ? 0 : 2000 })
      expect(closed).toBe(opened)
      if (round % 2 === 1) expect(report.drained + report.cut).toBe(opened)
    }
  })

  test('2,000 peers that vanish in the middle leave nothing', { timeout: 120_000 }, async () => {
    const { server, port } = await start({ access: { maxPerAddress: 100 } })
    const header = Buffer.concat([inet('203.0.113.7', 1, tlv(5, pattern(60)))])
    const roll = random(9)
    for (let round = 0; round < 20; round++) {
      const sockets = await Promise.all(Array.from({ length: 100 }, () => openSocket(port)))
      for (const [index, socket] of sockets.entries()) {
        socket.write(header.subarray(0, roll(header.length)))
        if (index % 2 === 0) socket.resetAndDestroy()
        else socket.destroy()
      }
    }
    await until(
      'all have gone',
      () => counter(server, 'acceptFailures') >= 1900 && listenerStats(server)?.unannounced === 0
    )
    const { access, connections, pools } = server.stats() ?? {}
    expect(access).toMatchObject({ connections: 0, addresses: 0 })
    expect(connections).toEqual({ now: 0, peak: 0, total: 0 })
    expect(pools?.contexts.inUse).toBe(0)
    expect(pools?.readBuffers.inUse).toBe(0)
    expect(server.connections.size).toBe(0)
  })
})

test('a broadcast does not reach who has not sent its header, nor does one of a worker', async () => {
  const { server, port } = await startWorkers({}, { proxyProtocol: { from } })
  const [waiting, reader, sender] = [await RawClient.open(port), await RawClient.open(port), await RawClient.open(port)]
  for (const [index, client] of [reader, sender].entries()) await client.write(line(`203.0.113.${index}`, 1))
  await until(() => server.connections.size === 2)
  expect(server.broadcast('news')).toMatchObject({ sent: 2 })
  expect(await reader.read(8)).toEqual(frame('news'))
  // A worker's goes to all but the sender, natively.
  const packet = frame(numbered(0x20, 1))
  await sender.write(packet)
  expect(await reader.read(packet.length)).toEqual(packet)
  const echo = frame(numbered(packetTypes.echo, 2))
  await waiting.write(Buffer.concat([line('203.0.113.8', 1), echo]))
  expect(await waiting.read(echo.length)).toEqual(echo)
})

describe('every framing behind it', () => {
  const kinds: readonly (readonly [string, FramingOption, Uint8Array])[] = [
    ['lengthField', framing.lengthField(), frame('abc')],
    ['line', framing.line(), Buffer.from('abc\n')],
    ['delimiter', framing.delimiter({ delimiters: ['|'] }), Buffer.from('abc|')],
    ['fixed', framing.fixed({ bytes: 3 }), Buffer.from('abc')],
    ['varint', framing.varint(), Buffer.from('\x03abc')],
    ['erlang', framing.erlang(4), frame('abc')],
    ['hpSocketPack', framing.hpSocketPack({ flag: 0 }), Buffer.from([3, 0, 0, 0, 97, 98, 99])],
    ['raw', framing.raw(), Buffer.from('abc')]
  ]
  test.each(kinds)('%s', async (_, option, wire) => {
    const { server, port } = await startServer({ proxyProtocol: { from }, framing: option })
    const packet = first<Buffer>(server, 'packet')
    ;(await openSocket(port)).write(Buffer.concat([inet('203.0.113.7', 1), wire]))
    expect(String(await packet)).toBe('abc')
  })

  test('a stream', async () => {
    const { server, port } = await startServer({
      proxyProtocol: { from },
      framing: framing.lengthField({ maxPacket: '4MiB', streamAbove: '64KiB' })
    })
    const big = pattern(1_000_000)
    const stream = first<PacketStream>(server, 'stream')
    ;(await openSocket(port)).write(Buffer.concat([line('203.0.113.7', 1), frame(big)]))
    const parts: Buffer[] = []
    for await (const part of await stream) parts.push(part as Buffer)
    expect(Buffer.concat(parts).equals(big)).toBe(true)
  })
})

test('packets behind it go to the workers', async () => {
  const { server, port } = await startWorkers({}, { proxyProtocol: { from } })
  server.on('packet', () => expect.unreachable())
  const client = await RawClient.open(port)
  const packet = frame(numbered(packetTypes.echo, 1))
  await client.write(Buffer.concat([inet('203.0.113.7', 1), packet, packet]))
  expect(await client.read(2 * packet.length)).toEqual(Buffer.concat([packet, packet]))
  expect([...server.connections].map(({ remoteAddress }) => remoteAddress)).toEqual(['203.0.113.7'])
})

describe('files behind it', () => {
  test('framed, in both directions', async () => {
    const { from: source, to } = folders()
    const { server, port } = await startServer({ proxyProtocol: { from }, framing: typed, transfer: { directory: to } })
    const opened = nextConnection(server)
    // The offer may come in the same batch.
    const received = new Promise<ReceivedFile>((resolve) => {
      server.once('connection', (connection) => {
        resolve(acceptNext(connection, { directory: to }))
      })
    })
    const proxyProtocol = { source: { address: '203.0.113.7', port: 1 } }
    const client = await connect({ host: HOST, port, framing: typed, transfer: { directory: to }, proxyProtocol })
    // The offer is the first thing behind the header.
    const path = makeFile(source, 300_000)
    expect(await client.sendFile(path)).toMatchObject({ bytes: 300_000 })
    expect(await sha256((await received).path)).toBe(await sha256(path))
    const connection = await opened
    expect(connection.remoteAddress).toBe('203.0.113.7')
    const back = acceptNext(client, { directory: to, overwrite: 'rename' })
    await connection.sendFile(path)
    expect(await sha256((await back).path)).toBe(await sha256(path))
    client.destroy()
  })

  test('raw, by TransmitFile as the first bytes of all', async () => {
    const { from: source } = folders()
    const { server, port } = await startServer({ proxyProtocol: { from }, framing: framing.raw() })
    const parts: Buffer[] = []
    server.on('packet', (packet) => parts.push(Buffer.from(packet)))
    const opened = nextConnection(server)
    const client = await connect({
      host: HOST,
      port,
      framing: framing.raw(),
      transfer: { method: 'transmit' },
      proxyProtocol: { version: 1, source: { address: '203.0.113.7', port: 1 } }
    })
    const path = makeFile(source, 200_000)
    await client.sendFile(path, { mode: 'raw' })
    client.end()
    expect((await opened).remoteAddress).toBe('203.0.113.7')
    await until(() => parts.reduce((sum, part) => sum + part.length, 0) === 200_000)
    expect(Buffer.concat(parts).equals(readFileSync(path))).toBe(true)
  })
})

describe('connect sends one', () => {
  /** What a plain server receives first from a connection, after which a packet comes. */
  async function received(proxyProtocol: ProxyHeaderOptions, size: number) {
    const server = createPlainServer()
    onTestFinished(() => {
      server.close()
    })
    server.listen(0, HOST)
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const connection = await connect({ host: HOST, port, proxyProtocol })
    connection.send('packet')
    const [socket] = await accepted
    onTestFinished(() => {
      socket.destroy()
      connection.destroy()
    })
    const parts: Buffer[] = []
    while (Buffer.concat(parts).length < size + 10) parts.push((await once(socket, 'data'))[0] as Buffer)
    const all = Buffer.concat(parts)
    expect(all.subarray(size)).toEqual(frame('packet'))
    return { header: all.subarray(0, size), port, local: connection.localPort ?? 0, connection }
  }

  test('version 1 with the ends of the socket', async () => {
    // The size depends on the ports.
    const { server, port } = await startServer({ proxyProtocol: { from } })
    const opened = nextConnection(server)
    const connection = await connect({ host: HOST, port, proxyProtocol: { version: 1 } })
    const other = await opened
    expect(other).toMatchObject({ remoteAddress: HOST, remotePort: connection.localPort })
    expect(other.proxy).toMatchObject({ version: 1, source: { port: connection.localPort }, destination: { port } })
    connection.destroy()
    const size = 'PROXY TCP4 203.0.113.7 192.0.2.1 1 65535\r\n'.length
    const source = { address: '203.0.113.7', port: 1 }
    const { header } = await received({ version: 1, source, destination: { address: '192.0.2.1', port: 65_535 } }, size)
    expect(String(header)).toBe('PROXY TCP4 203.0.113.7 192.0.2.1 1 65535\r\n')
  })

  test('version 2, LOCAL, a family that is not that of the socket, TLVs and a checksum', async () => {
    const { header, port, local } = await received({}, 28)
    expect(header.subarray(0, 16)).toEqual(block(1, 0x11, Buffer.alloc(12)).subarray(0, 16))
    expect(header.readUInt16BE(24)).toBe(local)
    expect(header.readUInt16BE(26)).toBe(port)
    expect((await received({ command: 'LOCAL' }, 16)).header).toEqual(block(0, 0))
    expect((await received({ version: 1, command: 'LOCAL' }, 15)).header.toString()).toBe('PROXY UNKNOWN\r\n')
    const six = (await received({ source: { address: '2001:db8::7', port: 9 } }, 52)).header
    expect(six.subarray(16, 32).toString('hex')).toBe('20010db8000000000000000000000007')
    expect(six.subarray(32, 48).toString('hex')).toBe('00000000000000000000ffff7f000001')
    const tlvs = [
      { type: 1, value: 'h2' },
      { type: 3, value: Buffer.alloc(4) },
      { type: 5, value: Buffer.of(1, 2) }
    ]
    const ends = { source: { address: '203.0.113.7', port: 1 }, destination: { address: '198.51.100.1', port: 443 } }
    const whole = withChecksum(inet('203.0.113.7', 1, tlv(1, 'h2'), tlv(5, Buffer.of(1, 2)), tlv(3, Buffer.alloc(4))))
    expect((await received({ ...ends, tlvs, checksum: true }, whole.length)).header).toEqual(whole)
  })

  test('from end to end, and on to the next one', async () => {
    const { server, port } = await start()
    const opened = nextConnection(server)
    const tlvs = [{ type: 0xe0, value: 'mine' }]
    const client = await connect({
      host: HOST,
      port,
      proxyProtocol: { source: { address: '203.0.113.7', port: 7 }, tlvs, checksum: true }
    })
    const middle = await opened
    expect(middle).toMatchObject({ remoteAddress: '203.0.113.7', remotePort: 7, proxyPort: client.localPort })
    const again = nextConnection(server)
    const next = await connect({ host: HOST, port, proxyProtocol: { forward: middle } })
    expect((await again).proxy?.tlvs).toEqual([{ type: 0xe0, value: Buffer.from('mine') }])
    expect((await again).remoteAddress).toBe('203.0.113.7')
    next.send('x')
    expect(String(await first<Buffer>(next, 'packet'))).toBe('x')
    client.destroy()
    next.destroy()
  })

  test('before packets that are dropped, and beside the limits of the queue', async () => {
    const { server, port } = await start({}, {})
    const opened = nextConnection(server)
    const connection = await connect({
      host: HOST,
      port,
      proxyProtocol: { tlvs: [{ type: 0xe0, value: pattern(3000) }] },
      backpressure: { highWater: 100, hardCap: 104, hardCapPackets: 1, onOverflow: 'drop-oldest' }
    })
    // The limit holds for packets: one of exactly the cap is accepted while the header is still there.
    expect(['sent', 'queued']).toContain(connection.send(pattern(100)))
    for (let index = 0; index < 50; index++) connection.send('drop')
    expect((await opened).proxy?.tlv(0xe0)).toEqual(pattern(3000))
    await until(() => (connection.stats()?.queuedPackets ?? 1) === 0)
    connection.send('last')
    for await (const packet of connection) if (String(packet) === 'last') break
    connection.destroy()
  })

  test('with each connection of one that reconnects', async () => {
    const { server, port } = await startServer({ proxyProtocol: { from } })
    const addresses: (string | undefined)[] = []
    server.on('connection', (connection) => {
      addresses.push(connection.remoteAddress)
      if (addresses.length < 3) connection.reset()
    })
    const link = await connect({
      host: HOST,
      port,
      proxyProtocol: { version: 1, source: { address: '203.0.113.7', port: 7 } },
      reconnect: { minDelay: 1, maxDelay: 2 }
    })
    await until(() => addresses.length === 3)
    expect(new Set(addresses)).toEqual(new Set(['203.0.113.7']))
    link.destroy()
  })
})

describe('a connection is passed on to another server', () => {
  /** What the second server says of a connection whose first bytes are these, and the connection in between. */
  async function passedOn(bytes: Uint8Array, header: ProxyHeaderOptions = {}, options?: ServerOptions) {
    const middle = await (options === undefined ? start() : startEcho(options))
    const last = await start()
    const opened = nextConnection(middle.server)
    const client = await RawClient.open(middle.port)
    await client.write(Buffer.concat([bytes, frame('x')]))
    const connection = await opened
    const seenLast = nextConnection(last.server)
    const next = await connect({ host: HOST, port: last.port, proxyProtocol: { forward: connection, ...header } })
    next.send('hello')
    expect(String(await first<Buffer>(next, 'packet'))).toBe('hello')
    onTestFinished(() => {
      next.destroy()
    })
    return { connection, next, seen: await seenLast }
  }

  test('which sees the same client, destination and TLVs', async () => {
    const header = withChecksum(
      inet('203.0.113.7', 40_000, tlv(2, 'example.com'), tlv(0xe0, 'blue'), tlv(3, Buffer.alloc(4)))
    )
    const { connection, next, seen } = await passedOn(header, { checksum: true })
    const { source, destination, command, family } = connection.proxy ?? {}
    expect(seen.proxy).toMatchObject({ source, destination, command, family, authority: 'example.com' })
    expect(seen.proxy?.destination).toEqual({ address: '198.51.100.1', port: 443, family: 'IPv4' })
    expect(seen).toMatchObject({ remoteAddress: '203.0.113.7', remotePort: 40_000, proxyPort: next.localPort })
    expect(seen.proxy?.tlvs.map(({ type }) => type)).toEqual([2, 0xe0, 3])
    // The checksum of a header is its own: it is neither kept nor missed.
    expect((await passedOn(header)).seen.proxy?.tlvs.map(({ type }) => type)).toEqual([2, 0xe0])
  })

  test('in the other version too', async () => {
    const old = await passedOn(line('2001:db8::7', 5, '2001:db8::1', 6))
    expect(old.seen.proxy).toMatchObject({ version: 2, ...ends(old.connection) })
    const binary = await passedOn(inet('203.0.113.7', 1, tlv(2, 'example.com')), { version: 1 })
    expect(binary.seen.proxy).toMatchObject({ version: 1, ...ends(binary.connection), tlvs: [] })
  })

  test.each([
    ['LOCAL', block(0, 0, tlv(5, 'check'))],
    ['a socket of Unix', block(1, 0x31, Buffer.alloc(216), tlv(5, 'check'))],
    ['UDP', block(1, 0x12, Buffer.alloc(12), tlv(5, 'check'))]
  ])('and stays what it is: %s', async (_, bytes) => {
    const { next, seen } = await passedOn(bytes)
    expect(seen.proxy).toMatchObject({ command: 'LOCAL', source: undefined, uniqueId: Buffer.from('check') })
    expect(seen).toMatchObject({ remoteAddress: HOST, remotePort: next.localPort })
  })

  test('of a peer that has come directly', async () => {
    for (const options of [{}, { proxyProtocol: { from: ['192.0.2.1'] } }]) {
      const { connection, seen } = await passedOn(Buffer.alloc(0), {}, options)
      expect(connection.proxy).toBeUndefined()
      expect(seen).toMatchObject({ remoteAddress: HOST, remotePort: connection.remotePort })
      expect(seen.proxy).toMatchObject({
        command: 'PROXY',
        destination: { address: HOST, port: connection.localPort }
      })
    }
  })

  test('when it has closed, and by a link', async () => {
    const { connection } = await passedOn(inet('203.0.113.7', 1))
    connection.destroy()
    await connection.closed
    const last = await start()
    const link = await connect({
      ...{ host: HOST, port: last.port, proxyProtocol: { forward: connection } },
      reconnect: { minDelay: 1, maxDelay: 1 }
    })
    onTestFinished(() => {
      link.destroy()
    })
    for (let count = 0; count < 2; count++) {
      await until(() => last.server.connections.size === 1)
      const [seen] = last.server.connections
      expect(seen?.proxy).toMatchObject(ends(connection))
      const opened = nextConnection(last.server)
      seen?.reset()
      await opened
    }
  })

  const ends = ({ proxy }: Connection) => ({ source: proxy?.source, destination: proxy?.destination })
})
