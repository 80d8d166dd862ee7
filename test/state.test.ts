import { writeFileSync } from 'node:fs'
import t from 'tap'
import { readServers } from '../lib/servers/server-list.ts'
import { closeSite, openSite } from '../lib/state/edit.ts'
import type { StateRecord, StoredWindow } from '../lib/state/record.ts'
import { updateRecord } from '../lib/state/write.ts'
import { createSynchroniser } from '../lib/state/sync.ts'
import { closeStore, followStore } from '../lib/state/poll.ts'
import { guardStore } from '../lib/stores/guard.ts'
import { createQueue, createSharedRun } from '../lib/util/queue.ts'
import { createSafeLog } from '../lib/util/safe-log.ts'
import { createFileHistory } from '../lib/stores/file/history.ts'
import type { Maintenance, MaintenanceStatus, MaintenanceStore, WriteOptions } from '../types/index.ts'
import { createApp, retried, stateFile, until } from './fixtures/app.ts'
import { storedWindow, textOf } from './fixtures/records.ts'
import { createTestStore, createTimedStore } from './fixtures/store.ts'

const record = (windows: readonly Partial<StoredWindow>[] = [], parts: Partial<StateRecord> = {}): string =>
  textOf(windows.map(storedWindow), { revision: Date.now(), at: new Date().toISOString(), ...parts })
const CLOSED = [{}]
const never = () => new Promise<never>(() => {})

