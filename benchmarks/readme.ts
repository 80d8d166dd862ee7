/**
 * Copies the figures that readme.json names from results.md to the README, between its lines `<!-- benchmarks -->` and
 * `<!-- /benchmarks -->`: `npx tsx benchmarks/readme.ts`. With `--check`, it only compares them.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { intervalOf, tablesOf } from './lib/table.ts'

const BEGIN = '<!-- benchmarks -->'
const END = '<!-- /benchmarks -->'

type Figure = [label: string, table: string, row: string, column: string, unit: string]

const { values: { check, readme, results, figures } } = parseArgs({
  options: {
    check: { type: 'boolean', default: false },
    readme: { type: 'string', default: 'README.md' },
    results: { type: 'string', default: 'benchmarks/results.md' },
    figures: { type: 'string', default: 'benchmarks/readme.json' }
  }
})
if (!existsSync(results)) fail(`${results} is missing; npm run bench writes it`)
const wantedFigures = JSON.parse(readFileSync(figures, 'utf8')) as Figure[]
const text = readFileSync(readme, 'utf8')
const begin = text.indexOf(`${BEGIN}\n`)
const end = text.indexOf(`${END}\n`)
if (begin === -1 || end < begin) fail(`${readme} needs the lines ${BEGIN} and ${END}, in this order`)

const section = sectionFrom(readFileSync(results, 'utf8'))
const wanted = `${text.slice(0, begin + BEGIN.length)}\n\n${section}\n${text.slice(end)}`
if (!check) writeFileSync(readme, wanted)
else if (wanted !== text) fail(`the figures of ${readme} are not those of ${results}; run npx tsx benchmarks/readme.ts`)

function sectionFrom (source: string): string {
  // lib/http.ts writes this if an A/A pair differs too much
  const isVoid = source.includes('**void**')
  if (isVoid) {
    console.error(`benchmarks/readme.ts: a table of ${results} is void because the machine was busy; \
run npm run bench again on an idle one`)
  }
  const tables = tablesOf(source)
  const lines = wantedFigures.map(([label, table, row, column, unit]) => {
    const cells = tables.get(table)?.get(row) ?? {}
    const figure = cells[column]
    if (figure === undefined) fail(`${results} has no table '${table}' with a row '${row}' and a column '${column}'`)
    const interval = intervalOf(cells, column)
    return `| ${label} | ${figure}${unit}${interval === undefined ? '' : ` (${interval})`} |`
  })
  const [, date = '?'] = /^- date: ([^,\n]*)/m.exec(source) ?? []
  const note = isVoid ? ' The machine was busy, so the times are rough.' : ''
  const origin = `Measured by \`npm run bench\` on ${date}; in brackets, the 95 % interval.${note}`
  return `| | |\n| --- | ---: |\n${lines.join('\n')}\n\n${origin} [All results](benchmarks/results.md)\n`
}

function fail (message: string): never {
  console.error(`benchmarks/readme.ts: ${message}`)
  process.exit(1)
}
