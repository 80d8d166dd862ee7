import { AsyncLocalStorage } from 'node:async_hooks'
import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { mock } from 'node:test'
import { pathToFileURL } from 'node:url'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { FastifyInstance, FastifyReply } from 'fastify'
import t from 'tap'
import maintenance from '../index.ts'
import { createHold } from '../lib/hold-queue.ts'
import { NEVER_WRITTEN, serialiseRecord } from '../lib/state/record.ts'
import { createSchedule } from '../lib/state/schedule.ts'
import { recordThatCounts, turnAfter, upcomingOf, watchTurns } from '../lib/state/window.ts'
import type { ScheduleOptions } from '../types/index.ts'
import { bareApp, counter, createApp, until } from './fixtures/app.ts'
import { createTestStore } from './fixtures/store.ts'

const HOUR = 3_600_000
const at = (time: string): number => Date.parse(time)
const entry = { cron: '0 1 * * sun', duration: HOUR, timeZone: 'Europe/Berlin', mode: 'full', message: null } as const

/** Time is ours: the clock and the timers that look at it; what Fastify and the network need goes on by itself. */
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
  const { app } = await createApp(t)
  await app.maintenance.set(true, { endsAt: new Date(Date.now() + 100) })
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
    "maintenance: site 'default' stays closed (full)",
    "maintenance: site 'default' is open again",
    "maintenance: site 'default' is now closed (read-only), until T",
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
  const file = `${t.testdir()}/state.json`
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
  const file = `${t.testdir()}/state.json`
  const { app, lines } = await createApp(t, { store: { file } })
  const ends = new Set<string | null>()
  app.maintenance.onChange(status => { if (status.active) ends.add(status.endsAt) })
  await app.maintenance.run(async () => {
    t.ok(Math.abs(Date.parse(app.maintenance.status().endsAt ?? '') - Date.now() - 1000) < 500)
    await until('renewed three times', () => ends.size === 4)
    t.equal(app.maintenance.active, true)
  }, { lease: 1000, message: 'migrating' })
  t.equal(app.maintenance.active, false)
  t.equal(lines.filter(line => line.level === 30 && line.msg.startsWith('maintenance: ')).length, 2)
  t.strictSame((await app.maintenance.history()).map(entry => [entry.on, entry.message]), [[false, null], [true, 'migrating']])

  await t.rejects(app.maintenance.run(() => t.fail('must not run'), { lease: 5 }), { code: 'FST_ERR_MAINTENANCE_CHANGE', message: /lease is 5, expected an integer from 1000/ })
  await t.rejects(app.maintenance.run(() => t.fail('must not run'), { lease: 5000, endsAt: new Date(Date.now() + 9000) }), { code: 'FST_ERR_MAINTENANCE_CHANGE', message: /nothing beside a lease/ })
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

t.test('run with a lease: kill -9, and the site opens by itself', async t => {
  const file = `${t.testdir()}/state.json`
  const { app } = await createApp(t, { store: { file } })
  const program = `import Fastify from 'fastify'
    import maintenance from '../../index.ts'
    const app = Fastify()
    await app.register(maintenance, { store: { file: process.argv[1] } })
    await app.maintenance.run(() => new Promise(resolve => setTimeout(resolve, 60_000)), { lease: 1500 })`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program.replaceAll('../../', `${pathToFileURL(process.cwd()).href}/`), file], {
    env: { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' }, stdio: 'inherit'
  })
  t.teardown(() => child.kill('SIGKILL'))
  await until('closed', () => app.maintenance.active, 15_000)
  const first = app.maintenance.status().endsAt
  await until('renewed', () => app.maintenance.status().endsAt !== first)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const killed = Date.now()
  t.equal(app.maintenance.active, true)
  await until('open', () => !app.maintenance.active, 3500)
  t.ok(Date.now() - killed <= 3500, 'within lease + 2 s')
})

