import cors from '@fastify/cors'
import view from '@fastify/view'
import { Eta } from 'eta'
import type { FastifyRequest, FastifyServerOptions } from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import maintenance, { fastifyMaintenance } from '../index.ts'
import { VERSION } from '../lib/util/version.ts'
import type { Decision, FastifyMaintenanceOptions } from '../types/index.ts'
import { bareApp, counter, createApp, sendRaw, until } from './fixtures/app.ts'
import packageJson from '../package.json' with { type: 'json' }

t.test('is a Fastify plugin', async t => {
  t.equal(maintenance, fastifyMaintenance)
  t.equal(VERSION, packageJson.version)
  const { app } = await createApp(t)
  await app.ready()
  t.ok(app.hasPlugin('fastify-maintenance'))
  t.ok(app.hasDecorator('maintenance'))
})

t.test('no handler runs while closed, for any request', async t => {
  const { app } = bareApp(t, { routerOptions: { ignoreTrailingSlash: true } })
  const run = counter()
  app.get('/before', run)
  await app.register(maintenance)
  app.get('/', run)
  app.post('/upload', { bodyLimit: 1e8 }, run)
  app.get('/param/:id', run)
  app.get('/wild/*', run)
  app.register(async child => {
    child.get('/child', run)
    child.setNotFoundHandler(run)
    child.register(async grandchild => { grandchild.get('/grandchild', run) })
  }, { prefix: '/deep' })
  app.setNotFoundHandler(run)
  app.addHttpMethod('PURGE')
  app.route({ method: 'PURGE', url: '/purge', handler: run })
  await app.maintenance.set(true)

  const requests = [
    { url: '/before' }, { url: '/' }, { url: '/param/1' }, { url: '/wild/a/b' }, { url: '/deep/child' },
    { url: '/deep/grandchild' },
    { url: '/unknown' }, { url: '/deep/unknown' }, { method: 'HEAD', url: '/' }, { method: 'PATCH', url: '/' },
    { method: 'PURGE', url: '/purge' },
    { method: 'OPTIONS', url: '/' }, { method: 'POST', url: '/upload', payload: Buffer.alloc(1e6) }, { url: '/child/' }
  ]
  for (const request of requests) {
    for (let i = 0; i < 100; i++) {
      const answer = await app.inject(request as { url: string })
      if (answer.statusCode !== 503) t.fail(`${JSON.stringify(request)} gave ${answer.statusCode}`)
    }
    t.equal(run.runs, 0, `${request.method ?? 'GET'} ${request.url}`)
  }
  t.equal(app.maintenance.status().counts.blocked, 1400)

  const pipelined = await sendRaw(app, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(99) +
    'POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc')
  t.equal(pipelined.match(/HTTP\/1\.1 503/g)?.length, 100)
  t.equal(run.runs, 0, 'pipelined')
  await app.maintenance.set(false)
  await app.inject('/')
  t.equal(run.runs, 1, 'the handler runs once the site is open')
})

t.test('no code of the application runs for a blocked request', async t => {
  const { app } = await createApp(t)
  const ran: string[] = []
  for (const hook of [
    'onRequest', 'preParsing', 'preValidation', 'preHandler', 'preSerialization', 'onSend'
  ] as const) {
    app.addHook(hook, async () => { ran.push(hook) })
  }
  app.addHook('onResponse', async () => { ran.push('onResponse') })
  app.get(
    '/',
    { schema: { response: { 503: { type: 'object', required: ['x'], properties: { x: { type: 'string' } } } } } },
    async () => 'x'
  )
  await app.maintenance.set(true)
  const answer = await app.inject('/')
  t.equal(answer.statusCode, 503)
  t.equal(answer.json().code, 'FST_ERR_MAINTENANCE')
  t.strictSame(ran, ['onResponse'])
})

