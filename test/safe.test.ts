import t from 'tap'
import { main } from '../lib/cli/main.ts'
import { createCensus } from '../lib/servers/census.ts'
import type { ServerEntry } from '../lib/servers/entry.ts'
import { waitForServers, type WaitParts } from '../lib/servers/wait.ts'
import { createFileServers } from '../lib/stores/file/servers.ts'
import type { DrainErrorDetails, ServerStatus } from '../types/index.ts'
import { createApp, startApp, stateFile } from './fixtures/app.ts'
import { sharedStore } from './fixtures/store.ts'
import { ago, entry, MINUTE } from './fixtures/server-entries.ts'

// When a wait may report "safe", and when it must not.

t.jobs = 4

/** The site of a server that has followed. */
const closed = (revision: number, draining = {}): ServerEntry['sites'] => [
  { site: 'default', revision, active: true, pinned: false, draining }
]

/** The error that a wait rejects with. */
async function unsafe (wait: Promise<unknown>): Promise<DrainErrorDetails & Error> {
  return wait.then(() => { throw new Error('it reported safe') }, error => {
    if (error.code !== 'FST_ERR_MAINTENANCE_DRAIN') throw error
    return error
  })
}

const labels = (servers: readonly ServerStatus[] = []): string[] => servers.map(({ label }) => label)

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
