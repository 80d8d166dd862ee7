import t from 'tap'
import { readServers } from '../lib/servers/server-list.ts'
import { checkOpening } from '../lib/state/change.ts'
import { closeSite, openSite } from '../lib/state/edit.ts'
import { updateRecord } from '../lib/state/write.ts'
import { createSynchroniser } from '../lib/state/sync.ts'
import { closeStore, followStore } from '../lib/state/poll.ts'
import { guardStore } from '../lib/stores/guard.ts'
import type { WriteOptions } from '../types/index.ts'
import { createApp, until } from './fixtures/app.ts'
import { freshRecord } from './fixtures/records.ts'
import { createTestStore, never } from './fixtures/store.ts'

// they mostly wait
t.jobs = 4

t.test('set: a store that rejects, with its reason, and no change', { buffered: true }, async t => {
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

t.test('set: a mute store, and its late write', { buffered: true }, async t => {
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

t.test('set: times out if others are always faster, and does not write afterwards', { buffered: true }, async t => {
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

t.test('following a store: polls, and continues if it cannot be watched or closed', { buffered: true }, async t => {
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

t.test('a hint whose argument is not the name of a site is a hint for all', { buffered: true }, async t => {
  const store = createTestStore()
  let onHint: (site?: string) => void = () => {}
  store.watch = listener => { onHint = listener }
  const { app } = await createApp(t, { store: { custom: store, pollInterval: '1h' } })
  for (const [i, hint] of [null, Buffer.from('default'), { site: 'default' }].entries()) {
    const revision = Date.now() + i * 1000
    store.records.set('default', freshRecord([], { revision }))
    onHint(hint as never)
    await until('adopted', () => app.maintenance.status().revision === revision)
  }
})

t.test('closing: works if the store hangs; nothing is adopted afterwards', { buffered: true }, async t => {
  const store = createTestStore()
  store.close = never
  const { app } = await createApp(t, { store })
  await app.maintenance.set(true, { endsAt: new Date(Date.now() + 60_000) })
  let release = () => {}
  store.afterRead = () => new Promise(resolve => { release = resolve })
  const reading = app.maintenance.refresh()
  store.records.set('default', freshRecord([], { revision: Date.now() + 10_000 }))
  await until('reading', () => release.name !== 'release')
  await t.resolves(app.close())
  release()
  t.match(await reading, { active: true })
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

t.test('a store whose clock fails once continues with the last offset', { buffered: true }, async t => {
  let offset = 3_600_000
  const { store, clockError } = guardStore(Object.assign(createTestStore(), { now: () => Date.now() + offset + 0.5 }))
  t.ok(Number.isInteger(store.now?.()))
  offset = NaN
  t.ok(Math.abs((store.now?.() ?? 0) - Date.now() - 3_600_000) < 1000)
  t.match(clockError(), /now\(\) returned NaN, expected milliseconds since 1970/)
})

t.test('a clock that was days ahead and is right again: the next change by others counts', { buffered: true }, async t => {
  let offset = 3 * 86_400_000
  const store = Object.assign(createTestStore(), { now: () => Date.now() + offset })
  const { app } = await createApp(t, { store })
  await app.maintenance.set(true)
  offset = 0
  t.match(await app.maintenance.refresh(), { active: true, store: { error: /more than a day ahead/ } }, 'it stays closed')
  await updateRecord(store, 'default', { edit: openSite(checkOpening({})) })
  t.match(await app.maintenance.refresh(), { active: false, store: { error: null } })
  offset = -3 * 86_400_000
  store.records.clear()
  t.match(await app.maintenance.refresh(), { active: false, store: { error: /missing/ } })
})

t.test('a store that throws synchronously is one that fails', { buffered: true }, async t => {
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

t.test('a store that returns no text', { buffered: true }, async t => {
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

t.test('changes that wait for one that hangs time out', { buffered: true }, async t => {
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

t.test('a store that hangs in its history or list of servers: nothing waits forever', { buffered: true }, async t => {
  const store = Object.assign(createTestStore(), { appendHistory: never, listHistory: never, heartbeats: never })
  const { app } = await createApp(t, { store })
  await Promise.all([
    app.maintenance.set(true).then(status => t.equal(status.active, true)),
    t.rejects(app.maintenance.history(), { message: /no answer within 3000 ms/ }),
    t.rejects(app.maintenance.servers(), { message: /no answer within 3000 ms/ })
  ])
})

t.test('a mirror that always reports a conflict is overwritten, not retried forever', { buffered: true }, async t => {
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

t.test('servers: entries that are too long are skipped', { buffered: true }, async t => {
  const store = Object.assign(createTestStore(), {
    heartbeats: async () => ['x'.repeat(2_000_000), 'garbage']
  })
  t.strictSame(await readServers(store, 'default'), [])
})

t.test('servers: a list with entries that are not text cannot be read', { buffered: true }, async t => {
  for (const odd of [1, null, undefined, { id: 'parsed by a driver' }]) {
    const store = Object.assign(createTestStore(), {
      heartbeat: async () => {},
      heartbeats: async () => [odd as never]
    })
    await t.rejects(readServers(store, 'default'), {
      code: 'FST_ERR_MAINTENANCE_STORE', message: /heartbeats\(\) returned .* in its list, expected text/
    })
    const { app } = await createApp(t, { store: { custom: store } })
    await app.ready()
    await t.rejects(app.maintenance.set(true, { wait: '1s' }), { code: 'FST_ERR_MAINTENANCE_DRAIN' })
  }
})
