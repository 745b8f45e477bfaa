/** The tables of docs/errors.md about system calls that fail, made of those that the sweeps of this folder run by. */

import {
  acceptRows,
  type CallRow,
  type Calls,
  connectionRows,
  connectRows,
  fileRows,
  listenRows,
  startRows,
  upkeepRows
} from './sweep_table.js'

const list = (words: readonly string[]): string => words.map((word) => `\`${word}\``).join(', ')
/** What a promise of a file ends with. */
function fileCode(code: string): string {
  if (code === 'ok') return 'the file arrives'
  return code === 'none' ? 'is not offered it' : `\`${code}\``
}

const namesOf = (calls: Calls): string => list(calls.map(({ name }) => name))

function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(titles), `|${titles.map(() => '---').join('|')}|`, ...rows.map((row) => line(row))].join('\n')
}

const acceptOutcomes = {
  again: "tried again; `'acceptError'`, with pauses from 100 ms to 1 s, unless a peer has left",
  peer: 'this peer is turned away',
  ignored: 'none: the connection works without it'
} as const

/** Rows with the same calls and the same code are one line. */
function callTable(rows: readonly CallRow[]): string {
  const lines = rows.flatMap(({ calls, errors }) => {
    const byCode = new Map<string, string[]>()
    for (const [error, code] of errors) byCode.set(code, [...(byCode.get(code) ?? []), error])
    return [...byCode].map(([code, names]) => [
      namesOf(calls),
      list(names),
      code === 'ignored' ? 'none' : `\`${code}\``
    ])
  })
  return table(['call', 'fails with', 'code'], lines)
}

/** Each table with the title that it has on the page. */
export const pageTables: readonly { readonly title: string; readonly table: string }[] = [
  {
    title: '### On an open connection',
    table: table(
      ['call', 'fails with', '`CloseInfo`: cause, code of the error'],
      connectionRows.map(({ calls, errors, outcome }) => [
        namesOf(calls),
        list(errors),
        outcome === 'retry' ? 'none: retried' : `\`'${outcome.cause}'\`, \`${outcome.code}\``
      ])
    )
  },
  {
    title: '### While peers are accepted',
    table: table(
      ['call', 'fails with', 'effect'],
      acceptRows.map(({ calls, errors, outcome }) => [namesOf(calls), list(errors), acceptOutcomes[outcome]])
    )
  },
  { title: '### In connect', table: callTable(connectRows) },
  { title: '### In listen', table: callTable([...listenRows, ...startRows]) },
  { title: '### At any time', table: callTable(upkeepRows) },
  {
    title: '### With files',
    table: table(
      ['call', 'at', 'fails with', '`sendFile`', 'receiver'],
      fileRows.map(({ calls, at, errors, codes: [sender, receiver] }) => [
        namesOf(calls),
        at,
        list(errors),
        fileCode(sender),
        fileCode(receiver)
      ])
    )
  }
]
