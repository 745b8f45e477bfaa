// Leaves while threads or a disk are busy with files. Arguments: with what, how to leave, folder.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, ftruncateSync, openSync, readdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { connect, createServer, framing } from 'iocp'

const typed = framing.lengthField({ typeByte: true })
const MIB = 1024 * 1024
// A hash of it takes minutes.
const HUGE = 64 * 1024 * MIB

async function ends(transfer) {
  const server = createServer({ framing: typed, transfer })
  const accepted = once(server, 'connection')
  const { port } = await server.listen({ host: '127.0.0.1' })
  const client = await connect({ host: '127.0.0.1', port, framing: typed, transfer })
  const [connection] = await accepted
  return { client, connection }
}

function makeHuge(path) {
  closeSync(openSync(path, 'w'))
  try {
    execFileSync('fsutil', ['sparse', 'setflag', path], { stdio: 'ignore' })
  } catch {
    // Where files have holes anyway.
  }
  const file = openSync(path, 'r+')
  ftruncateSync(file, HUGE)
  closeSync(file)
}

function isOpen(path) {
  try {
    closeSync(openSync(path, 'r+'))
    return false
  } catch {
    return true
  }
}

/** Each resolves when it is busy. */
const kinds = {
  async opening(folder) {
    const { client } = await ends({ maxPerConnection: 1000 })
    for (let n = 0; n < 300; n++) {
      client.receiveFile({ path: join(folder, `${n}`), bytes: 10, overwrite: 'replace' }).catch(() => undefined)
    }
  },

  async hashing(folder) {
    const source = join(folder, 'source')
    const name = createHash('sha256').update(`target/${HUGE}`).digest('hex').slice(0, 32)
    const part = join(folder, `.iocp-${name}.part`)
    makeHuge(source)
    makeHuge(part)
    const { client, connection } = await ends(true)
    let failed
    connection.on('file', (offer) => {
      offer.accept({ path: join(folder, 'target'), resume: true }).catch(() => (failed = true))
    })
    // Looking at the part may be what keeps it from being opened; then once more.
    do {
      failed = false
      client.sendFile(source, { verify: false }).catch(() => undefined)
      while (!failed && !isOpen(part)) await sleep(10)
    } while (failed)
    await sleep(300)
  },

  // Every call on a file holds its thread for a while.
  async blocked(folder) {
    const { faults } = createRequire(import.meta.url)(process.env.IOCP_FAULT_ADDON)
    const source = join(folder, 'source')
    writeFileSync(source, Buffer.alloc(2 * MIB))
    const { client, connection } = await ends({ maxPerConnection: 100 })
    for (const end of [client, connection]) {
      end.on('file', (offer) => {
        offer.accept({ path: join(folder, `target ${Math.random()}`) }).catch(() => undefined)
      })
    }
    for (const call of [
      'open_file',
      'read_file',
      'write_file',
      'allocate_file',
      'size_file',
      'close_file',
      'move_file'
    ]) {
      faults.set(call, { block: 50 })
    }
    for (let n = 0; n < 8; n++) {
      client.sendFile(source).catch(() => undefined)
      connection.sendFile(source).catch(() => undefined)
    }
    while (faults.hits('write_file') < 3) await sleep(10)
  },

  async writing(folder) {
    const { faults } = createRequire(import.meta.url)(process.env.IOCP_FAULT_ADDON)
    faults.set('write_file', { keep: true, skip: 2 })
    const source = join(folder, 'source')
    writeFileSync(source, Buffer.alloc(2 * MIB))
    const { client, connection } = await ends(true)
    connection.on('file', (offer) => {
      offer.accept({ path: join(folder, 'target') }).catch(() => undefined)
    })
    client.sendFile(source).catch(() => undefined)
    while (faults.hits('write_file') === 0) await sleep(10)
  }
}

const [what, how, folder] = isMainThread ? process.argv.slice(2) : workerData
if (!isMainThread) {
  await kinds[what](folder)
  parentPort.postMessage('busy')
} else if (how === 'exit') {
  await kinds[what](folder)
  console.log('leaving')
  process.exit(5)
} else {
  const rounds = what === 'opening' ? 5 : what === 'blocked' ? 2 : 1
  for (let round = 0; round < rounds; round++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: [what, how, folder] })
    await once(worker, 'message')
    await sleep(round * 10)
    await worker.terminate()
    const parts = readdirSync(folder).filter((name) => name.endsWith('.part') && what !== 'hashing')
    console.log(`terminated, ${parts.length} parts`)
  }
}
