/** Every option of the public API with wrong types and values: a clear error that names it, and nothing half applied. */

import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import {
  type Client,
  connect,
  createClient,
  createServer,
  type FileOffer,
  framing,
  IocpError,
  pruneParts,
  type Server
} from 'iocp'
import { beforeEach, describe, expect, test } from 'vitest'
import { folders, type Pair, pair, works } from '../helpers/files.js'
import { jobsModule } from '../helpers/jobs.js'
import {
  accept,
  access,
  anything,
  boolean,
  byType,
  connection,
  engine,
  isWithin,
  type Kind,
  limits,
  listen,
  MAX_DURATION,
  MAX_UINT32,
  measure,
  proxyHeader,
  proxyProtocol,
  receiveFile,
  reconnect,
  type Rows,
  run,
  sendFile,
  stream,
  target,
  workers,
  wrongFor
} from '../helpers/option_rows.js'
import { HOST } from '../helpers/ports.js'
import { closeAfterTest, startClient, startServer } from '../helpers/servers.js'

type Call = (options: Record<string, unknown>) => unknown

/** Puts a value at a path such as 'keepAlive.count'. */
function at(path: string, value: unknown): Record<string, unknown> {
  const [name = '', ...rest] = path.split('.')
  return { [name]: rest.length === 0 ? value : at(rest.join('.'), value) }
}

/** Error of a call that throws, or whose promise rejects. */
async function errorOf(call: Call, given: Record<string, unknown>): Promise<unknown> {
  try {
    await call(given)
  } catch (error) {
    return error
  }
  return undefined
}

const codes = /^ERR_(?:IOCP_INVALID_OPTION|INVALID_ARG_TYPE|INVALID_ARG_VALUE|OUT_OF_RANGE)$/

/** Each row with wrong values; `unchanged` behind each of them. */
async function refuses(
  call: Call,
  name: string,
  kind: Kind,
  unchanged: () => void,
  needed: object = {},
  within = ''
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(wrongFor(kind), async (value) => {
      const error = await errorOf(call, { ...needed, ...at(name, value) })
      expect(error).toBeInstanceOf(IocpError)
      const { code, option, message } = error as IocpError
      expect(code).toMatch(codes)
      expect(option?.startsWith(within + name), `${String(option)}: ${message}`).toBe(true)
      expect(message).toContain(`'${within}${name}`)
      unchanged()
    }),
    { numRuns: process.env['IOCP_LONG'] === '1' ? 5000 : 60 }
  )
}

describe('the rows of this file', () => {
  const lib = new URL('../../lib/', import.meta.url)
  const internal = /^(?:Native|Target|HostTarget|JobModule)/
  const types = (readdirSync(lib, { recursive: true }) as string[])
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => [
      ...readFileSync(new URL(file.replaceAll('\\', '/'), lib), 'utf8').matchAll(
        /^export interface (\w*(?:Options|Target|Limits))\b[^{]*\{([^]*?)^\}/gm
      )
    ])
    .filter(([, type = '']) => !internal.test(type))
    .map(([, type = '', body = '']) => ({
      type,
      names: [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)].map(([, name = '']) => name)
    }))

  test.each(types)('have each option of $type, and no other', ({ type, names }) => {
    const rows = Object.keys(byType[type] ?? {}).filter((name) => !name.includes('.'))
    expect(rows.toSorted()).toEqual(names.toSorted())
  })

  test('have no type that is not there', () => {
    expect(Object.keys(byType).toSorted()).toEqual(types.map(({ type }) => type).toSorted())
  })
})

const nothing = (): void => undefined
const list = (rows: Rows): { name: string; kind: Kind }[] =>
  Object.entries(rows).map(([name, kind]) => ({ name, kind }))

describe('createServer', () => {
  const own = byType['ServerOptions'] ?? {}
  const nested = Object.fromEntries(Object.entries(access).map(([name, kind]) => [`access.${name}`, kind]))
  test.each(list({ ...connection, ...engine, ...own, ...nested }))('$name', ({ name, kind }) =>
    refuses(createServer, name, kind, nothing)
  )
  test.each(list(workers))('workers.$name', ({ name, kind }) =>
    refuses(
      (given) => createServer({ workers: { module: jobsModule, ...(given['workers'] as object) } }),
      `workers.${name}`,
      kind,
      nothing
    )
  )
})

describe('createServer', () => {
  test.each(list(proxyProtocol))('proxyProtocol.$name', ({ name, kind }) =>
    refuses(
      (given) => createServer({ proxyProtocol: { from: ['::1'], ...(given['proxyProtocol'] as object) } }),
      `proxyProtocol.${name}`,
      kind,
      nothing
    )
  )
})

describe('createClient', () => {
  test.each(list({ ...connection, ...engine }))('$name', ({ name, kind }) => refuses(createClient, name, kind, nothing))
})

