import { spawn } from 'node:child_process'
import crypto, { createHmac, hkdfSync } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import { chromium } from 'playwright-core'
import t, { type Test } from 'tap'
import maintenance from '../index.ts'
import { createGuesses } from '../lib/bypass/request.ts'
import { localPath } from '../lib/bypass/routes.ts'
import { readOptions } from '../lib/options.ts'
import { openingCommand } from '../lib/exemptions.ts'
import { createPass, hashSecret, makeSecret, type Pass } from '../lib/state/secret.ts'
import { main } from '../lib/cli/main.ts'
import { closeSite, openSite } from '../lib/state/edit.ts'
import { parseRecord, serialiseRecord, type StateRecord, type StoredWindow } from '../lib/state/record.ts'
import { updateRecord } from '../lib/state/write.ts'
import { openStore } from '../lib/stores/open.ts'
import type { Bypass, BypassOptions, FastifyMaintenanceOptions } from '../types/index.ts'
import { bareApp, counter, createApp, sendRaw, until, stateFile } from './fixtures/app.ts'
import { findProgram } from './fixtures/debian.ts'
import { startRedis } from './fixtures/redis.ts'
import { createTestStore } from './fixtures/store.ts'

const KEY = 'k'.repeat(32)

async function closedApp (t: Parameters<typeof createApp>[0], options: FastifyMaintenanceOptions = {}) {
  const { app, lines } = await createApp(t, { bypass: { key: KEY }, ...options }, { trustProxy: '127.0.0.1' })
  const run = counter()
  app.get('/', run)
  await app.ready()
  const { bypass } = await app.maintenance.set(true, { bypass: true })
  return { app, lines, run, ...bypass as Bypass }
}

const post = (
  app: FastifyInstance, payload: unknown, headers: Record<string, string> = {}, url = '/maintenance/bypass'
) =>
  app.inject({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', ...headers },
    payload: typeof payload === 'string' ? payload : JSON.stringify(payload)
  })

/** The cookie of an answer, as a browser sends it back. */
const cookieOf = (answer: { headers: Record<string, unknown> }): string =>
  String(answer.headers['set-cookie']).split(';')[0] as string

const enter = (app: FastifyInstance, cookie: string, headers: Record<string, string> = {}) =>
  app.inject({ url: '/', headers: { cookie, ...headers } })

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

  const answer = await post(app, { secret })
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

t.test('over https, only a __Host- cookie counts', async t => {
  const { app, secret } = await closedApp(t)
  const https = { 'x-forwarded-proto': 'https' }
  const answer = await post(app, { secret }, https)
  t.match(answer.headers['set-cookie'], /^__Host-maintenance=.*; Secure$/)
  t.equal((await enter(app, cookieOf(answer), https)).statusCode, 200)
  t.equal((await enter(app, cookieOf(answer).replace('__Host-', ''), https)).statusCode, 503)
  t.equal((await app.inject({
    url: '/', headers: { 'maintenance-bypass': 'wrong', cookie: cookieOf(answer), ...https }
  })).statusCode, 200, 'a wrong header does not void the cookie')
})

t.test('every wrong secret gets the same answer, and never a 500', async t => {
  const { app, secret, run } = await closedApp(t)
  const wrong: unknown[] = ['', '{', 'null', '[]', '"x"', {}, {
    secret: ''
  }, { secret: 1 }, { secret: null }, { secret: [secret] }, { secret: { length: 32 } }, { secret: `${secret} ` },
  { secret: secret.slice(0, -1) }, { secret: 'x'.repeat(32) }, { secret: 'x'.repeat(3000) },
  { secret: 'x'.repeat(5000) }, { Secret: secret }, '{"__proto__":{"secret":"x"}}']
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
  t.strictSame([...answers], ['403 This secret is not valid (any more).\n'])
  for (const header of ['', 'x', secret.slice(1), 'x'.repeat(4000)]) {
    t.equal((await app.inject({ url: '/', headers: { 'maintenance-bypass': header } })).statusCode, 503)
  }
  t.equal(run.runs, 0)
  t.ok(app.maintenance.status().counts.failedBypasses >= 20)
  t.equal(
    (await post(app, { secret, next: '/'.padEnd(4096, 'a') }, { 'x-forwarded-for': '10.0.2.1' })).statusCode,
    403,
    'a body of more than 4 KB is rejected'
  )
  await app.maintenance.set(false)
  t.equal(
    (await post(app, { secret }, { 'x-forwarded-for': '10.0.2.1' })).statusCode,
    403,
    'nothing to enter while the site is open'
  )
})

