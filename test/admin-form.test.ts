import { readFileSync } from 'node:fs'
import t from 'tap'
import maintenance from '../index.ts'
import maintenanceAdmin, { adminTexts } from '../lib/admin/index.ts'
import type { MaintenanceStore } from '../types/index.ts'
import { bareApp, createApp, KEY, until } from './fixtures/app.ts'
import { adminApp, FORM, OWN, postForm, postJson, PROTECTED, stateOf } from './fixtures/admin.ts'
import { storedWindow, textOf } from './fixtures/records.ts'
import { beatingStore } from './fixtures/requests.ts'

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
