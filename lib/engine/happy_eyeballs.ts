/**
 * Connecting to a name that has several addresses: one after the other, without waiting for a slow one to fail
 * (RFC 8305, "Happy Eyeballs"). The first one that answers is used.
 */

import { escaped, IocpAttemptsError, IocpError } from '../common/errors.js'
import type { Connection } from '../connection/connection.js'
import type { Profile } from '../connection/profile.js'
import { capture } from '../native/async_context.js'
import type { Attempt } from './attempts.js'
import type { Target } from './connect_target.js'
import type { Engine } from './engine.js'
import { type HostTarget, interleave, resolveHost } from './resolve.js'

/** The part of an engine that establishes connections. */
export type Connector = Pick<Engine, 'connect' | 'error' | 'isStopping'>

/** The errors of Windows if all local ports are in use. */
const NO_PORTS = new Set(['EADDRINUSE', 'ENOBUFS'])

/**
 * Connects to the first address of a target that answers.
 * @throws IocpError ETIMEDOUT, ECONNREFUSED and others of the system; IocpAttemptsError when several addresses failed;
 *   the signal's reason when that was aborted
 */
export function race(engine: Connector, target: Target, profile: Profile): Promise<Connection> {
  return new Promise((resolve, reject) => {
    new ConnectRace(engine, target, profile, resolve, reject).start()
  })
}

class ConnectRace {
  readonly #engine: Connector
  readonly #target: Target
  readonly #profile: Profile
  readonly #resolve: (connection: Connection) => void
  readonly #reject: (error: unknown) => void
  readonly #errors: Error[] = []
  readonly #running = new Set<() => void>()
  readonly #context = capture()
  #addresses: HostTarget[] = []
  #deadline: NodeJS.Timeout | undefined
  #nextAttempt: NodeJS.Timeout | undefined
  #isOver = false

  constructor(
    engine: Connector,
    target: Target,
    profile: Profile,
    resolve: (connection: Connection) => void,
    reject: (error: unknown) => void
  ) {
    this.#engine = engine
    this.#target = target
    this.#profile = profile
    this.#resolve = resolve
    this.#reject = reject
  }

  start(): void {
    const { host, port, family, lookup, signal, timeout } = this.#target
    if (signal?.aborted === true) {
      this.#fail(signal.reason)
      return
    }
    signal?.addEventListener('abort', this.#onAbort, { once: true })
    if (timeout !== 0) {
      this.#deadline = setTimeout(() => {
        const message = `connect ETIMEDOUT ${escaped(host)}:${port}: no address answered within ${timeout} ms`
        this.#fail(new IocpError('ETIMEDOUT', message, { syscall: 'connect', address: host, port }))
      }, timeout)
    }
    resolveHost(host, family, lookup).then(
      (addresses) => {
        this.#addresses = interleave(addresses)
        if (!this.#isOver) this.#next()
      },
      (error: unknown) => {
        this.#fail(error)
      }
    )
  }

  readonly #onAbort = (): void => {
    this.#fail(this.#target.signal?.reason)
  }

  /** Tries the next address, and soon the one after it. */
  #next(): void {
    clearTimeout(this.#nextAttempt)
    if (this.#engine.isStopping) {
      this.#fail(new IocpError('ERR_IOCP_CLOSING', 'The client was closed before it was connected'))
      return
    }
    const to = this.#addresses.shift()
    if (to === undefined) {
      if (this.#running.size === 0) this.#fail(this.#failure())
      return
    }
    if (this.#addresses.length > 0) {
      this.#nextAttempt = setTimeout(() => {
        this.#next()
      }, this.#target.attemptDelay)
    }
    this.#try(to)
  }

  #try({ address, family }: HostTarget): void {
    const { localAddress, localPort, port, timeout, proxyProtocol: proxy } = this.#target
    let cancel = (): void => undefined
    const failed = (error: Error): void => {
      this.#running.delete(cancel)
      this.#errors.push(error)
      // After a failure the next address is tried without further delay.
      if (!this.#isOver) this.#next()
    }
    const attempt: Attempt = {
      profile: this.#profile,
      context: this.#context,
      isWanted: true,
      connected: (connection) => {
        this.#running.delete(cancel)
        this.#end()
        this.#resolve(connection)
      },
      failed: (winCode) => {
        failed(this.#explain(this.#engine.error(winCode, 'connect', address, port)))
      }
    }
    const local = {
      ...(localAddress !== undefined && { localAddress }),
      ...(localPort !== 0 && { localPort }),
      ...(proxy !== undefined && { proxy })
    }
    try {
      cancel = this.#engine.connect({ address, port, family, timeout, ...local }, attempt)
      this.#running.add(cancel)
    } catch (error) {
      failed(error as Error)
    }
  }

  /** Replaces a misleading error message. */
  #explain(error: IocpError): IocpError {
    if (!NO_PORTS.has(error.code) || this.#target.localPort !== 0) return error
    const message =
      `${error.message}; all local ports for this peer may be in use (Windows has 16,384 unless set otherwise): ` +
      'close connections, or spread them over several local addresses by the option localAddress'
    const { address, errno, port, syscall, winCode } = error
    return new IocpError(error.code, message, { address, errno, port, syscall, winCode })
  }

  #failure(): Error {
    const { host, port } = this.#target
    const [first] = this.#errors
    if (first !== undefined && this.#errors.length === 1) return first
    const details = this.#errors.map((error) => error.message).join('; ')
    return new IocpAttemptsError(`Cannot connect to ${host}:${port}: ${details}`, this.#errors, {
      syscall: 'connect',
      address: host,
      port
    })
  }

  #fail(error: unknown): void {
    if (this.#isOver) return
    this.#end()
    this.#reject(error)
  }

  #end(): void {
    this.#isOver = true
    clearTimeout(this.#deadline)
    clearTimeout(this.#nextAttempt)
    this.#target.signal?.removeEventListener('abort', this.#onAbort)
    for (const cancel of this.#running) cancel()
    this.#running.clear()
  }
}
