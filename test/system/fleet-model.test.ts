import Fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import maintenance from '../../index.ts'
import { openStore } from '../../lib/stores/open.ts'
import type { StoreOption } from '../../lib/stores/options.ts'
import type { MaintenanceStore, Mode } from '../../types/index.ts'
import { stateFile } from '../fixtures/app.ts'
import { noMariadb, startMariadb } from '../fixtures/mariadb.ts'
import { noPostgres, startPostgres } from '../fixtures/postgres.ts'
import { createRandom } from '../fixtures/random.ts'
import { startRedis } from '../fixtures/redis.ts'

// Random actions of operators, runs, crashes and the clock, on one to three servers that share a store. After each
// step, every
// server has the windows of a plain list, and lets a request through only if all active windows of that list do.
// MAINTENANCE_SEQUENCES=1000 runs more of them, MAINTENANCE_SEED repeats them.

const SEQUENCES = Number(process.env.MAINTENANCE_SEQUENCES ?? 5)
const STEPS = 14
const MINUTE = 60_000
const DAY_PART = 240 * MINUTE
const BEGIN = Date.now() - 48 * 60 * MINUTE
const MODES = ['full', 'full', 'read-only'] as const
const REQUESTS: { readonly method: 'GET' | 'POST', readonly url: string }[] =
  ['/', '/shop/cart', '/open'].flatMap(url => (['GET', 'POST'] as const).map(method => ({ method, url })))

interface Rules {
  onlyRoutes?: string[] | undefined
  ignoreRoutes?: string[] | undefined
}

/** A window in the list. */
interface Window extends Rules {
  readonly id: string
  kind: 'now' | 'planned' | 'run' | 'scheduled'
  start: number
  end: number
  mode: Mode
  /** A run is active until its lease ends, whatever end visitors see. */
  lease: number
  stays: boolean
}

interface Server {
  readonly app: FastifyInstance
  /** It was killed: its link to the store is gone. */
  readonly link: { cut: boolean }
}

interface Run {
  readonly id: string
  readonly server: Server
  end (failed: boolean): void
  readonly ended: Promise<unknown>
}

type Random = (below: number) => number

/** The store's clock, which all servers use. */
function withClock (store: MaintenanceStore, clock: { now: number }, link: { cut: boolean }): MaintenanceStore {
  const linked = Object.entries(store).map(([name, member]) => [name, typeof member !== 'function'
    ? member
    : (...args: unknown[]) => {
        if (link.cut) throw new Error('killed')
        return member.apply(store, args)
      }])
  return { ...Object.fromEntries(linked), now: () => clock.now, watch () {}, close () {} } as MaintenanceStore
}

/** The verdict of each window about a request. */
const blocks = (
  { mode, onlyRoutes, ignoreRoutes }: Window, { method, url }: { method: string, url: string }
): boolean =>
  (onlyRoutes?.some(pattern => matches(pattern, url)) ?? true) &&
  !ignoreRoutes?.some(pattern => matches(pattern, url)) && !(mode === 'read-only' && method === 'GET')

const matches = (pattern: string, url: string): boolean =>
  pattern.endsWith('/*') ? url.startsWith(pattern.slice(0, -1)) : url === pattern

