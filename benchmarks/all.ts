// Runs every benchmark, prints all tables, and writes them to results.md with what they were measured on: `npm run
// bench`. Some twenty-five minutes on a machine that does nothing else. QUICK=1 only shows in some minutes that all
// of it runs, and its figures are worth nothing. The goals of the run before are kept.
// `npx tsx benchmarks/all.ts switch boot` runs these two alone, and keeps the sections of the others.
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { arch, cpus, loadavg, release, totalmem } from 'node:os'
import { text } from 'node:stream/consumers'
import { findProgram } from '../test/fixtures/debian.ts'
import { intervalOf, tablesOf } from './lib/table.ts'

const FILE = new URL('results.md', import.meta.url)
/** Those that print Markdown; the others print columns. */
const TABLES = ['hook', 'blocked', 'bypass', 'peers', 'attack', 'switch', 'boot', 'database']
const COLUMNS = ['ip', 'routes', 'fleet']

const TODAY = new Date().toISOString().slice(0, 10)
const asked = process.argv.slice(2)

const quick = process.env.QUICK === undefined ? {} : { ROUNDS: '1', GENERATIONS: '1', SLICES: '1', REQUESTS: '200', SWITCHES: '2', SERVERS: '20', SECONDS: '2', SAMPLES: '1', WARM_UP: '100', ATTACK: '5' }

const load = createRequire(import.meta.url)
const versionOf = (name: string): string => `${name} ${(load(`${name}/package.json`) as { version: string }).version}`

/** The first line that names a version; nginx tells it on stderr. */
function programVersion (name: string, argument: string): string {
  const program = findProgram([name], [])
  if (program === null) return `no ${name}`
  const { stdout, stderr } = spawnSync(program, [argument], { encoding: 'utf8' })
  return /^.*\d+\.\d+.*$/m.exec(`${stdout}${stderr}`)?.[0].trim() ?? name
}

async function run (name: string): Promise<string> {
  console.error(`${name}.ts, since ${new Date().toISOString()}`)
  const child = spawn(process.execPath, ['--import', 'tsx', new URL(`${name}.ts`, import.meta.url).pathname], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...quick } })
  const ended = new Promise(resolve => child.on('close', resolve))
  const printed = await text(child.stdout)
  if (await ended !== 0) throw new Error(`benchmarks/${name}.ts failed`)
  console.log(printed)
  return `## ${name}\n\n\`npx tsx benchmarks/${name}.ts\`, ${TODAY}\n\n${TABLES.includes(name) ? printed.trim() : `\`\`\`\n${printed.trim()}\n\`\`\``}\n`
}

const GOALS = JSON.parse(readFileSync(new URL('goals.json', import.meta.url), 'utf8')) as { goal: string, table: string, row: string, column: string, most: number }[]

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
const head = `# Results

Written by \`npm run bench\`; not to be changed by hand. The README takes its figures from here: \`npx tsx benchmarks/readme.ts\`.

- date: ${TODAY}, load at the start: ${loadavg()[0]?.toFixed(1)}
- machine: ${cpus().length} × ${cpus()[0]?.model}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, ${process.platform} ${release()} ${arch()}
- fastify-maintenance ${version}, Node ${process.version}, V8 ${process.versions.v8}, ${['fastify', '@fastify/under-pressure', 'express', 'ioredis'].map(versionOf).join(', ')}
- ${[programVersion('redis-server', '--version'), programVersion('nginx', '-v'), programVersion('valgrind', '--version')].join('; ')}
- settings: ${['ROUNDS', 'GENERATIONS', 'SLICES', 'REQUESTS', 'SWITCHES', 'SERVERS', 'SAMPLES', 'WARM_UP', 'ATTACK'].flatMap(name => process.env[name] === undefined ? [] : [`${name}=${process.env[name]}`]).join(' ') || 'the defaults'}

Figures are medians. *95 %* is the interval of a bootstrap over processes and slices. A/A is the same again: differences
below its own are nothing.
`

const last = readFileSync(FILE, 'utf8')
/** What the last run wrote of a benchmark. */
const sectionOf = (name: string): string => new RegExp(`^## ${name}\\n[^]*?(?=^## |$(?![^]))`, 'm').exec(last)?.[0].trimEnd() ?? ''

const parts: string[] = []
for (const name of [...TABLES, ...COLUMNS]) {
  parts.push(asked.length === 0 || asked.includes(name) ? await run(name) : `${sectionOf(name)}\n`)
}
const results = parts.join('\n')
// a run of some alone is not another run
const before = asked.length === 0 ? goalsOfLastRun() : ''
const goals = `## Goals\n\n${goalsTable(results)}\n${before === '' ? '' : `\n### The run before\n\n${before}\n`}`
console.log(goals)
writeFileSync(FILE, `${head}\n${goals}\n${results}`)

/** What the design asks for, and what was measured; an interval that holds the bound decides nothing. */
function goalsTable (results: string): string {
  const tables = tablesOf(results)
  const rows = GOALS.map(({ goal, table, row, column, most }) => {
    const cells = tables.get(table)?.get(row) ?? {}
    const value = Number(cells[column])
    const interval = intervalOf(cells, column) ?? ''
    const [low = value, high = value] = interval.split(' to ').filter(text => text !== '').map(Number)
    const verdict = high <= most ? 'yes' : low > most ? 'no' : 'not decided'
    return `| ${goal} | ${most} | ${cells[column] ?? 'not measured'} | ${interval} | ${cells[column] === undefined ? '' : verdict} |`
  })
  return `${new Date().toISOString()}\n\n| goal | at most | measured | 95 % | reached |\n| --- | ---: | ---: | ---: | --- |\n${rows.join('\n')}`
}

function goalsOfLastRun (): string {
  const [, goals = ''] = /^## Goals\n\n([\s\S]*?)\n\n?(?=##)/m.exec(last) ?? []
  return goals.trim()
}
