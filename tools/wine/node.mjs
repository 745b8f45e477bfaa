// node tools/wine/node.mjs <arguments of node>: the Windows Node.js under Wine. For developers: with IOCP_KEEP_WINE=1
// the wineserver stays (0.2 s for each later process); `node tools/wine/node.mjs --end` ends it.
import { main } from '../lib/run.mjs'
import { needWindowsNode } from './prefix.mjs'
import { closeWine, openWine, runWindowsNode } from './session.mjs'

await main(async () => {
  const args = process.argv.slice(2)
  const end = args[0] === '--end'
  if (end) delete process.env.IOCP_KEEP_WINE
  await needWindowsNode()
  openWine()
  const status = end ? 0 : await runWindowsNode(args)
  closeWine()
  return status
})
