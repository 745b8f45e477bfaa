/** Promises that somebody else keeps. */

/** A promise and what keeps it. */
export interface Promised<T> {
  readonly promise: Promise<T>
  readonly keep: (value: T) => void
}

/** A promise that somebody else keeps. */
export function promised<T>(): Promised<T> {
  let keep: (value: T) => void = () => undefined
  const promise = new Promise<T>((resolve) => {
    keep = resolve
  })
  return { promise, keep }
}

/** The same where it may be rejected too. Then nobody has to wait for it: it is no unhandled rejection. */
export class Kept<T> {
  readonly promise: Promise<T>
  keep: (value: T) => void = () => undefined
  break: (error: unknown) => void = () => undefined

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.keep = resolve
      this.break = reject
    })
    this.promise.catch(() => undefined)
  }
}
