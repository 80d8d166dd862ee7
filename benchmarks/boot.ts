/**
 * What does the plugin add to the boot of an application, and does a switch block the event loop? Run with
 * `npm run build && npx tsx benchmarks/boot.ts`.
 */
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { PLUGIN } from './lib/count.ts'
import { formatInterval, medianInterval } from './lib/interval.ts'
import { percentile, printTable } from './lib/table.ts'

const ROUNDS = Number(process.env.ROUNDS ?? 9)
const SWITCHES = Number(process.env.SWITCHES ?? 250)

const run = promisify(execFile)
const { resolve } = createRequire(import.meta.url)

async function play<T> (script: string, ...args: string[]): Promise<T> {
  const file = new URL(`lib/${script}`, import.meta.url).pathname
  return JSON.parse((await run(process.execPath, ['--expose-gc', file, ...args])).stdout) as T
}

const PLUGINS: Record<string, string[]> = {
  'no plugin': [],
  'no plugin again (A/A)': [],
  'fastify-maintenance': [PLUGIN],
  '@fastify/rate-limit': [resolve('@fastify/rate-limit')],
  '@fastify/under-pressure': [resolve('@fastify/under-pressure')]
}

interface Boot { readonly load: number, readonly ready: number, readonly heap: number }

const boots = new Map(Object.keys(PLUGINS).map(name => [name, [] as Boot[]]))
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, args] of Object.entries(PLUGINS)) boots.get(name)?.push(await play<Boot>('boot.js', ...args))
}
printTable('Booting an application', [...boots].map(([name, all]) => {
  const of = (figure: keyof Boot) => medianInterval(all.map(boot => [boot[figure]]))
  return {
    '': name,
    'load ms': of('load').value.toFixed(1),
    'load, 95 %': formatInterval(of('load'), 1),
    'ready ms': of('ready').value.toFixed(1),
    'ready, 95 %': formatInterval(of('ready'), 1),
    'heap MB': of('heap').value.toFixed(2)
  }
}))

const SUBJECTS: Record<string, object> = {
  'no switches (baseline)': { idle: true },
  'one site': {},
  '1,000 sites, one of them switched': { sites: 1000 },
  '10,000 patterns': { patterns: 10_000 }
}

const delays: [string, number[]][] = []
for (const [name, subject] of Object.entries(SUBJECTS)) {
  delays.push([name, await play<number[]>('switching.js', JSON.stringify({ ...subject, switches: SWITCHES }))])
}
printTable(
  'The longest delay of the event loop during each change, with a message in ten languages',
  delays.map(([name, all]) => ({
    '': name,
    changes: String(all.length),
    'p50 ms': percentile(all, 0.5).toFixed(2),
    'p99 ms': percentile(all, 0.99).toFixed(2),
    'max ms': Math.max(...all).toFixed(2)
  }))
)