/** @returns what differs, or `null` */
async function play (store: MaintenanceStore, site: string, random: Random): Promise<string | null> {
  // in the past, because stores reject revisions from the future
  const clock = { now: BEGIN + random(600) * MINUTE }
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T
  const servers: Server[] = []
  const runs = new Set<Run>()
  const log: string[] = []
  let list: Window[] = []
  let openedAt = -Infinity

  for (let i = 1 + random(3); i > 0; i--) await start()

  async function start (): Promise<void> {
    const link = { cut: false }
    const app = Fastify()
    await app.register(maintenance, {
      site,
      store: withClock(store, clock, link),
      schedule: [{ cron: '0 */4 * * *', duration: '20m', timeZone: 'UTC', mode: 'read-only' }]
    })
    app.route({ method: ['GET', 'POST'], url: '/*', handler: async () => 'open' })
    await app.ready()
    servers.push({ app, link })
  }

  const isOver = ({ kind, end, lease }: Window): boolean => kind === 'run' ? lease <= clock.now : end <= clock.now

  /** As every write does: removes windows that have ended. */
  function settle (): void {
    for (const window of list) {
      if (window.kind === 'run' && isOver(window) && window.stays) {
        Object.assign(window, { kind: 'now', end: Infinity, lease: Infinity, stays: false })
      }
    }
    list = list.filter(window => !isOver(window))
  }

  function scheduled (): Window[] {
    const start = clock.now - clock.now % DAY_PART
    if (clock.now >= start + 20 * MINUTE || start <= openedAt) return []
    return [{
      id: new Date(start).toISOString(),
      kind: 'scheduled',
      start,
      end: start +
      20 * MINUTE,
      mode: 'read-only',
      lease: Infinity,
      stays: false
    }]
  }

  const active = (): Window[] => [
    ...list.filter(
      window => window.kind === 'run' ? !isOver(window) || window.stays : window.start <= clock.now && !isOver(window)
    ),
    ...scheduled()
  ]

  function add (window: Partial<Window> & Pick<Window, 'id' | 'kind'>): void {
    list.push({ start: clock.now, end: Infinity, mode: 'full', lease: Infinity, stays: false, ...window })
  }

  const patterns = (): Rules => ({
    ...pick([{}, {}, { onlyRoutes: ['/shop/*'] }]), ...pick([{}, { ignoreRoutes: ['/open'] }])
  })
  const codeOf = (error: { code?: string }): string => String(error.code)
  const any = (): FastifyInstance['maintenance'] => pick(servers).app.maintenance

  const actions: Record<string, () => Promise<string | null>> = {
    async close () {
      const [mode, minutes, rules] = [pick(MODES), pick([0, 10, 45]), patterns()]
      const { windows } = await any().set(true, { mode, ...rules, ...(minutes > 0 ? { endsAt: `+${minutes}m` } : {}) })
      settle()
      const now = windows.find(({ kind }) => kind === 'now')
      const same = list.find(({ id }) => id === now?.id)
      list = list.filter(window => window === same || window.kind !== 'now')
      const end = minutes > 0 ? clock.now + minutes * MINUTE : Infinity
      if (same === undefined) add({ id: now?.id ?? '?', kind: 'now', mode, end, ...rules })
      else list[list.indexOf(same)] = { ...same, mode, end, onlyRoutes: undefined, ignoreRoutes: undefined, ...rules }
      return null
    },
    async announce () {
      const [mode, start, length, rules] = [pick(MODES), pick([5, 30, 300]), pick([0, 10, 60]), patterns()]
      settle()
      const before = new Set(list.map(({ id }) => id))
      const { windows } = await any().set(true, {
        mode, startsAt: `+${start}m`, ...rules, ...(length > 0 ? { endsAt: `+${length}m` } : {})
      })
      const begin = clock.now + start * MINUTE
      const id = windows.find(({ id, kind }) => kind === 'planned' && !before.has(id))?.id ?? '?'
      add({ id, kind: 'planned', start: begin, end: length > 0 ? begin + length * MINUTE : Infinity, mode, ...rules })
      return null
    },
    async open () {
      const force = random(2) === 0
      settle()
      const rejected = await any().set(false, { force }).then(() => null, codeOf)
      const isRun = list.some(({ kind }) => kind === 'run')
      if (isRun && !force) return rejected === 'FST_ERR_MAINTENANCE_RUNNING' ? null : `open beside a run: ${rejected}`
      if (rejected !== null) return `open: ${rejected}`
      list = list.filter(({ kind, start }) => kind !== 'run' && start > clock.now)
      openedAt = clock.now
      return null
    },
    async soften () {
      settle()
      const target = pick([...list, undefined])
      if (target === undefined) return null
      await any().update({ mode: 'read-only', message: 'soft' }, { window: target.id })
      target.mode = 'read-only'
      return null
    },
    async extend () {
      settle()
      const target = pick([...list.filter(({ kind }) => kind === 'now' || kind === 'planned'), undefined])
      if (target === undefined) return null
      await any().update({ endsAt: '+30m' }, { window: target.id })
      const base = Math.max(target.end === Infinity ? -Infinity : target.end, target.start, clock.now)
      target.end = base + 30 * MINUTE
      return null
    },
    async cancel () {
      settle()
      const target = pick([...list.filter(({ kind }) => kind === 'planned'), undefined])
      if (target === undefined) return null
      await any().cancel(target.id)
      list = list.filter(window => window !== target)
      return null
    },
    async run () {
      await begin(pick(servers), { mode: pick(MODES), ...patterns() }, Infinity)
      return null
    },
    async finish () {
      const run = pick([...runs, undefined])
      if (run === undefined) return null
      settle()
      const failed = random(2) === 0
      run.end(failed)
      await run.ended
      runs.delete(run)
      const window = list.find(({ id }) => id === run.id)
      if (window === undefined) return null
      if (failed && window.stays) Object.assign(window, { kind: 'now', stays: false })
      else list = list.filter(other => other !== window)
      return null
    },
    /** The process dies during a run: its lease ends it. */
    async kill () {
      const server = pick(servers)
      await begin(server, { mode: pick(MODES), ...patterns() }, 5 * MINUTE)
      server.link.cut = true
      for (const run of runs) {
        if (run.server !== server) continue
        runs.delete(run)
        run.end(true)
        await run.ended
      }
      await server.app.close()
      servers.splice(servers.indexOf(server), 1)
      await start()
      return null
    },
    async wait () { return null }
  }

  async function begin (server: Server, change: { mode: Mode } & Rules, lease: number): Promise<void> {
    settle()
    const before = new Set(list.map(({ id }) => id))
    const stayClosed = random(4) === 0
    const { maintenance } = server.app
    let end: Run['end'] = () => {}
    let ended: Promise<unknown> = Promise.resolve()
    await new Promise<void>((resolve, reject) => {
      const hasBegun = resolve
      ended = maintenance.run(() => new Promise<void>((resolve, reject) => {
        end = failed => failed ? reject(new Error('failed')) : resolve()
        hasBegun()
      }), { ...change, stayClosed, ...(lease === Infinity ? {} : { lease }) }).catch(reject)
    })
    const id = maintenance.status().windows.find(({ id, kind }) => kind === 'run' && !before.has(id))?.id ?? '?'
    add({ id, kind: 'run', lease: clock.now + lease, stays: stayClosed, ...change })
    runs.add({ id, server, ended, end })
  }

  async function compare (): Promise<string | null> {
    const expected = active()
    const ids = (windows: readonly { id: string, kind: string }[]): string =>
      windows.map(({ id, kind }) => kind === 'scheduled' ? kind : id).sort().join()
    for (const [i, { app }] of servers.entries()) {
      await app.maintenance.refresh()
      const { windows } = app.maintenance.status()
      const seen = windows.filter(({ active }) => active)
      if (ids(seen) !== ids(expected)) return `server ${i}: active ${ids(seen)}, expected ${ids(expected)}`
      for (const request of REQUESTS) {
        const { statusCode } = await app.inject(request as InjectOptions)
        const isBlocked = expected.some(window => blocks(window, request))
        if ((statusCode === 503) !== isBlocked) {
          return `server ${i}: ${request.method} ${request.url} is ${statusCode}, windows ${JSON.stringify(expected)}`
        }
      }
    }
    return null
  }

  try {
    for (let step = 0; step < STEPS; step++) {
      // nothing begins in the same millisecond in which something else ends
      clock.now += step + 1
      const name = pick(Object.keys(actions))
      log.push(`${name}@${Math.floor(clock.now / MINUTE) % 1440}`)
      let wrong: string | null | undefined = await actions[name]?.().catch(error => `${name}: ${error}`)
      wrong ??= await compare()
      for (let minutes = pick([0, 1, 6, 40]); minutes > 0 && wrong === null; minutes -= 6) {
        clock.now += Math.min(minutes, 6) * MINUTE
        wrong = await compare()
      }
      if (wrong !== null && wrong !== undefined) return `${wrong}; ${servers.length} servers: ${log.join(' ')}`
    }
    return null
  } finally {
    for (const { end } of runs) end(false)
    await Promise.all(servers.map(({ app }) => app.close()))
  }
}

