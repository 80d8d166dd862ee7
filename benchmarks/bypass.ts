/**
 * What does a bypass add to a refused request that has no cookie for it? Run with `npm run build` and then
 * `npx tsx benchmarks/bypass.ts`: instructions in process (needs valgrind), and CPU time over sockets.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { measure, median, type Candidate } from './lib/http.ts'

const REQUESTS = 10_000
const FOREIGN = 'session=0123456789abcdef0123456789abcdef; theme=dark; consent=all'

await inProcess()
await overSockets()

/** The same requests each time: the counts repeat to a few in a thousand, whatever else the machine does. */
async function inProcess (): Promise<void> {
  const rows: [label: string, variant: string, cookie?: string][] = [
    ['no bypass', 'none'],
    ['the same again (A/A)', 'none'],
    ['bypass, no secret in this window', 'bypass'],
    ['bypass, a secret, no cookie', 'secret'],
    ['no bypass, cookies of others', 'none', FOREIGN],
    ['bypass, a secret, cookies of others', 'secret', FOREIGN]
  ]
  const figures: { label: string, cookie: string | undefined, count: number }[] = []
  for (const [label, variant, cookie] of rows) figures.push({ label, cookie, count: await instructions(variant, cookie) })
  console.table(figures.map(({ label, cookie, count }) => {
    const base = figures.find(figure => figure.cookie === cookie)
    return { 'refused, in process': label, 'instructions/request': Math.round(count), ratio: (count / (base?.count ?? NaN)).toFixed(4) }
  }))
}

/** What a request costs once all is warm. */
async function instructions (variant: string, cookie: string | undefined): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'maintenance-bypass-'))
  const file = join(directory, 'callgrind.out')
  const steady = ['--single-threaded', '--predictable', '--predictable-gc-schedule', '--hash-seed=1', '--random-seed=1']
  const program = [fileURLToPath(new URL('lib/refused.js', import.meta.url)), variant, String(REQUESTS), ...(cookie === undefined ? [] : [cookie])]
  try {
    await promisify(execFile)('valgrind', ['--tool=callgrind', '--smc-check=all-non-file', '--dump-before=uv_loadavg', `--callgrind-out-file=${file}`, process.execPath, ...steady, ...program])
    process.stderr.write('.')
    // the first is what went before, the second what lies between the marks
    return Number(/^(?:summary|totals): (\d+)/m.exec(readFileSync(`${file}.2`, 'utf8'))?.[1]) / REQUESTS
  } finally {
    rmSync(directory, { recursive: true })
  }
}

async function overSockets (): Promise<void> {
  const candidates: Candidate[] = [
    { server: 'closed', label: 'no bypass' },
    { server: 'closed', label: 'the same again (A/A)' },
    { server: 'bypass', label: 'bypass, a secret, no cookie' },
    { server: 'closed', label: 'no bypass, cookies of others', headers: { cookie: FOREIGN } },
    { server: 'bypass', label: 'bypass, a secret, cookies of others', headers: { cookie: FOREIGN } }
  ]
  const figures = await measure(candidates, { rounds: Number(process.env.ROUNDS ?? 7), requests: Number(process.env.REQUESTS ?? 40_000) })
  console.table(figures.map(({ label, cpu }, i) => {
    const base = figures[i < 3 ? 0 : 3]
    return { 'refused, over sockets': label, 'CPU µs/request': median(cpu).toFixed(2), ratio: (median(cpu) / median(base?.cpu ?? [])).toFixed(3) }
  }))
}
