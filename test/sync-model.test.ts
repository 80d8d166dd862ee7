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

// Servers that share a store over a network that delays, loses and partitions, by clocks that differ by up to ten minutes,
// beside garbage, emptied and restored stores, and crashes. MAINTENANCE_SCHEDULES=100000 checks more of them.

const SCHEDULES = Number(process.env.MAINTENANCE_SCHEDULES ?? 1000)
const STEPS = 25
const SKEW = 600_000
const POLL = 5000

type Random = ReturnType<typeof randomFrom>

/** What all servers share. */
class World {
  data: string | null = null
  /** What a backup may bring back. */
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

  /** The store as one server reaches it. */
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
        if (expectedRevision !== undefined && !Number.isNaN(this.revision()) && expectedRevision !== this.revision()) throw new ConflictError(0, expectedRevision)
        this.data = record
        this.before.push(record)
        for (const other of this.servers) if (!other.cutOff && this.random(4) > 0) setTimeout(() => other.sync.refresh(), this.random(300))
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
  readonly world: World
  constructor (world: World) {
    this.world = world
    this.skew = world.random(2 * SKEW) - SKEW
    this.sync = this.start()
  }

  start (): Synchroniser {
    const log = { info () {}, warn () {}, error () {} }
    this.highest = 0
    const sync = createSynchroniser({ store: this.world.storeOf(this), mirror: this.mirror, site: 'default', log, adopt: async () => {}, onRead () {} })
    sync.start()
    return sync
  }

  crash (): void {
    this.sync.close()
    this.sync = this.start()
  }
}

/** Lets this much time pass: what falls due runs, and so do the promises behind it. */
async function pass (ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 125) {
    mock.timers.tick(Math.min(125, left))
    await new Promise(setImmediate)
  }
}

/** @returns what was seen to be wrong, or `null` */
async function play (random: Random): Promise<string | null> {
  const world = new World(random)
  for (let i = 0; i < 1 + random(3); i++) world.servers.push(new Server(world))
  /** Writes that were refused, by name: nobody may ever see them. */
  const refused = new Set<string>()
  /** The highest revision that a writer was promised, as long as somebody who knows it is there. */
  let promised = 0
  const pick = (): Server => world.servers[random(world.servers.length)] as Server
  const known = (): number[] => world.servers.map(({ sync }) => sync.local.record.revision)

  function write (server: Server): void {
    const by = `write-${random(1e9)}`
    const edit = random(2) === 0 ? closeSite(checkSet({ by })) : openSite(checkOpening({ by }))
    const { sync } = server
    sync.write({ edit }).then(record => { promised = Math.max(promised, record.revision) }, error => {
      if (codeOf(error) === 'FST_ERR_MAINTENANCE_STORE') refused.add(by)
    })
  }

  const actions = [
    () => write(pick()),
    () => write(pick()),
    () => { const server = pick(); server.cutOff = !server.cutOff },
    () => { pick().sync.refresh() },
    () => { world.data = [null, '', '{', '{"v":3}', '{"v":2,"revision":-1}'][random(5)] as string | null },
    () => { world.data = world.before[random(world.before.length)] as string | null },
    () => { pick().crash() }
  ]

  function wrong (): string | null {
    for (const server of world.servers) {
      const { record, source } = server.sync.local
      if (source === 'store' && record.revision < server.highest) return `revision ${record.revision} after ${server.highest}`
      server.highest = Math.max(server.highest, record.revision)
      if (record.by !== null && refused.has(record.by)) return `${record.by} was refused, and came into force`
    }
    return null
  }

  for (let i = 0; i < STEPS; i++) {
    (actions[random(actions.length)] as () => void)()
    await pass(random(1500))
    for (const { sync, cutOff } of world.servers) if (!cutOff && random(3) === 0) sync.refresh()
    const seen = wrong()
    if (seen !== null) return seen
  }
  for (const server of world.servers) server.cutOff = false
  // somebody must still know what was promised
  const survives = Math.max(world.revision() || 0, ...known())
  for (let i = 0; i < 3; i++) {
    for (const { sync } of world.servers) sync.refresh()
    await pass(POLL)
  }
  const isGarbage = Number.isNaN(world.revision()) || parses(world.data) === null
  if (!isGarbage) {
    const expected = Math.max(Math.min(promised, survives), ...known())
    if (known().some(revision => revision !== expected)) return `the servers know ${known().join(', ')}; ${expected} was promised, stored is ${world.revision()}`
  }
  // garbage hides what others have written: by clocks that differ, only the one that knows most can write what is newest
  const last = world.servers.find(({ sync }) => sync.local.record.revision === Math.max(...known())) as Server
  const written = last.sync.write({ edit: closeSite(checkSet({ by: 'last' })) })
  await pass(POLL)
  await written
  for (const { sync } of world.servers) sync.refresh()
  await pass(POLL)
  const ends = world.servers.map(({ sync }) => sync.local.record)
  for (const { sync } of world.servers) sync.close()
  if (ends.some(({ by, windows }) => by !== 'last' || windows.length === 0)) return `after a write that nothing disturbs, the servers know ${ends.map(({ by }) => by).join(', ')}`
  return null
}

function parses (data: string | null): object | null {
  try {
    return data === null ? {} : parseRecord(data, Date.now() + SKEW)
  } catch {
    return null
  }
}

t.test(`${SCHEDULES} schedules of writes and faults: no revision goes back, nothing refused comes into force, all agree in the end`, async t => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.UTC(2026, 0, 5, 12) })
  t.teardown(() => mock.timers.reset())
  const { random } = Math
  t.teardown(() => { Math.random = random })
  const begin = Number(process.env.MAINTENANCE_SEED ?? 1)
  for (let seed = begin; seed < begin + SCHEDULES; seed++) {
    const chance = randomFrom(seed)
    // the jitter of the synchroniser comes from the same seed
    Math.random = () => chance(1e9) / 1e9
    const seen = await play(chance)
    if (seen !== null) return t.fail(`MAINTENANCE_SEED=${seed} MAINTENANCE_SCHEDULES=1: ${seen}`)
  }
  t.pass()
})
