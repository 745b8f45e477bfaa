// The connection of a transfer is lost while a disk thread opens the file, and nothing else keeps the process alive.
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { connect, framing } from 'iocp'

const addon = process.env.IOCP_FAULT_ADDON
process.env.IOCP_ADDON = addon
const { faults } = createRequire(import.meta.url)(addon)
const peer = createServer().listen(0, '127.0.0.1')
await once(peer, 'listening')
const accepted = once(peer, 'connection')
const connection = await connect({
  host: '127.0.0.1',
  port: peer.address().port,
  framing: framing.lengthField({ typeByte: true })
})
const [socket] = await accepted
peer.close()
faults.set('open_file', { block: 1000 })
const sending = connection.sendFile(process.argv[1])
socket.resetAndDestroy()
try {
  await sending
} catch (error) {
  console.log(error.code)
}
