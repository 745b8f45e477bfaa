// Sends a file and is killed meanwhile. Arguments: port, path, method.
import { connect, framing } from 'iocp'

const [port, path, method] = process.argv.slice(2)
const connection = await connect({
  host: '127.0.0.1',
  port: Number(port),
  framing: framing.lengthField({ typeByte: true }),
  transfer: { method }
})
await connection.sendFile(path, { bytesPerSecond: '4MiB', verify: method === 'read' ? 'sha256' : false })
