/** How servers and clients end with their test. */

import { type EventEmitter, once } from 'node:events'
import type { Client, CloseInfo, Server } from 'iocp'
import { onTestFinished } from 'vitest'

/** Closes it when the test is over, and says before what it was doing when the test has failed. */
export function closeAfterTest(endpoint: Server | Client): void {
  const closed: CloseInfo[] = []
  const note = (info: CloseInfo): void => {
    if (closed.length < 20) closed.push(info)
  }
  // Each has this event; together they have no signature for it.
  if ('listen' in endpoint) endpoint.on('disconnect', note)
  else endpoint.on('disconnect', note)
  onTestFinished(async ({ task }) => {
    if (task.result?.state === 'fail') console.error(`${task.name}: ${state(endpoint, closed)}`)
    await endpoint.close({ deadline: 0 })
  })
}

/** The first argument of the next event of a name. */
export async function first<Value>(emitter: unknown, event: string): Promise<Value> {
  const [value] = (await once(emitter as EventEmitter, event)) as [Value]
  return value
}

function state(endpoint: Server | Client, closed: CloseInfo[]): string {
  const connections = [...endpoint.connections].slice(0, 20).map((connection) => ({
    id: connection.id,
    state: connection.state,
    ...connection.stats()
  }))
  const ended = closed.map(({ cause, error }) => ({ cause, error: error?.message }))
  return JSON.stringify({ ...endpoint.stats(), connections, closed: ended })
}
