/** How servers and clients end with their test. */

import type { Client, Server } from 'iocp'
import { onTestFinished } from 'vitest'

/** Closes it when the test is over, and says before what it was doing when the test has failed. */
export function closeAfterTest(endpoint: Server | Client): void {
  onTestFinished(async ({ task }) => {
    if (task.result?.state === 'fail') console.error(`${task.name}: ${state(endpoint)}`)
    await endpoint.close({ deadline: 0 })
  })
}

function state(endpoint: Server | Client): string {
  const connections = [...endpoint.connections].slice(0, 20).map((connection) => ({
    id: connection.id,
    state: connection.state,
    ...connection.stats()
  }))
  return JSON.stringify({ ...endpoint.stats(), connections })
}
