import readline from 'node:readline'

/** The lines of JSON that a process writes, one by one, in the order of asking. */
export class JsonLines {
  #waiting = []
  #lines = []
  #over = false

  constructor(stream) {
    const reader = readline.createInterface({ input: stream })
    reader.on('line', (line) => {
      const waiting = this.#waiting.shift()
      if (waiting === undefined) this.#lines.push(line)
      else waiting(line)
    })
    reader.on('close', () => {
      this.#over = true
      for (const waiting of this.#waiting.splice(0)) waiting(undefined)
    })
  }

  /** The next line as an object; undefined when there is none any more. */
  async next() {
    const line = this.#lines.shift() ?? (await this.#later())
    return line === undefined ? undefined : JSON.parse(line)
  }

  #later() {
    return new Promise((resolve) => {
      if (this.#over) resolve(undefined)
      else this.#waiting.push(resolve)
    })
  }
}
