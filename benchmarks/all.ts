// Runs every benchmark, prints the tables, and writes them to results.md: `npm run bench`. It takes about 15 minutes
// on an idle machine with two cores. With QUICK=1, it takes a few minutes and only shows that everything runs: the
// figures are worthless, and results.md stays as it is. To run some benchmarks and keep the results of the others:
// `npx tsx benchmarks/all.ts switch boot`.
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { arch, cpus, loadavg, release, totalmem } from 'node:os'
import { text } from 'node:stream/consumers'
import { findProgram } from '../test/fixtures/debian.ts'
import { intervalOf, tableOf, tablesOf, type Row } from './lib/table.ts'

const FILE = new URL('results.md', import.meta.url)
const BENCHMARKS = [
  'hook',
  'blocked',
  'bypass',
  'peers',
  'attack',
  'switch',
  'boot',
  'database',
  'ip',
  'routes',
  'fleet'
]
const TODAY = new Date().toISOString().slice(0, 10)

/** All settings, with their values for QUICK. */
const SETTINGS = {
  ROUNDS: '1',
  GENERATIONS: '1',
  SLICES: '1',
  REQUESTS: '200',
  SWITCHES: '2',
  SERVERS: '20',
  SECONDS: '2',
  SAMPLES: '1',
  WARM_UP: '100',
  ATTACK: '5'
}
const isQuick = process.env.QUICK !== undefined
const env: NodeJS.ProcessEnv = { ...process.env, ...(isQuick ? SETTINGS : {}) }

interface Goal {
  readonly goal: string
  readonly table: string
  readonly row: string
  readonly column: string
  readonly most: number
}

const selected = process.argv.slice(2)
const unknown = selected.filter(name => !BENCHMARKS.includes(name))
if (unknown.length > 0) throw new Error(`no benchmark is called ${unknown.join(' or ')}: ${BENCHMARKS.join(', ')}`)
const isComplete = selected.length === 0
const load = createRequire(import.meta.url)
const readJson = (file: string): unknown => JSON.parse(readFileSync(new URL(file, import.meta.url), 'utf8'))
const last = readFileSync(FILE, 'utf8')
const head = describeRun()

const parts: string[] = []
for (const name of BENCHMARKS) {
  parts.push(isComplete || selected.includes(name) ? await run(name) : `${lastSection(name)}\n`)
}
const results = parts.join('\n')
const goals = describeGoals(results)
console.log(goals)
if (!isQuick) writeFileSync(FILE, `${isComplete ? head : lastHead()}\n${goals}\n${results}`)

async function run (name: string): Promise<string> {
  console.error(`${name}.ts, started at ${new Date().toISOString()}`)
  const file = new URL(`${name}.ts`, import.meta.url).pathname
  const child = spawn(process.execPath, ['--import', 'tsx', file], {
    stdio: ['ignore', 'pipe', 'inherit'], env
  })
  const ended = new Promise(resolve => child.on('close', resolve))
  const printed = await text(child.stdout)
  if (await ended !== 0) throw new Error(`benchmarks/${name}.ts failed`)
  console.log(printed)
  return `## ${name}\n\n\`npx tsx benchmarks/${name}.ts\`, ${TODAY}\n\n${printed.trim()}\n`
}

function lastSection (name: string): string {
  return new RegExp(`^## ${name}\\n[^]*?(?=^## |$(?![^]))`, 'm').exec(last)?.[0].trimEnd() ?? ''
}