t.test('an invalid stored hash blocks everyone, and is no 500', async t => {
  const file = stateFile(t)
  const { app } = await createApp(t, { store: { file }, bypass: {} })
  const run = counter()
  app.get('/', run)
  await app.maintenance.set(true, { bypass: true })
  const { store } = await openStore({ file }, [])
  for (const hash of ['x', '\u0000', 'x'.repeat(200)]) {
    const whole = parseRecord(await store.read('default') as string)
    const record = { ...whole, windows: whole.windows.map(window => ({ ...window, bypass: hash })) }
    await store.write('default', serialiseRecord({
      ...record, revision: record.revision + 1
    }), { revision: record.revision + 1 })
    t.equal((await app.maintenance.refresh()).revision, record.revision + 1)
    for (const secret of ['', 'x', hash]) t.equal((await post(app, { secret })).statusCode, 403)
    t.equal((await app.inject({
      url: '/', headers: { 'maintenance-bypass': 'x', cookie: 'maintenance=x' }
    })).statusCode, 503)
  }
  t.equal(run.runs, 0)
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
  const cookie = cookieOf(await post(app, { secret: made.secret }, {}, '/shop/enter'))
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

t.test('digests are compared in constant time; a cookie is verified once, in bounded memory', async t => {
  const calls = { compared: [] as number[], signed: 0 }
  const mocked = await t.mockImport<typeof import('../lib/state/secret.ts')>('../lib/state/secret.ts', {
    'node:crypto': {
      ...crypto,
      timingSafeEqual (a: Buffer, b: Buffer) {
        calls.compared.push(a.length, b.length)
        return crypto.timingSafeEqual(a, b)
      },
      createHmac (...args: Parameters<typeof crypto.createHmac>) {
        calls.signed++
        return crypto.createHmac(...args)
      }
    }
  })
  const pass = mocked.createPass({ ttl: 60 }, 'window', hashSecret('window', 'secret'))
  const callsOf = (work: () => boolean): unknown => {
    Object.assign(calls, { compared: [], signed: 0 })
    return { is: work(), ...calls }
  }
  for (const secret of ['secret', 'secreT', '', 'x'.repeat(5000)]) {
    t.strictSame(
      callsOf(() => pass.isSecret(secret)),
      { is: secret === 'secret', compared: [32, 32], signed: 1 },
      'digests'
    )
  }
  const cookie = pass.makeCookie(0)
  t.not(pass.makeCookie(0), cookie, 'each cookie differs')
  const wrong = cookie.replace('v1.60', 'v1.61')
  t.strictSame(callsOf(() => pass.isCookie(cookie, 1)), { is: true, compared: [43, 43], signed: 1 })
  t.strictSame(callsOf(() => pass.isCookie(cookie, 1)), { is: true, compared: [], signed: 0 }, 'cached')
  for (let i = 0; i < 2; i++) {
    t.strictSame(
      callsOf(() => pass.isCookie(wrong, 1)),
      { is: false, compared: [43, 43], signed: 1 },
      'wrong cookies are not cached'
    )
  }
  for (let i = 0; i < 999; i++) if (!pass.isCookie(pass.makeCookie(0), 1)) t.fail('valid')
  t.match(callsOf(() => pass.isCookie(cookie, 1)), { is: true, signed: 0 }, 'a thousand cookies are cached')
  pass.isCookie(pass.makeCookie(0), 1)
  t.strictSame(
    callsOf(() => pass.isCookie(cookie, 1)),
    { is: true, compared: [43, 43], signed: 1 },
    'the oldest is dropped'
  )
})

/** Writes a window with a given secret, which `set` does not allow; returns the record. */
async function writeWindow (file: string, secret: string): Promise<StateRecord> {
  const { store } = await openStore({ file }, [])
  await updateRecord(store, 'default', { edit: openSite({}) })
  const record = await updateRecord(store, 'default', { edit: closeSite({ secret }) })
  await store.close()
  return record
}

/** The status for raw bytes on a new socket: no HTTP client would send some of these. */
async function statusOf (app: FastifyInstance, ...cookies: string[]): Promise<number> {
  const lines = cookies.map(cookie => `cookie: ${cookie}\r\n`).join('')
  const answer =
    await sendRaw(app, Buffer.from(`GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${lines}\r\n`, 'latin1'))
  return Number(answer.split(' ')[1])
}

t.test("cookies: only this window's valid one is let through", async t => {
  const file = stateFile(t)
  const { app, run, secret } = await closedApp(t, { store: { file } })
  const old = cookieOf(await post(app, { secret }))
  t.equal(await statusOf(app, old), 200)
  const { windows, revision } = await writeWindow(file, secret)
  const { id: windowId, bypass } = windows[0] as StoredWindow
  await until('the new window is known', () => app.maintenance.status().revision === revision)
  t.equal(await statusOf(app, old), 503, 'the previous window, with the same secret')
  const valid = cookieOf(await post(app, { secret }))
  t.equal(await statusOf(app, valid), 200)

  const pass = createPass({ key: KEY, ttl: 43_200 }, windowId, bypass as string)
  const aged = (seconds: number): string => pass.makeCookie(Date.now() - seconds * 1000)
  t.equal(await statusOf(app, `maintenance=${aged(43_100)}`), 200, 'almost expired')
  const expired = aged(43_201)
  const value = valid.slice('maintenance='.length)
  const [, expiry = '', nonce = '', mac = ''] = value.split('.')
  const signed = `v1.${expiry}.${nonce}`
  const raised = (cookie: string): string => cookie.replace(/\.\d+/, `.${Number(expiry) + 1000}`)
  const forged = (key: string, hash = '', id = ''): string =>
    `${signed}.${createHmac('sha256', Buffer.from(
      hkdfSync('sha256', key, hash, `fastify-maintenance bypass ${id}`, 32)
    )).update(signed).digest('base64url')}`
  t.equal(
    forged(KEY, bypass as string, windowId),
    value,
    'this is the signature; each forgery below leaves something out'
  )
  const hex = Buffer.from(mac, 'base64url').toString('hex')
  const wrong: Record<string, string[]> = {
    expired: [expired],
    'a raised expiry': [
      raised(value), raised(expired), value.replace(expiry, '9'.repeat(12)), value.replace(expiry, '1e99'),
      value.replace(expiry, `0${expiry}`), value.replace(expiry, 'Infinity')
    ],
    quoted: [`"${value}"`, `'${value}'`, `"${value}`, `${value}"`],
    '4 KB': [
      'x'.repeat(4096),
      value.padEnd(4096, 'A'),
      value.padStart(4096, 'A'),
      `${signed}.${mac.padEnd(4000, 'A')}`,
      `v1.${expiry.padStart(4000, '0')}.${nonce}.${mac}`
    ],
    'mac of another type': [
      'true', 'null', '0', '', '[]', '{}', '[object Object]', `["${mac}"]`, `{"mac":"${mac}"}`, hex, `${mac}=`,
      Buffer.from(hex, 'hex').toString('base64').replaceAll(/[-_]/g, '+') + '=', 'A'.repeat(43)
    ].map(other => `${signed}.${other}`),
    malformed: [
      '', 'v1', ` ${value}`, '.', '...', value.replace('v1', 'v2'), value.replace('v1', 'V1'), signed, `${signed}.`,
      `${value}.`, `.${value}`, `${value}${value}`, `${value},${value}`, `j:${JSON.stringify(value)}`,
      encodeURIComponent(value) + '%', value.replaceAll('.', '%2e')
    ],
    'signed with another key': [
      forged(''), forged(KEY), forged('', bypass as string, windowId), forged(KEY, '', windowId),
      forged(KEY, bypass as string), forged(secret, bypass as string, windowId)
    ]
  }
  for (const [what, values] of Object.entries(wrong)) {
    for (const cookie of values) {
      t.equal(await statusOf(app, `maintenance=${cookie}`), 503, `${what}: ${cookie.slice(0, 100)}`)
    }
  }

  const flipped: number[] = []
  for (let bit = 0; bit < value.length * 8; bit++) {
    const bytes = Buffer.from(value)
    bytes[bit >> 3] = bytes[bit >> 3] as number ^ 1 << (bit & 7)
    flipped.push(await statusOf(app, `maintenance=${bytes.toString('latin1')}`))
  }
  t.strictSame([...new Set(flipped)].sort(), [400, 503], 'any bit flipped; 400 if that makes a control character')

  t.equal(await statusOf(
    app,
    `x${valid}; other=${value}; maintenance2=${value}; Maintenance=${value}; ${value}`
  ), 503, 'another name')
  t.equal(run.runs, 3, 'no other request was let through')
  t.equal(await statusOf(
    app,
    `a=b; maintenance=x; maintenance=${expired};maintenance=; maintenance="${value}"; ${valid}`
  ), 200, 'the fifth of five')
  t.equal(await statusOf(app, `${valid}; maintenance=x; maintenance=`), 200, 'the first of three')
  t.equal(
    await statusOf(app, 'maintenance=x', `maintenance=${expired}`, 'maintenance', old, valid),
    200,
    'the fifth of five headers'
  )
  t.equal(await statusOf(app, `maintenance=${'x'.repeat(4096)};${valid} ; a=b`), 200, 'after a cookie of 4 KB')
  t.equal(await statusOf(app, `${'maintenance=x; '.repeat(19)}${valid}`), 200, 'the last of twenty')
  t.equal(await statusOf(app, `${'maintenance=x; '.repeat(20)}${valid}`), 503, 'more are not read')
})

const stores: {
  readonly [kind: string]: (t: Test) => Promise<{
    option: NonNullable<FastifyMaintenanceOptions['store']>; address: string
  }>
} = {
  async file (t) {
    const file = stateFile(t)
    return { option: { file }, address: `file:${file}` }
  },
  async redis (t) {
    const { url } = await startRedis(t)
    return { option: { redis: url }, address: url }
  }
}

async function listen (t: Test, store: NonNullable<FastifyMaintenanceOptions['store']>, bypass: BypassOptions) {
  const { app } = await createApp(t, { store, bypass })
  app.get('/', counter())
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, url, api: app.maintenance }
}

async function fetchCookie (url: string, secret: string): Promise<string> {
  const answer = await fetch(`${url}/maintenance/bypass`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ secret })
  })
  await answer.text()
  return answer.headers.get('set-cookie')?.split(';')[0] ?? `none: ${answer.status}`
}

