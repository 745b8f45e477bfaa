// @ts-check
import { createEchoServer } from './server.js'

/**
 * Serves until Ctrl-C, then lets the connections finish.
 * @param {import('./arguments.js').Arguments} words
 * @returns {Promise<number>} exit code
 */
export async function serve({ port, host }) {
  const server = createEchoServer()
  const address = await server.listen(host === undefined ? { port } : { port, host })
  const at = address.family === 'IPv6' ? `[${address.address}]` : address.address
  console.log(`Listening on ${at}:${address.port}. Ctrl-C ends it.`)
  await interrupted()
  const connections = server.connections.size
  console.log(`\nClosing; ${connections} connection${connections === 1 ? '' : 's'} open. Ctrl-C once more cuts them.`)
  void interrupted().then(() => server.disconnectAll({ graceful: false }))
  const { drained, cut } = await server.close({ deadline: '10s' })
  console.log(`Closed: ${drained} ended in order, ${cut} cut.`)
  return 0
}

/** Resolves when the program is asked to end. */
function interrupted() {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGBREAK']) process.once(signal, () => setImmediate(resolve))
  })
}
