import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mock } from 'node:test'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import maintenance from '../index.ts'
import { NEVER_WRITTEN, serialiseRecord } from '../lib/state/record.ts'
import { createSchedule } from '../lib/state/schedule.ts'
import { recordThatCounts, turnAfter, upcomingOf, watchTurns } from '../lib/state/window.ts'
import type { ScheduleOptions } from '../types/index.ts'
import { bareApp, counter, createApp, until, stateFile } from './fixtures/app.ts'
import { createTestStore, createTimedStore } from './fixtures/store.ts'

const HOUR = 3_600_000
const at = (time: string): number => Date.parse(time)
const entry = { cron: '0 1 * * sun', duration: HOUR, timeZone: 'Europe/Berlin', mode: 'full', message: null } as const

// the library's own timers keep no process alive: without this, it would end while a test waits for one of them
const alive = setInterval(() => {}, 60_000)
t.teardown(() => clearInterval(alive))

/** Time is ours: the clock and the timers that look at it; what Fastify and the network need goes on. */
function useClock (t: { teardown (work: () => unknown): void }, now: string): (ms: number) => Promise<void> {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: at(now) })
  t.teardown(() => mock.timers.reset())
  return async ms => {
    for (let left = ms; left > 0; left -= 1000) {
      mock.timers.tick(Math.min(left, 1000))
      // what a turn starts is done after some rounds of the event loop
      for (let i = 0; i < 3; i++) await new Promise(resolve => setImmediate(resolve))
    }
  }
}

t.test('windows: start and end are met after a long wait, and after a sleep of the machine', async t => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: at('2026-01-01T00:00:00Z') })
  t.teardown(() => mock.timers.reset())
  const looks: string[] = []
  const nothing = createSchedule([])
  const record = { ...NEVER_WRITTEN, on: true, startsAt: '2026-03-01T00:00:00.000Z', endsAt: '2026-03-01T00:00:10.000Z' }
  const stop = watchTurns(() => turnAfter(record, nothing, Date.now()), Date.now, () => looks.push(new Date().toISOString()))
  mock.timers.setTime(at('2026-02-28T23:59:59.500Z'))
  mock.timers.tick(400)
  t.strictSame(looks, [])
  mock.timers.tick(100)
  t.strictSame(looks, ['2026-03-01T00:00:00.000Z'])
  mock.timers.tick(9_000)
  t.equal(looks.length, 1)
  mock.timers.tick(1_000)
  t.equal(looks[1], '2026-03-01T00:00:10.000Z')
  mock.timers.tick(100_000)
  t.equal(looks.length, 2, 'nothing is ahead any more')
  stop()
  watchTurns(() => Date.now() + 1, Date.now, () => t.fail('stopped'))()
  mock.timers.tick(10)
})

t.test('windows: all servers go by the clock of the store, where it has one', async t => {
  const store = Object.assign(createTestStore(), { now: () => Date.now() + 5 * 60_000 })
  const { app } = await createApp(t, { store })
  await t.rejects(app.maintenance.set(true, { endsAt: new Date(Date.now() + 4 * 60_000) }), { code: 'FST_ERR_MAINTENANCE_CHANGE', message: /a time in the future/ })
  const status = await app.maintenance.set(true, { startsAt: new Date(Date.now() + 4 * 60_000), endsAt: new Date(Date.now() + 6 * 60_000) })
  t.equal(status.active, true)
  t.ok(Math.abs(status.revision - Date.now() - 5 * 60_000) < 10_000)
  const retryAfter = Number((await app.inject('/')).headers['retry-after'])
  t.ok(retryAfter > 50 && retryAfter <= 60, `${retryAfter}`)
})

t.test('windows: an end that was promised, and a change that promises none', async t => {
  const store = createTimedStore()
  const { app } = await createApp(t, { store })
  await app.maintenance.set(true, { endsAt: new Date(store.time + 100) })
  store.time += 100
  await until('over', () => !app.maintenance.active)
  await app.maintenance.set(true, { message: 'longer' })
  t.match((await app.inject('/')), { statusCode: 503, headers: { 'retry-after': '300' } })
})

t.test('schedule: a window that begins while somebody closes the site takes nothing back, at whatever moment', async t => {
  const pass = useClock(t, '2026-11-21T10:59:55Z')
  const schedule: ScheduleOptions = { cron: '0 12 * * *', duration: '2h', timeZone: 'Europe/Berlin', message: 'lunch' }
  const lost: number[] = []
  for (let moment = 0; moment < 120; moment++) {
    mock.timers.setTime(at('2026-11-21T10:59:55Z'))
    const { app } = bareApp(t)
    await app.register(maintenance, { schedule })
    await pass(4_900)
    const closing = app.maintenance.set(true, { message: 'operator' })
    for (let i = 0; i < moment; i++) await null
    await pass(1_000)
    await closing
    if (app.maintenance.status().message !== 'operator') lost.push(moment)
  }
  t.strictSame(lost, [])
})

