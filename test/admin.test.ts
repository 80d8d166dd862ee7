import { spawn } from 'node:child_process'
import { createHash, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { createRequire } from 'node:module'
import { connect, type AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import auth from '@fastify/auth'
import basicAuth from '@fastify/basic-auth'
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import view from '@fastify/view'
import { Eta } from 'eta'
import type { FastifyInstance, FastifyRequest, FastifyServerOptions, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import maintenance from '../index.ts'
import { createEvents } from '../lib/admin/events.ts'
import { createGuard } from '../lib/admin/guard.ts'
import maintenanceAdmin, { adminTexts, fastifyMaintenanceAdmin, type FastifyMaintenanceAdminOptions } from '../lib/admin/index.ts'
import type { FastifyMaintenanceOptions, MaintenanceStatus, MaintenanceStore } from '../types/index.ts'
import { bareApp, createApp, until } from './fixtures/app.ts'
import { blocksOf, runPiece } from './fixtures/docs.ts'

const FORM = 'application/x-www-form-urlencoded'
const KEY = 'k'.repeat(32)
/** What a browser sends with the page's own form. */
const OWN = { 'sec-fetch-site': 'same-origin' }

async function adminApp (t: Test, options: FastifyMaintenanceOptions = {}, admin: Partial<FastifyMaintenanceAdminOptions> = {}, server: FastifyServerOptions = {}): Promise<FastifyInstance> {
  const { app } = await createApp(t, { bypass: { key: KEY }, ...options }, server)
  await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize: async () => 'ops', ...admin })
  app.get('/', async () => 'open')
  await app.ready()
  return app
}

const postJson = (app: FastifyInstance, payload: unknown, headers: Record<string, string> = {}) =>
  app.inject({ method: 'POST', url: '/maintenance/state', headers: { 'content-type': 'application/json', ...headers }, payload: JSON.stringify(payload) })

const postForm = (app: FastifyInstance, payload: Record<string, string> | [string, string][], headers: Record<string, string> = {}) =>
  app.inject({ method: 'POST', url: '/maintenance/state', headers: { 'content-type': FORM, ...(Object.keys(headers).length === 0 ? OWN : headers) }, payload: new URLSearchParams(payload).toString() })

const stateOf = async (app: FastifyInstance): Promise<MaintenanceStatus> => (await app.inject('/maintenance/state')).json().sites[0]

const PROTECTED = { 'cache-control': 'no-store', 'content-security-policy': /frame-ancestors 'none'/, 'x-frame-options': 'DENY', 'referrer-policy': 'same-origin' }

t.test('the package: as ES module and as CommonJS', async t => {
  t.equal(maintenanceAdmin, fastifyMaintenanceAdmin)
  const imported = await import('fastify-maintenance/admin')
  const required = createRequire(import.meta.url)('fastify-maintenance/admin')
  for (const plugin of [imported.default, imported.fastifyMaintenanceAdmin, required, required.default, required.fastifyMaintenanceAdmin]) {
    const { app } = await createApp(t)
    await app.register(plugin, { authorize: () => true })
    t.equal((await app.inject('/state')).statusCode, 200)
  }
  t.strictSame(required.adminTexts, adminTexts)
})

t.test('registration: what is wrong is told', async t => {
  const wrong: [object, RegExp][] = [
    [{}, /option 'authorize' is undefined, expected a function \(request, reply\) that returns true or the user's name/],
    [{ authorize: true }, /option 'authorize' is true, expected a function/],
    [{ authorize: () => true, autorize: 1 }, /unknown option 'autorize' of the admin page. Did you mean authorize\?/],
    [{ authorize: () => true, texts: {} }, /option 'texts' is {}/],
    [{ authorize: () => true, texts: [] }, /option 'texts' is \[\]/],
    [{ authorize: () => true, texts: { 'e n': adminTexts.en } }, /option 'texts' is 'e n', expected a language/],
    [{ authorize: () => true, texts: { fr: { ...adminTexts.en, title: undefined } } }, /option 'texts.fr.title' is undefined/],
    [{ authorize: () => true, texts: { fr: { ...adminTexts.en, titel: 'x' } } }, /option 'texts.fr.titel' is 'x'/]
  ]
  for (const [options, message] of wrong) {
    const { app } = await createApp(t)
    await t.rejects(async () => { await app.register(maintenanceAdmin, options as FastifyMaintenanceAdminOptions) }, { code: 'FST_ERR_MAINTENANCE_OPTION', message })
  }
  const { app: without } = bareApp(t)
  await t.rejects(async () => { await without.register(maintenanceAdmin, { authorize: () => true }) }, { message: /'fastify-maintenance' of plugin 'fastify-maintenance-admin' is not registered/ })
})

t.test('the four addresses: their headers, while open and closed; GET and HEAD change nothing', async t => {
  const app = await adminApp(t)
  for (const on of [false, true]) {
    if (on) await app.maintenance.set(true, { message: '<b>"Back" & soon</b>\n\nBye' })
    for (const url of ['/maintenance', '/maintenance/', '/maintenance/state', '/maintenance/state?site=default&on=false', '/maintenance/events']) {
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
  t.match(page.headers, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': /^default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'$/ })
  t.match(page.body, '&lt;b&gt;&quot;Back&quot; &amp; soon&lt;/b&gt;')
  t.notMatch(page.body, /(src|href)="?(https?:)?\/\//, 'it loads nothing')
  t.notMatch(page.body, / on\w+="/, 'no script in attributes')
  t.match(page.body, /action="\.\/state"/)
  t.match((await app.inject('/maintenance')).body, /action="\.\/maintenance\/state"/, 'relative, for proxies that take a prefix away')
  t.strictSame((await app.inject('/maintenance/state')).json(), { sites: [app.maintenance.status()] })
  t.match(await app.inject('/maintenance/bypass'), { statusCode: 200, body: /Enter during maintenance/ }, 'the bypass page beside it')
  t.match(await app.inject({ method: 'DELETE', url: '/maintenance/state' }), { statusCode: 503 })
})

t.test('JSON: the answers, word for word', async t => {
  const app = await adminApp(t)
  const on = await postJson(app, { site: 'default', action: 'on', message: 'Moving', mode: 'read-only', endsAt: '2999-01-01T01:00+01:00', retryAfter: 60, ignoreRoutes: ['/a', { pattern: '/b/*', description: 'b' }], bypass: true, by: 'somebody', expectedRevision: 0 })
  t.match(on, { statusCode: 200, headers: PROTECTED })
  const { bypass, ...status } = on.json()
  t.match(bypass, { secret: /^[\w-]{32}$/, path: /^\/maintenance\/bypass#/ })
  t.strictSame(status, JSON.parse(JSON.stringify(app.maintenance.status())))
  t.match(status, { active: true, message: 'Moving', mode: 'read-only', endsAt: '2999-01-01T00:00:00.000Z', retryAfter: 60, by: 'ops' })
  t.match(status.windows[0], { ignoreRoutes: [{ pattern: '/a', description: null }, { pattern: '/b/*', description: 'b' }], by: 'ops', bypass: true })
  t.notOk('bypass' in await stateOf(app))
  t.match(await postJson(app, { action: 'off' }), { statusCode: 200 }, 'one site need not be named')
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
    [{ action: 'on', window: 'x' }, 400, '_CHANGE', /window 'x'|window is 'x'/, 'window'],
    [{ action: 'on', force: true }, 400, '_CHANGE', /force is true/, 'force'],
    [{ action: 'off', force: 'yes' }, 400, '_CHANGE', /force is 'yes'/, 'force'],
    [{ action: 'update', window: { toString: 1 }, message: 'x' }, 400, '_CHANGE', /window is .* the id of a window/, 'window'],
    [{ action: 'update', message: 'x' }, 400, '_CHANGE', /there is no window to change/, 'window'],
    [{ action: 'update' }, 400, '_CHANGE', /at least one of/, 'the change'],
    [{ action: 'update', wait: 5, message: 'x' }, 400, '_CHANGE', /wait is 5/, 'wait'],
    [{ action: 'cancel' }, 400, '_CHANGE', /planned/, 'window'],
    [{ action: 'on', messsage: 'x' }, 400, '_CHANGE', /messsage is 'x'/, 'messsage'],
    [{ action: 'on', wait: 5 }, 400, '_CHANGE', /wait is 5/, 'wait'],
    [{ action: 'off', message: 'x' }, 400, '_CHANGE', /message is 'x'/, 'message'],
    [{ action: 'on', endsAt: '2020-01-01T00:00:00Z' }, 400, '_CHANGE', /endsAt .* a time in the future/, 'endsAt'],
    [{ action: 'on', endsAt: '2999-01-01T00:00:00' }, 400, '_CHANGE', /with a zone/, 'endsAt'],
    [{ action: 'on', ignoreRoutes: [{ pattern: 'x' }] }, 400, '_CHANGE', /ignoreRoutes\[0\].pattern/, 'ignoreRoutes[0].pattern'],
    [{ action: 'on', token: 'x' }, 400, '_CHANGE', /token/, 'token'],
    [{ action: 'on', expectedRevision: 1 }, 409, '_CONFLICT', new RegExp(`the stored revision is ${revision}, expected 1`)],
    [{ action: 'on', site: 'shop' }, 404, '_SITE', /site 'shop' is unknown, expected one of default/],
    [{ action: 'on', site: { toString: 1 } }, 404, '_SITE', /is unknown/]
  ]
  for (const [body, statusCode, code, message, field] of wrong) {
    const answer = await postJson(app, body)
    t.match(answer, { statusCode, headers: PROTECTED }, JSON.stringify(body))
    t.match(answer.json(), { statusCode, code: `FST_ERR_MAINTENANCE${code}`, error: /\w/, message })
    t.equal(answer.json().field, field)
  }
  t.equal(app.maintenance.status().revision, revision, 'nothing was changed')
  t.equal(({} as { action?: string }).action, undefined)
  const raw = (payload: string, type: string, method: InjectOptions['method'] = 'POST') => app.inject({ method: method as 'POST', url: '/maintenance/state', headers: { 'content-type': type }, payload })
  t.match(await raw('{"action":"on"', 'application/json'), { statusCode: 400, body: /"code":"FST_ERR_MAINTENANCE_CHANGE".*the body is '{\\"action\\":\\"on\\"', expected JSON/ })
  t.match(await raw('{"action":"on","__proto__":{"action":"on"}}', 'application/json'), { statusCode: 400, body: /__proto__/ })
  for (const type of ['text/plain', 'text/plain; application/json', 'application/merge-patch+json', 'multipart/form-data; boundary=x', 'image/png']) {
    t.match(await raw('{"action":"on"}', type), { statusCode: 415, headers: PROTECTED, body: /FST_ERR_CTP_INVALID_MEDIA_TYPE/ }, type)
  }
  t.match(await raw(JSON.stringify({ action: 'on', message: 'x'.repeat(70_000) }), 'application/json'), { statusCode: 413, headers: PROTECTED })
  t.match(await app.inject({ method: 'POST', url: '/maintenance/state' }), { statusCode: 400, body: /the body is undefined/ })
  t.equal(app.maintenance.status().revision, revision)
})

t.test('windows: announced, changed, extended, cancelled, as JSON and by forms', async t => {
  const app = await adminApp(t)
  const planned = (await postJson(app, { action: 'on', startsAt: '2999-01-01T00:00Z', endsAt: '2999-01-01T01:00Z', message: 'Next' })).json()
  t.match(planned, { active: false, mode: null, windows: [{ kind: 'planned', message: 'Next' }] })
  const { id } = planned.windows[0]
  t.match((await postJson(app, { action: 'update', window: id, mode: 'hold', message: null })).json().windows, [{ id, mode: 'hold', message: null, endsAt: '2999-01-01T01:00:00.000Z' }])
  t.match(await postJson(app, { action: 'update', window: 'other', mode: 'hold' }), { statusCode: 400, body: /window 'other' does not exist/ })
  t.match(await postForm(app, { action: 'update', window: id, endsAt: '+30m' }), { statusCode: 303 })
  t.match(await postForm(app, [['action', 'update'], ['window', id], ['ignoreIps', '10.0.0.0/8\r\n\r\n 192.0.2.7 '], ['onlyRoutes', '/shop/*\r\n/blog'], ['ignoreRoutes', '/a\n/b'], ['ignoreRoutesDescription', 'for a'], ['message.en', 'Hi'], ['message.de', ' '], ['mode', ''], ['bypass', '']]), { statusCode: 303 })
  const [window] = app.maintenance.status().windows
  t.match(window, { mode: 'hold', message: { en: 'Hi' }, endsAt: '2999-01-01T01:30:00.000Z', ignoreIps: ['10.0.0.0/8', '192.0.2.7'], onlyRoutes: ['/shop/*', '/blog'], ignoreRoutes: [{ pattern: '/a', description: 'for a' }, { pattern: '/b', description: null }] })
  const page = (await app.inject('/maintenance/')).body
  for (const shown of [/Open, closing announced/, /Planned/, /name="message.en"/, /10\.0\.0\.0\/8\n192\.0\.2\.7<\/textarea>/, /\/shop\/\*\n\/blog<\/textarea>/, /value="\+60m"/, /Cancel this window/]) t.match(page, shown)
  t.match(await postForm(app, { action: 'update', window: id, ignoreIps: '', onlyRoutes: '', ignoreRoutes: '', 'message.en': '', endsAt: '' }), { statusCode: 303 })
  t.match(app.maintenance.status().windows[0], { message: null, endsAt: null, ignoreIps: [], onlyRoutes: [], ignoreRoutes: [] }, 'empty fields are unset')
  const wrong = await postForm(app, { action: 'update', window: id, ignoreIps: '10.0.0.0/8\nnowhere', onlyRoutes: 'nothing' })
  t.match(wrong, { statusCode: 400, body: /Please check the marked fields/ })
  t.match(await postForm(app, { action: 'cancel', window: id }), { statusCode: 303 })
  t.strictSame(app.maintenance.status().windows, [])
  t.match((await app.inject('/maintenance/')).body, /Cancelled[^]*Changed[^]*Announced/)
})

t.test('a form changes only what was changed in it, also after a conflict', async t => {
  const app = await adminApp(t)
  await app.maintenance.set(true, { message: 'first', mode: 'read-only', endsAt: new Date(Date.now() + 3_600_123) })
  const { id, endsAt } = app.maintenance.status().windows[0]!
  const formOf = (body: string) => {
    const [, html = ''] = new RegExp(`id="edit-0-${id}"[^>]*>([^]*?)</details>`).exec(body) ?? []
    const value = (name: string) => (new RegExp(`name="${name}"[^>]* value="([^"]*)"`).exec(html)?.[1] ?? '').replaceAll('&quot;', '"')
    const [, message = ''] = /name="message"[^>]*>\n([^<]*)</.exec(html) ?? []
    return { action: 'update', window: id, message, mode: /value="([\w-]+)" checked/.exec(html)?.[1] ?? '', retryAfter: value('retryAfter'), endsAt: value('endsAt'), was: value('was'), expectedRevision: value('expectedRevision'), changedAt: value('changedAt') }
  }
  const form = formOf((await app.inject('/maintenance/')).body)
  const { revision } = app.maintenance.status()
  t.match(await postForm(app, form), { statusCode: 303 })
  t.equal(app.maintenance.status().revision, revision, 'nothing to save')
  t.match(await postForm(app, { ...form, retryAfter: '60' }), { statusCode: 303 })
  t.match(app.maintenance.status(), { message: 'first', mode: 'read-only', retryAfter: 60, endsAt }, 'to the millisecond')

  await app.maintenance.update({ message: 'theirs', by: 'eve' })
  const conflict = await postForm(app, { ...form, mode: 'hold' })
  t.match(conflict, { statusCode: 409, body: /Somebody else made a change first/ })
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

t.test('a run keeps the site closed: open anyway; its lease is no change', async t => {
  const app = await adminApp(t)
  let aborted = false
  const running = app.maintenance.run(({ signal }) => new Promise(resolve => signal.addEventListener('abort', () => { aborted = true; resolve(1) })), { message: 'Upgrading', by: 'deploy', lease: '1s' })
  await until('it runs', () => app.maintenance.active)
  const { changedAt, revision } = app.maintenance.status()
  t.match((await postJson(app, { action: 'off' })).json(), { statusCode: 409, code: 'FST_ERR_MAINTENANCE_RUNNING', runs: [{ pid: process.pid, by: 'deploy' }] })
  await until('the lease was renewed', () => app.maintenance.status().revision > revision)
  const refused = await postForm(app, { action: 'off', expectedRevision: String(revision), changedAt: String(changedAt) })
  t.match(refused, { statusCode: 409, body: /Open anyway/ })
  t.match(refused.body, `process ${process.pid} · deploy`)
  t.match(await postForm(app, { action: 'off', force: 'true' }), { statusCode: 303 })
  await running
  t.ok(aborted)
  t.match((await app.inject('/maintenance/')).body, /Opened[^]*Run started/)
})

t.test('the words: the types, and both languages', async t => {
  const [, union = ''] = /AdminText =([^]*?)\n\n/.exec(readFileSync('types/admin.ts', 'utf8')) ?? []
  t.strictSame([...union.matchAll(/'([\w-]+)'/g)].map(([, name]) => name).sort(), Object.keys(adminTexts.en).sort())
})

t.test('several sites: named, or 404', async t => {
  const app = await adminApp(t, { site: request => String(request.headers['x-site']), sites: ['shop', 'blog'] })
  t.match(await postJson(app, { action: 'on' }), { statusCode: 404, body: /undefined is unknown, expected one of shop, blog/ })
  t.match(await postForm(app, { action: 'on' }), { statusCode: 404, body: /undefined is unknown/ })
  t.match(await postForm(app, { action: 'on', site: 'nope' }), { statusCode: 404, body: /role="alert"[^]*nope/ })
  t.match(await postForm(app, { action: 'on', site: 'blog', bypass: 'true' }), { statusCode: 303 })
  const { sites } = (await app.inject('/maintenance/state')).json()
  t.strictSame(sites.map(({ site, active }: MaintenanceStatus) => [site, active]), [['shop', false], ['blog', true]])
  t.match((await app.inject('/maintenance/')).body, /<nav id="overview"[^]*#site-0[^]*#site-1/)
  t.match((await app.inject('/maintenance/')).body, /Close this site[^]*Announce a window[^]*Later by[^]*Change/)
})

t.test('a form: the same names, empty means unset; 303 on success only', async t => {
  const app = await adminApp(t)
  const done = await postForm(app, [['site', ''], ['action', 'on'], ['message', 'Hi\r\nyou'], ['mode', ''], ['startsAt', ''], ['endsAt', '2999-01-01T00:00'], ['retryAfter', '60'], ['bypass', ''], ['by', ''], ['expectedRevision', '0'],
    ['ignoreRoutes', '/a'], ['ignoreRoutesDescription', 'for a'], ['ignoreRoutes', ''], ['ignoreRoutesDescription', ''], ['ignoreRoutes', ' /b/* ']])
  t.match(done, { statusCode: 303, headers: { ...PROTECTED, location: '/maintenance/' } })
  t.match(await stateOf(app), { active: true, message: 'Hi\nyou', mode: 'full', endsAt: '2999-01-01T00:00:00.000Z', retryAfter: 60, by: 'ops', windows: [{ ignoreRoutes: [{ pattern: '/a', description: 'for a' }, { pattern: '/b/*', description: null }] }] })
  t.match((await app.inject('/maintenance/')).body, /value="2999-01-01T00:00"[^]*name="retryAfter"[^>]* value="60"[^]*value="\/a"[^]*value="for a"/, 'the form shows it')
  t.match(await postForm(app, { action: 'off' }), { statusCode: 303 })
  t.equal((await stateOf(app)).active, false)
  t.match(await postForm(app, { action: 'on', message: 'x' }), { statusCode: 303 })
  t.match(await postForm(app, { action: 'off' }), { statusCode: 303 })
  t.equal((await stateOf(app)).active, false)

  const { revision } = await stateOf(app)
  const wrong = await postForm(app, [['action', 'on'], ['message', ' typed <b> '], ['mode', 'half'], ['startsAt', '2999-01-01T00:00:00.000Z'], ['endsAt', 'tomorrow'], ['retryAfter', 'soon'], ['bypass', 'yes'],
    ['ignoreRoutes', '/ok'], ['ignoreRoutesDescription', 'fine'], ['ignoreRoutes', 'wrong'], ['ignoreRoutesDescription', 'kept']])
  t.match(wrong, { statusCode: 400, headers: { ...PROTECTED, 'content-type': /html/ } })
  for (const kept of ['\n typed &lt;b&gt; </textarea>', 'value="2999-01-01T00:00"', 'value="tomorrow"', 'value="soon"', 'value="/ok"', 'value="fine"', 'value="wrong"', 'value="kept"']) t.match(wrong.body, kept, `${kept} is kept`)
  t.equal(wrong.body.match(/aria-invalid="true"/g)?.length, 4, 'each wrong field is marked, the others are not')
  t.equal(wrong.body.match(/<p class="error"/g)?.length, 5)
  for (const id of ['mode-e-0-announce', 'endsAt-e-0-announce', 'retryAfter-e-0-announce', 'bypass-e-0-announce', 'row-0-announce-1']) t.match(wrong.body, `id="${id}"`)
  const ends = await postForm(app, { action: 'on', startsAt: '2999-01-02T00:00', endsAt: '2999-01-01T00:00', token: '' })
  t.match(ends, { statusCode: 400, body: /id="endsAt-e-0-announce"/ })
  t.notMatch(ends.body, /id="startsAt-e-0-announce"/)
  t.match(await postForm(app, { action: 'maybe' }), { statusCode: 400, body: /action is &#39;maybe&#39;/ }, 'what has no field is told above')
  t.match(await postForm(app, { action: 'of' }), { statusCode: 400, body: /action is &#39;of&#39;/ })
  t.match(await postForm(app, { message: 'x' }), { statusCode: 400, body: /action is undefined/ })
  t.match(await postForm(app, { action: 'on', wait: '5' }), { statusCode: 400, body: /wait is/ })
  t.match(await postForm(app, { action: 'off', message: 'x' }), { statusCode: 400, body: /message/ }, 'as in JSON')
  t.match(await postForm(app, { action: 'on', ignoreRoutesDescription: 'x', ignoreRoutes: '' }), { statusCode: 400, body: /row-0-close-0/ }, 'a description without a path')
  t.equal((await stateOf(app)).revision, revision)
})

t.test('a conflict: what the other did, and what was typed', async t => {
  const app = await adminApp(t)
  const { revision } = await app.maintenance.set(true, { message: 'theirs', by: 'eve', mode: 'hold', endsAt: '2999-01-01T00:00:30Z', ignoreRoutes: ['/theirs', { pattern: '/x', description: 'y' }] })
  const answer = await postForm(app, { action: 'on', message: 'mine', expectedRevision: '0', retryAfter: '5' })
  t.match(answer, { statusCode: 409, body: /Somebody else made a change first[^]*On hold[^]*2999-01-01 00:00 UTC[^]*theirs[^]*eve[^]*\/theirs\n\/x \(y\)[^]*\nmine<\/textarea>/ })
  t.match(answer.body, `name="expectedRevision" value="${revision}"`, 'who sends it again knows')
  t.equal(app.maintenance.status().message, 'theirs')
  t.match(await postForm(app, { action: 'on', message: 'mine', expectedRevision: String(revision) }), { statusCode: 303 })
  t.equal(app.maintenance.status().message, 'mine')
})

t.test('a conflict with what another server did, of which this one has not heard', async t => {
  let stored: string | null = null
  const store = (): MaintenanceStore => ({ read: async () => stored, write: async (_site, text) => { stored = text }, watch () {}, close () {} })
  const [one, two] = [await adminApp(t, { store: store() }), await adminApp(t, { store: store() })]
  await two.maintenance.set(true, { message: 'theirs', by: 'eve' })
  t.equal(one.maintenance.active, false)
  const answer = await postForm(one, { action: 'on', message: 'mine', expectedRevision: '0' })
  t.match(answer, { statusCode: 409, body: /Somebody else made a change first[^]*theirs[^]*eve/ })
  t.match(answer.body, `name="expectedRevision" value="${two.maintenance.status().revision}"`)
})

t.test('pinned, announced, a store that fails or cannot be understood', async t => {
  const pinned = await adminApp(t, { pinned: 'closed' })
  t.match(await postJson(pinned, { action: 'off' }), { statusCode: 409, body: /FST_ERR_MAINTENANCE_PINNED/ })
  t.match(await postForm(pinned, { action: 'off' }), { statusCode: 409, body: /this server is pinned closed/ })
  const shown = (await pinned.inject('/maintenance/')).body
  t.match(shown, /cannot be changed here/)
  t.notMatch(shown, /<form/)

  const announced = await adminApp(t, { schedule: { cron: '0 1 1 1 *', duration: '1h', message: 'Every year' } })
  t.match((await announced.inject('/maintenance/')).body, /Every year/)
  await announced.maintenance.set(true, { startsAt: '2998-01-01T00:00:00Z', endsAt: '2999-01-01T00:00:00Z' })
  t.match((await announced.inject('/maintenance/')).body, /Open, closing announced[^]*Cancel this window[^]*value="2998-01-01T00:00"/)

  const record = { stored: null as string | null, fails: false }
  const answer = async <T>(value: T): Promise<T> => {
    if (record.fails) throw new Error('no <b>disk</b>')
    return value
  }
  const store: MaintenanceStore = {
    read: async () => answer(record.stored), write: async (_site, text) => { record.stored = await answer(text) }, watch () {}, close () {}, listHistory: async () => answer([]), heartbeat: async () => {}, heartbeats: async () => answer([])
  }
  const app = await adminApp(t, { store })
  record.fails = true
  t.match(await postJson(app, { action: 'on' }), { statusCode: 503, body: /FST_ERR_MAINTENANCE_STORE".*no <b>disk/ })
  t.match(await postForm(app, { action: 'on', message: 'typed' }), { statusCode: 503, body: /nothing was changed: no &lt;b&gt;disk[^]*typed<\/textarea>/ })
  await app.maintenance.refresh()
  const down = (await app.inject('/maintenance/')).body
  t.match(down, /The store has a problem[^]*no &lt;b&gt;disk/)
  t.equal(down.match(/The store did not answer/g)?.length, 2, 'neither servers nor history')

  const broken = await createApp(t, { store: { ...store, read: async () => 'garbage', write: async (_site, text) => { store.read = async () => text } } })
  await broken.app.register(maintenanceAdmin, { prefix: '/maintenance', authorize: () => true })
  t.match((await broken.app.inject('/maintenance/')).body, /cannot be understood[^]*name="expectedRevision" value=""/)
  const fallback = await createApp(t, { store: { ...store, read: async () => { throw new Error('down') } } })
  await fallback.app.register(maintenanceAdmin, { prefix: '/maintenance', authorize: () => true })
  t.match((await fallback.app.inject('/maintenance/')).body, /a guess of the server’s options/)
  t.notMatch((await fallback.app.inject('/maintenance/')).body, /name="bypass"/, 'only where the option is there')

  const mirror = `${t.testdir()}/mirror.json`
  const before = await createApp(t, { store: { file: mirror } })
  await before.app.maintenance.set(true, { message: 'kept' })
  const away = await adminApp(t, { store: { redis: 'redis://127.0.0.1:1', mirror } })
  t.match((await away.inject('/maintenance/')).body, /kept[^]*The store was not reached yet\. This is the state from the local copy/)

  const bug = await adminApp(t)
  bug.maintenance.for('default').set = async () => { throw new Error('a bug') }
  t.match(await postForm(bug, { action: 'on' }), { statusCode: 500, body: /a bug/ }, 'goes to the error handler of the application')
})

t.test('a template that fails: the form says so, and nothing was changed', async t => {
  const { app } = bareApp(t)
  app.decorate('view', Object.assign(async (_page: string, { message }: { message: string }) => {
    if (message === 'bad') throw new Error('no <b>such</b> partial')
    return message
  }, { clearCache () {} }) as never)
  await app.register(maintenance, { response: { template: 'x' } })
  await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize: () => true })
  t.match(await postForm(app, { action: 'on', message: 'bad' }), { statusCode: 500, body: /the template &#39;x&#39; cannot be rendered: no &lt;b&gt;such[^]*bad<\/textarea>/ })
  t.match(await postJson(app, { action: 'on', message: 'bad' }), { statusCode: 500, body: /FST_ERR_MAINTENANCE_TEMPLATE/ })
  t.match(app.maintenance.status(), { active: false, revision: 0 })
})

t.test('authorize: everything else than true or a name is refused', async t => {
  type Refusal = [string, FastifyMaintenanceAdminOptions['authorize'], number, RegExp]
  const REFUSED = /^{"statusCode":(\d+),"code":"FST_ERR_MAINTENANCE_FORBIDDEN","error":"\w+","message":"maintenance: authorize refused the request"}$/
  const refusals: Refusal[] = [
    ['throws', () => { throw Object.assign(new Error('sign in'), { statusCode: 401 }) }, 401, /sign in/],
    ['rejects', async () => { throw Object.assign(new Error('not you'), { statusCode: 403, code: 'MINE' }) }, 403, /"code":"MINE"/],
    ['replies', (_request, reply) => { reply.code(401).header('www-authenticate', 'Basic').send('who?') }, 401, /^who\?$/],
    ['replies, async', async (_request, reply) => { reply.code(403).send({ mine: true }) }, 403, /^{"mine":true}$/],
    ['returns the reply', async (_request, reply) => reply.code(418).send('tea'), 418, /tea/],
    ['redirects', async (_request, reply) => { reply.redirect('/login') }, 302, /^$/],
    ['is not there', async (_request, reply) => { reply.callNotFound() }, 404, /Route .* not found/],
    ['writes itself', async (_request, reply) => { reply.hijack(); reply.raw.writeHead(401).end('raw') }, 401, /^raw$/],
    ['hijacks, and writes later', (_request, reply) => { reply.hijack(); setTimeout(() => reply.raw.writeHead(401).end('later'), 2) }, 401, /^later$/],
    ['begins to write', async (_request, reply) => { setTimeout(() => reply.raw.end('rest'), 2); reply.raw.writeHead(401).write('the ') }, 401, /^the rest$/],
    ['replies, and says yes', (_request, reply) => { reply.code(401).send('no'); return 'ada' }, 401, /^no$/],
    ['replies, and throws', (_request, reply) => { reply.code(401).send('no'); throw new Error('too late') }, 401, /^no$/],
    ['returns the reply, and sends later', async (_request, reply) => { setTimeout(() => reply.code(401).send('soon'), 2); return reply }, 401, /^soon$/],
    ['throws a status', () => { throw Object.assign(new Error('slow down'), { status: 429 }) }, 429, /slow down/],
    ['throws no Error', () => { throw { statusCode: 402, message: 'pay first' } }, 402, /pay first/], // eslint-disable-line no-throw-literal
    ['throws beside another status', (_request, reply) => { reply.code(302); throw Object.assign(new Error('sign in'), { statusCode: 401 }) }, 401, /sign in/],
    ['calls back with a refusal', (_request, _reply, done) => { setImmediate(done, Object.assign(new Error('not you'), { statusCode: 401 })) }, 401, /not you/],
    ['calls back with a refusal, then with a yes', (_request, _reply, done) => { done(Object.assign(new Error('not you'), { statusCode: 401 })); done() }, 401, /not you/],
    ['calls back with an error whose status is on the reply', (_request, reply, done) => { reply.code(401); done(new Error('secret')) }, 401, REFUSED],
    ['replies, and calls back later', (_request, reply, done) => { reply.code(401).send('no'); setImmediate(done) }, 401, /^no$/],
    ['replies, and never calls back', (_request, reply, _done) => { setImmediate(() => reply.code(401).send('no')) }, 401, /^no$/],
    ['calls back with no name', (_request, _reply, done) => done(null, undefined), 403, REFUSED],
    ['calls back with false', (_request, _reply, done) => done(null, false), 403, REFUSED],
    ['calls back with an error that is false', (_request, _reply, done) => done(false), 403, REFUSED],
    ['rejects before it calls back', async (_request, _reply, done) => { setTimeout(done, 2); throw new Error('secret') }, 403, REFUSED],
    ['throws before it calls back', (_request, _reply, done) => { setTimeout(done, 2); throw new Error('secret') }, 403, REFUSED],
    ['passes on its arguments', (...args) => { setTimeout(() => args[2]()) }, 403, REFUSED],
    ['throws an error of the server', () => { throw Object.assign(new Error('secret'), { statusCode: 503 }) }, 403, REFUSED],
    ['throws nothing', () => { throw undefined }, 403, REFUSED], // eslint-disable-line no-throw-literal
    ['forgets to send', async (_request, reply) => { reply.code(401) }, 403, REFUSED],
    ['forgets to send, and says yes', async (_request, reply) => { reply.code(401); return 'ada' }, 403, REFUSED],
    ['forgets to redirect, and says yes', async (_request, reply) => { reply.code(302).header('location', '/login'); return true }, 403, REFUSED],
    ...[undefined, null, false, 0, 1, '', ' \t', Number.NaN, new Error('secret'), {}, [], ['ada'], Object('ada'), Symbol('yes'), () => true].flatMap((answer): Refusal[] => [
      [`gives ${inspect(answer)}`, (() => answer) as never, 403, REFUSED],
      [`gives a promise of ${inspect(answer)}`, (async () => answer) as never, 403, REFUSED]
    ])
  ]
  for (const [name, authorize, statusCode, body] of refusals) {
    const { app } = await createApp(t)
    // an answer that takes its time: `reply.sent` says no until it is over
    app.addHook('onSend', async () => { await new Promise(resolve => setTimeout(resolve, 2)) })
    await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize })
    await app.ready()
    const requests: InjectOptions[] = [
      { url: '/maintenance/' }, { url: '/maintenance/state' }, { url: '/maintenance/events' },
      { method: 'POST', url: '/maintenance/state', headers: { 'content-type': 'application/json' }, payload: '{"action":"on"}' },
      { method: 'POST', url: '/maintenance/state', headers: { 'content-type': FORM, ...OWN }, payload: 'action=on' },
      { method: 'POST', url: '/maintenance/state', headers: { 'content-type': 'text/plain' }, payload: 'action=on' }
    ]
    for (const request of requests) {
      const answer = await app.inject(request)
      t.match(answer, { statusCode, body }, `${name}: ${request.method ?? 'GET'} ${request.url}`)
      if (!/writes|write$/.test(name)) t.match(answer.headers, PROTECTED)
    }
    t.match(app.maintenance.status(), { active: false, revision: 0 }, `${name}: nothing was changed`)
  }
  const { app } = await createApp(t)
  app.setErrorHandler((_error, _request, reply) => { reply.code(499).send('the application’s') })
  await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize () { throw Object.assign(new Error('no'), { statusCode: 401 }) } })
  t.match(await app.inject('/maintenance/'), { statusCode: 499, body: 'the application’s' })
})

t.test('authorize: a failure is logged, and its text is for nobody else', async t => {
  const { app, lines } = await createApp(t)
  await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize () { throw new Error('secret') } })
  t.equal((await app.inject('/maintenance/')).statusCode, 403)
  t.match(lines.filter(({ level }) => level === 50), [{ msg: 'maintenance: authorize failed, the request is refused', err: { message: 'secret' } }])
})

t.test('authorize: lets in by true or a name, in every style, on the instance', async t => {
  const ways: [string, FastifyMaintenanceAdminOptions['authorize'], string | null][] = [
    ['true', () => true, null],
    ['a promise of true', async () => true, null],
    ['a thenable', () => ({ then: (resolve: (name: string) => void) => resolve('ada') }) as never, 'ada'],
    ['default parameters', (request = {} as never) => String(request.headers['x-user']), 'ada'],
    ['done', (_request, _reply, done) => done(), null],
    ['done, as @fastify/auth calls it', (_request, _reply, done) => { setImmediate(done, null) }, null],
    ['done with a name', (_request, _reply, done) => done(null, 'ada'), 'ada'],
    ['done before everything else', async (_request, _reply, done) => { done(undefined, 'ada'); done(new Error('no')); throw new Error('no') }, 'ada'],
    ['done after a promise of something else', async (_request, _reply, done) => { setTimeout(done, 5, null, 'ada'); return 'eve' }, 'ada'],
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

t.test('authorize: nothing is written and no stream begins before it has said yes', async t => {
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

t.test('authorize: it replied, and the client hangs up before the reply is sent: nothing else runs', async t => {
  const { app } = await createApp(t)
  const seen = { sending: false, closed: false, sent: false, ran: false }
  app.addHook('preHandler', async () => { seen.ran = true })
  app.addHook('onSend', async (_request, reply) => {
    seen.sending = true
    reply.raw.once('close', () => { seen.closed = true })
    await until('the client is gone', () => seen.closed)
    // what would have been done meanwhile
    await new Promise(resolve => setTimeout(resolve, 20))
    seen.sent = true
  })
  await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize: async (_request, reply) => reply.code(401).send('no') })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.write('GET /maintenance/events HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await until('it replies', () => seen.sending)
  socket.destroy()
  await until('the reply was sent', () => seen.sent)
  t.equal(seen.ran, false)
})

t.test('authorize: no answer in time is a 403, and what comes later changes nothing', async t => {
  const late: Promise<unknown>[] = []
  const later = (work: () => unknown) => { late.push(new Promise(resolve => setTimeout(resolve, 40)).then(work)) }
  const hanging: FastifyMaintenanceAdminOptions['authorize'][] = [
    async () => new Promise(() => {}),
    async (_request, reply) => reply.code(401),
    (_request, _reply, done) => later(() => done()),
    (_request, _reply, done) => later(() => done(new Error('late'))),
    (_request, reply, _done) => later(() => reply.code(200).send('late')),
    async (_request, reply) => new Promise((_resolve, reject) => later(() => { reply.redirect('/login'); reject(new Error('late')) }))
  ]
  for (const authorize of hanging) {
    const { app, lines } = await createApp(t)
    let runs = 0
    app.addHook('onRequest', createGuard(app, authorize, 20).onRequest)
    app.get('/', async () => { runs++ })
    t.match(await app.inject('/'), { statusCode: 403, body: /authorize refused the request/ })
    await Promise.all(late)
    t.equal(runs, 0)
    t.match(lines.filter(({ level }) => level === 50), [{ err: { message: 'authorize did not answer within 20 ms' } }])
  }
})

t.test('authorize: a client that hangs up ends the wait', async t => {
  const { app } = await createApp(t)
  let asked = 0
  let refused = false
  app.addHook('onError', async (_request, _reply, error) => { refused = error.message === 'maintenance: authorize refused the request' })
  await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize: (_request, _reply, _done) => { asked++ } })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.write('GET /maintenance/ HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await until('it is asked', () => asked === 1)
  socket.destroy()
  await until('it is refused', () => refused, 5000)
})

t.test('who it was', async t => {
  for (const [says, by] of [['  ada ', 'ada'], [true, 'the body'], ['x'.repeat(300), 'x'.repeat(200)]] as const) {
    const app = await adminApp(t, {}, { authorize: () => says })
    t.equal((await postJson(app, { action: 'on', by: 'the body' })).json().by, by)
  }
})

t.test('a change comes from the page itself: everything else is refused, and changes nothing', async t => {
  const app = await adminApp(t, {}, {}, { trustProxy: '127.0.0.1' })
  const refused: Record<string, string>[] = [
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
  for (const headers of refused) {
    for (const answer of [await postForm(app, { action: 'on' }, headers), await postJson(app, { action: 'on' }, headers)]) {
      t.match(answer, { statusCode: 403, headers: PROTECTED, body: /FST_ERR_MAINTENANCE_FORBIDDEN/ }, JSON.stringify(headers))
    }
  }
  t.match(await app.inject({ method: 'POST', url: '/maintenance/state', headers: { 'content-type': 'text/plain', origin: 'https://evil.test' }, payload: '{"action":"on"}' }), { statusCode: 403 })
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
    const form = await app.inject({ method: 'POST', url: '/maintenance/state', headers: { 'content-type': type }, payload: 'action=on' })
    t.match(form, { statusCode: 403, headers: PROTECTED, body: /a form needs the header Sec-Fetch-Site or Origin/ }, type)
  }
  t.equal(app.maintenance.status().revision, revision)
})

t.test('a change from another origin is refused before authorize is called', async t => {
  let calls = 0
  const app = await adminApp(t, {}, { authorize: () => { calls++ } })
  t.match(await postJson(app, { action: 'on' }, { 'sec-fetch-site': 'cross-site' }), { statusCode: 403, body: /Sec-Fetch-Site/ })
  t.equal(calls, 0)
  t.match(await postJson(app, 'no change', OWN), { statusCode: 403, body: /authorize refused/ }, 'and the body is not read before it')
  t.equal(calls, 1)
  t.match(await app.inject({ url: '/maintenance/', headers: { 'sec-fetch-site': 'cross-site' } }), { statusCode: 403, body: /authorize refused/ }, 'a link may lead here')
})

t.test('the token of the form', async t => {
  const app = await adminApp(t, {}, {}, { trustProxy: '127.0.0.1' })
  const other = await adminApp(t, {}, {}, { trustProxy: '127.0.0.1' })
  const page = await app.inject('/maintenance/')
  const [, token = ''] = /name="token" value="([\w-]{32})"/.exec(page.body) ?? []
  t.equal(page.headers['set-cookie'], `maintenance-form=${token}; Path=/; HttpOnly; SameSite=Strict`)
  const cookie = `a=b; maintenance-form=${token}`
  const again = await app.inject({ url: '/maintenance/', headers: { cookie } })
  t.match(again.body, `name="token" value="${token}"`, 'two tabs have the same')
  t.equal(again.headers['set-cookie'], undefined)
  const origin = 'http://localhost'
  for (const server of [app, other]) t.match(await postForm(server, { action: 'on', token }, { cookie, origin }), { statusCode: 303 }, 'on every server')

  const { revision } = app.maintenance.status()
  for (const fields of [{}, { token: 'wrong' }]) {
    t.match(await postForm(app, { action: 'off', ...fields }, { cookie, origin }), { statusCode: 403, headers: PROTECTED, body: /The form had expired/ })
  }
  t.equal(app.maintenance.status().revision, revision)
  t.match(await postForm(app, { action: 'on' }, { cookie, ...OWN }), { statusCode: 303 }, 'the browser says that it is the same origin')
  t.match(await postForm(app, { action: 'on', token }, { cookie: 'session=x', origin }), { statusCode: 303 }, 'the cookie is gone')
  t.match(await postJson(app, { action: 'on' }, { cookie }), { statusCode: 200 }, 'no form can send JSON')

  const https = { 'x-forwarded-proto': 'https' }
  const secure = await app.inject({ url: '/maintenance/', headers: { ...https, cookie } })
  t.match(secure.headers['set-cookie'], /^__Host-maintenance-form=[\w-]{32}; Path=\/; HttpOnly; SameSite=Strict; Secure$/, 'no other host can set it')
})

t.test('the bypass link: shown once, on whatever server the browser comes back to', async t => {
  const app = await adminApp(t)
  const answer = await postForm(app, { action: 'on', bypass: 'true' })
  const [cookie = ''] = String(answer.headers['set-cookie']).split(';')
  t.match(answer, { statusCode: 303, headers: { 'set-cookie': /^maintenance-link=[\w-]{32}\.default; Path=\/; Max-Age=60; HttpOnly; SameSite=Strict$/ } })
  const other = await adminApp(t)
  const page = await other.inject({ url: '/maintenance/', headers: { cookie } })
  const [, secret = ''] = /value="http:\/\/localhost(?::80)?\/maintenance\/bypass#([\w-]{32})"/.exec(page.body) ?? []
  t.match(cookie, secret)
  t.match([page.headers['set-cookie']].flat(), [/^maintenance-link=; Path=\/; Max-Age=0/])
  t.equal((await app.inject({ url: '/', headers: { 'maintenance-bypass': secret } })).statusCode, 200)
  t.notMatch((await app.inject('/maintenance/')).body, secret)
  for (const value of ['x', `${secret}.unknown`, `${secret}.a"b`, secret]) {
    t.notMatch((await app.inject({ url: '/maintenance/', headers: { cookie: `maintenance-link=${value}` } })).body, /is not shown again/, value)
  }
  t.match(await postForm(app, { action: 'on', bypass: 'false' }), { statusCode: 303, headers: { 'set-cookie': undefined } })
  t.equal((await app.inject({ url: '/', headers: { 'maintenance-bypass': secret } })).statusCode, 503)
})

t.test('the bypass link of an application under a prefix leads to its page', async t => {
  const { app } = bareApp(t)
  await app.register(async child => {
    await child.register(maintenance, { bypass: { key: KEY } })
    await child.register(maintenanceAdmin, { prefix: '/doors', authorize: () => true })
  }, { prefix: '/shop' })
  const answer = await app.inject({ method: 'POST', url: '/shop/doors/state', headers: { 'content-type': FORM, ...OWN }, payload: 'action=on&bypass=true' })
  const [cookie = ''] = String(answer.headers['set-cookie']).split(';')
  const [, link = ''] = /value="http:\/\/localhost(?::80)?([^"#]*)#/.exec((await app.inject({ url: '/shop/doors/', headers: { cookie } })).body) ?? []
  t.equal(link, '/shop/maintenance/bypass')
  t.match(await app.inject(link), { statusCode: 200, body: /Enter during maintenance/ })
})

t.test('words: English, German, others; and they can be replaced', async t => {
  const app = await adminApp(t)
  for (const [header, language] of [['de-AT,en;q=0.5', 'de'], ['fr, de;q=0.1', 'de'], ['fr', 'en'], ['en;q=0,de;q=0', 'en'], ['*', 'en'], [undefined, 'en']] as const) {
    const answer = await app.inject({ url: '/maintenance/', headers: header === undefined ? {} : { 'accept-language': header } })
    t.match(answer, { headers: { 'content-language': language }, body: `<html lang="${language}" dir="ltr">` }, String(header))
  }
  const own = await adminApp(t, {}, { texts: { 'pt-BR': { ...adminTexts.en, title: 'Manutenção <&>' } } })
  t.match((await own.inject({ url: '/maintenance/', headers: { 'accept-language': 'pt-BR' } })).body, '<h1>Manutenção &lt;&amp;&gt;</h1>')
  const rtl = await adminApp(t, {}, { texts: { ar: adminTexts.en } })
  t.match((await rtl.inject('/maintenance/')).body, '<html lang="ar" dir="rtl">')
  t.strictSame(Object.keys(adminTexts.de).sort(), Object.keys(adminTexts.en).sort())
})

t.test('beside an application of its own: its view, its parsers, its hooks, its prefix', async t => {
  const { app } = bareApp(t, { rewriteUrl: request => String(request.url).replace(/^\/behind/, '') })
  await app.register(cookie)
  await app.register(view, { engine: { eta: new Eta() }, templates: t.testdir({ 'home.eta': 'home' }) })
  await app.register(maintenance, { bypass: {} })
  app.addContentTypeParser(FORM, { parseAs: 'string' }, (_request, _body, done) => done(null, 'the application’s own'))
  // such as @fastify/helmet sets
  app.addHook('onRequest', async (_request, reply) => { reply.headers({ 'content-security-policy': "default-src 'self'; frame-ancestors 'self'", 'referrer-policy': 'no-referrer', 'x-frame-options': 'SAMEORIGIN' }) })
  const routes: { url: string, schema?: object | undefined }[] = []
  app.addHook('onRoute', ({ url, schema }) => { routes.push({ url, schema }) })
  await app.register(maintenanceAdmin, { prefix: '/deep/:team/admin', authorize: () => true })
  app.post('/own', async request => request.body)
  app.get('/home', async (_request, reply) => reply.view('home'))
  t.ok(routes.filter(({ url }) => url.startsWith('/deep')).every(({ schema }) => (schema as { hide?: boolean }).hide === true), '@fastify/swagger sees nothing of it')
  t.equal((await app.inject({ method: 'POST', url: '/own', headers: { 'content-type': FORM }, payload: 'a=b' })).body, 'the application’s own')
  t.equal((await app.inject('/home')).body, 'home')
  for (const url of ['/deep/a/admin', '/deep/a/admin/', '/deep/a/admin/state']) t.match(await app.inject(url), { statusCode: 200, headers: PROTECTED }, url)
  const headers = { 'content-type': FORM, ...OWN }
  t.equal((await app.inject({ method: 'POST', url: '/behind/deep/a/admin/state', headers, payload: 'action=on' })).headers.location, '/behind/deep/a/admin/')
  t.match(await app.inject({ method: 'POST', url: '/deep/a/admin/state', headers, payload: 'action=on&retryAfter=x' }), { statusCode: 400, body: /action="\.\/state"/ })
  t.match(await app.inject('/home'), { statusCode: 503 })
})

/** The events of a stream, as they come. */
async function listen (t: Test, app: FastifyInstance) {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const stream = { text: '', ended: false, socket, states: () => [...stream.text.matchAll(/^event: state\ndata: (.*)\n\n/gm)].map(([, json]) => JSON.parse(json as string).sites as MaintenanceStatus[]) }
  socket.on('data', chunk => { stream.text += chunk })
  socket.on('close', () => { stream.ended = true })
  // HTTP/1.0: the answer comes without chunk sizes between
  socket.write('GET /maintenance/events HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n')
  await until('the state comes', () => stream.text.includes('\n\n'))
  return stream
}

t.test('events: the state at once, then each change, from the command line too; they end with the app', async t => {
  const file = `${t.testdir()}/state.json`
  const app = await adminApp(t, { store: { file }, sites: ['default', 'blog'] }, {}, { forceCloseConnections: false })
  const stream = await listen(t, app)
  t.match(stream.text, /^HTTP\/1.1 200[^]*content-type: text\/event-stream[^]*\r\n\r\nretry: \d+\nevent: state\ndata: {"sites":\[{"site":"default"/i)
  for (const [name, value] of Object.entries(PROTECTED)) t.match(stream.text.toLowerCase(), typeof value === 'string' ? `${name}: ${value.toLowerCase()}` : value, name)
  await until('the first state', () => stream.states().length === 1)

  const { main } = await import('../lib/cli/main.ts')
  const io = { out () {}, err () {} }
  const started = performance.now()
  t.equal(await main(['on', 'blog', '--store', `file:${file}`, '--message', 'from the\ncommand line'], {}, io), 0)
  await until('the change is there', () => stream.states().length > 1)
  t.comment(`a change of the command line came after ${Math.round(performance.now() - started)} ms`)
  t.match(stream.states()[1], [{ site: 'default', active: false }, { site: 'blog', active: true, message: 'from the\ncommand line' }])

  await app.maintenance.set(true, { startsAt: new Date(Date.now() + 300), endsAt: new Date(Date.now() + 600) })
  await until('the window began and ended', () => stream.states().length === 5)
  t.strictSame(stream.states().map(([site]) => site?.active), [false, false, false, true, false], 'one event for each')
  t.equal(app.maintenance.status().inFlight, 0, 'nobody waits for these streams')

  const second = await listen(t, app)
  second.socket.destroy()
  const closing = app.close()
  await until('the stream ends', () => stream.ended)
  await closing
})

t.test('events: a heartbeat, a lifetime, a bound, and nobody who does not read', async t => {
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
  t.match(await app.inject('/maintenance/events'), { statusCode: 503, headers: { 'retry-after': '10' }, body: /1 streams are open already/ })
  stream.socket.destroy()
  await until('its place is free', async () => {
    const answer = await app.inject({ url: '/maintenance/events', method: 'HEAD' })
    return answer.statusCode === 200
  })
  events = short
  const ended = await listen(t, app)
  await until('its time is over', () => ended.ended)
  events = full
  const slow = await listen(t, app)
  await app.maintenance.set(true)
  await until('it is cut off', () => slow.ended)
})

/** The example of `npm start`; it loads what was built. */
function startExample (t: Test, env: NodeJS.ProcessEnv) {
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/site/server.ts'], { env: { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0', PORT: '0', STATE_FILE: `${t.testdir()}/state.json`, ...env } })
  t.teardown(() => child.kill())
  const example = { child, text: '', address: () => /admin page: +(http:.*)\/maintenance\//.exec(example.text)?.[1] }
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => { example.text += chunk })
  return example
}

t.test('the example: behind a sign-in, and not with the default password but on localhost', async t => {
  const outside = startExample(t, { HOST: '0.0.0.0' })
  const example = startExample(t, {})
  const [code] = await once(outside.child, 'exit')
  t.not(code, 0)
  t.match(outside.text, /No start on 0\.0\.0\.0 with the default password/)
  await until('it listens', () => example.address() !== undefined, 30_000)
  const ask = (path: string, init: RequestInit = {}) => fetch(`${example.address()}${path}`, { redirect: 'manual', ...init })
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
  t.equal((await ask('/sign-in')).status, 200, 'the way in stays open')
  t.equal((await ask('/maintenance/bypass')).status, 200)
  t.match(await (await ask('/maintenance/', { headers: { cookie } })).text(), /Closed[^]*admin/)
  t.equal((await ask('/sign-out', { method: 'POST', headers: { cookie } })).status, 303)
  t.equal((await ask('/maintenance/state', { headers: { cookie } })).status, 401)
})

/** The requests that a guard is tried with: as a client with these headers. */
async function tryGuard (t: Test, app: FastifyInstance, headers: Record<string, string>) {
  const requests: InjectOptions[] = [
    { url: '/maintenance/' }, { url: '/maintenance/state' }, { url: '/maintenance/state', method: 'HEAD' }, { url: '/maintenance/events', method: 'HEAD' },
    { method: 'POST', url: '/maintenance/state', payload: { action: 'on' } },
    { method: 'POST', url: '/maintenance/state', payload: { action: 'off' } }
  ]
  const answers = []
  for (const request of requests) answers.push(await app.inject({ ...request, headers }))
  const statuses = [...new Set(answers.map(({ statusCode }) => statusCode))]
  t.equal(statuses.length, 1, 'the same on all addresses')
  const [newest] = await app.maintenance.history({ limit: 1 })
  return { status: statuses[0], headers: answers[0]?.headers ?? {}, by: newest?.by, revision: app.maintenance.status().revision }
}

const basic = (password: string, name = 'ops') => ({ authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` })

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
const world = (app: FastifyInstance, env: object = ENV) => ({ app, maintenance, maintenanceAdmin, basicAuth, createHash, timingSafeEqual, process: { env } })

t.test('docs/admin-page.md: basic auth, a session, a bearer key', async t => {
  const [first, byPassword, bySession, byKey, ...rest] = blocksOf('docs/admin-page.md').filter(({ language }) => language === 'js').map(({ code }) => code) as [string, string, string, string, string]
  t.equal(rest.length, 1, 'the last one shows texts')

  t.test('basic auth', async t => {
    const { app } = await createApp(t)
    await runPiece(byPassword, world(app))
    for (const headers of [{}, basic('wrong'), basic('right', 'eve'), { authorization: 'Bearer right' }]) {
      t.match(await tryGuard(t, app, headers), { status: 401, headers: { ...PROTECTED, 'www-authenticate': 'Basic realm="Maintenance", charset="UTF-8"' }, revision: 0 })
    }
    t.match(await tryGuard(t, app, basic('right')), { status: 200, by: null })
    const named = await createApp(t)
    const [, way = ''] = /`authorize: (\(request, reply, done\) => .*)`\./.exec(readFileSync('docs/admin-page.md', 'utf8')) ?? []
    await runPiece(byPassword.replace('app.basicAuth })', `${way} })`), world(named.app))
    t.match(await tryGuard(t, named.app, basic('wrong')), { status: 401, revision: 0 })
    t.match(await tryGuard(t, named.app, basic('right')), { status: 200, by: 'ops' })
    await t.rejects(async () => runPiece(byPassword, world(app, {})), /ADMIN_PASSWORD is not set/)
  })

  t.test('a session', async t => {
    const app = await sessionApp(t)
    await runPiece(bySession, world(app))
    t.match(await tryGuard(t, app, {}), { status: 302, headers: { ...PROTECTED, location: '/login' }, revision: 0 })
    t.match(await tryGuard(t, app, await signIn(app, 'eve')), { status: 403, revision: 0 })
    t.match(await tryGuard(t, app, await signIn(app, 'ada')), { status: 200, by: 'ada' })

    const short = await sessionApp(t)
    await runPiece(first.replace(/^await app.register\(maintenance, .*$/m, ''), world(short))
    t.match(await tryGuard(t, short, {}), { status: 403, revision: 0 })
    t.match(await tryGuard(t, short, await signIn(short, 'ada')), { status: 200, by: 'ada' })
  })

  t.test('a bearer key', async t => {
    const { app } = await createApp(t)
    await runPiece(byKey, world(app))
    for (const authorization of ['', 'Bearer', 'Bearer wrong', 'Bearer undefined', 'Basic key', 'Bearer key2']) t.match(await tryGuard(t, app, { authorization }), { status: 403, revision: 0 }, authorization)
    t.match(await tryGuard(t, app, { authorization: 'Bearer key' }), { status: 200, by: 'deploy' })
    await t.rejects(async () => runPiece(byKey, world(app, {})), /ADMIN_KEY is not set/)
  })
})

t.test('@fastify/auth, and many requests of different people over few connections', async t => {
  const { app } = await createApp(t)
  await app.register(auth)
  await app.register(basicAuth, { authenticate: true, validate: async (_name, password) => { if (await Promise.resolve(password) !== 'right') throw new Error('no') } })
  const byHeader = (request: FastifyRequest, _reply: unknown, done: (error?: Error) => void) => done(request.headers['x-key'] === 'right' ? undefined : new Error('no key'))
  await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize: app.auth([byHeader, app.basicAuth as typeof byHeader]) })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const agent = new Agent({ keepAlive: true, maxSockets: 2 })
  t.teardown(() => agent.destroy())
  const ask = (path: string, method: string, headers: Record<string, string>, body = '') => new Promise<[number | undefined, string | undefined]>((resolve, reject) => {
    request(`${address}/maintenance/${path}`, { agent, method, headers: { ...headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) } }, answer => {
      answer.resume().on('end', () => resolve([answer.statusCode, answer.headers['www-authenticate']]))
    }).on('error', reject).end(body)
  })
  const outcomes = await Promise.all(Array.from({ length: 60 }, async (_, i) => {
    const wrong = i % 2 === 1
    const headers: Record<string, string> = i % 3 === 0 ? { 'x-key': wrong ? 'wrong' : 'right' } : basic(wrong ? 'wrong' : 'right')
    const [path, method, body] = ([['state', 'POST', '{"action":"off"}'], ['state', 'HEAD', ''], ['', 'GET', ''], ['events', wrong ? 'GET' : 'HEAD', '']] as const)[i % 4] as [string, string, string]
    const [status, challenge] = await ask(path, method, headers, body)
    return wrong ? status === 401 && challenge === 'Basic charset="UTF-8"' : status === 200
  }))
  t.strictSame([...new Set(outcomes)], [true])
})

t.test('docs/admin-page.md: every request, and the answer word for word', async t => {
  const app = await adminApp(t, { store: { file: `${t.testdir()}/state.json` }, bypass: {} }, { authorize: () => 'ada' })
  const blocks = [...readFileSync('docs/admin-page.md', 'utf8').matchAll(/^```http\n([^]*?)\n```$/gm)].map(([, text]) => text as string)
  t.equal(blocks.length, 10)
  // what is another one each time
  const still = (text: string) => text.replace(/"\d{4}-[\d:.T-]+Z"/g, '"TIME"').replace(/"revision":[1-9]\d*/g, '"revision":N').replace(/(?<=#|"secret":")[\w-]{32}/g, 'SECRET').replace(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, 'ID')
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
