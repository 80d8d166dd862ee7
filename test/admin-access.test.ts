import { createHash, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import auth from '@fastify/auth'
import basicAuth from '@fastify/basic-auth'
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import type { FastifyInstance, FastifyRequest, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import maintenance from '../index.ts'
import { createGuard } from '../lib/admin/guard.ts'
import maintenanceAdmin, { type FastifyMaintenanceAdminOptions } from '../lib/admin/index.ts'
import { createApp, KEY, until } from './fixtures/app.ts'
import { blocksOf, runPiece } from './fixtures/docs.ts'
import { adminApp, FORM, OWN, postForm, postJson, PROTECTED } from './fixtures/admin.ts'

t.test('authorize: anything but true or a name is rejected', async t => {
  type Refusal = [string, FastifyMaintenanceAdminOptions['authorize'], number, RegExp]
  const REFUSED =
    /^{"statusCode":(\d+),"code":"FST_ERR_MAINTENANCE_FORBIDDEN","error":"\w+","message":"maintenance: authorize rejected the request"}$/
  const refusals: Refusal[] = [
    ['throws', () => { throw Object.assign(new Error('sign in'), { statusCode: 401 }) }, 401, /sign in/],
    ['rejects', async () => {
      throw Object.assign(new Error('not you'), { statusCode: 403, code: 'MINE' })
    }, 403, /"code":"MINE"/],
    ['replies', (_request, reply) => {
      reply.code(401).header('www-authenticate', 'Basic').send('who?')
    }, 401, /^who\?$/],
    ['replies, async', async (_request, reply) => { reply.code(403).send({ mine: true }) }, 403, /^{"mine":true}$/],
    ['returns the reply', async (_request, reply) => reply.code(418).send('tea'), 418, /tea/],
    ['redirects', async (_request, reply) => { reply.redirect('/login') }, 302, /^$/],
    ['is not there', async (_request, reply) => { reply.callNotFound() }, 404, /Route .* not found/],
    ['writes itself', async (_request, reply) => { reply.hijack(); reply.raw.writeHead(401).end('raw') }, 401, /^raw$/],
    ['hijacks, and writes later', (_request, reply) => {
      reply.hijack(); setTimeout(() => reply.raw.writeHead(401).end('later'), 2)
    }, 401, /^later$/],
    ['begins to write', async (_request, reply) => {
      setTimeout(() => reply.raw.end('rest'), 2); reply.raw.writeHead(401).write('the ')
    }, 401, /^the rest$/],
    ['returns control characters', () => ' \u0000\n', 403, REFUSED],
    ['replies, and returns a name', (_request, reply) => { reply.code(401).send('no'); return 'ada' }, 401, /^no$/],
    ['replies, and throws', (_request, reply) => {
      reply.code(401).send('no'); throw new Error('too late')
    }, 401, /^no$/],
    ['returns the reply, and sends later', async (_request, reply) => {
      setTimeout(() => reply.code(401).send('soon'), 2); return reply
    }, 401, /^soon$/],
    ['throws a status', () => { throw Object.assign(new Error('slow down'), { status: 429 }) }, 429, /slow down/],
    // eslint-disable-next-line no-throw-literal
    ['throws no Error', () => { throw { statusCode: 402, message: 'pay first' } }, 402, /pay first/],
    ['throws beside another status', (_request, reply) => {
      reply.code(302); throw Object.assign(new Error('sign in'), { statusCode: 401 })
    }, 401, /sign in/],
    ['calls back with an error', (_request, _reply, done) => {
      setImmediate(done, Object.assign(new Error('not you'), { statusCode: 401 }))
    }, 401, /not you/],
    ['calls back with an error, then with success', (_request, _reply, done) => {
      done(Object.assign(new Error('not you'), { statusCode: 401 })); done()
    }, 401, /not you/],
    ['calls back with an error whose status is on the reply', (_request, reply, done) => {
      reply.code(401); done(new Error('secret'))
    }, 401, REFUSED],
    ['replies, and calls back later', (_request, reply, done) => {
      reply.code(401).send('no'); setImmediate(done)
    }, 401, /^no$/],
    ['replies, and never calls back', (_request, reply, _done) => {
      setImmediate(() => reply.code(401).send('no'))
    }, 401, /^no$/],
    ['calls back with no name', (_request, _reply, done) => done(null, undefined), 403, REFUSED],
    ['calls back with false', (_request, _reply, done) => done(null, false), 403, REFUSED],
    ['calls back with an error that is false', (_request, _reply, done) => done(false), 403, REFUSED],
    ['rejects before it calls back', async (_request, _reply, done) => {
      setTimeout(done, 2); throw new Error('secret')
    }, 403, REFUSED],
    ['throws before it calls back', (_request, _reply, done) => {
      setTimeout(done, 2); throw new Error('secret')
    }, 403, REFUSED],
    ['passes on its arguments', (...args) => { setTimeout(() => args[2]()) }, 403, REFUSED],
    ['throws an error of the server', () => {
      throw Object.assign(new Error('secret'), { statusCode: 503 })
    }, 403, REFUSED],
    ['throws nothing', () => { throw undefined }, 403, REFUSED], // eslint-disable-line no-throw-literal
    ['throws an error whose status cannot be read', () => {
      throw new (class extends Error { get statusCode (): number { throw new Error('secret') } })('secret')
    }, 403, REFUSED],
    ['forgets to send', async (_request, reply) => { reply.code(401) }, 403, REFUSED],
    ['forgets to send, and returns a name', async (_request, reply) => { reply.code(401); return 'ada' }, 403, REFUSED],
    ['does not send its redirect, and returns true', async (_request, reply) => {
      reply.code(302).header('location', '/login'); return true
    }, 403, REFUSED],
    ...[
      undefined, null, false, 0, 1, '', ' \t', Number.NaN, new Error('secret'), {}, [], ['ada'], Object('ada'),
      Symbol('yes'), () => true
    ].flatMap((answer): Refusal[] => [
      [`gives ${inspect(answer)}`, (() => answer) as never, 403, REFUSED],
      [`returns a promise of ${inspect(answer)}`, (async () => answer) as never, 403, REFUSED]
    ])
  ]
  for (const [name, authorize, statusCode, body] of refusals) {
    const { app } = await createApp(t)
    // a slow answer: `reply.sent` is false until it has ended
    app.addHook('onSend', async () => { await new Promise(resolve => setTimeout(resolve, 2)) })
    await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize })
    await app.ready()
    const requests: InjectOptions[] = [
      { url: '/maintenance/' }, { url: '/maintenance/state' }, { url: '/maintenance/events' },
      {
        method: 'POST',
        url: '/maintenance/state',
        headers: { 'content-type': 'application/json' },
        payload: '{"action":"on"}'
      },
      { method: 'POST', url: '/maintenance/state', headers: { 'content-type': FORM, ...OWN }, payload: 'action=on' },
      { method: 'POST', url: '/maintenance/state', headers: { 'content-type': 'text/plain' }, payload: 'action=on' }
    ]
    for (const request of requests) {
      const answer = await app.inject(request)
      t.match(answer, { statusCode, body }, `${name}: ${request.method ?? 'GET'} ${request.url}`)
      if (!/writes|write$/.test(name)) t.match(answer.headers, PROTECTED)
    }
    t.match(app.maintenance.status(), { active: false, revision: 0 }, `${name}: nothing changed`)
  }
  const { app } = await createApp(t)
  app.setErrorHandler((_error, _request, reply) => { reply.code(499).send('the application’s') })
  await app.register(maintenanceAdmin, {
    prefix: '/maintenance', authorize () { throw Object.assign(new Error('no'), { statusCode: 401 }) }
  })
  t.match(await app.inject('/maintenance/'), { statusCode: 499, body: 'the application’s' })
})

