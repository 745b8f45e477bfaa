// Compiled, not run: what the public types allow and what they do not.
import { once } from 'node:events'
import {
  type BroadcastResult,
  type CloseCause,
  type CloseInfo,
  connect,
  type Connection,
  createClient,
  createServer,
  type DropInfo,
  type FileOffer,
  type Framing,
  framing,
  hostAddresses,
  IocpError,
  type IocpErrorCode,
  PacketReader,
  PacketWriter,
  type ReceivedFile,
  type ReconnectingConnection,
  type RetryInfo,
  type SendOutcome,
  type SendState,
  type SentFile,
  type Server,
  type ServerOptions
} from 'iocp'

declare function test(name: string, body: () => unknown): void
declare function exact<T>(): <U>(value: U & ([T] extends [U] ? ([U] extends [T] ? unknown : never) : never)) => void
declare const server: Server
declare const connection: Connection

test('options of a server', () => {
  createServer()
  createServer({}, (accepted) => accepted.send('x'))
  const options: ServerOptions = {
    framing: { receive: framing.line(), send: framing.erlang(4) },
    ioThreads: 4,
    delivery: { total: '16MiB', perConnection: 65_536 },
    receive: 5,
    keepAlive: { delay: '10s' },
    backpressure: { highWater: '1MiB', onOverflow: 'drop-oldest' }
  }
  createServer(options)
  // @ts-expect-error there is no such option
  createServer({ maxConnection: 5 })
  // @ts-expect-error not a policy
  createServer({ backpressure: { onOverflow: 'block' } })
  // @ts-expect-error a framing comes from a builder
  createServer({ framing: { kind: 'raw' } })
  createServer((accepted) => accepted.end('goodbye'))
  // @ts-expect-error options come before the listener
  createServer((accepted: Connection) => accepted.end(), {})
})

test('data of connections', async () => {
  interface User {
    name: string
  }
  const typed = createServer<User>({}, (accepted) => {
    exact<Connection<User>>()(accepted)
    accepted.data = { name: 'x' }
    // @ts-expect-error not a user
    accepted.data = { age: 5 }
    exact<readonly string[]>()(accepted.groups)
  })
  exact<Server<User>>()(typed)
  typed.on('packet', (packet, from) => {
    exact<string>()(from.data.name)
    exact<Buffer>()(packet)
  })
  typed.on('disconnect', (info, from) => [info.cause, from.data.name.length])
  typed.on('file', (offer, from) => [offer.connection.data.name, from.data.name])
  typed.on('jobError', (error, from) => [error, from?.data.name])
  for (const one of typed.connections) exact<string>()(one.data.name)
  exact<User | undefined>()(typed.connections.get(5)?.data)
  exact<readonly Connection<User>[]>()(typed.group('room'))
  exact<string | undefined>()((await typed.broadcastFile('a')).sent[0]?.connection.data.name)
  exact<BroadcastResult>()(typed.broadcast('x', { to: typed.group('room') }))
  createServer<User>((accepted) => accepted.data.name)
  exact<User>()((await connect<User>({ port: 80 })).data)
  exact<User>()((await connect<User>(80)).data)
  exact<User | undefined>()((await connect<User>({ port: 80, reconnect: true })).connection?.data)
  const client = createClient<User>()
  exact<User>()((await client.connect({ port: 80 })).data)
  client.on('packet', (packet, from) => [packet, from.data.name])
  // Whoever does not care for them takes any.
  const count = (any: Server): number => any.connections.size
  const close = (any: Connection): unknown => any.destroy()
  exact<number>()(count(typed))
  for (const one of typed.connections) close(one)
})

test('listen and close', async () => {
  const { port, family, address } = await server.listen(80, '::1')
  exact<number>()(port)
  exact<string>()(address)
  exact<'IPv4' | 'IPv6'>()(family)
  await server.listen({ port: 0, host: 'localhost', backlog: 5 })
  await server.listen('80', '::1', 5, () => undefined)
  await server.listen(80, () => undefined)
  await server.listen(() => undefined)
  await server.listen({ port: '80' }, () => undefined)
  // @ts-expect-error the callback is the last
  void server.listen(80, () => undefined, '::1')
  const { drained, cut } = await server.close({ deadline: '5s' })
  exact<number>()(drained)
  exact<number>()(cut)
  await using other = createServer()
  exact<Server>()(other)
})

