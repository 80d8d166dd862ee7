/**
 * What does the plugin add to a request that it lets through? Compared with an empty hook and with no hook, in the same
 * run. Run with `npm run build && npx tsx benchmarks/hook.ts`. ROUNDS makes it run longer.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { countAlone, findValgrind, IN_PROCESS, PLUGIN } from './lib/count.ts'
import { compareOverSockets } from './lib/http.ts'
import { formatInterval, medianInterval } from './lib/interval.ts'
import { median } from './lib/measure.ts'
import { printTable } from './lib/table.ts'

const run = promisify(execFile)
const ROUNDS = Number(process.env.ROUNDS ?? 4)
/** Under valgrind, they take long to start. */
const NOT_COUNTED = /many rules|several sites|three windows/
const valgrind = findValgrind() !== null
if (!valgrind) console.log('valgrind is not available: instructions are not counted\n')

await throughTheRouter()
await theHookAlone()
await memory()
await compareOverSockets([{
  title: 'An open site, over sockets',
  candidates: [
    { server: 'bare', label: 'no plugin' },
    { server: 'bare', label: 'no plugin again (A/A)' },
    { server: 'empty hook', label: 'empty hook' },
    { server: 'open', label: 'open' }
  ]
}])

function difference (count = NaN, base = NaN): string {
  return Number.isNaN(count - base) ? '' : (count - base).toFixed(0)
}

/** Each scenario runs in its own processes, so that V8's type feedback from one doesn't affect the next. */
async function throughTheRouter (): Promise<void> {
  const candidates: [name: string, base: string][] = [
    ['bare', 'empty hook'],
    ['empty hook', 'empty hook'],
    ['empty hook', 'empty hook'],
    ['open', 'empty hook'],
    ['open, many rules', 'open'],
    ['open, several sites', 'open'],
    ['empty hook, /ignored', 'empty hook'],
    ['open, /ignored', 'empty hook, /ignored'],
    ['open, /off', 'open'],
    ["'off' route, closed", 'open, /off'],
    ['ignored route', 'open, /ignored'],
    ['ignored route, many rules', 'ignored route'],
    ['ignored route, three windows', 'ignored route'],
    ['ignored address', 'open'],
    ['ignored address, many rules', 'ignored address'],
    ['empty hook, with a cookie', 'empty hook'],
    ['open, with a cookie', 'empty hook, with a cookie'],
    ['bypass cookie', 'open, with a cookie'],
    ['blocked JSON', 'bare'],
    ['blocked JSON, many rules', 'blocked JSON'],
    ['blocked JSON, three windows', 'blocked JSON'],
    ['blocked JSON, several sites', 'blocked JSON'],
    ['blocked HTML', 'bare']
  ]
  const times = candidates.map(() => [] as number[])
  for (let round = 0; round < ROUNDS; round++) {
    const order = candidates.map((_candidate, i) => i)
    for (const i of round % 2 === 0 ? order : order.toReversed()) {
      times[i]?.push(await timeOf(candidates[i]?.[0] as string))
    }
    process.stderr.write('.')
  }
  process.stderr.write('\n')
  const names = [...new Set(candidates.map(([name]) => name))].filter(name => !NOT_COUNTED.test(name))
  const samples = valgrind ? await countAlone(IN_PROCESS, PLUGIN, names, 1) : []
  const counts = Object.fromEntries(names.map((name, i) => [name, Math.min(...samples[i]?.flat() ?? [])]))
  const indexOf = (name: string): number => candidates.findIndex(candidate => candidate[0] === name)
  printTable(
    'Through the router and the hooks, in process',
    candidates.map(([name, base], i) => {
      const ofBase = times[indexOf(base)] ?? []
      const added = medianInterval((times[i] ?? []).map((time, round) => [time - (ofBase[round] ?? NaN)]))
      return {
        '': indexOf(name) < i ? `${name} again (A/A)` : name,
        ns: median(times[i] ?? []).toFixed(0),
        'compared with': base,
        'added ns': added.value.toFixed(0),
        '95 %': formatInterval(added, 0),
        ...(valgrind && {
          instructions: indexOf(name) < i ? '' : counts[name]?.toFixed(0) ?? '',
          'added instructions': indexOf(name) < i ? '' : difference(counts[name], counts[base])
        })
      }
    })
  )
}

async function timeOf (name: string): Promise<number> {
  const { stdout } = await run(
    process.execPath,
    ['--min-semi-space-size=64', '--max-semi-space-size=64', IN_PROCESS, PLUGIN, '100000', name],
    { env: { ...process.env, WARM_UP: '200000' } }
  )
  return median((JSON.parse(stdout) as Record<string, { ns: number }[]>)[name]?.map(({ ns }) => ns) ?? [])
}

/** Each in its own processes: depending on what V8 makes of it, the hook takes 6 to 12 ns. */
async function theHookAlone (): Promise<void> {
  const candidates: [name: string, args: string[]][] = [
    ['empty hook', []],
    ['empty hook again (A/A)', []],
    ['open', [PLUGIN]]
  ]
  const rounds: Alone[][] = []
  for (let round = 0; round < 2 * ROUNDS; round++) {
    const figures: Alone[] = []
    for (const [, args] of candidates) figures.push(await callAlone(args))
    rounds.push(figures)
    process.stderr.write('.')
  }
  process.stderr.write('\n')
  printTable('The hook alone', candidates.map(([name], i) => {
    const added = medianInterval(rounds.map(figures =>
      (figures[i]?.times ?? []).map((time, sample) => time - (figures[0]?.times[sample] ?? NaN))))
    return {
      '': name,
      'ns/call': median(rounds.flatMap(figures => figures[i]?.times ?? [])).toFixed(2),
      'over the empty hook': added.value.toFixed(2),
      '95 %': formatInterval(added, 2),
      'heap bytes/call': median(rounds.map(figures => figures[i]?.bytes ?? NaN)).toFixed(2)
    }
  }))
}

interface Alone { readonly times: readonly number[], readonly bytes: number }

async function callAlone (args: readonly string[]): Promise<Alone> {
  const { stdout } = await run(process.execPath, [new URL('lib/hook-alone.js', import.meta.url).pathname, ...args])
  return JSON.parse(stdout) as Alone
}

async function memory (): Promise<void> {
  const { stdout } = await run(process.execPath, [
    '--expose-gc',
    new URL('lib/memory.js', import.meta.url).pathname,
    PLUGIN
  ])
  const { bytes } = JSON.parse(stdout) as { bytes: number }
  printTable('Memory', [{ '': '10,000 patterns and 100,000 addresses', MB: (bytes / 1e6).toFixed(1) }])
}
