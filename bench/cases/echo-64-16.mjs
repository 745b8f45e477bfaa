import { echoCase } from '../harness/echo_case.mjs'

export default echoCase({
  name: 'echo-64-16',
  title: '64 bytes, 50 connections, 16 deep',
  depth: 16,
  targets: { net: 2.0, cpp: 0.8, asio: 1.1 }
})
