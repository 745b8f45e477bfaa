/** Where servers of the tests listen, also those that somebody else starts, or that do not exist. */

import { once } from 'node:events'
import { createServer } from 'node:net'

/** The loopback of IPv4, because a machine may be without IPv6. */
export const HOST = '127.0.0.1'

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
