// How long until a fleet of servers follows a switch, and until all servers have recovered from a restart of Redis?
// How much CPU does Redis need for that, and while the fleet is idle? Run with `npx tsx benchmarks/fleet.ts`.
// Redis, its connections and the synchronisers are real; heartbeats have the content and the rhythm of real ones. One
// process plays all servers, so its own work counts, too, and the times are upper bounds.
import { setTimeout as sleep } from 'node:timers/promises'
import { checkOpening, checkSet } from '../lib/state/change.ts'
import { closeSite, openSite } from '../lib/state/edit.ts'
import { HEARTBEAT_INTERVAL, LOST_AFTER } from '../lib/servers/entry.ts'
import { entry } from '../test/fixtures/server-entries.ts'
import { startFleet } from '../test/fixtures/redis-fleet.ts'
import { startRedis } from '../test/fixtures/redis.ts'
import { until } from '../test/fixtures/app.ts'
import { percentile, printTable, type Row } from './lib/table.ts'

const SERVERS = Number(process.env.SERVERS ?? 500)
const SWITCHES = Number(process.env.SWITCHES ?? 30)
const ROUNDS = Number(process.env.ROUNDS ?? 3)
const SECONDS = Number(process.env.SECONDS ?? 10)
const POLL_INTERVAL = 5000

const endings: (() => unknown)[] = []
const redis = await startRedis({ teardown: work => { endings.push(work) } })
/** When servers learned of each revision. */
const seen = new Map<number, number[]>()
const heartbeats: NodeJS.Timeout[] = []
const fleet = await Promise.all(Array.from({ length: SERVERS }, () => startFleet({
  redis: redis.url,
  prefix: 'fastify-maintenance:',
  sites: ['default'],
  pollInterval: POLL_INTERVAL,
  onKnown (_site, { record }) {
    if (!seen.has(record.revision)) seen.set(record.revision, [])
    seen.get(record.revision)?.push(performance.now())
  }
})))
const followers = fleet.map(server => server.followers[0]!)
const listening = async () =>
  ((await redis.client.pubsub('NUMSUB', 'fastify-maintenance:{default}:changes')) as [string, number])[1]
await until('all listen', async () => await listening() === SERVERS, 60_000)
for (const i of fleet.keys()) setTimeout(sendHeartbeats, Math.random() * HEARTBEAT_INTERVAL, i)

const idle = await spentDuring(() => sleep(SECONDS * 1000))
const one: number[] = []
const last: number[] = []
const switching = await spentDuring(measureSwitches)
printTable(`${SERVERS} servers, ${SWITCHES} switches: time from set() until servers follow`, [
  times('one server', one), times('the last server', last)
])
printTable(`Redis with ${SERVERS} servers`, loadOfRedis())

const known: number[] = []
const listens: number[] = []
const busiest: number[] = []
for (let i = 0; i < ROUNDS; i++) await restartRedis()
printTable(`Redis is killed and restarts empty after 3 s, ${ROUNDS} times: time from its restart`, [
  times('Redis has the state again, and all servers know', known), times('all listen again', listens)
])
console.log(`Up to ${Math.max(...busiest)} of ${2 * SERVERS} connections were made within the same 100 ms. \
Redis has ${(await stats()).connections} connections afterwards.\n`)

for (const timer of heartbeats) clearInterval(timer)
for (const { stop } of fleet) await stop()
for (const end of endings.reverse()) await end()

function sendHeartbeats (i: number): void {
  const send = async (): Promise<void> => {
    await fleet[i]!.store.heartbeat?.(`server-${i}`, JSON.stringify(entry({ id: `server-${i}` })), LOST_AFTER)
  }
  // Redis is killed in between
  heartbeats.push(setInterval(() => send().catch(() => {}), HEARTBEAT_INTERVAL))
}

