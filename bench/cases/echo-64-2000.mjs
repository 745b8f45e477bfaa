import { echoCase } from '../harness/echo_case.mjs'

export default echoCase({
  name: 'echo-64-2000',
  title: '64 bytes, 2,000 connections, 1 deep',
  connections: 2000,
  targets: { net: 2.0, cpp: 0.85, asio: 1.5 }
})
