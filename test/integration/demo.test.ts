import { expect, test } from 'vitest'
import { runFile } from '../helpers/programs.js'

test.each(['iocp', 'net'])('the demo ends by itself with a report and without errors (clients: %s)', async (client) => {
  const ended = await runFile(
    'examples/demo/main.js',
    ...['--connections', '20', '--seconds', '0.5', '--size', '5000', '--client', client]
  )
  expect(ended).toMatchObject({ code: 0, error: '' })
  const figure = (name: string): number => {
    const text = new RegExp(`^${name} +([\\d,.]+)`, 'm').exec(ended.out)?.[1] ?? 'missing'
    return Number(text.replaceAll(',', ''))
  }
  expect(figure('connections')).toBe(20)
  expect(figure('packets')).toBeGreaterThanOrEqual(80)
  expect(figure('bytes')).toBeGreaterThan(0)
  expect(figure('seconds')).toBeGreaterThanOrEqual(0.5)
  expect(figure('packets per second')).toBeGreaterThan(0)
  expect(figure('errors')).toBe(0)
})

test('wrong arguments say what is right', async () => {
  const ended = await runFile('examples/demo/main.js', 'dance')
  expect(ended.code).toBe(1)
  expect(ended.error).toContain('"dance" is no command')
  expect(ended.error).toContain('--connections')
})