async function fetchStatus (url: string, headers: Record<string, string>): Promise<number> {
  const answer = await fetch(url, { headers })
  await answer.text()
  return answer.status
}

for (const [kind, startStore] of Object.entries(stores)) {
  for (const [word, bypass] of Object.entries({ with: { key: KEY }, without: {} })) {
    t.test(`two listening servers on one ${kind}, ${word} a shared key`, async t => {
      const { option, address } = await startStore(t)
      const [one, two] = [await listen(t, option, bypass), await listen(t, option, bypass)]
      const known = (revision: number) => until('both have read it', () => one.api.status().revision === revision &&
        two.api.status().revision === revision)
      const atBoth = (headers: Record<string, string>) =>
        Promise.all([fetchStatus(one.url, headers), fetchStatus(two.url, headers)])
      const secretOf = ({ bypass }: { bypass?: Bypass | undefined }): string => bypass?.secret as string

      const first = await one.api.set(true, { bypass: true })
      await known(first.revision)
      const cookie = await fetchCookie(two.url, secretOf(first))
      t.strictSame(await atBoth({ cookie }), [200, 200], 'from one server, valid on both')
      t.strictSame(await atBoth({ 'maintenance-bypass': secretOf(first) }), [200, 200], 'also in a header')
      t.strictSame(await atBoth({ cookie: 'maintenance=x', 'maintenance-bypass': 'x' }), [503, 503])
      await known((await two.api.set(true, { message: 'still' })).revision)
      t.strictSame(await atBoth({ cookie }), [200, 200], 'a change within the window')

      await two.api.set(false)
      const second = await two.api.set(true, { bypass: true })
      await known(second.revision)
      t.strictSame(await atBoth({ cookie }), [503, 503], 'a new window: void on both once they have read it')
      t.strictSame(await atBoth({ 'maintenance-bypass': secretOf(first) }), [503, 503])
      t.match(await fetchCookie(one.url, secretOf(first)), 'none: 403')
      const next = await fetchCookie(one.url, secretOf(second))
      t.strictSame(await atBoth({ cookie: next }), [200, 200])

      let printed = ''
      await main([
        'on', '--bypass', '--json', '--store', address
      ], {}, { out: text => { printed += text }, err: text => { t.fail(text) } })
      const [made] = JSON.parse(printed).sites
      await known(made.revision)
      t.strictSame(await atBoth({ cookie: next }), [503, 503], 'a new secret in the same window')
      for (const { url } of [one, two]) {
        t.strictSame(await atBoth({
          cookie: await fetchCookie(url, secretOf(made))
        }), [200, 200], 'made by the command')
      }
    })
  }
}

