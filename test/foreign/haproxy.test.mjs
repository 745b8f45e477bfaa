// Debian's HAProxy in front of a server: 10,000 clients, each of whom knows its own address from its own socket.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import tls from 'node:tls'
import { has, run, startProgram } from './helpers.mjs'

const isThere = process.platform !== 'win32' && (await has('haproxy', '-v')) && (await has('openssl', 'version'))
const CLIENTS = 10_000
const AT_ONCE = 64

const folder = isThere ? fs.mkdtempSync(path.join(os.tmpdir(), 'iocp-haproxy-')) : ''
const certificate = path.join(folder, 'client.pem')

async function freePorts(count) {
  const servers = Array.from({ length: count }, () => net.createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => server.address().port)
  for (const server of servers) server.close()
  return ports
}

/** What the server answers to a line, and what the client's own socket says of itself. */
function ask(options, text = 'who am I', connect = net.connect) {
  return new Promise((resolve, reject) => {
    const socket = connect(options, () => {
      own = [socket.localAddress.replace(/^::ffff:/, ''), socket.localPort]
      socket.write(`${text}\n`)
    })
    let own
    let answer = ''
    socket.setEncoding('utf8').on('data', (part) => {
      answer += part
      if (!answer.endsWith('\n')) return
      socket.destroy()
      resolve({ own, answer: JSON.parse(answer) })
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`closed after "${answer}"`)))
  })
}

describe('HAProxy in front', { skip: !isThere && 'there is no haproxy, or no openssl, here' }, () => {
  let server
  let proxy
  let ports

  before(
    async () => {
      const files = ['-keyout', path.join(folder, 'key.pem'), '-out', path.join(folder, 'cert.pem')]
      const made = await run('openssl', [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-subj',
        '/CN=client.example',
        ...files
      ])
      assert.equal(made.code, 0, made.error)
      fs.writeFileSync(
        certificate,
        ['key.pem', 'cert.pem'].map((name) => fs.readFileSync(path.join(folder, name))).join('')
      )
      server = await startProgram('servers/proxied.mjs')
      ports = await freePorts(4)
      const listen = ([port, ...words], index) => [
        `listen l${index}`,
        `  bind 127.0.0.1:${port}${index === 3 ? ` ssl crt ${certificate} ca-file ${certificate} verify optional` : ''}`,
        ...(index === 3 ? [] : [`  bind [::1]:${port}`]),
        `  server s 127.0.0.1:${server.port} check check-send-proxy inter 200ms ${words.join(' ')}`
      ]
      const config = [
        'global',
        '  maxconn 1000',
        'defaults',
        '  mode tcp',
        '  unique-id-format %ci:%cp',
        ...['connect', 'client', 'server'].map((name) => `  timeout ${name} 20s`),
        ...[
          [ports[0], 'send-proxy'],
          [ports[1], 'send-proxy-v2'],
          [ports[2], 'send-proxy-v2', 'proxy-v2-options', 'crc32c,unique-id'],
          [
            ports[3],
            'send-proxy-v2-ssl-cn',
            'proxy-v2-options',
            'ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c'
          ]
        ].flatMap(listen)
      ]
      const name = path.join(folder, 'haproxy.cfg')
      fs.writeFileSync(name, `${config.join('\n')}\n`)
      proxy = spawn('haproxy', ['-db', '-q', '-f', name], { stdio: ['ignore', 'inherit', 'inherit'] })
      // Until it listens, and its checks have found the server.
      for (let turn = 0; ; turn++) {
        try {
          await ask(
            {
              host: '127.0.0.1',
              port: ports[3],
              cert: fs.readFileSync(certificate),
              key: fs.readFileSync(certificate),
              rejectUnauthorized: false
            },
            'stats',
            tls.connect
          )
          break
        } catch (error) {
          if (turn === 100) throw error
          await pause(100)
        }
      }
    },
    { timeout: 600_000 }
  )

  after(async () => {
    proxy?.kill('SIGTERM')
    await server?.stop()
    fs.rmSync(folder, { recursive: true, force: true })
  })

  test(`send-proxy and send-proxy-v2: ${CLIENTS} of ${CLIENTS} addresses are right`, { timeout: 120_000 }, async () => {
    let right = 0
    let next = 0
    const client = async () => {
      for (let index = next++; index < CLIENTS; index = next++) {
        const version = 1 + (index % 2)
        const host = index % 10 < 2 ? '::1' : '127.0.0.1'
        const localAddress = host === '::1' ? '::1' : `127.0.${1 + (index % 7)}.${1 + (index % 250)}`
        const { own, answer } = await ask({ host, port: ports[version - 1], localAddress })
        assert.equal(own[0], localAddress)
        assert.deepEqual(answer.client, own)
        assert.equal(answer.proxyAddress, '127.0.0.1')
        assert.equal(answer.version, version)
        assert.deepEqual([answer.destination.address, answer.destination.port], [host, ports[version - 1]])
        right++
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, client))
    assert.equal(right, CLIENTS)
  })

  test('with a checksum and a unique id', { timeout: 60_000 }, async () => {
    for (let index = 0; index < 50; index++) {
      const { own, answer } = await ask({ host: '127.0.0.1', port: ports[2], localAddress: `127.0.0.${2 + index}` })
      assert.deepEqual(answer.client, own)
      assert.equal(answer.uniqueId, own.join(':'))
      assert.ok(answer.types.includes(3))
    }
  })

  test('send-proxy-v2-ssl-cn: what TLS was like, and whose certificate', { timeout: 60_000 }, async () => {
    const pem = fs.readFileSync(certificate)
    const options = { host: '127.0.0.1', port: ports[3], servername: 'game.example', rejectUnauthorized: false }
    for (const isKnown of [true, false]) {
      const { own, answer } = await ask(
        { ...options, ...(isKnown && { cert: pem, key: pem }) },
        'who am I',
        tls.connect
      )
      assert.deepEqual(answer.client, own)
      assert.equal(answer.authority, 'game.example')
      const { secure, certificate: shown, verified, version, commonName, cipher, keyAlgorithm } = answer.ssl
      assert.deepEqual([secure, shown, verified], [true, isKnown, isKnown])
      assert.equal(version, 'TLSv1.3')
      assert.equal(commonName, isKnown ? 'client.example' : undefined)
      assert.match(cipher, /^TLS_/)
      assert.equal(keyAlgorithm, 'RSA2048')
    }
  })

  test('its checks are connections of its own, and nothing was refused', { timeout: 60_000 }, async () => {
    const { answer } = await ask({ host: '127.0.0.1', port: ports[0] }, 'stats')
    assert.ok(answer.own.LOCAL > 5, JSON.stringify(answer))
    assert.deepEqual([answer.refused, answer.byReason.proxyHeader], [0, 0])
  })
})
