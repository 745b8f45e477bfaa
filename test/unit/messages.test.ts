/** What messages say to those who made the mistake: the remedy, not only the rule. */

import { afterEach, describe, expect, test, vi } from 'vitest'
import type { IocpFrameError } from '../../lib/common/errors.js'
import { closed } from '../../lib/connection/close.js'
import type { Connection } from '../../lib/connection/connection.js'
import { frameProblem, packetSkipped } from '../../lib/connection/receive.js'
import { readDeadline } from '../../lib/endpoint/endpoint.js'
import { readReconnect, readServerOptions } from '../../lib/endpoint/read_options.js'
// First, as in a program: the parts of a connection know each other.
import { createClient, createServer } from '../../lib/index.js'
import { cloneError, encodeResult } from '../../lib/jobs/job_codec.js'
import { defaultRun, readRun, readWorkers, type WorkersSettings } from '../../lib/jobs/options.js'
import { JobClient } from '../../lib/jobs/workers.js'
import { cause, frameError } from '../../lib/native/protocol.js'
import { framing } from '../../lib/packets/framing.js'
import { PacketWriter } from '../../lib/packets/writer.js'
import { errorFromPeer, reportedByPeer } from '../../lib/transfer/errors.js'
import { readAccept, readReceiveFile } from '../../lib/transfer/options.js'
import { FakeEngine } from '../helpers/fake_engine.js'

/** The message of what a call throws. */
function messageOf(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    return (error as Error).message
  }
  return 'nothing is thrown'
}

const workers = (): WorkersSettings => {
  const settings = readWorkers({ module: new URL('file:///C:/jobs.js'), maxQueued: 5 })
  if (settings === undefined) throw new Error('there are none')
  return settings
}

describe('what is passed in place of options: the message has an example', () => {
  const callback = (): void => undefined
  test.each<[call: string, () => unknown, message: string]>([
    ['createServer', () => createServer(9999 as never), '{ noDelay: true } (listen() takes the port); it is 9999'],
    ['createClient', () => createClient(9999 as never), '{ noDelay: true } (connect() takes the port); it is 9999'],
    ['close', () => readDeadline(callback), "{ deadline: '10s' } (the promise tells the end); it is a function"],
    ['fixed', () => framing.fixed(64 as never), '{ bytes: 64 }; it is 64'],
    ['lengthField', () => framing.lengthField(4 as never), '{ bytes: 4 }; it is 4'],
    ['delimiter', () => framing.delimiter('\n' as never), String.raw`{ delimiters: ['\r\n'] }; it is '\n'`],
    ['line', () => framing.line('\r\n' as never), String.raw`{ endOfLine: '\r\n' }; it is '\r\n'`],
    ['varint', () => framing.varint(64 as never), "{ maxPacket: '64KiB' }; it is 64"],
    ['iocps', () => framing.iocps(64 as never), "{ maxPacket: '64KiB' }; it is 64"],
    ['erlang', () => framing.erlang(4, 64 as never), "{ maxPacket: '64KiB' }; it is 64"],
    ['accept', () => readAccept('inbox'), "{ directory: 'inbox' }; it is 'inbox'"],
    ['run', () => readRun(5 as never, defaultRun(workers())), "{ timeout: '10s' }; it is 5"]
  ])('%s', (_, call, message) => {
    expect(messageOf(call)).toBe(`Argument 'options' must be an object such as ${message}`)
    expect(call).toThrow(expect.objectContaining({ code: 'ERR_IOCP_INVALID_OPTION', option: 'options' }))
  })

  test.each([
    [{ workers: 5 }, "Option 'workers' must be an object such as { module: new URL('./jobs.js', import.meta.url) }"],
    [{ backpressure: '1MiB' }, "Option 'backpressure' must be an object such as { highWater: '1MiB' }"],
    [{ delivery: '1MiB' }, "Option 'delivery' must be an object such as { total: '16MiB' }"]
  ])('%j', (options, message) => {
    expect(messageOf(() => readServerOptions(options))).toContain(message)
  })
})

