import { writeFileSync } from 'node:fs'
import t from 'tap'
import { closeSite, openSite } from '../lib/state/edit.ts'
import { updateRecord } from '../lib/state/write.ts'
import { createSynchroniser } from '../lib/state/sync.ts'
import { createQueue, createSharedRun } from '../lib/util/queue.ts'
import type { Maintenance, MaintenanceStore, WriteOptions } from '../types/index.ts'
import { createApp, stateFile, until } from './fixtures/app.ts'
import { CLOSED, freshRecord } from './fixtures/records.ts'
import { createTestStore, never } from './fixtures/store.ts'

t.test('boot: a site without a record is open; a stored record applies at once', async t => {
  const store = createTestStore()
  t.match((await createApp(t, { store })).app.maintenance.status(), {
    active: false, source: 'store', revision: 0, store: { kind: 'custom', connected: true, error: null }
  })
  store.records.set('default', freshRecord([{ message: 'stored' }]))
  const { app, lines } = await createApp(t, { store })
  t.match(app.maintenance.status(), { active: true, source: 'store', message: 'stored' })
  t.strictSame(lines.filter(line => line.level >= 30).map(line => line.msg), [
    "maintenance: site 'default' is now closed (full)",
    "maintenance: everyone is blocked from site 'default'. Reopen with: app.maintenance.for('default').set(false)"
  ])
})

t.test('boot: while the store cannot be reached, `whenUnknown` applies', async t => {
  for (const closed of [true, false]) {
    const store = createTestStore()
    store.beforeRead = () => Promise.reject(new Error('connection refused'))
    const { app, lines } = await createApp(t, { store, whenUnknown: closed ? 'closed' : 'open' })
    t.match(app.maintenance.status(), {
      active: closed, source: 'unknown', store: { connected: false, lastReadAt: null, error: 'connection refused' }
    })
    t.equal((await app.inject('/')).statusCode, closed ? 503 : 404)
    store.hint()
    await app.maintenance.refresh()
    t.equal(lines.filter(line => line.level === 50).length, 1, 'logged once, not at each attempt')
    store.beforeRead = async () => {}
    store.records.set('default', freshRecord(closed ? [] : CLOSED))
    store.hint()
    await until('caught up', () => app.maintenance.active === !closed)
    t.match(app.maintenance.status(), { source: 'store', store: { connected: true, error: null } })
    t.ok(lines.some(line => line.msg === "maintenance: store of site 'default' is reachable again"))
  }
})

t.test('boot: a mute store delays it for less than 5 s', async t => {
  const store = createTestStore()
  store.beforeRead = never
  const { app } = await createApp(t, { store, whenUnknown: 'closed' })
  await app.ready()
  t.match(app.maintenance.status(), { source: 'unknown', active: true, store: { error: 'no answer within 3000 ms' } })
})

t.test('unreadable: closed at boot, until it is set again', async t => {
  for (const garbage of [
    '', 'on', '{"v":1}', '{"v":2}', freshRecord([], { revision: 2 ** 53 }),
    freshRecord([], { revision: Date.now() + 2 * 86_400_000 })
  ]) {
    const store = createTestStore()
    store.records.set('default', garbage)
    const { app, lines } = await createApp(t, { store })
    t.match(app.maintenance.status(), { active: true, source: 'unreadable', revision: 0 })
    t.equal((await app.inject('/')).statusCode, 503)
    t.equal(lines.filter(line => line.level === 50).length, 1)
    await app.maintenance.set(false)
    t.match(app.maintenance.status(), { active: false, source: 'store', store: { error: null } })
    t.equal((await app.inject('/')).statusCode, 404)
  }
})

t.test('unreadable while running: the last known state is kept', async t => {
  for (const on of [true, false]) {
    const store = createTestStore()
    const { app } = await createApp(t, { store })
    const { revision } = await app.maintenance.set(on)
    store.records.set('default', '{"on":')
    t.match(await app.maintenance.refresh(), {
      active: on, revision, source: 'store', store: { connected: true, error: /not JSON/ }
    })
    t.match(await app.maintenance.set(!on), { active: !on, store: { error: null } })
  }
})

