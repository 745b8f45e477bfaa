// Receives whatever it is offered until it is killed. Arguments: port, folder, resume.
import { connect, framing } from 'iocp'

const [port, directory, resume] = process.argv.slice(2)
const connection = await connect({
  host: '127.0.0.1',
  port: Number(port),
  framing: framing.lengthField({ typeByte: true })
})
connection.on('file', (offer) => {
  void offer.accept({ directory, overwrite: 'replace', resume: resume === 'resume' })
})
connection.send('ready')