t.test('servers with different keys: the secret is valid on both, a cookie only on its own', async t => {
  const store = { file: stateFile(t) }
  const [one, two] = [await listen(t, store, { key: KEY }), await listen(t, store, {})]
  const { bypass, revision } = await one.api.set(true, { bypass: true })
  await until('both have read it', () => two.api.status().revision === revision)
  for (const [here, there] of [[one, two], [two, one]] as const) {
    const cookie = await fetchCookie(here.url, bypass?.secret as string)
    t.strictSame([await fetchStatus(here.url, { cookie }), await fetchStatus(there.url, { cookie })], [200, 503])
  }
  const { app } = await createApp(t, { store })
  app.get('/', counter())
  t.equal((await app.inject({
    url: '/', headers: { 'maintenance-bypass': bypass?.secret }
  })).statusCode, 503, 'a server without the option accepts no secret')
})

t.test("cookies start and expire by the store's clock, not the server's", async t => {
  const store = Object.assign(createTestStore(), { now: () => Date.now() + 3 * 86_400_000 })
  const { app, secret } = await closedApp(t, { store, bypass: { key: KEY, ttl: 3600 } })
  t.equal((await enter(app, cookieOf(await post(app, { secret })))).statusCode, 200)
})

t.test('no secret or cookie lets a request for an unknown site through while a site is closed', async t => {
  const { app } = await createApp(t, {
    site: request => String(request.headers['x-site']), sites: ['a', 'b'], bypass: { key: KEY }
  })
  const run = counter()
  app.get('/', run)
  const { bypass } = await app.maintenance.for('a').set(true, { bypass: true })
  const { secret } = bypass as Bypass
  const cookie = cookieOf(await post(app, { secret }, { 'x-site': 'a' }))
  for (const headers of [{ cookie }, { 'maintenance-bypass': secret }]) {
    t.equal((await app.inject({ url: '/', headers: { ...headers, 'x-site': 'a' } })).statusCode, 200)
    t.equal((await app.inject({ url: '/', headers: { ...headers, 'x-site': 'nobody' } })).statusCode, 503)
  }
  t.equal((await post(app, { secret }, { 'x-site': 'nobody' })).statusCode, 403)
  t.equal(run.runs, 2)
})