t.test('unreadable, but the store knows its revision: it is overwritten anyway', async t => {
  const store = createTestStore()
  store.records.set('default', '{"revision":123,"windows":"none"}')
  const write: MaintenanceStore['write'] = store.write
  // a store that keeps the revision separately, and has one that the record does not show
  let rejected = 0
  store.write = async (site, text, { revision, expectedRevision }: WriteOptions) => {
    if (expectedRevision === undefined) return write(site, text, { revision })
    rejected++
    throw Object.assign(new Error('conflict'), { code: 'FST_ERR_MAINTENANCE_CONFLICT' })
  }
  const { app } = await createApp(t, { store })
  t.match(await app.maintenance.set(false), { active: false, source: 'store' })
  t.equal(rejected, 0, 'unreadable records are not compared')
})

t.test('unreadable at boot, then gone: only a record opens the site', async t => {
  const store = createTestStore()
  store.records.set('default', 'garbage')
  const { app } = await createApp(t, { store })
  store.records.delete('default')
  t.match(await app.maintenance.refresh(), {
    active: true, source: 'unreadable', store: { error: /is missing, and the one before it was unreadable/ }
  })
  t.match(await app.maintenance.set(false), { active: false, source: 'store' })
})

t.test('a record that disappeared, or was replaced by an older one, is repaired', async t => {
  const store = createTestStore()
  const { app, lines } = await createApp(t, { store })
  await app.maintenance.set(true, { message: 'old' })
  const old = store.records.get('default') as string
  const { revision } = await app.maintenance.set(true, { message: 'new' })
  const damages = { missing: () => store.records.delete('default'), older: () => store.records.set('default', old) }
  for (const [name, damage] of Object.entries(damages)) {
    damage()
    const status = await app.maintenance.refresh()
    t.match(status, {
      active: true,
      message: 'new',
      revision,
      store: { error: name === 'missing' ? 'the state record is missing' : /is older than the known one/ }
    })
    await until('repaired', () => JSON.parse(store.records.get('default') ?? '{}').revision === revision)
    await until('repaired', () => app.maintenance.status().store.error === null)
  }
  t.equal(lines.filter(line => line.msg.includes('repaired the record')).length, 2)
  await app.maintenance.set(false)
  store.records.delete('default')
  await app.maintenance.refresh()
  await until('open is a record too', () => JSON.parse(store.records.get('default') ?? '{}').windows?.length === 0)
})

t.test('a repair never overwrites a faster change', async t => {
  const store = createTestStore()
  const { app } = await createApp(t, { store })
  await app.maintenance.set(true)
  store.records.delete('default')
  const newer = freshRecord([], { revision: Date.now() + 1000 })
  // between the repair's read and its write
  store.beforeWrite = async () => {
    store.records.set('default', newer)
    store.beforeWrite = async () => {}
  }
  await app.maintenance.refresh()
  await until('repair tried', () => store.writes === 2)
  t.equal(store.records.get('default'), newer)
  await app.maintenance.refresh()
  t.equal(app.maintenance.active, false)

  store.records.delete('default')
  await app.maintenance.refresh()
  store.records.set('default', 'garbage')
  const { reads } = store
  await until('the repair has read', () => store.reads > reads)
  t.equal(store.records.get('default'), 'garbage', 'a corrupt record is not repaired automatically')
})

t.test('a read that began before a write does not revert it', async t => {
  const store = createTestStore()
  const { app, lines } = await createApp(t, { store })
  await app.maintenance.set(false)
  let release = () => {}
  store.afterRead = () => new Promise(resolve => { release = resolve })
  const late = app.maintenance.refresh()
  await until('reading', () => release.name !== 'release')
  store.afterRead = async () => {}
  await app.maintenance.set(true)
  release()
  t.match(await late, { active: true, store: { error: null } })
  t.equal(lines.filter(line => line.level >= 50).length, 0)
})

t.test('a burst of hints causes one running read and one more', async t => {
  const store = createTestStore()
  const { app } = await createApp(t, { store })
  await until('the read after the watch', () => store.reads === 2)
  for (let i = 0; i < 20_000; i++) store.hint()
  await app.maintenance.refresh()
  t.ok(store.reads <= 5, `${store.reads} reads`)
})