/** Opens connections and sends a request on each; gives what came back by now. */
function sendMany (app: FastifyInstance, count: number) {
  const { port } = app.server.address() as AddressInfo
  const clients = Array.from({ length: count }, () => {
    const socket = connect(port, '127.0.0.1')
    const client = { socket, answer: '' }
    socket.on('data', chunk => { client.answer += chunk })
    socket.on('error', () => {})
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    return client
  })
  return {
    clients,
    with: (status: number) => clients.filter(({ answer }) => answer.startsWith(`HTTP/1.1 ${status}`)).length
  }
}

t.test('hold: 1,000 wait through a switch of 3 s, and none is refused or lost; the next one is refused at once', async t => {
  const { app } = await createApp(t, { ignore: { routes: '/health' } }, { disableRequestLogging: true })
  const run = counter()
  let inHandler = 0
  let most = 0
  app.get('/', async () => {
    await run()
    most = Math.max(most, ++inHandler)
    await new Promise(resolve => setImmediate(resolve))
    inHandler--
    return 'open'
  })
  app.get('/health', async () => 'well')
  await app.listen({ port: 0, host: '127.0.0.1' })
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const heap = () => {
    gc()
    return process.memoryUsage().heapUsed
  }
  const before = heap()
  const begin = Date.now()
  await app.maintenance.set(true, { mode: 'hold' })
  const waiting = sendMany(app, 1000)
  await until('all wait', () => app.maintenance.status().held === 1000)
  t.equal((await app.inject('/')).statusCode, 503, 'no place is left')
  t.equal((await app.inject('/health')).body, 'well', 'the ignored are never held')
  t.equal(run.runs, 0)
  await until('3 s are over', () => Date.now() - begin > 3000)
  t.equal(waiting.with(503), 0)
  await app.maintenance.set(false)
  await until('all are answered', () => waiting.with(200) === 1000, 10_000)
  t.equal(run.runs, 1000)
  t.ok(most <= 100, `released at a pace, not all at once: at most ${most} at a time`)
  t.match(app.maintenance.status().counts, { blocked: 1 })
  for (const { socket } of waiting.clients) socket.destroy()
  t.equal(app.maintenance.status().held, 0)
  await until('the heap is back where it was', () => heap() - before < 5e6)
})

t.test('hold: refused when the time is over, when the mode changes, and when the server closes', async t => {
  const { app } = await createApp(t, { hold: { max: 10, timeout: 200 } })
  const run = counter()
  app.get('/', run)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold', message: 'a moment' })
  const begin = Date.now()
  const late = await app.inject('/')
  t.ok(Date.now() - begin >= 190)
  t.match(late, { statusCode: 503, headers: { 'maintenance-mode': 'full' } })
  t.equal(late.json().message, 'a moment')
  const closing = sendMany(app, 3)
  await until('they have come', () => app.maintenance.status().held === 3)
  await app.maintenance.set(true, { mode: 'full' })
  await until('refused', () => closing.with(503) === 3)
  const slow = await createApp(t, { hold: { timeout: 60_000 } }, { forceCloseConnections: 'idle' })
  await slow.app.listen({ port: 0, host: '127.0.0.1' })
  await slow.app.maintenance.set(true, { mode: 'hold' })
  const last = sendMany(slow.app, 2)
  await until('they have come', () => slow.app.maintenance.status().held === 2)
  await slow.app.close()
  await until('refused', () => last.with(503) === 2)
  t.equal(run.runs, 0)
})

t.test('hold: whoever hangs up makes place; the deadline is kept through changes', async t => {
  const { app } = await createApp(t, { hold: { max: 2, timeout: 60_000 } })
  app.get('/', async () => 'open')
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const first = sendMany(app, 2)
  await until('they have come', () => app.maintenance.status().held === 2)
  t.equal((await app.inject('/')).statusCode, 503)
  for (const { socket } of first.clients) socket.destroy()
  await until('they are gone', () => app.maintenance.status().held === 0)
  const second = sendMany(app, 2)
  await until('they have come', () => app.maintenance.status().held === 2)
  t.equal(second.with(503), 0)
  await app.maintenance.set(true, { mode: 'hold', message: 'still' })
  await app.maintenance.set(false)
  await until('answered', () => second.with(200) === 2)
})