t.test('cookies expire', async t => {
  const pass = createPass({ ttl: 60 }, 'window', hashSecret('window', 'secret'))
  const cookie = pass.makeCookie(1_000_000)
  t.equal(pass.isCookie(cookie, 1_059_999), true)
  t.equal(pass.isCookie(cookie, 1_060_000), false, 'also when cached')
  const { app, secret } = await closedApp(t, { bypass: { ttl: 1 } })
  const short = cookieOf(await post(app, { secret }))
  await until('expired', async () => (await enter(app, short)).statusCode === 503)
})

t.test('a new window, or a new secret, voids the old cookies; a change in between does not', async t => {
  const file = stateFile(t)
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
  t.notOk('bypass' in await app.maintenance.set(true, { bypass: false }))
  t.equal((await enter(app, again)).statusCode, 503)
  await app.maintenance.set(false)
  await app.maintenance.set(true)
  t.equal((await enter(app, again)).statusCode, 503)

  // two windows at once, each with its own secret
  const first = await app.maintenance.set(true, { bypass: true })
  const later = await app.maintenance.set(true, { startsAt: new Date(Date.now() + 300), bypass: true })
  const one_ = cookieOf(await post(app, { secret: first.bypass?.secret }))
  await until('both close the site', () => app.maintenance.status().windows.filter(({ active }) => active).length === 2)
  t.equal((await enter(app, one_)).statusCode, 503, 'only one of two secrets')
  t.equal((await enter(app, one_, {
    'maintenance-bypass': later.bypass?.secret ?? ''
  })).statusCode, 200, 'one in the cookie, one in the header')
  const both = cookieOf(await post(app, { secret: later.bypass?.secret }, { cookie: one_ }))
  t.equal((await enter(app, both)).statusCode, 200, 'the new cookie has both')
  await app.maintenance.set(false)

  // the same secret, in another window
  const one = createPass({ key: KEY, ttl: 60 }, 'one', hashSecret('one', 'same'))
  const two = createPass({ key: KEY, ttl: 60 }, 'two', hashSecret('two', 'same'))
  t.equal(two.isCookie(one.makeCookie(Date.now()), Date.now()), false)
})

