// Cases in which each message is work for a worker thread.

/** @param rounds of the work, see bench/peers/work.mjs */
export function jobsCase(name, rounds) {
  return {
    name,
    group: 'jobs',
    title: `${rounds.toLocaleString('en-US')} rounds of arithmetic for each of 64 bytes, 50 connections, 4 deep`,
    unit: 'messages/s',
    better: 'higher',
    targets: {},
    peers: ['iocp', 'main', 'piscina'],
    server: { rounds },
    async run({ load, server, seconds, warmUp }) {
      const options = { connections: 50, size: 64, depth: 4, seconds, 'warm-up': warmUp }
      let delay
      const result = await load('echo', options, async (phase) => {
        if (phase === 'measuring' || phase === 'done') ({ delay } = await server.ask('delay'))
      })
      // When nobody asks the server for anything.
      const { work, scaling } = await server.ask('scaling')
      return { ...result, value: result.messages / result.seconds, eventLoopDelay: delay, work, scaling }
    }
  }
}
