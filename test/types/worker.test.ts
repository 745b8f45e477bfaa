// Compiled, not run: the side of the workers, and what comes back from them.
import { connect, type Connection, createServer, type JobStats, type Server, type WorkerExitInfo } from 'iocp'
import { defineJobs, type Job, type JobResult, type PacketJob, type WorkerContext } from 'iocp/worker'

declare function test(name: string, body: () => unknown): void
declare function exact<T>(): <U>(value: U & ([T] extends [U] ? ([U] extends [T] ? unknown : never) : never)) => void
declare const server: Server
declare const connection: Connection

export const jobs = defineJobs({
  0x10(job) {
    exact<PacketJob>()(job)
    exact<Buffer>()(job.data)
    job.reply(job.data)
  },
  packet: (job) => {
    exact<Buffer>()(job.data)
  },
  deriveKey: (job: Job<{ password: string; salt: string }>) => Buffer.from(job.data.password + job.data.salt),
  lookUp: async (job: Job<number>) => Promise.resolve({ id: job.data, name: 'somebody' }),
  ping: () => 'pong'
})

test('what a handler gives back', async () => {
  type Key = JobResult<typeof jobs, 'deriveKey'>
  type Found = JobResult<typeof jobs, 'lookUp'>
  exact<Buffer<ArrayBuffer>>()(await server.workers.run<Key>('deriveKey', { password: 'a', salt: 'b' }))
  exact<{ id: number; name: string }>()(await server.workers.run<Found>('lookUp', 5))
  exact<string>()(await server.workers.run<JobResult<typeof jobs, 'ping'>>('ping'))
  exact<unknown>()(await server.workers.run('ping'))
  // @ts-expect-error there is no such job
  void server.workers.run<JobResult<typeof jobs, 'pong'>>('pong')
})

test('a job', () => {
  defineJobs(
    {
      async job(job: Job<string>) {
        exact<string>()(job.data)
        exact<number>()(job.connectionId)
        exact<boolean>()(job.connected)
        exact<AbortSignal>()(job.signal)
        exact<number>()(job.queuedBytes(connection.id))
        job.send(connection.id, 'text')
        job.send(job, new Uint8Array(5))
        job.broadcast('text', { except: job })
        job.disconnect()
        job.disconnect(connection.id, { graceful: false })
        job.flush()
        // @ts-expect-error a worker knows connections by their ids
        job.send(connection, 'text')
        // @ts-expect-error numbers are no payload
        job.reply(5)
        // @ts-expect-error a job's payload is not replaced
        job.data = 'other'
        await Promise.resolve()
      }
    },
    {
      concurrency: 5,
      setup: (context) => {
        exact<WorkerContext>()(context)
      },
      teardown: async ({ number, data }) => {
        exact<number>()(number)
        exact<unknown>()(data)
        await Promise.resolve()
      }
    }
  )
  // @ts-expect-error a handler is a function
  defineJobs({ name: 5 })
  // @ts-expect-error a packet's handler gets a Buffer
  defineJobs({ 0x10: (job: Job<string>) => job.data })
  // @ts-expect-error there is no such option
  defineJobs({}, { threads: 5 })
})

test('options', () => {
  const module = new URL('./jobs.js', import.meta.url)
  createServer({ workers: { module, count: 4, route: [0x10], order: 'none', onFull: 'reject', priority: 'high' } })
  createServer({ workers: { module: '/jobs.js', route: 'all', timeout: '5s', maxQueuedBytes: '1MiB' } })
  createServer({
    workers: { module, resourceLimits: { maxOldGenerationSizeMb: 64 }, data: { name: 'x' }, onClosed: 'run' }
  })
  // @ts-expect-error a module is needed
  createServer({ workers: { count: 4 } })
  // @ts-expect-error not an order
  createServer({ workers: { module, order: 'all' } })
  // @ts-expect-error one connection is a client's matter
  void connect({ port: 1, workers: { module } })
})

test('workers of a server', async () => {
  const { workers } = server
  await workers.resize(8)
  exact<number>()(workers.size + workers.idle + workers.queued + workers.running + workers.completed + workers.failed)
  exact<number>()(workers.waitMicroseconds.p99 + workers.runMicroseconds.max)
  exact<JobStats | undefined>()(workers.stats())
  const signal = AbortSignal.timeout(100)
  void workers.run('name', new ArrayBuffer(8), { transferList: [], signal, priority: 'low', timeout: '5s', connection })
  // @ts-expect-error not a priority
  void workers.run('name', 1, { priority: 'highest' })
  // @ts-expect-error how many there are is changed by resize
  workers.size = 5
  server.on('jobError', (error, at) => {
    exact<unknown>()(error)
    exact<Connection | undefined>()(at)
  })
  server.on('workerExit', (info) => {
    exact<WorkerExitInfo>()(info)
  })
})
