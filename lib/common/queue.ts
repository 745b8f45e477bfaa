/** First in, first out, at the same cost for any length: `Array.shift` moves all that stay in a long array. */

/** From so many places that are free in front, memory is given back. */
const MOST_FREE = 1024

export class Queue<T> {
  #items: (T | undefined)[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  /** The first one, which stays. */
  peek(): T | undefined {
    return this.#items[this.#head]
  }

  /** @returns how many there are now */
  push(item: T): number {
    return this.#items.push(item) - this.#head
  }

  /** Takes the first one out. */
  shift(): T | undefined {
    const item = this.#items[this.#head]
    if (this.#head === this.#items.length) return undefined
    this.#items[this.#head++] = undefined
    if (this.#head === this.#items.length) {
      this.#reset([])
    } else if (this.#head >= MOST_FREE && this.#head * 2 >= this.#items.length) {
      // Each that moves has had one taken out before it, so this costs nothing in the long run.
      this.#reset(this.#items.slice(this.#head))
    }
    return item
  }

  /** Puts one back in front. */
  unshift(item: T): void {
    if (this.#head > 0) this.#items[--this.#head] = item
    else this.#items.unshift(item)
  }

  /** Takes all out. */
  clear(): T[] {
    const items = this.#items.slice(this.#head) as T[]
    this.#reset([])
    return items
  }

  /** Takes out all but some. */
  filter(stays: (item: T) => boolean): void {
    this.#reset(this.clear().filter(stays))
  }

  #reset(items: (T | undefined)[]): void {
    if (items.length > 0 || this.#items.length > MOST_FREE) this.#items = items
    else this.#items.length = 0
    this.#head = 0
  }
}
