import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { FastifyInstance } from 'fastify'
import { request as httpRequest } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import maintenance from '../index.ts'
import { createTracker } from '../lib/drain/track.ts'
import type { MaintenanceStatus, ServerSite, ServerStatus } from '../types/index.ts'
import { bareApp, createApp, startApp, until } from './fixtures/app.ts'
import { beatingStore, get, isPending, listen, slowApp, step, WAIT } from './fixtures/requests.ts'
import { sharedStore } from './fixtures/store.ts'

t.jobs = 4

const DRAIN = 'FST_ERR_MAINTENANCE_DRAIN'

t.test('drained() settles at once if no request is running, else after the last one', { buffered: true }, async t => {
  const { app, begin } = await slowApp(t)
  await app.maintenance.drained()
  await app.maintenance.set(true)
  await app.maintenance.drained({ timeout: 1, signal: new AbortController().signal })
  await app.maintenance.set(false)
  const [first, second] = [await begin(), await begin('POST')]
  await app.maintenance.set(true)
  const waiting = app.maintenance.drained()
  first()
  t.equal(await isPending(waiting), true)
  second()
  await waiting
  t.equal(app.maintenance.status().inFlight, 0)
})

t.test('drained(): timeout, signal, invalid arguments', { buffered: true }, async t => {
  const { app, begin, releaseAll } = await slowApp(t)
  await Promise.all([begin(), begin(), begin('POST')])
  await app.maintenance.set(true)
  await t.rejects(app.maintenance.drained({ timeout: 30 }), {
    code: DRAIN,
    message: 'maintenance: still running after 30 ms: 2 × GET /slow, 1 × POST /slow',
    inFlight: 3,
    routes: { 'GET /slow': 2, 'POST /slow': 1 }
  })
  await t.rejects(app.maintenance.drained({ timeout: '1s' }), { code: DRAIN, message: /: still running after 1s: / })
  const abort = new AbortController()
  const waiting = app.maintenance.drained({ signal: abort.signal })
  t.equal(await isPending(waiting), true)
  abort.abort(new Error('enough'))
  await t.rejects(waiting, { message: 'enough' })
  await t.rejects(app.maintenance.drained({ signal: AbortSignal.abort() }), { name: 'AbortError' })
  for (const [options, message] of [
    [{ timeout: 0 }, /timeout is 0, expected a duration such as 90s, .* or milliseconds, from 1ms to 1h/],
    [{ timeout: '5' }, /timeout is '5'/],
    [{ timeout: '61m' }, /timeout is '61m'/],
    [{ timeout: 3_600_001 }, /timeout is 3600001/],
    [{ timout: 5 }, /unknown field 'timout'. Did you mean timeout?/],
    [{ signal: {} }, /signal is \{\}, expected an AbortSignal/],
    [null, /the options is null, expected an object/]
  ] as [never, RegExp][]) {
    await t.rejects(app.maintenance.drained(options), { code: 'FST_ERR_MAINTENANCE_CHANGE', message })
  }
  releaseAll()
  await app.maintenance.drained({ timeout: 3_600_000 })

  const other = bareApp(t).app
  await other.register(maintenance)
  const answer = step()
  other.setNotFoundHandler(async () => answer.promise)
  other.inject('/nowhere').catch(() => {})
  await until('it runs', () => other.maintenance.status().inFlight === 1)
  t.match(await other.maintenance.drained({ timeout: 1 }).catch(error => error), {
    code: DRAIN, routes: { 'GET (no route)': 1 }
  })
  answer.resolve()
})

t.test('drained(): the site opens meanwhile', { buffered: true }, async t => {
  const { app, begin, releaseAll } = await slowApp(t)
  await begin()
  const early = app.maintenance.drained()
  t.equal(await isPending(early), true, 'it waits for a site to close')
  await app.maintenance.set(true)
  const late = app.maintenance.drained()
  t.equal(await isPending(early), true)
  await app.maintenance.set(false)
  await Promise.all([early, late].map(waiting => t.rejects(waiting, {
    code: DRAIN, message: /the site opened before its requests had ended/, inFlight: 1, routes: { 'GET /slow': 1 }
  })))
  releaseAll()
})

t.test('drained(): on an open site, it waits for all requests that run when it closes', { buffered: true }, async t => {
  const { app, begin } = await slowApp(t)
  const first = await begin()
  const waiting = app.maintenance.drained()
  const second = await begin()
  await app.maintenance.set(true)
  first()
  t.equal(await isPending(waiting), true)
  second()
  await waiting
})

