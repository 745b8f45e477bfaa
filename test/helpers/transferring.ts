/** What this Node.js does about memory that is marked as not transferable. */

import { markAsUntransferable } from 'node:worker_threads'

/** Whether `ArrayBuffer.prototype.transfer` refuses it, as newer versions do. */
export const refusesTransfer = ((): boolean => {
  const memory = new ArrayBuffer(8)
  markAsUntransferable(memory)
  try {
    memory.transfer()
    return false
  } catch {
    return true
  }
})()
