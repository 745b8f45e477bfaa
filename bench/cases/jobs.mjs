/** Hashes for each message, a few tenths of a millisecond of work. */
const ROUNDS = 100

export default {
  name: 'jobs',
  title: `a chain of ${ROUNDS} SHA-256 for each of 64 bytes, 50 connections, 4 deep`,
  unit: 'messages/s',
  better: 'higher',
  targets: {},
  peers: ['iocp', 'main', 'piscina'],
  server: { rounds: ROUNDS },
  async run({ load, server, seconds, warmUp }) {
    const options = { connections: 50, size: 64, depth: 4, seconds, 'warm-up': warmUp }
    let delay
    const result = await load('echo', options, async (phase) => {
      if (phase === 'measuring' || phase === 'done') ({ delay } = await server.ask('delay'))
    })
    return { ...result, value: result.messages / result.seconds, eventLoopDelay: delay }
  }
}
