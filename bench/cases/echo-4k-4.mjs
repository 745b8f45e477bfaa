import { echoCase } from '../harness/echo_case.mjs'

export default echoCase({
  name: 'echo-4k-4',
  title: '4 KiB, 50 connections, 4 deep',
  size: 4096,
  depth: 4,
  targets: { net: 1.5, cpp: 0.85, asio: 1.1 }
})