t.test('boot: a site without a record is open; a stored record applies at once', async t => {
  const store = createTestStore()
  t.match((await createApp(t, { store })).app.maintenance.status(), {
    active: false, source: 'store', revision: 0, store: { kind: 'custom', connected: true, error: null }
  })
  store.records.set('default', record([{ message: 'stored' }]))
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
    store.records.set('default', record(closed ? [] : CLOSED))
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
    '', 'on', '{"v":1}', '{"v":2}', record([], { revision: 2 ** 53 }),
    record([], { revision: Date.now() + 2 * 86_400_000 })
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
  const newer = record([], { revision: Date.now() + 1000 })
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

t.test('set: a store that rejects, with its reason, and no change', async t => {
  const store = createTestStore()
  const { app } = await createApp(t, { store })
  const cause = new Error('READONLY replica')
  store.beforeWrite = () => Promise.reject(cause)
  await t.rejects(app.maintenance.set(true), {
    code: 'FST_ERR_MAINTENANCE_STORE', statusCode: 503, message: /nothing was changed: READONLY replica/, cause
  })
  store.beforeRead = () => Promise.reject(cause)
  await t.rejects(app.maintenance.set(true), { code: 'FST_ERR_MAINTENANCE_STORE' })
  t.match(app.maintenance.status(), { active: false, revision: 0 })
  store.beforeRead = () => Promise.reject('a string') // eslint-disable-line prefer-promise-reject-errors
  await t.rejects(app.maintenance.set(true), { code: 'FST_ERR_MAINTENANCE_STORE', message: /'a string'/ })
})

t.test('set: a mute store, and its late write', async t => {
  const store = createTestStore()
  const { app } = await createApp(t, { store })
  store.beforeRead = never
  await t.rejects(app.maintenance.set(true), {
    code: 'FST_ERR_MAINTENANCE_STORE', message: /no answer within 1\d+ ms/
  })
  store.beforeRead = async () => {}
  let answer = () => {}
  store.beforeWrite = () => new Promise(resolve => { answer = resolve })
  await t.rejects(app.maintenance.set(true, { message: 'late' }), {
    code: 'FST_ERR_MAINTENANCE_OUTCOME_UNKNOWN', message: /may or may not have been written/
  })
  t.equal(app.maintenance.active, false)
  answer()
  await app.maintenance.refresh()
  t.match(app.maintenance.status(), { active: true, message: 'late' }, 'the store is read again')
})

t.test('set: times out if others are always faster, and does not write afterwards', async t => {
  const store = createTestStore()
  const { app } = await createApp(t, { store })
  store.write = async () => { throw Object.assign(new Error(), { code: 'FST_ERR_MAINTENANCE_CONFLICT' }) }
  await t.rejects(app.maintenance.set(true), { code: /FST_ERR_MAINTENANCE_STORE/ })
  let answered = false
  store.write = async () => { answered = true }
  let release = () => {}
  store.beforeRead = () => new Promise(resolve => { release = resolve })
  await t.rejects(app.maintenance.set(true), { code: 'FST_ERR_MAINTENANCE_STORE' })
  release()
  store.beforeRead = async () => {}
  await app.maintenance.refresh()
  t.equal(answered, false)
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

t.test("history: newest first, at most 100; this process's if the store keeps none", async t => {
  const store = createTestStore()
  const { app } = await createApp(t, { store })
  for (let i = 0; i < 103; i++) await app.maintenance.set(i % 2 === 0, { by: `n${i}` })
  const history = await app.maintenance.history()
  t.equal(history.length, 100)
  t.match(history[0], {
    by: 'n102',
    kind: 'closed',
    mode: 'full',
    message: null,
    startsAt: null,
    endsAt: null,
    revision: app.maintenance.status().revision
  })
  t.strictSame((await app.maintenance.history({ limit: 2 })).map(entry => entry.by), ['n102', 'n101'])
  await t.rejects(app.maintenance.history({ limits: 1 } as never), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /unknown field 'limits'. Did you mean limit/
  })
  await t.rejects(app.maintenance.update({ message: 'x' }, { windows: 'a' } as never), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /unknown field 'windows'. Did you mean window/
  })
  await t.rejects(app.maintenance.update({ message: 'x' }, 'an ID' as never), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /the options is 'an ID', expected an object/
  })
  for (const limit of [0, 101, 1.5, '5' as unknown as number]) {
    await t.rejects(app.maintenance.history({ limit }), {
      code: 'FST_ERR_MAINTENANCE_CHANGE', message: /limit is .* expected an integer from 1 to 100/
    })
  }
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

t.test('history: beside a state file, shared by all its servers, also with simultaneous writes', async t => {
  const file = stateFile(t)
  const one = await createApp(t, { store: { file }, sites: ['default', 'b'] })
  const two = await createApp(t, { store: { file } })
  await Promise.all(Array.from(
    { length: 4 },
    (_, i) => retried(() => (i % 2 === 0 ? one : two).app.maintenance.set(true, { by: `n${i}` }))
  ))
  const history = await two.app.maintenance.history()
  t.strictSame([...new Set(history.map(entry => entry.by))].sort(), Array.from({ length: 4 }, (_, i) => `n${i}`))
  t.strictSame(history, await one.app.maintenance.history())
  t.strictSame(await one.app.maintenance.for('b').history(), [])
  await one.app.maintenance.for('b').set(true, { message: 'x'.repeat(10_000) })
  for (let i = 0; i < 6; i++) await one.app.maintenance.for('b').set(true, { message: `${i}`.repeat(10_000) })
  t.strictSame(
    (await one.app.maintenance.for('b').history()).map(entry => String(entry.message)[0]),
    ['5', '4', '3', '2'],
    'the oldest are removed'
  )
  t.strictSame(await two.app.maintenance.history(), history)
  writeFileSync(`${file}.history`, 'garbage')
  await t.rejects(one.app.maintenance.history(), { code: 'FST_ERR_MAINTENANCE_STORE' })
  await one.app.maintenance.set(false, { by: 'still' })
  t.equal(one.app.maintenance.active, false, 'the write is kept without its entry')
})

t.test('history: simultaneous writers lose no entry', async t => {
  const pages = createTestStore()
  const { appendHistory, listHistory } = createFileHistory(pages)
  await Promise.all(Array.from({ length: 5 }, (_, i) => appendHistory('x', `${i}`)))
  t.strictSame((await listHistory('x', 100)).sort(), ['0', '1', '2', '3', '4'])
  pages.beforeWrite = () => Promise.reject(new Error('disk full'))
  await t.rejects(appendHistory('x', '5'), { message: 'disk full' })
})

t.test('history: invalid entries are skipped', async t => {
  const store = Object.assign(createTestStore(), {
    listHistory: async () => ['garbage', record(CLOSED, { by: 'ops' })]
  })
  const { app } = await createApp(t, { store })
  t.match(await app.maintenance.history(), [{ kind: 'closed', by: 'ops' }])
})

t.test('following a store: polls, and continues if it cannot be watched or closed', async t => {
  const store = createTestStore()
  const warnings: string[] = []
  const log = { info () {}, error () {}, warn: (_object: unknown, message: string) => { warnings.push(message) } }
  store.watch = () => { throw new Error('EMFILE') }
  store.close = () => Promise.reject(new Error('stuck'))
  let refreshed = 0
  let closed = 0
  const site = {
    name: 'x', start: async () => { refreshed++ }, refresh: async () => { refreshed++ }, close: () => { closed++ }
  }
  const opened = { kind: 'custom', store, pollInterval: 5 } as const
  const stop = await followStore(opened, [site], log as never)
  t.equal(refreshed, 1)
  await until('polled', () => refreshed > 4)
  stop()
  await closeStore(opened, { isRunning: false, stop: () => Promise.reject(new Error('no goodbye')) }, log as never)
  t.equal(closed, 1)
  t.strictSame(warnings, [
    'maintenance: the store cannot be watched, it is only polled: EMFILE', 'maintenance: the store did not close: stuck'
  ])
})

t.test('closing: works if the store hangs; nothing is adopted afterwards', async t => {
  const store = createTestStore()
  store.close = never
  const { app } = await createApp(t, { store })
  await app.maintenance.set(true, { endsAt: new Date(Date.now() + 60_000) })
  let release = () => {}
  store.afterRead = () => new Promise(resolve => { release = resolve })
  const reading = app.maintenance.refresh()
  store.records.set('default', record([], { revision: Date.now() + 10_000 }))
  await until('reading', () => release.name !== 'release')
  await t.resolves(app.close())
  release()
  t.match(await reading, { active: true })
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

const CLOCKS: { [name: string]: () => unknown } = {
  throws: () => { throw new Error('clock away') },
  NaN: () => NaN,
  text: () => '12:00',
  microseconds: () => Date.now() * 1000,
  negative: () => -1,
  rejects: async () => { throw new Error('no such clock') }
}

for (const [name, clock] of Object.entries(CLOCKS)) {
  t.test(`a store whose clock fails (${name}): changes, windows and heartbeats continue, and the status shows it`, async t => {
    let now = clock
    const entries = new Map<string, string>()
    const store = Object.assign(createTestStore(), {
      now: () => now() as number,
      heartbeat: async (id: string, entry: string) => { entries.set(id, entry) },
      heartbeats: async () => [...entries.values()]
    })
    const { app, lines } = await createApp(t, { store })
    await app.ready()
    t.match(await app.maintenance.set(true, { endsAt: new Date(Date.now() + 2000) }), { active: true })
    t.match(await app.maintenance.refresh(), {
      active: true, store: { connected: true, error: /the store's clock failed, this server's is used: / }
    })
    t.equal((await app.inject('/')).statusCode, 503)
    await until('the window has ended', () => !app.maintenance.active)
    t.match(await readServers(guardStore(store).store, 'default'), [
      { sites: [{ site: 'default' }], pid: process.pid }
    ], 'others see it')
    t.match(await app.maintenance.set(true), { active: true })
    now = () => Date.now()
    t.match(await app.maintenance.set(false), { active: false, store: { error: null } })
    t.ok(lines.some(line => line.msg.includes('store error for site')))
  })
}

t.test('a store whose clock fails once continues with the last offset', async t => {
  let offset = 3_600_000
  const { store, clockError } = guardStore(Object.assign(createTestStore(), { now: () => Date.now() + offset + 0.5 }))
  t.ok(Number.isInteger(store.now?.()))
  offset = NaN
  t.ok(Math.abs((store.now?.() ?? 0) - Date.now() - 3_600_000) < 1000)
  t.match(clockError(), /now\(\) returned NaN, expected milliseconds since 1970/)
})

t.test('a store that throws synchronously is one that fails', async t => {
  const broken = () => { throw new Error('not connected') }
  const store = Object.assign(createTestStore(), {
    appendHistory: broken, listHistory: broken, heartbeat: broken, heartbeats: broken
  })
  const { app, lines } = await createApp(t, { store })
  await app.ready()
  t.match(await app.maintenance.set(true), { active: true }, 'the write is kept without its history entry')
  await t.rejects(app.maintenance.history(), { code: 'FST_ERR_MAINTENANCE_STORE', message: /not connected/ })
  await t.rejects(app.maintenance.servers(), { code: 'FST_ERR_MAINTENANCE_STORE', message: /not connected/ })
  t.ok(lines.some(line => /cannot see this one.*not connected/.test(line.msg)))
  Object.assign(store, { write: broken })
  await t.rejects(app.maintenance.set(false), { code: 'FST_ERR_MAINTENANCE_STORE', message: /not connected/ })
  Object.assign(store, { read: broken, close: broken })
  t.match(await app.maintenance.refresh(), { active: true, store: { connected: false, error: 'not connected' } })
  await app.close()
})

t.test('a store that returns no text', async t => {
  const store = Object.assign(createTestStore(), {
    listHistory: async () => 'x' as never, heartbeats: async () => Array(25_001).fill('')
  })
  let stored: unknown
  store.read = async () => stored as string
  const { app } = await createApp(t, { store })
  t.match(
    app.maintenance.status(),
    { active: false, source: 'store', store: { error: null } },
    'undefined: never written'
  )
  for (stored of [1, {}, Buffer.from('x')]) {
    t.match(await app.maintenance.refresh(), {
      active: false, store: { error: /the store returned .*, expected text/ }
    })
  }
  await t.rejects(app.maintenance.history(), { message: /it returned 'x', expected a list/ })
  await t.rejects(app.maintenance.servers(), { message: /it returned 25001 entries, at most 25000 are read/ })
})

t.test('changes that wait for one that hangs time out', async t => {
  const store = createTestStore()
  const { app } = await createApp(t, { store })
  await app.ready()
  store.write = never
  const errors =
    await Promise.all([1, 2, 3, 4].map(() => app.maintenance.set(true).then(() => t.fail('written'), error => error)))
  t.match([errors[0], errors[3]], [{ code: 'FST_ERR_MAINTENANCE_OUTCOME_UNKNOWN' }, {
    code: 'FST_ERR_MAINTENANCE_STORE', message: /no answer within \d+ ms/
  }])
})

t.test('history: entries of other versions, without their change', async t => {
  const entries = [textOf([storedWindow()], { revision: 7 }), textOf([], { revision: 6 })]
  const store = Object.assign(createTestStore(), { listHistory: async () => entries })
  const { app } = await createApp(t, { store })
  t.match(await app.maintenance.history(), [
    { revision: 7, kind: 'closed', mode: null }, { revision: 6, kind: 'opened' }
  ])
})

t.test('a store that hangs in its history or list of servers: nothing waits forever', async t => {
  const store = Object.assign(createTestStore(), { appendHistory: never, listHistory: never, heartbeats: never })
  const { app } = await createApp(t, { store })
  await Promise.all([
    app.maintenance.set(true).then(status => t.equal(status.active, true)),
    t.rejects(app.maintenance.history(), { message: /no answer within 3000 ms/ }),
    t.rejects(app.maintenance.servers(), { message: /no answer within 3000 ms/ })
  ])
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
  store.records.set('default', record(CLOSED))
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

t.test('a mirror that always reports a conflict is overwritten, not retried forever', async t => {
  const [store, mirror] = [createTestStore(), createTestStore()]
  const written: unknown[] = []
  mirror.write = async (_site, _record, { expectedRevision }: WriteOptions) => {
    written.push(expectedRevision)
    if (expectedRevision !== undefined) {
      throw Object.assign(new Error('conflict'), { code: 'FST_ERR_MAINTENANCE_CONFLICT' })
    }
  }
  const log = { info () {}, warn: () => t.fail('nothing to log'), error () {} }
  const sync = createSynchroniser({
    store, mirror, site: 'default', log: log as never, adopt: async () => {}, onRead () {}
  })
  await sync.write({ edit: closeSite({}) })
  await until('overwritten', () => written.length > 1)
  t.strictSame(written, [0, undefined])
})

t.test("times far ahead of the store's clock make a record unreadable, and cancel nothing", async t => {
  const schedule = { cron: '* * * * *', duration: '1m' }
  for (const ahead of [2 * 86_400_000, 1000 * 365 * 86_400_000]) {
    const store = createTestStore()
    const { app } = await createApp(t, { store, schedule })
    t.equal(app.maintenance.active, true)
    store.records.set('default', record([], { at: new Date(Date.now() + ahead).toISOString() }))
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

t.test('servers: entries that are too long are skipped', async t => {
  const store = Object.assign(createTestStore(), {
    heartbeats: async () => ['x'.repeat(2_000_000), 'garbage', 1 as never]
  })
  t.strictSame(await readServers(store, 'default'), [])
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
