// `npm run test:long [-- filters]`: the Windows tests with the loads for a night instead of those for a coffee break.
process.env.IOCP_LONG = '1'
process.argv.splice(2, 0, 'windows')
await import('./test.mjs')
