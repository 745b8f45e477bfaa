/** Why a connection closed, as programs see it. */

import { errorCodes, IocpError, type IocpErrorCode } from '../common/errors.js'
import { binding } from '../native/binding.js'
import { cause, frameError } from '../native/protocol.js'
import { systemError } from '../native/system_error.js'

/**
 * `'local'` this side closed it; `'peer-end'` the peer closed gracefully (FIN); `'peer-reset'` the peer or a device on
 * the path reset it; `'timeout'` a time limit expired; `'protocol-error'` the peer sent data that the framing does not
 * accept; `'overflow'` too much data was queued; `'refused'` reserved, not used in this version; `'server-closing'`
 * the server or client was closed; `'detached'` this program transferred the memory of received packets; `'handler-error'`
 * a handler failed, and `onHandlerError` is `'close'`; `'io-error'` any other failure. Of the option `timeouts`:
 * `'first-packet-timeout'`, `'packet-timeout'`, `'idle-timeout'`, `'send-timeout'` (`sendStall`), `'too-slow'` (`minRate`),
 * `'max-life'` (`life`; not an error). `'rate-exceeded'` the peer was faster than `packetRate` or `byteRate` allow.
 */
export type CloseCause =
  | 'local'
  | 'peer-end'
  | 'peer-reset'
  | 'timeout'
  | 'protocol-error'
  | 'overflow'
  | 'refused'
  | 'server-closing'
  | 'detached'
  | 'io-error'
  | 'handler-error'
  | 'first-packet-timeout'
  | 'packet-timeout'
  | 'idle-timeout'
  | 'send-timeout'
  | 'too-slow'
  | 'max-life'
  | 'rate-exceeded'

const names: Readonly<Record<number, CloseCause>> = {
  [cause.local]: 'local',
  [cause.peerEnd]: 'peer-end',
  [cause.peerReset]: 'peer-reset',
  [cause.timeout]: 'timeout',
  [cause.protocolError]: 'protocol-error',
  [cause.overflow]: 'overflow',
  [cause.refused]: 'refused',
  [cause.serverClosing]: 'server-closing',
  [cause.detached]: 'detached',
  [cause.ioError]: 'io-error',
  [cause.handlerError]: 'handler-error',
  [cause.firstPacketTimeout]: 'first-packet-timeout',
  [cause.packetTimeout]: 'packet-timeout',
  [cause.idleTimeout]: 'idle-timeout',
  [cause.sendTimeout]: 'send-timeout',
  [cause.tooSlow]: 'too-slow',
  [cause.maxLife]: 'max-life',
  [cause.rateExceeded]: 'rate-exceeded'
}

/** The codes of causes that need no more than one. */
const causeCodes = {
  overflow: 'ERR_IOCP_OVERFLOW',
  refused: 'ERR_IOCP_REFUSED',
  detached: 'ERR_IOCP_DETACHED',
  'first-packet-timeout': 'ERR_IOCP_FIRST_PACKET_TIMEOUT',
  'packet-timeout': 'ERR_IOCP_PACKET_TIMEOUT',
  'idle-timeout': 'ERR_IOCP_IDLE_TIMEOUT',
  'send-timeout': 'ERR_IOCP_SEND_TIMEOUT',
  'too-slow': 'ERR_IOCP_TOO_SLOW',
  'rate-exceeded': 'ERR_IOCP_RATE_EXCEEDED'
} as const satisfies Partial<Record<CloseCause, IocpErrorCode>>

const frameCodes: Readonly<Record<number, IocpErrorCode>> = {
  [frameError.tooLarge]: 'ERR_IOCP_FRAME_TOO_LARGE',
  [frameError.negativeLength]: 'ERR_IOCP_FRAME_NEGATIVE_LENGTH',
  [frameError.shorterThanHeader]: 'ERR_IOCP_FRAME_SHORTER_THAN_HEADER',
  [frameError.shorterThanStrip]: 'ERR_IOCP_FRAME_SHORTER_THAN_STRIP',
  [frameError.badFlag]: 'ERR_IOCP_FRAME_BAD_FLAG',
  [frameError.badVarint]: 'ERR_IOCP_FRAME_BAD_VARINT',
  [frameError.outOfMemory]: 'ERR_IOCP_FRAME_NO_MEMORY',
  [frameError.badLength]: 'ERR_IOCP_FRAME_BAD_LENGTH',
  [frameError.badTransfer]: 'ERR_IOCP_FRAME_BAD_TRANSFER'
}

/** The code for a number of native code's FrameError. */
export function frameErrorCode(number: number): IocpErrorCode {
  return frameCodes[number] ?? 'ERR_IOCP_FRAME_CORRUPT'
}

/** How a connection closed. The argument of 'close' and 'disconnect'. */
export class CloseInfo {
  readonly cause: CloseCause
  /** Bytes that had arrived and were discarded: an unfinished packet, packets that nobody consumed. */
  readonly discardedBytes: number
  readonly #detail: number
  /** The error where it is more than its cause and detail say. */
  readonly #known: IocpError | undefined
  #error: IocpError | undefined

  readonly #cause: number

  /** @internal */
  constructor(cause: number, detail: number, discardedBytes: number, known: IocpError | undefined) {
    this.cause = names[cause] ?? 'io-error'
    this.discardedBytes = discardedBytes
    this.#cause = cause
    this.#detail = detail
    this.#known = known
  }

  /**
   * The error, undefined for 'local', 'peer-end', 'server-closing' and 'max-life'. It is created on first access, so that many
   * resets at a time do not cost stack traces that nobody reads.
   */
  get error(): IocpError | undefined {
    return (this.#error ??= this.#makeError())
  }

  /** @internal The same with more bytes thrown away. */
  _plus(bytes: number): CloseInfo {
    const more = new CloseInfo(this.#cause, this.#detail, this.discardedBytes + bytes, this.#known)
    // A stream may have told it already, and it is known by its identity.
    more.#error = this.#error
    return more
  }

  /** @internal The same for a connection whose handler has failed. */
  _because(error: IocpError): CloseInfo {
    return new CloseInfo(cause.handlerError, 0, this.discardedBytes, error)
  }

  #makeError(): IocpError | undefined {
    switch (this.cause) {
      case 'local':
      case 'peer-end':
      case 'server-closing':
      case 'max-life':
        return undefined
      case 'protocol-error': {
        const code = frameErrorCode(this.#detail)
        return this.#known ?? new IocpError(code, errorCodes[code])
      }
      case 'handler-error':
        return this.#known
      case 'timeout':
        if (this.#detail !== 0) return this.#systemError()
        return new IocpError('ETIMEDOUT', 'The connection was closed because a time limit expired')
      case 'peer-reset':
        if (this.#detail !== 0) return this.#systemError()
        return new IocpError('ECONNRESET', 'The peer reset the connection')
      case 'io-error':
        return this.#systemError()
      default: {
        const code = causeCodes[this.cause]
        return new IocpError(code, errorCodes[code])
      }
    }
  }

  #systemError(): IocpError {
    return systemError(binding(), { winCode: this.#detail })
  }
}
