import { once } from 'node:events'
import { framing, type Server, type WorkersOptions } from 'iocp'
import { describe, expect, test } from 'vitest'
import { startNode } from '../helpers/programs.js'
import { startClient, startServer } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'

const module = new URL('../fixtures/start_jobs.mjs', import.meta.url)
const typed = framing.lengthField({ bytes: 4, typeByte: true })
const ECHO = 0x10

async function start(workers: Partial<WorkersOptions>): Promise<{ server: Server; port: number }> {
  const started = await startServer({ framing: typed, workers: { module, count: 1, route: [ECHO], ...workers } })
  started.server.on('workerExit', () => undefined)
  return started
}

const code = (text: string): URL => new URL(`data:text/javascript,${encodeURIComponent(text)}`)

interface Broken {
  readonly name: string
  readonly workers: Partial<WorkersOptions>
  readonly cause: object
}

const broken: readonly Broken[] = [
  {
    name: 'is missing',
    workers: { module: new URL('../fixtures/no_such_file.mjs', import.meta.url) },
    cause: { message: expect.stringContaining('no_such_file') as unknown }
  },
  { name: 'has a syntax error', workers: { module: code('const = 1') }, cause: { name: 'SyntaxError' } },
  { name: 'throws', workers: { module: code('throw new Error("broken")') }, cause: { message: 'broken' } },
  { name: 'throws what is no error', workers: { module: code('throw { toString: 1 }') }, cause: {} },
  { name: 'exits', workers: { module: code('process.exit(4)') }, cause: { code: 'ERR_IOCP_WORKER_MODULE' } },
  { name: 'defines nothing', workers: { module: code('1') }, cause: { code: 'ERR_IOCP_WORKER_MODULE' } },
  {
    name: 'waits for ever',
    workers: { module: code('await new Promise(() => 1)') },
    cause: { code: 'ERR_IOCP_WORKER_MODULE' }
  },
  {
    name: 'loops',
    // Not with all its might: a thread that spins for as long as a module may take to load slows down every other test.
    workers: {
      module: code('const word = new Int32Array(new SharedArrayBuffer(4)); for (;;) Atomics.wait(word, 0, 0, 20)'),
      setupTimeout: 300
    },
    cause: { code: 'ERR_IOCP_WORKER_TIMEOUT' }
  },
  {
    name: 'has a setup that throws',
    workers: { data: { how: 'throws' } },
    cause: { name: 'RangeError', code: 'E_DATABASE', message: 'no database' }
  },
  { name: 'has a setup that throws what is no error', workers: { data: { how: 'throws oddly' } }, cause: {} },
  { name: 'has a setup that exits', workers: { data: { how: 'exits' } }, cause: { code: 'ERR_IOCP_WORKER_MODULE' } },
  {
    name: 'has a setup that waits for nothing',
    workers: { data: { how: 'waits for nothing' } },
    cause: { code: 'ERR_IOCP_WORKER_MODULE' }
  },
  {
    name: 'has a setup that hangs',
    workers: { data: { how: 'hangs' }, setupTimeout: 300 },
    cause: { code: 'ERR_IOCP_WORKER_TIMEOUT' }
  },
  {
    name: 'has a setup that loops',
    workers: { data: { how: 'loops' }, setupTimeout: 300 },
    cause: { code: 'ERR_IOCP_WORKER_TIMEOUT' }
  }
]

describe('a module that', () => {
  test.each(broken)(
    '$name: run and resize say so, packets fail, and close ends',
    async ({ workers, cause }) => {
      const { server, port } = await start({ setupTimeout: 120_000, ...workers })
      const failed = { code: 'ERR_IOCP_WORKERS_FAILED', cause: expect.objectContaining(cause) as unknown }
      const memory = new ArrayBuffer(8)
      const jobError = once(server, 'jobError')
      const client = await startClient({ framing: typed }).connect({ port, host: '127.0.0.1' })
      client.send(Buffer.of(ECHO))
      const results = await Promise.allSettled([
        server.workers.run('echo', 1),
        server.workers.run('echo', 2),
        server.workers.resize(2)
      ])
      for (const result of results) expect(result).toMatchObject({ status: 'rejected', reason: failed })
      const [error, connection] = (await jobError) as [Error, unknown]
      expect(error).toMatchObject(failed)
      expect(connection).toBeDefined()
      expect(client.state).toBe('open')
      await until('none is queued', () => server.workers.queued === 0, 120_000)
      // What is refused at once has not been taken away.
      await expect(server.workers.run('echo', memory, { transferList: [memory] })).rejects.toMatchObject({
        code: 'ERR_IOCP_WORKERS_FAILED'
      })
      expect(memory.byteLength).toBe(8)
      // By default it would give workers that are starting longer than this.
      await server.close({ deadline: 1000 })
    },
    180_000
  )
})