const STORES: Record<string, {
  missing?: string | false; slow?: true; open: (t: Test) => StoreOption | Promise<StoreOption>
}> = {
  memory: { open: () => 'memory' },
  file: { open: t => ({ file: stateFile(t) }) },
  redis: { open: async t => ({ redis: `redis://127.0.0.1:${(await startRedis(t)).port}` }) },
  sqlite: { open: t => ({ sql: { client: `sqlite:${join(t.testdir({}), 'app.db')}` } }) },
  postgres: { missing: noPostgres, slow: true, open: async t => ({ sql: { client: (await startPostgres(t)).url } }) },
  mariadb: { missing: noMariadb, slow: true, open: async t => ({ sql: { client: (await startMariadb(t)).url } }) }
}

for (const [name, { missing, slow, open }] of Object.entries(STORES)) {
  const skip =
    slow === true && process.env.MAINTENANCE_SEQUENCES === undefined ? 'MAINTENANCE_SEQUENCES is not set' : missing
  t.test(`a fleet on ${name} equals a simple list after every step`, {
    skip: skip ??
    false,
    timeout: 3_600_000
  }, async t => {
    const { store } = await openStore(await open(t), ['default'])
    t.teardown(() => store.close())
    const random = createRandom(t)
    for (let i = 0; i < SEQUENCES; i++) {
      const difference = await play(store, `site-${i}`, random)
      if (difference !== null) return t.fail(`sequence ${i}: ${difference}`)
    }
    t.pass(`${SEQUENCES} sequences`)
  })
}
