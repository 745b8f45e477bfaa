// One client of the soak: sends packets, checks every byte that comes back, leaves in one of several ways, and comes
// again. Its own framing and checks: nothing of the library.
import { randomFillSync } from 'node:crypto'
import net from 'node:net'
import { DESTROY, END } from './commands.mjs'

const HEADER = 4
const STALLED = 90_000 // milliseconds without an echo that is due

// Bodies are slices of this block, so that checking one is a comparison.
const block = randomFillSync(Buffer.alloc(256 * 1024))

export class Client {
  #port
  #random
  #totals
  #socket
  #expected = [] // { at, size } of bodies whose echoes are to come, in order
  #taken = 0 // of them, those that have come
  #parts = []
  #held = 0
  #leaving = '' // how, once it has been decided
  #left // called when the connection is over
  #timer
  #lastEcho = 0
  #failed = false
  #isOver = false

  /** @param totals what all clients count together */
  constructor(port, random, totals) {
    this.#port = port
    this.#random = random
    this.#totals = totals
  }

  /** Lives until stop() has been called. */
  async run() {
    while (!this.#isOver) {
      await this.#live()
      if (!this.#isOver) await this.#sleep(this.#random.between(0, 1000))
      if (!this.#isOver) this.#totals.reconnects += 1
    }
  }

  /** Has it leave in order, with all its echoes. */
  stop() {
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#wake?.()
    if (this.#socket !== undefined && this.#leaving === '') this.#leave('end')
  }

  #wake
  #sleep(milliseconds) {
    return new Promise((resolve) => {
      this.#wake = resolve
      this.#timer = setTimeout(resolve, milliseconds)
    })
  }

  /** One connection, from its beginning to its end. */
  #live() {
    this.#expected = []
    this.#taken = 0
    this.#parts = []
    this.#held = 0
    this.#leaving = ''
    this.#failed = false
    return new Promise((resolve) => {
      this.#left = resolve
      const socket = net.connect({ port: this.#port, host: '127.0.0.1', noDelay: true })
      this.#socket = socket
      socket.on('connect', () => {
        this.#totals.open += 1
        this.#lastEcho = performance.now()
        socket.on('close', () => (this.#totals.open -= 1))
        if (this.#isOver) this.#leave('end')
        else this.#burst()
      })
      socket.on('data', (bytes) => this.#receive(bytes))
      socket.on('error', ({ code }) => {
        this.#failed = true
        this.#totals.errors[code] = (this.#totals.errors[code] ?? 0) + 1
      })
      socket.on('close', () => this.#closed())
    })
  }

  #burst() {
    if (performance.now() - this.#lastEcho > STALLED && this.#expected.length > this.#taken) {
      this.#totals.stalled += 1
      this.#leaving = 'stalled'
      this.#socket.destroy()
      return
    }
    const count = this.#random.between(1, 6)
    for (let i = 0; i < count; i += 1) this.#send(this.#size())
    const chance = this.#random.next()
    if (chance < 0.015) this.#leave('end')
    else if (chance < 0.022) this.#leave('ask')
    else if (chance < 0.025) this.#leave('ask-drop')
    else if (chance < 0.032) this.#leave('drop')
    else this.#timer = setTimeout(() => this.#burst(), this.#random.between(500, 4000))
  }

  /** Mostly small, some of a few KiB, few large ones. */
  #size() {
    const chance = this.#random.next()
    const most = chance < 0.7 ? 256 : chance < 0.96 ? 4096 : 65_536
    return this.#random.between(0, most)
  }

  #send(size) {
    const at = this.#random.between(0, block.length - 65_536)
    this.#expected.push({ at, size })
    this.#write(block.subarray(at, at + size))
  }

  #write(body) {
    const header = Buffer.alloc(HEADER)
    header.writeUInt32BE(body.length)
    this.#socket.cork()
    this.#socket.write(header)
    this.#socket.write(body)
    process.nextTick(() => this.#socket.uncork())
  }

  #leave(how) {
    this.#leaving = how
    clearTimeout(this.#timer)
    if (how === 'drop') this.#socket.resetAndDestroy()
    else if (how === 'ask') this.#write(END)
    else if (how === 'ask-drop') this.#write(DESTROY)
    else if (this.#taken === this.#expected.length) this.#socket.end()
    // Else when the last echo has come.
    this.#timer = setTimeout(() => this.#giveUp(), STALLED)
  }

  #giveUp() {
    this.#totals.stalled += 1
    this.#leaving = 'stalled'
    this.#socket.destroy()
  }

  #receive(bytes) {
    this.#parts.push(bytes)
    this.#held += bytes.length
    if (this.#held < HEADER) return
    let held = this.#parts.length === 1 ? bytes : Buffer.concat(this.#parts)
    while (held.length >= HEADER) {
      const size = held.readUInt32BE(0)
      if (held.length < HEADER + size) break
      this.#echo(held.subarray(HEADER, HEADER + size))
      held = held.subarray(HEADER + size)
    }
    this.#parts = held.length === 0 ? [] : [held]
    this.#held = held.length
  }

  #echo(body) {
    const expected = this.#expected[this.#taken]
    this.#lastEcho = performance.now()
    if (expected === undefined || !block.subarray(expected.at, expected.at + expected.size).equals(body)) {
      this.#totals.wrongBytes += body.length + HEADER
      this.#leaving ||= 'wrong'
      this.#socket.destroy()
      return
    }
    this.#taken += 1
    this.#totals.packets += 1
    this.#totals.bytes += body.length
    if (this.#taken < this.#expected.length) return
    this.#expected = []
    this.#taken = 0
    if (this.#leaving === 'end') this.#socket.end()
  }

  #closed() {
    clearTimeout(this.#timer)
    this.#socket = undefined
    const missing = this.#expected.slice(this.#taken).reduce((sum, { size }) => sum + size + HEADER, 0)
    // What was on its way when one side dropped the connection may be lost; nothing else may.
    const inOrder = this.#leaving === 'end' || this.#leaving === 'ask'
    if (this.#leaving === '' || (inOrder && this.#failed)) this.#totals.droppedByServer += 1
    else if (inOrder || this.#leaving === 'stalled') this.#totals.lostBytes += missing
    this.#left()
  }
}
