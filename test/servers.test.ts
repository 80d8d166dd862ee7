import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { sayGoodbyeForDead } from '../lib/servers/dead.ts'
import type { ServerEntry } from '../lib/servers/entry.ts'
import { createFileServers } from '../lib/stores/file/servers.ts'
import { processSpace } from '../lib/util/process-liveness.ts'
import type { ServerStatus } from '../types/index.ts'
import { createApp, startApp, stateFile, until, type LogLine } from './fixtures/app.ts'
import { recordOf, storedWindow } from './fixtures/records.ts'
import { beatingStore, slowApp, step } from './fixtures/requests.ts'
import { startRedis } from './fixtures/redis.ts'
import { sharedStore } from './fixtures/store.ts'
import { ago, entry, MINUTE } from './fixtures/server-entries.ts'

t.jobs = 4

t.test('servers(): only this one if the store keeps none', { buffered: true }, async t => {
  const { app } = await createApp(t)
  const [server, ...others] = await app.maintenance.servers()
  t.strictSame(others, [])
  t.match(server, {
    sites: [{ site: 'default', revision: 0, active: false, pinned: false, draining: {} }],
    pid: process.pid,
    inFlight: 0,
    streams: 0,
    draining: {},
    bypassPath: null,
    lost: false,
    version: /^\d/,
    host: /./,
    label: `${hostname()} (process ${process.pid})`,
    id: /^[0-9a-f-]{36}$/,
    startedAt: /Z$/,
    seenAt: /Z$/
  })
  await app.maintenance.set(true)
  t.match(await app.maintenance.servers(), [{ id: server?.id, sites: [{ active: true }] }])
  const pinned = await createApp(t, { pinned: 'closed', bypass: {} })
  t.match(await pinned.app.maintenance.servers(), [
    { sites: [{ active: true, pinned: true }], bypassPath: '/maintenance/bypass' }
  ])
})

t.test('servers(): others, oldest first, without garbage and without fields of later versions', { buffered: true }, async t => {
  const store = beatingStore()
  const { app } = await createApp(t, { store })
  await app.ready()
  t.equal(store.entries.size, 1)
  const [own] = await app.maintenance.servers()
  const served = own?.sites[0]
  const write = (id: string, entry: unknown) =>
    store.entries.set(id, typeof entry === 'string' ? entry : JSON.stringify(entry))
  write('old', { ...own, id: 'old', startedAt: '2001-01-01T00:00:00.000Z', later: 'more' })
  write('new', { ...own, id: 'new', startedAt: '2999-01-01T00:00:00.000Z', draining: { 'GET /': 1 } })
  const garbage: unknown[] = [
    '', 'no JSON', 'null', '7', '[]', '{}', { ...own, id: 7 }, { ...own, draining: { a: -1 } },
    { ...own, draining: null }, { ...own, seenAt: 'soon' }, { ...own, sites: [{ ...served, site: 'another' }] },
    { ...own, sites: [{ ...served, active: 1 }] }, { ...own, sites: [{ ...served, revision: undefined }] },
    { ...own, sites: [null] }, { ...own, sites: {} }, { ...own, label: 'x'.repeat(2 ** 20) }
  ]
  garbage.forEach((entry, i) => write(`garbage${i}`, entry))
  const servers = await app.maintenance.servers()
  t.strictSame(servers.map(({ id }) => id), ['old', own?.id, 'new'])
  t.strictSame(Object.keys(servers[0] ?? {}), Object.keys(servers[2] ?? {}))
  store.fail = 'list'
  await t.rejects(app.maintenance.servers(), {
    code: 'FST_ERR_MAINTENANCE_STORE', message: /gone fishing/, cause: { message: 'gone fishing' }
  })
})