test('events of a server', () => {
  server.on('packet', (packet, from) => {
    exact<Buffer>()(packet)
    exact<Connection>()(from)
  })
  server.on('disconnect', (info, from) => {
    exact<CloseInfo>()(info)
    exact<CloseCause>()(info.cause)
    exact<IocpError | undefined>()(info.error)
    exact<number>()(info.discardedBytes)
    exact<Connection>()(from)
  })
  server.once('listening', () => undefined).off('listening', () => undefined)
  server.on('drop', (info) => {
    exact<DropInfo>()(info)
  })
  // @ts-expect-error there is no such event
  server.on('data', () => undefined)
  // @ts-expect-error the packet comes first
  server.on('packet', (from: Connection) => from.end())
  void once(server, 'listening')
})

test('a connection', async () => {
  exact<SendState>()(connection.send('x'))
  exact<SendState>()(
    connection.send(Buffer.alloc(1), (outcome) => {
      exact<SendOutcome>()(outcome)
    })
  )
  exact<SendOutcome>()(await connection.sendAsync(new Uint8Array(1)))
  // @ts-expect-error numbers are no payload
  connection.send(5)
  exact<number>()(connection.id)
  exact<string | undefined>()(connection.remoteAddress)
  exact<CloseInfo>()(await connection.closed)
  connection.data = { anything: 1 }
  exact<unknown>()(connection.data)
  connection.setFraming(framing.raw()).pause().resume().demand(2).join('room').end({ deadline: 5 })
  connection
    .end('x')
    .end('x', { deadline: '1s' }, ({ cause }) => cause)
    .end(new Uint8Array(1), () => undefined)
  connection.end(({ cause }) => cause)
  // @ts-expect-error there is no such option
  connection.end({ dedline: 5 })
  connection.on('packet', (packet) => packet.readUInt8(0))
  connection.on('close', ({ cause }) => cause === 'peer-reset')
  // @ts-expect-error the listeners of a connection do not get it
  connection.on('packet', (packet, from) => from)
  // @ts-expect-error nobody changes who the peer is
  connection.remoteAddress = 'x'
  // @ts-expect-error the library's own
  exact<unknown>()(connection._engine)
  for await (const packet of connection) exact<Buffer>()(packet)
  exact<Promise<IteratorResult<Buffer, undefined>>>()(connection[Symbol.asyncIterator]().next())
})

test('lookup and broadcast', () => {
  exact<Connection | undefined>()(server.connections.get(5))
  exact<number>()(server.connections.size)
  for (const one of server.connections) exact<Connection>()(one)
  exact<BroadcastResult>()(server.broadcast('x', { group: 'room', except: connection }))
  exact<boolean>()(server.disconnect(connection, { graceful: false }))
  exact<number | undefined>()(server.stats()?.connections.now)
  exact<number | undefined>()(server.stats()?.counters.packetsIn)
})

test('clients', async () => {
  exact<Connection>()(await connect({ port: 80 }))
  exact<Connection>()(await connect({ port: 80, reconnect: false }))
  exact<Connection>()(await connect(80, 'localhost'))
  exact<Connection>()(await connect('80', (made) => made.end()))
  const onRetry = (info: RetryInfo, of: ReconnectingConnection): unknown => [info.failures, of.destroy()]
  exact<ReconnectingConnection>()(await connect({ port: '80', reconnect: { onRetry } }))
  const link = await connect({ port: 80, reconnect: { maxAttempts: 3 } })
  // As in docs/api.md: a login for each connection.
  const login = (connection: Connection): unknown => connection.send('token')
  link.on('connect', login)
  if (link.connection !== undefined) login(link.connection)
  exact<ReconnectingConnection>()(link)
  link.on('retry', ({ delay, failures, error }) => [delay, failures, error?.message])
  link.on('packet', (packet) => packet.length)
  link.on('idle', ({ kind, count }) => {
    exact<'read' | 'write' | 'both'>()(kind)
    exact<number>()(count)
  })
  exact<ReconnectingConnection>()(await createClient({ ioThreads: 2 }).connect({ port: 80, reconnect: true }))
  // @ts-expect-error a port is needed
  void connect({ host: 'x' })
  await connect({ port: 80, signal: AbortSignal.timeout(5), lookup: () => Promise.resolve([]) })
})

