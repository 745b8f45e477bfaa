/** Promises that somebody else keeps. */

/** A promise and what keeps it. */
export interface Promised<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
}

/** A promise that somebody else keeps. */
export function promised<T>(): Promised<T> {
  let keep: (value: T) => void = () => undefined
  const promise = new Promise<T>((resolve) => {
    keep = resolve
  })
  return { promise, resolve: keep }
}

/** The same where it may be rejected too. Then nobody has to wait for it: it is no unhandled rejection. */
export class Deferred<T> {
  readonly promise: Promise<T>
  resolve: (value: T) => void = () => undefined
  reject: (error: unknown) => void = () => undefined

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.promise.catch(() => undefined)
  }
}
