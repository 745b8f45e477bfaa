import { describe, expect, test } from 'vitest'
import { Queue } from '../../lib/common/queue.js'

describe('a queue', () => {
  test('gives in the order in which it was given', () => {
    const queue = new Queue<number>()
    const expected: number[] = []
    let next = 0
    let seed = 1
    for (let step = 0; step < 50_000; step++) {
      seed = (seed * 48_271) % 2_147_483_647
      const what = seed % 10
      if (what < 5) {
        expected.push(next)
        expect(queue.push(next++)).toBe(expected.length)
      } else if (what < 8) {
        expect(queue.shift()).toBe(expected.shift())
      } else if (what === 8 && expected.length > 0) {
        const item = queue.shift() ?? -1
        queue.unshift(item)
      }
      expect(queue.length).toBe(expected.length)
      expect(queue.peek()).toBe(expected[0])
      if (step % 10_000 === 9_999) {
        queue.filter((item) => item % 3 === 0)
        expected.splice(0, Infinity, ...expected.filter((item) => item % 3 === 0))
      }
    }
    expect(queue.clear()).toEqual(expected)
    expect(queue.length).toBe(0)
    expect(queue.shift()).toBeUndefined()
  })

  test('takes something in front of the first', () => {
    const queue = new Queue<string>()
    queue.unshift('b')
    queue.unshift('a')
    queue.push('c')
    expect(queue.clear()).toEqual(['a', 'b', 'c'])
  })

  test('costs the same at any length', () => {
    const queue = new Queue<number>()
    const count = 1_000_000
    for (let item = 0; item < count; item++) queue.push(item)
    let sum = 0
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      sum += item
      if (item % 2 === 1) {
        queue.unshift(item)
        queue.shift()
      }
    }
    expect(sum).toBe((count * (count - 1)) / 2)
  }, 60_000)
})
