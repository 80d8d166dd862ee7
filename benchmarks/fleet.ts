// How long until a fleet of servers follows one switch, and until all know the state again after Redis restarted?
// Real: Redis, its connections, the synchronisers. One process plays all servers, so its own work counts as well:
// the figures are upper bounds.
import { checkOpening, checkSet } from '../lib/state/change.ts'
import { closeSite, openSite } from '../lib/state/edit.ts'
import { startFleet } from '../test/fixtures/redis-fleet.ts'
import { startRedis } from '../test/fixtures/redis.ts'
import { until } from '../test/fixtures/app.ts'

const SERVERS = Number(process.env.SERVERS ?? 500)
const SWITCHES = Number(process.env.SWITCHES ?? 30)
const ROUNDS = Number(process.env.ROUNDS ?? 3)
const POLL_INTERVAL = 5000

const endings: (() => unknown)[] = []
const redis = await startRedis({ teardown: work => { endings.push(work) } })
const seen = new Map<number, number[]>()
const fleet = await Promise.all(Array.from({ length: SERVERS }, () => startFleet({
  redis: redis.url,
  prefix: 'fastify-maintenance:',
  sites: ['default'],
  pollInterval: POLL_INTERVAL,
  onKnown (_site, { record }) { seen.set(record.revision, [...seen.get(record.revision) ?? [], performance.now()]) }
})))
const followers = fleet.map(server => server.followers[0]!)
const listening = async () =>
  ((await redis.client.pubsub('NUMSUB', 'fastify-maintenance:{default}:changes')) as [string, number])[1]
await until('all listen', async () => await listening() === SERVERS, 60_000)

console.log(`${SERVERS} servers, ${SWITCHES} switches: ms from set() until a server follows`)
const all: number[] = []
const last: number[] = []
const client = await stats()
for (let i = 0; i < SWITCHES; i++) {
  const begin = performance.now()
  const edit = i % 2 === 0 ? closeSite(checkSet({})) : openSite(checkOpening({}))
  const { revision } = await followers[i % SERVERS]!.write({ edit })
  await until('all follow', () => followers.every(({ local }) => local.record.revision === revision), 30_000)
  const times = (seen.get(revision) ?? []).map(time => time - begin)
  all.push(...times)
  last.push(Math.max(...times))
}
const spent = await stats()
console.table([row('a server', all), row('the last one', last)])
console.log(
  `commands per switch and server: ${((spent.commands - client.commands) / SWITCHES / SERVERS).toFixed(2)}; bytes out per switch and server: ${((spent.bytes - client.bytes) / SWITCHES / SERVERS).toFixed(0)}`
)
console.log(`Redis: ${spent.connections} connections, ${(spent.memory / 1e6).toFixed(1)} MB`)

console.log(`\nRedis is killed, and starts empty 3 s later, ${ROUNDS} times: ms from its start`)
const known: number[] = []
const listens: number[] = []
const tries: number[] = []
for (let i = 0; i < ROUNDS; i++) {
  const { revision } = followers[0]!.local.record
  await redis.kill()
  await new Promise(resolve => setTimeout(resolve, 3000))
  await redis.start()
  const begin = performance.now()
  const watching = { over: false }
  const busiest = connectionsPer(100, watching)
  await Promise.all([
    until(
      'all read it again',
      () =>
        followers.every(
          ({ health, local }) => health.connected && health.error === null && local.record.revision === revision
        ),
      60_000
    ).then(() => known.push(performance.now() - begin)),
    until('all listen again', async () => (await listening()) === SERVERS, 60_000).then(() =>
      listens.push(performance.now() - begin)
    )
  ])
  watching.over = true
  tries.push(await busiest)
}
console.table([row('all know that the store has their state', known), row('all listen again', listens)])
console.log(
  `new connections in the busiest 100 ms: ${Math.max(...tries)} of ${2 * SERVERS}; connections afterwards: ${(await stats()).connections}`
)

for (const { stop } of fleet) await stop()
for (const end of endings.reverse()) await end()

function row (what: string, times: number[]) {
  const sorted = [...times].sort((a, b) => a - b)
  const at = (part: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN).toFixed(1)
  return { what, p50: at(0.5), p99: at(0.99), max: at(1) }
}

async function stats () {
  const info = await redis.client.info()
  const of = (name: string): number => Number(new RegExp(`${name}:(\\d+)`).exec(info)?.[1])
  return {
    commands: of('total_commands_processed'),
    bytes: of('total_net_output_bytes'),
    connections: of('connected_clients'),
    made: of('total_connections_received'),
    memory: of('used_memory')
  }
}

/** The most connections that were made within this many ms. */
async function connectionsPer (ms: number, watching: { over: boolean }): Promise<number> {
  const samples: { at: number, made: number }[] = []
  let most = 0
  while (!watching.over) {
    const { made } = await stats()
    const at = performance.now()
    samples.push({ at, made })
    most = Math.max(most, made - (samples.findLast(sample => sample.at <= at - ms)?.made ?? 0))
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  return most
}