t.test('reading the store is not enough to forge a cookie without the shared key', async t => {
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
  const guess = (ip: string | undefined, right = false) =>
    guesses.check({ ip, raw: { headers: {} } } as never, [{ isSecret: () => right } as unknown as Pass], '')
  for (let i = 0; i < 20; i++) guess('192.0.2.1')
  for (let i = 0; i < 25_000; i++) guess(`10.0.${i >> 8}.${i & 255}`)
  t.equal(guess('192.0.2.1', true), false, 'others do not unlock an address')
  t.equal(guess('192.0.2.2', true), true, 'nor lock another one out')
  t.equal(guesses.wrong, 20 + 25_000 + 1)
  for (let i = 0; i < 19; i++) guess('10.0.97.0')
  t.equal(guess('10.0.97.0', true), false, 'the latest ten thousand are kept')
  t.equal(guess('10.0.0.0', true), true, 'the oldest are not')
})

t.test('wrong guesses: one client has one address in every spelling', async t => {
  const clients: [string | undefined, ...(string | undefined)[]][] = [
    ['192.0.2.1', '::ffff:192.0.2.1', '::FFFF:c000:201', '192.0.2.1:4711', '[::ffff:192.0.2.1]:80'],
    ['2001:db8:1:2::1', '2001:0DB8:1:2:ffff::', '2001:db8:1:2:3:4:5:6', '[2001:db8:1:2::9]:443', '[2001:db8:1:2::9]'],
    ['fe80::1%eth0', 'fe80::2'],
    [undefined, '', 'unknown', '_hidden', '1.2.3', 'x'.repeat(4000)]
  ]
  const guesses = createGuesses()
  const guess = (ip: string | undefined, right = false) =>
    guesses.check({ ip, raw: { headers: {} } } as never, [{ isSecret: () => right } as unknown as Pass], '')
  for (const spellings of clients) {
    for (let i = 0; i < 20; i++) guess(spellings[i % spellings.length])
    for (const ip of spellings) t.equal(guess(ip, true), false, String(ip).slice(0, 40))
  }
  for (const ip of ['192.0.2.2', '2001:db8:1:3::1', '::1', '::192.0.2.1']) t.equal(guess(ip, true), true, String(ip))
})