t.test('authorize: a failure is logged, and clients do not see its text', async t => {
  const { app, lines } = await createApp(t)
  await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize () { throw new Error('secret') } })
  t.equal((await app.inject('/maintenance/')).statusCode, 403)
  t.match(lines.filter(({ level }) => level === 50), [
    { msg: 'maintenance: authorize failed, the request is rejected', err: { message: 'secret' } }
  ])
})

t.test('authorize: true or a name lets the request through, in every style', async t => {
  const ways: [string, FastifyMaintenanceAdminOptions['authorize'], string | null][] = [
    ['true', () => true, null],
    ['a promise of true', async () => true, null],
    ['a thenable', () => ({ then: (resolve: (name: string) => void) => resolve('ada') }) as never, 'ada'],
    ['default parameters', (request = {} as never) => String(request.headers['x-user']), 'ada'],
    ['done', (_request, _reply, done) => done(), null],
    ['done, as @fastify/auth calls it', (_request, _reply, done) => { setImmediate(done, null) }, null],
    ['done with a name', (_request, _reply, done) => done(null, 'ada'), 'ada'],
    ['done before everything else', async (_request, _reply, done) => {
      done(undefined, 'ada'); done(new Error('no')); throw new Error('no')
    }, 'ada'],
    ['done after a promise of something else', async (_request, _reply, done) => {
      setTimeout(done, 5, null, 'ada'); return 'eve'
    }, 'ada'],
    ['this', function () { return this.hasDecorator('maintenance') && 'ada' }, 'ada'],
    ['this, with done', function (_request, _reply, done) { done(null, this.hasDecorator('maintenance')) }, null]
  ]
  for (const [name, authorize, by] of ways) {
    const app = await adminApp(t, {}, { authorize })
    t.equal((await app.inject({ url: '/maintenance/events', method: 'HEAD' })).statusCode, 200, name)
    t.match(await postJson(app, { action: 'on' }, { 'x-user': 'ada' }), { statusCode: 200 }, name)
    t.equal(app.maintenance.status().by, by, name)
  }
})