describe('ranges say where their ends come from', () => {
  const server = (options: object) => () => readServerOptions(options)
  test.each<[() => unknown, string]>([
    [
      () => framing.lengthField({ maxPacket: '2GiB' }),
      "from 0 to 1073741824; larger ones need 'streamAbove'; it is '2GiB'"
    ],
    [() => framing.line({ maxPacket: '2GiB' }), "from 0 to 1073741824; it is '2GiB'"],
    [() => framing.lengthField({ bytes: 4, offset: 30 }), "from 0 to 28 (32 less 'bytes'); it is 30"],
    [server({ backpressure: { highWater: 5, lowWater: 6 } }), "from 0 to 5, the value of 'highWater'; it is 6"],
    [server({ backpressure: { highWater: 5, hardCap: 4 } }), ", and not below 'highWater'; it is 4"],
    [server({ delivery: { total: '64KiB', perConnection: '65KiB' } }), ", the value of 'total'; it is '65KiB'"],
    [() => readReconnect({ minDelay: 10, maxDelay: 9 }), ", and not below 'minDelay'; it is 9"],
    [
      server({ keepAlive: 5 }),
      "'keepAlive' must be true, false, a delay from 1 second to 24 days (such as '10s'), or an object { delay, interval, count }; it is 5"
    ]
  ])('%#', (call, message) => {
    expect(messageOf(call)).toContain(message)
  })
})

test('control characters are escaped: in values, in lists of them, and in names', () => {
  expect(messageOf(() => framing.line({ endOfLine: '\r' as '\n' }))).toBe(
    String.raw`Option 'endOfLine' must be one of '\n', '\r\n'; it is '\r'`
  )
  expect(messageOf(() => framing.line({ 'a\u001bb': 1 } as never))).toContain(String.raw`no option 'a\u{1b}b'`)
})

test.each([
  [() => framing.fixed({ byets: 5 } as never), 'bytes'],
  [() => readAccept({ dir: 'inbox' }), 'directory'],
  [() => readServerOptions({ keepAlive: { dealy: 5000 } }), 'delay'],
  [() => readReconnect({ attempts: 5 }), 'maxAttempts'],
  [() => readRun({ transfer: [] } as never, defaultRun(workers())), 'transferList'],
  [() => readReceiveFile({ pth: 'x' }), 'path'],
  [() => readServerOptions({ pendingAccept: 5 }), 'pendingAccepts']
])('a name that is nearly right (%#)', (call, meant) => {
  expect(messageOf(call)).toContain(`(did you mean '${meant}'?)`)
})

test('a beginning of several names suggests none of them', () => {
  expect(messageOf(() => readServerOptions({ max: 5 }))).not.toContain('did you mean')
})

describe('sending', () => {
  const send = (made: ReturnType<typeof framing.raw>, size: number): string =>
    messageOf(() => new FakeEngine().connection({ framing: made }).send(Buffer.alloc(size)))

  test.each([
    [
      framing.lengthField({ maxPacket: 5 }),
      "carries packets of 0 to 5 bytes; this one has 6: raise 'maxPacket' on both sides"
    ],
    [framing.varint({ maxPacket: 5 }), "raise 'maxPacket' on both sides"],
    [framing.line({ maxPacket: 5 }), "raise 'maxPacket' on both sides"],
    [framing.hpSocketPack({ maxPacket: 5 }), "raise 'maxPacket' on both sides"],
    [framing.fixed({ bytes: 5 }), 'carries packets of exactly 5 bytes; this one has 6']
  ])('a packet above the limit of the framing (%#)', (made, message) => {
    expect(send(made, 6).endsWith(message)).toBe(true)
  })

  test('above what the length field can hold', () => {
    expect(send(framing.lengthField({ bytes: 1 }), 256)).toBe(
      'The framing carries packets of 0 to 255 bytes; this one has 256: a length of 1 bytes holds no more'
    )
  })

  test('too short a packet needs no larger limit', () => {
    expect(send(framing.hpSocketPack(), 0)).toBe('The framing carries packets of 1 to 262144 bytes; this one has 0')
  })

  test('memory that is not bytes', () => {
    const given = (value: unknown): string => messageOf(() => new FakeEngine().connection().send(value as Buffer))
    const rule = "Argument 'data' must be a Buffer, a Uint8Array or text; it is"
    expect(given(new ArrayBuffer(3))).toBe(`${rule} an ArrayBuffer: wrap it in a Uint8Array`)
    expect(given(new SharedArrayBuffer(3))).toBe(`${rule} a SharedArrayBuffer: wrap it in a Uint8Array`)
    expect(given(new Float64Array(3))).toBe(
      `${rule} a Float64Array: pass new Uint8Array(view.buffer, view.byteOffset, view.byteLength)`
    )
    expect(given({})).toBe(`${rule} an object`)
    expect(messageOf(() => new PacketWriter().bytes(new ArrayBuffer(3) as never))).toContain('wrap it in a Uint8Array')
  })
})

