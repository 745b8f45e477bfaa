// Sends a file and is killed meanwhile. Arguments: port, path.
import { connect, framing } from 'iocp'

const [port, path] = process.argv.slice(2)
const connection = await connect({ host: '127.0.0.1', port: Number(port), framing: framing.lengthField({ typeByte: true }) })
await connection.sendFile(path, { bytesPerSecond: '4MiB' })
