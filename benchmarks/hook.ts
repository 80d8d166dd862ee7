/**
 * What does the plugin add to a request that it lets through? Compared with an empty hook and with no hook, in the same
 * run. Run with `npm run build && npx tsx benchmarks/hook.ts`. ROUNDS makes it run longer.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { getHeapStatistics } from 'node:v8'
import Fastify, { type FastifyReply, type FastifyRequest, type HookHandlerDoneFunction } from 'fastify'
import maintenance from 'fastify-maintenance'
import { count, findValgrind, IN_PROCESS, PLUGIN } from './lib/count.ts'
import { compareOverSockets } from './lib/http.ts'
import { formatInterval, medianInterval } from './lib/interval.ts'
import { median } from './lib/measure.ts'
import { printTable } from './lib/table.ts'

type Hook = (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => void

const run = promisify(execFile)
const ROUNDS = Number(process.env.ROUNDS ?? 5)
const valgrind = findValgrind() !== null
let passed: number | undefined
if (!valgrind) console.log('valgrind is not available: instructions are not counted\n')

/** Each group runs in one process, as in guard.ts: an application that is open first, and then closed. */
const COUNTED = [
  ['bare'], ['empty hook'],
  ['open', 'ignored route', 'ignored address', 'blocked JSON', 'blocked HTML'],
  ['open, many rules', 'ignored route, many rules', 'ignored address, many rules', 'blocked JSON, many rules'],
  ['open, with a cookie', 'bypass cookie']
]

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

/** Each scenario runs in its own processes, so that V8's type feedback from one doesn't affect the next. */
async function throughTheRouter (): Promise<void> {
  const candidates: [name: string, base: string][] = [
    ['bare', 'empty hook'],
    ['empty hook', 'empty hook'],
    ['empty hook', 'empty hook'],
    ['open', 'empty hook'],
    ['open, many rules', 'open'],
    ['open, pinned', 'open'],
    ['open, several sites', 'open'],
    ['ignored route', 'open'],
    ['ignored route, many rules', 'ignored route'],
    ['ignored address', 'open'],
    ['ignored address, many rules', 'ignored address'],
    ['open, with a cookie', 'open'],
    ['bypass cookie', 'open, with a cookie'],
    ['blocked JSON', 'bare'],
    ['blocked JSON, many rules', 'blocked JSON'],
    ['blocked JSON, pinned', 'blocked JSON'],
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
  const counts = Object.assign(
    {},
    ...(await Promise.all((valgrind ? COUNTED : []).map(names => count(IN_PROCESS, PLUGIN, names))))
  ) as Record<string, number>
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
          instructions: counts[name]?.toFixed(0) ?? '',
          'added instructions': difference(counts[name], counts[base])
        })
      }
    })
  )
}

function difference (count = NaN, base = NaN): string {
  return Number.isNaN(count - base) ? '' : (count - base).toFixed(0)
}

async function timeOf (name: string): Promise<number> {
  const { stdout } = await run(
    process.execPath,
    ['--min-semi-space-size=64', '--max-semi-space-size=64', IN_PROCESS, PLUGIN, '100000', name],
    { env: { ...process.env, WARM_UP: '200000' } }
  )
  return median((JSON.parse(stdout) as Record<string, { ns: number }[]>)[name]?.map(({ ns }) => ns) ?? [])
}

/** Calls nothing but the hook, with a stub request and reply. */
async function theHookAlone (): Promise<void> {
  const candidates: [string, Hook][] = [
    ['empty hook', empty],
    ['empty hook again (A/A)', emptyToo],
    ['open', await hookOf()]
  ]
  const loops = candidates.map(([name, hook]) => ({ name, run: loopFor(name, hook), figures: [] as number[] }))
  for (let round = 0; round < 4 * ROUNDS; round++) {
    for (const { run, figures } of round % 2 === 0 ? loops : loops.toReversed()) figures.push(run())
  }
  const bytes = candidates.map(([, hook]) => bytesPerCall(hook))
  printTable('The hook alone', loops.map(({ name, figures }, i) => {
    const added = medianInterval(figures.map((figure, round) => [figure - (loops[0]?.figures[round] ?? NaN)]))
    return {
      '': name,
      'ns/call': median(figures).toFixed(2),
      'over the empty hook': added.value.toFixed(2),
      '95 %': formatInterval(added, 2),
      'heap bytes/call': bytes[i]?.toFixed(2) ?? ''
    }
  }))
  if (passed === undefined) throw new Error('no hook called done()')
}

/** The hook as the plugin adds it. */
async function hookOf (): Promise<Hook> {
  const app = Fastify()
  let found: Hook | undefined
  const addHook = app.addHook.bind(app) as unknown as (name: string, hook: unknown) => typeof app
  app.addHook = ((name: string, hook: Hook) => {
    if (name === 'onRequest') found = hook
    return addHook(name, hook)
  }) as unknown as typeof app.addHook
  await app.register(maintenance)
  await app.ready()
  return found as Hook
}

function empty (_request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void {
  done()
}

function emptyToo (_request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void {
  done()
}

/** A separate loop for each hook, so that V8 optimises each as if it were the only one. */
function loopFor (name: string, hook: Hook): () => number {
  // the name makes the sources differ: V8 shares type feedback between functions of equal source
  // eslint-disable-next-line no-new-func
  const loop = new Function('hook', 'request', 'reply', 'done', 'calls', `
    // ${name}
    const begin = process.cpuUsage()
    for (let i = 0; i < calls; i++) hook(request, reply, done)
    const { user, system } = process.cpuUsage(begin)
    return (user + system) * 1000 / calls`)
  return () => loop(hook, {}, endedReply(), countPass, 5_000_000) as number
}

/** The plugin does not wait for this reply to finish. */
function endedReply (): FastifyReply {
  return { raw: { destroyed: true, headersSent: true, writableEnded: true } } as FastifyReply
}

/**
 * Heap that a call allocates, averaged over 1,000,000 calls. They run in batches, so that those with a garbage
 * collection can be left out. Another hundred batches before them let V8 compile this loop.
 */
function bytesPerCall (hook: Hook): number {
  const calls = 1000
  const request = {} as FastifyRequest
  const reply = endedReply()
  const batches = Array.from({ length: 1100 }, () => {
    const begin = getHeapStatistics().used_heap_size
    for (let i = 0; i < calls; i++) hook(request, reply, countPass)
    return getHeapStatistics().used_heap_size - begin
  })
  const whole = batches.slice(100).filter(bytes => bytes >= 0)
  return whole.reduce((sum, bytes) => sum + bytes, 0) / whole.length / calls
}

function countPass (): void {
  passed = (passed ?? 0) + 1
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
