// Accepts every offered file into the folder "inbox". No byte of the files passes through JavaScript.
import { mkdir } from 'node:fs/promises'
import { createServer, framing } from 'iocp'

await mkdir('inbox', { recursive: true })
const server = createServer({ framing: framing.lengthField({ typeByte: true }), transfer: { directory: 'inbox' } })

server.on('file', async (offer) => {
  try {
    const { path, bytes } = await offer.accept({ directory: 'inbox', overwrite: 'rename' })
    console.log(`${path} is complete and verified: ${bytes} bytes`)
  } catch (error) {
    console.error(`${offer.name}: ${error.message}`)
  }
})

const { port } = await server.listen({ port: 9997 })
console.log(`Listening on port ${port}`)
