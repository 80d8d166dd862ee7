import { join } from 'node:path'
import t from 'tap'
import { createSafeLog } from '../lib/util/safe-log.ts'
import type { MaintenanceStatus } from '../types/index.ts'
import { counter, createApp, until } from './fixtures/app.ts'
import { createTestStore, createTimedStore, never } from './fixtures/store.ts'

t.test('set: whole records, revisions, conflicts', async t => {
  const { app, lines } = await createApp(t)
  const first = await app.maintenance.set(true, {
    message: 'one', by: 'ops', ignoreRoutes: ['/a', { pattern: '/b', description: 'B' }], retryAfter: 60
  })
  t.match(first, {
    active: true, mode: 'full', message: 'one', by: 'ops', retryAfter: 60, site: 'default', source: 'store'
  })
  t.strictSame(first.windows[0]?.ignoreRoutes, [
    { pattern: '/a', description: null }, { pattern: '/b', description: 'B' }
  ])
  t.ok(Math.abs(Date.now() - first.revision) < 10_000, 'revisions follow the clock')
  t.equal(first.closedSince, first.changedAt)
  const second = await app.maintenance.set(true, { mode: 'read-only' })
  t.match(second, {
    message: null,
    by: null,
    mode: 'read-only',
    retryAfter: null,
    windows: [
      { id: first.windows[0]?.id, ignoreRoutes: [] }
    ]
  }, 'omitted fields get their defaults')
  t.equal(second.closedSince, first.closedSince, 'an edit does not change it')
  t.ok(second.revision > first.revision)
  await t.rejects(app.maintenance.set(false, { expectedRevision: first.revision }), {
    code: 'FST_ERR_MAINTENANCE_CONFLICT', message: new RegExp(`is ${second.revision}, expected ${first.revision}`)
  })
  t.equal(app.maintenance.active, true)
  await app.maintenance.set(false, { expectedRevision: second.revision, by: 'ops' })
  t.equal(app.maintenance.active, false)
  t.strictSame(lines.filter(line => line.level === 30).map(line => line.msg), [
    "maintenance: site 'default' is now closed (full); exempt: 2 ignored routes",
    "maintenance: site 'default' stays closed (read-only)",
    "maintenance: site 'default' is open again"
  ], 'one info line per change')

  const { revision } = app.maintenance.status()
  const winners = await Promise.allSettled(
    Array.from({ length: 5 }, () => app.maintenance.set(true, { expectedRevision: revision }))
  )
  t.equal(winners.filter(result => result.status === 'fulfilled').length, 1)
})

t.test('set: calls take effect in order, and each is a change and resolves with its own state', async t => {
  // rendering the bundled pages for each change would take most of the time
  const template = join(t.testdir({ 'page.eta': '<%= it.message %>' }), 'page.eta')
  const { app } = await createApp(t, { response: { template } })
  await app.ready()
  let calls = 0
  app.maintenance.onChange(() => { calls++ })
  const changes = await Promise.all(
    Array.from({ length: 10 }, (_, i) => app.maintenance.set(i % 2 === 0, { by: String(i) }))
  )
  t.strictSame(
    changes.map(({ active, by }) => [active, by]),
    changes.map((_, i) => [i % 2 === 0, String(i)]),
    'in order, each with its own state'
  )
  t.strictSame(changes.map(({ revision }) => revision), [
    ...new Set(changes.map(({ revision }) => revision))
  ].sort((a, b) => a - b))
  t.equal(calls, 10)
  t.strictSame((await app.maintenance.history({ limit: 10 })).map(({ by }) => by), changes.map((_, i) => String(9 - i)))
})

t.test('ignored routes of a record apply while it is current', async t => {
  const { app } = await createApp(t)
  app.get('/a', async () => 'a')
  app.get('/p/:id', async () => 'p')
  const status = async (url: string) => (await app.inject(url)).statusCode
  await app.maintenance.set(true)
  t.equal(await status('/a'), 503)
  await app.maintenance.set(true, { ignoreRoutes: ['/a', '/p/1'] })
  t.equal(await status('/a'), 200)
  t.equal(await status('/p/1'), 200)
  t.equal(await status('/p/2'), 503)
  await app.maintenance.set(true)
  t.equal(await status('/a'), 503)
  t.equal(await status('/p/1'), 503)
  t.equal(app.maintenance.status().counts.ignored, 2)
})

