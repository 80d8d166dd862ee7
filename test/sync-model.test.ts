import { mock } from 'node:test'
import t from 'tap'
import { ConflictError, codeOf, OutcomeUnknownError } from '../lib/errors.ts'
import { checkOpening, checkSet } from '../lib/state/change.ts'
import { closeSite, openSite } from '../lib/state/edit.ts'
import { parseRecord } from '../lib/state/record.ts'
import { createSynchroniser, type Synchroniser } from '../lib/state/sync.ts'
import { createMemoryStore } from '../lib/stores/memory.ts'
import type { MaintenanceStore } from '../types/index.ts'
import { randomFrom } from './fixtures/random.ts'

// Servers share a store over a network that delays, loses and partitions, with clocks that differ by up to ten minutes,
// with garbage, emptied and restored stores, and crashes. MAINTENANCE_SCHEDULES=100000 checks more of them.

const SCHEDULES = Number(process.env.MAINTENANCE_SCHEDULES ?? 500)
const STEPS = 25
const SKEW = 600_000
const POLL = 5000

type Random = ReturnType<typeof randomFrom>

/** The store and network that all servers share. */
class Network {
  data: string | null = null
  /** Earlier records, which a backup may restore. */
  readonly before: (string | null)[] = [null]
  readonly servers: Server[] = []
  readonly random: Random
  constructor (random: Random) { this.random = random }

  revision (): number {
    try {
      return this.data === null ? 0 : JSON.parse(this.data).revision
    } catch {
      return NaN
    }
  }

  async travel (server: Server): Promise<void> {
    await new Promise(resolve => setTimeout(resolve, this.random(200)))
    if (server.cutOff) throw new Error('no route to the store')
  }

  /** The store, as one server reaches it. */
  storeOf (server: Server): MaintenanceStore {
    return {
      read: async () => {
        await this.travel(server)
        const { data } = this
        await this.travel(server)
        return data
      },
      write: async (_site, record, { expectedRevision }) => {
        await this.travel(server)
        const { cutOff } = server
        if (cutOff) throw new Error('no route to the store')
        if (expectedRevision !== undefined && !Number.isNaN(this.revision()) && expectedRevision !== this.revision()) {
          throw new ConflictError(0, expectedRevision)
        }
        this.data = record
        this.before.push(record)
        for (const other of this.servers) {
          if (!other.cutOff && this.random(4) > 0) setTimeout(() => other.sync.refresh(), this.random(300))
        }
        await this.travel(server).catch(() => { throw new OutcomeUnknownError(0) })
      },
      watch () {},
      close () {},
      now: () => Date.now() + server.skew
    }
  }
}

class Server {
  cutOff = false
  readonly skew: number
  readonly mirror = createMemoryStore()
  sync: Synchroniser
  highest = 0
  readonly network: Network
  constructor (network: Network) {
    this.network = network
    this.skew = network.random(2 * SKEW) - SKEW
    this.sync = this.start()
  }

  start (): Synchroniser {
    const log = { info () {}, warn () {}, error () {} }
    this.highest = 0
    const sync = createSynchroniser({
      store: this.network.storeOf(this), mirror: this.mirror, site: 'default', log, adopt: async () => {}, onRead () {}
    })
    sync.start()
    return sync
  }

  crash (): void {
    this.sync.close()
    this.sync = this.start()
  }
}

/** Advances the time: runs due timers and their promises. */
async function pass (ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 125) {
    mock.timers.tick(Math.min(125, left))
    await new Promise(setImmediate)
  }
}

