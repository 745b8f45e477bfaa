/** Abort signals of many jobs at a time. */

/**
 * One listener for each signal, however many jobs have it: Node compares a new listener of a signal with all that it has,
 * so one for each job would take a time that grows with their square.
 */
export class SharedSignals {
  readonly #jobs = new Map<AbortSignal, Set<number>>()
  readonly #aborted: (job: number, reason: unknown) => void

  /** @param aborted called for each job of a signal that aborts, in the sequence in which they were added */
  constructor(aborted: (job: number, reason: unknown) => void) {
    this.#aborted = aborted
  }

  add(signal: AbortSignal, job: number): void {
    const jobs = this.#jobs.get(signal)
    if (jobs !== undefined) {
      jobs.add(job)
      return
    }
    this.#jobs.set(signal, new Set([job]))
    signal.addEventListener('abort', this.#onAbort)
  }

  delete(signal: AbortSignal, job: number): void {
    const jobs = this.#jobs.get(signal)
    if (jobs?.delete(job) !== true || jobs.size > 0) return
    this.#jobs.delete(signal)
    signal.removeEventListener('abort', this.#onAbort)
  }

  readonly #onAbort = (event: Event): void => {
    const signal = event.target as AbortSignal
    for (const job of this.#jobs.get(signal) ?? []) this.#aborted(job, signal.reason)
  }
}
