/** One end of a transfer is a process that is killed, at a place that chance decides. */

import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Connection, createServer, type Server } from 'iocp'
import { expect, onTestFinished, test } from 'vitest'
import {
  checks,
  code,
  folders,
  leftovers,
  makeFile,
  type Method,
  methods,
  MIB,
  sha256,
  typed
} from '../../helpers/files.js'
import { isLong } from '../../helpers/load.js'
import { startNode } from '../../helpers/programs.js'
import { until } from '../../helpers/time.js'

const SIZE = 16 * MIB
/** The kill is ordered within these first bytes. What is left takes 2.5 s more: a kill is not carried out at once. */
const REACH = 6 * MIB
const BYTES_PER_SECOND = 4 * MIB
const places = isLong ? 10 : 1

/**
 * What the other end says. On Windows the sockets of a killed process are closed at once; Wine now and then leaves one
 * open, and then it is the lack of progress that ends the transfer.
 */
const lost = /^ERR_IOCP_TRANSFER_(CLOSED|STALLED)$/

async function listen(method: Method): Promise<{ server: Server; port: number }> {
  const server = createServer({ framing: typed, transfer: { method, stallTimeout: 2000 } })
  onTestFinished(async () => {
    await server.close({ deadline: 0 })
  })
  return { server, port: (await server.listen({ host: '127.0.0.1' })).port }
}

function start(program: string, ...words: string[]): { child: ChildProcess; exited: Promise<unknown> } {
  const file = fileURLToPath(new URL(`../programs/${program}`, import.meta.url))
  const child = startNode(file, words)
  child.stdout.resume()
  child.stderr.resume()
  const exited = new Promise((resolve) => {
    child.once('exit', resolve)
  })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  return { child, exited }
}

function anywhere(): number {
  return randomBytes(3).readUIntBE(0, 3) % REACH
}

async function gone(server: Server): Promise<void> {
  for (const connection of server.connections) connection.reset()
  await until('the connection is gone', () => server.connections.size === 0)
}

test.each(methods)("a sender that is killed, by '%s', leaves nothing behind", { timeout: 120_000 }, async (method) => {
  const { from, to } = folders()
  const { server, port } = await listen(method)
  const path = makeFile(from, SIZE)
  for (let place = 0; place < places; place++) {
    const limit = anywhere()
    const { child, exited } = start('send_file.mjs', String(port), path, method)
    const ended = new Promise<string | undefined>((resolve) => {
      server.once('file', (offer) => {
        const onProgress = ({ bytes }: { bytes: number }): void => {
          if (bytes >= limit) child.kill('SIGKILL')
        }
        resolve(code(offer.accept({ directory: to, overwrite: 'replace', onProgress })))
      })
    })
    expect(await ended).toMatch(lost)
    await exited
    await gone(server)
    expect(leftovers(to)).toEqual([])
  }
})

const ways = methods.flatMap((method) => [['fresh', method] as const, ['resume', method] as const])
test.each(ways)("a receiver that is killed: %s, sent by '%s'", { timeout: 120_000 }, async (how, method) => {
  const { from, to } = folders()
  const { server, port } = await listen(method)
  const path = makeFile(from, SIZE)
  const ready = (): Promise<Connection> =>
    new Promise((resolve) => {
      server.once('packet', (_, connection) => {
        resolve(connection)
      })
    })
  for (let place = 0; place < places; place++) {
    // What is resumed has come further each time.
    const limit = how === 'resume' ? ((place + 1) * REACH) / (places + 1) : anywhere()
    const connected = ready()
    const { child, exited } = start('receive_file.mjs', String(port), to, how)
    const sending = (await connected).sendFile(path, {
      ...checks(method),
      bytesPerSecond: BYTES_PER_SECOND,
      onProgress: ({ bytes }) => {
        if (bytes >= limit) child.kill('SIGKILL')
      }
    })
    expect(await code(sending)).toMatch(lost)
    await exited
    await gone(server)
    // What has come is there for the next attempt, or gone with the process.
    expect(leftovers(to)).toHaveLength(how === 'resume' ? 1 : 0)
  }
  if (how !== 'resume') return
  const connected = ready()
  const { child, exited } = start('receive_file.mjs', String(port), to, how)
  const { resumedFrom, bytes } = await (await connected).sendFile(path, checks(method))
  expect(bytes).toBe(SIZE)
  expect(resumedFrom).toBeGreaterThan(0)
  child.kill('SIGKILL')
  await exited
  const target = join(to, `file-${SIZE}.bin`)
  expect(await sha256(target)).toBe(await sha256(path))
  expect(leftovers(to)).toEqual([])
  rmSync(target)
})
