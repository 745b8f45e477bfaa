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
      const result = await load('echo', { connections, size, depth, seconds, 'warm-up': warmUp })
      return { ...result, value: result.messages / result.seconds }
    }
  }
}
