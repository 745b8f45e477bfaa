/** A FIFO queue with constant cost: `Array.shift` moves all remaining elements of a long array. */

/** Free places at the front from which on memory is released. */
const MOST_FREE = 1024

export class Queue<T> {
  #items: (T | undefined)[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  /** The first element, without removing it. */
  peek(): T | undefined {
    return this.#items[this.#head]
  }

  /** @returns the new length */
  push(item: T): number {
    return this.#items.push(item) - this.#head
  }

  /** Removes the first element. */
  shift(): T | undefined {
    const item = this.#items[this.#head]
    if (this.#head === this.#items.length) return undefined
    this.#items[this.#head++] = undefined
    if (this.#head === this.#items.length) {
      this.#reset([])
    } else if (this.#head >= MOST_FREE && this.#head * 2 >= this.#items.length) {
      // For each element that is moved one has been removed, so the amortized cost is constant.
      this.#reset(this.#items.slice(this.#head))
    }
    return item
  }

  /** Inserts an element at the front. */
  unshift(item: T): void {
    if (this.#head > 0) this.#items[--this.#head] = item
    else this.#items.unshift(item)
  }

  /** Removes all elements. */
  clear(): T[] {
    const items = this.#items.slice(this.#head) as T[]
    this.#reset([])
    return items
  }

  /** Removes all elements except some. */
  filter(stays: (item: T) => boolean): void {
    this.#reset(this.clear().filter(stays))
  }

  #reset(items: (T | undefined)[]): void {
    if (items.length > 0 || this.#items.length > MOST_FREE) this.#items = items
    else this.#items.length = 0
    this.#head = 0
  }
}