test('who may connect', () => {
  const state = server.access.toJSON()
  server.access.load(state)
  server.access.load({ bans: state.bans, rules: undefined })
  server.access.load({ bans: [{ prefix: '192.0.2.1', until: null, reason: 'x', times: 1 }] })
  server.access.update({ deny: undefined, ban: { time: '365d', max: undefined } })
  server.access.ban('192.0.2.1', { time: undefined, reason: undefined })
  exact<boolean>()(server.access.lift('192.0.2.1'))
  server.access.clear()
  connection.setTimeouts({ idle: undefined, minRate: 0, packet: '0s' })
  // @ts-expect-error a rate is an object
  connection.setTimeouts({ minRate: 5 })
})

test('headers of the PROXY protocol', async () => {
  const { proxy } = connection
  await connect({ port: 80, proxyProtocol: { forward: connection, version: 1, checksum: undefined } })
  await connect({
    port: 80,
    proxyProtocol: { source: proxy?.source, destination: proxy?.destination, tlvs: proxy?.tlvs }
  })
  // @ts-expect-error only a connection knows who it is
  void connect({ port: 80, proxyProtocol: { forward: { remoteAddress: '::1' } } })
  createServer({ proxyProtocol: { from: ['::1'], versions: undefined } })
})

test('framing', () => {
  exact<Framing>()(framing.lengthField({ bytes: 8, endian: 'little', adjustment: -4, streamAbove: '1MiB' }))
  exact<Framing>()(framing.delimiter({ delimiters: ['x', new Uint8Array(1)], strip: false }))
  // @ts-expect-error not a width
  framing.lengthField({ bytes: 5 })
  // @ts-expect-error lines have no length before them
  framing.line({ streamAbove: 5 })
  // @ts-expect-error a size is needed
  framing.fixed({})
})

test('errors', () => {
  const code: IocpErrorCode = 'ERR_IOCP_OVERFLOW'
  exact<string>()(new IocpError(code, 'x').code)
  // @ts-expect-error no such code
  const other: IocpErrorCode = 'ERR_IOCP_NO_SUCH_CODE'
  exact<IocpErrorCode>()(other)
})

test('packet helpers', () => {
  exact<Buffer>()(new PacketWriter('little').u8(1).u64(5n).u64(5).string('x', 'u16').finish())
  const reader = new PacketReader(Buffer.alloc(0))
  exact<number>()(reader.u32())
  exact<bigint>()(reader.u64())
  exact<string>()(reader.string('nul', 'latin1'))
  exact<'IPv4' | 'IPv6' | undefined>()(hostAddresses()[0]?.family)
})

test('files', async () => {
  exact<SentFile>()(await connection.sendFile(new URL('file:///C:/a')))
  const sent = await connection.sendFile('a', {
    name: 'b',
    offset: 0,
    length: '1MiB',
    mode: 'framed',
    chunk: 65_536,
    verify: 'sha256',
    metadata: new Uint8Array(1),
    bytesPerSecond: '10MB',
    signal: new AbortController().signal,
    onProgress: ({ bytes, total }) => {
      exact<number>()(bytes + total)
    }
  })
  exact<SentFile>()(sent)
  exact<string | undefined>()(sent.sha256)
  // @ts-expect-error: no such mode
  void connection.sendFile('a', { mode: 'fast' })
  // @ts-expect-error: the only checksum
  void connection.sendFile('a', { verify: 'md5' })
  connection.on('file', (offer) => {
    exact<FileOffer>()(offer)
    exact<Buffer>()(offer.metadata)
    offer.reject('no')
  })
  server.on('file', (offer, from) => {
    exact<Connection>()(from)
    exact<Promise<ReceivedFile>>()(offer.accept({ directory: 'x', overwrite: 'rename', resume: true }))
    exact<Promise<number>>()(offer.resumable({ path: 'x' }))
    // @ts-expect-error: no such answer to a file that is there
    void offer.accept({ path: 'x', overwrite: 'append' })
  })
  exact<ReceivedFile>()(await connection.receiveFile({ path: 'a', bytes: 10, onReady: () => undefined }))
  // @ts-expect-error: how many bytes?
  void connection.receiveFile({ path: 'a' })
  const { sent: all, failed } = await server.broadcastFile('a', { group: 'g', except: connection, verify: false })
  exact<number | undefined>()(all[0]?.result.bytes)
  exact<unknown>()(failed[0]?.error)
  createServer({ transfer: false })
  createServer({ transfer: { answerTimeout: '10s', maxFileSize: '1GiB', directory: 'x', method: 'read', maxTotal: 5 } })
  // @ts-expect-error: no such way
  createServer({ transfer: { method: 'copy' } })
  const code: IocpErrorCode = 'ERR_IOCP_TRANSFER_BUSY'
  return code
})
