/**
 * Takes the README's figures from results.md: `npx tsx benchmarks/readme.ts`; with `--check`, it only tells whether they are
 * the same. Which ones, readme.json says. They stand between the lines `<!-- benchmarks -->` and `<!-- /benchmarks -->`.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

type Rows = Map<string, Record<string, string>>

const BEGIN = '<!-- benchmarks -->'
const END = '<!-- /benchmarks -->'

const { values: { check = false, readme = 'README.md', results = 'benchmarks/results.md', figures = 'benchmarks/readme.json' } } = parseArgs({ options: { check: { type: 'boolean' }, readme: { type: 'string' }, results: { type: 'string' }, figures: { type: 'string' } } })
if (!existsSync(results)) fail(`${results} is missing: npm run bench writes it`)
/** What the README tells, and where that stands. */
const wantedFigures = JSON.parse(readFileSync(figures, 'utf8')) as [what: string, table: string, row: string, column: string, unit: string][]
const text = readFileSync(readme, 'utf8')
const begin = text.indexOf(`${BEGIN}\n`)
const end = text.indexOf(`${END}\n`)
if (begin === -1 || end < begin) fail(`${readme} needs the lines ${BEGIN} and ${END}, in this order, around its figures`)

const wanted = `${text.slice(0, begin + BEGIN.length)}\n\n${shortOf(readFileSync(results, 'utf8'))}\n${text.slice(end)}`
if (!check) writeFileSync(readme, wanted)
else if (wanted !== text) fail(`the figures of ${readme} are not those of ${results}: npx tsx benchmarks/readme.ts`)

function shortOf (source: string): string {
  // its own A/A pair says so: see lib/http.ts
  if (source.includes('**void**')) console.error(`benchmarks/readme.ts: a table of ${results} is void, the machine was too busy: run npm run bench again, on a quiet one`)
  const tables = tablesOf(source)
  const lines = wantedFigures.map(([what, table, row, column, unit]) => {
    const cells = tables.get(table)?.get(row)
    const figure = cells?.[column]
    if (figure === undefined) fail(`${results} has no table '${table}' with a row '${row}' and a column '${column}'`)
    // a ratio of times is worth what its rounds agree on
    const spread = column === 'CPU ratio' ? ` (${cells?.spread})` : ''
    return `| ${what} | ${figure}${spread}${unit} |`
  })
  const measured = [...source.matchAll(/^- (?:date|machine|fastify-maintenance).*$/gm)].map(([line]) => line.slice(2))
  return `| | |\n| --- | ---: |\n${lines.join('\n')}\n\nMeasured by \`npm run bench\` (${measured.join('; ')}); [all results](benchmarks/results.md). In brackets: the spread of the rounds.${source.includes('**void**') ? ' The machine was busy: where the same measured twice differs by more than 5 %, the table says so, and its times are rough.' : ''}\n`
}

/** By their titles; rows by their first cell. */
function tablesOf (source: string): Map<string, Rows> {
  return new Map([...source.matchAll(/^### (.+)\n\n((?:\|.*\n?)+)/gm)].map(([, title = '', table = '']) => {
    const [names = [], , ...rows] = table.trim().split('\n').map(line => line.slice(1, -1).split('|').map(cell => cell.trim()))
    return [title, new Map(rows.map(cells => [cells[0] ?? '', Object.fromEntries(names.map((name, i) => [name, cells[i] ?? '']))]))]
  }))
}

function fail (message: string): never {
  console.error(`benchmarks/readme.ts: ${message}`)
  process.exit(1)
}
