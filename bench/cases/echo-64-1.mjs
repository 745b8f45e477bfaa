import { echoCase } from '../harness/echo_case.mjs'

export default echoCase({
  name: 'echo-64-1',
  title: '64 bytes, 50 connections, 1 deep',
  targets: { net: 2.3, cpp: 0.85, asio: 1.5 }
})
