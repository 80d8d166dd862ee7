import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mock } from 'node:test'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import maintenance, { outcomeUnknown } from '../index.ts'
import { leaveRun } from '../lib/state/edit.ts'
import type { StateRecord, StoredWindow } from '../lib/state/record.ts'
import { checkRun } from '../lib/state/run.ts'
import { createRuns } from '../lib/state/runs.ts'
import { createSchedule, NO_SCHEDULE } from '../lib/state/schedule.ts'
import { createTransitions } from '../lib/state/transitions.ts'
import { activeWindows, closedSince, momentOf, nextTransition, windowsAhead } from '../lib/state/window.ts'
import type { ScheduleOptions } from '../types/index.ts'
import { bareApp as makeApp, counter, createApp as makeReadyApp, stateFile, until } from './fixtures/app.ts'
import { recordOf, storedWindow, textOf } from './fixtures/records.ts'
import { createTestStore, createTimedStore } from './fixtures/store.ts'

const HOUR = 3_600_000
const at = (time: string): number => Date.parse(time)
const entry = { cron: '0 1 * * sun', duration: HOUR, timeZone: 'Europe/Berlin', mode: 'full', message: null } as const

// the library's timers are unref'd: without this, the process would exit while a test waits for one
const alive = setInterval(() => {}, 60_000)
t.teardown(() => clearInterval(alive))

/** Mocks the clock and the timers that read it, but not those of Fastify and the network. */
function useClock (t: { teardown (work: () => unknown): void }, now: string): (ms: number) => Promise<void> {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: at(now) })
  t.teardown(() => mock.timers.reset())
  return async ms => {
    for (let left = ms; left > 0; left -= 1000) {
      mock.timers.tick(Math.min(left, 1000))
      // a transition settles after some turns of the event loop
      for (let i = 0; i < 3; i++) await new Promise(resolve => setImmediate(resolve))
    }
  }
}

/** Teardowns run in reverse order: a stopped clock would keep an application from closing. */
const withClock = <T>(t: { teardown (work: () => unknown): void }, made: T): T => {
  t.teardown(() => mock.timers.reset())
  return made
}
const bareApp = (t: Parameters<typeof makeApp>[0]) => withClock(t, makeApp(t))
const createApp = async (...args: Parameters<typeof makeReadyApp>) => withClock(args[0], await makeReadyApp(...args))

t.test('windows start and end on time after a long wait, and after the machine was asleep', async t => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: at('2026-01-01T00:00:00Z') })
  t.teardown(() => mock.timers.reset())
  const clockReads: string[] = []
  const record = recordOf([storedWindow({ startsAt: '2026-03-01T00:00:00.000Z', endsAt: '2026-03-01T00:00:10.000Z' })])
  const expectNext = () => transitions.expect(nextTransition(record, NO_SCHEDULE, Date.now()))
  const onTransition = (): void => {
    clockReads.push(new Date().toISOString())
    expectNext()
  }
  const transitions = createTransitions(Date.now, onTransition, console as never)
  expectNext()
  mock.timers.setTime(at('2026-02-28T23:59:59.500Z'))
  mock.timers.tick(400)
  t.strictSame(clockReads, [])
  mock.timers.tick(100)
  t.strictSame(clockReads, ['2026-03-01T00:00:00.000Z'])
  mock.timers.tick(9_000)
  t.equal(clockReads.length, 1)
  mock.timers.tick(1_000)
  t.equal(clockReads[1], '2026-03-01T00:00:10.000Z')
  transitions.expect(null)
  mock.timers.tick(100_000)
  t.equal(clockReads.length, 2, 'no transition is left')
  transitions.expect(Date.now() + 1)
  transitions.close()
  transitions.expect(Date.now() + 1)
  mock.timers.tick(10)
  t.equal(clockReads.length, 2, 'closed')
})