t.test('the precedence, row by row', async t => {
  const says: { user: boolean } = { user: false }
  const { app } = await createApp(t, {
    ignore: {
      routes: ['/health', '/both'],
      ips: ['10.0.0.0/8'],
      request: request => says.user &&
      request.headers['x-user'] === '1'
    }
  })
  await app.register(cors)
  const see = async (request: FastifyRequest) => request.maintenance
  app.get('/plain', see)
  app.post('/plain', see)
  app.get('/off', { config: { maintenance: 'off' } }, see)
  app.get('/on', { config: { maintenance: 'on' } }, see)
  app.get('/health', see)
  app.get('/both', { config: { maintenance: 'on' } }, see)
  app.post('/search', { config: { maintenance: 'read' } }, see)
  app.get('/unsubscribe', { config: { maintenance: 'write' } }, see)
  let seen: Decision | undefined
  let explained: Decision | undefined
  app.addHook('onResponse', async request => {
    seen = request.maintenance
    explained = app.maintenance.explain(request)
  })

  async function reason (
    url: string,
    method: 'GET' | 'POST' | 'HEAD' | 'OPTIONS' = 'GET',
    headers: Record<string, string> = {},
    remoteAddress = '1.2.3.4'
  ) {
    const { statusCode } = await app.inject({ url, method, headers, remoteAddress })
    t.strictSame(explained, seen?.reason === 'ignored-request'
      ? {
          ...seen, blocked: true, reason: 'active', window: app.maintenance.status().windows[0]?.id
        }
      : seen, 'explain() agrees')
    return `${statusCode} ${seen?.reason}`
  }
  const preflight = { origin: 'https://a.example', 'access-control-request-method': 'GET' }

  t.equal(await reason('/off'), '200 route-off')
  t.equal(await reason('/on'), '503 route-on', 'even while the site is open')
  t.equal(await reason('/plain'), '200 inactive')
  t.equal(await reason('/unknown'), '404 inactive')

  await app.maintenance.set(true)
  t.equal(await reason('/off'), '200 route-off')
  t.equal(await reason('/on'), '503 route-on')
  t.equal(await reason('/on', 'GET', { 'x-user': '1' }, '10.1.2.3'), '503 route-on', 'ignored addresses too')
  t.equal(await reason('/both'), '503 route-on', 'the route outranks the list')
  t.equal(await reason('/plain', 'OPTIONS', preflight), '204 preflight')
  t.equal(await reason('/plain', 'OPTIONS'), '503 active', 'a plain OPTIONS is an ordinary request')
  t.equal(await reason('/health'), '200 ignored-route')
  t.equal(await reason('/plain', 'GET', {}, '10.1.2.3'), '200 ignored-ip')
  t.equal(await reason('/plain', 'GET', {}, '::ffff:10.1.2.3'), '200 ignored-ip')
  t.equal(await reason('/plain', 'GET', {}, '11.1.2.3'), '503 active')
  t.equal(await reason('/unknown'), '503 active', 'a 404 would mean that the page is gone')
  t.equal(await reason('/unknown%2F..'), '503 active')
  t.equal(await reason('/unknown', 'GET', {}, '10.1.2.3'), '404 ignored-ip')
  t.equal(await reason('/robots.txt'), '404 ignored-route', 'a 503 makes crawlers drop the whole site')
  t.equal(await reason('/plain', 'GET', { 'x-user': '1' }), '503 active')
  says.user = true
  t.equal(await reason('/plain', 'GET', { 'x-user': '1' }), '200 ignored-request')
  t.equal(await reason('/plain'), '503 active')
  t.equal(await reason('/search', 'POST'), '503 active', "'read' matters in read-only mode only")

  await app.maintenance.set(true, { mode: 'read-only' })
  t.equal(await reason('/plain'), '200 read')
  t.equal(await reason('/plain', 'HEAD'), '200 read')
  t.equal(await reason('/plain', 'POST'), '503 active')
  t.equal(await reason('/search', 'POST'), '200 read')
  t.equal(await reason('/unsubscribe'), '503 active')
  t.equal(await reason('/unsubscribe', 'HEAD'), '503 active')
  t.equal(await reason('/health'), '200 ignored-route')
  t.equal(await reason('/plain', 'POST', { 'x-user': '1' }), '200 ignored-request')
})

