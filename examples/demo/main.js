// @ts-check
// The demo: a server, many clients, and every byte that comes back is checked. `npm start -- --help` says more.
import { readArguments, usage } from './arguments.js'
import { runLoad } from './load.js'
import { serve } from './serve.js'

try {
  const words = readArguments(process.argv.slice(2))
  if (words.help) console.log(usage)
  else process.exitCode = await (words.command === 'serve' ? serve(words) : runLoad(words))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
