// Clients that nobody here wrote, or that were written in another language, against `npm start -- serve`.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { client, frame, has, run, startServer } from './helpers.mjs'

const [python, erlang, netcat, curl] = await Promise.all([
  has('python3', '--version'),
  has('escript', '--version'),
  process.platform !== 'win32' && has('nc', '-h'),
  has('curl', '--version')
])

/** A test that needs a program; where that is not installed the name says so. */
function testWith(isThere, program, name, body) {
  test(isThere ? name : `${name} (skipped: there is no ${program} here)`, { skip: !isThere, timeout: 120_000 }, body)
}

describe('npm start -- serve', () => {
  let server

  before(
    async () => {
      server = await startServer()
    },
    { timeout: 600_000 }
  )

  after(() => server.kill())

  async function python3(...args) {
    const { code, out, error } = await run('python3', args)
    assert.equal(error, '')
    assert.equal(code, 0)
    return String(out)
  }

  testWith(python, 'python3', 'Python sends a byte at a time', async () => {
    assert.equal(await python3(client('bytewise.py'), server.port), '10 packets\n')
  })

  testWith(python, 'python3', 'Python connects 300 times at once', async () => {
    assert.equal(await python3(client('many.py'), server.port, 300), '300 connections\n')
  })

  testWith(python, 'python3', 'Python ends its side and still gets everything', async () => {
    assert.match(await python3(client('half_close.py'), server.port), /^435561 bytes\n$/)
  })

  testWith(erlang, 'escript', "Erlang's {packet, 4}", async () => {
    const { code, out, error } = await run('escript', [client('packet4.escript'), String(server.port)])
    assert.equal(error, '')
    assert.equal(String(out), '16 packets\n')
    assert.equal(code, 0)
  })

  testWith(netcat, 'nc', 'netcat', async () => {
    const input = Buffer.concat([frame('from netcat'), frame(''), frame(Buffer.alloc(100_000, 7))])
    const { code, out } = await run('nc', ['-N', '127.0.0.1', String(server.port)], { input })
    assert.equal(code, 0)
    assert.deepEqual(out, input)
  })

  testWith(curl, 'curl', 'curl as a telnet client', async () => {
    const input = frame('from curl')
    const { out } = await run('curl', ['-s', '--max-time', '3', `telnet://127.0.0.1:${server.port}`], { input })
    assert.deepEqual(out, input)
  })

  testWith(curl, 'curl', 'curl as an HTTP client: its request is a length that is too large', async () => {
    const { code, out } = await run('curl', ['-s', '--max-time', '10', `http://127.0.0.1:${server.port}/`])
    // 52: nothing came back, 56: reset. Not 28, which is a timeout.
    assert.ok(code === 52 || code === 56, `exit code ${code}`)
    assert.equal(out.length, 0)
  })

  testWith(
    python && process.platform !== 'win32',
    'python3 with signals',
    'clients that are killed in the middle',
    async () => {
      const clients = Array.from({ length: 20 }, () =>
        spawn('python3', [client('flood.py'), String(server.port)], { stdio: ['ignore', 'pipe', 'inherit'] })
      )
      await Promise.all(clients.map(({ stdout }) => once(stdout, 'data')))
      const ends = clients.map((child) => once(child, 'close'))
      for (const child of clients) child.kill('SIGKILL')
      await Promise.all(ends)
      assert.equal(await python3(client('bytewise.py'), server.port), '10 packets\n')
    }
  )

  test('Ctrl-C ends it in order', { timeout: 60_000 }, async () => {
    const code = await server.interrupt()
    assert.match(server.out(), /Closed: \d+ ended in order, \d+ cut\./)
    assert.equal(code, 0)
  })
})