/** @returns what is wrong, or `null` */
async function play (random: Random): Promise<string | null> {
  const network = new Network(random)
  for (let i = 0; i < 1 + random(3); i++) network.servers.push(new Server(network))
  /** Names of rejected writes, which must never be visible. */
  const rejected = new Set<string>()
  /** The highest acknowledged revision. */
  let promised = 0
  const pick = (): Server => network.servers[random(network.servers.length)] as Server
  const known = (): number[] => network.servers.map(({ sync }) => sync.local.record.revision)

  function write (server: Server): void {
    const by = `write-${random(1e9)}`
    const edit = random(2) === 0 ? closeSite(checkSet({ by })) : openSite(checkOpening({ by }))
    const { sync } = server
    sync.write({ edit }).then(record => { promised = Math.max(promised, record.revision) }, error => {
      if (codeOf(error) === 'FST_ERR_MAINTENANCE_STORE') rejected.add(by)
    })
  }

  const actions = [
    () => write(pick()),
    () => write(pick()),
    () => { const server = pick(); server.cutOff = !server.cutOff },
    () => { pick().sync.refresh() },
    () => { network.data = [null, '', '{', '{"v":3}', '{"v":2,"revision":-1}'][random(5)] as string | null },
    () => { network.data = network.before[random(network.before.length)] as string | null },
    () => { pick().crash() }
  ]

  function wrong (): string | null {
    for (const server of network.servers) {
      const { record, source } = server.sync.local
      if (source === 'store' && record.revision < server.highest) {
        return `revision ${record.revision} after ${server.highest}`
      }
      server.highest = Math.max(server.highest, record.revision)
      if (record.by !== null && rejected.has(record.by)) return `${record.by} was rejected, and came into force`
    }
    return null
  }

  for (let i = 0; i < STEPS; i++) {
    (actions[random(actions.length)] as () => void)()
    await pass(random(1500))
    for (const { sync, cutOff } of network.servers) if (!cutOff && random(3) === 0) sync.refresh()
    const problem = wrong()
    if (problem !== null) return problem
  }
  for (const server of network.servers) server.cutOff = false
  // a server or the store must still have the acknowledged revision
  const survives = Math.max(network.revision() || 0, ...known())
  for (let i = 0; i < 3; i++) {
    for (const { sync } of network.servers) sync.refresh()
    await pass(POLL)
  }
  const isGarbage = Number.isNaN(network.revision()) || parses(network.data) === null
  if (!isGarbage) {
    const expected = Math.max(Math.min(promised, survives), ...known())
    if (known().some(revision => revision !== expected)) {
      return `the servers have ${known().join(', ')}; ${expected} was acknowledged, ${network.revision()} is stored`
    }
  }
  // garbage hides the revisions of others: with different clocks, only the most up-to-date server can write a newer one
  const last = network.servers.find(({ sync }) => sync.local.record.revision === Math.max(...known())) as Server
  const written = last.sync.write({ edit: closeSite(checkSet({ by: 'last' })) })
  await pass(POLL)
  await written
  for (const { sync } of network.servers) sync.refresh()
  await pass(POLL)
  const ends = network.servers.map(({ sync }) => sync.local.record)
  for (const { sync } of network.servers) sync.close()
  if (ends.some(({ by, windows }) => by !== 'last' || windows.length === 0)) {
    return `after an undisturbed write, the servers have ${ends.map(({ by }) => by).join(', ')}`
  }
  return null
}

function parses (data: string | null): object | null {
  try {
    return data === null ? {} : parseRecord(data, Date.now() + SKEW)
  } catch {
    return null
  }
}

t.test(`${SCHEDULES} schedules of writes and faults: no revision decreases, no rejected write comes into force, all agree in the end`, async t => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.UTC(2026, 0, 5, 12) })
  t.teardown(() => mock.timers.reset())
  const { random } = Math
  t.teardown(() => { Math.random = random })
  const begin = Number(process.env.MAINTENANCE_SEED ?? 1)
  for (let seed = begin; seed < begin + SCHEDULES; seed++) {
    const chance = randomFrom(seed)
    // the synchroniser's jitter uses the same seed
    Math.random = () => chance(1e9) / 1e9
    const problem = await play(chance)
    if (problem !== null) return t.fail(`MAINTENANCE_SEED=${seed} MAINTENANCE_SCHEDULES=1: ${problem}`)
  }
  t.pass()
})
