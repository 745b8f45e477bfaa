/** While it is warmed up, every connection has had its turn: of so many, as long as this takes all servers, about. */
const CONNECTIONS_PER_SECOND = 2000

/** Messages are sent, answered and compared; `depth` of them are under way on each connection. */
export function echoCase({ name, title, targets, connections = 50, size = 64, depth = 1, threads }) {
  return {
    name,
    title,
    targets,
    unit: 'messages/s',
    better: 'higher',
    server: { ...(threads !== undefined && { threads }), ...(size > 512 * 1024 && { 'max-packet': 2 * size }) },
    async run({ load, seconds, warmUp }) {
      const longer = Math.max(warmUp, connections / CONNECTIONS_PER_SECOND)
      const result = await load('echo', { connections, size, depth, seconds, 'warm-up': longer })
      return { ...result, value: result.messages / result.seconds }
    }
  }
}
