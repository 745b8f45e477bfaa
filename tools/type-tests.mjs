// Type tests: the programs in test/types are compiled, not run. Each test('…') or it('…') in them is a test that fails
// when TypeScript reports an error inside it; a file without such calls is one test as a whole. Lines that must not
// compile say so with // @ts-expect-error, which is an error itself where nothing is wrong.
import { createRequire } from 'node:module'
import path from 'node:path'
import { buildDist } from './build-dist.mjs'
import { noCounts } from './lib/counts.mjs'
import { filesBelow, slashes } from './lib/files.mjs'
import { fromRoot, root } from './lib/paths.mjs'
import { isMain, main, say } from './lib/run.mjs'

export async function typeTests() {
  const files = filesBelow('test/types', '.ts', '.cts', '.mts')
  if (files.length === 0) return { ...noCounts }
  await buildDist()
  const ts = createRequire(import.meta.url)('typescript')
  const config = ts.getParsedCommandLineOfConfigFile(fromRoot('tsconfig.json'), {}, { ...ts.sys, ...noErrors })
  const program = ts.createProgram(
    files.map((file) => fromRoot(file)),
    config.options
  )
  const errors = [...ts.getPreEmitDiagnostics(program)]
  const counts = { ...noCounts }
  for (const file of files) {
    const source = program.getSourceFile(slashes(fromRoot(file)))
    const tests = testsIn(ts, source)
    const own = errors.filter((error) => error.file === source)
    const outside = own.filter((error) => !tests.some((test) => isInside(error, test)))
    if (tests.length === 0 || outside.length > 0) tests.push({ name: 'the whole file', errors: outside })
    for (const test of tests) {
      const found = test.errors ?? own.filter((error) => isInside(error, test))
      counts[found.length > 0 ? 'failed' : 'passed'] += 1
      if (found.length > 0) say(`type test failed: ${file}: ${test.name}`)
    }
  }
  // An error elsewhere (in lib/) that these programs bring in must not be lost either.
  const elsewhere = errors.filter((error) => !files.includes(slashes(path.relative(root, error.file?.fileName ?? ''))))
  if (elsewhere.length > 0) counts.failed += 1
  const host = { getCanonicalFileName: (name) => name, getCurrentDirectory: () => root, getNewLine: () => '\n' }
  if (errors.length > 0) process.stderr.write(ts.formatDiagnostics(errors, host))
  return counts
}

const noErrors = {
  onUnRecoverableConfigFileDiagnostic(error) {
    throw new Error(String(error.messageText))
  }
}

function isInside(error, { from, to }) {
  return error.start !== undefined && error.start >= from && error.start < to
}

/** The calls test('name', …) and it('name', …), wherever they stand. */
function testsIn(ts, source) {
  const tests = []
  const visit = (node) => {
    const isTest =
      ts.isCallExpression(node) &&
      ts.isIdentifier(node.expression) &&
      ['test', 'it'].includes(node.expression.text) &&
      ts.isStringLiteralLike(node.arguments[0] ?? source)
    if (isTest) tests.push({ name: node.arguments[0].text, from: node.getFullStart(), to: node.getEnd() })
    else ts.forEachChild(node, visit)
  }
  visit(source)
  return tests
}

if (isMain(import.meta)) {
  await main(async () => {
    const counts = await typeTests()
    say(`type tests: ${counts.passed} passed, ${counts.failed} failed`)
    return counts.failed === 0 ? 0 : 1
  })
}
