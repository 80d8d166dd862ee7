/**
 * What does a request cost while a closed site is under attack, and does a health check still get its response? 1,000
 * connections send one request after another, some with headers as long as Node accepts. Compared with an nginx that
 * returns 503. Run with `npm run build && npx tsx benchmarks/attack.ts`. ATTACK sets how long an attack lasts (s).
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { answer, ask, startProcess, startServer, type Running } from './lib/http.ts'
import { findNginx, startNginx } from './lib/nginx.ts'
import { percentile, printTable, type Row } from './lib/table.ts'

const SECONDS = Number(process.env.ATTACK ?? 60)
/** nginx changes little over time. */
const SECONDS_NGINX = Math.min(SECONDS, 15)
const CONNECTIONS = 1000
/** Pause between two health checks (ms). */
const PACE = 20

const rows = [await attack('closed site, ignored health check', await startServer('attacked'), '/health', SECONDS)]
if (findNginx() !== null) {
  rows.push(await attack('nginx, `return 503` for every request', await startNginx(), '/', SECONDS_NGINX))
}
printTable(`${CONNECTIONS} connections send as many requests as one core can answer`, rows)

async function attack (label: string, server: Running, path: string, seconds: number): Promise<Row> {
  const attackers = startProcess('attackers.ts', '1', [server.url, String(CONNECTIONS)])
  const checking = { over: false }
  const times: number[] = []
  try {
    const checks = checkHealth(`${server.url}${path}`, times, checking)
    await answer(attackers)
    // the first fifth is the warm-up
    await sleep(seconds * 200)
    const memory = residentOf(server)
    times.length = 0
    const before = await ask(attackers, 'count') as number
    const begin = performance.now()
    await server.cpu()
    await sleep(seconds * 800)
    const cpu = await server.cpu()
    const answered = await ask(attackers, 'count') as number - before
    const passed = performance.now() - begin
    checking.over = true
    await checks
    return describe(label, { seconds, passed, cpu, answered, times, memory, after: residentOf(server) })
  } finally {
    checking.over = true
    attackers.kill()
    server.stop()
  }
}

interface Figures {
  readonly seconds: number
  /** From one count to the other (ms). */
  readonly passed: number
  readonly cpu: number
  readonly answered: number
  readonly times: readonly number[]
  readonly memory: number
  readonly after: number
}

function describe (label: string, { seconds, passed, cpu, answered, times, memory, after }: Figures): Row {
  return {
    '': label,
    seconds: String(seconds),
    'requests/s': Math.round(answered / passed * 1000).toLocaleString('en'),
    'CPU µs/request': (cpu / answered).toFixed(1),
    'health check p50 ms': percentile(times, 0.5).toFixed(1),
    'p99 ms': percentile(times, 0.99).toFixed(1),
    'MB after 20 %': memory.toFixed(0),
    'MB at the end': after.toFixed(0)
  }
}

/** Resident memory (MB). */
function residentOf ({ pid }: Running): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

/** Adds to `times` how long each health check took (ms). */
async function checkHealth (url: string, times: number[], checking: { over: boolean }): Promise<void> {
  const agent = new Agent({ keepAlive: true })
  while (!checking.over) {
    const begin = performance.now()
    const [response] = await once(get(url, { agent }), 'response')
    await once(response.resume(), 'end')
    times.push(performance.now() - begin)
    await sleep(PACE)
  }
  agent.destroy()
}
