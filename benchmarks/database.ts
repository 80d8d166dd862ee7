/**
 * How much load does an idle fleet put on the application's database? 100 servers of 100 sites each on a real
 * PostgreSQL: transactions per second, as counted by PostgreSQL, compared with one query per site. Run with
 * `npm run build && npx tsx benchmarks/database.ts`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import maintenance from 'fastify-maintenance'
import { Pool } from 'pg'
import { noPostgres, startPostgres } from '../test/fixtures/postgres.ts'
import { printTable } from './lib/table.ts'

const SERVERS = Number(process.env.SERVERS ?? 100)
const SITES = 100
const SECONDS = Number(process.env.SECONDS ?? 15)
/** The plugin's default (s). */
const POLL_INTERVAL = 5

if (noPostgres === false) await measure()
else console.log(`${noPostgres}: skipped\n`)

async function measure (): Promise<void> {
  const endings: (() => unknown)[] = []
  const { url } = await startPostgres({ teardown: work => { endings.push(work) } })
  const pool = new Pool({ connectionString: url, max: 1 })
  const sites = Array.from({ length: SITES }, (_, i) => `site-${i}`)
  const apps = Array.from({ length: SERVERS }, () => Fastify())
  // one after another: the first one creates the tables
  for (const app of apps) {
    await app.register(maintenance, { store: url, sites, site: sites[0] as string })
    await app.ready()
    if (app === apps[0]) await app.maintenance.set(true)
  }
  const before = await transactions(pool)
  const cpu = process.cpuUsage()
  await sleep(SECONDS * 1000)
  const { user, system } = process.cpuUsage(cpu)
  const after = await transactions(pool)
  const perSecond = (after.count - before.count) / (after.at - before.at) * 1000
  printTable(`${SERVERS} idle servers of ${SITES} sites each on PostgreSQL`, [
    {
      '': 'one query for all sites of a server',
      'transactions/s': perSecond.toFixed(0),
      'CPU of all servers': `${((user + system) / SECONDS / 1e4).toFixed(1)} %`
    },
    {
      '': 'one query per site (calculated)',
      'transactions/s': (perSecond + SERVERS * (SITES - 1) / POLL_INTERVAL).toFixed(0),
      'CPU of all servers': ''
    }
  ])
  await Promise.all(apps.map(app => app.close()))
  await pool.end()
  for (const end of endings.reverse()) await end()
}

/** How many there have been, and when they were counted (ms). */
async function transactions (pool: Pool): Promise<{ count: number, at: number }> {
  // connections report their counts with a delay of up to a second
  await sleep(1500)
  const { rows } = await pool.query(
    'SELECT xact_commit AS count FROM pg_stat_database WHERE datname = current_database()'
  )
  return { count: Number(rows[0].count), at: performance.now() }
}
