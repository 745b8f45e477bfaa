// Length-prefixed packets on a node:net socket, as well as JavaScript can do it: packets are views on the chunk that
// came, unless they cross its end; a chunk's replies leave in one write.

const HEADER = 4
/** Replies up to this size are copied behind one another; larger ones are written as they are, corked. */
const COPY_UP_TO = 16 * 1024

const scratch = Buffer.allocUnsafeSlow(256 * 1024)

export class Framer {
  #rest = undefined
  #restUsed = 0
  #used = 0
  #corked = false
  #socket
  #maxPacket
  #onPacket

  constructor(socket, maxPacket, onPacket) {
    this.#socket = socket
    this.#maxPacket = maxPacket
    this.#onPacket = onPacket
    socket.on('data', this.#onData)
  }

  /** Sends one packet. Within a packet's handler it leaves with the others of the chunk. */
  send(payload) {
    const size = HEADER + payload.length
    if (payload.length > COPY_UP_TO) return this.#sendLarge(payload)
    if (this.#used + size > scratch.length) this.flush()
    const at = this.#used
    scratch.writeUInt32BE(payload.length, at)
    scratch.set(payload, at + HEADER)
    this.#used = at + size
  }

  /** Replies of this chunk, in one write. */
  flush() {
    if (this.#used > 0) {
      const replies = Buffer.allocUnsafe(this.#used)
      scratch.copy(replies, 0, 0, this.#used)
      this.#used = 0
      this.#write(replies)
    }
    if (this.#corked) {
      this.#corked = false
      this.#socket.uncork()
    }
  }

  #sendLarge(payload) {
    if (!this.#corked) {
      this.#corked = true
      this.#socket.cork()
    }
    const header = Buffer.allocUnsafe(HEADER)
    header.writeUInt32BE(payload.length)
    if (this.#used > 0) {
      const replies = Buffer.from(scratch.subarray(0, this.#used))
      this.#used = 0
      this.#write(replies)
    }
    this.#write(header)
    this.#write(payload)
  }

  #write(bytes) {
    const socket = this.#socket
    if (socket.write(bytes) || socket.isPaused()) return
    // The peer does not read: neither do we until it does.
    socket.pause()
    socket.once('drain', () => socket.resume())
  }

  #onData = (chunk) => {
    let at = this.#rest === undefined ? 0 : this.#complete(chunk)
    while (at >= 0 && chunk.length - at >= HEADER) {
      const size = chunk.readUInt32BE(at)
      if (size > this.#maxPacket) return void this.#socket.destroy()
      const end = at + HEADER + size
      if (end > chunk.length) break
      this.#onPacket(chunk.subarray(at + HEADER, end))
      at = end
    }
    if (at >= 0 && at < chunk.length) this.#keep(chunk, at)
    this.flush()
  }

  /** Keeps the beginning of a packet until the rest comes. */
  #keep(chunk, at) {
    const length = chunk.length - at
    const wanted = length >= HEADER ? HEADER + chunk.readUInt32BE(at) : HEADER
    this.#rest = Buffer.allocUnsafe(wanted)
    this.#restUsed = chunk.copy(this.#rest, 0, at)
  }

  /** Adds to what was kept. Returns where the next packet begins, -1 when there is none. */
  #complete(chunk) {
    let at = 0
    for (;;) {
      const taken = chunk.copy(this.#rest, this.#restUsed, at)
      at += taken
      this.#restUsed += taken
      if (this.#restUsed < this.#rest.length) return -1
      const size = this.#rest.readUInt32BE(0)
      if (size > this.#maxPacket) {
        this.#socket.destroy()
        return -1
      }
      if (this.#rest.length === HEADER + size) break
      const whole = Buffer.allocUnsafe(HEADER + size)
      this.#rest.copy(whole)
      this.#rest = whole
    }
    const packet = this.#rest.subarray(HEADER)
    this.#rest = undefined
    this.#onPacket(packet)
    return at
  }
}