t.test('run: close, work, reopen, also if the work throws', async t => {
  const { app } = await createApp(t)
  t.equal(await app.maintenance.run(() => app.maintenance.active, { message: 'migrating' }), true)
  t.equal(app.maintenance.active, false)
  await t.rejects(
    app.maintenance.run(async () => { throw new Error('migration failed') }, { by: 'deploy' }),
    { message: 'migration failed' }
  )
  t.equal(app.maintenance.status().by, 'deploy')
  t.equal(app.maintenance.active, false)
  await t.rejects(app.maintenance.run('work' as unknown as () => void), { code: 'FST_ERR_MAINTENANCE_CHANGE' })
  await t.rejects(
    app.maintenance.run(() => t.fail('must not run'), { mode: 'half' as 'full' }),
    { code: 'FST_ERR_MAINTENANCE_CHANGE' }
  )
  t.equal(app.maintenance.active, false)
})

t.test('run: overlapping runs are counted', async t => {
  const { app } = await createApp(t)
  let endFirst = () => {}
  const first = app.maintenance.run(() => new Promise<void>(resolve => { endFirst = resolve }), { by: 'deploy' })
  await until('closed', () => app.maintenance.active)
  await app.maintenance.run(() => {})
  t.equal(app.maintenance.active, true, 'the first is still running')
  endFirst()
  await first
  t.equal(app.maintenance.active, false)
})

t.test('run: a change made meanwhile is kept', async t => {
  const { app } = await createApp(t)
  await app.maintenance.run(() => app.maintenance.set(true, { message: 'longer' }))
  t.match(app.maintenance.status(), { active: true, message: 'longer' })
  await app.maintenance.run(() => {}, { mode: 'read-only' })
  t.match(
    app.maintenance.status(),
    { active: true, mode: 'full', message: 'longer' },
    'a site closed by an operator stays closed'
  )
  await app.maintenance.run(async ({ signal }) => {
    await t.rejects(app.maintenance.set(false), { code: 'FST_ERR_MAINTENANCE_RUNNING', runs: [{ pid: process.pid }] })
    t.equal(app.maintenance.active, true)
    await app.maintenance.set(false, { force: true })
    t.match(signal.reason, { code: 'FST_ERR_MAINTENANCE_RUNNING' })
  })
  t.equal(app.maintenance.active, false)
})

t.test('run: a store failure at the end is logged and retried, and the result is kept', async t => {
  const records = new Map<string, string>()
  let broken = false
  const store = {
    read: async (site: string) => records.get(site) ?? null,
    async write (site: string, record: string) {
      if (broken) throw new Error('disk on fire')
      records.set(site, record)
    },
    watch () {},
    close () {}
  }
  const { app, lines } = await createApp(t, { store })
  t.equal(await app.maintenance.run(() => { broken = true; return 'done' }), 'done')
  t.equal(app.maintenance.active, true)
  const complaints = () => lines.filter(line => line.level === 50 &&
    line.msg === "maintenance: site 'default' stays closed after a run, until the store can be written: maintenance: the store failed, nothing was changed: disk on fire").length
  t.equal(complaints(), 1)
  broken = false
  await until('opened', () => !app.maintenance.active)
  await t.rejects(app.maintenance.run(() => {
    broken = true
    throw new Error('the work itself')
  }), { message: 'the work itself' })
  t.equal(complaints(), 2)
})

