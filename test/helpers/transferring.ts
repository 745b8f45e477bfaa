/** What this Node.js does about memory that is marked as not transferable. */

/** Whether `ArrayBuffer.prototype.transfer` refuses it, as newer versions do. */
export { marksWithKey as refusesTransfer } from '../../lib/engine/batch_reader.js'
