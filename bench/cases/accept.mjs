// A connection counts when its first message has come back: then the server's program has seen it.
export default {
  name: 'accept',
  title: '10,000 connections, 64 at a time',
  unit: 'connections/s',
  better: 'higher',
  targets: { net: 6, cpp: 0.85, asio: 1.0 },
  async run({ load }) {
    const result = await load('connect', { connections: 10_000, window: 64 })
    return { ...result, value: result.connections / result.seconds }
  }
}
