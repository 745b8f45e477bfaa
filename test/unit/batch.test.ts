import { describe, expect, test } from 'vitest'
import type { Connection } from '../../lib/connection/connection.js'
import { BatchReader, type BatchSink, type RecordView } from '../../lib/engine/batch_reader.js'
import { RECORD_WORDS } from '../../lib/native/protocol.js'
import { type HandMade, makeBatch } from '../helpers/batches.js'
import { FakeEngine, nextTick } from '../helpers/fake_engine.js'
import { refusesTransfer } from '../helpers/transferring.js'
import { catchUncaught } from '../helpers/uncaught.js'

class Sink implements BatchSink {
  readonly connections: (Connection | undefined)[] = []
  readonly seen: unknown[] = []
  open = 0

  beginBatch(): void {
    this.open++
  }

  endBatch(records: number, bytes: number): void {
    this.open--
    this.seen.push(['end', records, bytes])
  }

  lost({ kind, slot, generation, c }: RecordView): void {
    this.seen.push(['lost', kind, slot, generation, c])
  }

  record({ kind, slot, generation, a, b, c, payload }: RecordView): void {
    this.seen.push([kind, slot, generation, a, b, c, payload])
  }
}

function setUp() {
  const control = new Uint32Array(100 * RECORD_WORDS)
  const engine = new FakeEngine()
  const sink = new Sink()
  const reader = new BatchReader(control, sink)
  const connections = [engine.connection(), engine.connection(), engine.connection()]
  for (const connection of connections) {
    sink.connections.push(connection)
    connection.on('packet', (packet) => {
      sink.seen.push([connection._slot, packet.toString()])
    })
  }
  const give = (...records: HandMade[]): void => {
    reader.onBatch(...makeBatch(control, records))
  }
  return { control, host: engine, sink, reader, connections, give }
}

const packet = (slot: number, payload: string): HandMade => ({ kind: 'packet', slot, payload })

test('packets go to their connections in order, other records to the sink', () => {
  const { sink, give } = setUp()
  give(packet(0, 'a'), packet(2, 'b'), { kind: 'drain', slot: 1, a: 5 }, packet(0, 'c'), packet(1, ''))
  expect(sink.seen).toEqual([
    [0, 'a'],
    [2, 'b'],
    [4, 1, 1, 5, 0, 0, expect.any(ArrayBuffer)],
    [0, 'c'],
    [1, ''],
    ['end', 5, 3]
  ])
  expect(sink.open).toBe(0)
})

test('a packet is a Buffer on the memory of its batch', () => {
  const { connections, reader, control } = setUp()
  const packets: Buffer[] = []
  connections[0]?.on('packet', (one) => packets.push(one))
  const [records, payload] = makeBatch(control, [packet(0, 'abc'), packet(0, 'defg')])
  reader.onBatch(records, payload)
  expect(packets.map(String)).toEqual(['abc', 'defg'])
  for (const one of packets) {
    expect(Buffer.isBuffer(one)).toBe(true)
    expect(one.buffer).toBe(payload)
  }
  expect(packets[1]?.readUInt16BE()).toBe(0x6465)
})

test('a packet without any payload in the batch is an empty Buffer', () => {
  const { sink, give } = setUp()
  give({ kind: 'packet', slot: 1, payload: '' })
  expect(sink.seen[0]).toEqual([1, ''])
})

test('a packet for an earlier owner of a slot, or for none, is a clean miss', () => {
  const { sink, give } = setUp()
  sink.connections[2] = undefined
  give({ ...packet(0, 'old'), generation: 7 }, packet(2, 'gone'), packet(50, 'never there'), packet(0, 'new'))
  expect(sink.seen.slice(0, -1)).toEqual([[0, 'new']])
})

