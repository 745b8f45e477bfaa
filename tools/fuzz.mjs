// `npm run fuzz [-- --seconds N] [target…]`: installs clang where it is missing and runs test/fuzz.
import { clangMajor, findClang, needDebian } from './lib/install.mjs'
import { fromRoot, root } from './lib/paths.mjs'
import { capture, main, start } from './lib/run.mjs'

await main(async () => {
  await needDebian('clang')
  await needDebian({ package: `libclang-rt-${clangMajor()}-dev`, isThere: canLinkFuzzers })
  const words = [fromRoot('test', 'fuzz', 'run.mjs'), ...process.argv.slice(2)]
  return (await start(process.execPath, words, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })).status
})

/** The run-time library of libFuzzer and the sanitizers is a package of its own. */
function canLinkFuzzers() {
  const source = 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'
  const flags = ['-fsanitize=fuzzer,address,undefined', '-x', 'c++', '-', '-o', '/dev/null']
  return capture(findClang(), flags, { input: source, stdio: ['pipe', 'pipe', 'ignore'] }) !== undefined
}