describe('a framing', () => {
  const factories: [string, Call, Rows, object?][] = [
    ['lengthField', framing.lengthField, { ...byType['LengthFieldOptions'], ...limits, ...stream }],
    [
      'delimiter',
      framing.delimiter as unknown as Call,
      { ...byType['DelimiterOptions'], ...limits },
      { delimiters: '\n' }
    ],
    ['line', framing.line, { ...byType['LineOptions'], ...limits, strip: boolean }],
    ['fixed', framing.fixed as unknown as Call, byType['FixedOptions'] ?? {}, { bytes: 5 }],
    ['varint', framing.varint, { ...limits, ...stream }],
    ['hpSocketPack', framing.hpSocketPack, { ...byType['HpSocketPackOptions'], ...limits, ...stream }]
  ]
  test.each(
    factories.flatMap(([factory, call, rows, needed]) => list(rows).map((row) => ({ factory, call, needed, ...row })))
  )('$factory $name', ({ call, needed, name, kind }) => refuses(call, name, kind, nothing, needed))
})

test('listen: the server does not listen, and does so with right options afterwards', { timeout: 60_000 }, async () => {
  const server = createServer({ ioThreads: 1 })
  closeAfterTest(server)
  for (const { name, kind } of list(listen)) {
    await refuses(server.listen.bind(server), name, kind, () => {
      expect({ listening: server.listening, stats: server.stats() }).toEqual({ listening: false, stats: undefined })
    })
  }
  expect((await server.listen({ port: 0, host: HOST })).port).toBeGreaterThan(0)
})

describe('connect', () => {
  const nested = Object.fromEntries(Object.entries(proxyHeader).map(([name, kind]) => [`proxyProtocol.${name}`, kind]))
  test.each(list({ ...target, ...reconnect, ...connection, ...nested }))('$name', async ({ name, kind }) => {
    const call: Call = (given) => connect({ port: 1, host: HOST, ...given } as never)
    const needed = name === 'localAddress' ? { host: HOST } : {}
    await refuses(call, name, kind, nothing, needed)
  })

  test('of a client: it makes no connection and no engine, and connects afterwards', { timeout: 60_000 }, async () => {
    const client: Client = startClient()
    for (const { name, kind } of list({ ...target, ...reconnect })) {
      await refuses(
        (given) => client.connect({ port: 1, host: HOST, ...given } as never),
        name,
        kind,
        () => {
          expect({ open: client.connections.size, stats: client.stats() }).toEqual({ open: 0, stats: undefined })
        }
      )
    }
    const { port } = await startServer()
    const made = await client.connect({ port, host: HOST })
    expect(made.state).toBe('open')
  })
})

describe('an open connection', { timeout: 60_000 }, () => {
  let both: Pair
  beforeEach(async () => {
    both = await pair()
  })
  const isOpen = (): void => {
    for (const one of [both.client, both.server])
      expect({ state: one.state, queued: one.queuedBytes, paused: one.isPaused() }).toEqual({
        state: 'open',
        queued: 0,
        paused: false
      })
  }

  test('end', async () => {
    await refuses((given) => both.client.end(given as never), 'deadline', measure(0, MAX_DURATION), isOpen)
    await works(both)
  })

  test('sendFile', async () => {
    const { from } = folders()
    const file = join(from, 'file')
    writeFileSync(file, 'hello')
    let offers = 0
    both.server.on('file', (offer) => {
      offers++
      offer.reject()
    })
    for (const { name, kind } of list(sendFile))
      await refuses((given) => both.client.sendFile(file, given), name, kind, isOpen)
    await works(both)
    expect(offers).toBe(0)
  })

  test('receiveFile', async () => {
    const { to } = folders()
    for (const { name, kind } of list(receiveFile)) {
      await refuses((given) => both.client.receiveFile(given as never), name, kind, isOpen, {
        path: join(to, 'x'),
        bytes: 5
      })
    }
    await works(both)
    expect(readdirSync(to)).toEqual([])
  })

  test('accept: the offer can still be accepted', async () => {
    const { from, to } = folders()
    writeFileSync(join(from, 'file'), 'hello')
    const sending = both.client.sendFile(join(from, 'file'))
    const [offer] = (await once(both.server as never, 'file')) as [FileOffer]
    for (const { name, kind } of list(accept)) {
      await refuses(
        (given) => offer.accept(given),
        name,
        kind,
        () => {
          expect(offer.isAnswered).toBe(false)
        },
        name === 'path' ? {} : { directory: to }
      )
    }
    const received = await offer.accept({ directory: to })
    expect(received.bytes).toBe(5)
    await sending
    expect(readdirSync(to)).toEqual(['file'])
  })

  test('broadcast, broadcastFile, disconnect, disconnectAll, close of the server', async () => {
    const { endpoint } = both
    for (const { name, kind } of list(byType['BroadcastOptions'] ?? {})) {
      await refuses((given) => endpoint.broadcast('x', given), name, kind, isOpen)
      await refuses((given) => endpoint.broadcastFile('x', given), name, kind, isOpen)
    }
    await refuses((given) => endpoint.disconnect(both.server, given), 'graceful', boolean, isOpen)
    await refuses((given) => endpoint.disconnectAll(given), 'graceful', boolean, isOpen)
    await refuses(
      (given) => endpoint.close(given),
      'deadline',
      measure(0, MAX_DURATION),
      () => {
        expect(endpoint.listening).toBe(true)
        isOpen()
      }
    )
    await works(both)
  })

  test('setTimeouts: the time limits stay as they were', async () => {
    for (const { name, kind } of list(byType['TimeoutOptions'] ?? {})) {
      await refuses((given) => both.client.setTimeouts(given), name, kind, isOpen)
    }
    await works(both)
  })

  test('setFraming and demand', async () => {
    const before = both.client.stats()
    await fc.assert(
      fc.asyncProperty(anything, async (value) => {
        if (value === undefined) return
        expect((await errorOf(() => both.client.setFraming(value as never), {})) as object).toMatchObject({
          code: 'ERR_IOCP_INVALID_OPTION'
        })
        if (isWithin(value, 0, MAX_UINT32)) return
        expect((await errorOf(() => both.client.demand(value as never), {})) as { code: string }).toMatchObject({
          code: expect.stringMatching(codes) as string
        })
        isOpen()
      }),
      { numRuns: 200 }
    )
    expect(both.client.stats()).toEqual(before)
    await works(both)
  })
})

