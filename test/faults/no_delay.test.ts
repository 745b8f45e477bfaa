/** Accepted sockets have TCP_NODELAY: from their listener where the system hands it down, else by a call for each. */

import { describe, expect, test } from 'vitest'
import { faultAddon, hasFaults, type Rule, win } from '../helpers/faults.js'
import { echoClient } from './client.js'
import { Rig } from './rig.js'

const CLIENTS = 12
const error = win.networkDown
/** Linux hands the option down, and Wine leaves it to Linux. What Windows does is Windows's business. */
const handsDown = process.env['WINEPREFIX'] !== undefined ? [0] : [0, CLIENTS]

/**
 * Connections that talk while setting the option fails by a rule; returns how often. The test variant ends the process when
 * a socket ought to have the option and has not.
 */
async function talk(rule: Rule, { noDelay = true, asking = undefined as Rule | undefined } = {}): Promise<number> {
  const { faults } = faultAddon()
  const rig = new Rig({ profile: { noDelay } })
  faults.set('no_delay', { error, ...rule })
  if (asking !== undefined) faults.set('read_no_delay', { error, ...asking })
  const { port } = rig.listen()
  for (let client = 0; client < CLIENTS; client++) {
    expect(await echoClient(client, port)).toMatchObject({ complete: true, wrong: undefined })
  }
  await rig.finish()
  return faults.hits('no_delay')
}

describe.skipIf(!hasFaults)('TCP_NODELAY of accepted sockets', () => {
  test('is set once, at the listener, where it is handed down; else at each', async () => {
    // What follows the call at the listener would fail.
    expect(handsDown).toContain(await talk({ skip: 1 }))
  })

  test('is set at each where the listener has refused it', async () => {
    expect(await talk({ count: 1 })).toBe(1)
  })

  test('is set at each that cannot be asked', async () => {
    expect(handsDown.map((hits) => Math.max(3, hits))).toContain(await talk({ skip: 1 }, { asking: { count: 3 } }))
  })

  test('is a wish: a connection without it is a connection', async () => {
    expect(await talk({})).toBe(1 + CLIENTS)
  })

  test('is not set where nobody wants it', async () => {
    expect(await talk({}, { noDelay: false })).toBe(0)
  })
})
