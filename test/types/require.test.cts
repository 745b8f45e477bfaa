// Compiled, not run: the same types for programs that require the package.
// eslint-disable-next-line @typescript-eslint/no-require-imports -- it is what this file is about
import iocp = require('iocp')

declare function test(name: string, body: () => void): void

test('require gives the types too', () => {
  const server: iocp.Server = iocp.createServer({ framing: iocp.framing.varint() })
  server.on('packet', (packet, connection) => connection.send(packet.subarray(1)))
  // @ts-expect-error there is no such event
  server.on('data', () => undefined)
})