t.test('hold: pipelined requests, and HTTP/2', async t => {
  const { app } = await createApp(t)
  app.get('/:n', async request => (request.params as { n: string }).n)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  let answer = ''
  socket.on('data', chunk => { answer += chunk })
  t.teardown(() => socket.destroy())
  socket.write([1, 2, 3].map(n => `GET /${n} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''))
  await until('they have come', () => app.maintenance.status().held === 3)
  await app.maintenance.set(false)
  await until('all are answered', () => answer.match(/HTTP\/1\.1 200/g)?.length === 3)
  t.strictSame(answer.match(/\r\n\r\n\d/g)?.map(body => body.trim()), ['1', '2', '3'])

  const two = bareApp(t, { http2: true, forceCloseConnections: false } as object)
  await two.app.register(maintenance)
  two.app.get('/:n', async request => (request.params as { n: string }).n)
  await two.app.listen({ port: 0, host: '127.0.0.1' })
  await two.app.maintenance.set(true, { mode: 'hold' })
  const client = connectHttp2(`http://127.0.0.1:${(two.app.server.address() as AddressInfo).port}`)
  t.teardown(() => client.close())
  const statuses: unknown[] = []
  for (const n of [1, 2]) client.request({ ':path': `/${n}` }).on('response', headers => statuses.push(headers[':status'])).resume()
  await until('they have come', () => two.app.maintenance.status().held === 2)
  await two.app.maintenance.set(false)
  await until('answered', () => statuses.length === 2)
  t.strictSame(statuses, [200, 200])
  client.close()
})

const user = new AsyncLocalStorage<string>()

/** A closed application that notes, for each of its parts, in whose context it ran for the requests of others than the admin. */
async function notingApp (t: { teardown (work: () => unknown): void }, hold = {}) {
  const { app } = bareApp(t, { forceCloseConnections: 'idle', disableRequestLogging: true } as object)
  let notes = new Set<string>()
  const note = (part: string, { headers }: { headers: Record<string, unknown> }): void => {
    const [whose, current] = [headers['x-user'], user.getStore()]
    if (whose !== 'admin') notes.add(`${part}: ${current === whose ? 'own' : String(current)}`)
  }
  app.addHook('onRequest', (request, _reply, done) => user.run(String(request.headers['x-user']), done))
  await app.register(maintenance, {
    hold,
    ignore: { request: async request => { note('ignore.request', request); return false } },
    onBlocked: request => note('onBlocked', request)
  })
  app.addHook('preHandler', async request => note('preHandler', request))
  app.addHook('onSend', async request => note('onSend', request))
  app.get('/', async request => note('handler', request))
  app.post('/:mode', { config: { maintenance: 'off' } }, async request => {
    const { mode } = request.params as { mode: 'open' | 'full' }
    await (mode === 'open' ? app.maintenance.set(false) : app.maintenance.set(true, { mode }))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const { port } = app.server.address() as AddressInfo

  async function ask (name: string): Promise<number> {
    const answer = await fetch(`http://127.0.0.1:${port}/`, { headers: { 'x-user': name } })
    await answer.text()
    return answer.status
  }

  return {
    app,
    setAsAdmin: (mode: 'open' | 'full') => app.inject({ method: 'POST', url: `/${mode}`, headers: { 'x-user': 'admin' } }),
    /** Has requests held, ends the wait, and gives the statuses of their answers, and what was noted after the wait. */
    async outcome (count: number, endWait: () => unknown): Promise<{ statuses: number[], notes: string[] }> {
      const answers = Array.from({ length: count }, (_, i) => ask(`user ${i}`))
      await until('all wait', () => app.maintenance.status().held === count)
      notes = new Set()
      await endWait()
      return { statuses: [...new Set(await Promise.all(answers))], notes: [...notes].sort() }
    }
  }
}

t.test('hold: each request goes on in its own async context, whatever ends the wait', { buffered: true }, async t => {
  const REFUSED = { statuses: [503], notes: ['onBlocked: own'] }
  const { app, outcome, setAsAdmin } = await notingApp(t)
  // more than one batch: the others are released by a timer
  t.strictSame(await outcome(120, () => setAsAdmin('open')), { statuses: [200], notes: ['handler: own', 'onSend: own', 'preHandler: own'] })
  await app.maintenance.set(true, { mode: 'hold' })
  t.strictSame(await outcome(3, () => setAsAdmin('full')), { statuses: [503], notes: ['ignore.request: own', 'onBlocked: own'] })
  await app.maintenance.set(true, { mode: 'hold' })
  t.strictSame(await outcome(3, () => user.run('closer', () => app.close())), REFUSED)
  const short = await notingApp(t, { timeout: 300 })
  t.strictSame(await short.outcome(3, () => {}), REFUSED, 'when the time is over')
})

/** Sends requests over one connection without waiting for the answers. */
function pipeline (app: FastifyInstance, count: number, path = '/'): Socket {
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {}).resume()
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(count))
  return socket
}

t.test('hold: pipelined requests make place as soon as their client hangs up, in whatever way', async t => {
  const warnings: string[] = []
  const warn = ({ message }: Error): void => { warnings.push(message) }
  process.on('warning', warn)
  t.teardown(() => process.off('warning', warn))
  const { app } = await createApp(t, { hold: { max: 40, timeout: 60_000 } })
  const run = counter()
  app.get('/', run)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const held = (count: number) => until(`${count} are held`, () => app.maintenance.status().held === count, 3000)
  const HANG_UPS: ((socket: Socket) => unknown)[] = [socket => socket.destroy(), socket => socket.resetAndDestroy(), socket => socket.end()]
  for (const hangUp of HANG_UPS) {
    // all places are taken, by two connections whose clients hang up at the same time
    const sockets = [pipeline(app, 20), pipeline(app, 20)]
    await held(40)
    sockets.forEach(hangUp)
    await held(0)
  }
  const stays = pipeline(app, 10)
  const leaves = pipeline(app, 30)
  await held(40)
  t.equal((await app.inject('/')).statusCode, 503, 'never more than max')
  leaves.destroy()
  await held(10)
  await app.maintenance.set(false)
  await until('answered', () => run.runs === 10)
  await app.maintenance.set(true)
  await app.maintenance.drained({ timeout: 3000 })
  t.match(app.maintenance.status(), { held: 0, inFlight: 0, counts: { blocked: 1 } })
  t.equal(run.runs, 10, 'never decided on again')
  t.strictSame(warnings, [], 'one listener for each connection')
  stays.destroy()
})

t.test('hold: pipelined behind a request that is still running', async t => {
  const { app } = await createApp(t)
  const run = counter()
  let answer = (): void => {}
  app.get('/slow', () => new Promise<string>(resolve => { answer = () => resolve('slow') }))
  app.get('/', run)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = pipeline(app, 1, '/slow')
  await until('it runs', () => app.maintenance.status().inFlight === 1)
  await app.maintenance.set(true, { mode: 'hold' })
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(5))
  await until('held', () => app.maintenance.status().held === 5)
  socket.destroy()
  await until('free', () => app.maintenance.status().held === 0, 3000)
  t.equal(app.maintenance.status().inFlight, 1, 'its handler still works')
  answer()
  await app.maintenance.drained({ timeout: 3000 })
  await app.maintenance.set(false)
  t.equal(run.runs, 0)
})

t.test('hold: over HTTP/2, a reset stream and a lost session make place', async t => {
  const { app } = bareApp(t, { http2: true, forceCloseConnections: false } as object)
  await app.register(maintenance, { hold: { timeout: 60_000 } })
  const run = counter()
  app.get('/', run)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const client = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`).on('error', () => {})
  t.teardown(() => client.destroy())
  const streams = Array.from({ length: 20 }, () => client.request({ ':path': '/' }).on('error', () => {}).resume())
  await until('held', () => app.maintenance.status().held === 20)
  for (const stream of streams.slice(0, 5)) stream.close(8)
  await until('15 are left', () => app.maintenance.status().held === 15, 3000)
  client.destroy()
  await until('none is left', () => app.maintenance.status().held === 0, 3000)
  await app.maintenance.set(false)
  t.equal(run.runs, 0)
})

t.test('hold: no place is taken by a request whose client has hung up while ignore.request was asked', async t => {
  const asked: ((says: boolean) => void)[] = []
  const { app } = await createApp(t, { ignore: { request: () => new Promise<boolean>(resolve => { asked.push(resolve) }) }, hold: { timeout: 300 } })
  const run = counter()
  app.get('/', run)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const closed = once(app.server, 'connection').then(([connection]) => once(connection, 'close'))
  const socket = pipeline(app, 1)
  await until('asked', () => asked.length === 1)
  socket.destroy()
  await closed
  asked[0]?.(false)
  await new Promise(resolve => setTimeout(resolve, 600))
  t.match(app.maintenance.status(), { held: 0, counts: { blocked: 0 } })
  t.equal(run.runs, 0)
})

t.test('hold: none is held once the server has begun to close', async t => {
  const { app } = await createApp(t, { hold: { timeout: 60_000 } }, { forceCloseConnections: false, return503OnClosing: false })
  const running: (() => void)[] = []
  app.get('/slow', { config: { maintenance: 'off' } }, () => new Promise<string>(resolve => { running.push(() => resolve('slow')) }))
  app.get('/', counter())
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const socket = pipeline(app, 1, '/slow')
  await until('it runs', () => running.length === 1)
  const closing = app.close()
  await until('the server takes no more connections', () => !app.server.listening)
  socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  await until('refused', () => app.maintenance.status().counts.blocked === 1)
  running[0]?.()
  await closing
})

/** A reply whose client has not hung up yet. */
function fakeReply () {
  const socket = Object.assign(new EventEmitter(), { destroyed: false })
  const raw = Object.assign(new EventEmitter(), { destroyed: false, destroy () { raw.destroyed = true } })
  const errors: unknown[] = []
  return { raw, socket, errors, sent: false, request: { raw: { socket } }, log: { error ({ err }: { err: Error }) { errors.push(err.message) } } }
}

t.test('hold: a request that fails stops neither the others nor the process, and its client does not wait', t => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const counts = { blocked: 0, ignored: 0, held: 0 }
  const hold = createHold({ max: 100, timeout: 5000 })
  let held = true
  const ran: string[] = []

  function add (name: string, reply = fakeReply()) {
    const work = (what: string) => () => {
      ran.push(`${name} ${what}`)
      if (name === 'answered, and throws') reply.sent = true
      if (name.includes('throw')) throw new Error(name)
    }
    t.equal(hold.add(reply as unknown as FastifyReply, counts, () => held, work('again'), work('refused')), true)
    return reply
  }
  const throwing = add('throwing')
  const answered = add('answered, and throws')
  const [hungUp, resetNow, elsewhere] = ['hung up', 'reset a moment ago', 'answered elsewhere'].map(name => add(name)) as [ReturnType<typeof fakeReply>, ReturnType<typeof fakeReply>, ReturnType<typeof fakeReply>]
  add('last')
  hungUp.socket.emit('close')
  hungUp.raw.emit('close')
  t.equal(counts.held, 5, 'freed once')
  resetNow.socket.destroyed = true
  elsewhere.sent = true
  held = false
  hold.update()
  t.strictSame(ran, ['throwing again', 'answered, and throws again', 'last again'])
  t.strictSame([throwing.errors, throwing.raw.destroyed], [['throwing'], true])
  t.strictSame([answered.errors, answered.raw.destroyed], [['answered, and throws'], false])
  t.equal(counts.held, 0)

  held = true
  ran.length = 0
  const late = add('throwing')
  mock.timers.tick(5000)
  t.strictSame([ran, late.raw.destroyed], [['throwing refused'], true], 'when its time is over')

  ran.length = 0
  for (let i = 0; i < 60; i++) add(`${i}`)
  held = false
  hold.update()
  t.equal(ran.length, 50)
  hold.close()
  t.equal(ran.filter(name => name.endsWith('refused')).length, 10, 'closed between two batches')
  hold.update()
  mock.timers.tick(60_000)
  t.equal(ran.length, 60, 'each once')
  t.equal(hold.add(fakeReply() as unknown as FastifyReply, counts, () => true, () => {}, () => {}), false)
  t.equal(counts.held, 0)
  t.end()
})
