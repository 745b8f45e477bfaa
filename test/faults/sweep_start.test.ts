/** What a process needs before its first server listens fails: an error that says so, and the next attempt works. */

import { createServer } from 'iocp'
import { describe, expect, test } from 'vitest'
import { type Call, faultsOfLibrary } from '../helpers/faults.js'
import { HOST } from '../helpers/ports.js'
import { casesOf, failure, ruleFor, serves } from './sweep_support.js'
import { startRows } from './sweep_table.js'

const seam = faultsOfLibrary()

/** Once they have succeeded, a process does not call them again: until the last of them nothing may work. */
const oncePerProcess: ReadonlySet<Call> = new Set(['start_winsock', 'extension_function'])

describe.skipIf(seam === undefined)('at the start', () => {
  test.each(casesOf(startRows))('$name fails with $error', async ({ call, error, code }) => {
    // The first thread, or a later one.
    for (const skip of call === 'thread' ? [0, 1, 2] : [0]) {
      const server = createServer({ ioThreads: 3 })
      seam?.set(call, ruleFor(error, 'immediate', { count: 1, skip }))
      if (code === 'ignored') {
        await server.listen({ port: 0, host: HOST })
        // Without it, nobody knows whether a call that succeeds at once leaves a packet.
        expect(server.stats()?.skipOnSuccess).toBe(false)
      } else {
        expect(await failure(server.listen({ port: 0, host: HOST }))).toMatchObject({ code })
        expect(server.listening).toBe(false)
        expect(server.stats()).toBeUndefined()
      }
      expect(seam?.hits(call)).toBe(1)
      seam?.clear()
      await server.close()
    }
    if (!oncePerProcess.has(call)) await serves()
  })
})
