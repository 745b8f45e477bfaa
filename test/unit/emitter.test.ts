import { EventEmitter, on, once } from 'node:events'
import { expect, test } from 'vitest'
import { LazyEmitter } from '../../lib/common/emitter.js'
import { FakeEngine } from '../helpers/fake_engine.js'

interface Events {
  one: [number]
  two: [string, boolean]
}

class Thing extends LazyEmitter<Events> {
  readonly heard: string[] = []

  override _listened(event: string): void {
    this.heard.push(event)
  }
}

test('it is an EventEmitter', async () => {
  const thing = new Thing()
  expect(thing).toBeInstanceOf(EventEmitter)
  const waiting = once(thing, 'two')
  expect(thing.emit('two', 'x', true)).toBe(true)
  expect(await waiting).toEqual(['x', true])
  expect(thing.emit('one', 1)).toBe(false)
})

test('all methods that add listeners work, say so and give the object back', () => {
  const thing = new Thing()
  const calls: string[] = []
  const result = thing
    .on('one', () => calls.push('on'))
    .addListener('one', () => calls.push('addListener'))
    .once('one', () => calls.push('once'))
    .prependListener('one', () => calls.push('prepend'))
    .prependOnceListener('one', () => calls.push('prependOnce'))
  expect(result).toBe(thing)
  expect(thing.heard).toEqual(['one', 'one', 'one', 'one', 'one'])
  thing.emit('one', 1)
  thing.emit('one', 2)
  expect(calls).toEqual(['prependOnce', 'prepend', 'on', 'addListener', 'once', 'prepend', 'on', 'addListener'])
})

test('listeners can be taken away, and are called with the object as this', () => {
  const thing = new Thing()
  const seen: unknown[] = []
  function listener(this: unknown): void {
    seen.push(this)
  }
  thing.on('one', listener)
  thing.emit('one', 1)
  thing.off('one', listener)
  expect(thing.emit('one', 1)).toBe(false)
  expect(seen).toEqual([thing])
  expect(thing.listenerCount('one')).toBe(0)
})

test('works with events.on', async () => {
  const thing = new Thing()
  const abort = new AbortController()
  const iterator = on(thing, 'one', { signal: abort.signal })
  thing.emit('one', 5)
  expect((await iterator.next()).value).toEqual([5])
  abort.abort()
})

test('a connection has no state of an emitter until somebody listens', () => {
  const connection = new FakeEngine().connection()
  connection.emit('end')
  connection.listenerCount('packet')
  connection.send('x')
  expect(Object.keys(connection)).not.toContain('_events')
  // What one idle connection consists of; each name more is paid for by all of them.
  expect(Object.keys(connection)).toHaveLength(11)
  connection.on('end', () => undefined)
  expect(Object.keys(connection)).toContain('_events')
})

test('an object that never listened shares nothing with one that does', () => {
  const [one, other] = [new Thing(), new Thing()]
  one.on('one', () => undefined)
  expect(other.listenerCount('one')).toBe(0)
  expect(other.emit('one', 1)).toBe(false)
})