t.test('drained(): in read-only, it waits for reads from before the call, not for later ones', { buffered: true }, async t => {
  const { app, begin, releaseAll } = await slowApp(t)
  const write = await begin('POST')
  await app.maintenance.set(true, { mode: 'read-only' })
  const read = await begin()
  t.equal(app.maintenance.status().inFlight, 2)
  t.match(
    (await app.maintenance.servers())[0],
    { inFlight: 2, draining: { 'POST /slow': 1 } },
    'a read that the present state lets through does not delay a wait for servers'
  )
  const waiting = app.maintenance.drained()
  await begin()
  write()
  t.equal(await isPending(waiting), true, 'it waits for the first read')
  read()
  await waiting
  t.equal(app.maintenance.status().inFlight, 1)
  await app.maintenance.set(true)
  await t.rejects(
    app.maintenance.drained({ timeout: 30 }),
    { code: DRAIN, inFlight: 1 },
    'after full closing, earlier reads count'
  )
  releaseAll()
})

t.test('set with wait: settles when all servers are ready, else names the others; the change is kept', { buffered: true }, async t => {
  const { app, begin, releaseAll } = await slowApp(t)
  const first = await begin()
  const waiting = app.maintenance.set(true, { wait: 60_000, message: 'Moving' })
  t.equal(await isPending(waiting, WAIT), true)
  t.equal(app.maintenance.active, true)
  first()
  t.match(await waiting, { active: true, message: 'Moving', inFlight: 0 } satisfies Partial<MaintenanceStatus>)
  t.match(await app.maintenance.set(false, { wait: 60_000 }), { active: false })

  await begin()
  await begin('POST')
  const error = await app.maintenance.set(true, { wait: 1 }).catch(error => error)
  t.match(error, {
    code: DRAIN,
    message: /^maintenance: not safe after \d+ ms, but the change stands: \S+ \(process \d+\) runs 1 × GET \/slow, 1 × POST \/slow, last seen at \S+Z$/,
    inFlight: 2,
    routes: { 'GET /slow': 1, 'POST /slow': 1 },
    servers: [
      { pid: process.pid, sites: [{ site: 'default', active: true }], draining: { 'GET /slow': 1, 'POST /slow': 1 } }
    ]
  })
  t.equal(app.maintenance.active, true)
  releaseAll()
})

t.test('run with wait: the work begins once no earlier request is running; after the timeout, the site reopens instead', { buffered: true }, async t => {
  const { app } = await createApp(t)
  const slow = step()
  app.get('/slow', async () => slow.promise.then(() => 'x'))
  const port = await listen(app)
  const client = get(port, '/slow')
  await until('it runs', () => app.maintenance.status().inFlight === 1)
  let begun = 0
  await t.rejects(app.maintenance.run(() => { begun++ }, { wait: 50 }), {
    code: 'FST_ERR_MAINTENANCE_DRAIN', inFlight: 1, routes: { 'GET /slow': 1 }
  })
  t.strictSame([begun, app.maintenance.active], [0, false])
  const running = app.maintenance.run(() => app.maintenance.status(), { wait: 60_000, message: 'Moving' })
  await until('closed', () => app.maintenance.active)
  slow.resolve()
  t.match(await running, { active: true, message: 'Moving', inFlight: 0 })
  t.equal(app.maintenance.active, false)
  await t.rejects(app.maintenance.run(() => { begun++ }, { wait: -1 }), { code: 'FST_ERR_MAINTENANCE_CHANGE' })
  await t.rejects(app.maintenance.run('work' as never, { wait: 50 }), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /a function/
  })
  t.strictSame([begun, app.maintenance.active], [0, false])
  client.destroy()
})

t.test('set with wait: an invalid argument changes nothing; anything but an object is rejected as usual', { buffered: true }, async t => {
  const { app } = await createApp(t, { bypass: {} })
  for (const [change, message] of [
    [{ wait: 0 }, /wait is 0, expected .*from 1ms to 1h/],
    [{ wait: '30' }, /wait is '30'/],
    [{ wait: '2h' }, /wait is '2h'/],
    [null, /the change is null, expected an object/],
    ['x', /the change is 'x'/]
  ] as [never, RegExp][]) {
    await t.rejects(app.maintenance.set(true, change), { code: 'FST_ERR_MAINTENANCE_CHANGE', message })
  }
  t.equal(app.maintenance.active, false)
  t.match(
    (await app.maintenance.set(true, { bypass: true, wait: 60_000 })).bypass,
    { secret: /^\S{20,}$/ },
    'returned anyway'
  )
})

/** The heartbeat of another server. */
const otherServer = (site: Partial<ServerSite>): ServerStatus => ({
  id: 'other',
  label: 'there (process 7)',
  host: 'there',
  pid: 7,
  version: '1',
  sites: [{ site: 'default', revision: 0, active: false, pinned: false, draining: {}, ...site }],
  inFlight: 3,
  streams: 0,
  draining: site.draining ?? {},
  bypassPath: null,
  startedAt: '2026-01-01T00:00:00.000Z',
  seenAt: new Date().toISOString(),
  lost: false
})