describe('a packet from the peer that is too large', () => {
  const told = (made: ReturnType<typeof framing.raw>, tell: (connection: Connection) => void): IocpFrameError => {
    const connection = new FakeEngine().connection({ framing: made })
    const seen = vi.fn<(error: IocpFrameError) => void>()
    connection.on('frameError', seen)
    tell(connection)
    const error = seen.mock.calls[0]?.[0]
    if (error === undefined) throw new Error('nothing was told')
    return error
  }

  test.each([
    [framing.lengthField({ maxPacket: 10 }), '0000000b', 15],
    [framing.lengthField({ bytes: 2, endian: 'little', adjustment: -2, maxPacket: 10 }), '0d00', 13],
    [framing.lengthField({ bytes: 8, maxPacket: 10 }), '7fffffffffffffff', undefined],
    [framing.lengthField({ offset: 1, maxPacket: 10 }), 'ff0000000b', 16],
    [framing.varint({ maxPacket: 10 }), 'ac02', 302],
    [framing.varint({ maxPacket: 10 }), 'ac', undefined],
    [framing.hpSocketPack({ maxPacket: 10 }), '0300402a', undefined],
    [framing.hpSocketPack({ maxPacket: 2 }), '0300402a', 7],
    [framing.line({ maxPacket: 10 }), '6161616161616161616161', undefined],
    // Of a framing that has been replaced since.
    [framing.lengthField({ maxPacket: 10 }), '0000', undefined]
  ])('the limit, and the size if its header has it (%#)', (made, hex, size) => {
    const error = told(made, (connection) => {
      frameProblem(connection, frameError.tooLarge, Buffer.from(hex, 'hex'))
    })
    expect(error.frameSize).toBe(size)
    expect(error.message).toMatch(/^The peer sent a packet larger than the limit of \d+ bytes \('maxPacket'\); /)
  })

  test('also if it is only skipped', () => {
    const error = told(framing.lengthField({ maxPacket: 10, onOversize: 'discard' }), (connection) => {
      packetSkipped(connection, Buffer.from('0f000000000000000000000b', 'hex'))
    })
    expect(error).toMatchObject({ frameSize: 15, discarded: true })
    expect(error.message).toContain("of 10 bytes ('maxPacket'); the frame has 15 bytes")
  })

  test('other errors have no limit', () => {
    const error = told(framing.varint(), (connection) => {
      frameProblem(connection, frameError.badVarint, Buffer.from('ffffffffff', 'hex'))
    })
    expect(error.message).toBe(
      'The peer sent a length prefix that is not a valid base-128 number; it began with ffffffffff'
    )
  })
})