t.test('a wrong guess counts once, even if the gate is asked twice, and for a minute only', async t => {
  const { app } = await closedApp(t, {
    ignore: { request: request => app.maintenance.explain(request).blocked === false }
  })
  t.equal((await app.inject({ url: '/', headers: { 'maintenance-bypass': 'x' } })).statusCode, 503)
  t.equal(app.maintenance.status().counts.failedBypasses, 1)

  const guesses = createGuesses()
  let now = 1_000_000
  t.intercept(Date, 'now', { value: () => now })
  const guess = (right: boolean, ip = '192.0.2.1') =>
    guesses.check({ ip, raw: { headers: {} } } as never, [{ isSecret: () => right } as unknown as Pass], '')
  for (let i = 0; i < 19; i++) guess(false)
  t.equal(guess(true), true, 'after 19')
  now += 59_999
  t.equal(guess(false), false)
  t.equal(guess(true), false, 'after 20')
  t.equal(guess(true, '192.0.2.2'), true)
  now++
  t.equal(guess(true), true, 'a minute after the first')
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

/** Processes and temporary files may disappear while they are read. */
function readIfThere (file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}

/** Arguments and environment of every process on this machine, as `ps` shows them. */
const processList = (): string[] => readdirSync('/proc').filter(name => /^\d+$/.test(name))
  .map(pid => ['cmdline', 'comm', 'environ'].map(
    file => readIfThere(`/proc/${pid}/${file}`).replaceAll('\0', ' ')
  ).join('\n'))

/** Runs the command as a process; returns its output and what `ps` showed during and after it. */
async function runCommand (args: string[]): Promise<{ out: string, seen: Set<string> }> {
  const child = spawn(process.execPath, ['dist/lib/cli/bin.js', ...args], {
    env: { PATH: process.env.PATH, _TAPJS_PROCESSINFO_COVERAGE_: '0' }, stdio: ['ignore', 'pipe', 'inherit']
  })
  const seen = new Set<string>()
  const scan = () => { for (const text of processList()) seen.add(text) }
  const scanning = setInterval(scan, 5)
  const [out] = await Promise.all([text(child.stdout), once(child, 'exit')])
  clearInterval(scanning)
  scan()
  return { out, seen }
}

t.test('the secret of a whole session is in no log, answer, store or process list', {
  skip: existsSync('/proc/self/cmdline') ? false : 'no /proc'
}, async t => {
  // not the test's folder: a mirror may still be written after its server has closed
  const directory = mkdtempSync(join(tmpdir(), 'maintenance-bypass-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }))
  const { url, client } = await startRedis(t)
  const commands: string[] = []
  const monitor = await client.monitor()
  t.teardown(() => monitor.disconnect())
  monitor.on('monitor', (_time: string, args: string[]) => { commands.push(args.join(' ')) })

  for (const [store, address] of [
    [{ file: `${directory}/state.json` }, `file:${directory}/state.json`],
    [{ redis: url, mirror: `${directory}/mirror.json` }, url]
  ] as const) {
    const changes: unknown[] = []
    const answers: string[] = []
    const { app, lines } = await createApp(
      t,
      { store, bypass: { key: KEY }, onChange: (...change) => { changes.push(change) } },
      { trustProxy: '127.0.0.1' }
    )
    app.get('/', counter())
    const base = await app.listen({ port: 0, host: '127.0.0.1' })
    const visit = async (path: string, init: RequestInit = {}) => {
      const answer = await fetch(base + path, { redirect: 'manual', ...init })
      answers.push(JSON.stringify([answer.status, [...answer.headers], await answer.text()]))
      t.match(answer.headers.get('cache-control'), /no-store/, 'not cached')
      return answer
    }
    const send = (type: string, body: string, path = '/maintenance/bypass') =>
      visit(path, { method: 'POST', headers: { 'content-type': type }, body })

    const command = await runCommand(['on', '--bypass', '--json', '--store', address])
    const [printed] = JSON.parse(command.out).sites
    await until('the change is read', () => app.maintenance.status().revision === printed.revision)
    const secrets: string[] = [printed.bypass.secret]
    for (const made of ['command', 'set']) {
      if (made === 'set') secrets.push((await app.maintenance.set(true, { bypass: true })).bypass?.secret as string)
      const secret = secrets.at(-1) as string
      const json = await send('application/json', JSON.stringify({ secret, next: '/' }))
      const visits = [
        visit('/'), visit('/maintenance/bypass'),
        visit('/maintenance/bypass?next=/', { headers: { 'maintenance-bypass': secret } }), json,
        send('application/x-www-form-urlencoded', `secret=${secret}`),
        visit('/', { headers: { 'maintenance-bypass': secret } }),
        visit('/', { headers: { cookie: cookieOf({ headers: Object.fromEntries(json.headers) }) } }),
        // almost right
        send('application/json', JSON.stringify({ secret: `${secret}x` })),
        send('application/json', `{"secret":"${secret}`), send('text/plain', secret),
        send('application/json', JSON.stringify({ secret: secret.repeat(200) })),
        send('application/x-www-form-urlencoded', `secret=${secret}+`),
        send('application/x-www-form-urlencoded', `secret=${secret}`, '/'),
        visit('/', { headers: { 'maintenance-bypass': `${secret}, ${secret}` } })
      ]
      t.strictSame((await Promise.all(visits)).map(answer => answer.status), [
        503, 200, 200, 204, 303, 200, 200, 403, 403, 403, 403, 403, 503, 503
      ])
    }
    for (let i = 0; i < 20; i++) await send('application/json', JSON.stringify({ secret: `${secrets[1]}x` }))
    t.equal((await send('application/json', JSON.stringify({ secret: secrets[1] }))).status, 403, 'the limit')
    const status = app.maintenance.status()
    const { revision } = await app.maintenance.set(false)
    const history = await app.maintenance.history()
    if ('redis' in store) {
      await until('the monitor has everything', () => commands.some(
        command => command.includes(`"revision":${revision}`)
      ))
      await until('the mirror has it', () => readFileSync(store.mirror, 'utf8').includes(`${revision}`))
    }
    await app.close()

    const places: Record<string, [string, RegExp]> = {
      'the log': [JSON.stringify(lines), /incoming request.*maintenance: request blocked/],
      'the events and status': [JSON.stringify([changes, status, history]), /"active":true/],
      'the answers': [answers.join(), /Enter during maintenance.*maintenance=v1\./],
      'the output of ps': [[...command.seen].join('\n'), /lib\/cli\/bin\.js on --bypass/],
      'the files': [readdirSync(directory).map(name => readIfThere(`${directory}/${name}`)).join('\n'), /windows/],
      'the commands to Redis': [commands.join('\n'), 'redis' in store ? /windows/ : /^/],
      'the data in Redis': [await dump(client), 'redis' in store ? /windows/ : /^/]
    }
    for (const [place, [text, sample]] of Object.entries(places)) {
      t.match(text.replaceAll('\n', ' '), sample, `${place}: it was checked`)
      for (const secret of secrets) t.equal(text.split(secret).length - 1, 0, `${place}: 0 hits`)
    }
  }
})

function dumpKey (client: Redis, key: string, type: string): Promise<unknown> {
  if (type === 'hash') return client.hgetall(key)
  return type === 'zset' ? client.zrange(key, '0', '-1') : client.lrange(key, 0, -1)
}

async function dump (client: Redis): Promise<string> {
  const keys = await client.keys('*')
  const values = await Promise.all(keys.map(async key => dumpKey(client, key, await client.type(key))))
  return JSON.stringify([keys, values])
}

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
  t.equal((await post(app, { secret: path?.[2] })).statusCode, 204)
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
    return lines.some(line => line.level === 40 && line.msg.includes('nobody can sign in'))
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