t.test('windows: a transition that fails is logged, and an unfinished one is retried', async t => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: at('2026-01-01T00:00:00Z') })
  t.teardown(() => mock.timers.reset())
  const errors: string[] = []
  const log = { error: (_object: unknown, message: string) => { errors.push(message) } }
  let clockReads = 0
  const transitions = createTransitions(Date.now, () => {
    if (++clockReads === 3) throw new Error('no clock')
  }, log as never)
  transitions.expect(Date.now() + 10)
  mock.timers.tick(10)
  mock.timers.tick(1000)
  t.equal(clockReads, 2)
  mock.timers.tick(1000)
  t.strictSame(errors, ['maintenance: the clock could not be followed: no clock'])
  transitions.close()
})

t.test("windows: all servers follow the store's clock, if it has one", async t => {
  const store = Object.assign(createTestStore(), { now: () => Date.now() + 5 * 60_000 })
  const { app } = await createApp(t, { store })
  await t.rejects(app.maintenance.set(true, { endsAt: new Date(Date.now() + 4 * 60_000) }), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /a time in the future/
  })
  const status = await app.maintenance.set(true, {
    startsAt: new Date(Date.now() + 4.5 * 60_000), endsAt: new Date(Date.now() + 6 * 60_000)
  })
  t.equal(status.active, true)
  t.ok(Math.abs(status.revision - Date.now() - 5 * 60_000) < 10_000)
  const retryAfter = Number((await app.inject('/')).headers['retry-after'])
  t.ok(retryAfter > 50 && retryAfter <= 60, `${retryAfter}`)
})

t.test('windows: an announced end, and a change without one', async t => {
  const store = createTimedStore()
  const { app } = await createApp(t, { store })
  await app.maintenance.set(true, { endsAt: new Date(store.time + 100) })
  store.time += 100
  await until('the window has ended', () => !app.maintenance.active)
  await app.maintenance.set(true, { message: 'longer' })
  t.match((await app.inject('/')), { statusCode: 503, headers: { 'retry-after': '300' } })
})

t.test('schedule: a window that begins while the site is being closed never reverts the change', async t => {
  const pass = useClock(t, '2026-11-21T10:59:55Z')
  const schedule: ScheduleOptions = { cron: '0 12 * * *', duration: '2h', timeZone: 'Europe/Berlin', message: 'lunch' }
  const lost: number[] = []
  for (let moment = 0; moment < 120; moment += 3) {
    mock.timers.setTime(at('2026-11-21T10:59:55Z'))
    const { app } = bareApp(t)
    await app.register(maintenance, { schedule })
    await pass(4_900)
    const closing = app.maintenance.set(true, { message: 'operator' })
    for (let i = 0; i < moment; i++) await null
    await pass(1_000)
    await closing
    if (!app.maintenance.status().windows.some(({ active, message }) => active && message === 'operator')) {
      lost.push(moment)
    }
  }
  t.strictSame(lost, [])
})

t.test('upcoming: an announced window, for banners, until it begins or is cancelled', async t => {
  const { app } = await createApp(t)
  app.get('/', async request => request.maintenance.upcoming)
  t.equal((await app.inject('/')).body, 'null')
  const startsAt = new Date(Date.now() + HOUR)
  const upcoming = { startsAt: startsAt.toISOString(), endsAt: null, mode: 'read-only', message: 'soon' }
  const status = await app.maintenance.set(true, { startsAt, mode: 'read-only', message: 'soon' })
  t.strictSame(status.upcoming, upcoming)
  t.strictSame((await app.inject('/')).json(), upcoming)
  t.equal(app.maintenance.active, false)
  t.strictSame((await app.maintenance.set(false)).upcoming, upcoming, 'opening keeps announced windows')
  t.equal((await app.maintenance.cancel()).upcoming, null)
  t.equal((await app.inject('/')).body, 'null')
})