t.test('upcoming: an announced window, for banners, until it begins or is called off', async t => {
  const { app } = await createApp(t)
  app.get('/', async request => request.maintenance.upcoming)
  t.equal((await app.inject('/')).body, 'null')
  const startsAt = new Date(Date.now() + HOUR)
  const upcoming = { startsAt: startsAt.toISOString(), endsAt: null, mode: 'read-only', message: 'soon' }
  const status = await app.maintenance.set(true, { startsAt, mode: 'read-only', message: 'soon' })
  t.strictSame(status.upcoming, upcoming)
  t.strictSame((await app.inject('/')).json(), upcoming)
  t.equal(app.maintenance.active, false)
  t.equal((await app.maintenance.set(false)).upcoming, null)
  t.equal((await app.inject('/')).body, 'null')
})

t.test('schedule: recurring windows in their time zone, daylight saving both ways', async t => {
  const schedule = createSchedule([entry])
  const windows = (from: string) => {
    const found = []
    for (let now = at(from), i = 0; i < 3; i++) {
      const { startsAt, endsAt } = schedule.next(now) ?? { startsAt: NaN, endsAt: NaN }
      found.push(`${new Date(startsAt).toISOString().slice(0, 16)} ${(endsAt - startsAt) / HOUR}`)
      now = startsAt
    }
    return found
  }
  // from 29 March 2026 on, Berlin is two hours ahead of UTC, until 25 October
  t.strictSame(windows('2026-03-20T00:00:00Z'), ['2026-03-22T00:00 1', '2026-03-29T00:00 1', '2026-04-04T23:00 1'])
  t.strictSame(windows('2026-10-17T00:00:00Z'), ['2026-10-17T23:00 1', '2026-10-24T23:00 1', '2026-11-01T00:00 1'])
  const nightly = createSchedule([{ ...entry, cron: '30 2 * * *' }])
  t.equal(new Date(nightly.next(at('2026-03-28T12:00:00Z'))?.startsAt ?? 0).toISOString(), '2026-03-29T01:00:00.000Z', 'half past two does not exist: at three')
  t.equal(new Date(nightly.next(at('2026-10-24T12:00:00Z'))?.startsAt ?? 0).toISOString(), '2026-10-25T00:30:00.000Z', 'half past two exists twice: once')
  t.equal(nightly.next(at('2026-10-25T00:30:00Z'))?.startsAt, at('2026-10-26T01:30:00Z'))
})

t.test('schedule: what counts at a time', async t => {
  const schedule = createSchedule([entry, { ...entry, cron: '0 12 * * *', duration: 2 * HOUR, mode: 'read-only', message: 'lunch' }])
  const open = { ...NEVER_WRITTEN, revision: 1, at: '2026-11-01T00:00:00.000Z' }
  const mode = (record: typeof open, time: string) => {
    const { on, mode, message } = recordThatCounts(record, schedule, at(time))
    return on ? `${mode} ${message}` : 'open'
  }
  t.equal(mode(open, '2026-11-22T00:30:00Z'), 'full null')
  t.equal(mode(open, '2026-11-21T10:59:59Z'), 'open')
  t.equal(mode(open, '2026-11-21T11:00:00Z'), 'read-only lunch')
  t.equal(mode(open, '2026-11-21T12:59:59Z'), 'read-only lunch')
  t.equal(mode(open, '2026-11-21T13:00:00Z'), 'open')
  const operator = { ...open, on: true, message: 'operator' }
  t.equal(mode(operator, '2026-11-21T11:30:00Z'), 'full operator', 'an operator outranks it')
  t.equal(mode({ ...operator, startsAt: '2026-12-01T00:00:00.000Z' }, '2026-11-21T11:30:00Z'), 'read-only lunch', 'an announcement does not')
  t.equal(mode({ ...open, at: '2026-11-21T11:15:00.000Z' }, '2026-11-21T11:30:00Z'), 'open', 'switched off during the window')
  t.equal(mode({ ...open, at: '2026-11-21T11:15:00.000Z' }, '2026-11-22T11:30:00Z'), 'read-only lunch', 'until the next one')
  t.strictSame(upcomingOf({ ...operator, startsAt: '2026-11-21T10:00:00.000Z' }, schedule, at('2026-11-21T09:00:00Z')), { startsAt: '2026-11-21T10:00:00.000Z', endsAt: null, mode: 'full', message: 'operator' })
  t.match(upcomingOf(open, schedule, at('2026-11-21T09:00:00Z')), { startsAt: '2026-11-21T11:00:00.000Z', endsAt: '2026-11-21T13:00:00.000Z', mode: 'read-only', message: 'lunch' })
  t.equal(turnAfter(open, schedule, at('2026-11-21T11:30:00Z')), at('2026-11-21T13:00:00Z'))
  t.equal(turnAfter(open, createSchedule([]), 0), null)
  t.equal(createSchedule([{ ...entry, cron: '2020-01-01T00:00:00' }]).next(at('2026-01-01T00:00:00Z')), null, 'what was once does not come again')
})