t.test("servers(): a server's heartbeat follows its state, and ends when it closes", { buffered: true }, async t => {
  const store = beatingStore()
  const { app, begin } = await slowApp(t, { store })
  const heartbeat = () => JSON.parse([...store.entries.values()][0] ?? 'null') as ServerStatus
  const site = () => heartbeat().sites[0]
  t.match(heartbeat(), { sites: [{ active: false, revision: 0 }], inFlight: 0 })
  const [one, two] = [await begin(), await begin()]
  const { revision } = await app.maintenance.set(true)
  const began = performance.now()
  await until('reported at once', () => site()?.active === true && site()?.revision === revision &&
    heartbeat().inFlight === 2)
  t.strictSame([heartbeat().draining, site()?.draining], [{ 'GET /slow': 2 }, { 'GET /slow': 2 }])
  one()
  await until('reported while requests end', () => heartbeat().inFlight === 1)
  two()
  await until('reported without requests', () => heartbeat().inFlight === 0 &&
    Object.keys(heartbeat().draining).length === 0)
  for (const on of [false, true, false, true]) {
    await app.maintenance.set(on)
    await until(`reported as ${on ? 'closed' : 'open'}`, () => site()?.active === on)
  }
  t.ok(performance.now() - began < 20_000, 'faster than eight of the regular heartbeats, four seconds apart')
  await app.close()
  t.match(heartbeat(), { left: true, inFlight: 0, draining: {} }, 'its last heartbeat is a goodbye')
})

t.test('servers(): a store that rejects heartbeats is logged once per change, and retried', { buffered: true }, async t => {
  const store = beatingStore()
  store.fail = 'beat'
  const { app, lines } = await createApp(t, { store })
  await app.ready()
  const complaints = () =>
    lines.filter((line: LogLine) => line.level === 40 && /other servers cannot see this one: /.test(line.msg)).length
  t.equal(complaints(), 1)
  for (const on of [true, false]) await app.maintenance.set(on)
  await until('tried again', () => store.beating >= 3)
  t.equal(complaints(), 1)
  store.fail = ''
  await app.maintenance.set(true)
  await until('recovered', () => store.entries.size === 1)
  store.fail = 'beat'
  await app.maintenance.set(false)
  await until('logged again', () => complaints() === 2)
})

t.test('servers(): a heartbeat that hangs delays neither boot nor close, is logged and retried', { buffered: true }, async t => {
  const store = beatingStore()
  store.hang = 'beat'
  const { app, lines } = await createApp(t, { store })
  await app.ready()
  await until('logged', () => lines.some(line => /cannot see this one.*no answer within 3000 ms/.test(line.msg)))
  store.hang = ''
  await app.maintenance.set(true)
  await until('listed again', () => store.entries.size === 1)
  store.hang = 'beat'
  await app.maintenance.set(false)
  await t.resolves(app.close(), 'it does not wait for the goodbye')
})

t.test('servers(): changes during a heartbeat share the next one', { buffered: true }, async t => {
  const store = beatingStore()
  const revisions: number[] = []
  const go = step()
  const { app } = await createApp(t, {
    store: {
      ...store,
      heartbeat: async (_id, entry) => {
        revisions.push(JSON.parse(entry || '{}').sites?.[0].revision); await go.promise
      }
    }
  })
  await app.ready()
  for (let i = 0; i < 10; i++) await app.maintenance.set(i % 2 === 0)
  go.resolve()
  await until('reported', () => revisions.at(-1) === app.maintenance.status().revision)
  t.ok(revisions.length < 6, `${revisions.length} heartbeats for 10 changes`)
})

t.test('servers(): no heartbeat follows a goodbye', { buffered: true }, async t => {
  const store = beatingStore()
  const ttls: number[] = []
  const go = step()
  let hangs = false
  const { app } = await createApp(t, {
    store: {
      ...store,
      heartbeat: async (_id, _entry, ttl) => {
        ttls.push(ttl); if (hangs) await go.promise
      }
    }
  })
  await app.ready()
  hangs = true
  ttls.length = 0
  // the first heartbeat hangs, and later ones wait for it
  for (const on of [true, false]) await app.maintenance.set(on)
  await app.close()
  go.resolve()
  await until('goodbye', () => ttls.length === 2)
  t.strictSame(ttls, [615_000, 60_000])
})

