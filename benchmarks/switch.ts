/**
 * How long after `set` on one server do the others block requests, and does a request get the wrong response meanwhile?
 * Run with `npm run build && npx tsx benchmarks/switch.ts`. Uses real processes, a real file, Redis and PostgreSQL, and
 * sends requests to all servers all the time. (fleet.ts measures hundreds of servers, and a restart of Redis.)
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../test/fixtures/app.ts'
import { noPostgres, startPostgres } from '../test/fixtures/postgres.ts'
import { startRedis } from '../test/fixtures/redis.ts'
import { percentile, printTable, type Row } from './lib/table.ts'

const SIZES = [1, 2, 5, 20]
const SWITCHES = Number(process.env.SWITCHES ?? 20)
/** Time between two requests to the fleet (ms): with more requests, this would measure the client. */
const PACE = 0.25

/** A response, with the times of its request and arrival. */
interface Answer { readonly sent: number, readonly received: number, readonly statusCode: number }
interface Server { readonly child: ChildProcess, readonly answers: Answer[] }
interface Phase { readonly isClosed: boolean, readonly begin: number, settled: number, end: number }

const rows: Row[] = []
const endings: (() => unknown)[] = []
const folder = mkdtempSync(join(tmpdir(), 'bench-switch-'))
endings.push(() => rmSync(folder, { recursive: true }))
const redis = await startRedis({ teardown: work => { endings.push(work) } })

await measureStore('memory', 'memory', [1])
await measureStore('file', { file: join(folder, 'state.json') }, SIZES)
await measureStore('Redis', { redis: redis.url }, SIZES)
if (noPostgres !== false) console.log(`${noPostgres}: skipped\n`)
else {
  const { url } = await startPostgres({ teardown: work => { endings.push(work) } })
  await measureStore('PostgreSQL', url, SIZES.slice(0, 3))
}
printTable(`Time from set() until the first blocked request, ${SWITCHES} times closed and reopened`, rows)
for (const end of endings.reverse()) await end()
if (rows.some(row => row['wrong responses'] !== '0')) process.exitCode = 1

async function measureStore (name: string, store: unknown, sizes: readonly number[]): Promise<void> {
  const agent = new Agent({ keepAlive: true })
  const servers: Server[] = []
  const asking = { over: false, paces: 0 }
  const loops: Promise<void>[] = []
  for (const size of sizes) {
    while (servers.length < size) {
      const child = fork(new URL('lib/site.js', import.meta.url), [JSON.stringify({ store })])
      const [url] = await once(child, 'message') as [string]
      const server = { child, answers: [] }
      servers.push(server)
      loops.push(keepAsking(url, server.answers, agent, asking))
    }
    asking.paces = PACE * size
    rows.push(await measureSize(name, servers))
    process.stderr.write('.')
  }
  process.stderr.write('\n')
  asking.over = true
  await Promise.all(loops)
  agent.destroy()
  for (const { child } of servers) child.kill('SIGKILL')
}

async function measureSize (store: string, servers: readonly Server[]): Promise<Row> {
  for (const { answers } of servers) answers.length = 0
  const phases: Phase[] = [{ isClosed: false, begin: 0, settled: 0, end: Infinity }]
  await until('all servers respond', () => servers.every(({ answers }) => answers.length > 0))
  for (let i = 0; i < 2 * SWITCHES; i++) phases.push(await change(servers, i % 2 === 0, phases.at(-1) as Phase))
  ;(phases.at(-1) as Phase).end = performance.now()
  // a single server is measured itself
  const others = servers.length === 1 ? servers : servers.slice(1)
  const times = phases
    .filter(({ isClosed }) => isClosed)
    .flatMap(({ begin, end }) => others.map(({ answers }) => firstOf(answers, 503, begin, end).received - begin))
  return {
    store,
    servers: String(servers.length),
    'p50 ms': percentile(times, 0.5).toFixed(1),
    'p99 ms': percentile(times, 0.99).toFixed(1),
    'max ms': Math.max(...times).toFixed(1),
    requests: servers.reduce((sum, { answers }) => sum + answers.length, 0).toLocaleString('en'),
    'wrong responses': String(wrong(servers, phases))
  }
}

/** One server makes the change. Waits until all of them follow, and a little longer. */
async function change (servers: readonly Server[], isClosed: boolean, before: Phase): Promise<Phase> {
  const [writer] = servers as [Server]
  const phase = { isClosed, begin: performance.now(), settled: 0, end: Infinity }
  before.end = phase.begin
  writer.child.send(isClosed)
  await once(writer.child, 'message')
  phase.settled = performance.now()
  const wanted = isClosed ? 503 : 200
  const follows = (last: Answer | undefined): boolean =>
    last !== undefined && last.sent > phase.begin && last.statusCode === wanted
  await until('all follow', () => servers.every(({ answers }) => follows(answers.at(-1))), 30_000)
  await sleep(5 + 10 * Math.random())
  return phase
}

/**
 * Counts wrong responses: the old one to a request sent after the server's first new one (or, on the server that made
 * the change, after `set` resolved), the new one before `set` was called, and any status but 200 and 503.
 */
function wrong (servers: readonly Server[], phases: readonly Phase[]): number {
  let count = 0
  for (const [i, { answers }] of servers.entries()) {
    count += answers.filter(({ statusCode }) => statusCode !== 200 && statusCode !== 503).length
    for (const { isClosed, begin, settled, end } of phases) {
      const wanted = isClosed ? 503 : 200
      const first = firstOf(answers, wanted, begin, end).received
      const from = i === 0 ? Math.min(first, settled) : first
      count += answers.filter(
        ({ sent, received, statusCode }) => sent > from && received < end && statusCode !== wanted
      ).length
    }
  }
  return count
}

function firstOf (answers: readonly Answer[], statusCode: number, begin: number, end: number): Answer {
  const first = answers.find(answer => answer.sent > begin && answer.received < end && answer.statusCode === statusCode)
  if (first === undefined) throw new Error(`no ${statusCode} within ${(end - begin).toFixed(0)} ms`)
  return first
}

async function keepAsking (
  url: string,
  answers: Answer[],
  agent: Agent,
  asking: { over: boolean; paces: number }
): Promise<void> {
  while (!asking.over) {
    const sent = performance.now()
    const statusCode = await ask(url, agent)
    const received = performance.now()
    answers.push({ sent, received, statusCode })
    await sleep(Math.max(0, asking.paces - (received - sent)))
  }
}

/** @returns the status code, or 0 if there is no response */
function ask (url: string, agent: Agent): Promise<number> {
  return new Promise(resolve => {
    get(url, { agent }, response => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0))
    }).on('error', () => resolve(0))
  })
}
