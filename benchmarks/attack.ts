/**
 * What does a request cost while a closed site is under attack, and does a health check still get its response? 1,000
 * connections send one request after another, some with headers as long as Node accepts. Compared with an nginx that
 * returns 503. Run with `npm run build && npx tsx benchmarks/attack.ts`. ATTACK sets how long an attack lasts (s).
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { startProcess, startServer, type Running } from './lib/http.ts'
import { findNginx, startNginx } from './lib/nginx.ts'
import { percentile, printTable, type Row } from './lib/table.ts'

const SECONDS = Number(process.env.ATTACK ?? 60)
const CONNECTIONS = 1000
/** Pause between two health checks (ms). */
const PACE = 20

const rows = [await attack('closed site, ignored health check', await startServer('attacked'), '/health')]
if (findNginx() !== null) rows.push(await attack('nginx, `return 503` for every request', await startNginx(), '/'))
printTable(`${CONNECTIONS} connections for ${SECONDS} s`, rows)

async function attack (label: string, server: Running, path: string): Promise<Row> {
  const attackers = startProcess('attackers.ts', '1', [server.url, String(CONNECTIONS), String(SECONDS)])
  const over = once(attackers, 'message')
  const checking = { over: false }
  const checks = checkHealth(`${server.url}${path}`, checking)
  // the first fifth is the warm-up
  await sleep(SECONDS * 200)
  const memory = residentOf(server)
  await server.cpu()
  const [answered] = await over as [number]
  const cpu = await server.cpu()
  checking.over = true
  const times = await checks
  const after = residentOf(server)
  server.stop()
  return {
    '': label,
    'requests/s': Math.round(answered / SECONDS).toLocaleString('en'),
    'CPU µs/request': (cpu / (answered * 0.8)).toFixed(1),
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

/** @returns how long each health check took (ms) */
async function checkHealth (url: string, checking: { over: boolean }): Promise<number[]> {
  const agent = new Agent({ keepAlive: true })
  const times: number[] = []
  while (!checking.over) {
    const begin = performance.now()
    const [response] = await once(get(url, { agent }), 'response')
    await once(response.resume(), 'end')
    times.push(performance.now() - begin)
    await sleep(PACE)
  }
  agent.destroy()
  return times
}