describe('who may connect', { timeout: 60_000 }, () => {
  const start = { allow: ['10.0.0.0/8'], maxPerAddress: 5, banOn: { protocolError: { count: 3 } } }
  async function listening(): Promise<{ server: Server; before: string; unchanged: () => void }> {
    const { server } = await startServer({ access: start })
    server.access.ban('192.0.2.1', { time: '1h', reason: 'test' })
    // The end of a ban is counted from now on, so it is not the same number each time.
    const state = (): object => {
      const { rules, bans } = server.access.toJSON()
      return { rules, bans: bans.map(({ prefix, reason, times }) => ({ prefix, reason, times })) }
    }
    const was = state()
    return {
      server,
      before: JSON.stringify(server.access),
      unchanged: () => {
        expect(state()).toEqual(was)
      }
    }
  }

  test.each(list(access))('update $name: the rules stay as they were', async ({ name, kind }) => {
    const { server, unchanged } = await listening()
    await refuses(
      (given) => {
        server.access.update({ maxPerAddress: 1, ...given })
      },
      name,
      kind,
      unchanged,
      {},
      'rules.'
    )
    server.access.update({ maxPerAddress: 6 })
  })

  test('ban, load, lift: the bans stay as they were', async () => {
    const { server, before, unchanged } = await listening()
    for (const { name, kind } of list(byType['BanOptions'] ?? {})) {
      const call: Call = (given) => server.access.ban('192.0.2.9', given)
      await refuses(call, name, kind, unchanged)
    }
    fc.assert(
      fc.property(
        anything.filter((value) => typeof value !== 'string'),
        (value) => {
          expect(() => server.access.ban(value as never)).toThrow(IocpError)
          expect(() => server.access.lift(value as never)).toThrow(IocpError)
          unchanged()
        }
      )
    )
    const { rules, bans } = JSON.parse(before) as { rules: object; bans: object[] }
    const other = { prefix: '192.0.2.7', until: null, reason: 'x', times: 1 }
    for (const [name, wrong] of [
      ['prefix', '1.2'],
      ['until', 'soon'],
      ['reason', 5],
      ['times', 256]
    ] as const) {
      // The one before it is right.
      const state = { rules, bans: [...bans, other, { ...other, [name]: wrong }] }
      expect(() => {
        server.access.load(state as never)
      }).toThrow(expect.objectContaining({ option: expect.stringContaining(name) as string }) as Error)
      unchanged()
    }
  })
})

test('workers: run and resize', { timeout: 60_000 }, async () => {
  const { server } = await startServer({ workers: { module: jobsModule, count: 1 } })
  const before = server.workers.stats()
  const queued = (): void => {
    const stats = server.workers.stats()
    expect({ queued: stats?.queued, running: stats?.running, completed: stats?.completed }).toEqual({
      queued: 0,
      running: 0,
      completed: before?.completed
    })
  }
  for (const { name, kind } of list(run))
    await refuses((given) => server.workers.run('echo', 'x', given), name, kind, queued)
  await fc.assert(
    fc.asyncProperty(
      anything.filter((value) => !isWithin(value, 0, 256)),
      async (value) => {
        expect((await errorOf(() => server.workers.resize(value as never), {})) as object).toMatchObject({
          code: expect.stringMatching(codes) as string
        })
        expect(server.workers.size).toBeLessThanOrEqual(1)
      }
    )
  )
})

test('pruneParts', async () => {
  const { to } = folders()
  await refuses((given) => pruneParts(to, given), 'maxAge', measure(0, Number.MAX_SAFE_INTEGER), nothing)
})