t.test('request.maintenance is the decision from when the request arrived', async t => {
  const { app } = await createApp(t)
  app.get('/', async request => {
    await app.maintenance.set(true)
    return { then: request.maintenance, now: app.maintenance.explain(request) }
  })
  const { then, now } = (await app.inject('/')).json()
  t.strictSame(then, {
    blocked: false, reason: 'inactive', site: 'default', active: false, mode: null, window: null, upcoming: null
  })
  t.strictSame(now, {
    blocked: true,
    reason: 'active',
    site: 'default',
    active: true,
    mode: 'full',
    window: app.maintenance.status().windows[0]?.id,
    upcoming: null
  })

  const open = await createApp(t)
  open.app.get('/off', { config: { maintenance: 'off' } }, async request => request.maintenance.reason)
  t.equal((await open.app.inject('/off')).body, 'route-off')
})

t.test('properties on Object.prototype have no effect', async t => {
  const { app } = await createApp(t, { ignore: { routes: '/health', ips: '10.0.0.1' }, bypass: {} })
  app.get('/', async () => 'ran')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { bypass } = await app.maintenance.set(true, { bypass: true })
  const prototype = Object.prototype as Record<string, unknown>
  const hostile = {
    url: '/health',
    method: 'OPTIONS',
    maintenance: 'off',
    origin: 'a',
    'access-control-request-method': 'GET',
    'maintenance-bypass': bypass?.secret,
    cookie: 'maintenance=1',
    read: {},
    active: {}
  }
  t.teardown(() => { for (const name of [...Object.keys(hostile), 'upgrade', 'forwarded']) delete prototype[name] })
  Object.assign(prototype, hostile)
  const status = async (url: string) =>
    Number((await sendRaw(app, `GET ${url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)).slice(9, 12))
  const closed = [await status('/'), await status('/nowhere')]
  for (const name of Object.keys(hostile)) delete prototype[name]
  t.strictSame(closed, [503, 503])
  await app.maintenance.set(true, { mode: 'read-only' })
  prototype.upgrade = 'websocket'
  const read = await status('/')
  delete prototype.upgrade
  t.equal(read, 200)
})

t.test('an ignored address behind an untrusted proxy logs one warning', async t => {
  const warnings = async (
    trustProxy: FastifyServerOptions['trustProxy'],
    headers: Record<string, string>,
    ips: string[] = ['127.0.0.1', '192.0.2.1']
  ) => {
    const { app, lines } = await createApp(t, { ignore: { ips } }, trustProxy === undefined ? {} : { trustProxy })
    app.get('/', async () => 'ran')
    await app.maintenance.set(true)
    await app.maintenance.set(true, { message: 'again' })
    for (let i = 0; i < 3; i++) await app.inject({ url: '/', headers })
    return lines.filter(({ level, msg }) => level === 40 && /trustProxy/.test(msg)).length
  }
  t.equal(await warnings(undefined, { 'x-forwarded-for': '203.0.113.9' }), 1)
  t.equal(await warnings(undefined, { forwarded: 'for=203.0.113.9' }), 1)
  t.equal(await warnings(undefined, {}), 0)
  t.equal(await warnings(undefined, { 'x-forwarded-for': '203.0.113.9' }, ['192.0.2.1']), 0, 'nothing was let through')
  t.equal(await warnings('127.0.0.1', { 'x-forwarded-for': '192.0.2.1' }), 0)
  t.equal(await warnings('127.0.0.1', { forwarded: 'for=203.0.113.9' }), 0)
  t.equal(await warnings(true, { 'x-forwarded-for': '127.0.0.1' }), 0)
  t.equal(await warnings('10.0.0.1', { 'x-forwarded-for': '203.0.113.9' }), 1, 'another proxy is trusted')
})

t.test('ignore.request: throws, rejects, or returns no boolean', async t => {
  const answers: (() => boolean | Promise<boolean>)[] = [
    () => { throw new Error('no session') },
    () => Promise.reject(new Error('no session')),
    () => 'yes' as unknown as boolean,
    async () => 1 as unknown as boolean
  ]
  for (const answer of answers) {
    const { app, lines } = await createApp(t, { ignore: { request: answer } })
    const run = counter()
    app.get('/', run)
    await app.maintenance.set(true)
    for (let i = 0; i < 3; i++) t.equal((await app.inject('/')).statusCode, 503)
    t.equal(run.runs, 0)
    const complaints = () => lines.filter(line => line.msg.includes('ignore.request failed')).length
    t.equal(complaints(), answers.indexOf(answer) < 2 ? 1 : 0, 'logged once')
    await app.maintenance.set(true, { message: 'again' })
    await app.inject('/')
    t.equal(complaints(), answers.indexOf(answer) < 2 ? 2 : 0, 'once per state change')
  }
})

t.test('ignore.request that never settles blocks after 3 s; earlier rows do not wait', async t => {
  const { app } = await createApp(t, { ignore: { routes: '/health', request: () => new Promise<boolean>(() => {}) } })
  const run = counter()
  app.get('/', run)
  app.get('/health', async () => 'well')
  await app.maintenance.set(true)
  const blocked = app.inject('/').then(answer => answer.statusCode)
  t.equal((await app.inject('/health')).body, 'well')
  t.equal(await Promise.race([blocked, sleep(1000, 'waiting')]), 'waiting')
  t.equal(await blocked, 503)
  t.equal(run.runs, 0)
})

t.test('a request that waits for ignore.request is let through once the site opens', async t => {
  let answer: (says: boolean) => void = () => {}
  const { app } = await createApp(t, { ignore: { request: () => new Promise(resolve => { answer = resolve }) } })
  app.get('/', async request => request.maintenance.reason)
  await app.maintenance.set(true)
  const waiting = app.inject('/').then(response => response.body)
  await until('asked', () => answer.name !== 'answer')
  await app.maintenance.set(false)
  answer(false)
  t.equal(await waiting, 'inactive')
})

t.test('several sites', async t => {
  const { app } = await createApp(t, {
    site: request => request.hostname.split('.')[0] as string, sites: ['shop', 'blog'], ignore: { routes: '/health' }
  })
  app.get('/', async request => request.maintenance)
  app.get('/health', async request => request.maintenance)
  const get = async (host: string, url = '/') => {
    const answer = await app.inject({ url, headers: { host } })
    return [answer.statusCode, answer.json().site, answer.json().message ?? answer.json().reason]
  }
  t.strictSame(app.maintenance.sites, ['shop', 'blog'])
  t.strictSame(await get('shop.example'), [200, 'shop', 'inactive'])
  t.strictSame(await get('other.example'), [200, null, 'inactive'])
  await app.maintenance.for('shop').set(true, { message: 'shop is closed', ignoreRoutes: ['/'] })
  await app.maintenance.for('shop').set(true, { message: 'shop is closed' })
  t.strictSame(await get('shop.example'), [503, undefined, 'shop is closed'])
  t.strictSame(await get('blog.example'), [200, 'blog', 'inactive'])
  t.strictSame(await get('other.example'), [503, undefined, 'shop is closed'], 'unknown site: closed if any site is')
  t.strictSame(await get('constructor.example'), [503, undefined, 'shop is closed'])
  t.strictSame(await get('other.example', '/health'), [200, null, 'ignored-route'])
  await app.maintenance.for('shop').set(true, { mode: 'read-only' })
  t.strictSame(await get('other.example'), [200, null, 'read'])
  await app.maintenance.for('shop').set(false)
  t.strictSame(await get('other.example'), [200, null, 'inactive'])
  t.equal(app.maintenance.for('shop').for('blog').status().site, 'blog')

  const unnamed = { code: 'FST_ERR_MAINTENANCE_SITE', message: /for\(site\) with one of shop, blog/ }
  t.throws(() => app.maintenance.active, unnamed)
  t.throws(() => app.maintenance.status(), unnamed)
  t.throws(() => app.maintenance.onChange(() => {}), unnamed)
  t.throws(() => app.maintenance.explain({} as FastifyRequest), unnamed)
  await t.rejects(app.maintenance.set(true), unnamed)
  await t.rejects(app.maintenance.run(() => t.fail('must not run')), unnamed)
  await t.rejects(app.maintenance.refresh(), unnamed)
  t.throws(() => app.maintenance.for('Shop'), {
    code: 'FST_ERR_MAINTENANCE_SITE', message: /'Shop' is unknown, expected one of shop, blog/
  })
})

t.test('a site function that throws: blocked if any site is closed', async t => {
  const { app } = await createApp(t, { site: () => { throw new Error('no host') }, sites: ['a', 'b'] })
  const run = counter()
  app.get('/', run)
  t.equal((await app.inject('/')).statusCode, 200)
  await app.maintenance.for('b').set(true)
  t.equal((await app.inject('/')).statusCode, 503)
  t.equal(run.runs, 1)
})

t.test('a server of one site can know others, but requests belong to its own', async t => {
  const { app } = await createApp(t, { site: 'blog', sites: ['shop', 'blog'] })
  app.get('/', async () => 'open')
  await app.maintenance.for('shop').set(true)
  t.equal((await app.inject('/')).body, 'open')
  t.equal(app.maintenance.active, false)
  t.equal(app.maintenance.status().site, 'blog')
})

t.test('encapsulation: a child gates only itself, and two registrations are independent', async t => {
  const { app } = await createApp(t)
  app.get('/root', async request => request.maintenance.reason)
  await app.register(async child => {
    await child.register(maintenance, { site: 'inner' })
    child.get('/child', async request => request.maintenance.site)
    child.get('/close', { config: { maintenance: 'off' } }, async () => (await child.maintenance.set(true)).site)
  })
  t.equal((await app.inject('/child')).body, 'inner')
  t.equal((await app.inject('/close')).body, 'inner')
  t.equal((await app.inject('/child')).statusCode, 503)
  t.equal((await app.inject('/root')).body, 'inactive')
  t.equal(app.maintenance.active, false)
})

t.test("the application's @fastify/view is untouched, registered before or after", async t => {
  for (const order of ['before', 'after']) {
    const { app } = bareApp(t)
    const register = async () => {
      await app.register(view, {
        engine: { eta: new Eta() }, templates: t.testdir({ 'x.eta': 'hello <%= it.name %>' })
      })
    }
    if (order === 'before') await register()
    await app.register(maintenance)
    if (order === 'after') await register()
    app.get('/', (_request, reply) => reply.view('x', { name: order }))
    t.equal((await app.inject('/')).body, `hello ${order}`)
    await app.maintenance.set(true)
    t.match((await app.inject({ url: '/', headers: { accept: 'text/html' } })).body, /Down for maintenance/)
  }
})

t.test('blocked requests log at debug level only', async t => {
  const { app, lines } = await createApp(t, {}, { disableRequestLogging: true })
  await app.maintenance.set(true)
  const before = lines.length
  for (let i = 0; i < 100; i++) await app.inject('/')
  t.equal(lines.length, before + 100)
  t.strictSame([...new Set(lines.slice(before).map(line => line.level))], [20])
  t.match(lines.at(-1), { maintenance: { blocked: true, reason: 'active', site: 'default' } })
})

t.test('options that Fastify passes on are no errors', async t => {
  const { app } = bareApp(t)
  await app.register(maintenance, { prefix: '/x', logLevel: 'warn' } as FastifyMaintenanceOptions)
  t.equal(app.maintenance.active, false)
})

t.test('an endless forwarded chain is not followed: it costs no time and lets nothing through', async t => {
  const { app } = await createApp(t, { ignore: { ips: '192.0.2.0/24' } }, { trustProxy: '127.0.0.1' })
  app.get('/', async request => request.ip)
  await app.maintenance.set(true)
  const ask = async (forwarded: string) => (await app.inject({
    url: '/', headers: { 'x-forwarded-for': forwarded }
  })).statusCode
  t.equal(await ask('192.0.2.1'), 200)
  t.equal(await ask(`${'127.0.0.1, '.repeat(370)}192.0.2.1`), 200, '4,079 characters')
  t.equal(await ask(`192.0.2.1, ${'127.0.0.1, '.repeat(1500)}127.0.0.1`), 503)
  t.equal(await ask(`${'127.0.0.1, '.repeat(1500)}192.0.2.1`), 503)
})