t.test('schedule: recurring windows in their time zone, with both daylight saving changes', async t => {
  const schedule = createSchedule([entry])
  const windows = (from: string) => {
    const found = []
    for (let now = at(from), i = 0; i < 3; i++) {
      const [{ startsAt, endsAt }] = schedule.next(now) as unknown as [{ startsAt: string, endsAt: string }]
      found.push(`${startsAt.slice(0, 16)} ${(at(endsAt) - at(startsAt)) / HOUR}`)
      now = at(startsAt)
    }
    return found
  }
  // from 29 March 2026 on, Berlin is two hours ahead of UTC, until 25 October
  t.strictSame(windows('2026-03-20T00:00:00Z'), ['2026-03-22T00:00 1', '2026-03-29T00:00 1', '2026-04-04T23:00 1'])
  t.strictSame(windows('2026-10-17T00:00:00Z'), ['2026-10-17T23:00 1', '2026-10-24T23:00 1', '2026-11-01T00:00 1'])
  const nightly = createSchedule([{ ...entry, cron: '30 2 * * *' }])
  t.equal(
    nightly.next(at('2026-03-28T12:00:00Z'))[0]?.startsAt,
    '2026-03-29T01:00:00.000Z',
    'half past two does not exist, so at three'
  )
  t.equal(
    nightly.next(at('2026-10-24T12:00:00Z'))[0]?.startsAt,
    '2026-10-25T00:30:00.000Z',
    'half past two exists twice, so once'
  )
  t.equal(nightly.next(at('2026-10-25T00:30:00Z'))[0]?.startsAt, '2026-10-26T01:30:00.000Z')
})

t.test('schedule: the active windows at a time', async t => {
  const schedule = createSchedule([
    entry, { ...entry, cron: '0 12 * * *', duration: 2 * HOUR, mode: 'read-only', message: 'lunch' }
  ])
  const open = recordOf()
  const modes = (record: typeof open, time: string) =>
    activeWindows(record, schedule, momentOf(at(time))).map(({ mode, message }) => `${mode} ${message}`)
  t.strictSame(modes(open, '2026-11-22T00:30:00Z'), ['full null'])
  t.strictSame(modes(open, '2026-11-21T10:59:59Z'), [])
  t.strictSame(modes(open, '2026-11-21T11:00:00Z'), ['read-only lunch'])
  t.strictSame(modes(open, '2026-11-21T12:59:59Z'), ['read-only lunch'])
  t.strictSame(modes(open, '2026-11-21T13:00:00Z'), [])
  const operator = storedWindow({ message: 'operator' })
  t.strictSame(modes(
    recordOf([operator]),
    '2026-11-21T11:30:00Z'
  ), ['full operator', 'read-only lunch'], 'the strictest first')
  const later = storedWindow({ kind: 'planned', startsAt: '2026-12-01T00:00:00.000Z' })
  t.strictSame(modes(recordOf([later]), '2026-11-21T11:30:00Z'), ['read-only lunch'])
  const opened = recordOf([], { openedAt: '2026-11-21T11:15:00.000Z' })
  t.strictSame(modes(opened, '2026-11-21T11:30:00Z'), [], 'opened during the window')
  t.strictSame(modes(opened, '2026-11-22T11:30:00Z'), ['read-only lunch'], 'until the next one')
  const ahead = windowsAhead(recordOf([later]), schedule, at('2026-11-21T09:00:00Z'))
  t.strictSame(ahead.map(({ startsAt }) => startsAt), [
    '2026-11-21T11:00:00.000Z', '2026-11-22T00:00:00.000Z', '2026-12-01T00:00:00.000Z'
  ])
  t.equal(nextTransition(open, schedule, at('2026-11-21T11:30:00Z')), at('2026-11-21T13:00:00Z'))
  t.equal(nextTransition(open, NO_SCHEDULE, 0), null)
  t.strictSame(createSchedule([
    { ...entry, cron: '2020-01-01T00:00:00' }
  ]).next(at('2026-01-01T00:00:00Z')), [], 'a single date does not recur')
})