t.test('authorize: nothing is written and no stream begins before it agrees', async t => {
  const waiting: (() => void)[] = []
  const app = await adminApp(t, {}, { authorize: (_request, _reply, done) => { waiting.push(done) } })
  let change: number | undefined
  const changing = postJson(app, { action: 'on' }).then(({ statusCode }) => { change = statusCode })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  let text = ''
  socket.on('data', chunk => { text += chunk })
  socket.write('GET /maintenance/events HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await until('both wait', () => waiting.length === 2)
  await app.maintenance.set(true, { mode: 'hold' })
  t.strictSame([change, text, app.maintenance.status().mode], [undefined, '', 'hold'])
  waiting.forEach(done => done())
  await changing
  t.equal(change, 200)
  await until('the stream begins', () => text.includes('event: state'))
})

t.test('authorize: nothing else runs if the client hangs up before its reply is sent', async t => {
  const { app } = await createApp(t)
  const seen = { sending: false, closed: false, sent: false, ran: false }
  app.addHook('preHandler', async () => { seen.ran = true })
  app.addHook('onSend', async (_request, reply) => {
    seen.sending = true
    reply.raw.once('close', () => { seen.closed = true })
    await until('the client is gone', () => seen.closed)
    // time for anything that should not run
    await new Promise(resolve => setTimeout(resolve, 20))
    seen.sent = true
  })
  await app.register(maintenanceAdmin, {
    prefix: '/maintenance', authorize: async (_request, reply) => reply.code(401).send('no')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.write('GET /maintenance/events HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await until('it replies', () => seen.sending)
  socket.destroy()
  await until('the reply was sent', () => seen.sent)
  t.equal(seen.ran, false)
})

t.test('authorize: no answer in time is a 403, and a late answer has no effect', async t => {
  const late: Promise<unknown>[] = []
  const later = (work: () => unknown) => { late.push(new Promise(resolve => setTimeout(resolve, 40)).then(work)) }
  const hanging: FastifyMaintenanceAdminOptions['authorize'][] = [
    async () => new Promise(() => {}),
    async (_request, reply) => reply.code(401),
    (_request, _reply, done) => later(() => done()),
    (_request, _reply, done) => later(() => done(new Error('late'))),
    (_request, reply, _done) => later(() => reply.code(200).send('late')),
    async (_request, reply) => new Promise((_resolve, reject) => later(() => {
      reply.redirect('/login'); reject(new Error('late'))
    }))
  ]
  for (const authorize of hanging) {
    const { app, lines } = await createApp(t)
    let runs = 0
    app.addHook('onRequest', createGuard(app, authorize, 20).onRequest)
    app.get('/', async () => { runs++ })
    t.match(await app.inject('/'), { statusCode: 403, body: /authorize rejected the request/ })
    await Promise.all(late)
    t.equal(runs, 0)
    t.match(lines.filter(({ level }) => level === 50), [{ err: { message: 'authorize did not answer within 20 ms' } }])
  }
})

t.test('authorize: a client that hangs up ends the wait', async t => {
  const { app } = await createApp(t)
  let asked = 0
  let rejected = false
  app.addHook('onError', async (_request, _reply, error) => {
    rejected = error.message === 'maintenance: authorize rejected the request'
  })
  await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize: (_request, _reply, _done) => { asked++ } })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.write('GET /maintenance/ HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await until('authorize is called', () => asked === 1)
  socket.destroy()
  await until('the request is rejected', () => rejected, 5000)
})

t.test('by: from authorize, or else from the body', async t => {
  const names = [
    ['  ada ', 'ada'],
    [true, 'the body'],
    ['x'.repeat(300), 'x'.repeat(200)],
    [`${'x'.repeat(199)}😀`, 'x'.repeat(199)],
    ['ada\nlovelace\u0007\ud800', 'ada lovelace']
  ] as const
  for (const [says, by] of names) {
    const app = await adminApp(t, {}, { authorize: () => says })
    t.equal((await postJson(app, { action: 'on', by: 'the body' })).json().by, by)
  }
})

t.test('a change must come from the page; anything else is rejected, and changes nothing', async t => {
  const app = await adminApp(t, {}, {}, { trustProxy: '127.0.0.1' })
  const rejected: Record<string, string>[] = [
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site', origin: 'http://evil.localhost:80' },
    { 'sec-fetch-site': 'none' },
    { 'sec-fetch-site': '' },
    { origin: 'null' },
    { origin: 'https://evil.test' },
    { origin: 'http://sub.localhost:80' },
    { origin: 'http://localhost:8080' },
    { origin: 'http://localhost.evil.test' },
    { origin: 'ftp://localhost' },
    { origin: '' },
    { origin: 'http://localhost', host: 'a b' },
    { 'sec-fetch-site': 'cross-site', origin: 'http://localhost' },
    { 'sec-fetch-site': 'none', origin: 'http://localhost' },
    { 'sec-fetch-site': 'same-origin, same-origin' },
    { 'sec-fetch-site': 'Same-Origin' },
    { origin: 'https://localhost', 'x-forwarded-host': 'admin.example' }
  ]
  for (const headers of rejected) {
    for (const answer of [
      await postForm(app, { action: 'on' }, headers), await postJson(app, { action: 'on' }, headers)
    ]) {
      t.match(
        answer,
        { statusCode: 403, headers: PROTECTED, body: /FST_ERR_MAINTENANCE_FORBIDDEN/ },
        JSON.stringify(headers)
      )
    }
  }
  t.match(await app.inject({
    method: 'POST',
    url: '/maintenance/state',
    headers: { 'content-type': 'text/plain', origin: 'https://evil.test' },
    payload: '{"action":"on"}'
  }), { statusCode: 403 })
  t.match(app.maintenance.status(), { active: false, revision: 0 })

  const taken: Record<string, string>[] = [
    OWN,
    { ...OWN, origin: 'https://shop.example', host: '10.0.0.7:3000' },
    { ...OWN, origin: 'null' },
    { origin: 'http://localhost:80' },
    { origin: 'https://localhost', host: 'localhost:443' },
    { origin: 'https://admin.example', 'x-forwarded-host': 'admin.example', 'x-forwarded-proto': 'https' },
    { origin: 'https://LOCALHOST', host: 'localhost' }
  ]
  for (const headers of taken) {
    t.match(await postForm(app, { action: 'on' }, headers), { statusCode: 303 }, JSON.stringify(headers))
    t.match(await postJson(app, { action: 'off' }, headers), { statusCode: 200 })
  }
  t.match(await postJson(app, { action: 'off' }), { statusCode: 200 }, 'a program')
  const { revision } = app.maintenance.status()
  for (const type of [FORM, `${FORM.toUpperCase()}; charset=utf-8`, ` ${FORM};x=y`]) {
    const form = await app.inject({
      method: 'POST', url: '/maintenance/state', headers: { 'content-type': type }, payload: 'action=on'
    })
    t.match(
      form,
      { statusCode: 403, headers: PROTECTED, body: /a form needs the header Sec-Fetch-Site or Origin/ },
      type
    )
  }
  t.equal(app.maintenance.status().revision, revision)
})

t.test('a change from another origin is rejected before authorize is called', async t => {
  let calls = 0
  const app = await adminApp(t, {}, { authorize: () => { calls++ } })
  t.match(
    await postJson(app, { action: 'on' }, { 'sec-fetch-site': 'cross-site' }),
    { statusCode: 403, body: /Sec-Fetch-Site/ }
  )
  t.equal(calls, 0)
  t.match(
    await postJson(app, 'no change', OWN),
    { statusCode: 403, body: /authorize rejected/ },
    'authorize runs before the body is read'
  )
  t.equal(calls, 1)
  t.match(await app.inject({
    url: '/maintenance/', headers: { 'sec-fetch-site': 'cross-site' }
  }), { statusCode: 403, body: /authorize rejected/ }, 'links from other sites work')
})

t.test('the token of the form', async t => {
  const app = await adminApp(t, {}, {}, { trustProxy: '127.0.0.1' })
  const other = await adminApp(t, {}, {}, { trustProxy: '127.0.0.1' })
  const page = await app.inject('/maintenance/')
  const [, token = ''] = /name="token" value="([\w-]{32})"/.exec(page.body) ?? []
  t.equal(page.headers['set-cookie'], `maintenance-form=${token}; Path=/; HttpOnly; SameSite=Strict`)
  const cookie = `a=b; maintenance-form=${token}`
  const again = await app.inject({ url: '/maintenance/', headers: { cookie } })
  t.match(again.body, `name="token" value="${token}"`, 'two tabs share a token')
  t.equal(again.headers['set-cookie'], undefined)
  const origin = 'http://localhost'
  for (const server of [app, other]) {
    t.match(
      await postForm(server, { action: 'on', token }, { cookie, origin }),
      { statusCode: 303 },
      'every server accepts it'
    )
  }

  const { revision } = app.maintenance.status()
  for (const fields of [{}, { token: 'wrong' }]) {
    t.match(await postForm(app, { action: 'off', ...fields }, { cookie, origin }), {
      statusCode: 403, headers: PROTECTED, body: /The form had expired/
    })
  }
  t.equal(app.maintenance.status().revision, revision)
  t.match(
    await postForm(app, { action: 'on' }, { cookie, ...OWN }),
    { statusCode: 303 },
    'the browser reports the same origin'
  )
  t.match(
    await postForm(app, { action: 'on', token }, { cookie: 'session=x', origin }),
    { statusCode: 303 },
    'the cookie is gone'
  )
  t.match(await postJson(app, { action: 'on' }, { cookie }), { statusCode: 200 }, 'no form can send JSON')

  const https = { 'x-forwarded-proto': 'https' }
  const secure = await app.inject({ url: '/maintenance/', headers: { ...https, cookie } })
  t.match(
    secure.headers['set-cookie'],
    /^__Host-maintenance-form=[\w-]{32}; Path=\/; HttpOnly; SameSite=Strict; Secure$/,
    'no other host can set it'
  )
})

/** Sends the requests that a guard is tested with, with these headers. */
async function tryGuard (t: Test, app: FastifyInstance, headers: Record<string, string>) {
  const requests: InjectOptions[] = [
    { url: '/maintenance/' }, { url: '/maintenance/state' }, { url: '/maintenance/state', method: 'HEAD' },
    { url: '/maintenance/events', method: 'HEAD' },
    { method: 'POST', url: '/maintenance/state', payload: { action: 'on' } },
    { method: 'POST', url: '/maintenance/state', payload: { action: 'off' } }
  ]
  const answers = []
  for (const request of requests) answers.push(await app.inject({ ...request, headers }))
  const statuses = [...new Set(answers.map(({ statusCode }) => statusCode))]
  t.equal(statuses.length, 1, 'the same on all addresses')
  const [newest] = await app.maintenance.history({ limit: 1 })
  return {
    status: statuses[0], headers: answers[0]?.headers ?? {}, by: newest?.by, revision: app.maintenance.status().revision
  }
}

const basic = (password: string, name = 'ops') => ({
  authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
})

/** An application with a session, in which `/login/NAME` signs in. */
async function sessionApp (t: Test): Promise<FastifyInstance> {
  const { app } = await createApp(t)
  await app.register(cookie)
  await app.register(session, { secret: KEY, cookie: { secure: false } })
  app.get<{ Params: { name: string } }>('/login/:name', async request => {
    const { name } = request.params
    Object.assign(request.session, { user: { name, isAdmin: name === 'ada', isStaff: name === 'ada' } })
  })
  return app
}

async function signIn (app: FastifyInstance, name: string): Promise<{ cookie: string }> {
  return { cookie: String((await app.inject(`/login/${name}`)).headers['set-cookie']).split(';')[0] as string }
}

const ENV = { ADMIN_KEY: 'key', ADMIN_PASSWORD: 'right' }
const scope = (app: FastifyInstance, env: object = ENV) => ({
  app, maintenance, maintenanceAdmin, basicAuth, createHash, timingSafeEqual, process: { env }
})

t.test('docs/admin-page.md: basic auth, a session, a bearer key', async t => {
  const [first, byPassword, bySession, byKey, ...rest] = blocksOf('docs/admin-page.md')
    .filter(({ language }) => language === 'js').map(({ code }) => code) as [string, string, string, string, string]
  t.equal(rest.length, 1, 'the last block shows texts')

  t.test('basic auth', async t => {
    const { app } = await createApp(t)
    await runPiece(byPassword, scope(app))
    for (const headers of [{}, basic('wrong'), basic('right', 'eve'), { authorization: 'Bearer right' }]) {
      t.match(await tryGuard(t, app, headers), {
        status: 401,
        headers: { ...PROTECTED, 'www-authenticate': 'Basic realm="Maintenance", charset="UTF-8"' },
        revision: 0
      })
    }
    t.match(await tryGuard(t, app, basic('right')), { status: 200, by: null })
    const named = await createApp(t)
    const [, way = ''] = /`authorize: (\(request, reply, done\) => .*)`\./.exec(
      readFileSync('docs/admin-page.md', 'utf8')
    ) ?? []
    await runPiece(byPassword.replace('app.basicAuth })', `${way} })`), scope(named.app))
    t.match(await tryGuard(t, named.app, basic('wrong')), { status: 401, revision: 0 })
    t.match(await tryGuard(t, named.app, basic('right')), { status: 200, by: 'ops' })
    await t.rejects(async () => runPiece(byPassword, scope(app, {})), /ADMIN_PASSWORD is not set/)
  })

  t.test('a session', async t => {
    const app = await sessionApp(t)
    await runPiece(bySession, scope(app))
    t.match(await tryGuard(t, app, {}), { status: 302, headers: { ...PROTECTED, location: '/login' }, revision: 0 })
    t.match(await tryGuard(t, app, await signIn(app, 'eve')), { status: 403, revision: 0 })
    t.match(await tryGuard(t, app, await signIn(app, 'ada')), { status: 200, by: 'ada' })

    const short = await sessionApp(t)
    await runPiece(first.replace(/^await app.register\(maintenance, .*$/m, ''), scope(short))
    t.match(await tryGuard(t, short, {}), { status: 403, revision: 0 })
    t.match(await tryGuard(t, short, await signIn(short, 'ada')), { status: 200, by: 'ada' })
  })

  t.test('a bearer key', async t => {
    const { app } = await createApp(t)
    await runPiece(byKey, scope(app))
    for (const authorization of ['', 'Bearer', 'Bearer wrong', 'Bearer undefined', 'Basic key', 'Bearer key2']) {
      t.match(await tryGuard(t, app, { authorization }), { status: 403, revision: 0 }, authorization)
    }
    t.match(await tryGuard(t, app, { authorization: 'Bearer key' }), { status: 200, by: 'deploy' })
    await t.rejects(async () => runPiece(byKey, scope(app, {})), /ADMIN_KEY is not set/)
  })
})

t.test('README: basic auth', async t => {
  const piece = blocksOf('README.md').find(({ code }) => code.includes('fastify-maintenance/admin'))?.code ?? ''
  const { app } = await createApp(t)
  await runPiece(piece, scope(app))
  for (const headers of [{}, basic('wrong'), basic('right', 'eve'), { authorization: 'Bearer right' }]) {
    t.match(await tryGuard(t, app, headers), { status: 401, revision: 0 })
  }
  t.match(await tryGuard(t, app, basic('right')), { status: 200, by: null })
})

t.test('@fastify/auth, with many requests of different users over few connections', async t => {
  const { app } = await createApp(t)
  await app.register(auth)
  await app.register(basicAuth, {
    authenticate: true,
    validate: async (_name, password) => {
      if (await Promise.resolve(password) !== 'right') throw new Error('no')
    }
  })
  const byHeader = (request: FastifyRequest, _reply: unknown, done: (error?: Error) => void) =>
    done(request.headers['x-key'] === 'right' ? undefined : new Error('no key'))
  await app.register(maintenanceAdmin, {
    prefix: '/maintenance', authorize: app.auth([byHeader, app.basicAuth as typeof byHeader])
  })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const agent = new Agent({ keepAlive: true, maxSockets: 2 })
  t.teardown(() => agent.destroy())
  const ask = (path: string, method: string, headers: Record<string, string>, body = '') =>
    new Promise<[number | undefined, string | undefined]>((resolve, reject) => {
      request(`${address}/maintenance/${path}`, {
        agent,
        method,
        headers: {
          ...headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body)
        }
      }, answer => {
        answer.resume().on('end', () => resolve([answer.statusCode, answer.headers['www-authenticate']]))
      }).on('error', reject).end(body)
    })
  const outcomes = await Promise.all(Array.from({ length: 60 }, async (_, i) => {
    const wrong = i % 2 === 1
    const headers: Record<string, string> =
      i % 3 === 0 ? { 'x-key': wrong ? 'wrong' : 'right' } : basic(wrong ? 'wrong' : 'right')
    const [path, method, body] = ([
      ['state', 'POST', '{"action":"off"}'],
      ['state', 'HEAD', ''],
      ['', 'GET', ''],
      ['events', wrong ? 'GET' : 'HEAD', '']
    ] as const)[i % 4] as [string, string, string]
    const [status, challenge] = await ask(path, method, headers, body)
    return wrong ? status === 401 && challenge === 'Basic charset="UTF-8"' : status === 200
  }))
  t.strictSame([...new Set(outcomes)], [true])
})
