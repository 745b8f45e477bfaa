// A worker of the peer `piscina`.
import { work } from './work.mjs'

export default function ({ packet, rounds }) {
  work(packet, rounds)
  return packet
}
