import { createHmac } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chromium } from 'playwright-core'
import t from 'tap'
import maintenance from '../index.ts'
import { localPath } from '../lib/bypass/routes.ts'
import { readOptions } from '../lib/options.ts'
import { openingCommand } from '../lib/exemptions.ts'
import { main } from '../lib/cli/main.ts'
import type { Bypass, FastifyMaintenanceOptions } from '../types/index.ts'
import { bareApp, counter, createApp, KEY, stateFile } from './fixtures/app.ts'
import { closedApp, cookieOf, enter, postBypass } from './fixtures/bypass.ts'
import { findProgram } from './fixtures/debian.ts'
import { createTestStore } from './fixtures/store.ts'

t.test('the secret: returned once, stored as a keyed hash only', async t => {
  const file = stateFile(t)
  const { app, secret, path } = await closedApp(t, { store: { file } })
  t.match(secret, /^[A-Za-z0-9_-]{32}$/, '192 random bits')
  t.equal(path, `/maintenance/bypass#${secret}`)
  t.notOk('bypass' in app.maintenance.status())
  const other = await createApp(t, { store: { file }, bypass: {} })
  t.notOk('bypass' in other.app.maintenance.status())
  const record = JSON.parse(JSON.parse((await import('node:fs')).readFileSync(file, 'utf8')).sites.default.record)
  const [window] = record.windows
  t.equal(window.bypass, createHmac('sha256', window.id).update(secret).digest('base64url'))
  t.not((await app.maintenance.set(true, { bypass: true })).bypass?.secret, secret, 'a fresh one each time')
  const without = await createApp(t)
  await t.rejects(without.app.maintenance.set(true, { bypass: true }), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /bypass links are not enabled\. Add bypass: \{\}/
  })
  t.equal(without.app.maintenance.active, false)
  await t.rejects(
    app.maintenance.set(true, { bypass: 'yes' as unknown as boolean }),
    { code: 'FST_ERR_MAINTENANCE_CHANGE' }
  )
})

t.test('entering: the page, the post, the cookie', async t => {
  const { app, secret, run } = await closedApp(t)
  const page = await app.inject('/maintenance/bypass')
  t.equal(page.statusCode, 200)
  t.match(page.headers, {
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'x-frame-options': 'DENY',
    'content-security-policy': /script-src 'sha256-[^']+'; .*form-action 'self'; frame-ancestors 'none'/
  })

  const answer = await postBypass(app, { secret })
  t.match(answer, { statusCode: 204, headers: { location: '/', 'cache-control': 'no-store' } })
  t.match(
    answer.headers['set-cookie'],
    /^maintenance=v1\.\d{10}\.[\w-]{22}\.[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Lax$/
  )
  const inside = await enter(app, cookieOf(answer))
  t.match(inside, {
    statusCode: 200,
    headers: { 'cache-control': 'private, no-store', 'maintenance-mode': 'full', 'maintenance-pass': 'bypass' }
  })
  t.equal((await enter(app, cookieOf(answer))).statusCode, 200, 'also when cached')
  t.equal(run.runs, 2)

  const form = await app.inject({
    method: 'POST',
    url: '/maintenance/bypass?next=/a?b=c',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: `secret=${secret}`
  })
  t.match(form, { statusCode: 303, headers: { location: '/a?b=c' } })
  t.equal((await enter(app, cookieOf(form))).statusCode, 200)
  t.equal((await app.inject({
    url: '/', headers: { 'maintenance-bypass': secret }
  })).statusCode, 200, 'scripts send a header')
  t.equal((await app.inject('/')).statusCode, 503)
})

t.test('options path and cookie, also under a prefix, with any parsers of the application', async t => {
  const { app } = bareApp(t)
  for (const type of ['application/json', 'application/x-www-form-urlencoded', '*']) {
    if (type === 'application/json') app.removeContentTypeParser(type)
    app.addContentTypeParser(type, (_request, _body, done) => done(new Error('not for us')))
  }
  const hidden: unknown[] = []
  app.addHook('onRoute', ({ url, schema }) => {
    if (url.includes('enter')) hidden.push((schema as { hide?: boolean } | undefined)?.hide)
  })
  await app.register(async child => {
    await child.register(maintenance, { bypass: { path: '/enter', cookie: 'tester' } })
    child.get('/', counter())
    const { bypass } = await child.maintenance.set(true, { bypass: true })
    t.equal(bypass?.path, `/shop/enter#${bypass?.secret}`)
    app.decorate('made', bypass)
  }, { prefix: '/shop' })
  await app.ready()
  const { made } = app as unknown as { made: Bypass }
  t.strictSame(hidden, [true, true, true], 'hidden from API descriptions')
  t.equal((await app.inject(made.path.split('#')[0] as string)).statusCode, 200)
  const cookie = cookieOf(await postBypass(app, { secret: made.secret }, {}, '/shop/enter'))
  t.match(cookie, /^tester=v1\./)
  t.equal((await app.inject({ url: '/shop/', headers: { cookie } })).statusCode, 200)
  t.equal((await app.inject({
    url: '/shop/', headers: { cookie: cookie.replace('tester', 'maintenance') }
  })).statusCode, 503)
})

