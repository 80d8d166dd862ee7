import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import cookie from '@fastify/cookie'
import view from '@fastify/view'
import { Eta } from 'eta'
import type { InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import maintenance from '../index.ts'
import maintenanceAdmin, {
  adminTexts, fastifyMaintenanceAdmin, type FastifyMaintenanceAdminOptions
} from '../lib/admin/index.ts'
import type { MaintenanceStatus } from '../types/index.ts'
import { bareApp, createApp, until, stateFile } from './fixtures/app.ts'
import { adminApp, FORM, OWN, postForm, postJson, PROTECTED, stateOf } from './fixtures/admin.ts'

t.test('the package: as ES module and as CommonJS', async t => {
  t.equal(maintenanceAdmin, fastifyMaintenanceAdmin)
  const imported = await import('fastify-maintenance/admin')
  const required = createRequire(import.meta.url)('fastify-maintenance/admin')
  for (const plugin of [
    imported.default, imported.fastifyMaintenanceAdmin, required, required.default, required.fastifyMaintenanceAdmin
  ]) {
    const { app } = await createApp(t)
    await app.register(plugin, { authorize: () => true })
    t.equal((await app.inject('/state')).statusCode, 200)
  }
  t.strictSame(required.adminTexts, adminTexts)
})

t.test('registration: invalid options are rejected, by name', async t => {
  const wrong: [object, RegExp][] = [
    [
      {}, /option 'authorize' is undefined, expected a function \(request, reply\) that returns true or the user's name/
    ],
    [{ authorize: true }, /option 'authorize' is true, expected a function/],
    [{ authorize: () => true, autorize: 1 }, /unknown option 'autorize' of the admin page. Did you mean authorize\?/],
    [{ authorize: () => true, texts: {} }, /option 'texts' is {}/],
    [{ authorize: () => true, texts: [] }, /option 'texts' is \[\]/],
    [{ authorize: () => true, texts: { 'e n': adminTexts.en } }, /option 'texts' is 'e n', expected a language/],
    [{
      authorize: () => true, texts: { fr: { ...adminTexts.en, title: undefined } }
    }, /option 'texts.fr.title' is undefined/],
    [{
      authorize: () => true, texts: { fr: { ...adminTexts.en, titel: 'x' } }
    }, /unknown option 'texts.fr.titel' of the admin page\. Did you mean title\?/]
  ]
  for (const [options, message] of wrong) {
    const { app } = await createApp(t)
    await t.rejects(async () => { await app.register(maintenanceAdmin, options as FastifyMaintenanceAdminOptions) }, {
      code: 'FST_ERR_MAINTENANCE_OPTION', message
    })
  }
  const { app: without } = bareApp(t)
  await t.rejects(async () => { await without.register(maintenanceAdmin, { authorize: () => true }) }, {
    message: /'fastify-maintenance' of plugin 'fastify-maintenance-admin' is not registered/
  })
})

t.test('the four URLs: headers while open and closed; GET and HEAD change nothing', async t => {
  const app = await adminApp(t)
  for (const on of [false, true]) {
    if (on) await app.maintenance.set(true, { message: '<b>"Back" & soon</b>\n\nBye' })
    for (const url of [
      '/maintenance',
      '/maintenance/',
      '/maintenance/state',
      '/maintenance/state?site=default&on=false',
      '/maintenance/events'
    ]) {
      for (const method of ['GET', 'HEAD'] as const) {
        if (url.endsWith('events') && method === 'GET') continue
        const { revision } = app.maintenance.status()
        const answer = await app.inject({ url, method })
        t.match(answer, { statusCode: 200, headers: PROTECTED }, `${method} ${url}`)
        t.equal(app.maintenance.status().revision, revision)
      }
    }
    t.equal((await app.inject('/')).statusCode, on ? 503 : 200)
  }
  const page = await app.inject('/maintenance/')
  t.match(page.headers, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': /^default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'$/
  })
  t.match(page.body, '&lt;b&gt;&quot;Back&quot; &amp; soon&lt;/b&gt;')
  t.notMatch(page.body, /(src|href)="?(https?:)?\/\//, 'it loads nothing')
  t.notMatch(page.body, / on\w+="/, 'no script in attributes')
  t.match(page.body, /action="\.\/state"/)
  t.match(
    (await app.inject('/maintenance')).body,
    /action="\.\/maintenance\/state"/,
    'relative, for proxies that strip a prefix'
  )
  t.strictSame((await app.inject('/maintenance/state')).json(), { sites: [app.maintenance.status()] })
  t.match(
    await app.inject('/maintenance/bypass'),
    { statusCode: 200, body: /Enter during maintenance/ },
    'the bypass page'
  )
  t.match(await app.inject({ method: 'DELETE', url: '/maintenance/state' }), { statusCode: 503 })
})

t.test('JSON: the exact answers', async t => {
  const app = await adminApp(t)
  const on = await postJson(app, {
    site: 'default',
    action: 'on',
    message: 'Moving',
    mode: 'read-only',
    endsAt: '2999-01-01T01:00+01:00',
    retryAfter: 60,
    ignoreRoutes: ['/a', { pattern: '/b/*', description: 'b' }],
    bypass: true,
    by: 'somebody',
    expectedRevision: 0
  })
  t.match(on, { statusCode: 200, headers: PROTECTED })
  const { bypass, ...status } = on.json()
  t.match(bypass, { secret: /^[\w-]{32}$/, path: /^\/maintenance\/bypass#/ })
  t.strictSame(status, JSON.parse(JSON.stringify(app.maintenance.status())))
  t.match(status, {
    active: true, message: 'Moving', mode: 'read-only', endsAt: '2999-01-01T00:00:00.000Z', retryAfter: 60, by: 'ops'
  })
  t.match(status.windows[0], {
    ignoreRoutes: [{ pattern: '/a', description: null }, { pattern: '/b/*', description: 'b' }], by: 'ops', bypass: true
  })
  t.notOk('bypass' in await stateOf(app))
  t.match(await postJson(app, { action: 'off' }), { statusCode: 200 }, 'the only site need not be named')
  t.equal(app.maintenance.active, false)
  t.match((await postJson(app, { site: 'default', action: 'on', mode: 'hold' })).json(), { active: true, mode: 'hold' })
  t.match((await postJson(app, { action: 'off' })).json(), { active: false })

  const { revision } = app.maintenance.status()
  const wrong: [unknown, number, string, RegExp, string?][] = [
    [null, 400, '_CHANGE', /the body is null, expected an object/],
    [[true], 400, '_CHANGE', /the body is \[ true \]/],
    [{}, 400, '_CHANGE', /action is undefined, expected 'on', 'off', 'update' or 'cancel'/, 'action'],
    [{ on: true }, 400, '_CHANGE', /action is undefined/, 'action'],
    [{ action: 'of' }, 400, '_CHANGE', /action is 'of', expected 'on', 'off', 'update' or 'cancel'/, 'action'],
    [{ action: null }, 400, '_CHANGE', /action is null/, 'action'],
    [{ action: 'toString' }, 400, '_CHANGE', /action is 'toString'/, 'action'],
    [{ action: 'on', window: 'x' }, 400, '_CHANGE', /window is 'x'/, 'window'],
    [{ action: 'on', force: true }, 400, '_CHANGE', /force is true/, 'force'],
    [{ action: 'off', force: 'yes' }, 400, '_CHANGE', /force is 'yes'/, 'force'],
    [{
      action: 'update', window: { toString: 1 }, message: 'x'
    }, 400, '_CHANGE', /window is .* the id of a window/, 'window'],
    [{ action: 'update', message: 'x' }, 400, '_CHANGE', /there is no window to change/, 'window'],
    [{ action: 'update' }, 400, '_CHANGE', /at least one of/, 'the change'],
    [{ action: 'update', wait: 5, message: 'x' }, 400, '_CHANGE', /unknown field 'wait'/, 'wait'],
    [{ action: 'cancel' }, 400, '_CHANGE', /planned/, 'window'],
    [{ action: 'on', messsage: 'x' }, 400, '_CHANGE', /unknown field 'messsage'. Did you mean message\?/, 'messsage'],
    [{ action: 'on', wait: 5 }, 400, '_CHANGE', /unknown field 'wait'/, 'wait'],
    [{ action: 'off', message: 'x' }, 400, '_CHANGE', /unknown field 'message'/, 'message'],
    [{ action: 'on', endsAt: '2020-01-01T00:00:00Z' }, 400, '_CHANGE', /endsAt .* a time in the future/, 'endsAt'],
    [{ action: 'on', endsAt: '2999-01-01T00:00:00' }, 400, '_CHANGE', /with a zone/, 'endsAt'],
    [{
      action: 'on', ignoreRoutes: [{ pattern: 'x' }]
    }, 400, '_CHANGE', /ignoreRoutes\[0\].pattern/, 'ignoreRoutes[0].pattern'],
    [{ action: 'on', token: 'x' }, 400, '_CHANGE', /token/, 'token'],
    [{ action: 'on', expectedRevision: 1 }, 409, '_CONFLICT', new RegExp(
      `the stored revision is ${revision}, expected 1`
    )],
    [{ action: 'on', site: 'shop' }, 404, '_SITE', /site 'shop' is unknown, expected one of default/],
    [{ action: 'on', site: { toString: 1 } }, 404, '_SITE', /is unknown/]
  ]
  for (const [body, statusCode, code, message, field] of wrong) {
    const answer = await postJson(app, body)
    t.match(answer, { statusCode, headers: PROTECTED }, JSON.stringify(body))
    t.match(answer.json(), { statusCode, code: `FST_ERR_MAINTENANCE${code}`, error: /\w/, message })
    t.equal(answer.json().field, field)
  }
  t.equal(app.maintenance.status().revision, revision, 'nothing changed')
  t.equal(({} as { action?: string }).action, undefined)
  const raw = (payload: string, type: string, method: InjectOptions['method'] = 'POST') =>
    app.inject({ method: method as 'POST', url: '/maintenance/state', headers: { 'content-type': type }, payload })
  t.match(await raw('{"action":"on"', 'application/json'), {
    statusCode: 400, body: /"code":"FST_ERR_MAINTENANCE_CHANGE".*the body is '{\\"action\\":\\"on\\"', expected JSON/
  })
  t.match(
    await raw('{"action":"on","__proto__":{"action":"on"}}', 'application/json'),
    { statusCode: 400, body: /__proto__/ }
  )
  for (const type of [
    'text/plain',
    'text/plain; application/json',
    'application/merge-patch+json',
    'multipart/form-data; boundary=x',
    'image/png'
  ]) {
    t.match(
      await raw('{"action":"on"}', type),
      { statusCode: 415, headers: PROTECTED, body: /FST_ERR_CTP_INVALID_MEDIA_TYPE/ },
      type
    )
  }
  t.match(await raw(JSON.stringify({
    action: 'on', message: 'x'.repeat(70_000)
  }), 'application/json'), { statusCode: 413, headers: PROTECTED })
  t.match(await app.inject({ method: 'POST', url: '/maintenance/state' }), {
    statusCode: 400, body: /the body is undefined/
  })
  t.equal(app.maintenance.status().revision, revision)
})

t.test('windows are announced, changed, extended and cancelled, as JSON and by forms', async t => {
  const app = await adminApp(t)
  const planned = (await postJson(app, {
    action: 'on', startsAt: '2999-01-01T00:00Z', endsAt: '2999-01-01T01:00Z', message: 'Next'
  })).json()
  t.match(planned, { active: false, mode: null, windows: [{ kind: 'planned', message: 'Next' }] })
  const { id } = planned.windows[0]
  t.match((await postJson(app, { action: 'update', window: id, mode: 'hold', message: null })).json().windows, [
    { id, mode: 'hold', message: null, endsAt: '2999-01-01T01:00:00.000Z' }
  ])
  t.match(await postJson(app, { action: 'update', window: 'other', mode: 'hold' }), {
    statusCode: 400, body: /window 'other' does not exist/
  })
  t.match(await postForm(app, { action: 'update', window: id, endsAt: '+30m' }), { statusCode: 303 })
  t.match(await postForm(app, [
    ['action', 'update'], ['window', id], ['ignoreIps', '10.0.0.0/8\r\n\r\n 192.0.2.7 '],
    ['onlyRoutes', '/shop/*\r\n/blog'], ['ignoreRoutes', '/a\n/b'], ['ignoreRoutesDescription', 'for a'],
    ['message.en', 'Hi'], ['message.de', ' '], ['mode', ''], ['bypass', '']
  ]), { statusCode: 303 })
  const [window] = app.maintenance.status().windows
  t.match(window, {
    mode: 'hold',
    message: { en: 'Hi' },
    endsAt: '2999-01-01T01:30:00.000Z',
    ignoreIps: ['10.0.0.0/8', '192.0.2.7'],
    onlyRoutes: ['/shop/*', '/blog'],
    ignoreRoutes: [{ pattern: '/a', description: 'for a' }, { pattern: '/b', description: null }]
  })
  const page = (await app.inject('/maintenance/')).body
  for (const shown of [
    /Open, closing announced/, /Planned/, /name="message.en"/, /10\.0\.0\.0\/8\n192\.0\.2\.7<\/textarea>/,
    /\/shop\/\*\n\/blog<\/textarea>/, /value="\+60m"/, /Cancel this window/
  ]) t.match(page, shown)
  t.match(await postForm(app, {
    action: 'update', window: id, ignoreIps: '', onlyRoutes: '', ignoreRoutes: '', 'message.en': '', endsAt: ''
  }), { statusCode: 303 })
  t.match(
    app.maintenance.status().windows[0],
    { message: null, endsAt: null, ignoreIps: [], onlyRoutes: [], ignoreRoutes: [] },
    'empty fields are unset'
  )
  const wrong = await postForm(app, {
    action: 'update', window: id, ignoreIps: '10.0.0.0/8\nnowhere', onlyRoutes: 'nothing'
  })
  t.match(wrong, { statusCode: 400, body: /Please check the marked fields/ })
  t.match(await postForm(app, { action: 'cancel', window: id }), { statusCode: 303 })
  t.strictSame(app.maintenance.status().windows, [])
  t.match((await app.inject('/maintenance/')).body, /Cancelled[^]*Changed[^]*Announced/)
})

t.test('several sites: a change names one, or gets a 404', async t => {
  const app = await adminApp(t, { site: request => String(request.headers['x-site']), sites: ['shop', 'blog'] })
  t.match(await postJson(app, { action: 'on' }), {
    statusCode: 404, body: /undefined is unknown, expected one of shop, blog/
  })
  t.match(await postForm(app, { action: 'on' }), { statusCode: 404, body: /undefined is unknown/ })
  t.match(await postForm(app, { action: 'on', site: 'nope' }), { statusCode: 404, body: /role="alert"[^]*nope/ })
  t.match(await postForm(app, { action: 'on', site: 'blog', bypass: 'true' }), { statusCode: 303 })
  const { sites } = (await app.inject('/maintenance/state')).json()
  t.strictSame(sites.map(({ site, active }: MaintenanceStatus) => [site, active]), [['shop', false], ['blog', true]])
  t.match((await app.inject('/maintenance/')).body, /<nav id="overview"[^]*#site-0[^]*#site-1/)
  t.match((await app.inject('/maintenance/')).body, /Close this site[^]*Announce a window[^]*Later by[^]*Change/)
})

t.test('inside an application with its own view, parsers, hooks and prefix', async t => {
  const { app } = bareApp(t, { rewriteUrl: request => String(request.url).replace(/^\/behind/, '') })
  await app.register(cookie)
  await app.register(view, { engine: { eta: new Eta() }, templates: t.testdir({ 'home.eta': 'home' }) })
  await app.register(maintenance, { bypass: {} })
  app.addContentTypeParser(FORM, { parseAs: 'string' }, (_request, _body, done) => done(null, 'the application’s own'))
  // as @fastify/helmet sets them
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers({
      'content-security-policy': "default-src 'self'; frame-ancestors 'self'",
      'referrer-policy': 'no-referrer',
      'x-frame-options': 'SAMEORIGIN'
    })
  })
  const routes: { url: string, schema?: object | undefined }[] = []
  app.addHook('onRoute', ({ url, schema }) => { routes.push({ url, schema }) })
  await app.register(maintenanceAdmin, { prefix: '/deep/:team/admin', authorize: () => true })
  app.post('/own', async request => request.body)
  app.get('/home', async (_request, reply) => reply.view('home'))
  t.ok(routes.filter(({ url }) => url.startsWith('/deep')).every(
    ({ schema }) => (schema as { hide?: boolean }).hide === true
  ), 'hidden from @fastify/swagger')
  t.equal((await app.inject({
    method: 'POST', url: '/own', headers: { 'content-type': FORM }, payload: 'a=b'
  })).body, 'the application’s own')
  t.equal((await app.inject('/home')).body, 'home')
  for (const url of ['/deep/a/admin', '/deep/a/admin/', '/deep/a/admin/state']) {
    t.match(await app.inject(url), { statusCode: 200, headers: PROTECTED }, url)
  }
  const headers = { 'content-type': FORM, ...OWN }
  t.equal((await app.inject({
    method: 'POST', url: '/behind/deep/a/admin/state', headers, payload: 'action=on'
  })).headers.location, '/behind/deep/a/admin/')
  t.match(await app.inject({
    method: 'POST', url: '/deep/a/admin/state', headers, payload: 'action=on&retryAfter=x'
  }), { statusCode: 400, body: /action="\.\/state"/ })
  t.match(await app.inject('/home'), { statusCode: 503 })
})

/** The example of `npm start`, which loads the build. */
function startExample (t: Test, env: NodeJS.ProcessEnv) {
  const child = spawn(process.execPath, [
    '--import', 'tsx', 'examples/site/server.ts'
  ], { env: { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0', PORT: '0', STATE_FILE: stateFile(t), ...env } })
  t.teardown(async () => {
    child.kill()
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const example = { child, text: '', address: () => /admin page: +(http:.*)\/maintenance\//.exec(example.text)?.[1] }
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => { example.text += chunk })
  return example
}

t.test('the example: behind a sign-in; the default password works on localhost only', async t => {
  const outside = startExample(t, { HOST: '0.0.0.0' })
  const example = startExample(t, {})
  const [code] = await once(outside.child, 'exit')
  t.not(code, 0)
  t.match(outside.text, /No start on 0\.0\.0\.0 with the default password/)
  await until('it listens', () => example.address() !== undefined, 30_000)
  const ask = (path: string, init: RequestInit = {}) =>
    fetch(`${example.address()}${path}`, { redirect: 'manual', ...init })
  const signIn = (password: string) => ask('/sign-in', { method: 'POST', body: new URLSearchParams({ password }) })
  const json = { 'content-type': 'application/json' }
  const close = { method: 'POST', headers: json, body: '{"action":"on"}' }
  t.equal((await ask('/maintenance/', { headers: { accept: 'text/html' } })).headers.get('location'), '/sign-in')
  t.equal((await ask('/maintenance/state', close)).status, 401)
  t.equal((await signIn('wrong')).status, 401)
  const signedIn = await signIn('maintenance')
  t.match(signedIn, { status: 303 })
  const cookie = signedIn.headers.getSetCookie().join('; ')
  t.equal((await ask('/maintenance/state', { ...close, headers: { ...json, cookie } })).status, 200)
  t.equal((await ask('/')).status, 503)
  t.equal((await ask('/sign-in')).status, 200, 'the sign-in stays open')
  t.equal((await ask('/maintenance/bypass')).status, 200)
  t.match(await (await ask('/maintenance/', { headers: { cookie } })).text(), /Closed[^]*admin/)
  t.equal((await ask('/sign-out', { method: 'POST', headers: { cookie } })).status, 303)
  t.equal((await ask('/maintenance/state', { headers: { cookie } })).status, 401)
})

t.test('docs/admin-page.md: every request and its exact answer', async t => {
  const app = await adminApp(t, { store: { file: stateFile(t) }, bypass: {} }, { authorize: () => 'ada' })
  const blocks = [
    ...readFileSync('docs/admin-page.md', 'utf8').matchAll(/^```http\n([^]*?)\n```$/gm)
  ].map(([, text]) => text as string)
  t.equal(blocks.length, 10)
  // values that differ each time
  const still = (text: string) => text.replace(/"\d{4}-[\d:.T-]+Z"/g, '"TIME"').replace(
    /"revision":[1-9]\d*/g,
    '"revision":N'
  ).replace(/(?<=#|"secret":")[\w-]{32}/g, 'SECRET').replace(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, 'ID')
  for (let i = 0; i < blocks.length; i += 2) {
    const parse = (block: string) => {
      const [head = '', payload = ''] = block.split('\n\n')
      const [first = '', ...headers] = head.split('\n')
      return { first, headers: Object.fromEntries(headers.map(line => line.split(': ') as [string, string])), payload }
    }
    const { first, headers, payload } = parse(blocks[i] as string)
    const [method, url] = first.split(' ')
    const answer = await app.inject({ method: method as 'POST', url: url as string, headers, payload })
    const expected = parse(blocks[i + 1] as string)
    t.equal(`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}`, expected.first, first)
    t.match(answer.headers, expected.headers)
    t.equal(still(answer.body), still(expected.payload))
  }
})