t.test('schedule: it closes and opens the site, and operators can override it', async t => {
  const pass = useClock(t, '2026-11-21T10:59:50Z')
  const schedule: ScheduleOptions = {
    cron: '0 12 * * *', duration: '2h', timeZone: 'Europe/Berlin', mode: 'read-only', message: 'lunch'
  }
  const { app, lines } = bareApp(t)
  await app.register(maintenance, { schedule })
  app.post('/', async () => 'written')
  t.match(app.maintenance.status(), {
    active: false, upcoming: { startsAt: '2026-11-21T11:00:00.000Z', message: 'lunch' }
  })
  await pass(11_000)
  t.match(app.maintenance.status(), {
    active: true,
    mode: 'read-only',
    message: 'lunch',
    windows: [
      { kind: 'scheduled', by: 'schedule' }, {}
    ],
    endsAt: '2026-11-21T13:00:00.000Z',
    upcoming: { startsAt: '2026-11-22T11:00:00.000Z' }
  })
  const blocked = await app.inject({ method: 'POST', url: '/' })
  t.match(blocked, { statusCode: 503, headers: { 'retry-after': '7199', 'maintenance-mode': 'read-only' } })
  t.match(blocked.json(), { message: 'lunch', mode: 'read-only' })
  await app.maintenance.set(true, { message: 'longer' })
  t.match(app.maintenance.status(), { mode: 'full', message: 'longer' })
  await pass(2 * HOUR)
  t.equal(app.maintenance.active, true, 'a scheduled window does not open a site closed by an operator')
  await app.maintenance.set(false)
  t.equal(app.maintenance.active, false)
  await pass(22 * HOUR + 30 * 60_000)
  t.match(app.maintenance.status(), { active: true, message: 'lunch' }, 'the next day')
  await app.maintenance.set(false, { by: 'ops' })
  t.match(app.maintenance.status(), { active: false, by: 'ops' }, 'open for the rest of the window')
  t.strictSame(lines.filter(line => line.msg.startsWith('maintenance: ') && line.level === 30).map(
    line => line.msg.replace(/\d{4}-.*Z/, 'T')
  ), [
    "maintenance: site 'default' is now closed (read-only), until T",
    "maintenance: everyone is blocked from site 'default'. Reopen with: app.maintenance.for('default').set(false)",
    "maintenance: site 'default' stays closed (full)",
    // the scheduled window has ended
    "maintenance: site 'default' stays closed (full)",
    "maintenance: site 'default' is open again and closes at T",
    "maintenance: site 'default' is now closed (read-only), until T",
    "maintenance: everyone is blocked from site 'default'. Reopen with: app.maintenance.for('default').set(false)",
    "maintenance: site 'default' is open again and closes at T"
  ])
})

t.test('read-only: from full and back, without being open in between', async t => {
  const { app } = await createApp(t)
  const run = counter()
  app.post('/', run)
  await app.maintenance.set(true)
  const load = { on: true }
  const statuses = new Set<number>()
  const sent = (async () => {
    while (load.on) {
      statuses.add((await app.inject({
        method: 'POST', url: '/', headers: { 'x-http-method-override': 'GET' }
      })).statusCode)
      await new Promise(resolve => setImmediate(resolve))
    }
  })()
  for (let i = 0; i < 20; i++) await app.maintenance.set(true, { mode: i % 2 === 0 ? 'read-only' : 'full' })
  load.on = false
  await sent
  t.strictSame([...statuses], [503])
  t.equal(run.runs, 0)
})

t.test('run: one per server, and the earlier state is restored', async t => {
  const entries: string[] = []
  const store = Object.assign(createTestStore(), {
    appendHistory: async (_site: string, entry: string) => { entries.unshift(entry) },
    listHistory: async () => entries
  })
  const one = (await createApp(t, { store })).app.maintenance
  const two = (await createApp(t, { store })).app.maintenance
  const begin = (server: typeof one) => {
    let end = () => {}
    const work = new Promise<void>(resolve => { end = resolve })
    return { end: () => end(), ended: server.run(() => work, { by: 'deploy' }) }
  }
  const closed = async () => [(await one.refresh()).active, (await two.refresh()).active]
  const first = begin(one)
  await until('closed', () => one.active)
  const second = begin(two)
  await until('both runs are read', async () => (await two.refresh()).windows.length === 2)
  second.end()
  await second.ended
  t.strictSame(await closed(), [true, true], 'the first is still running')
  first.end()
  await first.ended
  t.strictSame(await closed(), [false, false])
  t.equal((await one.refresh()).by, 'deploy')
  t.strictSame((await one.history()).map(({ kind, ended }) => `${kind} ${ended}`), [
    'run true', 'run true', 'run false', 'run false'
  ])

  const third = begin(one)
  await until('closed', () => one.active)
  await two.set(true, { message: 'longer' })
  third.end()
  await third.ended
  t.strictSame(await closed(), [true, true])
  t.equal((await one.refresh()).message, 'longer')
})

