// @ts-check
import { createServer } from 'iocp'

/** A server that sends back every packet. */
export function createEchoServer() {
  const server = createServer()
  server.on('packet', (packet, connection) => {
    // A peer that does not read what we send is not listened to either, until it has.
    if (connection.send(packet) === 'queued') connection.pause()
  })
  server.on('drain', (connection) => connection.resume())
  return server
}
