// A client asks for a large file and counts what comes; then again, until the time is over.
import fs from 'node:fs'
import net from 'node:net'
import { inCache } from '../../tools/lib/paths.mjs'
import { hostPath } from './wine_host.mjs'

const MIB = 1024 * 1024
const SIZE = 512 * MIB
const REQUEST = Buffer.from([0, 0, 0, 3, 0x67, 0x65, 0x74])
const file = inCache('bench', 'file.bin')

/** One for each way of sending. Both belong to `npm run bench -- file`. */
export function fileCase({ name, method, title, targets, javaScriptTargets }) {
  return {
    name,
    title,
    targets,
    javaScriptTargets,
    group: 'file',
    unit: 'MiB/s',
    better: 'higher',
    peers: ['iocp', 'net', 'cpp'],
    server: { mode: 'file', file: hostPath(file), method },
    prepare: () => makeFile(),
    finish: () => fs.rmSync(file, { force: true }),
    async run({ server, seconds }) {
      await fetchOnce(server.port)
      const before = await state(server)
      const begun = performance.now()
      let bytes = 0
      do bytes += await fetchOnce(server.port)
      while (performance.now() - begun < seconds * 1000)
      const time = (performance.now() - begun) / 1000
      const after = await state(server)
      const messages = bytes / MIB
      const each = (what) => ((after[what] - before[what]) * 1e6) / messages
      return {
        value: messages / time,
        cpu: { own: each('own'), kernel: each('kernel') },
        javaScript: each('javaScript'),
        latencyMicroseconds: { p50: 0, p90: 0, p99: 0 },
        errors: bytes % SIZE === 0 ? 0 : 1,
        refused: 0,
        messages: 0,
        inTime: true
      }
    }
  }
}

function makeFile() {
  const block = Buffer.alloc(MIB, 'file transfer ')
  const handle = fs.openSync(file, 'w')
  for (let at = 0; at < SIZE; at += block.length) fs.writeSync(handle, block)
  fs.closeSync(handle)
}

/** Seconds of processor time: the server's, of Wine's server, and in which its JavaScript thread was busy. */
async function state(server) {
  const { busy = 0 } = await server.ask('busy')
  return { ...(await server.cpu()), javaScript: busy / 1000 }
}

/** The bytes that came. */
function fetchOnce(port) {
  return new Promise((resolve, reject) => {
    let left = SIZE
    const take = (bytes) => {
      left -= bytes
      if (left <= 0) socket.end()
    }
    const onread = { buffer: Buffer.alloc(MIB), callback: take }
    const socket = net.connect({ port, host: '127.0.0.1', onread }, () => socket.write(REQUEST))
    socket.on('error', reject)
    socket.on('close', () => resolve(SIZE - left))
  })
}
