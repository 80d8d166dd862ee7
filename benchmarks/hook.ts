// What does the hook cost while the site is open? Beside an empty hook, in one run, in turn.
import Fastify, { type FastifyReply, type FastifyRequest, type HookHandlerDoneFunction } from 'fastify'
import maintenance from 'fastify-maintenance'
import { median } from './lib/http.ts'

type Hook = (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => void

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

const CALLS = 5_000_000
const ROUNDS = 41

function empty (_request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void {
  done()
}

function emptyToo (_request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void {
  done()
}

let passed = 0
const done = () => { passed++ }

/** A loop of its own for each hook, so that each is as well optimised as if it were alone. */
function loopFor (name: string, hook: Hook): () => number {
  // the name makes the source another one: V8 shares what it learns of a function between equal sources
  // eslint-disable-next-line no-new-func
  const loop = new Function('hook', 'request', 'reply', 'done', 'calls', `
    // ${name}
    const begin = process.cpuUsage()
    for (let i = 0; i < calls; i++) hook(request, reply, done)
    const { user, system } = process.cpuUsage(begin)
    return (user + system) * 1000 / calls`)
  return () => loop(hook, {}, {}, done, CALLS) as number
}

const candidates: [string, Hook][] = [['empty hook', empty], ['empty hook (A/A)', emptyToo], ['the plugin, off', await hookOf()]]
const loops = candidates.map(([name, hook]) => ({ name, run: loopFor(name, hook), figures: [] as number[] }))
for (let round = 0; round < ROUNDS; round++) {
  for (const { run, figures } of round % 2 === 0 ? loops : loops.toReversed()) figures.push(run())
}
const bytes = candidates.map(([, hook]) => bytesPerCall(hook))

/** Heap that a call leaves behind; calls that leave nothing still show the counter's own few bytes over a million. */
function bytesPerCall (hook: Hook): number {
  const count = 1_000_000
  const begin = process.memoryUsage().heapUsed
  for (let i = 0; i < count; i++) hook({} as never, {} as never, done)
  return Math.max(0, process.memoryUsage().heapUsed - begin) / count
}

const base = median(loops[0]?.figures ?? [])
console.table(loops.map(({ name, figures }, i) => ({
  hook: name,
  'ns/call (median)': median(figures).toFixed(2),
  'over the empty hook': (median(figures) - base).toFixed(2),
  least: Math.min(...figures).toFixed(2),
  'heap bytes/call': bytes[i]?.toFixed(2)
})))
if (passed === 0) throw new Error('no hook let anything through')