t.test('onChange: every record and every start and end of a window; failing listeners do not affect others', async t => {
  const changes: [MaintenanceStatus, MaintenanceStatus][] = []
  const store = createTimedStore()
  const { app, lines } = await createApp(t, { store, onChange: (status, previous) => changes.push([status, previous]) })
  app.maintenance.onChange(() => { throw new Error('listener') })
  app.maintenance.onChange((async () => { throw new Error('listener') }) as () => void)
  for (const useless of [undefined, null, 'listener']) {
    t.throws(() => app.maintenance.onChange(useless as never), {
      code: 'FST_ERR_MAINTENANCE_CHANGE', message: /the listener is .+, expected a function/
    })
  }
  let calls = 0
  const remove = app.maintenance.onChange(() => { calls++ })
  t.equal(changes.length, 0, 'an open site without a record is no change')
  await app.maintenance.set(true, { endsAt: new Date(store.time + 200), startsAt: new Date(store.time + 100) })
  remove()
  t.equal(app.maintenance.active, false)
  for (const turn of [2, 3]) {
    store.time += 100
    await until('a start or end', () => changes.length === turn)
  }
  t.strictSame(changes.map(([now, previous]) => [
    previous.active, previous.windows.length, now.active, now.windows.length
  ]), [
    [false, 0, false, 1], [false, 1, true, 1], [true, 1, false, 0]
  ])
  t.equal(calls, 1)
  await until('failing listeners logged', () => lines.filter(line => line.msg.includes('listener failed')).length === 6)
  t.strictSame(lines.filter(line => line.level === 30).map(line => line.msg.replace(/\d{4}-.*Z/g, 'T')), [
    "maintenance: site 'default' is open and closes at T",
    "maintenance: site 'default' is now closed (full), until T",
    "maintenance: everyone is blocked from site 'default'. Reopen with: app.maintenance.for('default').set(false)",
    "maintenance: site 'default' is open again"
  ])
  await app.maintenance.set(true, { startsAt: new Date(store.time + 60_000) })
  await app.maintenance.set(false)
  t.match(
    lines.findLast(line => line.level === 30)?.msg,
    /^maintenance: site 'default' is open and closes at /,
    'planned windows are kept'
  )
  await app.maintenance.cancel()
  t.equal(lines.findLast(line => line.level === 30)?.msg, "maintenance: site 'default' is open")
})

t.test('pinned: overrides the store, and rejects every change', async t => {
  for (const pinned of ['closed', 'open'] as const) {
    const enabled = pinned === 'closed'
    const { app } = await createApp(t, { pinned })
    const run = counter()
    app.get('/', run)
    app.get('/off', { config: { maintenance: 'off' } }, run)
    app.get('/on', { config: { maintenance: 'on' } }, async () => t.fail('never'))
    t.equal((await app.inject('/')).statusCode, enabled ? 503 : 200)
    t.equal((await app.inject('/off')).statusCode, 200)
    t.equal((await app.inject('/on')).statusCode, 503)
    t.equal(run.runs, enabled ? 1 : 2)
    t.match(app.maintenance.status(), {
      active: enabled,
      mode: enabled
        ? 'full'
        : null,
      source: 'pinned',
      revision: 0,
      changedAt: null,
      windows: [],
      store: { connected: false }
    })
    await t.rejects(app.maintenance.set(!enabled), {
      code: 'FST_ERR_MAINTENANCE_PINNED',
      message: `maintenance: this server is pinned ${pinned}; remove the option 'pinned' to switch at run time`
    })
    await t.rejects(app.maintenance.update({ message: 'x' }), { code: 'FST_ERR_MAINTENANCE_PINNED' })
    await t.rejects(app.maintenance.cancel(), { code: 'FST_ERR_MAINTENANCE_PINNED' })
    await t.rejects(app.maintenance.run(() => t.fail('must not run')), { code: 'FST_ERR_MAINTENANCE_PINNED' })
    t.match(await app.maintenance.refresh(), { source: 'pinned' })
  }
})

t.test('windows: a record that changes while closed stays in its window', async t => {
  const store = createTimedStore()
  const { app } = await createApp(t, { store })
  const windowId = () => app.maintenance.status().windows[0]?.id ?? null
  await app.maintenance.set(true)
  const first = windowId()
  t.type(first, 'string')
  await app.maintenance.set(true, { message: 'x' })
  t.equal(windowId(), first)
  store.records.delete('default')
  await app.maintenance.set(true, { endsAt: new Date(store.time + 50) })
  t.equal(windowId(), first, 'also if the store has lost it')
  store.time += 50
  await until('the window has ended', () => !app.maintenance.active)
  await app.maintenance.set(true)
  t.not(windowId(), first)
  await app.maintenance.set(false)
  t.equal(windowId(), null)
})

