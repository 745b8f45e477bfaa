import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { readServerOptions, readTarget } from '../../lib/endpoint/read_options.js'
import * as library from '../../lib/index.js'
import { counterNames } from '../../lib/native/stats.js'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const api = read('docs/api.md')

test.each(Object.keys(library))('docs/api.md begins with the import of %s', (name) => {
  const [, imported = ''] = /^```ts\n(import .*?)^```$/ms.exec(api) ?? []
  expect(imported).toMatch(new RegExp(`\\b${name}\\b`))
})

/** Names of options as the readers themselves list them. */
function known(readOptions: (options: unknown) => unknown, options: object): string[] {
  try {
    readOptions({ ...options, noSuchOption: 1 })
  } catch (error) {
    return /known options: (.*)$/.exec((error as Error).message)?.[1]?.split(', ') ?? []
  }
  return []
}

describe('docs/api.md has the option', () => {
  const server = known(readServerOptions, {})
  test.each(server.filter((name) => !['backpressure', 'delivery'].includes(name)))('%s', (name) => {
    expect(api).toMatch(new RegExp(`^\\| .*\`${name}\``, 'm'))
  })

  test.each(['highWater', 'lowWater', 'hardCap', 'hardCapPackets', 'onOverflow'])('backpressure.%s', (name) => {
    expect(api).toContain(`\`backpressure.${name}\``)
  })

  test('every one, because the list is not empty', () => {
    expect(server.length).toBeGreaterThan(15)
    expect(() => readTarget({ port: 1 })).not.toThrow()
  })
})

/** The options of each public type, as its interface has them, and the page that tells of them. */
const optionTypes = [
  ['lib/connection/options.ts', 'docs/api.md'],
  ['lib/connection/limits.ts', 'docs/limits.md'],
  ['lib/endpoint/options.ts', 'docs/api.md'],
  ['lib/endpoint/endpoint.ts', 'docs/api.md'],
  ['lib/endpoint/proxy_options.ts', 'docs/proxy-protocol.md'],
  ['lib/jobs/options.ts', 'docs/workers.md'],
  ['lib/connection/file_types.ts', 'docs/file-transfer.md'],
  ['lib/packets/framing.ts', 'docs/framing.md']
].flatMap(([source = '', page = '']) =>
  [...read(source).matchAll(/^export interface (\w*(?:Options|Target|Limits))\b[^{]*\{([^]*?)^\}/gm)].flatMap(
    ([, type = '', body = '']) =>
      [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)].map(([, name = '']) => ({ type, name, page }))
  )
)

test('the options of public types are found', () => {
  expect(optionTypes.length).toBeGreaterThan(90)
  expect(optionTypes.map(({ type }) => type)).toEqual(expect.arrayContaining(['ConnectionOptions', 'ConnectTarget']))
})

test.each(optionTypes)('$page has the option $name of $type', ({ name, page }) => {
  expect(read(page)).toMatch(new RegExp(`\\b${name}\\b`))
})

/** A section of a page, up to the next title of any level. */
function section(page: string, title: string): string {
  const text = read(page)
  const from = text.indexOf(`\n${title}\n`)
  if (from === -1) throw new Error(`${page} has no section ${title}`)
  return text.slice(from + 1).split('\n#')[0] ?? ''
}

/** Every field of statistics, those of fields too, and where it is described. */
const statistics = [
  ['EndpointStats', section('docs/api.md', '### .stats()')],
  ['PoolStats', section('docs/api.md', '### .stats()')],
  ['Distribution', section('docs/api.md', '### .stats()')],
  ['ConnectionStats', section('docs/api.md', '### Properties')],
  ['JobStats', section('docs/workers.md', '## server.workers')]
].flatMap(([type = '', text = '']) => {
  const [, body = ''] =
    new RegExp(`^export interface ${type} \\{(.*?)^\\}`, 'ms').exec(read('lib/native/stats.ts')) ?? []
  const names = [...body.replaceAll(/\/\*\*.*?\*\//gs, '').matchAll(/readonly (\w+):|'(\w+)'/g)].map(
    ([, name, key]) => name ?? key ?? ''
  )
  return names.map((name) => ({ type, name, text }))
})

test('the fields of statistics are found', () => {
  const of = (wanted: string): string[] => statistics.filter(({ type }) => type === wanted).map(({ name }) => name)
  expect(of('EndpointStats')).toEqual(
    expect.arrayContaining(['now', 'batchRecords', 'readBuffers', 'pendingObjects', 'counters'])
  )
  expect(of('JobStats').length).toBeGreaterThan(10)
})

test.each(statistics)('the page has the field $name of $type', ({ name, text }) => {
  expect(text).toContain(`\`${name}\``)
})

test.each(counterNames)('docs/api.md has the counter %s', (name) => {
  expect(section('docs/api.md', '### .stats()')).toContain(`\`${name}\``)
})

/** The package's page does not know the folders of the repository, so the links of the README have its address. */
const homepage = (JSON.parse(read('package.json')) as { homepage: string }).homepage.replace('#readme', '/blob/main/')

test("the links of README.md work on the package's page too", () => {
  const targets = [...read('README.md').matchAll(/\]\(([^)]+)\)/g)].map(([, target = '']) => target)
  expect(targets.filter((target) => !/^(https:|#)/.test(target))).toEqual([])
  expect(targets.filter((target) => target.startsWith(homepage)).length).toBeGreaterThan(5)
})

const linked = ['README.md', 'docs/api.md', 'docs/errors.md', 'docs/workers.md', 'docs/deployment.md']
test.each(linked)('links of %s lead somewhere', (path) => {
  for (const [, link = ''] of read(path).matchAll(/\]\(([^)]+)\)/g)) {
    const target = link.replace(homepage, '')
    if (target.startsWith('https:')) continue
    const [file = '', anchor] = target.split('#')
    const folder = path.startsWith('docs/') ? 'docs/' : ''
    const text = file === '' ? read(path) : read(folder + file)
    if (anchor === undefined) continue
    const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
      title
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(/\s/g, '-')
    )
    expect(anchors).toContain(anchor)
  }
})
