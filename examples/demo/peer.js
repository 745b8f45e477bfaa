// @ts-check
// One client: sends packets as long as it may, and checks that the same bytes come back in the same order.

/**
 * @typedef {object} Link
 * @property {(packet: Buffer) => void} send
 * @property {() => void} end ends in order
 *
 * @typedef {object} Totals
 * @property {number} packets packets that came back whole
 * @property {number} bytes their bytes
 * @property {string[]} errors
 */

/** What one client has on the way at most. */
const PACKETS_AHEAD = 4
const BYTES_AHEAD = 64 * 1024

export class Peer {
  /** @type {Buffer[]} packets that have not come back yet */
  #awaited = []
  #awaitedBytes = 0
  #sending = true
  #ended = false
  /** @type {Link | undefined} */
  #link
  #payloads
  #totals
  #done

  /**
   * @param {{ next(): Buffer }} payloads
   * @param {Totals} totals
   * @param {() => void} done called once, when the connection is over
   */
  constructor(payloads, totals, done) {
    this.#payloads = payloads
    this.#totals = totals
    this.#done = done
  }

  /** @param {Link} link */
  start(link) {
    this.#link = link
    this.#send()
  }

  /** No more packets; the connection ends when all have come back. */
  stop() {
    this.#sending = false
    this.#endIfAllIsBack()
  }

  /** @param {Buffer} packet */
  received(packet) {
    const expected = this.#awaited.shift()
    if (expected === undefined) {
      this.#fail(`a packet of ${packet.length} bytes came that nobody had sent`)
    } else if (!expected.equals(packet)) {
      this.#fail(`${packet.length} bytes came back that differ from the ${expected.length} sent`)
    } else {
      this.#awaitedBytes -= expected.length
      this.#totals.packets += 1
      this.#totals.bytes += packet.length
    }
    if (this.#sending) this.#send()
    else this.#endIfAllIsBack()
  }

  /** @param {string} reason */
  closed(reason) {
    if (this.#awaited.length > 0) this.#fail(`${reason}; ${this.#awaited.length} packets have not come back`)
    else if (!this.#ended) this.#fail(reason)
    this.#done()
  }

  /** @param {string} message */
  #fail(message) {
    this.#totals.errors.push(message)
    this.#sending = false
  }

  #send() {
    while (this.#sending && this.#awaited.length < PACKETS_AHEAD && this.#awaitedBytes < BYTES_AHEAD) {
      const packet = this.#payloads.next()
      this.#awaited.push(packet)
      this.#awaitedBytes += packet.length
      this.#link?.send(packet)
    }
  }

  #endIfAllIsBack() {
    if (this.#awaited.length > 0 || this.#ended) return
    this.#ended = true
    this.#link?.end()
  }
}
