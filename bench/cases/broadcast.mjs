export default {
  name: 'broadcast',
  title: '256 bytes to 5,000 connections',
  unit: 'deliveries/s',
  better: 'higher',
  targets: { net: 3 },
  server: { mode: 'broadcast' },
  async run({ load, seconds, warmUp }) {
    const result = await load('broadcast', { connections: 5000, size: 256, seconds, 'warm-up': warmUp })
    return { ...result, value: result.messages / result.seconds }
  }
}
