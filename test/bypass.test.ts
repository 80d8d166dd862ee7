import { createHmac, hkdfSync } from 'node:crypto'
import { existsSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import { chromium } from 'playwright-core'
import t from 'tap'
import { createGuesses } from '../lib/bypass/request.ts'
import { localPath } from '../lib/bypass/routes.ts'
import { readOptions } from '../lib/options.ts'
import { openingCommand } from '../lib/ways-in.ts'
import { createPass, hashSecret, makeSecret } from '../lib/bypass/secret.ts'
import { main } from '../lib/cli/main.ts'
import type { Bypass, FastifyMaintenanceOptions } from '../types/index.ts'
import { counter, createApp, until, type LogLine } from './fixtures/app.ts'
import { findProgram } from './fixtures/debian.ts'

const KEY = 'k'.repeat(32)

async function closedApp (t: Parameters<typeof createApp>[0], options: FastifyMaintenanceOptions = {}) {
  const { app, lines } = await createApp(t, { bypass: { key: KEY }, ...options }, { trustProxy: '127.0.0.1' })
  const run = counter()
  app.get('/', run)
  await app.ready()
  const { bypass } = await app.maintenance.set(true, { bypass: true })
  return { app, lines, run, ...bypass as Bypass }
}

const post = (app: FastifyInstance, payload: unknown, headers: Record<string, string> = {}, url = '/maintenance/bypass') =>
  app.inject({ method: 'POST', url, headers: { 'content-type': 'application/json', ...headers }, payload: typeof payload === 'string' ? payload : JSON.stringify(payload) })

/** The cookie of an answer, as a browser sends it back. */
const cookieOf = (answer: { headers: Record<string, unknown> }): string => String(answer.headers['set-cookie']).split(';')[0] as string

const enter = (app: FastifyInstance, cookie: string, headers: Record<string, string> = {}) => app.inject({ url: '/', headers: { cookie, ...headers } })

t.test('the secret: returned once, stored as a keyed hash only', async t => {
  const file = `${t.testdir()}/state.json`
  const { app, secret, path } = await closedApp(t, { store: { file } })
  t.match(secret, /^[A-Za-z0-9_-]{32}$/, '192 random bits')
  t.equal(path, `/maintenance/bypass#${secret}`)
  t.notOk('bypass' in app.maintenance.status())
  const other = await createApp(t, { store: { file }, bypass: {} })
  t.notOk('bypass' in other.app.maintenance.status())
  const record = JSON.parse(JSON.parse((await import('node:fs')).readFileSync(file, 'utf8')).sites.default.record)
  t.equal(record.bypass, createHmac('sha256', record.windowId).update(secret).digest('base64url'))
  t.not((await app.maintenance.set(true, { bypass: true })).bypass?.secret, secret, 'a fresh one each time')
  const without = await createApp(t)
  await t.rejects(without.app.maintenance.set(true, { bypass: true }), { code: 'FST_ERR_MAINTENANCE_CHANGE', message: /the option bypass/ })
  t.equal(without.app.maintenance.active, false)
  await t.rejects(app.maintenance.set(true, { bypass: 'yes' as unknown as boolean }), { code: 'FST_ERR_MAINTENANCE_CHANGE' })
})

t.test('the way in: the page, the post, the cookie', async t => {
  const { app, secret, run } = await closedApp(t)
  const page = await app.inject('/maintenance/bypass')
  t.equal(page.statusCode, 200)
  t.match(page.headers, { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-frame-options': 'DENY', 'content-security-policy': /script-src 'sha256-[^']+'; .*form-action 'self'; frame-ancestors 'none'/ })

  const answer = await post(app, { secret })
  t.match(answer, { statusCode: 204, headers: { location: '/', 'cache-control': 'no-store' } })
  t.match(answer.headers['set-cookie'], /^maintenance=v1\.\d{10}\.[\w-]{22}\.[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Lax$/)
  const inside = await enter(app, cookieOf(answer))
  t.match(inside, { statusCode: 200, headers: { 'cache-control': 'private, no-store', 'maintenance-bypass': 'active' } })
  t.equal((await enter(app, cookieOf(answer))).statusCode, 200, 'and when seen before')
  t.equal(run.runs, 2)

  const form = await app.inject({ method: 'POST', url: '/maintenance/bypass?next=/a?b=c', headers: { 'content-type': 'application/x-www-form-urlencoded' }, payload: `secret=${secret}` })
  t.match(form, { statusCode: 303, headers: { location: '/a?b=c' } })
  t.equal((await enter(app, cookieOf(form))).statusCode, 200)
  t.equal((await app.inject({ url: '/', headers: { 'maintenance-bypass': secret } })).statusCode, 200, 'scripts send a header')
  t.equal((await app.inject('/')).statusCode, 503)
})

t.test('over https the cookie is a __Host- one, and only that counts', async t => {
  const { app, secret } = await closedApp(t)
  const https = { 'x-forwarded-proto': 'https' }
  const answer = await post(app, { secret }, https)
  t.match(answer.headers['set-cookie'], /^__Host-maintenance=.*; Secure$/)
  t.equal((await enter(app, cookieOf(answer), https)).statusCode, 200)
  t.equal((await enter(app, cookieOf(answer).replace('__Host-', ''), https)).statusCode, 503)
})

t.test('every wrong secret gets the same answer, and never a 500', async t => {
  const { app, secret, run } = await closedApp(t)
  const wrong: unknown[] = ['', '{', 'null', '[]', '"x"', {}, { secret: '' }, { secret: 1 }, { secret: null }, { secret: [secret] }, { secret: { length: 32 } }, { secret: `${secret} ` },
    { secret: secret.slice(0, -1) }, { secret: 'x'.repeat(32) }, { secret: 'x'.repeat(3000) }, { secret: 'x'.repeat(5000) }, { Secret: secret }, '{"__proto__":{"secret":"x"}}']
  const answers = new Set<string>()
  for (const [i, body] of wrong.entries()) {
    const { statusCode, body: text, headers } = await post(app, body, { 'x-forwarded-for': `10.0.0.${i}` })
    answers.add(`${statusCode} ${text}`)
    t.notOk('set-cookie' in headers)
  }
  for (const type of ['text/plain', 'multipart/form-data', 'application/xml']) {
    const { statusCode, body } = await post(app, { secret }, { 'content-type': type, 'x-forwarded-for': '10.0.1.1' })
    answers.add(`${statusCode} ${body}`)
  }
  t.strictSame([...answers], ['403 This is not the secret of the maintenance that is under way.\n'])
  for (const header of ['', 'x', secret.slice(1), 'x'.repeat(4000)]) t.equal((await app.inject({ url: '/', headers: { 'maintenance-bypass': header } })).statusCode, 503)
  t.equal(run.runs, 0)
  t.ok(app.maintenance.status().counts.wrongSecrets >= 20)
  await app.maintenance.set(false)
  t.equal((await post(app, { secret }, { 'x-forwarded-for': '10.0.2.1' })).statusCode, 403, 'nothing to enter while the site is open')
})

t.test('cookies: only the valid one of this window passes', async t => {
  const { app, secret, run } = await closedApp(t)
  const valid = cookieOf(await post(app, { secret }))
  const value = valid.slice('maintenance='.length)
  const [, expiry = '', nonce = '', mac = ''] = value.split('.')
  const forged = (key: string): string => {
    const signed = `v1.${expiry}.${nonce}`
    return `${signed}.${createHmac('sha256', Buffer.from(hkdfSync('sha256', key, '', 'fastify-maintenance bypass ', 32))).update(signed).digest('base64url')}`
  }
  const flip = (at: number) => value.slice(0, at) + String.fromCharCode(value.charCodeAt(at) ^ 1) + value.slice(at + 1)
  const wrong = [
    '', 'v1', value.replace('v1', 'v2'), `v1.${Number(expiry) + 1000}.${nonce}.${mac}`, `v1.${expiry}.${nonce}.`, `v1.${expiry}.${nonce}.${'A'.repeat(43)}`, `"${value}"`, encodeURIComponent(value) + '%',
    'x'.repeat(4096), `v1.${expiry}.${nonce}.true`, `v1.1e99.${nonce}.${mac}`, forged(''), forged(KEY), ...Array.from({ length: value.length }, (_, i) => flip(i))
  ]
  for (const cookie of wrong) t.equal((await enter(app, `maintenance=${cookie}`)).statusCode, 503, cookie.slice(0, 60))
  t.equal(run.runs, 0)
  t.equal((await enter(app, `${valid.replace('maintenance', 'xmaintenance')}; other=${value}`)).statusCode, 503, 'of another name')
  t.equal((await enter(app, `a=b; maintenance=x; maintenance=y;maintenance=; maintenance=z; ${valid}`)).statusCode, 200, 'the fifth of five')
  t.equal((await enter(app, `${'maintenance=x; '.repeat(50)}${valid}`)).statusCode, 503, 'nobody has fifty')
})

t.test('cookies expire', async t => {
  const pass = createPass({ ttl: 60 }, 'window', hashSecret('window', 'secret'))
  const cookie = pass.makeCookie(1_000_000)
  t.equal(pass.isCookie(cookie, 1_059_999), true)
  t.equal(pass.isCookie(cookie, 1_060_000), false, 'also where it was seen before')
  const { app, secret } = await closedApp(t, { bypass: { ttl: 1 } })
  const short = cookieOf(await post(app, { secret }))
  await until('expired', async () => (await enter(app, short)).statusCode === 503)
})

t.test('a flood of cookies is bounded in memory', async t => {
  const pass = createPass({ ttl: 60 }, 'window', hashSecret('window', 'secret'))
  for (let i = 0; i < 3000; i++) pass.isCookie(pass.makeCookie(0), 1)
  t.equal(pass.isCookie(pass.makeCookie(0), 1), true)
})

t.test('a new window, or a new secret, voids the old cookies; a change in between does not', async t => {
  const file = `${t.testdir()}/state.json`
  const { app, secret } = await closedApp(t, { store: { file } })
  const other = await createApp(t, { store: { file }, bypass: { key: KEY } })
  other.app.get('/', async () => 'other')
  const cookie = cookieOf(await post(app, { secret }))
  t.equal((await enter(other.app, cookie)).body, 'other', 'on all servers')
  await app.maintenance.set(true, { message: 'still' })
  await other.app.maintenance.refresh()
  t.equal((await enter(other.app, cookie)).statusCode, 200)
  await app.maintenance.set(true, { bypass: true })
  await other.app.maintenance.refresh()
  t.equal((await enter(other.app, cookie)).statusCode, 503)
  t.equal((await post(other.app, { secret })).statusCode, 403)
  const second = await app.maintenance.set(true, { bypass: true })
  const again = cookieOf(await post(app, { secret: second.bypass?.secret }))
  t.equal((await enter(app, again)).statusCode, 200)
  await app.maintenance.set(true, { bypass: false })
  t.equal((await enter(app, again)).statusCode, 503)
  await app.maintenance.set(false)
  await app.maintenance.set(true)
  t.equal((await enter(app, again)).statusCode, 503)

  // the same secret, in another window
  const one = createPass({ key: KEY, ttl: 60 }, 'one', hashSecret('one', 'same'))
  const two = createPass({ key: KEY, ttl: 60 }, 'two', hashSecret('two', 'same'))
  t.equal(two.isCookie(one.makeCookie(Date.now()), Date.now()), false)
})

t.test('without the key of the fleet, who reads the store cannot make a cookie', async t => {
  const hash = hashSecret('window', makeSecret())
  const fleet = createPass({ key: KEY, ttl: 60 }, 'window', hash)
  const reader = createPass({ ttl: 60 }, 'window', hash)
  t.equal(fleet.isCookie(reader.makeCookie(Date.now()), Date.now()), false)
})

t.test('wrong guesses are limited by address, in bounded memory', async t => {
  const { app, secret } = await closedApp(t)
  for (let i = 0; i < 20; i++) await post(app, { secret: 'wrong' }, { 'x-forwarded-for': '10.0.0.1' })
  t.equal((await post(app, { secret }, { 'x-forwarded-for': '10.0.0.1' })).statusCode, 403)
  t.equal((await post(app, { secret }, { 'x-forwarded-for': '10.0.0.2' })).statusCode, 204, 'another address')
  const guesses = createGuesses()
  for (let i = 0; i < 25_000; i++) guesses.check({ ip: `a${i}` } as never, () => false)
  t.equal(guesses.wrong, 25_000)
  t.equal(guesses.check({ ip: 'b' } as never, () => true), true)
})

t.test('next: 25 hostile values all end at the home page', async t => {
  const hostile = ['//evil.example', '///evil.example', '/\\evil.example', '\\\\evil.example', '/\t/evil.example', '/\n/evil.example', '\t//evil.example', ' //evil.example', 'https://evil.example',
    'http:evil.example', 'javascript:alert(1)', 'data:text/html,x', '/.//evil.example', '/..//evil.example', '/a/..//evil.example', 'evil.example', '', '@evil.example', '/\u0000', '/\u2028', '/a b', '/\r\nset-cookie: a=b', '/\u00e9', 'mailto:a@b', '/%\\x']
  t.equal(hostile.length, 25)
  t.strictSame(hostile.filter(next => localPath(next) !== '/'), [])
  for (const next of [undefined, null, 1, ['/a'], {}]) t.equal(localPath(next), '/')
  for (const next of ['/a', '/a/b?c=d&e=%2F#f', '/a//b', '/a:b@c']) t.equal(localPath(next), next)
})

t.test('the secret stands in no log line, and not in the store', async t => {
  const file = `${t.testdir()}/state.json`
  const { app, lines, secret } = await closedApp(t, { store: { file } })
  await app.inject('/maintenance/bypass')
  const cookie = cookieOf(await post(app, { secret }))
  await enter(app, cookie)
  await app.inject({ url: '/', headers: { 'maintenance-bypass': secret } })
  await app.maintenance.set(false)
  const text = JSON.stringify(lines satisfies LogLine[])
  t.ok(lines.length >= 8)
  t.notOk(text.includes(secret))
  t.notOk(text.includes(cookie.split('.').at(-1) as string))
})

t.test('the command line prints the path once', async t => {
  const file = `${t.testdir()}/state.json`
  const run = async (...args: string[]) => {
    let text = ''
    await main([...args, '--store', `file:${file}`], {}, { out: out => { text += out }, err: err => { text += err } })
    return text
  }
  const { app } = await createApp(t, { store: { file }, bypass: {} })
  const path = /testers enter at (\/maintenance\/bypass#([\w-]{32})) \(shown once\)/.exec(await run('on', '--bypass'))
  t.ok(path)
  await app.maintenance.refresh()
  t.equal((await post(app, { secret: path?.[2] })).statusCode, 204)
  t.notMatch(await run('status'), 'bypass')
  t.notOk('bypass' in JSON.parse(await run('status', '--json')))
  const [one, two] = JSON.parse(await run('on', 'a', 'b', '--bypass', '--json'))
  t.match(one.bypass.path, '/maintenance/bypass#')
  t.not(one.bypass.secret, two.bypass.secret, 'a secret of its own for each site')
})

t.test('who may still get in is said when the site closes; who is locked out is told the way back', async t => {
  const message = async (options: FastifyMaintenanceOptions, change = {}) => {
    const { app, lines } = await createApp(t, options)
    app.get('/open', { config: { maintenance: 'off' } }, async () => '')
    await app.ready()
    await app.maintenance.set(true, change)
    await app.maintenance.set(true, change)
    return lines.filter(line => line.msg.startsWith('maintenance: ')).map(line => line.msg)
  }
  t.strictSame(await message({ ignore: { routes: ['/a', '/b'], ips: '10.0.0.1', request: () => false }, bypass: {} }, { bypass: true, ignoreRoutes: ['/c'] }), [
    "maintenance: site 'default' is now closed (full); let in: 3 ignored routes, routes declared 'off', ignored addresses, bypass, users by ignore.request",
    "maintenance: site 'default' stays closed (full)"
  ])
  for (const [store, command] of [[undefined, "app.maintenance.for('default').set(false)"], [{ file: `${t.testdir()}/state.json` }, /npx fastify-maintenance off default --store file:.*state\.json$/]] as const) {
    const { app, lines } = await createApp(t, store === undefined ? {} : { store })
    await app.maintenance.set(true)
    await app.maintenance.set(true)
    const warnings = lines.filter(line => line.level === 40).map(line => line.msg)
    t.equal(warnings.length, 1, 'once')
    t.match(warnings[0], command)
  }
  t.equal(openingCommand(readOptions({ store: { redis: 'redis://u:secret@host' } }), 'shop'), 'npx fastify-maintenance off shop --store redis://…')
})

t.test('a rule for users without a way to sign in is warned about', async t => {
  const warned = async (options: FastifyMaintenanceOptions, off: boolean) => {
    const { app, lines } = await createApp(t, options)
    if (off) app.get('/login', { config: { maintenance: 'off' } }, async () => '')
    await app.ready()
    return lines.some(line => line.level === 40 && line.msg.includes('nobody can sign in'))
  }
  const request = () => false
  t.equal(await warned({ ignore: { request }, bypass: {} }, false), true)
  t.equal(await warned({ ignore: { request } }, true), false)
  t.equal(await warned({ ignore: { request, routes: '/login' } }, false), false)
  t.equal(await warned({}, false), false)
})

const executablePath = findProgram(['chromium', 'chromium-browser', 'google-chrome'], ['chromium'])

t.test('in a real browser, with script and without', { skip: executablePath === null || !existsSync(executablePath) ? 'chromium is missing' : false }, async t => {
  const browser = await chromium.launch({ executablePath: executablePath as string, args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'] })
  t.teardown(() => browser.close())
  const { app, secret, path, lines } = await closedApp(t)
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const problems: string[] = []
  for (const javaScriptEnabled of [true, false]) {
    const context = await browser.newContext({ javaScriptEnabled })
    const page = await context.newPage()
    page.on('console', message => { if (message.type() === 'error' && !message.text().startsWith('Failed to load')) problems.push(message.text()) })
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
  await page.getByText('This is not the secret').waitFor()
  t.equal(page.url(), `${address}/maintenance/bypass`, 'the secret is out of the address at once')
  await page.getByLabel('Secret').fill(secret)
  await page.getByRole('button').click()
  await page.getByText('{"ran":true}').waitFor()
  t.strictSame(problems, [])
  t.notOk(JSON.stringify(lines).includes(secret))
})
