/**
 * Did a change make requests slower? Counts instructions with valgrind's callgrind, because unlike times, they don't
 * depend on the machine's load.
 * `npm run bench:guard`                 fails if a scenario costs over 3 % more than in benchmarks/guard.json
 * `npm run bench:guard -- --update`     writes that file
 * `npm run bench:guard -- --self-test`  also checks that deliberate slowdowns are caught
 * It compares the ratio to an empty hook counted in the same run, so that versions of Node and Fastify matter little.
 * Without valgrind, it compares the CPU time of an open site, with a higher tolerance.
 */
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { count, findValgrind, IN_PROCESS, PLUGIN } from './lib/count.ts'
import { median } from './lib/measure.ts'

/** The cost of a request in each scenario, relative to `empty hook`. */
type Ratios = Record<string, number>
interface Measured { readonly emptyHook: number, readonly ratios: Ratios }
interface Stored {
  readonly node: string
  readonly fastify: string
  readonly emptyHook: number
  readonly ratios: Ratios
}

const ROOT = new URL('..', import.meta.url).pathname
const FILE = new URL('guard.json', import.meta.url)
/** One application runs them in this order. */
const SCENARIOS = [
  'open',
  'open, 100 in flight',
  'ignored route',
  'ignored address',
  'bypass cookie',
  'blocked JSON',
  'blocked HTML'
]
const EMPTY = 'empty hook'
const TOLERANCE = 0.03
const REPEATS = 2

/** For CPU time: a single pair is off by up to 10 %, their median by a third of that. */
const TIMED = 200_000
const PAIRS = 20
const TIMED_TOLERANCE = 0.25

const { values: args } = parseArgs({ options: { update: { type: 'boolean' }, 'self-test': { type: 'boolean' } } })
const run = promisify(execFile)
const valgrind = findValgrind()
const fastify = (createRequire(import.meta.url)('fastify/package.json') as { version: string }).version
const major = process.versions.node.split('.')[0] as string
const stored = JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, Stored>

/** guard.json has ratios of instructions. Only that of an open site is about the same in time. */
const guarded = valgrind === null ? ['open'] : SCENARIOS

if (valgrind === null) {
  console.log("bench:guard: valgrind is not available, so this compares only the CPU time of 'open'")
}

async function guard (): Promise<void> {
  const [first, slowed] = await Promise.all([
    measure(PLUGIN, guarded),
    args['self-test'] === true && valgrind !== null ? selfTest() : []
  ])
  const expected = stored[major] ?? Object.values(stored)[0]
  if (expected === undefined) throw new Error('benchmarks/guard.json is empty; run npm run bench:guard -- --update')
  if (expected.node !== process.version || expected.fastify !== fastify) {
    console.log(`this is Node ${process.version} with Fastify ${fastify}, and guard.json was written by \
${expected.node} with ${expected.fastify}; comparing ratios to the empty hook`)
  }
  const { emptyHook, ratios } = await repeat(first, expected.ratios)
  const slower = compare(ratios, expected.ratios)
  print(ratios, expected.ratios, emptyHook)
  if (slower.length > 0) fail(slower, ratios, expected.ratios)
  // compared with this run, so that the result doesn't depend on guard.json
  for (const { name, open } of slowed) {
    const caught = compare({ open }, ratios).length > 0
    const cost = percent(open / (ratios.open as number))
    console.log(`self-test: with ${name} in the hook, 'open' costs ${cost}: ${caught ? 'caught' : 'NOT CAUGHT'}`)
    if (!caught) process.exitCode = 1
  }
}

function fail (slower: string[], ratios: Ratios, expected: Ratios): void {
  const costs = slower.map(
    name => `'${name}' costs ${percent((ratios[name] as number) / (expected[name] as number))}`
  )
  console.error(`bench:guard: ${costs.join(', ')}; allowed: ${percent(1 + tolerance())}. \
If you intend this, run npm run bench:guard -- --update`)
  process.exitCode = 1
}

/**
 * Measures again if a scenario looks too slow, and keeps the lowest count: V8 sometimes compiles the same code in
 * another way, which cost up to 6 %. A real slowdown shows every time.
 */
async function repeat (first: Measured, expected: Ratios): Promise<Measured> {
  let { ratios } = first
  for (let i = 0; i < REPEATS && compare(ratios, expected).length > 0; i++) {
    console.log(`slower: ${compare(ratios, expected).join(', ')}; measuring again`)
    const again = await measure(PLUGIN, guarded)
    ratios = Object.fromEntries(
      guarded.map(name => [name, Math.min(ratios[name] as number, again.ratios[name] as number)])
    )
  }
  return { ...first, ratios }
}