t.test('servers(): a server is listed before it is ready, even if the store is slow', { buffered: true }, async t => {
  const store = beatingStore()
  const { app } = await createApp(t, {
    store: {
      ...store,
      heartbeat: async (...args) => {
        await sleep(2500); return store.heartbeat(...args)
      }
    }
  })
  await app.ready()
  t.equal(store.entries.size, 1)
})

t.test('servers(): an unlisted server retries soon', { buffered: true }, async t => {
  const store = beatingStore()
  store.fail = 'beat'
  const { app } = await createApp(t, { store })
  await app.ready()
  const { beating } = store
  let isLate = false
  const timer = setTimeout(() => { isLate = true }, 3500)
  await until('tried twice', () => store.beating >= beating + 2)
  clearTimeout(timer)
  t.notOk(isLate, "before a listed server's next heartbeat")
})

t.test('servers(): one that boots while the site closes sees the change, or is seen', { buffered: true }, async t => {
  const store = beatingStore()
  const { app } = await createApp(t, { store })
  // another server closes the site between the first read and heartbeat, and the hint is lost
  const other = await createApp(t, { store: { ...store, watch () {} } })
  await other.app.maintenance.set(true)
  t.equal(app.maintenance.active, false)
  await app.ready()
  t.equal(app.maintenance.active, true)
})

t.test('set(false) during runs reports whether their servers still exist', { buffered: true }, async t => {
  const store = beatingStore()
  const since = new Date().toISOString()
  const run = (pid: number) =>
    storedWindow({ id: `run ${pid}`, kind: 'run', host: 'web-1', pid, at: since, lease: null })
  const keepClosed = (...pids: number[]): void => {
    store.records.set('default', JSON.stringify({ ...recordOf(pids.map(run)), revision: Date.now() }))
  }
  keepClosed(1, 2, 3, 4, 5)
  const { app } = await createApp(t, { store })
  await app.ready()
  const [own] = await app.maintenance.servers()
  const write = (pid: number, entry: object, startedAt = '2001-01-01T00:00:00.000Z') =>
    store.entries.set(`${pid} ${startedAt}`, JSON.stringify({
      ...own, id: `${pid} ${startedAt}`, host: 'web-1', pid, startedAt, ...entry
    }))
  write(1, {})
  write(2, { seenAt: new Date(Date.now() - 16_000).toISOString() })
  write(3, { left: true })
  write(4, { host: 'web-2' })
  write(5, {}, '2999-01-01T00:00:00.000Z')
  const states = async () => {
    const error =
      await app.maintenance.set(false).then(() => null, (error: Error & { runs: { server: string }[] }) => error)
    return { message: error?.message, servers: error?.runs.map(({ server }) => server) }
  }
  const { message, servers } = await states()
  t.strictSame(servers, ['running', 'lost', 'stopped', 'unknown', 'unknown'])
  t.match(
    message,
    /on web-1 \(process 1\), since .*; on web-1 \(process 2\), whose server is lost, since .*; on web-1 \(process 3\), whose server has stopped, since .*\. Wait for it, or use force to end it$/
  )
  store.fail = 'list'
  t.strictSame((await states()).servers, Array(5).fill('unknown'), 'a list that cannot be read changes nothing')
  store.fail = ''
  store.hang = 'list'
  const list = app.maintenance.servers().catch(() => 'the list')
  t.strictSame(await Promise.race([
    list, states().then(({ servers }) => servers)
  ]), Array(5).fill('unknown'), 'a list that hangs delays it for a second')
  await list
  store.hang = ''
  keepClosed(2, 3)
  await app.maintenance.refresh()
  t.match(await states(), {
    message: /whose server has stopped, since [^.]*\.\d+Z\. Use force to end it$/, servers: ['lost', 'stopped']
  })
})

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

t.test('servers notice that the store has lost them, and log it', { buffered: true }, async t => {
  const store = sharedStore()
  const { app } = await startApp(t, store)
  const [id = ''] = store.entries.keys()
  t.equal(store.get(id)?.relistedAt, null)
  store.entries.clear()
  await app.maintenance.set(true)
  await until('it is listed again', () => store.get(id)?.relistedAt !== null && store.get(id) !== null)
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
