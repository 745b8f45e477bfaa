// What an engine needs of those that use it without the library: profiles as the library makes them.

/** @typedef {import('../../lib/native/types.js').NativeFraming} NativeFraming */

/**
 * A profile with the library's defaults.
 * @param {NativeFraming} framing both ways
 * @returns {import('../../lib/native/types.js').NativeProfile}
 */
export function plainProfile(framing) {
  return {
    receive: framing,
    send: framing,
    readMode: 'adaptive',
    pendingReads: 1,
    highWater: 1024 * 1024,
    lowWater: 256 * 1024,
    hardCap: 64 * 1024 * 1024,
    hardCapPackets: 2 ** 32 - 1,
    onOverflow: 'queue',
    noDelay: true,
    keepAlive: 0,
    keepAliveInterval: 1000,
    keepAliveCount: 10,
    receiveBuffer: 0,
    sendBuffer: 0,
    typeOfService: 0,
    timeLimits: [0, 0, 0, 0, 0, 0, 0, 1000, 5000, 0, 0, 1],
    demand: false,
    transfers: false
  }
}
