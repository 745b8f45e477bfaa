/** Options of connections, checked and completed: what connections work from. */

import type { NativeProfile } from '../native/types.js'
import type { Framing } from '../packets/framing.js'
import { type SendRules, sendRules } from '../packets/send_rules.js'
import type { TransferSettings } from './file_types.js'
import type { TimeoutSettings } from './limits.js'

/** How one kind of connection behaves: what native code is told, and what JavaScript itself decides by. */
export interface Profile {
  readonly native: NativeProfile
  readonly rules: SendRules
  readonly allowHalfOpen: boolean
  /** In force: native code has those of the beginning in the profile, and the later ones for itself. */
  readonly timeouts: TimeoutSettings
  /** How long the peer may take to end its side, in milliseconds; 0 for ever. */
  readonly endDeadline: number
  readonly copyThreshold: number
  /** Packets that may come to begin with, -1 for flowing. */
  readonly receive: number
  /** Undefined: files are switched off. */
  readonly transfer: TransferSettings | undefined
  readonly onHandlerError: 'throw' | 'close'
  /** The program has not said how much may wait: a packet that alone is more shall not be dropped without a word. */
  readonly hasDefaultCap: boolean
}

/** The same behaviour with another framing. */
export function withFraming(profile: Profile, { receive, send }: { receive: Framing; send: Framing }): Profile {
  return {
    ...profile,
    native: { ...profile.native, receive, send },
    rules: sendRules(send, profile.transfer !== undefined)
  }
}
