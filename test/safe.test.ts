import { once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import { request as httpRequest } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { hostname } from 'node:os'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { main } from '../lib/cli/main.ts'
import { ConflictError } from '../lib/errors.ts'
import { createTracker } from '../lib/drain/track.ts'
import { createCensus } from '../lib/servers/census.ts'
import { sayGoodbyeForDead } from '../lib/servers/dead.ts'
import { parseEntry, type ServerEntry } from '../lib/servers/entry.ts'
import { createFence, instant } from '../lib/servers/fence.ts'
import { waitForServers, type WaitParts } from '../lib/servers/wait.ts'
import { createFileServers } from '../lib/stores/file/servers.ts'
import { processSpace } from '../lib/util/process-liveness.ts'
import type { DrainErrorDetails, FastifyMaintenanceOptions, MaintenanceStore, ServerStatus } from '../types/index.ts'
import { createApp, stateFile, until } from './fixtures/app.ts'
import { startRedis } from './fixtures/redis.ts'

// When a wait may report "safe", and when it must not.

t.jobs = 4

const MINUTE = 60_000
const ago = (ms: number): string => new Date(Date.now() - ms).toISOString()

/** A memory store that several servers share. */
function sharedStore () {
  const records = new Map<string, { record: string, revision: number }>()
  const hints = new Set<(site?: string) => void>()
  const store = {
    entries: new Map<string, { text: string, until: number }>(),
    /** The methods that fail, as in an unreachable store. */
    broken: { heartbeat: false, heartbeats: false, read: false },
    async read (site: string): Promise<string | null> {
      if (store.broken.read) throw new Error('away')
      return records.get(site)?.record ?? null
    },
    async write (site: string, record: string, { revision, expectedRevision }: {
      revision: number; expectedRevision?: number | undefined
    }) {
      const stored = records.get(site)?.revision ?? 0
      if (expectedRevision !== undefined && expectedRevision !== stored) {
        throw new ConflictError(stored, expectedRevision)
      }
      records.set(site, { record, revision })
      for (const hint of hints) hint(site)
    },
    watch (hint: (site?: string) => void) { hints.add(hint) },
    close () {},
    async heartbeat (id: string, text: string, ttl: number): Promise<boolean> {
      if (store.broken.heartbeat) throw new Error('away')
      const isNew = !store.entries.has(id)
      if (ttl === 0) store.entries.delete(id)
      else store.entries.set(id, { text, until: Date.now() + ttl })
      return isNew
    },
    async heartbeats (): Promise<string[]> {
      if (store.broken.heartbeats) throw new Error('gone fishing')
      return [...store.entries.values()].map(({ text }) => text)
    },
    put (entry: ServerEntry): void { store.entries.set(entry.id, { text: JSON.stringify(entry), until: Infinity }) },
    get (id: string): ServerEntry | null { return parseEntry(store.entries.get(id)?.text ?? '') }
  } satisfies MaintenanceStore & Record<string, unknown>
  return store
}

const entry = (more: Partial<ServerEntry> = {}): ServerEntry => ({
  id: 'other',
  label: 'app-2 (process 7)',
  host: 'app-2',
  pid: 7,
  version: '0.1.0',
  sites: [{ site: 'default', revision: 0, active: false, pinned: false, draining: {} }],
  inFlight: 0,
  streams: 0,
  draining: {},
  bypassPath: null,
  startedAt: ago(MINUTE),
  seenAt: ago(0),
  lost: false,
  left: false,
  space: null,
  fence: null,
  relistedAt: null,
  ...more
})

/** The site of a server that has followed. */
const closed = (revision: number, draining = {}): ServerEntry['sites'] => [
  { site: 'default', revision, active: true, pinned: false, draining }
]

async function startApp (t: Test, store: MaintenanceStore, options: FastifyMaintenanceOptions = {}) {
  const { app, lines } = await createApp(t, { store, ...options })
  await app.ready()
  return { app, lines }
}

/** The error that a wait rejects with. */
async function unsafe (wait: Promise<unknown>): Promise<DrainErrorDetails & Error> {
  return wait.then(() => { throw new Error('it reported safe') }, error => {
    if (error.code !== 'FST_ERR_MAINTENANCE_DRAIN') throw error
    return error
  })
}

const labels = (servers: readonly ServerStatus[] = []): string[] => servers.map(({ label }) => label)

t.test('a goodbye is an entry, and the last one', { buffered: true }, async t => {
  const store = sharedStore()
  const { app } = await startApp(t, store)
  const [id = ''] = store.entries.keys()
  t.match(store.get(id), { left: false, space: processSpace(), fence: null })
  t.ok((store.entries.get(id)?.until ?? 0) > Date.now() + 10 * MINUTE, 'a server that disappears is remembered')
  await app.close()
  t.match(store.get(id), { left: true, inFlight: 0, draining: {} })
  const other = await startApp(t, store)
  t.equal((await other.app.maintenance.servers()).length, 1, 'it is not listed')
  await t.resolves(other.app.maintenance.set(true, { wait: 5000 }), 'the wait ignores it')
})

t.test('a goodbye waits for running requests', { buffered: true }, async t => {
  const store = sharedStore()
  const { app, lines } = await createApp(t, { store })
  let release = () => {}
  app.get('/', () => new Promise(resolve => { release = () => resolve('done') }))
  await app.ready()
  const [id = ''] = store.entries.keys()
  app.inject('/').catch(() => {})
  await until('it runs', () => app.maintenance.status().inFlight === 1)
  await app.close()
  t.match(store.get(id), { left: false, draining: { 'GET /': 1 } })
  t.ok(lines.some(line => /closes while it runs 1 × GET \//.test(line.msg)))
  release()
  await until('goodbye', () => store.get(id)?.left === true)
})

t.test('servers() shows lost servers, and keeps late ones', { buffered: true }, async t => {
  const store = sharedStore()
  const { app } = await startApp(t, store)
  store.put(entry({ id: 'late', label: 'late', seenAt: ago(10_000) }))
  store.put(entry({ id: 'lost', label: 'lost', seenAt: ago(20_000) }))
  store.put(entry({ id: 'gone', label: 'gone', left: true }))
  store.put(entry({ id: 'elsewhere', label: 'elsewhere', sites: [] }))
  const servers = await app.maintenance.servers()
  t.strictSame(
    servers.filter(({ label }) => !label.includes('process')).map(({ label, lost }) => [label, lost]),
    [['late', false], ['lost', true]]
  )
  t.notOk('space' in (servers[0] ?? {}), 'internal fields are not shown')
})

t.test('a wait with a lost server is not safe and names it, unless assumeDead removes it', { buffered: true }, async t => {
  const store = sharedStore()
  const { app, lines } = await startApp(t, store)
  store.put(entry({ seenAt: ago(20_000), inFlight: 2 }))
  const began = performance.now()
  const error = await unsafe(app.maintenance.set(true, { wait: '30s', by: 'ada' }))
  t.ok(performance.now() - began < 25_000, 'it ends early')
  t.match(
    error.message,
    /not safe after \d+ ms, but the change stands: app-2 \(process 7\) is lost, last seen at \S+Z, when it ran 2 requests: it crashed, was killed, hangs, or cannot reach the store/
  )
  t.strictSame([labels(error.servers), labels(error.lost), labels(error.pinned)], [[], ['app-2 (process 7)'], []])
  t.match(error.status, { active: true, by: 'ada' })
  t.ok(app.maintenance.active, 'the change is kept')

  const short = await unsafe(app.maintenance.set(true, { wait: 400 }))
  t.strictSame(labels(short.lost), ['app-2 (process 7)'])
  await app.maintenance.set(true, { wait: '30s', assumeDead: true })
  t.equal(store.get('other')?.left, true)
  const said = lines.map(({ msg }) => msg)
  for (const text of [
    /waiting for the servers of site 'default', at most 30000 ms/,
    /still waiting: app-2 \(process 7\) is lost/,
    /the wait for the servers of site 'default' ended after \d+ ms: /,
    /1 server is|2 servers are/
  ]) {
    t.ok(said.some(line => text.test(line)), String(text))
  }
})

t.test('a run that is not safe does nothing, and the site returns to its state', { buffered: true }, async t => {
  const store = sharedStore()
  const { app } = await startApp(t, store)
  store.put(entry())
  let ran = false
  const error = await unsafe(app.maintenance.run(() => { ran = true }, { wait: 300 }))
  t.match(error.message, /and the site is back as it was: app-2 \(process 7\) is open, last seen/)
  t.strictSame([labels(error.servers), ran, app.maintenance.active], [['app-2 (process 7)'], false, false])
})

t.test('a server pinned to the opposite is never safe: opening or closing, assumed dead or not', { buffered: true }, async t => {
  const store = sharedStore()
  const { app } = await startApp(t, store)
  const pin = (active: boolean, more = {}) =>
    store.put(entry({ sites: [{ site: 'default', revision: 0, active, pinned: true, draining: {} }], ...more }))
  pin(false)
  const began = performance.now()
  const error = await unsafe(app.maintenance.set(true, { wait: '30s' }))
  t.ok(performance.now() - began < 10_000)
  t.match(error.message, /app-2 \(process 7\) stays open: its option 'pinned' decides/)
  t.strictSame([labels(error.pinned), labels(error.lost)], [['app-2 (process 7)'], []])
  pin(false, { seenAt: ago(20_000) })
  t.strictSame(
    labels((await unsafe(app.maintenance.set(true, { wait: '30s', assumeDead: true }))).pinned),
    ['app-2 (process 7)']
  )
  pin(true)
  await app.maintenance.set(true, { wait: '30s' })
  t.match(await unsafe(app.maintenance.set(false, { wait: '30s' })), { message: /stays closed/ })
})

t.test('wait is rejected before any write if the store does not keep servers; memory knows its own', { buffered: true }, async t => {
  for (const missing of ['heartbeat', 'heartbeats']) {
    const { app } = await startApp(t, { ...sharedStore(), [missing]: undefined })
    for (const call of [
      () => app.maintenance.set(true, { wait: 100 }), () => app.maintenance.run(() => {}, { wait: true })
    ]) {
      await t.rejects(call() as Promise<unknown>, {
        code: 'FST_ERR_MAINTENANCE_CHANGE', message: /this store has no heartbeat\(\) and heartbeats\(\)/
      })
    }
    t.match(app.maintenance.status(), { active: false, revision: 0 })
  }
  const { app } = await createApp(t, {})
  await app.ready()
  t.match(await app.maintenance.set(true, { wait: '10s' }), { active: true })
})

t.test('assumeDead is checked, and needs a wait', { buffered: true }, async t => {
  const { app } = await createApp(t, {})
  for (const [options, text] of [
    [{ assumeDead: 1, wait: true }, /assumeDead is 1, expected true or false/],
    [{ assumeDead: true }, /assumeDead is true, expected a wait beside it/]
  ] as const) {
    await t.rejects(app.maintenance.set(true, options as object), { code: 'FST_ERR_MAINTENANCE_CHANGE', message: text })
  }
})

t.test('a list that cannot be read is not treated as empty', { buffered: true }, async t => {
  const store = sharedStore()
  const { app } = await startApp(t, store)
  store.broken.heartbeats = true
  const error = await unsafe(app.maintenance.set(true, { wait: 400 }))
  t.match(error, {
    message: /the list of servers could not be read/, servers: [], lost: [], pinned: [], inFlight: 0, routes: {}
  })
  await t.rejects(app.maintenance.servers(), { code: 'FST_ERR_MAINTENANCE_STORE' })
  await t.resolves(app.close(), 'it closes anyway')
})

/** A wait whose list of servers the test provides. */
function startWait (list: () => ServerEntry[] | Promise<ServerEntry[]>, more: Partial<WaitParts> = {}) {
  const remarks: string[] = []
  const strikeOff: string[] = []
  const result = waitForServers({
    site: 'default',
    on: true,
    revision: 5,
    timeout: 30_000,
    list: async () => list(),
    now: () => Date.now(),
    assumeDead: false,
    strikeOff: async ({ id }) => { strikeOff.push(id) },
    otherwise: 'and so on',
    say () {},
    remark: text => { remarks.push(text) },
    ...more
  })
  return { result, remarks, strikeOff }
}

t.test('the store loses its servers during a wait: known servers are remembered', { buffered: true }, async t => {
  let looks = 0
  const { result } =
    startWait(() => ++looks < 3 ? [entry({ sites: closed(5, { 'POST /order': 1 }) })] : [], { timeout: 1500 })
  const error = await unsafe(result)
  t.match(error, { message: /app-2 \(process 7\) runs 1 × POST \/order/, inFlight: 1, routes: { 'POST /order': 1 } })
})

t.test('the store has just lost its servers: the wait includes missing ones', { buffered: true }, async t => {
  const first = entry({ id: 'first', sites: closed(5), relistedAt: ago(0) })
  const began = performance.now()
  const { result } = startWait(() => [
    { ...first, seenAt: ago(0) },
    ...(performance.now() - began > 3000 ? [entry({ id: 'second', sites: closed(5), seenAt: ago(0) })] : [])
  ])
  const { known } = await result
  t.equal(known, 2)
  const soon = startWait(() => [{ ...first, relistedAt: ago(0) }], { timeout: 400 })
  t.match(await unsafe(soon.result), { message: /the store has lost its list of servers a moment ago/ })
})

t.test('servers notice that the store has lost them, and log it', { buffered: true }, async t => {
  const store = sharedStore()
  const { app } = await startApp(t, store)
  const [id = ''] = store.entries.keys()
  t.equal(store.get(id)?.relistedAt, null)
  store.entries.clear()
  await app.maintenance.set(true)
  await until('it is listed again', () => store.get(id)?.relistedAt !== null && store.get(id) !== null)
})

t.test('no known server: not safe in the end, but one may still appear', { buffered: true }, async t => {
  t.match(await unsafe(startWait(() => [], { timeout: 300 }).result), {
    message: /no running server uses site 'default'/
  })
  t.match(await unsafe(
    startWait(() => [entry({ left: true })], { timeout: 300 }).result
  ), { message: /no running server uses site/ }, 'servers that have left do not count')
  let looks = 0
  t.match(await startWait(() => ++looks < 4
    ? []
    : [
        entry({ sites: closed(5), seenAt: ago(0) })
      ]).result, { known: 1, followed: 1 })
})

t.test('a server that stops properly during a wait does not delay it', { buffered: true }, async t => {
  let looks = 0
  const { result } = startWait(() => [entry({ left: ++looks > 3, sites: closed(1, { 'GET /': 1 }) })])
  t.match(await result, { known: 1, servers: [], unready: [] })
})

t.test('a late server is not lost: its clock may be wrong, or a debugger may have stopped it', { buffered: true }, async t => {
  const began = performance.now()
  // five minutes behind, but still sending
  const { result } = startWait(() => {
    const passed = performance.now() - began
    return [entry({
      seenAt: new Date(
        Date.now() - 5 * MINUTE - (passed < 5000 ? passed : 0)
      ).toISOString(),
      sites: closed(passed < 5000 ? 1 : 5)
    })]
  })
  t.match(await result, { known: 1, lost: [] })
})

t.test('a lost server that reports again counts again, even if assumed dead', { buffered: true }, async t => {
  const began = performance.now()
  const hasReturned = (): boolean => performance.now() - began > 6500
  const lost = entry({ seenAt: ago(MINUTE) })
  const { result, strikeOff } = startWait(() => [
    hasReturned() ? { ...lost, seenAt: ago(0) } : lost,
    entry({ id: 'busy', seenAt: ago(0), sites: closed(5, hasReturned() ? {} : { 'GET /': 1 }) })
  ], { assumeDead: true, timeout: 8000, strikeOff: async () => { throw new Error('away') } })
  t.match(await unsafe(result), { message: /app-2 \(process 7\) is open/ })
  t.strictSame(strikeOff, [])
})

t.test('servers that cannot be read any more are named by their last heartbeat', { buffered: true }, async t => {
  let looks = 0
  const { result } = startWait(() => {
    if (++looks > 1) throw new Error('away')
    return [entry()]
  }, { timeout: 500 })
  const error = await unsafe(result)
  t.match(error.message, /the list of servers could not be read any more; app-2 \(process 7\) is open/)
  t.strictSame(labels(error.servers), ['app-2 (process 7)'])
})

t.test("an aborted wait rejects with the signal's reason", { buffered: true }, async t => {
  const ending = new AbortController()
  const { result } = startWait(() => [entry()], { signal: ending.signal })
  setTimeout(() => ending.abort(new Error('enough')), 50)
  await t.rejects(result, { message: 'enough' })
})

t.test('a lost server with a fence closes, and is safe a minute later', { buffered: true }, async t => {
  const fenced = (age: number, draining = {}) =>
    entry({ fence: 12_000, seenAt: ago(age), sites: closed(0, draining), inFlight: 1 })
  const [recent, old] = [fenced(20_000), fenced(80_000, { 'POST /order': 1 })]
  const late = startWait(() => [recent], { timeout: 300 })
  t.match(await unsafe(late.result), {
    message: /is lost, last seen at \S+, when it ran 1 requests; its fence has closed it, but what it ran may not have ended/
  })
  const settled = startWait(() => [old])
  t.match(await settled.result, { fenced: [{ id: 'other', lost: true }], lost: [] })
  t.match(settled.remarks, [/is lost, last seen at \S+, when it ran 1 × POST \/order; its fence has closed it$/])
})

t.test('a census: silence is measured locally, and a goodbye ends it', { buffered: true }, async t => {
  const census = createCensus(() => Date.now())
  t.match(census([entry({ seenAt: ago(20_000) })]), { lost: [{ id: 'other' }], isSure: false, known: 1 })
  t.match(census([]), { lost: [{ id: 'other' }], known: 1 })
  t.match(
    census([entry({ seenAt: ago(19_000) })]),
    { lost: [], present: [{ id: 'other', lost: false }] },
    'its heartbeat has changed'
  )
  t.match(census([entry({ left: true, seenAt: ago(19_000) })]), { lost: [], present: [], known: 1 })
})

t.test('dead servers get a goodbye once their requests have had time to end', { buffered: true }, async t => {
  const store = sharedStore()
  const space = processSpace()
  const self = { id: 'self', host: hostname(), space, startedAt: ago(0) }
  const dead = { space, pid: 2 ** 22 + 1, host: hostname() }
  const elsewhere = { space: 'boot/1', host: hostname(), startedAt: ago(10 * MINUTE) }
  const cases: Record<string, [Partial<ServerEntry>, boolean]> = {
    'dead, and what it ran may go on': [{ ...dead, seenAt: ago(59_000) }, false],
    'dead, and what it ran has ended': [{ ...dead, seenAt: ago(61_000) }, true],
    'alive, and silent': [{ space, pid: process.pid, host: hostname(), seenAt: ago(61_000) }, false],
    'a container that was restarted': [{ ...elsewhere, seenAt: ago(61_000) }, true],
    'a running container of the same name': [
      { ...elsewhere, seenAt: new Date(Date.now() + 1000).toISOString() }, false
    ],
    'another host': [{ ...elsewhere, host: 'app-2', seenAt: ago(61_000) }, false],
    'an unknown place': [{ space: null, host: hostname(), seenAt: ago(61_000) }, false],
    'has left': [{ ...dead, seenAt: ago(61_000), left: true, label: 'left' }, true]
  }
  for (const [id, [more]] of Object.entries(cases)) store.put(entry({ id, ...more }))
  const entries = Object.keys(cases).map(id => store.get(id) as ServerEntry)
  await sayGoodbyeForDead(store, entries, { ...self, space: null })
  t.equal(
    [...store.entries.keys()].filter(id => store.get(id)?.left).length,
    1,
    'from an unknown place, no server is known to be dead'
  )
  await sayGoodbyeForDead(store, entries, self)
  for (const [id, [, left]] of Object.entries(cases)) t.equal(store.get(id)?.left, left, id)
})

t.test('a server that boots removes dead ones on its host', { buffered: true }, async t => {
  const store = sharedStore()
  store.put(entry({ space: processSpace(), pid: 2 ** 22 + 1, seenAt: ago(61_000) }))
  await startApp(t, store)
  await until('it is removed', () => store.get('other')?.left === true)
})

t.test('a server is known before it reads the state', { buffered: true }, async t => {
  const store = sharedStore()
  const order: string[] = []
  const { heartbeat, read } = store
  store.heartbeat = async (...args) => { order.push('heartbeat'); return heartbeat(...args) }
  store.read = async site => { order.push('read'); return read(site) }
  await startApp(t, store)
  t.equal(order[0], 'heartbeat')
})

t.test('entries in files last until they expire, also those of dead processes', { buffered: true }, async t => {
  const servers = createFileServers(stateFile(t))
  t.equal(await servers.heartbeat('a', 'one', MINUTE), true, 'there was none')
  t.equal(await servers.heartbeat('a', 'two', MINUTE), false)
  t.strictSame(await servers.heartbeats(), ['two'])
  t.equal(await servers.heartbeat('a', '', 0), false)
  t.strictSame(await servers.heartbeats(), [])
})

t.test('entries in Redis: the keys do not expire, and a lost entry is noticed', { buffered: true }, async t => {
  const redis = await startRedis(t)
  const { app } = await createApp(t, { store: { redis: redis.url } })
  await app.ready()
  const keys = ['fastify-maintenance:{:servers}', 'fastify-maintenance:{:servers}:until']
  for (const key of keys) t.equal(await redis.client.pttl(key), -1, key)
  const own = async () =>
    JSON.parse(String(Object.values(await redis.client.hgetall(keys[0] as string))[0] ?? '{}')) as ServerEntry
  t.equal((await own()).relistedAt, null)
  await redis.client.del(keys[1] as string)
  await app.maintenance.set(true)
  await until('noticed', async () => typeof (await own()).relistedAt === 'string')
  t.match(await redis.client.info('commandstats'), /cmdstat_evalsha/)
  await redis.client.script('FLUSH')
  await app.maintenance.set(false)
  t.equal(app.maintenance.active, false, 'lost scripts are sent to Redis again')
  await app.close()
  await until('goodbye', async () => (await own() as ServerEntry).left)
})

async function listen (app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/** Sends a request whose client hangs up once the handler is running. @returns when it has hung up */
async function hangUp (app: FastifyInstance, entered: () => boolean, http2: boolean): Promise<void> {
  const port = await listen(app)
  const stop = http2 ? overHttp2(port) : overHttp1(port)
  await until('it is running', entered)
  stop()
}

function overHttp1 (port: number): () => void {
  const request = httpRequest({ port, host: '127.0.0.1', path: '/', agent: false }).on('error', () => {})
  request.end()
  return () => request.destroy()
}

function overHttp2 (port: number): () => void {
  const session = connectHttp2(`http://127.0.0.1:${port}`).on('error', () => {})
  const stream = session.request({ ':path': '/' }).on('error', () => {})
  return () => {
    stream.close(8)
    session.close()
  }
}

const HANDLERS: Record<string, (app: FastifyInstance, work: () => Promise<void>) => void> = {
  'an async handler that returns a value': (app, work) => app.get('/', async () => { await work(); return 'done' }),
  'an async handler that throws': (app, work) => app.get('/', async () => {
    await work(); throw new Error('expected')
  }),
  'an async handler that returns an object': (app, work) => app.get(
    '/',
    async () => { await work(); return { done: true } }
  ),
  'a callback that answers': (app, work) => app.get(
    '/',
    (_request, reply) => { work().then(() => reply.send('done')) }
  ),
  'an async handler that has begun a hijacked reply': (app, work) => app.get('/', async (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200).write('begun')
    await work()
    reply.raw.end()
  }),
  'a not-found handler': (app, work) => app.setNotFoundHandler(async () => { await work(); return 'nothing' })
}

for (const http2 of [false, true]) {
  for (const [name, route] of Object.entries(HANDLERS)) {
    t.test(`a client hangs up over HTTP/${http2
      ? 2
      : 1}: ${name} counts until it has settled`, { buffered: true }, async t => {
      let release = () => {}
      let isAtWork = false
      const { app } = await createApp(t, {}, { http2 } as object)
      route(app, () => new Promise(resolve => {
        isAtWork = true
        release = resolve
      }))
      await hangUp(app, () => isAtWork, http2)
      await app.maintenance.set(true)
      await t.rejects(app.maintenance.drained({ timeout: 300 }), { code: 'FST_ERR_MAINTENANCE_DRAIN', inFlight: 1 })
      release()
      await t.resolves(app.maintenance.drained({ timeout: 30_000 }))
      await until('no request is kept', () => app.maintenance.status().inFlight === 0)
    })
  }
}

t.test('a request whose handler never settles counts for a minute after its client hangs up, and is named', { buffered: false }, async t => {
  const { app, lines } = await createApp(t)
  let isAtWork = false
  app.get('/', async () => {
    isAtWork = true
    await new Promise(() => {})
  })
  await hangUp(app, () => isAtWork, false)
  await app.maintenance.set(true)
  await t.rejects(app.maintenance.drained({ timeout: 200 }), {
    code: 'FST_ERR_MAINTENANCE_DRAIN', routes: { 'GET /': 1 }
  })
  const { now } = performance
  t.teardown(() => { performance.now = now })
  performance.now = () => now.call(performance) + 61_000
  await until('it no longer counts', () => app.maintenance.status().inFlight === 0)
  performance.now = now
  t.match(lines.filter(({ level }) => level === 40).map(({ msg }) => msg), [
    /GET \/ never settled after its client hung up: no wait counts it/
  ])
})

t.test("a handler's thenable is not called twice", { buffered: true }, async t => {
  const { app } = await createApp(t)
  let asked = 0
  let isAtWork = false
  app.get('/', () => ({
    then (resolve: (value: string) => void) {
      asked++
      isAtWork = true
      setTimeout(() => resolve('done'), 300)
    }
  }) as never)
  await hangUp(app, () => isAtWork, false)
  await until('it has ended', () => app.maintenance.status().inFlight === 0)
  t.equal(asked, 1)
})

t.test('tracked work that an earlier request begins on a closed site counts; other work does not', { buffered: true }, async t => {
  const infos: string[] = []
  const log = { info: (_fields: object, text: string) => { infos.push(text) } } as never
  let isDraining = false
  let gate = { active: false, epoch: 1 }
  const { track, running } = createTracker({ site: 'shop', gate: () => gate, hasRequestsBefore: () => isDraining, log })
  const pending = () => new Promise<void>(() => {})
  gate = { active: true, epoch: 2 }
  track(pending(), 'migration')
  t.strictSame([running(), infos.length], [[], 1])
  isDraining = true
  track(pending(), 'mail')
  isDraining = false
  track(() => pending(), 'receipt')
  t.strictSame(running(), [{ name: 'mail', epoch: 1 }, { name: 'receipt', epoch: 1 }])
  const { app, lines } = await startApp(t, sharedStore())
  await app.maintenance.set(true)
  await app.maintenance.track(async () => {}, 'report')
  t.ok(lines.some(({ msg }) => /'report' began while site 'default' was closed/.test(msg)))
})

t.test('a fence is up until the first contact, by two clocks, and down only after a read', { buffered: false }, async t => {
  const warnings: string[] = []
  const fence = createFence({ after: 1000 }, { info () {}, warn: (text: string) => { warnings.push(text) } } as never)
  const changes: boolean[] = []
  fence.onChange(() => changes.push(fence.isUp))
  fence.lower()
  t.equal(fence.check(), true, 'no contact yet')
  fence.extend(instant())
  t.equal(fence.check(), true, 'no read yet')
  fence.lower()
  t.equal(fence.check(), false)
  await sleep(600)
  fence.extend(instant())
  await sleep(600)
  t.equal(fence.check(), false, 'extended')
  await until('it goes up without a request', () => fence.isUp)
  for (const clock of [performance, Date]) {
    fence.extend(instant())
    fence.lower()
    t.equal(fence.check(), false)
    const { now } = clock
    clock.now = () => now.call(clock) + 2000
    t.equal(fence.check(), true, 'a pause by only one clock')
    clock.now = now
  }
  fence.close()
  t.strictSame(changes, [false, true, false, true, false, true])
  t.equal(warnings.length, 3)
})

t.test('a fenced server closes itself, logs it, and opens once others see it again', { buffered: true }, async t => {
  const store = sharedStore()
  const { app, lines } = await createApp(t, { store, fence: { after: '2s' } })
  app.get('/', async () => 'open')
  app.get('/off', { config: { maintenance: 'off' } }, async () => 'always')
  await app.ready()
  const status = async (url = '/') => (await app.inject(url)).statusCode
  await until('open', async () => await status() === 200)
  t.ok(lines.some(
    ({ msg }) => /closes itself after 2000 ms without contact to the store: losing the store closes the site/.test(msg)
  ))
  const [id = ''] = store.entries.keys()
  t.equal(store.get(id)?.fence, 2000)
  store.broken.heartbeat = true
  await until('closed', async () => await status() === 503)
  t.equal(await status('/off'), 200)
  t.match(app.maintenance.status(), { active: true, mode: 'full', source: 'fenced' })
  // others close the site; this one must not open before it has read the change
  store.broken.read = true
  store.broken.heartbeat = false
  await until('others see it again', () => store.get(id)?.sites[0]?.active === true)
  await sleep(1000)
  t.equal(await status(), 503)
  store.broken.read = false
  await until('open again', async () => await status() === 200)
  t.match(app.maintenance.status(), { active: false, source: 'store' })
  t.match(await app.maintenance.set(true, { wait: '20s' }), { active: true, source: 'store' })
  t.match(await app.maintenance.set(false, { wait: '20s' }), { active: false })
})

t.test('a fenced server that was frozen blocks the first request, and catches up', { buffered: false }, async t => {
  const store = sharedStore()
  const { app } = await createApp(t, { store, fence: {} })
  app.get('/', async () => 'open')
  await app.ready()
  t.equal((await app.inject('/')).statusCode, 200)
  const { now } = performance
  t.teardown(() => { performance.now = now })
  performance.now = () => now.call(performance) + 13_000
  t.equal((await app.inject('/')).statusCode, 503)
  performance.now = now
  await app.maintenance.set(true)
  await until('the fence is down', () => app.maintenance.status().source === 'store')
  t.equal((await app.inject('/')).statusCode, 503)
})

t.test('the option fence: invalid values', { buffered: true }, async t => {
  for (const [options, text] of [
    [
      { fence: {} },
      /option 'fence' needs a store that keeps servers, and the store 'memory' is known to this process only/
    ],
    [{
      fence: {}, store: { ...sharedStore(), heartbeats: undefined }
    }, /this store has no heartbeat\(\) and heartbeats\(\)/],
    [{ fence: { after: '15s' }, store: sharedStore() }, /fence\.after/],
    [{ fence: true, store: sharedStore() }, /fence/]
  ] as const) await t.rejects(createApp(t, options as object), { code: 'FST_ERR_MAINTENANCE_OPTION', message: text })
  const { app } = await startApp(t, sharedStore(), { fence: {}, pinned: 'open' })
  t.match(app.maintenance.status(), { active: false, source: 'pinned' }, 'a pinned server has none')
})

async function command (args: string[]) {
  let out = ''
  let err = ''
  const code = await main(args, {}, { out: text => { out += text }, err: text => { err += text } })
  return { code, out, err }
}

t.test('the command: lost, pinned and unready servers by name, and --assume-dead', { buffered: true }, async t => {
  const file = stateFile(t)
  const servers = createFileServers(file)
  const { app } = await createApp(t, { store: { file } })
  await app.ready()
  await servers.heartbeat('other', JSON.stringify(entry({ seenAt: ago(20_000) })), 10 * MINUTE)
  const store = ['--store', `file:${file}`]
  t.match(await command(['status', 'default', ...store]), { code: 0, out: /app-2 \(process 7\) is lost, last seen/ })
  const early = await command(['on', '--wait=5s', '--json', ...store])
  t.equal(early.code, 3)
  t.match(JSON.parse(early.out).sites[0], {
    active: true, safe: false, lost: [{ id: 'other', lost: true }], unready: [], pinned: []
  })
  const text = await command(['on', '--wait=5s', ...store])
  t.match(text, {
    code: 3,
    out: /1 of 1 server closed, 0 requests running, 1 lost\n/,
    err: /not safe after \d+ ms, but the change stands: .*app-2 \(process 7\) is lost/
  })
  const assumed = await command(['on', '--wait=30s', '--assume-dead', '--json', ...store])
  t.equal(assumed.code, 0, assumed.err)
  t.match(JSON.parse(assumed.out).sites[0], { safe: true, lost: [], servers: [{ lost: false }] })
  await servers.heartbeat('other', JSON.stringify(entry({ seenAt: ago(20_000) })), 10 * MINUTE)
  t.match(await command(['run', '--wait=30s', '--assume-dead', ...store, '--', 'true']), {
    code: 0, err: /still waiting: app-2 \(process 7\) is lost[^]*is closed, running true/
  })
  t.match(await command(['off', '--assume-dead', ...store]), { code: 2, err: /add --wait/ })

  await servers.heartbeat('pinned', JSON.stringify(
    entry({ id: 'pinned', sites: [{ site: 'default', revision: 0, active: false, pinned: true, draining: {} }] })
  ), MINUTE)
  const pinned = await command(['on', '--wait=30s', '--json', ...store])
  t.equal(pinned.code, 3)
  t.match(JSON.parse(pinned.out).sites[0], { safe: false, pinned: [{ id: 'pinned' }], lost: [] })
})

t.test('a process that was frozen reads the state before it answers a new connection', { buffered: false }, async t => {
  const store = sharedStore()
  // it gets no hints
  let held: (() => void)[] | null = null
  /** The test decides when a read arrives. */
  const read = async (site: string) => {
    const record = await store.read(site)
    if (held !== null) await new Promise<void>(resolve => { held?.push(resolve) })
    return record
  }
  const { app } = await createApp(t, { store: { ...store, read, watch () {} } })
  app.get('/', async () => 'open')
  app.get('/off', { config: { maintenance: 'off' } }, async () => 'always')
  const port = await listen(app)
  const statusOf = async (path: string) => (await fetch(
    `http://127.0.0.1:${port}${path}`,
    { headers: { connection: 'close' } }
  )).status
  const other = await startApp(t, store)
  await other.app.maintenance.set(true)
  t.equal(await statusOf('/'), 200)
  const { now } = performance
  t.teardown(() => { performance.now = now })
  performance.now = () => now.call(performance) + 6000
  t.equal(await statusOf('/'), 503)
  performance.now = () => now.call(performance) + 12_000
  t.equal(await statusOf('/off'), 200)
  performance.now = now
  await other.app.maintenance.set(false)
  store.broken.read = true
  performance.now = () => now.call(performance) + 24_000
  t.equal(await statusOf('/'), 503, 'the last known state is kept if nothing can be read')
  store.broken.read = false
  const reads: (() => void)[] = held = []
  const arrived = async () => {
    const status = statusOf('/')
    await once(app.server, 'request')
    return { status }
  }
  performance.now = () => now.call(performance) + 36_000
  const first = await arrived()
  performance.now = () => now.call(performance) + 48_000
  const second = await arrived()
  await other.app.maintenance.set(true)
  await until('the first read has begun', () => reads.length === 1)
  reads[0]?.()
  t.equal(await first.status, 200, 'the site was open at that read')
  await until('the second read has begun', () => reads.length === 2)
  const third = await arrived()
  reads[1]?.()
  t.strictSame(
    [await second.status, await third.status],
    [503, 503],
    'a read for an earlier freeze does not let them through'
  )
  held = null
  performance.now = now
})
