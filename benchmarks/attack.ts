/**
 * What does a closed site cost under attack, and does a health check still get its answer? 1,000 connections, each with
 * one request after the other, among them headers as long as Node takes them. Beside an nginx that only returns a 503.
 * Run with `npm run build && npx tsx benchmarks/attack.ts`. ATTACK: for how long, s.
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
/** Between two health checks, ms. */
const PACE = 20

const rows = [await attack('closed site, health check ignored', await startServer('attacked'), '/health')]
if (findNginx() !== null) rows.push(await attack('nginx, `return 503` for all', await startNginx(), '/'))
printTable(`${CONNECTIONS} connections for ${SECONDS} s`, rows)

async function attack (label: string, server: Running, path: string): Promise<Row> {
  const attackers = startProcess('attackers.ts', '1', [server.url, String(CONNECTIONS), String(SECONDS)])
  const over = once(attackers, 'message')
  const watching = { over: false }
  const checks = checkHealth(`${server.url}${path}`, watching)
  await sleep(SECONDS * 200)
  const memory = residentOf(server)
  await server.cpu()
  const [answered] = await over as [number]
  const cpu = await server.cpu()
  watching.over = true
  const times = await checks
  const after = residentOf(server)
  server.stop()
  return {
    '': label,
    'requests/s': Math.round(answered / SECONDS).toLocaleString('en'),
    'CPU µs/request': (cpu / (answered * 0.8)).toFixed(1),
    'health check p50 ms': percentile(times, 0.5).toFixed(1),
    'p99 ms': percentile(times, 0.99).toFixed(1),
    'MB after a fifth': memory.toFixed(0),
    'MB at the end': after.toFixed(0)
  }
}

/** Resident memory, MB. */
function residentOf ({ pid }: Running): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

/** @returns how long each took, ms */
async function checkHealth (url: string, watching: { over: boolean }): Promise<number[]> {
  const agent = new Agent({ keepAlive: true })
  const times: number[] = []
  while (!watching.over) {
    const begin = performance.now()
    const [response] = await once(get(url, { agent }), 'response')
    await once(response.resume(), 'end')
    times.push(performance.now() - begin)
    await sleep(PACE)
  }
  agent.destroy()
  return times
}
