/**
 * Did a request become dearer? Counts instructions with valgrind's callgrind: the same at any load, where times are
 * not.
 * `npm run bench:guard`              fails if a scenario costs more than 3 % above benchmarks/guard.json
 * `npm run bench:guard -- --update`  writes that file
 * `npm run bench:guard -- --self-test`  and shows that a deliberate slowdown is caught
 * What is compared is the ratio to an empty hook, counted in the same run: Node and Fastify may change, and both with
 * them. Without valgrind, ratios of CPU time stand in, with a bound above their noise.
 */
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { count, findValgrind, IN_PROCESS, PLUGIN } from './lib/count.ts'
import { median } from './lib/measure.ts'

/** What a request costs, by the name of the scenario; in `empty hook`'s instructions (or time). */
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
/** Guarded, in the order in which one application goes through them. */
const SCENARIOS = ['off', 'ignored route', 'ignored address', 'bypass cookie', 'refused JSON', 'refused HTML']
const EMPTY = 'empty hook'
const TOLERANCE = 0.03
const REPEATS = 2

/** Of CPU time: a single pair is off by up to a tenth, their median by a third of that. */
const TIMED = 200_000
const PAIRS = 20
const TIMED_TOLERANCE = 0.25

const { values: args } = parseArgs({
  options: { update: { type: 'boolean' }, 'self-test': { type: 'boolean' }, json: { type: 'boolean' } }
})
const run = promisify(execFile)
const valgrind = process.env.GUARD_WITHOUT_VALGRIND === undefined ? findValgrind() : null
const fastify = (createRequire(import.meta.url)('fastify/package.json') as { version: string }).version
const major = process.versions.node.split('.')[0] as string
const stored = JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, Stored>

/** What is stored are ratios of instructions: only that of an open site is about the same in time. */
const guarded = valgrind === null ? ['off'] : SCENARIOS

if (valgrind === null) {
  console.log(
    "bench:guard: valgrind cannot be had here, so instructions are not counted; the CPU time of 'off' is compared instead, and nothing else"
  )
}

async function guard (): Promise<void> {
  const [first, slow] = await Promise.all([
    measure(PLUGIN, guarded),
    args['self-test'] === true && valgrind !== null ? selfTest() : []
  ])
  const expected = stored[major] ?? Object.values(stored)[0]
  if (expected === undefined) throw new Error('benchmarks/guard.json is empty: npm run bench:guard -- --update')
  if (expected.node !== process.version || expected.fastify !== fastify) {
    console.log(
      `this is Node ${process.version} with Fastify ${fastify}, the figures are of ${expected.node} with ${expected.fastify}: ratios to the empty hook are compared all the same`
    )
  }
  const { emptyHook, ratios } = await repeat(first, expected.ratios)
  const tooDear = compare(ratios, expected.ratios)
  print(ratios, expected.ratios, emptyHook)
  if (tooDear.length > 0) {
    console.error(
      `bench:guard: ${tooDear.map(name => `'${name}' costs ${percent((ratios[name] as number) / (expected.ratios[name] as number))}`).join(', ')}; allowed: ${percent(1 + tolerance())}. Where that is meant: npm run bench:guard -- --update`
    )
    process.exitCode = 1
  }
  // compared with today's code, so that this holds whatever the file says
  for (const { name, off } of slow) {
    const caught = compare({ off }, ratios).length > 0
    console.log(
      `self-test: ${name} more in the hook, and 'off' costs ${percent(off / (ratios.off as number))}: ${caught ? 'caught' : 'NOT CAUGHT'}`
    )
    if (!caught) process.exitCode = 1
  }
}

/**
 * V8 now and then compiles the same code another way, which has been seen to cost 6 %: what is dear once and not again
 * is no slowdown, and a slowdown stays. So whatever is too dear is counted again, and the least counts.
 */
async function repeat (first: Measured, expected: Ratios): Promise<Measured> {
  let { ratios } = first
  for (let i = 0; i < REPEATS && compare(ratios, expected).length > 0; i++) {
    console.log(`too dear: ${compare(ratios, expected).join(', ')}; counted once more`)
    const again = await measure(PLUGIN, guarded)
    ratios = Object.fromEntries(
      guarded.map(name => [name, Math.min(ratios[name] as number, again.ratios[name] as number)])
    )
  }
  return { ...first, ratios }
}

async function update (): Promise<void> {
  if (valgrind === null) throw new Error('figures are counted, not timed: this needs valgrind')
  const { emptyHook, ratios } = await measure(PLUGIN, SCENARIOS)
  const rounded = Object.fromEntries(Object.entries(ratios).map(([name, ratio]) => [name, Number(ratio.toFixed(4))]))
  writeFileSync(
    FILE,
    `${JSON.stringify({ ...stored, [major]: { node: process.version, fastify, emptyHook: Math.round(emptyHook), ratios: rounded } }, null, 2)}\n`
  )
  print(ratios, stored[major]?.ratios ?? {}, emptyHook)
}

/** Each slowdown is one that slips into a hook easily. */
const SLOWDOWNS = {
  'one read of routeOptions': 'if (request.routeOptions === undefined) return;',
  'one RegExp': 'if (/^\\/never-asked/.test(request.url)) return;'
}

async function selfTest (): Promise<{ name: string, off: number }[]> {
  const folder = mkdtempSync(join(tmpdir(), 'guard-'))
  try {
    return await Promise.all(Object.entries(SLOWDOWNS).map(async ([name, code], i) => {
      const { ratios } = await measure(await buildSlowed(join(folder, String(i)), code), ['off'])
      return { name, off: ratios.off as number }
    }))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** What the build needs. */
const SOURCES = ['index.ts', 'lib', 'types', '.ci', 'package.json', 'tsconfig.json', 'tsconfig.build.json']
const HOOK = /^ *function onRequest \(request: FastifyRequest, .*\{$/m

/** A copy of the sources with so much more to do for each request, built like the package. */
async function buildSlowed (folder: string, code: string): Promise<string> {
  for (const source of SOURCES) cpSync(join(ROOT, source), join(folder, source), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const file = join(folder, 'lib/hook.ts')
  const source = readFileSync(file, 'utf8')
  if (!HOOK.test(source)) { throw new Error(`the hook is not where the self-test looks for it: lib/hook.ts has no line like ${HOOK}`) }
  writeFileSync(file, source.replace(HOOK, line => `${line}\n${code}`))
  await run(process.execPath, ['.ci/build.js'], { cwd: folder })
  return join(folder, 'dist/lib/entry.cjs')
}

/** In two processes at once: counting takes a core. */
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
  if (args.json === true) return console.log(JSON.stringify({ emptyHook, ratios }))
  const unit = valgrind === null ? 'ns' : 'instructions'
  console.log(`${unit} for a request; an empty hook: ${emptyHook.toFixed(0)}`)
  for (const [name, ratio] of Object.entries(ratios)) {
    const before = expected[name]
    console.log(
      `  ${name.padEnd(16)} ${(ratio * emptyHook).toFixed(0).padStart(6)}  ${ratio.toFixed(4)} of the empty hook${before === undefined ? '' : `, stored ${before.toFixed(4)}: ${percent(ratio / before)}`}`
    )
  }
}

function percent (ratio: number): string {
  return `${ratio < 1 ? '-' : '+'}${(Math.abs(ratio - 1) * 100).toFixed(2)} %`
}

if (args.update === true) await update()
else await guard()
