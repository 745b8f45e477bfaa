/** Ports for servers that somebody else starts, or that nobody has. */

import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * A port that is free, and stays so unless somebody asks for that very number: it is below those that systems give out
 * (from 32,768 on Linux, from 49,152 on Windows).
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const server = createServer()
    try {
      server.listen(port)
      await once(server, 'listening')
    } catch {
      continue
    }
    server.close()
    await once(server, 'close')
    return port
  }
}