t.test('set with wait: a server that has not followed, one that is pinned, one that returns', { buffered: true }, async t => {
  const store = beatingStore()
  const { app } = await createApp(t, { store })
  await app.ready()
  const tell = (site: Partial<ServerSite>, seenAt = new Date().toISOString()) =>
    store.entries.set('other', JSON.stringify({ ...otherServer(site), seenAt }))
  tell({})
  await t.rejects(app.maintenance.set(true, { wait: 50 }), {
    message: /there \(process 7\) is open, last seen at 20/, servers: [{ id: 'other' }], lost: [], pinned: []
  })
  tell({ active: true })
  await t.rejects(app.maintenance.set(true, { wait: 50 }), {
    message: /there \(process 7\) has not seen the change/, routes: {}
  })
  await t.rejects(
    app.maintenance.set(false, { wait: 50 }),
    { message: /there \(process 7\) has not seen the change/ },
    'also when opening'
  )
  tell({ pinned: true })
  await t.rejects(app.maintenance.set(true, { wait: 60_000 }), {
    code: DRAIN,
    message: /^maintenance: not safe after \d+ ms, but the change stands: there \(process 7\) stays open: its option 'pinned' decides$/,
    servers: [],
    pinned: [{ id: 'other' }]
  }, 'at once, because that will not change')
  tell({ pinned: true, active: true })
  await app.maintenance.set(true, { wait: 60_000 })
  tell({ revision: Number.MAX_SAFE_INTEGER })
  await t.rejects(
    app.maintenance.set(true, { wait: 50 }),
    { message: /there \(process 7\) is open/ },
    'it has the state, but its window has not started or has ended'
  )
  tell({ revision: Number.MAX_SAFE_INTEGER, active: true, draining: { 'GET /a': 2 } })
  await t.rejects(app.maintenance.set(true, { wait: 50 }), {
    message: /there \(process 7\) runs 2 × GET \/a/, inFlight: 2, routes: { 'GET /a': 2 }
  })
  await app.maintenance.set(false, { wait: 60_000 })
  tell({}, new Date(Date.now() - 20_000).toISOString())
  await t.rejects(app.maintenance.set(true, { wait: 50 }), {
    code: DRAIN,
    message: /there \(process 7\) is lost, last seen at 20/,
    servers: [],
    lost: [{ id: 'other', lost: true }]
  })
  store.entries.delete('other')
  await app.maintenance.set(true, { wait: 60_000 })

  store.fail = 'list'
  await t.rejects(app.maintenance.set(true, { wait: 50 }), {
    code: DRAIN, message: /the list of servers could not be read/, inFlight: 0
  })
  const waiting = app.maintenance.set(true, { wait: 60_000 })
  t.equal(await isPending(waiting, WAIT), true)
  store.fail = ''
  await waiting

  // ready for a moment only: its heartbeat had expired, and comes again
  const again = app.maintenance.set(true, { wait: 60_000 })
  await sleep(100)
  tell({})
  t.equal(await isPending(again, WAIT), true)
  tell({ revision: Number.MAX_SAFE_INTEGER, active: true })
  await again
})

t.test('set with wait: a list that hangs does not make it wait forever', { buffered: true }, async t => {
  const store = beatingStore()
  const { app } = await createApp(t, { store })
  await app.ready()
  store.hang = 'list'
  await t.rejects(app.maintenance.set(true, { wait: 1 }), { code: DRAIN, message: /could not be read/ })
})

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
  'an async handler that returns nothing': (app, work) => app.get('/', async (_request, reply) => {
    await work()
    reply.code(204)
  }),
  'an async handler that returns its reply later, for a callback': (app, work) => app.get('/', async (_request, reply) => {
    work().then(() => reply.send('done'))
    await sleep(150)
    return reply
  }),
  'a not-found handler': (app, work) => app.setNotFoundHandler(async () => { await work(); return 'nothing' })
}

for (const http2 of [false, true]) {
  for (const [name, route] of Object.entries(HANDLERS)) {
    // after a reset, Fastify never settles a reply of HTTP/2 that is returned: it counts for a minute
    if (http2 && name.includes('its reply later')) continue
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

t.test('tracked work counts under any name, and never hides its server from a wait', { buffered: true }, async t => {
  const store = sharedStore()
  const [{ app: waiter }, { app: worker }] = [await startApp(t, store), await startApp(t, store)]
  const names = ['constructor', '__proto__', 'x'.repeat(2_000_000), Symbol('job') as never, undefined as never]
  for (const name of names) worker.maintenance.track(new Promise(() => {}), name)
  const shown = ['constructor', '__proto__', `${'x'.repeat(200)}…`, 'Symbol(job)', 'undefined']
  const error = await waiter.maintenance.set(true, { wait: 400 }).catch((error: unknown) => error)
  t.match(error, { code: DRAIN, inFlight: names.length })
  t.strictSame(Object.entries((error as { routes: object }).routes), shown.map(name => [name, 1]))
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