test('that starts at last works again, and resize tries again at once', async () => {
  const starts = new SharedArrayBuffer(4)
  const { server, port } = await start({ data: { how: 'at last', times: 4, starts } })
  await expect(server.workers.run('echo', 1)).rejects.toMatchObject({ code: 'ERR_IOCP_WORKERS_FAILED' })
  const tries = new Int32Array(starts)[0] ?? 0
  expect(tries).toBeLessThanOrEqual(4)
  await server.workers.resize(1)
  expect(await server.workers.run('echo', 2)).toBe(2)
  const client = await startClient({ framing: typed }).connect({ port, host: '127.0.0.1' })
  const answered = once(client, 'packet')
  client.send(Buffer.of(ECHO, 1))
  await answered
  // A worker that has worked and ends is another matter.
  await expect(server.workers.run('exits')).rejects.toMatchObject({ code: 'ERR_IOCP_WORKER_EXITED' })
  expect(await server.workers.run('echo', 3)).toBe(3)
}, 180_000)

test('that starts at last is used without being asked for', async () => {
  const starts = new SharedArrayBuffer(4)
  const { server } = await start({ data: { how: 'at last', times: 4, starts } })
  await expect(server.workers.run('echo', 1)).rejects.toMatchObject({ code: 'ERR_IOCP_WORKERS_FAILED' })
  await until('one works', () => server.workers.idle === 1, 120_000)
  await until('it is counted', () => server.workers.size === 1, 120_000)
  let result: unknown
  while (result === undefined) result = await server.workers.run('echo', 2).catch(() => pause(5, undefined))
  expect(result).toBe(2)
}, 180_000)

test.each(['throws', 'hangs', 'leaves a timer'])(
  'a teardown that %s does not keep a worker',
  async (teardown) => {
    const { server } = await start({ data: { teardown }, setupTimeout: 2000 })
    expect(await server.workers.run('echo', 1)).toBe(1)
    await server.workers.resize(0)
    await server.workers.resize(1)
    expect(await server.workers.run('echo', 2)).toBe(2)
    await server.close({ deadline: 100 })
  },
  180_000
)

describe('what a worker throws', () => {
  test('in a handler becomes the reason, whatever it is', async () => {
    const { server } = await start({ data: {} })
    for (const what of ['odd', 'nothing', 'symbol', 'hostile', 'proxy', 'tag', 'name']) {
      const [result] = await Promise.allSettled([server.workers.run('throws', what)])
      expect(result.status, what).toBe('rejected')
      expect(await server.workers.run('echo', what)).toBe(what)
    }
  })

  test('outside of a handler becomes an Error, whatever it is', async () => {
    const { server } = await start({ data: {} })
    for (const what of ['odd', 'nothing', 'symbol', 'hostile', 'text']) {
      const exited = once(server, 'workerExit')
      await expect(server.workers.run('throwsLater', what)).rejects.toMatchObject({ code: 'ERR_IOCP_WORKER_EXITED' })
      const [info] = (await exited) as [{ error: unknown }]
      expect(info.error, what).toBeInstanceOf(Error)
      expect(typeof (info.error as Error).message, what).toBe('string')
      expect(await server.workers.run('echo', what)).toBe(what)
    }
  })
})

/** A program that is given as text: no file, and flags that are not for workers. */
const text = `import('iocp').then(async ({ createServer }) => {
  const server = createServer({ workers: { module: new URL(${JSON.stringify(module.href)}), count: 1, data: {} } })
  await server.listen({ port: 0, host: '127.0.0.1' })
  console.log('answered', await server.workers.run('echo', 7))
  await server.close()
})`

test.each([
  { flags: ['--input-type=module', '-e'] },
  { flags: ['--input-type', 'module', '--no-warnings', '--eval'] },
  { flags: ['--expose-gc', '--input-type=commonjs', '--max-old-space-size=300', '-e'] },
  { flags: ['-p'] }
])(
  'a program that is given as text has workers: $flags',
  async ({ flags: [first = '', ...flags] }) => {
    const child = startNode(first, [...flags, text])
    let out = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (some: string) => (out += some))
    const [exitCode] = (await once(child, 'close')) as [number]
    expect(out).toContain('answered 7')
    expect(out).not.toContain('rror')
    expect(exitCode).toBe(0)
  },
  180_000
)
