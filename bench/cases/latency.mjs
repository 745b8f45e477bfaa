// Messages are due at even intervals, whatever comes back; a latency counts from the moment a message was due.
import echo from './echo-64-1.mjs'

const CONNECTIONS = 50
const SIZE = 64

export default {
  name: 'latency',
  title: "99th percentile at half of net's maximum load",
  unit: 'µs',
  better: 'lower',
  targets: { net: 1.4 },
  /** The same rate for all, found once. */
  async prepare({ runWith }) {
    const { value } = await runWith('net', echo)
    return { rate: Math.round(value / 2) }
  },
  async run({ load, seconds, warmUp, prepared }) {
    const { rate } = prepared
    const result = await load('echo', { connections: CONNECTIONS, size: SIZE, rate, seconds, 'warm-up': warmUp })
    return { ...result, value: result.latencyMicroseconds.p99, rate }
  }
}
