// A server whose process stands still for a while, as in a debugger: the time limits of its peers stand still with it.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import { describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { startProgram } from './helpers.mjs'

/** The processes in which a program of this folder runs, as Linux sees those of Wine. */
function processesOf(name) {
  return fs
    .readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
    .filter((pid) => {
      try {
        const words = fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1')
        return words.includes('node.exe') && words.includes(name)
      } catch {
        return false // it has ended meanwhile
      }
    })
    .map(Number)
}

describe('a process that is stopped', { skip: process.platform === 'win32' && 'needs the signals of Linux' }, () => {
  test('goes on, and cuts nobody for the time in which it stood still', { timeout: 120_000 }, async () => {
    const server = await startProgram('servers/impatient.mjs')
    try {
      const peers = Array.from({ length: 20 }, () => net.connect(server.port, '127.0.0.1'))
      for (const peer of peers) peer.on('error', () => {})
      await Promise.all(peers.map((peer) => once(peer, 'connect')))
      for (const peer of peers) peer.write('before\n')
      await Promise.all(peers.map((peer) => once(peer, 'data')))
      const proxied = Number(/proxied (\d+)/.exec(server.out())[1])
      const clients = Array.from({ length: 20 }, () => net.connect(proxied, '127.0.0.1'))
      for (const client of clients) client.on('error', () => {})
      await Promise.all(clients.map((client) => once(client, 'connect')))
      for (const client of clients) client.write('PROXY TCP4 203.0.113.7 ')
      await pause(100)

      // Half of what they may send.
      const talkers = Array.from({ length: 5 }, () => net.connect(server.port, '127.0.0.1'))
      for (const talker of talkers) talker.on('error', () => {}).resume()
      await Promise.all(talkers.map((talker) => once(talker, 'connect')))
      const talking = setInterval(() => {
        for (const talker of talkers) talker.write('x\n')
      }, 200)

      const stopped = processesOf('impatient.mjs')
      assert.notEqual(stopped.length, 0)
      for (const pid of stopped) process.kill(pid, 'SIGSTOP')
      await pause(8000)
      for (const pid of stopped) process.kill(pid, 'SIGCONT')

      // Silent for nine seconds by now, of which less than two count.
      await pause(500)
      for (const peer of peers) peer.write('after\n')
      for (const client of clients) client.write('198.51.100.1 1 2\r\nafter\n')
      await Promise.all([...peers, ...clients].map((peer) => once(peer, 'data')))
      await pause(1000)
      clearInterval(talking)
      assert.doesNotMatch(server.out(), /idle-timeout|proxyTimeout|rate-exceeded/)

      // And the limit is still there.
      await Promise.all(peers.map((peer) => once(peer.resume(), 'close')))
      assert.match(server.out(), /idle-timeout/)
      for (const peer of [...peers, ...clients, ...talkers]) peer.destroy()
    } finally {
      await server.stop()
    }
  })
})