t.test('run with a lease: renewed silently while the work is running', async t => {
  const store = createTimedStore()
  const { app, lines } = await createApp(t, { store })
  const lease = () => Date.parse(app.maintenance.status().windows[0]?.lease ?? '')
  await app.maintenance.run(async () => {
    t.equal(lease(), store.time + 1000)
    const { changedAt } = app.maintenance.status()
    for (let i = 0; i < 3; i++) {
      store.time += 300
      await until('renewed', () => lease() === store.time + 1000)
    }
    t.match(app.maintenance.status(), { active: true, changedAt, endsAt: null })
  }, { lease: 1000, message: 'migrating' })
  t.equal(app.maintenance.active, false)
  t.strictSame(lines.filter(line => line.level === 30).map(line => line.msg.replace(/(, until|Reopen with:).*/, '')), [
    "maintenance: site 'default' is now closed (full)", "maintenance: everyone is blocked from site 'default'. ",
    "maintenance: site 'default' is open again"
  ])
  t.strictSame((await app.maintenance.history()).map(
    entry => [entry.kind, entry.ended, entry.message]
  ), [['run', true, 'migrating'], ['run', false, 'migrating']])

  for (const lease of [5, '500ms', 86_400_001]) {
    await t.rejects(app.maintenance.run(() => t.fail('must not run'), { lease }), {
      code: 'FST_ERR_MAINTENANCE_CHANGE', message: /lease is .*, expected a duration .* from 1s to 1d/
    })
  }
})

t.test('run: one that died long ago does not block others', async t => {
  const store = createTestStore()
  const past = new Date(Date.now() - 60_000).toISOString()
  const run = (id: string, lease: string | null) =>
    storedWindow({ id, kind: 'run', lease, at: past, host: 'h', pid: 1 })
  store.records.set('default', textOf([run('dead', past), run('alive', null)]))
  const { app } = await createApp(t, { store })
  await app.maintenance.run(() => {
    t.strictSame(
      app.maintenance.status().windows.map(({ id }) => ['dead', 'alive'].includes(id) ? id : 'own'),
      ['alive', 'own']
    )
  })
  t.equal(app.maintenance.active, true, 'another one is still running')
})

t.test('run: only force ends it, and its work is notified', async t => {
  const store = createTestStore()
  const { app, lines } = await createApp(t, { store })
  const result = await app.maintenance.run(async ({ signal }) => {
    await t.rejects(app.maintenance.set(false, { by: 'ops' }), {
      code: 'FST_ERR_MAINTENANCE_RUNNING', statusCode: 409, runs: [{ pid: process.pid }]
    })
    t.equal(app.maintenance.active, true, 'a rejected change has no effect')
    await app.maintenance.set(false, { by: 'ops', force: true })
    t.match(signal, { aborted: true, reason: { code: 'FST_ERR_MAINTENANCE_RUNNING' } })
    const { reads } = store
    await until('the next renewal has read the state', () => store.reads > reads)
    return 'finished'
  }, { lease: 1000 })
  t.equal(result, 'finished')
  t.ok(lines.some(line => line.level === 40 && /finished although/.test(line.msg)))
  t.match(app.maintenance.status(), { active: false, by: 'ops' }, 'it is not added again')
})

t.test('run: an end is only shown to visitors', async t => {
  const { app } = await createApp(t, { store: createTestStore() })
  await app.maintenance.run(
    () => t.match(app.maintenance.status(), { endsAt: '2999-01-01T00:00:00.000Z' }),
    { endsAt: '2999-01-01T00:00:00Z' }
  )
  const store = createTimedStore()
  const { app: late } = await createApp(t, { store })
  await late.maintenance.run(async () => {
    store.time += 2000
    const answer = await late.inject('/')
    t.match(
      answer,
      { statusCode: 503, headers: { 'retry-after': '300' } },
      'it takes longer, and no client should retry at once'
    )
    t.equal(answer.json().endsAt, null)
  }, { endsAt: new Date(store.time + 1000) })
})

