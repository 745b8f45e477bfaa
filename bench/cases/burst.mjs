// All connections are asked for at once; the figure that matters is how many were refused.
export default {
  name: 'burst',
  title: '2,000 connections at once',
  unit: 'connections/s',
  better: 'higher',
  targets: {},
  async run({ load }) {
    const result = await load('connect', { connections: 2000, window: 2000 })
    return { ...result, value: result.connections / result.seconds }
  }
}
