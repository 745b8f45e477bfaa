/** One payload to many connections. */

import type { Connection } from '../connection/connection.js'
import { ACCEPTED, admit, CLOSED, DROPPED, wantDrain } from '../connection/send.js'
import type { Engine } from '../engine/engine.js'
import { checkEncodable, checkSize, type SendRules } from '../packets/send_rules.js'

/** How many connections had which result, see {@link SendState}. */
export interface BroadcastResult {
  sent: number
  queued: number
  dropped: number
  closed: number
}

/**
 * Sends one payload to many connections. It crosses into native code once, not once per connection.
 * @throws IocpError ERR_IOCP_PACKET_SIZE, ERR_IOCP_PACKET_CONTENT before anything is sent, if the framing of one of the
 *   connections cannot carry it
 */
export function broadcast(engine: Engine, data: Uint8Array, targets: readonly Connection[]): BroadcastResult {
  const result = { sent: 0, queued: 0, dropped: 0, closed: 0 }
  const size = data.length
  let checked: SendRules | undefined
  for (const { _profile: profile } of targets) {
    if (profile.rules === checked) continue
    checked = profile.rules
    checkSize(checked, size)
    checkEncodable(checked, data)
  }
  const { submission } = engine
  let epoch = -1
  let payload = { kind: 0, at: 0 }
  for (const connection of targets) {
    const { copyThreshold, rules } = connection._profile
    if (!submission.hasRoom) submission.flush()
    const answer = admit(connection, size + rules.overhead)
    if (answer === CLOSED) {
      result.closed++
      continue
    }
    if (answer === DROPPED) {
      result.dropped++
      continue
    }
    // Its offset is valid for one submission; then it has to be stored again.
    if (submission.epoch !== epoch) payload = submission.share(data, size, copyThreshold)
    epoch = submission.epoch
    submission.sendShared(payload.kind, connection._slot, connection._generation, payload.at, size)
    if (answer === ACCEPTED) {
      result.sent++
    } else {
      result.queued++
      wantDrain(connection)
    }
  }
  return result
}
