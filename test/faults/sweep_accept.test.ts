/** Each call by which peers are accepted fails, many times in a row: the listener goes on. */

import { describe, expect, test } from 'vitest'
import { faultsOfLibrary, type Rule } from '../helpers/faults.js'
import { startEcho } from '../helpers/servers.js'
import { pause, until } from '../helpers/time.js'
import { type How, howsOf, type Manner, manners, ruleFor, Subject } from './sweep_support.js'
import { acceptRows, type ErrorName, shortages } from './sweep_table.js'

const seam = faultsOfLibrary()

const cases = acceptRows.flatMap(({ calls, errors, outcome }) =>
  calls.flatMap(({ call, name }) => errors.map((error) => ({ call, name, error, outcome })))
)
const options = {
  pendingAccepts: 2,
  maxFreeContexts: -1,
  keepAlive: true,
  typeOfService: 8,
  receiveBuffer: '32KiB'
} as const

/** As when a peer has left early, while its accept was pending: no reason for a pause, or to tell. */
const peerLeft: ReadonlySet<ErrorName> = new Set([
  'ERROR_NETNAME_DELETED',
  'ERROR_OPERATION_ABORTED',
  'WSAENOTSOCK',
  'WSAECONNABORTED',
  'WSAECONNRESET',
  'WSAENOTCONN',
  'WSAEDISCON'
])

/** So many in a row: each accept of the pool once, or several times, with the pauses between them. */
const isLong = process.env['IOCP_LONG'] === '1'
const MANY = isLong ? 20 : 2

/** Each shortage has a pause of 100 ms at least; where time matters, each manner comes once. */
function mannersOf(how: How, error: ErrorName): readonly Manner[] {
  if (isLong || !shortages.some((shortage) => shortage === error)) return manners
  return how === 'immediate' ? ['plain', 'late'] : ['short']
}

describe.skipIf(seam === undefined)('while peers are accepted', () => {
  test.each(cases.filter(({ outcome }) => outcome !== 'ignored'))(
    '$name fails with $error',
    { timeout: 60_000 },
    async ({ call, error, outcome }) => {
      const { server, port } = await startEcho(options)
      const told: string[] = []
      server.on('acceptError', (failed) => told.push((failed as NodeJS.ErrnoException).code ?? ''))
      await until(() => server.stats()?.listeners[0]?.pendingAccepts === 2)
      const subject = new Subject(server, port)
      for (const how of howsOf(call, error)) {
        for (const manner of mannersOf(how, error)) {
          const variant = `${how}, ${manner}`
          told.length = 0
          const late: Rule = manner === 'late' ? { skip: 1 } : {}
          seam?.set(call, ruleFor(error, how, { count: MANY, ...late }))
          if (manner === 'short') seam?.set('send', { shortTo: 3 })
          if (manner === 'late') seam?.set('completion', { delay: 3, perMille: 500 })
          if (outcome === 'peer') {
            const results = []
            for (let peer = 0; peer < MANY + 1; peer++) results.push(await subject.talk(1))
            expect(seam?.hits(call), variant).toBe(MANY)
            expect(results.filter(({ complete }) => complete).length, variant).toBe(1)
          } else {
            // Those that are pending already are not hit: clients make room for others.
            for (let peer = 0; peer < 10 && seam?.hits(call) === 0; peer++) await subject.talk(1)
            await until('all are hit', () => seam?.hits(call) === MANY, 10_000)
            expect(await subject.talk(), variant).toMatchObject({ complete: true, wrong: undefined })
          }
          // Up to sixteen failures at once are taken as bad luck, and so are peers that left; a shortage is told.
          if (outcome === 'peer' || (how === 'pending' && peerLeft.has(error))) expect(told, variant).toEqual([])
          if (shortages.some((shortage) => shortage === error) && outcome === 'again')
            expect(told.length).toBeGreaterThan(0)
          seam?.clear()
          await until('all of it is told', () => subject.server.connections.size === 0)
          await pause(1)
          for (const info of subject.closed.splice(0)) expect(info.cause, variant).toBe('peer-end')
          await subject.isAtRest()
          await subject.serves()
          await subject.isAtRest()
          subject.closed.length = 0
        }
      }
      expect(server.listening).toBe(true)
    }
  )

  test.each(cases.filter(({ outcome }) => outcome === 'ignored'))(
    '$name fails with $error',
    async ({ call, error }) => {
      // From the listening socket on, because accepted ones have its options.
      seam?.set(call, ruleFor(error, 'immediate'))
      const { server, port } = await startEcho(options)
      await until(() => server.stats()?.listeners[0]?.pendingAccepts === 2)
      const subject = new Subject(server, port)
      await subject.serves()
      expect(seam?.hits(call)).toBeGreaterThan(0)
      await subject.isAtRest()
      expect(subject.closed.splice(0).map(({ cause }) => cause)).toEqual(['peer-end'])
    }
  )
})
