import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect, type AddressInfo } from 'node:net'
import cookie from '@fastify/cookie'
import view from '@fastify/view'
import { Eta } from 'eta'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import maintenance from '../index.ts'
import { createEvents } from '../lib/admin/events.ts'
import maintenanceAdmin, {
  adminTexts, fastifyMaintenanceAdmin, type FastifyMaintenanceAdminOptions
} from '../lib/admin/index.ts'
import type { MaintenanceStatus, MaintenanceStore } from '../types/index.ts'
import { bareApp, createApp, until, stateFile } from './fixtures/app.ts'
import { adminApp, FORM, KEY, OWN, postForm, postJson, PROTECTED } from './fixtures/admin.ts'
import { storedWindow, textOf } from './fixtures/records.ts'
import { beatingStore } from './fixtures/requests.ts'

const stateOf = async (
  app: FastifyInstance
): Promise<MaintenanceStatus> => (await app.inject('/maintenance/state')).json().sites[0]

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

t.test('a form saves only the fields that were edited, also after a conflict', async t => {
  const app = await adminApp(t)
  await app.maintenance.set(true, { message: 'first', mode: 'read-only', endsAt: new Date(Date.now() + 3_600_123) })
  const { id, endsAt } = app.maintenance.status().windows[0]!
  const formOf = (body: string) => {
    const [, html = ''] = new RegExp(`id="edit-0-${id}"[^>]*>([^]*?)</details>`).exec(body) ?? []
    const value = (name: string) => (new RegExp(`name="${name}"[^>]* value="([^"]*)"`).exec(html)?.[1] ??
      '').replaceAll('&quot;', '"')
    const [, message = ''] = /name="message"[^>]*>\n([^<]*)</.exec(html) ?? []
    return {
      action: 'update',
      window: id,
      message,
      mode: /value="([\w-]+)" checked/.exec(html)?.[1] ?? '',
      retryAfter: value('retryAfter'),
      endsAt: value('endsAt'),
      was: value('was'),
      expectedRevision: value('expectedRevision'),
      changedAt: value('changedAt')
    }
  }
  const form = formOf((await app.inject('/maintenance/')).body)
  const { revision } = app.maintenance.status()
  t.match(await postForm(app, form), { statusCode: 303 })
  t.equal(app.maintenance.status().revision, revision, 'nothing to save')
  t.match(await postForm(app, { ...form, retryAfter: '60' }), { statusCode: 303 })
  t.match(
    app.maintenance.status(),
    { message: 'first', mode: 'read-only', retryAfter: 60, endsAt },
    'exact to the millisecond'
  )

  await app.maintenance.update({ message: 'theirs', by: 'eve' })
  const conflict = await postForm(app, { ...form, mode: 'hold' })
  t.match(conflict, { statusCode: 409, body: /Someone else made a change first/ })
  const again = formOf(conflict.body)
  t.match(again, { message: 'theirs', mode: 'hold', retryAfter: '60' })
  t.match(await postForm(app, again), { statusCode: 303 })
  t.match(app.maintenance.status(), { message: 'theirs', mode: 'hold', retryAfter: 60 })

  const late = formOf((await app.inject('/maintenance/')).body)
  await app.maintenance.set(false)
  const gone = await postForm(app, { ...late, message: 'typed' })
  t.match(gone, { statusCode: 409, body: /id="edit-0-close" data-part data-dirty open/ })
  t.match(gone.body, '\ntyped</textarea>')
})

t.test('a run keeps the site closed if its server is lost or has stopped', async t => {
  const store = beatingStore()
  const at = new Date().toISOString()
  store.records.set('default', textOf([1, 2].map(
    pid => storedWindow({ id: `run ${pid}`, kind: 'run', host: 'web-1', pid, at, lease: null })
  )))
  const app = await adminApp(t, { store })
  const [own] = await app.maintenance.servers()
  const write = (pid: number, entry: object) =>
    store.entries.set(String(pid), JSON.stringify({
      ...own, id: String(pid), host: 'web-1', pid, startedAt: '2001-01-01T00:00:00.000Z', ...entry
    }))
  write(1, { seenAt: '2001-01-01T00:00:00.000Z' })
  write(2, { left: true })
  const { body } = await postForm(app, { action: 'off' })
  t.match(body, /web-1, process 1\s* · <b>lost<\/b>[^]*web-1, process 2\s* · <b>stopped<\/b>/)
})

