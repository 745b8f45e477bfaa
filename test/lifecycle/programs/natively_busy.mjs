// Terminates a Worker while it is in a native call, many times. Argument: which call.
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { plainProfile } from '../../helpers/raw_engine.mjs'

const ROUNDS = Number(process.argv[3])
const KNOWN = {
  ioThreads: 1,
  diskThreads: 1,
  deliveryBytes: 2 ** 20,
  deliveryPerConnection: 2 ** 20,
  maxFreeBuffers: 0,
  maxFreeContexts: 0,
  skipOnSuccess: true,
  externalMemory: true
}
const profile = plainProfile({ kind: 'raw', maxPacket: 1024 })

/** Each gives a call that can be made again and again. */
const calls = {
  openSource: (addon) => {
    const engine = new addon.Engine(KNOWN, () => undefined, setImmediate)
    return () => engine.openSource('no such file', false)
  },
  openTarget: (addon) => {
    const engine = new addon.Engine(KNOWN, () => undefined, setImmediate)
    return () => engine.openTarget('no such folder\\file', 10, false, false)
  },
  moveFile: (addon) => {
    const engine = new addon.Engine(KNOWN, () => undefined, setImmediate)
    return () => engine.moveFile('no such file', 'nor this', false)
  },
  errorInfo: (addon) => () => addon.errorInfo(10_054),
  stats: (addon) => {
    const engine = new addon.Engine(KNOWN, () => undefined, setImmediate)
    return () => engine.stats()
  },
  addProfile: (addon) => {
    const engine = new addon.Engine(KNOWN, () => undefined, setImmediate)
    return () => engine.addProfile(profile)
  },
  listen: (addon) => {
    const engine = new addon.Engine(KNOWN, () => undefined, setImmediate)
    const used = engine.addProfile(profile)
    const at = {
      address: '127.0.0.1',
      family: 4,
      dualStack: false,
      exclusive: true,
      backlog: 1,
      pendingAccepts: 1,
      maxConnections: 1,
      onMax: 'reset',
      conditional: false,
      profile: used
    }
    const listener = engine.listen({ ...at, port: 0 })
    const { port } = engine.listenerAddress(listener)
    return () => {
      engine.listenerAddress(listener)
      try {
        engine.listen({ ...at, port })
      } catch {
        // It is taken.
      }
    }
  },
  connect: (addon) => {
    const engine = new addon.Engine(KNOWN, () => undefined, setImmediate)
    const used = engine.addProfile(profile)
    let token = 0
    return () => {
      engine.connect({ token: ++token, address: '127.0.0.1', port: 1, family: 4, timeout: 1000, profile: used })
      engine.cancelConnect?.(token)
      engine.submit(0, [])
    }
  },
  engine: (addon) => () => new addon.Engine(KNOWN, () => undefined, setImmediate)
}

const [which] = isMainThread ? process.argv.slice(2) : workerData
if (isMainThread) {
  for (let round = 0; round < ROUNDS; round++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: [which] })
    await once(worker, 'message')
    await sleep(round % 5)
    await worker.terminate()
  }
  console.log(`${ROUNDS} terminated`)
} else {
  const call = calls[which](createRequire(import.meta.url)(process.env.IOCP_FAULT_ADDON))
  parentPort.postMessage('busy')
  // A few of those that take a thread or a port.
  for (let left = which === 'engine' ? 200 : which === 'connect' ? 2000 : Infinity; left > 0; left--) call()
  for (;;);
}
