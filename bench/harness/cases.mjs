import { Stop } from '../../tools/lib/run.mjs'
import accept from '../cases/accept.mjs'
import broadcast from '../cases/broadcast.mjs'
import burst from '../cases/burst.mjs'
import echo4kx4 from '../cases/echo-4k-4.mjs'
import echo64x1 from '../cases/echo-64-1.mjs'
import echo64x16 from '../cases/echo-64-16.mjs'
import echo64x2000 from '../cases/echo-64-2000.mjs'
import fileRead from '../cases/file-read.mjs'
import fileTransmit from '../cases/file-transmit.mjs'
import idleMemory from '../cases/idle-memory.mjs'
import jobs from '../cases/jobs.mjs'
import jobsShort from '../cases/jobs-short.mjs'
import latency from '../cases/latency.mjs'

export const cases = [
  echo64x1,
  echo64x16,
  echo4kx4,
  echo64x2000,
  accept,
  burst,
  idleMemory,
  broadcast,
  latency,
  fileTransmit,
  fileRead,
  jobs,
  jobsShort
]

/** The cases with these names, or of groups with these names, in the order of the list; all of them for none. */
export function chooseCases(names) {
  const isMeant = (one, name) => one.name === name || one.group === name
  const unknown = names.find((name) => !cases.some((one) => isMeant(one, name)))
  if (unknown !== undefined) {
    throw new Stop(`"${unknown}" is no case; there are: ${cases.map((one) => one.name).join(', ')}`)
  }
  return names.length === 0 ? cases : cases.filter((one) => names.some((name) => isMeant(one, name)))
}