t.test('run: invalid arguments', async t => {
  const { app } = await createApp(t, { store: createTestStore() })
  for (const [options, message] of [
    [{ stayClosed: 1 }, /stayClosed is 1/],
    [{ startsAt: new Date() }, /startsAt is .*, expected nothing: a run starts at once/]
  ] as const) {
    await t.rejects(app.maintenance.run(() => t.fail('must not run'), options as never), {
      code: 'FST_ERR_MAINTENANCE_CHANGE', message
    })
  }
})

t.test('run: a write with an unknown outcome is reverted, and the work does not begin', async t => {
  const store = createTestStore()
  const { app } = await createApp(t, { store })
  const { write } = store
  store.write = async (...args) => {
    await write(...args)
    store.write = write
    throw outcomeUnknown(new Error('cut'))
  }
  await t.rejects(app.maintenance.run(() => t.fail('must not run')), { code: 'FST_ERR_MAINTENANCE_OUTCOME_UNKNOWN' })
  await until('the window is removed', async () => (await app.maintenance.refresh()).windows.length === 0)
})

t.test('run: a closing server aborts the work at once, and does not wait forever', async t => {
  const errors: string[] = []
  const runs = createRuns({ info () {}, warn () {}, error: (text: string) => { errors.push(text) } } as never)
  const site = { name: 'shop', ownRuns: new Set<string>(), write: async () => {}, onRecord: () => () => {} }
  const track = async () => undefined as never
  const never = runs.run({
    site, track, ready: async () => {}, work: () => new Promise(() => {})
  } as never, checkRun(() => {}, {}))
  never.catch(() => {})
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const closing = runs.close()
  mock.timers.tick(5000)
  await closing
  t.match(errors, [/the server closes although 1 runs have not ended; they keep closed: shop/])
  const late = runs.run({
    site, track, ready: async () => {}, work: () => t.fail('must not run')
  } as never, checkRun(() => {}, {}))
  await t.rejects(late, { code: 'FST_ERR_MAINTENANCE_RUNNING', message: /the server closes/ })
})

t.test('closedSince: across adjacent, removed and running windows', t => {
  const moment = momentOf(at('2026-01-01T03:00:00Z'))
  const since = (windows: StoredWindow[], parts: Partial<StateRecord> = {}) =>
    new Date(
      closedSince(recordOf(windows, { at: '2026-01-01T02:00:00.000Z', ...parts }), NO_SCHEDULE, moment) ?? 0
    ).toISOString()
  const from = (hour: number, end: number | null, parts: Partial<StoredWindow> = {}) => storedWindow({
    startsAt: `2026-01-01T0${hour}:00:00.000Z`,
    endsAt: end === null
      ? null
      : `2026-01-01T0${end}:00:00.000Z`,
    kind: 'planned',
    at: `2026-01-01T0${hour}:00:00.000Z`,
    ...parts
  })
  t.equal(since([from(1, 2, { id: 'earlier' }), from(2, null)]), '2026-01-01T01:00:00.000Z')
  t.equal(since([from(0, 1, { id: 'earlier' }), from(2, null)]), '2026-01-01T02:00:00.000Z', 'with a gap')
  t.equal(since(
    [from(2, null)],
    { closedSince: '2026-01-01T00:30:00.000Z' }
  ), '2026-01-01T00:30:00.000Z', 'its window was removed')
  t.equal(since([from(2, null)], { closedSince: '2026-01-01T02:30:00.000Z' }), '2026-01-01T02:00:00.000Z')
  t.equal(since([from(2, null)], { closedSince: null }), '2026-01-01T02:00:00.000Z')
  t.equal(since([from(2, null)], {
    closedSince: '2026-01-01T00:30:00.000Z', at: null
  }), '2026-01-01T02:00:00.000Z', 'an unknown time')
  t.equal(since([
    from(0, 1, { id: 'run', kind: 'run', host: 'h', pid: 1 }), from(2, null)
  ]), '2026-01-01T00:00:00.000Z', 'a run that still exists')
  t.equal(since([
    from(0, 1, { id: 'run', kind: 'run', lease: '2026-01-01T02:00:00.000Z', host: 'h', pid: 1 }), from(2, null)
  ]), '2026-01-01T00:00:00.000Z', 'until its lease ended')
  t.end()
})

