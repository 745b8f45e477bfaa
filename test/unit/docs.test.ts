import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { readServerOptions, readTarget } from '../../lib/endpoint/read_options.js'
import * as library from '../../lib/index.js'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const api = read('docs/api.md')

test.each(Object.keys(library))('docs/api.md has %s', (name) => {
  expect(api).toContain(name)
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