async function update (): Promise<void> {
  if (valgrind === null) throw new Error('--update needs valgrind')
  const { emptyHook, ratios } = await measure(PLUGIN, SCENARIOS)
  const rounded = Object.fromEntries(Object.entries(ratios).map(([name, ratio]) => [name, Number(ratio.toFixed(4))]))
  const entry = { node: process.version, fastify, emptyHook: Math.round(emptyHook), ratios: rounded }
  writeFileSync(FILE, `${JSON.stringify({ ...stored, [major]: entry }, null, 2)}\n`)
  print(ratios, stored[major]?.ratios ?? {}, emptyHook)
}

/** Mistakes that are easily made in a hook. */
const SLOWDOWNS = {
  'one read of routeOptions': 'if (request.routeOptions === undefined) return;',
  'one RegExp': 'if (/^\\/never-asked/.test(request.url)) return;'
}

async function selfTest (): Promise<{ name: string, open: number }[]> {
  const folder = mkdtempSync(join(tmpdir(), 'guard-'))
  try {
    return await Promise.all(Object.entries(SLOWDOWNS).map(async ([name, code], i) => {
      const { ratios } = await measure(await buildSlowed(join(folder, String(i)), code), ['open'])
      return { name, open: ratios.open as number }
    }))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Files that the build needs. */
const SOURCES = ['index.ts', 'lib', 'types', '.ci', 'package.json', 'tsconfig.json', 'tsconfig.build.json']
const HOOK = /^ *function onRequest \(request: FastifyRequest, .*\{$/m

/** Builds a copy of the package with additional code in the hook. */
async function buildSlowed (folder: string, code: string): Promise<string> {
  for (const source of SOURCES) cpSync(join(ROOT, source), join(folder, source), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const file = join(folder, 'lib/hook.ts')
  const source = readFileSync(file, 'utf8')
  if (!HOOK.test(source)) throw new Error(`the self-test can't find the hook: no line of lib/hook.ts matches ${HOOK}`)
  writeFileSync(file, source.replace(HOOK, line => `${line}\n${code}`))
  await run(process.execPath, ['.ci/build.js'], { cwd: folder })
  return join(folder, 'dist/lib/entry.cjs')
}

/** Counts in two processes at once, because callgrind uses one core. */
async function measure (plugin: string, names: string[]): Promise<Measured> {
  if (valgrind === null) return measureTimes(plugin, names)
  const [empty, counts] = await Promise.all([emptyCounts(), count(IN_PROCESS, plugin, names)])
  const emptyHook = empty[EMPTY] as number
  return { emptyHook, ratios: Object.fromEntries(names.map(name => [name, (counts[name] as number) / emptyHook])) }
}

let counted: Promise<Record<string, number>> | undefined
function emptyCounts (): Promise<Record<string, number>> {
  counted ??= count(IN_PROCESS, PLUGIN, [EMPTY])
  return counted
}

async function measureTimes (plugin: string, names: string[]): Promise<Measured> {
  const empty: number[] = []
  const ratios = names.map(() => [] as number[])
  for (let i = 0; i < PAIRS; i++) {
    const base = await time(plugin, [EMPTY])
    const times = await time(plugin, names)
    empty.push(base[EMPTY] as number)
    names.forEach((name, j) => ratios[j]?.push((times[name] as number) / (base[EMPTY] as number)))
  }
  return {
    emptyHook: median(empty),
    ratios: Object.fromEntries(names.map((name, j) => [name, median(ratios[j] ?? [])]))
  }
}

async function time (plugin: string, names: string[]): Promise<Record<string, number>> {
  const { stdout } = await run(process.execPath, [IN_PROCESS, plugin, String(TIMED), ...names], {
    env: { PATH: process.env.PATH, WARM_UP: String(TIMED) }
  })
  const samples = JSON.parse(stdout) as Record<string, { ns: number }[]>
  return Object.fromEntries(
    Object.entries(samples).map(([name, figures]) => [name, Math.min(...figures.map(({ ns }) => ns))])
  )
}

function compare (ratios: Ratios, expected: Ratios): string[] {
  return Object.keys(ratios).filter(name => (ratios[name] as number) > (expected[name] ?? 0) * (1 + tolerance()))
}

function tolerance (): number {
  return valgrind === null ? TIMED_TOLERANCE : TOLERANCE
}

function print (ratios: Ratios, expected: Ratios, emptyHook: number): void {
  const unit = valgrind === null ? 'ns' : 'instructions'
  console.log(`${unit} per request; an empty hook: ${emptyHook.toFixed(0)}`)
  for (const [name, ratio] of Object.entries(ratios)) {
    const before = expected[name]
    const change = before === undefined ? '' : `, stored ${before.toFixed(4)}: ${percent(ratio / before)}`
    const cost = (ratio * emptyHook).toFixed(0).padStart(6)
    console.log(`  ${name.padEnd(16)} ${cost}  ${ratio.toFixed(4)} × the empty hook${change}`)
  }
}

function percent (ratio: number): string {
  return `${ratio < 1 ? '-' : '+'}${(Math.abs(ratio - 1) * 100).toFixed(2)} %`
}

if (args.update === true) await update()
else await guard()