t.test('a mirror that gets two states at once keeps the newer one', async t => {
  const [store, mirror] = [createTestStore(), createTestStore()]
  const log = { info () {}, warn: () => t.fail('nothing to log'), error () {} }
  const sync = createSynchroniser({
    store, mirror, site: 'default', log: log as never, adopt: async () => {}, onRead () {}
  })
  await sync.start()
  const write = mirror.write.bind(mirror)
  let attempts = 0
  let written = () => {}
  const first = new Promise<void>(resolve => { written = resolve })
  mirror.write = async (...record) => {
    const attempt = ++attempts
    // the second one reads before the first one writes, and writes after it
    if (attempt === 1) await until('both have read', () => attempts === 2)
    if (attempt === 2) await first
    await write(...record).finally(written)
  }
  await sync.write({ edit: closeSite({}) })
  await sync.write({ edit: openSite({}) })
  await until('the newer one', () => (mirror.records.get('default') ?? '').includes(
    `"revision":${sync.local.record.revision}`
  ))
  t.equal(attempts, 3, 'the overtaken one has retried')
  t.match(JSON.parse(mirror.records.get('default') ?? ''), { windows: [] })
})

t.test('the next read retries a state that could not be adopted', async t => {
  const store = createTestStore()
  const errors: string[] = []
  const log = { info () {}, warn () {}, error: (_object: unknown, message: string) => { errors.push(message) } }
  let fails = true
  const sync = createSynchroniser({
    store,
    site: 'default',
    log: log as never,
    adopt: async () => {
      if (fails) {
        throw new Error('no memory')
      }
    },
    onRead () {}
  })
  store.records.set('default', freshRecord(CLOSED))
  await sync.start()
  t.match(sync.local, { source: 'unknown' })
  t.strictSame(errors, ["maintenance: site 'default' could not adopt its state: no memory"])
  fails = false
  await sync.refresh()
  t.match(sync.local, { source: 'store', record: { windows: [{}] } })
  sync.close()
  const { reads } = store
  await sync.refresh()
  t.equal(store.reads, reads, 'closed: no more reads')
})

t.test("times far ahead of the store's clock make a record unreadable, and cancel nothing", async t => {
  const schedule = { cron: '* * * * *', duration: '1m' }
  for (const ahead of [2 * 86_400_000, 1000 * 365 * 86_400_000]) {
    const store = createTestStore()
    const { app } = await createApp(t, { store, schedule })
    t.equal(app.maintenance.active, true)
    store.records.set('default', freshRecord([], { at: new Date(Date.now() + ahead).toISOString() }))
    t.match(await app.maintenance.refresh(), {
      active: true, store: { error: /at is .*, more than a day ahead of the clock/ }
    })
  }
  const store = Object.assign(createTestStore(), { now: () => Date.now() + 5 * 86_400_000 })
  const { app } = await createApp(t, { store })
  await app.maintenance.set(true)
  t.match(
    await app.maintenance.refresh(),
    { active: true, store: { error: null } },
    "by the store's clock, not the server's"
  )
})

t.test("a megabyte of garbage is repaired by set, and another site's garbage locks no one out", async t => {
  const store = createTestStore()
  store.records.set('a', 'x'.repeat(2 * 1024 * 1024)).set('b', JSON.stringify({ ['k'.repeat(64 * 1024)]: 1, v: 2 }))
  const { app } = await createApp(t, { store, site: 'c', sites: ['a', 'b', 'c'] })
  for (const [name, active] of [['a', true], ['b', true], ['c', false]] as const) {
    t.equal(app.maintenance.for(name).active, active)
  }
  for (const name of ['a', 'b', 'c']) {
    t.match(await app.maintenance.for(name).set(false), { active: false, source: 'store' })
  }
  const file = stateFile(t)
  writeFileSync(file, JSON.stringify({ v: 1, sites: { b: { ['k'.repeat(64 * 1024)]: '@'.repeat(64 * 1024) } } }))
  const beside = await createApp(t, { store: { file }, site: 'a', sites: ['a', 'b'] })
  t.match(beside.app.maintenance.status(), { active: false, source: 'store' })
  t.match(await beside.app.maintenance.set(true), { active: true })
  t.ok((beside.app.maintenance.for('b').status().store.error ?? '').length < 600)
  t.match(await beside.app.maintenance.for('b').set(false), { active: false })
})