describe('jobs', () => {
  test('a server without workers names the option', () => {
    const server = createServer()
    expect(() => server.workers).toThrow(expect.objectContaining({ code: 'ERR_IOCP_NO_WORKERS' }))
    expect(messageOf(() => server.workers)).toContain("pass the option 'workers'")
  })

  test('a server that does not listen says so', async () => {
    const server = createServer({ workers: { module: new URL('file:///C:/jobs.js') } })
    await expect(server.workers.run('x')).rejects.toMatchObject({
      code: 'ERR_IOCP_CLOSING',
      message: expect.stringContaining('The server does not listen') as string
    })
  })

  test('too many: the limits, with their names', async () => {
    const engine = { jobs: { addJob: () => -1 } }
    const client = new JobClient(workers(), { _jobError: vi.fn(), _workerExit: vi.fn() }, () => engine as never)
    await expect(client.run('x')).rejects.toMatchObject({
      code: 'ERR_IOCP_WORKERS_FULL',
      message:
        "Too many jobs are waiting: the limits are 5 jobs ('workers.maxQueued') and 67108864 bytes ('workers.maxQueuedBytes')"
    })
    await expect(client.run('x', () => 1)).rejects.toThrow(
      "The payload of the job 'x' cannot be cloned: () => 1 could not be cloned."
    )
  })

  test('a result that cannot be cloned', () => {
    expect(messageOf(() => encodeResult({ of: () => 1 }))).toBe(
      'The result of the job cannot be cloned: () => 1 could not be cloned.'
    )
  })

  test('the class of the error stays, and errors of the value itself', () => {
    const clone = (value: unknown) => () => {
      try {
        structuredClone(value)
      } catch (error) {
        throw cloneError(error, 'It')
      }
    }
    expect(clone(() => 1)).toThrow(expect.objectContaining({ name: 'DataCloneError', code: 25 }))
    const own = new RangeError('of a getter')
    const throwing = {
      get x(): never {
        throw own
      }
    }
    expect(clone(throwing)).toThrow(own)
  })
})

describe('files', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })
  const typed = framing.lengthField({ typeByte: true })

  test('on a connection that takes none any more', async () => {
    const message = async (change: (connection: Connection) => unknown): Promise<string> => {
      const connection = new FakeEngine().connection({ framing: typed })
      change(connection)
      const error: unknown = await connection.sendFile('x').catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'ERR_IOCP_TRANSFER_CLOSED' })
      return (error as Error).message
    }
    expect(await message((connection) => connection.destroy())).toBe('No transfer can start: the connection is closed')
    expect(await message((connection) => connection.end())).toBe(
      'No transfer can start: this side has ended the connection'
    )
    const over = await message((connection) => {
      closed(connection, cause.local, 0, 0)
    })
    expect(over).toBe('No transfer can start: the connection is closed')
  })

  test('without a type byte', async () => {
    const connection = new FakeEngine().connection()
    await expect(connection.sendFile('x')).rejects.toThrow(/its option 'typeByte', and packets of at least \d+ bytes$/)
  })

  test('above a limit: which one', async () => {
    const engine = new FakeEngine()
    Object.assign(engine.transfers.files, { active: 7 })
    const connection = engine.connection({ framing: typed, transfer: { maxTotal: 7 } })
    await expect(connection.sendFile('x')).rejects.toThrow("the limit is 7 on all connections ('transfer.maxTotal')")
  })

  test('rejected by the peer: the reason, or why there may be none', () => {
    const none = "The file was rejected: reported by the peer, without a reason: it may have no listener for 'file'"
    expect(errorFromPeer(1, '').message).toBe(none)
    expect(reportedByPeer('ERR_IOCP_TRANSFER_REJECTED').message).toBe(none)
    expect(errorFromPeer(1, 'not today').message).toBe('The file was rejected: reported by the peer (not today)')
    expect(errorFromPeer(3, '').message).toBe('The transfer was aborted: reported by the peer')
  })

  test('accepted without a place, or with two', () => {
    expect(messageOf(() => readAccept({}))).toBe(
      "Either 'directory' or 'path' must be given, such as { directory: 'inbox' }"
    )
    expect(messageOf(() => readAccept({ directory: 'a', path: 'b' }))).toContain("Only one of 'directory' and 'path'")
  })
})