t.test('runs: at most a hundred at a time', async t => {
  const store = createTestStore()
  store.records.set('default', textOf(
    Array.from({ length: 100 }, (_, i) => storedWindow({ id: `run ${i}`, kind: 'run', host: 'h', pid: 1 }))
  ))
  const { app } = await createApp(t, { store })
  await t.rejects(app.maintenance.run(() => t.fail('must not run')), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /at most 100 runs at a time/
  })
})

t.test('runs: many at a time, without warnings of a leak', async t => {
  const warnings: Error[] = []
  const note = (warning: Error): void => { warnings.push(warning) }
  process.on('warning', note)
  t.teardown(() => process.off('warning', note))
  const { app } = await createApp(t)
  let release = () => {}
  const released = new Promise<void>(resolve => { release = resolve })
  const runs = Array.from({ length: 12 }, () => app.maintenance.run(() => released))
  await until('all run', () => app.maintenance.status().windows.length === 12)
  release()
  await Promise.all(runs)
  t.strictSame(warnings, [])
})

t.test('windows: no time is stored that could not be read again', async t => {
  const { app } = await createApp(t)
  await t.rejects(app.maintenance.set(true, { endsAt: '9999-12-31T23:59:59-12:00' }), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /endsAt is '9999-12-31T23:59:59-12:00', expected a Date/
  })
  await app.maintenance.set(true, { startsAt: '9999-12-31T23:59:00Z', endsAt: '+30m' })
  await app.maintenance.refresh()
  t.match(app.maintenance.status(), { store: { error: null }, upcoming: { endsAt: '9999-12-31T23:59:59.999Z' } })
})

t.test('windows: contradictory times', async t => {
  const { app } = await createApp(t)
  const { windows: [planned] } = await app.maintenance.set(true, { startsAt: '+2h', endsAt: '+3h' })
  const window = planned?.id as string
  for (const [change, message] of [
    [{ startsAt: new Date(Date.now() - 3_600_000) }, /startsAt is .*, expected a time in the future/],
    [{ endsAt: '2026-01-01T00:00Z' }, /endsAt is .*, expected a time in the future/],
    [{ endsAt: new Date(Date.now() + 60_000) }, /a time after startsAt/]
  ] as const) {
    await t.rejects(app.maintenance.update(change, { window }), { code: 'FST_ERR_MAINTENANCE_CHANGE', message })
  }
  await t.rejects(app.maintenance.cancel('gone'), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /'gone' is not a planned window/
  })
})

t.test('planned windows: at most twenty', async t => {
  const { app } = await createApp(t)
  for (let i = 1; i <= 20; i++) await app.maintenance.set(true, { startsAt: `+${i}d` })
  await t.rejects(app.maintenance.set(true, { startsAt: '+30d' }), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /at most 20 planned windows; cancel one first/
  })
  await t.rejects(app.maintenance.set(true, { startsAt: '+1h', wait: '1s' }), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /no wait with a startsAt in the future/
  })
  await t.rejects(app.maintenance.set(true, {
    startsAt: new Date(Date.now() + 3_600_000), wait: '1s'
  }), { code: 'FST_ERR_MAINTENANCE_CHANGE' })
})

t.test('run with a lease: a renewal that fails is logged and retried', async t => {
  const store = createTestStore()
  const { app, lines } = await createApp(t, { store })
  await app.maintenance.run(async () => {
    store.beforeWrite = () => Promise.reject(new Error('gone'))
    await until('logged', () => lines.some(line => line.msg.includes('could not be renewed')))
    store.beforeWrite = async () => {}
  }, { lease: 1000 })
  t.equal(app.maintenance.active, false)
})

