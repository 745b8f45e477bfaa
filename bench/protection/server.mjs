// A server whose limits are measured: it echoes bytes, and tells on stdout what it is asked on stdin. `iocp` or `net`, and
// its options as JSON.
import net from 'node:net'
import readline from 'node:readline'
import { createServer, framing } from 'iocp'

const [kind, text] = process.argv.slice(2)
const options = JSON.parse(text)
const began = new Map()
/** How long each connection was open, and why it ended. */
const ended = []

function startIocp() {
  const server = createServer({ framing: options.framed === true ? undefined : framing.raw(), ...options.server })
  server.on('packet', (packet, connection) => connection.send(packet))
  server.on('connection', (connection) => began.set(connection.id, performance.now()))
  server.on('disconnect', ({ cause }, { id }) => {
    ended.push({ cause, after: performance.now() - began.get(id) })
    began.delete(id)
  })
  for (const address of options.banned ?? []) server.access.ban(address, { time: '1h' })
  return server
}

/** The same with node:net, which refuses in JavaScript. */
function startNet() {
  const blockList = new net.BlockList()
  for (const address of options.banned ?? []) blockList.addAddress(address)
  const server = net.createServer({ noDelay: true, blockList }, (socket) => {
    socket.on('error', () => undefined).on('data', (bytes) => socket.write(bytes))
  })
  return server
}

const server = kind === 'iocp' ? startIocp() : startNet()
const port = await new Promise((resolve) => {
  if (kind === 'iocp') void server.listen({ port: 0, host: '127.0.0.1' }).then((address) => resolve(address.port))
  else server.listen(0, '127.0.0.1', () => resolve(server.address().port))
})

const commands = {
  stats: () => ({ cpu: process.cpuUsage(), connections: began.size, refused: server.stats?.().counters.refused ?? 0 }),
  /** Milliseconds for which JavaScript has been at work. */
  busy: () => ({ busy: performance.eventLoopUtilization().active }),
  ended: () => ({ ended: ended.splice(0) })
}
process.stdout.write(`${JSON.stringify({ ready: port })}\n`)
const lines = readline.createInterface({ input: process.stdin })
lines.on('line', (line) => process.stdout.write(`${JSON.stringify(commands[line]())}\n`))
lines.on('close', () => process.exit(0))
