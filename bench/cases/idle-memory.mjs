// What one more connection costs once it is quiet: the difference between 1,000 and 11,000 of them.
import { setTimeout as sleep } from 'node:timers/promises'

const FIRST = 1000
const MORE = 10_000
/** Buffers that were needed for a moment go back to the system. */
const QUIET = 4000

export default {
  name: 'idle-memory',
  title: 'private memory of an idle connection, at 10,000',
  unit: 'bytes/connection',
  better: 'lower',
  targets: { net: 2 },
  async run({ load, server }) {
    const memory = {}
    const result = await load('hold', { connections: FIRST + MORE, first: FIRST }, async (phase) => {
      if (phase === 'done') return
      await sleep(QUIET)
      memory[phase] = await server.memory()
    })
    return { ...result, value: (memory.all - memory.first) / MORE }
  }
}
