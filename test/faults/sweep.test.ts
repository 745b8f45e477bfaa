/** Each call on an open connection fails in each plausible way: the right cause, or a retry that loses nothing. */

import type { ServerOptions } from 'iocp'
import { describe, expect, test } from 'vitest'
import { type Call, faultsOfLibrary, type Rule } from '../helpers/faults.js'
import { startEcho } from '../helpers/servers.js'
import { until } from '../helpers/time.js'
import { howsOf, manners, ruleFor, Subject } from './sweep_support.js'
import { connectionRows, type ErrorName } from './sweep_table.js'

const seam = faultsOfLibrary()

/** In which mode a server makes the call. */
function modeOf(call: Call): ServerOptions {
  if (call === 'receive') return { readMode: 'direct', pendingReads: 2 }
  return { readMode: call === 'zero_read' || call === 'receive_now' ? 'zero-byte' : 'adaptive' }
}

/** Calls that a connection makes once. */
const once: ReadonlySet<Call> = new Set(['shutdown', 'non_blocking'])

const cases = connectionRows.flatMap(({ calls, errors, outcome }) =>
  calls.flatMap(({ call, name }) => errors.map((error) => ({ call, name, error, outcome })))
)

describe.skipIf(seam === undefined)('on an open connection', () => {
  test.each(cases)('$name fails with $error', { timeout: 60_000 }, async ({ call, error, outcome }) => {
    const { server, port } = await startEcho({
      ...modeOf(call),
      maxFreeBuffers: -1,
      maxFreeContexts: -1,
      pendingAccepts: 2
    })
    await until(() => server.stats()?.listeners[0]?.pendingAccepts === 2)
    const subject = new Subject(server, port)
    for (const { how, manner, skip } of variants(call, error)) {
      const variant = `${how}, ${manner}, number ${skip}`
      const short: Rule = manner === 'short' ? { shortTo: 3 } : {}
      seam?.set(call, ruleFor(error, how, { skip, count: 1, ...short }))
      if (manner === 'late') seam?.set('completion', { delay: 3, perMille: 500 })
      const result = await subject.talk()
      await until('its end is told', () => subject.closed.length > 0)
      const [info, ...more] = subject.closed.splice(0)
      expect(more, variant).toEqual([])
      expect(seam?.hits(call), variant).toBeGreaterThan(0)
      expect(result.wrong, variant).toBeUndefined()
      if (outcome === 'retry') {
        expect({ complete: result.complete, cause: info?.cause }, variant).toEqual({
          complete: true,
          cause: 'peer-end'
        })
      } else {
        expect({ cause: info?.cause, code: info?.error?.code }, variant).toEqual(outcome)
      }
      seam?.clear()
      await subject.isAtRest()
      await subject.serves()
      await until('the end of the second is told', () => subject.closed.length > 0)
      subject.closed.length = 0
      await subject.isAtRest()
    }
  })
})

function variants(call: Call, error: ErrorName) {
  // The first memory is that of the connection itself: see sweep_accept.
  const first = call === 'memory' ? 1 : 0
  return howsOf(call, error).flatMap((how, row) =>
    manners.map((manner, column) => ({ how, manner, skip: first + (once.has(call) ? 0 : (row + column) % 3) }))
  )
}
