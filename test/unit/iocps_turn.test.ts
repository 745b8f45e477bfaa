import { expect, test } from 'vitest'
import { IocpsTurn } from '../../lib/transfer/iocps.js'

// First, as in a program: the parts of a connection know each other.
import '../../lib/index.js'

type Mine = NonNullable<IocpsTurn['mine']>
type Theirs = NonNullable<IocpsTurn['theirs']>

// The turn only compares them.
const mine = (): Mine => Object.create(null) as Mine
const theirs = Object.create(null) as Theirs

/** Files in the order in which their turn comes. */
function waiting(turn: IocpsTurn, seen: Mine[]): (file: Mine) => void {
  const entered = new Set<Mine>()
  return (file) => {
    // Its place is that of its first asking.
    if (!entered.has(file)) turn.enter(file)
    entered.add(file)
    void turn.wait(file).then(() => seen.push(file))
  }
}

async function settled(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
}

test('one file at a time, in the order of asking', async () => {
  const turn = new IocpsTurn()
  const seen: Mine[] = []
  const wait = waiting(turn, seen)
  const files = [mine(), mine(), mine()] as const
  for (const file of files) wait(file)
  await settled()
  expect(seen).toEqual([files[0]])
  expect(turn.mine).toBe(files[0])
  // One that is given up while it waits is passed over.
  turn.leave(files[1])
  await settled()
  expect(seen).toHaveLength(1)
  turn.leave(files[0])
  await settled()
  expect(turn.mine).toBe(files[2])
  expect(seen).toHaveLength(2)
})

test("nothing is offered before the peer's offer is answered", async () => {
  const turn = new IocpsTurn()
  const seen: Mine[] = []
  turn.theirs = theirs
  waiting(turn, seen)(mine())
  await settled()
  expect(seen).toEqual([])
  turn.theirs = undefined
  turn.next()
  await settled()
  expect(seen).toHaveLength(1)
})

test("the peer's offer that comes between a turn and its use goes first", async () => {
  const turn = new IocpsTurn()
  const seen: Mine[] = []
  const wait = waiting(turn, seen)
  const file = mine()
  wait(file)
  turn.theirs = theirs
  await settled()
  expect(turn.givesWay()).toBe(true)
  expect(turn.mine).toBeUndefined()
  wait(file)
  await settled()
  expect(seen).toHaveLength(1)
  turn.theirs = undefined
  turn.next()
  await settled()
  expect(seen).toHaveLength(2)
  expect(turn.givesWay()).toBe(false)
  expect(turn.mine).toBe(file)
})