t.test('schedule: a server closes and opens by it, and an operator has the last word', async t => {
  const pass = useClock(t, '2026-11-21T10:59:50Z')
  const schedule: ScheduleOptions = { cron: '0 12 * * *', duration: '2h', timeZone: 'Europe/Berlin', mode: 'read-only', message: 'lunch' }
  const { app, lines } = bareApp(t)
  await app.register(maintenance, { schedule })
  app.post('/', async () => 'written')
  t.match(app.maintenance.status(), { active: false, upcoming: { startsAt: '2026-11-21T11:00:00.000Z', message: 'lunch' } })
  await pass(11_000)
  t.match(app.maintenance.status(), { on: true, active: true, mode: 'read-only', message: 'lunch', by: 'schedule', endsAt: '2026-11-21T13:00:00.000Z', upcoming: { startsAt: '2026-11-22T11:00:00.000Z' } })
  const refused = await app.inject({ method: 'POST', url: '/' })
  t.match(refused, { statusCode: 503, headers: { 'retry-after': '7199', 'maintenance-mode': 'read-only' } })
  t.match(refused.json(), { message: 'lunch', mode: 'read-only' })
  await app.maintenance.set(true, { message: 'longer' })
  t.match(app.maintenance.status(), { mode: 'full', message: 'longer' })
  await pass(2 * HOUR)
  t.equal(app.maintenance.active, true, 'the end of the scheduled window does not open what an operator closed')
  await app.maintenance.set(false)
  t.equal(app.maintenance.active, false)
  await pass(22 * HOUR + 30 * 60_000)
  t.match(app.maintenance.status(), { active: true, message: 'lunch' }, 'the next day')
  await app.maintenance.set(false, { by: 'ops' })
  t.match(app.maintenance.status(), { active: false, by: 'ops' }, 'opened for the rest of it')
  t.strictSame(lines.filter(line => line.msg.startsWith('maintenance: ') && line.level === 30).map(line => line.msg.replace(/\d{4}-.*Z/, 'T')), [
    "maintenance: site 'default' is now closed (read-only), until T",
    "maintenance: everyone is blocked from site 'default'. Reopen with: app.maintenance.for('default').set(false)",
    "maintenance: site 'default' stays closed (full)",
    "maintenance: site 'default' is open again",
    "maintenance: site 'default' is now closed (read-only), until T",
    "maintenance: everyone is blocked from site 'default'. Reopen with: app.maintenance.for('default').set(false)",
    "maintenance: site 'default' is open again"
  ])
})

t.test('read-only: from full and back without an open moment', async t => {
  const { app } = await createApp(t)
  const run = counter()
  app.post('/', run)
  await app.maintenance.set(true)
  const load = { on: true }
  const statuses = new Set<number>()
  const sent = (async () => {
    while (load.on) {
      statuses.add((await app.inject({ method: 'POST', url: '/', headers: { 'x-http-method-override': 'GET' } })).statusCode)
      await new Promise(resolve => setImmediate(resolve))
    }
  })()
  for (let i = 0; i < 20; i++) await app.maintenance.set(true, { mode: i % 2 === 0 ? 'read-only' : 'full' })
  load.on = false
  await sent
  t.strictSame([...statuses], [503])
  t.equal(run.runs, 0)
})

t.test('run: counted over several servers; what somebody sets meanwhile stands', async t => {
  const file = stateFile(t)
  const one = (await createApp(t, { store: { file } })).app.maintenance
  const two = (await createApp(t, { store: { file } })).app.maintenance
  const begin = (server: typeof one) => {
    let end = () => {}
    const work = new Promise<void>(resolve => { end = resolve })
    return { end: () => end(), ended: server.run(() => work, { by: 'deploy' }) }
  }
  const closed = async () => [(await one.refresh()).active, (await two.refresh()).active]
  const first = begin(one)
  await until('closed', () => one.active)
  const second = begin(two)
  await until('seen', async () => (await two.history()).length === 2)
  second.end()
  await second.ended
  t.strictSame(await closed(), [true, true], 'the first still runs')
  first.end()
  await first.ended
  t.strictSame(await closed(), [false, false])
  t.equal((await one.refresh()).by, 'deploy')

  const third = begin(one)
  await until('closed', () => one.active)
  await two.set(true, { message: 'longer' })
  third.end()
  await third.ended
  t.strictSame(await closed(), [true, true])
  t.equal((await one.refresh()).message, 'longer')
})