t.test('the site follows despite listeners that throw, reject, hang or change the state, and a log that throws', async t => {
  const store = createTestStore()
  const { app } = await createApp(t, { store })
  app.log.info = app.log.warn = app.log.error = () => { throw new Error('no log') }
  const seen: MaintenanceStatus['message'][] = []
  app.maintenance.onChange(() => { throw new Error('at once') })
  app.maintenance.onChange(async () => { throw new Error('later') })
  app.maintenance.onChange(never)
  app.maintenance.onChange(now => {
    seen.push(now.message)
    if (now.message === 'one') return app.maintenance.set(true, { message: 'two' }).then(() => {})
  })
  t.match(await app.maintenance.set(true, { message: 'one' }), { active: true })
  await until('changed by a listener', () => app.maintenance.status().message === 'two')
  await app.maintenance.set(false)
  t.strictSame(seen, ['one', 'two', null])
  createSafeLog({ info () { throw new Error('no log') } } as never).info('x')
})

t.test('set: a change that could not be read again is rejected', async t => {
  const { app } = await createApp(t, { store: createTestStore() })
  const routes = (count: number, length: number) =>
    Array.from({ length: count }, (_, i) => `/${i}${'x'.repeat(length)}`)
  await t.rejects(app.maintenance.set(true, { ignoreRoutes: routes(200, 6000) }), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /the change is too large/
  })
  await t.rejects(app.maintenance.set(true, { ignoreRoutes: routes(10_001, 1) }), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /ignoreRoutes is .* a list of at most 10000/
  })
  t.equal(app.maintenance.active, false)
})

t.test('update: null unsets each value', async t => {
  const { app } = await createApp(t, { store: createTestStore(), bypass: {} })
  const endsAt = '2999-01-01T00:00:00.000Z'
  const given = {
    message: 'x',
    mode: 'read-only',
    endsAt,
    retryAfter: 5,
    ignoreRoutes: [
      '/a'
    ],
    ignoreIps: ['10.0.0.0/8'],
    onlyRoutes: ['/b'],
    bypass: true
  } as const
  const unset = {
    message: null,
    mode: 'full',
    endsAt: null,
    retryAfter: null,
    ignoreRoutes: [],
    ignoreIps: [],
    onlyRoutes: [],
    bypass: false
  }
  for (const name of Object.keys(given) as (keyof typeof given)[]) {
    await app.maintenance.set(true, {
      ...given,
      ignoreRoutes: [...given.ignoreRoutes],
      ignoreIps: [...given.ignoreIps],
      onlyRoutes: [...given.onlyRoutes]
    })
    const { windows: [before] } = app.maintenance.status()
    const { windows: [after] } = await app.maintenance.update(JSON.parse(`{"${name}":null}`))
    t.strictSame(after, { ...before, [name]: unset[name] }, name)
  }
  t.match(await app.maintenance.refresh(), { active: true, store: { error: null } }, 'everything can be read again')
  for (const name of ['by', 'expectedRevision', 'wait']) {
    await t.rejects(
      app.maintenance.update({ message: 'x', [name]: null }),
      { code: 'FST_ERR_MAINTENANCE_CHANGE' },
      name
    )
  }
  await app.maintenance.set(false)
  await app.maintenance.set(true, { startsAt: '+1h' })
  t.match(
    await app.maintenance.update({ startsAt: null }),
    { active: true, windows: [{ kind: 'planned' }] },
    'a planned window starts now'
  )
})

t.test('unknown fields: did you mean', async t => {
  const { maintenance } = (await createApp(t)).app
  const unknown = {
    code: 'FST_ERR_MAINTENANCE_CHANGE', field: 'massage', message: /unknown field 'massage'\. Did you mean message\?/
  }
  await t.rejects(maintenance.set(true, { massage: 'x' } as never), unknown)
  await t.rejects(maintenance.update({ massage: 'x' } as never), unknown)
  await t.rejects(maintenance.run(() => {}, { massage: 'x' } as never), unknown)
  await t.rejects(maintenance.set(false, { forse: true } as never), { message: /Did you mean force\?/ })
  await t.rejects(maintenance.cancel('x', { bye: 'x' } as never), { message: /Did you mean by\?/ })
})

t.test('changes in the same millisecond all count', async t => {
  const store = createTimedStore()
  const { app } = await createApp(t, { store })
  const seen: boolean[] = []
  app.maintenance.onChange(({ active }) => { seen.push(active) })
  for (const on of [true, false, true]) await app.maintenance.set(on)
  for (const by of ['a', 'b']) await app.maintenance.update({ message: 'x', by })
  t.strictSame(seen, [true, false, true, true, true])
  t.strictSame((await app.maintenance.history()).map(({ by }) => by), ['b', 'a', null, null, null])
})
