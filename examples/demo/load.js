// @ts-check
import { iocpClients, netClients } from './clients.js'
import { createPayloads } from './payloads.js'
import { Peer } from './peer.js'
import { formatBytes, showProgress } from './progress.js'
import { createEchoServer } from './server.js'

/** Connects under way at one time: more would only overflow the queue of connections to be accepted. */
const CONNECTS_AT_ONCE = 100
/** Without any packet for so long something hangs, and that is an error. */
const PATIENCE = 30_000
const ERRORS_SHOWN = 10

/**
 * A server, its clients, and a report.
 * @param {import('./arguments.js').Arguments} words
 * @returns {Promise<number>} exit code
 */
export async function runLoad({ connections, seconds, size, client }) {
  const server = createEchoServer()
  const { port } = await server.listen({ port: 0, host: '127.0.0.1', backlog: 2048 })
  const clients = client === 'net' ? netClients() : iocpClients()
  /** @type {import('./peer.js').Totals} */
  const totals = { packets: 0, bytes: 0, errors: [] }
  const payloads = createPayloads(size)
  let open = 0
  let start = performance.now()
  const passed = () => (performance.now() - start) / 1000
  const progress = showProgress(
    () =>
      `${passed().toFixed(0).padStart(4)} s  ${open} of ${connections} connections  ` +
      `${totals.packets.toLocaleString('en')} packets  ${formatBytes(totals.bytes)}  ${totals.errors.length} errors`
  )

  const peers = await connectAll()
  start = performance.now()
  for (const { peer, link } of peers) peer.start(link)
  await allOver(peers, seconds)
  const took = passed()
  progress.end()
  await Promise.all([server.close({ deadline: '5s' }), clients.close()])
  report(took)
  return totals.errors.length === 0 ? 0 : 1

  async function connectAll() {
    /** @type {{ peer: Peer, link: import('./peer.js').Link, over: Promise<void> }[]} */
    const made = []
    let left = connections
    const connectOne = async () => {
      while (left-- > 0) {
        /** @type {() => void} */
        let done = () => {}
        /** @type {Promise<void>} */
        const over = new Promise((resolve) => {
          done = resolve
        })
        const peer = new Peer(payloads, totals, () => {
          open -= 1
          done()
        })
        try {
          const link = await clients.connect(port, peer)
          open += 1
          made.push({ peer, link, over })
        } catch (error) {
          totals.errors.push(error instanceof Error ? error.message : String(error))
        }
      }
    }
    await Promise.all(Array.from({ length: CONNECTS_AT_ONCE }, connectOne))
    return made
  }

  /**
   * Lets them send for a while and waits until everything has come back.
   * @param {{ peer: Peer, over: Promise<void> }[]} peers
   * @param {number} seconds
   */
  async function allOver(peers, seconds) {
    const stop = setTimeout(() => {
      for (const { peer } of peers) peer.stop()
    }, seconds * 1000)
    let before = -1
    /** @type {(value?: undefined) => void} */
    let giveUp = () => {}
    const watch = setInterval(() => {
      if (totals.packets === before) {
        totals.errors.push(`no packet for ${PATIENCE / 1000} seconds; ${open} connections are still open`)
        giveUp()
      }
      before = totals.packets
    }, PATIENCE)
    const patienceEnds = new Promise((resolve) => {
      giveUp = resolve
    })
    await Promise.race([Promise.all(peers.map(({ over }) => over)), patienceEnds])
    clearTimeout(stop)
    clearInterval(watch)
  }

  /** @param {number} took */
  function report(took) {
    /** @type {[string, string][]} */
    const lines = [
      ['connections', connections.toLocaleString('en')],
      ['packets', totals.packets.toLocaleString('en')],
      ['bytes', `${totals.bytes.toLocaleString('en')} (${formatBytes(totals.bytes)})`],
      ['seconds', took.toFixed(1)],
      ['packets per second', Math.round(totals.packets / took).toLocaleString('en')],
      ['errors', totals.errors.length.toLocaleString('en')]
    ]
    for (const [name, value] of lines) console.log(`${name.padEnd(20)}${value}`)
    for (const error of totals.errors.slice(0, ERRORS_SHOWN)) console.error(`error: ${error}`)
    if (totals.errors.length > ERRORS_SHOWN) console.error(`and ${totals.errors.length - ERRORS_SHOWN} more`)
  }
}
