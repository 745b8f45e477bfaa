/** The next turn of the event loop. */

import { setImmediate } from 'node:timers'

/** Node's own `setImmediate`, as it was when this module was loaded: fake timers of a test must not hold packets back. */
export const nextTurn: (body: () => void) => unknown = setImmediate