async function measureSwitches (): Promise<void> {
  for (let i = 0; i < SWITCHES; i++) {
    const begin = performance.now()
    const edit = i % 2 === 0 ? closeSite(checkSet({})) : openSite(checkOpening({}))
    const { revision } = await followers[i % SERVERS]!.write({ edit })
    await until('all follow', () => followers.every(({ local }) => local.record.revision === revision), 30_000)
    const delays = (seen.get(revision) ?? []).map(time => time - begin)
    one.push(...delays)
    last.push(Math.max(...delays))
  }
}

async function restartRedis (): Promise<void> {
  const { revision } = followers[0]!.local.record
  await redis.kill()
  await sleep(3000)
  await redis.start()
  const begin = performance.now()
  const watching = { over: false }
  const connections = connectionsWithin(100, watching)
  const isCurrent = (): boolean => followers.every(
    ({ health, local }) => health.connected && health.error === null && local.record.revision === revision
  )
  await Promise.all([
    until('all read it again', isCurrent, 60_000)
      .then(() => known.push(performance.now() - begin)),
    until('all listen again', async () => await listening() === SERVERS, 60_000)
      .then(() => listens.push(performance.now() - begin))
  ])
  watching.over = true
  busiest.push(await connections)
}

function times (label: string, values: number[]): Row {
  return {
    '': label,
    'p50 ms': percentile(values, 0.5).toFixed(1),
    'p99 ms': percentile(values, 0.99).toFixed(1),
    'max ms': Math.max(...values).toFixed(1)
  }
}

function loadOfRedis (): Row[] {
  const row = (label: string, whileIdle: string, whileSwitching: string): Row =>
    ({ '': label, [`idle for ${SECONDS} s`]: whileIdle, [`during ${SWITCHES} switches`]: whileSwitching })
  const cpu = ({ cpu, seconds }: Spent): string => (cpu / seconds * 100).toFixed(1)
  const rate = ({ commands, seconds }: Spent): string => (commands / seconds).toFixed(0)
  return [
    row('CPU, % of a core', cpu(idle), cpu(switching)),
    row('CPU per switch, ms', '', (switching.cpu * 1000 / SWITCHES).toFixed(1)),
    row('commands/s', rate(idle), rate(switching)),
    row('commands per switch and server', '', (switching.commands / SWITCHES / SERVERS).toFixed(2)),
    row('bytes sent per switch and server', '', (switching.bytes / SWITCHES / SERVERS).toFixed(0)),
    row('connections', String(idle.connections), String(switching.connections)),
    row('memory, MB', (idle.memory / 1e6).toFixed(1), (switching.memory / 1e6).toFixed(1))
  ]
}

interface Spent {
  readonly seconds: number
  /** Seconds of CPU time. */
  readonly cpu: number
  readonly commands: number
  readonly bytes: number
  /** At the end. */
  readonly connections: number
  readonly memory: number
}

async function spentDuring (work: () => Promise<unknown>): Promise<Spent> {
  const before = await stats()
  const begin = performance.now()
  await work()
  const seconds = (performance.now() - begin) / 1000
  const after = await stats()
  return {
    ...after,
    seconds,
    cpu: after.cpu - before.cpu,
    commands: after.commands - before.commands,
    bytes: after.bytes - before.bytes
  }
}

async function stats () {
  const info = await redis.client.info()
  const of = (name: string): number => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1])
  return {
    cpu: of('used_cpu_sys') + of('used_cpu_user'),
    commands: of('total_commands_processed'),
    bytes: of('total_net_output_bytes'),
    connections: of('connected_clients'),
    made: of('total_connections_received'),
    memory: of('used_memory')
  }
}

/** The largest number of connections made within this time (ms). */
async function connectionsWithin (ms: number, watching: { over: boolean }): Promise<number> {
  const samples: { at: number, made: number }[] = []
  let most = 0
  while (!watching.over) {
    const { made } = await stats()
    const at = performance.now()
    samples.push({ at, made })
    most = Math.max(most, made - (samples.findLast(sample => sample.at <= at - ms)?.made ?? 0))
    await sleep(10)
  }
  return most
}