t.test('run with a lease: a lost run leaves the site closed, with stayClosed', async t => {
  const store = createTimedStore()
  const lease = new Date(store.time + 1000).toISOString()
  const run = storedWindow({ id: 'run', kind: 'run', lease, host: 'h', pid: 1, stayClosed: true })
  store.records.set('default', textOf([run]))
  const { app } = await createApp(t, { store })
  await t.rejects(app.maintenance.set(false), { code: 'FST_ERR_MAINTENANCE_RUNNING' })
  store.time += 1000
  await until('lost', () => app.maintenance.status().windows[0]?.kind === 'now')
  t.match(app.maintenance.status(), { active: true, windows: [{ id: 'run', lease: null, host: null }] })
  await app.maintenance.update({ message: 'the migration failed' })
  t.match(await app.maintenance.set(false), { active: false, windows: [] }, 'no force is needed')
  const context = {
    record: recordOf([storedWindow({ id: 'run' })]), schedule: NO_SCHEDULE, moment: momentOf(store.time)
  }
  t.equal(leaveRun('run', true)(context), null, 'work that fails later changes nothing')
  t.match(leaveRun('run', false)(context), { windows: [] }, 'work that succeeds later opens the site')
})

t.test('a server whose clock is behind follows at once', async t => {
  const ahead = createTestStore()
  const behind = { ...ahead, now: () => Date.now() - 600_000 }
  const one = (await createApp(t, { store: Object.assign(ahead, { now: () => Date.now() + 600_000 }) })).app.maintenance
  const two = (await createApp(t, { store: behind })).app.maintenance
  await one.set(true)
  t.match(await two.refresh(), { active: true })
  t.match(await two.set(false), { active: false, windows: [] })
  t.match(await one.refresh(), { active: false })
  await one.run(async () => t.match(await two.refresh(), { active: true }))
  t.match(await two.refresh(), { active: false })
})

t.test('run with a lease: kill -9, and the site opens automatically', async t => {
  const file = stateFile(t)
  const { app } = await createApp(t, { store: { file } })
  const program = `import Fastify from 'fastify'
    import maintenance from '../../index.ts'
    const app = Fastify()
    await app.register(maintenance, { store: { file: process.argv[1] } })
    await app.maintenance.run(() => new Promise(resolve => setTimeout(resolve, 60_000)), { lease: 3000 })`
  const child = spawn(process.execPath, [
    '--import', 'tsx', '--input-type=module', '--eval',
    program.replaceAll('../../', `${pathToFileURL(process.cwd()).href}/`), file
  ], {
    env: { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' }, stdio: 'inherit'
  })
  t.teardown(() => child.kill('SIGKILL'))
  await until('closed', () => app.maintenance.active)
  const lease = () => app.maintenance.status().windows[0]?.lease
  const first = lease()
  await until('renewed', () => lease() !== first)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const last = lease()
  await until('open', () => !app.maintenance.active)
  t.ok(Date.now() >= Date.parse(last ?? ''), 'when its lease has expired')
})

t.test('a window that begins or ends while the change before it is still being applied is not missed', async t => {
  // each look at the clock takes a millisecond, so that there is one between any two
  const store = createTimedStore()
  store.now = () => store.time++
  const { app } = await createApp(t, { store })
  await app.ready()
  for (let ms = 1; ms <= 40; ms++) {
    await app.maintenance.set(true, { startsAt: new Date(store.time + ms) })
    await until(`closed ${ms} ms later`, () => app.maintenance.active, 3000)
    await app.maintenance.set(false)
    await app.maintenance.set(true, { endsAt: new Date(store.time + ms + 5) })
    await until(`open ${ms} ms later`, () => !app.maintenance.active, 3000)
  }
  t.pass()
})

t.test('a window that began and ended while the process slept is no longer announced', async t => {
  const store = createTimedStore()
  const { app } = await createApp(t, { store })
  await app.ready()
  const at = (ms: number): Date => new Date(store.time + ms)
  await app.maintenance.set(true, { startsAt: at(1000), endsAt: at(2000) })
  t.match(app.maintenance.status(), { active: false, upcoming: { startsAt: at(1000).toISOString() } })
  store.time += 60_000
  await until('nothing is announced', () => app.maintenance.status().upcoming === null, 10_000)
  t.equal(app.maintenance.active, false)
})