t.test('a run keeps the site closed until forced; renewing its lease is no conflict', async t => {
  const app = await adminApp(t)
  let aborted = false
  const running = app.maintenance.run(({ signal }) => new Promise(
    resolve => signal.addEventListener('abort', () => { aborted = true; resolve(1) })
  ), { message: 'Upgrading', by: 'deploy', lease: '1s' })
  await until('it runs', () => app.maintenance.active)
  const { changedAt, revision } = app.maintenance.status()
  t.match((await postJson(app, { action: 'off' })).json(), {
    statusCode: 409, code: 'FST_ERR_MAINTENANCE_RUNNING', runs: [{ pid: process.pid, by: 'deploy' }]
  })
  await until('the lease was renewed', () => app.maintenance.status().revision > revision)
  const rejected = await postForm(app, {
    action: 'off', expectedRevision: String(revision), changedAt: String(changedAt)
  })
  t.match(rejected, { statusCode: 409, body: /Open anyway/ })
  t.match(rejected.body, `process ${process.pid} · deploy`)
  t.match(await postForm(app, { action: 'off', force: 'true' }), { statusCode: 303 })
  await running
  t.ok(aborted)
  t.match((await app.inject('/maintenance/')).body, /Opened[^]*Run started/)
})

t.test('texts: the type names those of the locales', async t => {
  const [, union = ''] = /AdminText =([^]*?)\n\n/.exec(readFileSync('types/admin.ts', 'utf8')) ?? []
  t.strictSame([...union.matchAll(/'([\w-]+)'/g)].map(([, name]) => name).sort(), Object.keys(adminTexts.en).sort())
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

t.test('a form: same names as JSON, empty means unset, 303 on success only', async t => {
  const app = await adminApp(t)
  const done = await postForm(app, [['site', ''], ['action', 'on'], ['message', 'Hi\r\nyou'], ['mode', ''], [
    'startsAt', ''
  ], ['endsAt', '2999-01-01T00:00'], ['retryAfter', '60'], ['bypass', ''], ['by', ''], ['expectedRevision', '0'],
  ['ignoreRoutes', '/a'], ['ignoreRoutesDescription', 'for a'], ['ignoreRoutes', ''],
  ['ignoreRoutesDescription', ''], ['ignoreRoutes', ' /b/* ']])
  t.match(done, { statusCode: 303, headers: { ...PROTECTED, location: '/maintenance/' } })
  t.match(await stateOf(app), {
    active: true,
    message: 'Hi\nyou',
    mode: 'full',
    endsAt: '2999-01-01T00:00:00.000Z',
    retryAfter: 60,
    by: 'ops',
    windows: [{ ignoreRoutes: [{ pattern: '/a', description: 'for a' }, { pattern: '/b/*', description: null }] }]
  })
  t.match(
    (await app.inject('/maintenance/')).body,
    /value="2999-01-01T00:00"[^]*name="retryAfter"[^>]* value="60"[^]*value="\/a"[^]*value="for a"/,
    'the form shows the values'
  )
  t.match(await postForm(app, { action: 'off' }), { statusCode: 303 })
  t.equal((await stateOf(app)).active, false)
  t.match(await postForm(app, { action: 'on', message: 'x' }), { statusCode: 303 })
  t.match(await postForm(app, { action: 'off' }), { statusCode: 303 })
  t.equal((await stateOf(app)).active, false)

  const { revision } = await stateOf(app)
  const wrong = await postForm(app, [['action', 'on'], ['message', ' typed <b> '], [
    'mode', 'half'
  ], ['startsAt', '2999-01-01T00:00:00.000Z'], ['endsAt', 'tomorrow'], ['retryAfter', 'soon'], ['bypass', 'yes'],
  ['ignoreRoutes', '/ok'], ['ignoreRoutesDescription', 'fine'], ['ignoreRoutes', 'wrong'],
  ['ignoreRoutesDescription', 'kept']])
  t.match(wrong, { statusCode: 400, headers: { ...PROTECTED, 'content-type': /html/ } })
  for (const kept of [
    '\n typed &lt;b&gt; </textarea>', 'value="2999-01-01T00:00"', 'value="tomorrow"', 'value="soon"', 'value="/ok"',
    'value="fine"', 'value="wrong"', 'value="kept"'
  ]) t.match(wrong.body, kept, `${kept} is kept`)
  t.equal(wrong.body.match(/aria-invalid="true"/g)?.length, 4, 'each wrong field is marked, the others are not')
  t.equal(wrong.body.match(/<p class="error"/g)?.length, 5)
  for (const id of [
    'mode-e-0-announce', 'endsAt-e-0-announce', 'retryAfter-e-0-announce', 'bypass-e-0-announce', 'row-0-announce-1'
  ]) t.match(wrong.body, `id="${id}"`)
  const ends = await postForm(app, {
    action: 'on', startsAt: '2999-01-02T00:00', endsAt: '2999-01-01T00:00', token: ''
  })
  t.match(ends, { statusCode: 400, body: /id="endsAt-e-0-announce"/ })
  t.notMatch(ends.body, /id="startsAt-e-0-announce"/)
  t.match(
    await postForm(app, { action: 'maybe' }),
    { statusCode: 400, body: /action is &#39;maybe&#39;/ },
    'errors without a field are shown at the top'
  )
  t.match(await postForm(app, { action: 'of' }), { statusCode: 400, body: /action is &#39;of&#39;/ })
  t.match(await postForm(app, { message: 'x' }), { statusCode: 400, body: /action is undefined/ })
  t.match(await postForm(app, { action: 'on', wait: '5' }), { statusCode: 400, body: /unknown field &#39;wait&#39;/ })
  t.match(await postForm(app, { action: 'off', message: 'x' }), { statusCode: 400, body: /message/ }, 'as in JSON')
  t.match(await postForm(app, {
    action: 'on', ignoreRoutesDescription: 'x', ignoreRoutes: ''
  }), { statusCode: 400, body: /row-0-close-0/ }, 'a description without a path')
  t.equal((await stateOf(app)).revision, revision)
})

t.test("a conflict shows the other user's change and the typed values", async t => {
  const app = await adminApp(t)
  const { revision } = await app.maintenance.set(true, {
    message: 'theirs',
    by: 'eve',
    mode: 'hold',
    endsAt: '2999-01-01T00:00:30Z',
    ignoreRoutes: ['/theirs', { pattern: '/x', description: 'y' }]
  })
  const answer = await postForm(app, { action: 'on', message: 'mine', expectedRevision: '0', retryAfter: '5' })
  t.match(answer, {
    statusCode: 409,
    body: /Someone else made a change first[^]*On hold[^]*2999-01-01 00:00 UTC[^]*theirs[^]*eve[^]*\/theirs\n\/x \(y\)[^]*\nmine<\/textarea>/
  })
  t.match(answer.body, `name="expectedRevision" value="${revision}"`, 'sending again accepts the change')
  t.equal(app.maintenance.status().message, 'theirs')
  t.match(await postForm(app, {
    action: 'on', message: 'mine', expectedRevision: String(revision)
  }), { statusCode: 303 })
  t.equal(app.maintenance.status().message, 'mine')
})

t.test('a conflict with a change that this server has not read yet', async t => {
  let stored: string | null = null
  const store = (): MaintenanceStore => ({
    read: async () => stored, write: async (_site, text) => { stored = text }, watch () {}, close () {}
  })
  const [one, two] = [await adminApp(t, { store: store() }), await adminApp(t, { store: store() })]
  await two.maintenance.set(true, { message: 'theirs', by: 'eve' })
  t.equal(one.maintenance.active, false)
  const answer = await postForm(one, { action: 'on', message: 'mine', expectedRevision: '0' })
  t.match(answer, { statusCode: 409, body: /Someone else made a change first[^]*theirs[^]*eve/ })
  t.match(answer.body, `name="expectedRevision" value="${two.maintenance.status().revision}"`)
})

t.test('pinned, announced, a store that fails, a record that is invalid', async t => {
  const pinned = await adminApp(t, { pinned: 'closed' })
  t.match(await postJson(pinned, { action: 'off' }), { statusCode: 409, body: /FST_ERR_MAINTENANCE_PINNED/ })
  t.match(await postForm(pinned, { action: 'off' }), { statusCode: 409, body: /this server is pinned closed/ })
  const shown = (await pinned.inject('/maintenance/')).body
  t.match(shown, /cannot be changed here/)
  t.notMatch(shown, /<form/)

  const announced = await adminApp(t, { schedule: { cron: '0 1 1 1 *', duration: '1h', message: 'Every year' } })
  t.match((await announced.inject('/maintenance/')).body, /Every year/)
  await announced.maintenance.set(true, { startsAt: '2998-01-01T00:00:00Z', endsAt: '2999-01-01T00:00:00Z' })
  t.match(
    (await announced.inject('/maintenance/')).body,
    /Open, closing announced[^]*Cancel this window[^]*value="2998-01-01T00:00"/
  )

  const record = { stored: null as string | null, fails: false }
  const answer = async <T>(value: T): Promise<T> => {
    if (record.fails) throw new Error('no <b>disk</b>')
    return value
  }
  const store: MaintenanceStore = {
    read: async () => answer(record.stored),
    write: async (_site, text) => {
      record.stored = await answer(text)
    },
    watch () {},
    close () {},
    listHistory: async () =>
      answer([]),
    heartbeat: async () => {},
    heartbeats: async () => answer([])
  }
  const app = await adminApp(t, { store })
  record.fails = true
  t.match(await postJson(app, { action: 'on' }), { statusCode: 503, body: /FST_ERR_MAINTENANCE_STORE".*no <b>disk/ })
  t.match(await postForm(app, { action: 'on', message: 'typed' }), {
    statusCode: 503, body: /nothing was changed: no &lt;b&gt;disk[^]*typed<\/textarea>/
  })
  await app.maintenance.refresh()
  const down = (await app.inject('/maintenance/')).body
  t.match(down, /The store has a problem[^]*no &lt;b&gt;disk/)
  t.equal(down.match(/The store did not answer/g)?.length, 2, 'neither servers nor history')

  const broken = await createApp(t, {
    store: { ...store, read: async () => 'garbage', write: async (_site, text) => { store.read = async () => text } }
  })
  await broken.app.register(maintenanceAdmin, { prefix: '/maintenance', authorize: () => true })
  t.match(
    (await broken.app.inject('/maintenance/')).body,
    /stored state cannot be read[^]*name="expectedRevision" value=""/
  )
  const fallback = await createApp(t, { store: { ...store, read: async () => { throw new Error('down') } } })
  await fallback.app.register(maintenanceAdmin, { prefix: '/maintenance', authorize: () => true })
  t.match(
    (await fallback.app.inject('/maintenance/')).body,
    /The store has not been reached yet\. Showing the configured default/
  )
  t.notMatch((await fallback.app.inject('/maintenance/')).body, /name="bypass"/, 'only if the option is set')

  const mirror = `${t.testdir()}/mirror.json`
  const before = await createApp(t, { store: { file: mirror } })
  await before.app.maintenance.set(true, { message: 'kept' })
  const away = await adminApp(t, { store: { redis: 'redis://127.0.0.1:1', mirror } })
  t.match(
    (await away.inject('/maintenance/')).body,
    /kept[^]*The store has not been reached yet\. This is the state in the local copy/
  )

  const bug = await adminApp(t)
  bug.maintenance.for('default').set = async () => { throw new Error('a bug') }
  t.match(
    await postForm(bug, { action: 'on' }),
    { statusCode: 500, body: /a bug/ },
    "reaches the application's error handler"
  )
})

t.test('a form whose window is gone moves to one that fits, with the typed values', async t => {
  const app = await adminApp(t)
  const sent = {
    action: 'update', window: 'gone', was: '1', 'message.en': 'Typed', 'message.de': 'Getippt', retryAfter: 'soon'
  }
  t.match(await postForm(
    app,
    { ...sent, startsAt: '2999-01-01T00:00' }
  ), { statusCode: 400, body: /id="edit-0-announce"[^]*(Typed|Getippt)/ }, 'as an announcement')
  t.match(await postForm(app, sent), { statusCode: 400, body: /id="edit-0-close"[^]*(Typed|Getippt)/ }, 'as a closure')
  await app.maintenance.set(true, { message: 'theirs' })
  t.match(
    await postForm(app, sent),
    { statusCode: 400, body: /id="windows-0"[^]*(Typed|Getippt)/ },
    'at the current closure'
  )
})

t.test('a template that fails: the form shows it, and nothing changes', async t => {
  const { app } = bareApp(t)
  app.decorate('view', Object.assign(async (_page: string, { message }: { message: string }) => {
    if (message === 'bad') throw new Error('no <b>such</b> partial')
    return message
  }, { clearCache () {} }) as never)
  await app.register(maintenance, { response: { template: 'x' } })
  await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize: () => true })
  t.match(await postForm(app, { action: 'on', message: 'bad' }), {
    statusCode: 500, body: /the template &#39;x&#39; cannot be rendered: no &lt;b&gt;such[^]*bad<\/textarea>/
  })
  t.match(await postJson(app, { action: 'on', message: 'bad' }), {
    statusCode: 500, body: /FST_ERR_MAINTENANCE_TEMPLATE/
  })
  t.match(app.maintenance.status(), { active: false, revision: 0 })
})

t.test('the bypass link is shown once, on whichever server the browser reaches', async t => {
  const app = await adminApp(t)
  const answer = await postForm(app, { action: 'on', bypass: 'true' })
  const [cookie = ''] = String(answer.headers['set-cookie']).split(';')
  t.match(answer, {
    statusCode: 303,
    headers: { 'set-cookie': /^maintenance-link=[\w-]{32}\.default; Path=\/; Max-Age=60; HttpOnly; SameSite=Strict$/ }
  })
  const other = await adminApp(t)
  const page = await other.inject({ url: '/maintenance/', headers: { cookie } })
  const [, secret = ''] = /value="http:\/\/localhost(?::80)?\/maintenance\/bypass#([\w-]{32})"/.exec(page.body) ?? []
  t.match(cookie, secret)
  t.match([page.headers['set-cookie']].flat(), [/^maintenance-link=; Path=\/; Max-Age=0/])
  t.equal((await app.inject({ url: '/', headers: { 'maintenance-bypass': secret } })).statusCode, 200)
  t.notMatch((await app.inject('/maintenance/')).body, secret)
  for (const value of ['x', `${secret}.unknown`, `${secret}.a"b`, secret]) {
    t.notMatch((await app.inject({
      url: '/maintenance/', headers: { cookie: `maintenance-link=${value}` }
    })).body, /is not shown again/, value)
  }
  t.match(await postForm(app, { action: 'on', bypass: 'false' }), {
    statusCode: 303, headers: { 'set-cookie': undefined }
  })
  t.equal((await app.inject({ url: '/', headers: { 'maintenance-bypass': secret } })).statusCode, 503)
})

t.test('the bypass link includes the prefix of the application', async t => {
  const { app } = bareApp(t)
  await app.register(async child => {
    await child.register(maintenance, { bypass: { key: KEY } })
    await child.register(maintenanceAdmin, { prefix: '/doors', authorize: () => true })
  }, { prefix: '/shop' })
  const answer = await app.inject({
    method: 'POST',
    url: '/shop/doors/state',
    headers: { 'content-type': FORM, ...OWN },
    payload: 'action=on&bypass=true'
  })
  const [cookie = ''] = String(answer.headers['set-cookie']).split(';')
  const [, link = ''] = /value="http:\/\/localhost(?::80)?([^"#]*)#/.exec((await app.inject({
    url: '/shop/doors/', headers: { cookie }
  })).body) ?? []
  t.equal(link, '/shop/maintenance/bypass')
  t.match(await app.inject(link), { statusCode: 200, body: /Enter during maintenance/ })
})

t.test('texts: English, German, others; all can be replaced', async t => {
  const app = await adminApp(t)
  for (const [header, language] of [
    ['de-AT,en;q=0.5', 'de'], ['fr, de;q=0.1', 'de'], ['fr', 'en'], ['en;q=0,de;q=0', 'en'], ['*', 'en'],
    [undefined, 'en']
  ] as const) {
    const answer = await app.inject({
      url: '/maintenance/', headers: header === undefined ? {} : { 'accept-language': header }
    })
    t.match(
      answer,
      { headers: { 'content-language': language }, body: `<html lang="${language}" dir="ltr">` },
      String(header)
    )
  }
  const own = await adminApp(t, {}, { texts: { 'pt-BR': { ...adminTexts.en, title: 'Manutenção <&>' } } })
  t.match((await own.inject({
    url: '/maintenance/', headers: { 'accept-language': 'pt-BR' }
  })).body, '<h1>Manutenção &lt;&amp;&gt;</h1>')
  const rtl = await adminApp(t, {}, { texts: { ar: adminTexts.en } })
  t.match((await rtl.inject('/maintenance/')).body, '<html lang="ar" dir="rtl">')
  t.strictSame(Object.keys(adminTexts.de).sort(), Object.keys(adminTexts.en).sort())
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

/** The events of a stream, as they arrive. */
async function listen (t: Test, app: FastifyInstance) {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const stream = {
    text: '',
    ended: false,
    socket,
    states: () => [
      ...stream.text.matchAll(/^event: state\ndata: (.*)\n\n/gm)
    ].map(([, json]) => JSON.parse(json as string).sites as MaintenanceStatus[])
  }
  socket.on('data', chunk => { stream.text += chunk })
  socket.on('close', () => { stream.ended = true })
  // HTTP/1.0: an answer without chunk sizes
  socket.write('GET /maintenance/events HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n')
  await until('the state comes', () => stream.text.includes('\n\n'))
  return stream
}

t.test('events: the state at once, then each change, also from the command; closing ends them', async t => {
  const file = stateFile(t)
  const app = await adminApp(t, { store: { file }, sites: ['default', 'blog'] }, {}, { forceCloseConnections: false })
  const stream = await listen(t, app)
  t.match(
    stream.text,
    /^HTTP\/1.1 200[^]*content-type: text\/event-stream[^]*\r\n\r\nretry: \d+\nevent: state\ndata: {"sites":\[{"site":"default"/i
  )
  for (const [name, value] of Object.entries(PROTECTED)) {
    t.match(stream.text.toLowerCase(), typeof value === 'string' ? `${name}: ${value.toLowerCase()}` : value, name)
  }
  await until('the first state', () => stream.states().length === 1)

  const { main } = await import('../lib/cli/main.ts')
  const io = { out () {}, err () {} }
  const started = performance.now()
  t.equal(await main(['on', 'blog', '--store', `file:${file}`, '--message', 'from the\ncommand line'], {}, io), 0)
  await until('the change arrives', () => stream.states().length > 1)
  t.comment(`a change by the command arrived after ${Math.round(performance.now() - started)} ms`)
  t.match(stream.states()[1], [
    { site: 'default', active: false }, { site: 'blog', active: true, message: 'from the\ncommand line' }
  ])

  await app.maintenance.set(true, { startsAt: new Date(Date.now() + 300), endsAt: new Date(Date.now() + 600) })
  await until('the window began and ended', () => stream.states().length === 5)
  t.strictSame(
    stream.states().map(([site]) => site?.active),
    [false, false, false, true, false],
    'one event per change'
  )
  t.equal(app.maintenance.status().inFlight, 0, 'a drain does not wait for these streams')

  const second = await listen(t, app)
  second.socket.destroy()
  const closing = app.close()
  await until('the stream ends', () => stream.ended)
  await closing
})

t.test('events: heartbeat, lifetime, limit; a client that does not read is cut off', async t => {
  const { app } = await createApp(t)
  const limits = { heartbeat: 20, lifetime: 60_000, streams: 1, backlog: 1024 * 1024 }
  const quick = createEvents(app.maintenance, limits)
  const short = createEvents(app.maintenance, { ...limits, heartbeat: 1000, lifetime: 50 })
  const full = createEvents(app.maintenance, { ...limits, backlog: -1 })
  t.teardown(() => [quick, short, full].forEach(events => events.close()))
  let events = quick
  app.get('/maintenance/events', (request, reply) => events.open(request, reply))
  const stream = await listen(t, app)
  await until('a heartbeat', () => stream.text.includes('\n\n: \n\n'))
  t.match(await app.inject('/maintenance/events'), {
    statusCode: 503, headers: { 'retry-after': '10' }, body: /1 streams are open already/
  })
  stream.socket.destroy()
  await until('its slot is free', async () => {
    const answer = await app.inject({ url: '/maintenance/events', method: 'HEAD' })
    return answer.statusCode === 200
  })
  events = short
  const ended = await listen(t, app)
  await until('its lifetime ends', () => ended.ended)
  events = full
  const slow = await listen(t, app)
  await app.maintenance.set(true)
  await until('it is cut off', () => slow.ended)
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