/** The versions are those of the last complete run; each benchmark has its own date. */
function lastHead (): string {
  return /^[^]*?(?=\n## Goals\n)/.exec(last)?.[0] ?? head
}

/** A complete run is compared with the complete run before it. */
function describeGoals (results: string): string {
  const [, lastRun = '', runBefore = ''] = /^Run at (\S+), the run before at (\S*)\.$/m.exec(last) ?? []
  const [run, before] = isComplete ? [new Date().toISOString(), lastRun] : [lastRun, runBefore]
  const tables = tablesOf(results)
  const rows = (readJson('goals.json') as Goal[]).map(goal => goalRow(goal, tables.get(goal.table)?.get(goal.row) ?? {}))
  return `## Goals\n\nRun at ${run}, the run before at ${before}.\n\n${tableOf('Goals', rows)}`
}

function goalRow ({ goal, column, most }: Goal, cells: Row): Row {
  const measured = cells[column] ?? 'not measured'
  const interval = intervalOf(cells, column) ?? ''
  const known = tablesOf(last).get('Goals')?.get(goal) ?? {}
  const before = known[isComplete ? 'measured' : 'run before'] ?? ''
  const its = known[isComplete ? '95 %' : 'its 95 %'] ?? ''
  return {
    goal,
    'at most': String(most),
    measured,
    '95 %': interval,
    met: judge(Number(measured), interval, most),
    'run before': before,
    'its 95 %': its,
    agree: interval === '' || its === '' ? '' : overlap(interval, its) ? 'yes' : 'no'
  }
}

function boundsOf (interval: string): [low: number, high: number] {
  return interval.split(' to ').map(Number) as [number, number]
}

function overlap (one: string, other: string): boolean {
  const [low, high] = boundsOf(one)
  const [otherLow, otherHigh] = boundsOf(other)
  return low <= otherHigh && otherLow <= high
}

/** Inconclusive if the bound lies within the interval. */
function judge (value: number, interval: string, most: number): string {
  if (Number.isNaN(value)) return ''
  const [low, high] = interval === '' ? [value, value] : boundsOf(interval)
  return high <= most ? 'yes' : low > most ? 'no' : 'inconclusive'
}

function describeRun (): string {
  const { version } = readJson('../package.json') as { version: string }
  const packages = ['fastify', '@fastify/under-pressure', 'express', 'ioredis'].map(packageVersion)
  const programs = [['redis-server', '--version'], ['nginx', '-v'], ['valgrind', '--version']] as const
  const memory = `${(totalmem() / 2 ** 30).toFixed(0)} GiB`
  const settings = Object.keys(SETTINGS).flatMap(name => env[name] === undefined ? [] : [`${name}=${env[name]}`])
  return `# Results

Written by \`npm run bench\`; do not edit. \`npx tsx benchmarks/readme.ts\` copies figures from here to the README.

- date: ${TODAY}, load at the start: ${loadavg()[0]?.toFixed(1)}
- machine: ${cpus().length} × ${cpus()[0]?.model}, ${memory}, ${process.platform} ${release()} ${arch()}
- fastify-maintenance ${version}, Node ${process.version}, V8 ${process.versions.v8}, ${packages.join(', ')}
- ${programs.map(([name, argument]) => programVersion(name, argument)).join('; ')}
- settings: ${settings.join(' ') || 'the defaults'}

Figures are medians. Ratios are relative to the first row, if nothing else is said. The columns *95 %* are confidence
intervals, bootstrapped over processes and the samples of each. A row marked A/A measures its base a second time:
differences within its interval are noise.

What else a process does changes the time of a request more than an open site does. Which packages it loads moves its
code around in memory, which changes the CPU time by up to 15 %. So over sockets, each generation of processes loads
another choice of packages. Once a process has used one more kind of stream or emitter, parts of Node itself take longer,
some 2 % of a request. So each process has an application with the plugin that gets no requests, and *no plugin* means
that the application which is measured has none. *The hook alone* calls the hook with a stub.
`
}

function packageVersion (name: string): string {
  return `${name} ${(load(`${name}/package.json`) as { version: string }).version}`
}

/** The first line that contains a version, on stdout or (nginx) on stderr. */
function programVersion (name: string, argument: string): string {
  const program = findProgram([name], [])
  if (program === null) return `no ${name}`
  const { stdout, stderr } = spawnSync(program, [argument], { encoding: 'utf8' })
  return /^.*\d+\.\d+.*$/m.exec(`${stdout}${stderr}`)?.[0].trim() ?? name
}
