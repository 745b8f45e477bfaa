import type { ChildProcess } from 'node:child_process'
import { createHash, scryptSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { frame } from '../helpers/packets.js'
import { runFile, startNode } from '../helpers/programs.js'
import { RawClient } from '../helpers/raw_client.js'

const file = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const programs = [...readFileSync(file('README.md'), 'utf8').matchAll(/^```js\n(.*?)^```$/gms)].map(
  ([, code]) => code ?? ''
)

/** Starts a program of the README as it is printed; it finds the package as this package's own. */
function start(name: string, code: string, cwd = file('.')) {
  mkdirSync(file('.cache/readme'), { recursive: true })
  const path = file(`.cache/readme/${name}`)
  writeFileSync(path, code)
  const child = startNode(path, [], cwd)
  child.stderr.pipe(process.stderr, { end: false })
  onTestFinished(() => {
    child.kill()
  })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  return {
    ended: once(child, 'close') as Promise<[number | null]>,
    out: () => out,
    async says(text: string): Promise<void> {
      while (!out.includes(text)) await Promise.race([once(child.stdout, 'data'), ended(child, text)])
    }
  }
}

async function ended(child: ChildProcess, text: string): Promise<never> {
  await once(child, 'close')
  throw new Error(`the program ended before it said "${text}"`)
}

test('the echo server and the client work as printed', async () => {
  const [echo, client] = programs
  if (echo === undefined || client === undefined) throw new Error('the README has no programs')
  const server = start('echo.mjs', echo)
  await server.says('Listening on port 9999')
  const raw = await RawClient.open(9999)
  await raw.write(Buffer.concat([frame('Hello'), frame('')]))
  expect(await raw.read(13)).toEqual(Buffer.concat([frame('Hello'), frame('')]))
  await server.says('127.0.0.1 has connected')

  const program = start('client.mjs', client)
  expect(await program.ended).toEqual([0, null])
  expect(program.out()).toBe('hello\n')
})

test('the server with workers works as printed', async () => {
  const [, , jobs, main] = programs
  if (jobs === undefined || main === undefined) throw new Error('the README has no workers')
  mkdirSync(file('.cache/readme'), { recursive: true })
  writeFileSync(file('.cache/readme/jobs.js'), jobs)
  const server = start('workers.mjs', main)
  await server.says(`${scryptSync('secret', 'salt', 32).toString('hex')}\n`)
  const raw = await RawClient.open(9998)
  const routed = Buffer.of(0x10, 1, 2, 3)
  await raw.write(Buffer.concat([frame(routed), frame(Buffer.of(5, 6))]))
  const hash = frame(Buffer.concat([Buffer.of(0x10), scryptSync(routed, 'salt', 32)]))
  const other = frame(Buffer.of(5, 6))
  const answers = await raw.read(hash.length + other.length)
  // Which one is first is nobody's promise.
  expect([Buffer.concat([hash, other]), Buffer.concat([other, hash])]).toContainEqual(answers)
})

test('the example with workers works', async () => {
  const ended = await runFile('examples/workers.js')
  expect(ended).toMatchObject({ code: 0, error: '' })
  const lines = ended.out.trim().split('\n').sort()
  const hash = (password: string): string => scryptSync(password, 'salt', 32).toString('hex')
  expect(lines).toEqual(
    [
      'chat: not held up by the hashes',
      ...['one', 'two', 'three'].map((password) => `hash: ${hash(password)}`),
      `from the main thread: ${hash('secret')}`
    ].sort()
  )
})

test('the programs about files work as printed', async () => {
  const [, , , , receiver, sender] = programs
  if (receiver === undefined || sender === undefined) throw new Error('the README has no programs about files')
  const folder = file('.cache/readme')
  rmSync(`${folder}/inbox`, { recursive: true, force: true })
  const server = start('files.mjs', receiver, folder)
  await server.says('Listening on port 9997')
  const program = start('send.mjs', sender, folder)
  expect(await program.ended).toEqual([0, null])
  const sha256 = createHash('sha256').update(sender).digest('hex')
  expect(program.out()).toContain(`${sender.length} bytes, SHA-256 ${sha256}`)
  await server.says('is complete and verified')
  expect(readFileSync(`${folder}/inbox/send.mjs`, 'utf8')).toBe(sender)
  expect(receiver).toBe(readFileSync(file('examples/files.js'), 'utf8'))
})

test('the echo server is the one in examples/, and short', () => {
  expect(programs[0]).toBe(readFileSync(file('examples/echo.js'), 'utf8'))
  expect(
    programs[0]?.split('\n').filter((line) => line !== '' && !line.trimStart().startsWith('//')).length
  ).toBeLessThanOrEqual(15)
})