t.test('a prefix with a trailing slash', async t => {
  const { app } = bareApp(t)
  await app.register(async child => {
    await child.register(maintenance, { bypass: { key: 'k'.repeat(32) } })
    const { bypass } = await child.maintenance.set(true, { bypass: true })
    t.equal(bypass?.path, `/shop/maintenance/bypass#${bypass?.secret}`)
  }, { prefix: '/shop/' })
  t.equal((await app.inject('/shop/maintenance/bypass')).statusCode, 200)
})

t.test('next: 25 hostile values all lead to the home page', async t => {
  const hostile = ['//evil.example', '///evil.example', '/\\evil.example', '\\\\evil.example', '/\t/evil.example', '/\n/evil.example', '\t//evil.example', ' //evil.example', 'https://evil.example',
    'http:evil.example', 'javascript:alert(1)', 'data:text/html,x', '/.//evil.example', '/..//evil.example',
    '/a/..//evil.example', 'evil.example', '', '@evil.example', '/\u0000', '/\u2028', '/a b', '/\r\nset-cookie: a=b',
    '/\u00e9', 'mailto:a@b', '/%\\x']
  t.equal(hostile.length, 25)
  t.strictSame(hostile.filter(next => localPath(next) !== '/'), [])
  for (const next of [undefined, null, 1, ['/a'], {}, '//', '///', '//:', '/\\']) t.equal(localPath(next), '/')
  for (const next of ['/a', '/a/b?c=d&e=%2F#f', '/a//b', '/a:b@c']) t.equal(localPath(next), next)
})

