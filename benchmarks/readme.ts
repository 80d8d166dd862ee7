/**
 * Copies figures from results.md to the README: `npx tsx benchmarks/readme.ts`. With `--check`, it only compares them.
 * readme.json names the figures. They are between the lines `<!-- benchmarks -->` and `<!-- /benchmarks -->`.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { intervalOf, tablesOf } from './lib/table.ts'

const BEGIN = '<!-- benchmarks -->'
const END = '<!-- /benchmarks -->'

const { values: { check = false, readme = 'README.md', results = 'benchmarks/results.md', figures = 'benchmarks/readme.json' } } = parseArgs({ options: { check: { type: 'boolean' }, readme: { type: 'string' }, results: { type: 'string' }, figures: { type: 'string' } } })
if (!existsSync(results)) fail(`${results} is missing: npm run bench writes it`)
/** What the README says, and where in the results it comes from. */
const wantedFigures = JSON.parse(readFileSync(figures, 'utf8')) as [what: string, table: string, row: string, column: string, unit: string][]
const text = readFileSync(readme, 'utf8')
const begin = text.indexOf(`${BEGIN}\n`)
const end = text.indexOf(`${END}\n`)
if (begin === -1 || end < begin) fail(`${readme} needs the lines ${BEGIN} and ${END}, in this order, around its figures`)

const wanted = `${text.slice(0, begin + BEGIN.length)}\n\n${shortOf(readFileSync(results, 'utf8'))}\n${text.slice(end)}`
if (!check) writeFileSync(readme, wanted)
else if (wanted !== text) fail(`the figures of ${readme} are not those of ${results}: npx tsx benchmarks/readme.ts`)

function shortOf (source: string): string {
  // its own A/A pair shows it: see lib/http.ts
  if (source.includes('**void**')) console.error(`benchmarks/readme.ts: a table of ${results} is void because the machine was too busy: run npm run bench again on a quiet one`)
  const tables = tablesOf(source)
  const lines = wantedFigures.map(([what, table, row, column, unit]) => {
    const cells = tables.get(table)?.get(row) ?? {}
    const figure = cells[column]
    if (figure === undefined) fail(`${results} has no table '${table}' with a row '${row}' and a column '${column}'`)
    const interval = intervalOf(cells, column)
    return `| ${what} | ${figure}${unit}${interval === undefined ? '' : ` (${interval})`} |`
  })
  const [, date = '?'] = /^- date: ([^,\n]*)/m.exec(source) ?? []
  const isVoid = source.includes('**void**') ? ' The machine was busy, so the times are rough.' : ''
  return `| | |\n| --- | ---: |\n${lines.join('\n')}\n\nMeasured by \`npm run bench\` on ${date}; in brackets, the 95 % interval.${isVoid} [All results](benchmarks/results.md)\n`
}

function fail (message: string): never {
  console.error(`benchmarks/readme.ts: ${message}`)
  process.exit(1)
}