t.test('run with a lease: renewed while the work goes on, without a word', async t => {
  const store = createTimedStore()
  const { app, lines } = await createApp(t, { store })
  const ends = new Set<string | null>()
  app.maintenance.onChange(status => { if (status.active) ends.add(status.endsAt) })
  await app.maintenance.run(async () => {
    t.equal(Date.parse(app.maintenance.status().endsAt ?? ''), store.time + 1000)
    for (const count of [2, 3, 4]) {
      store.time += 300
      await until('renewed', () => ends.size === count)
    }
    t.equal(app.maintenance.active, true)
  }, { lease: 1000, message: 'migrating' })
  t.equal(app.maintenance.active, false)
  t.strictSame(lines.filter(line => line.level === 30).map(line => line.msg.replace(/(, until|Reopen with:).*/, '')), [
    "maintenance: site 'default' is now closed (full)", "maintenance: everyone is blocked from site 'default'. ", "maintenance: site 'default' is open again"
  ])
  t.strictSame((await app.maintenance.history()).map(entry => [entry.on, entry.message]), [[false, null], [true, 'migrating']])

  await t.rejects(app.maintenance.run(() => t.fail('must not run'), { lease: 5 }), { code: 'FST_ERR_MAINTENANCE_CHANGE', message: /lease is 5, expected an integer from 1000/ })
  await t.rejects(app.maintenance.run(() => t.fail('must not run'), { lease: 5000, endsAt: new Date(store.time + 9000) }), { code: 'FST_ERR_MAINTENANCE_CHANGE', message: /nothing beside a lease/ })
  let end = () => {}
  const endless = app.maintenance.run(() => new Promise<void>(resolve => { end = resolve }))
  await until('closed', () => app.maintenance.active)
  await app.maintenance.run(() => t.equal(app.maintenance.status().endsAt, null, 'one of the two has no lease'), { lease: 1000 })
  t.equal(app.maintenance.active, true)
  end()
  await endless
  t.equal(app.maintenance.active, false)
})

t.test('run: one that died long ago holds nobody up', async t => {
  const store = createTestStore()
  const past = new Date(Date.now() - 60_000).toISOString()
  store.records.set('default', serialiseRecord({ ...NEVER_WRITTEN, revision: 5, on: true, at: past, runs: [{ id: 'dead', until: past }, { id: 'alive', until: null }] }))
  const { app } = await createApp(t, { store })
  await app.maintenance.run(() => {
    t.strictSame(JSON.parse(store.records.get('default') ?? '').runs.map((run: { id: string }) => run.id === 'dead' ? 'dead' : 'other'), ['other', 'other'])
  })
  t.equal(app.maintenance.active, true, 'another one still runs')
})

t.test('run with a lease: what somebody sets meanwhile is not renewed away', async t => {
  const store = createTestStore()
  const { app } = await createApp(t, { store })
  await app.maintenance.run(async () => {
    await app.maintenance.set(false, { by: 'ops' })
    const { reads } = store
    await until('the next renewal has looked', () => store.reads > reads)
  }, { lease: 1000 })
  t.match(app.maintenance.status(), { active: false, by: 'ops' })
  await app.maintenance.run(() => t.match(app.maintenance.status(), { endsAt: '2999-01-01T00:00:00.000Z' }), { endsAt: '2999-01-01T00:00:00Z' })
})

t.test('run with a lease: a renewal that fails is told, and tried again', async t => {
  const store = createTestStore()
  const { app, lines } = await createApp(t, { store })
  await app.maintenance.run(async () => {
    store.beforeWrite = () => Promise.reject(new Error('gone'))
    await until('told', () => lines.some(line => line.msg.includes('could not be renewed')))
    store.beforeWrite = async () => {}
  }, { lease: 1000 })
  t.equal(app.maintenance.active, false)
})

t.test('run with a lease: kill -9, and the site opens automatically', async t => {
  const file = stateFile(t)
  const { app } = await createApp(t, { store: { file } })
  const program = `import Fastify from 'fastify'
    import maintenance from '../../index.ts'
    const app = Fastify()
    await app.register(maintenance, { store: { file: process.argv[1] } })
    await app.maintenance.run(() => new Promise(resolve => setTimeout(resolve, 60_000)), { lease: 3000 })`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program.replaceAll('../../', `${pathToFileURL(process.cwd()).href}/`), file], {
    env: { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' }, stdio: 'inherit'
  })
  t.teardown(() => child.kill('SIGKILL'))
  await until('closed', () => app.maintenance.active)
  const first = app.maintenance.status().endsAt
  await until('renewed', () => app.maintenance.status().endsAt !== first)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const { endsAt } = app.maintenance.status()
  await until('open', () => !app.maintenance.active)
  t.ok(Date.now() >= Date.parse(endsAt ?? ''), 'when its lease is over')
})