t.test('the command prints the path once', async t => {
  const file = stateFile(t)
  const run = async (...args: string[]) => {
    let text = ''
    await main([...args, '--store', `file:${file}`], {}, { out: out => { text += out }, err () {} })
    return text
  }
  const { app } = await createApp(t, { store: { file }, bypass: {} })
  await app.ready()
  const path = /testers enter at (\/maintenance\/bypass#([\w-]{32})) \(shown once\)/.exec(await run('on', '--bypass'))
  t.ok(path)
  await app.maintenance.refresh()
  t.equal((await postBypass(app, { secret: path?.[2] })).statusCode, 204)
  t.notMatch(await run('status'), 'bypass#')
  t.notOk('bypass' in JSON.parse(await run('status', '--json')).sites[0])
  const [one, two] = JSON.parse(await run('on', 'a', 'b', '--bypass', '--force', '--json')).sites
  t.match(one.bypass.path, '/maintenance/bypass#')
  t.not(one.bypass.secret, two.bypass.secret, 'each site has its own secret')
})

t.test('the log names the exemptions of a closed site, or how to open it if there are none', async t => {
  const message = async (options: FastifyMaintenanceOptions, change = {}) => {
    const { app, lines } = await createApp(t, options)
    app.get('/open', { config: { maintenance: 'off' } }, async () => '')
    await app.ready()
    await app.maintenance.set(true, change)
    await app.maintenance.set(true, change)
    return lines.filter(line => line.msg.startsWith('maintenance: ')).map(line => line.msg)
  }
  t.strictSame(await message(
    { ignore: { routes: ['/a', '/b'], ips: '10.0.0.1', request: () => false }, bypass: {} },
    { bypass: true, ignoreRoutes: ['/c'] }
  ), [
    "maintenance: site 'default' is now closed (full); exempt: 3 ignored routes, routes declared 'off', ignored addresses, bypass, users by ignore.request",
    "maintenance: site 'default' stays closed (full)"
  ])
  for (const [store, command] of [
    [undefined, "app.maintenance.for('default').set(false)"],
    [{ file: stateFile(t) }, /npx fastify-maintenance off default --store file:.*state\.json$/]
  ] as const) {
    const { app, lines } = await createApp(t, store === undefined ? {} : { store })
    await app.maintenance.set(true)
    await app.maintenance.set(true)
    const ways = lines.filter(
      line => line.msg.includes("everyone is blocked from site 'default'. Reopen with: ")
    ).map(line => line.msg)
    t.equal(ways.length, 1, 'once')
    t.match(ways[0], command)
  }
  const commands = {
    'redis://u:secret@host': 'redis://…',
    'postgres://u:secret@host/app': 'postgres://…',
    'sqlite:./app.db': 'sqlite:./app.db'
  }
  for (const [store, address] of Object.entries(commands)) {
    t.equal(openingCommand(readOptions({ store }), 'shop'), `npx fastify-maintenance off shop --store ${address}`)
  }
  const pool = { query: async () => [], dialect: 'sqlite' } as const
  t.equal(openingCommand(readOptions({ store: { sql: pool } }), 'shop'), "app.maintenance.for('shop').set(false)")
  const custom = { custom: createTestStore() }
  t.equal(openingCommand(readOptions({ store: custom }), 'shop'), "app.maintenance.for('shop').set(false)")
})

t.test('a key that is undefined logs a warning', async t => {
  const warned = async (bypass: FastifyMaintenanceOptions['bypass']) => {
    const { app, lines } = await createApp(t, { bypass })
    await app.ready()
    return lines.some(({ msg }) => msg.includes("option 'bypass.key' is undefined"))
  }
  t.equal(await warned({ key: undefined }), true)
  for (const bypass of [undefined, {}, { key: KEY }]) t.equal(await warned(bypass), false)
})

t.test('a rule for users without a route to sign in logs a warning', async t => {
  const warned = async (options: FastifyMaintenanceOptions, off: boolean) => {
    const { app, lines } = await createApp(t, options)
    if (off) app.get('/login', { config: { maintenance: 'off' } }, async () => '')
    await app.ready()
    return lines.some(line => line.level === 40 && line.msg.includes('users cannot sign in'))
  }
  const request = () => false
  t.equal(await warned({ ignore: { request }, bypass: {} }, false), true)
  t.equal(await warned({ ignore: { request } }, true), false)
  t.equal(await warned({ ignore: { request, routes: '/login' } }, false), false)
  t.equal(await warned({}, false), false)
})

const executablePath = findProgram(['chromium', 'chromium-browser', 'google-chrome'], ['chromium'])

t.test('in a real browser, with script and without', {
  skip: executablePath === null ||
  !existsSync(executablePath)
    ? 'chromium is missing'
    : false
}, async t => {
  const browser = await chromium.launch({
    executablePath: executablePath as string,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'
    ]
  })
  t.teardown(() => browser.close())
  const { app, secret, path, lines } = await closedApp(t)
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const heads: string[] = []
  app.server.on('request', ({ method, url, rawHeaders }) => { heads.push([method, url, ...rawHeaders].join(' ')) })
  const problems: string[] = []
  for (const javaScriptEnabled of [true, false]) {
    const context = await browser.newContext({ javaScriptEnabled })
    const page = await context.newPage()
    page.on('console', message => {
      if (message.type() === 'error' && !message.text().startsWith('Failed to load')) problems.push(message.text())
    })
    if (javaScriptEnabled) {
      await page.goto(`${address}${path.replace('#', '?next=/#')}`)
      await page.waitForURL(`${address}/`)
    } else {
      await page.goto(`${address}/maintenance/bypass`)
      await page.getByLabel('Secret').fill(secret)
      await page.getByRole('button').click()
    }
    await page.getByText('{"ran":true}').waitFor()
    await context.close()
  }
  const context = await browser.newContext()
  const page = await context.newPage()
  await page.goto(`${address}/maintenance/bypass#wrong`)
  await page.getByText('This secret is not valid').waitFor()
  t.equal(page.url(), `${address}/maintenance/bypass`, 'the secret leaves the URL at once')
  await page.getByLabel('Secret').fill(secret)
  await page.getByRole('button').click()
  await page.getByText('{"ran":true}').waitFor()
  t.strictSame(problems, [])
  t.equal(heads.filter(head => head.startsWith('POST /maintenance/bypass')).length, 4)
  t.notOk(heads.join('\n').includes(secret), 'in no URL or Referer')
  t.notOk(JSON.stringify(lines).includes(secret))
})