t.test('an unreadable record stays closed, whatever window is added', async t => {
  const additions: Record<string, (maintenance: Maintenance) => Promise<unknown>> = {
    'a planned window': maintenance => maintenance.set(true, { startsAt: '+1h' }),
    'a run': maintenance => maintenance.run(() => {})
  }
  for (const [name, add] of Object.entries(additions)) {
    for (const loses of [false, true]) {
      const store = createTestStore()
      store.records.set('default', 'garbage')
      const { app } = await createApp(t, { store })
      if (loses) store.records.delete('default')
      await add(app.maintenance)
      t.match(app.maintenance.status(), { active: true, source: 'store', mode: 'full' }, name)
      t.match(await app.maintenance.set(false), { active: false })
    }
    const store = createTestStore()
    store.records.set('default', 'garbage')
    await updateRecord(store, 'default', { edit: closeSite({ startsAt: { after: 3_600_000 } }) })
    t.match(
      (await createApp(t, { store })).app.maintenance.status(),
      { active: true, source: 'store' },
      `${name}, by a new server`
    )
  }
})

t.test('the last known state is kept despite an unreadable record', async t => {
  const store = createTestStore()
  const { app } = await createApp(t, { store })
  store.records.set('default', 'garbage')
  await app.maintenance.run(() => t.equal(app.maintenance.active, true))
  t.equal(app.maintenance.active, false)
})

t.test('entries and times of other versions: valid parts are read', async t => {
  const store = createTestStore()
  const window = {
    id: 'x',
    kind: 'now',
    mode: 'full',
    at: '2026-01-01T01:00:00+01:00',
    startsAt: '2026-01-01T00:00:00Z',
    endsAt: '2999-01-01T00:00:00Z',
    ignoreRoutes: [null, '/a', { pattern: '/b' }, { pattern: 'no pattern' }],
    ignoreIps: [1, '10.0.0.0/8', 'no address'],
    onlyRoutes: []
  }
  store.records.set('default', JSON.stringify({ v: 2, revision: 5, at: '2026-01-01T00:00:00Z', windows: [window] }))
  const { app } = await createApp(t, { store })
  app.get('/b', async () => 'b')
  app.get('/c', async () => 'c')
  t.match(app.maintenance.status(), {
    active: true,
    source: 'store',
    changedAt: '2026-01-01T00:00:00.000Z',
    endsAt: '2999-01-01T00:00:00.000Z',
    windows: [{
      at: '2026-01-01T00:00:00.000Z',
      ignoreRoutes: [
        { pattern: '/b', description: null }, {}
      ],
      ignoreIps: ['10.0.0.0/8', 'no address']
    }]
  })
  t.equal((await app.inject('/b')).statusCode, 200)
  for (const onlyRoutes of [['/b', 'no pattern'], ['/b', 1], [{}]]) {
    store.records.set('default', JSON.stringify({
      v: 2, revision: Date.now(), at: '2026-01-01T00:00:00Z', windows: [{ ...window, onlyRoutes }]
    }))
    await app.maintenance.refresh()
    t.equal((await app.inject('/c')).statusCode, 503, 'the closed part is unknown, so the whole site is closed')
  }
})

t.test('queue: in series, and a failure stops nothing', async t => {
  const inTurn = createQueue()
  const order: number[] = []
  const slow = inTurn(async () => { await new Promise(resolve => setImmediate(resolve)); order.push(1) })
  const failing = inTurn(() => { order.push(2); throw new Error('once') })
  const last = inTurn(() => { order.push(3); return 'value' })
  await t.rejects(failing, { message: 'once' })
  t.equal(await last, 'value')
  await slow
  t.strictSame(order, [1, 2, 3])
})

t.test('a shared run: calls during a run share the next one', async t => {
  let runs = 0
  let finish = () => {}
  const run = createSharedRun(() => {
    if (++runs === 2) throw new Error('once')
    return new Promise(resolve => { finish = resolve })
  })
  const first = run()
  await until('it runs', () => runs === 1)
  const second = run()
  t.equal(run(), second)
  finish()
  await first
  await t.rejects(second, { message: 'once' })
  const third = run()
  await until('it runs again', () => runs === 3)
  finish()
  await third
})