describe('when a handler throws', () => {
  test('the error surfaces and the rest of the batch is handed over in a later turn', async () => {
    const { connections, sink, give } = setUp()
    connections[1]?.prependListener('packet', () => {
      throw new Error('from a handler')
    })
    expect(() => {
      give(packet(0, '1'), packet(1, '2'), packet(0, '3'), { kind: 'peerEnd', slot: 2 }, packet(0, '4'))
    }).toThrow('from a handler')
    expect(sink.seen).toEqual([
      [0, '1'],
      // The other listeners of the same packet.
      [1, '2'],
      ['end', 2, 4]
    ])
    expect(sink.open).toBe(0)
    await nextTick()
    expect(sink.seen.slice(3)).toEqual([
      [0, '3'],
      [5, 2, 1, 0, 0, 0, expect.any(ArrayBuffer)],
      [0, '4'],
      ['end', 3, 4]
    ])
  })

  test('a later batch waits for the rest of the earlier one', () => {
    const { connections, sink, give } = setUp()
    connections[1]?.prependOnceListener('packet', () => {
      throw new Error('once')
    })
    expect(() => {
      give(packet(1, 'x'), packet(0, '1'), packet(0, '2'))
    }).toThrow('once')
    give(packet(0, '3'))
    expect(sink.seen.filter((one) => (one as unknown[])[0] === 0)).toEqual([
      [0, '1'],
      [0, '2'],
      [0, '3']
    ])
  })

  test('and throws again for each packet, none of them is lost', async () => {
    const caught = catchUncaught()
    const { connections, sink, give } = setUp()
    connections[0]?.on('packet', (one) => {
      throw new Error(one.toString())
    })
    expect(() => {
      give(packet(0, '1'), packet(0, '2'), packet(1, 'x'), packet(0, '3'))
    }).toThrow('1')
    expect(() => {
      give(packet(0, '4'), packet(1, 'y'))
    }).toThrow('2')
    for (let turn = 0; turn < 5; turn++) await nextTick()
    expect(caught.map((error) => (error as Error).message)).toEqual(['3', '4'])
    expect(sink.seen.filter((one) => (one as unknown[])[0] !== 'end').map(String)).toEqual([
      '0,1',
      '0,2',
      '1,x',
      '0,3',
      '0,4',
      '1,y'
    ])
    expect(sink.open).toBe(0)
  })
})

describe.skipIf(refusesTransfer)('when a handler transfers the memory of the batch, where Node.js lets it', () => {
  function taken(): ReturnType<typeof setUp> {
    const all = setUp()
    all.connections[0]?.once('packet', (one) => {
      ;(one.buffer as ArrayBuffer).transfer()
    })
    return all
  }
  const lost = ({ seen }: Sink): unknown[] => seen.filter((one) => (one as unknown[])[0] === 'lost')

  test('records whose bytes lay there are lost', () => {
    const { sink, give } = taken()
    give(
      packet(0, 'thief'),
      packet(1, 'victim'),
      { kind: 'streamData', slot: 2, payload: 'piece' },
      { kind: 'transfer', slot: 2, payload: 'frame' },
      { kind: 'jobDone', slot: 2, payload: 'result' }
    )
    expect(lost(sink).map((one) => (one as unknown[])[1])).toEqual([2, 15, 18, 43])
  })

  test('those that have none are not, whatever number stands in the place of a length', () => {
    const { sink, give } = taken()
    give(
      packet(0, 'thief'),
      packet(1, ''),
      { kind: 'sent', slot: 1, a: 1, b: 2 },
      { kind: 'dropped', slot: 1, a: 1, b: 100 },
      { kind: 'streamBegin', slot: 1, a: 0, b: 1 },
      { kind: 'sendProgress', slot: 1, a: 1, b: 5 },
      { kind: 'close', slot: 1, a: 3, b: 10054 },
      { kind: 'stopped', slot: 0, a: 1, b: 1 }
    )
    expect(lost(sink)).toEqual([])
    expect(sink.seen.slice(0, -1).map((one) => (one as unknown[])[0])).toEqual([0, 1, 11, 12, 14, 19, 3, 8])
  })
})
