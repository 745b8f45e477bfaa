// Sends a file again and again until it is killed. Arguments: port, path.
import { connect, framing } from 'iocp'

const [port, path] = process.argv.slice(2)
const connection = await connect({ host: '127.0.0.1', port: Number(port), framing: framing.lengthField({ typeByte: true }) })
for (;;) await connection.sendFile(path, { bytesPerSecond: '20MiB' })
