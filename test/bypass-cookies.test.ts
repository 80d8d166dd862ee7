import crypto, { createHmac, hkdfSync } from 'node:crypto'
import { once } from 'node:events'
import { Agent, get } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { createPass, hashSecret, makeSecret } from '../lib/state/secret.ts'
import { main } from '../lib/cli/main.ts'
import { closeSite, openSite } from '../lib/state/edit.ts'
import type { StateRecord, StoredWindow } from '../lib/state/record.ts'
import { updateRecord } from '../lib/state/write.ts'
import { openStore } from '../lib/stores/open.ts'
import { connectionOf } from '../lib/util/connection.ts'
import type { Bypass, BypassOptions, FastifyMaintenanceOptions } from '../types/index.ts'
import { counter, createApp, KEY, sendRaw, until, stateFile } from './fixtures/app.ts'
import { closedApp, cookieOf, enter, postBypass } from './fixtures/bypass.ts'
import { startRedis } from './fixtures/redis.ts'
import { createTestStore } from './fixtures/store.ts'

t.test('over https, only a __Host- cookie counts', async t => {
  const { app, secret } = await closedApp(t)
  const https = { 'x-forwarded-proto': 'https' }
  const answer = await postBypass(app, { secret }, https)
  t.match(answer.headers['set-cookie'], /^__Host-maintenance=.*; Secure$/)
  t.equal((await enter(app, cookieOf(answer), https)).statusCode, 200)
  t.equal((await enter(app, cookieOf(answer).replace('__Host-', ''), https)).statusCode, 503)
  t.equal((await app.inject({
    url: '/', headers: { 'maintenance-bypass': 'wrong', cookie: cookieOf(answer), ...https }
  })).statusCode, 200, 'a wrong header does not void the cookie')
})

t.test('a run with a bypass: its work gets the link; without the option, it is rejected', async t => {
  const { app } = await createApp(t, { bypass: { key: KEY } })
  app.get('/', async () => 'open')
  await app.ready()
  await app.maintenance.run(async ({ bypass }) => {
    const entered = await postBypass(app, { secret: bypass?.secret }, {}, bypass?.path.split('#')[0])
    t.match(await enter(app, cookieOf(entered)), { statusCode: 200, body: 'open' })
    t.equal((await app.inject('/')).statusCode, 503)
  }, { bypass: true })
  t.equal(await app.maintenance.run(({ bypass }) => bypass), null)
  const { app: without } = await createApp(t)
  await without.ready()
  await t.rejects(without.maintenance.run(() => t.fail('must not run'), { bypass: true }), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /bypass links are not enabled/
  })
  t.equal(without.maintenance.active, false)
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
  const callsOf = (work: () => unknown): unknown => {
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
  t.strictSame(callsOf(() => pass.expiryOf(cookie)), { is: 60_000, compared: [43, 43], signed: 1 })
  t.strictSame(callsOf(() => pass.expiryOf(cookie)), { is: 60_000, compared: [], signed: 0 }, 'cached')
  for (let i = 0; i < 2; i++) {
    t.strictSame(
      callsOf(() => pass.expiryOf(wrong)),
      { is: 0, compared: [43, 43], signed: 1 },
      'wrong cookies are not cached'
    )
  }
  for (let i = 0; i < 999; i++) if (pass.expiryOf(pass.makeCookie(0)) === 0) t.fail('valid')
  t.match(callsOf(() => pass.expiryOf(cookie)), { is: 60_000, signed: 0 }, 'a thousand cookies are cached')
  pass.expiryOf(pass.makeCookie(0))
  t.strictSame(
    callsOf(() => pass.expiryOf(cookie)),
    { is: 60_000, compared: [43, 43], signed: 1 },
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
  const old = cookieOf(await postBypass(app, { secret }))
  t.equal(await statusOf(app, old), 200)
  const { windows, revision } = await writeWindow(file, secret)
  const { id: windowId, bypass } = windows[0] as StoredWindow
  await until('the new window is known', () => app.maintenance.status().revision === revision)
  t.equal(await statusOf(app, old), 503, 'the previous window, with the same secret')
  const valid = cookieOf(await postBypass(app, { secret }))
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
  t.equal((await enter(app, cookieOf(await postBypass(app, { secret })))).statusCode, 200)
})

t.test('no secret or cookie lets a request for an unknown site through while a site is closed', async t => {
  const { app } = await createApp(t, {
    site: request => String(request.headers['x-site']), sites: ['a', 'b'], bypass: { key: KEY }
  })
  const run = counter()
  app.get('/', run)
  const { bypass } = await app.maintenance.for('a').set(true, { bypass: true })
  const { secret } = bypass as Bypass
  const cookie = cookieOf(await postBypass(app, { secret }, { 'x-site': 'a' }))
  for (const headers of [{ cookie }, { 'maintenance-bypass': secret }]) {
    t.equal((await app.inject({ url: '/', headers: { ...headers, 'x-site': 'a' } })).statusCode, 200)
    t.equal((await app.inject({ url: '/', headers: { ...headers, 'x-site': 'nobody' } })).statusCode, 503)
  }
  t.equal((await postBypass(app, { secret }, { 'x-site': 'nobody' })).statusCode, 403)
  t.equal(run.runs, 2)
})

t.test('cookies expire', async t => {
  const pass = createPass({ ttl: 60 }, 'window', hashSecret('window', 'secret'))
  const cookie = pass.makeCookie(1_000_000)
  t.equal(pass.expiryOf(cookie), 1_060_000)
  t.equal(pass.expiryOf(cookie), 1_060_000, 'cached')
  const { app, secret } = await closedApp(t, { bypass: { ttl: 1 } })
  const short = cookieOf(await postBypass(app, { secret }))
  await until('expired', async () => (await enter(app, short)).statusCode === 503)
})

for (const version of [1, 2]) {
  t.test(`one HTTP/${version} connection: the same cookies pass again, until they are no longer good`, async t => {
    const server = version === 2 ? { http2: true, forceCloseConnections: false } : {}
    const { app } = await createApp(t, { bypass: { key: KEY } }, server as object)
    app.get('/', async () => 'inside')
    await app.listen({ port: 0, host: '127.0.0.1' })
    const closeSite = async (): Promise<string> => {
      const { bypass } = await app.maintenance.set(true, { bypass: true })
      return cookieOf(await postBypass(app, { secret: bypass?.secret }))
    }
    const statusOf = oneConnection(t, app, version)
    const cookie = await closeSite()
    for (let i = 0; i < 3; i++) t.equal(await statusOf(`theme=dark; ${cookie}`), '200')
    t.equal(await statusOf('theme=dark'), '503', 'somebody else behind the same proxy')
    t.equal(await statusOf(`theme=dark; ${cookie}x`), '503')
    t.equal(await statusOf(`theme=dark; ${cookie}`), '200')
    const next = await closeSite()
    t.equal(await statusOf(`theme=dark; ${cookie}`), '503', 'the secret is another one')
    t.equal(await statusOf(`theme=dark; ${next}`), '200')
  })
}

t.test('one connection: the same header passes if its first cookie has expired, and a later one has not', async t => {
  const file = stateFile(t)
  const { app, secret } = await closedApp(t, { store: { file } })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { windows, revision } = await writeWindow(file, secret)
  const { id, bypass } = windows[0] as StoredWindow
  await until('the new window is known', () => app.maintenance.status().revision === revision)
  const pass = createPass({ key: KEY, ttl: 43_200 }, id, bypass as string)
  const short = `maintenance=${pass.makeCookie(Date.now() - 43_197_000)}`
  const both = `${short}; maintenance=${pass.makeCookie(Date.now())}`
  const statusOf = oneConnection(t, app, 1)
  t.equal(await statusOf(both), '200')
  await until('the first one has expired', async () => (await enter(app, short)).statusCode === 503)
  t.equal(await statusOf(both), '200')
  t.equal(await statusOf(short), '503')
})

t.test('one connection of a proxy: over https, the header that passed over http does not', async t => {
  const { app, secret } = await closedApp(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const statusOf = oneConnection(t, app, 1)
  const cookie = cookieOf(await postBypass(app, { secret }))
  t.equal(await statusOf(cookie), '200')
  t.equal(await statusOf(cookie, { 'x-forwarded-proto': 'https' }), '503')
  t.equal(await statusOf(cookie), '200')
})

t.test('a request without a socket shares its connection with no other', async t => {
  const raw = {} as FastifyRequest['raw']
  t.equal(connectionOf(raw), raw)
})

type Ask = (cookie: string, headers?: Record<string, string>) => Promise<string>

/** Asks for the home page, always on the same connection. @returns the status code */
function oneConnection (t: Test, app: FastifyInstance, version: number): Ask {
  const { port } = app.server.address() as AddressInfo
  if (version === 2) {
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    t.teardown(() => session.close())
    return async cookie => {
      const [headers] = await once(session.request({ ':path': '/', cookie }).resume(), 'response')
      return String(headers[':status'])
    }
  }
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  return async (cookie, headers) => {
    const [response] = await once(get({ port, agent, headers: { cookie, ...headers } }), 'response')
    await once(response.resume(), 'end')
    return String(response.statusCode)
  }
}

t.test('a new window, or a new secret, voids the old cookies; a change in between does not', async t => {
  const file = stateFile(t)
  const { app, secret } = await closedApp(t, { store: { file } })
  const other = await createApp(t, { store: { file }, bypass: { key: KEY } })
  other.app.get('/', async () => 'other')
  const cookie = cookieOf(await postBypass(app, { secret }))
  t.equal((await enter(other.app, cookie)).body, 'other', 'on all servers')
  await app.maintenance.set(true, { message: 'still' })
  await other.app.maintenance.refresh()
  t.equal((await enter(other.app, cookie)).statusCode, 200)
  await app.maintenance.set(true, { bypass: true })
  await other.app.maintenance.refresh()
  t.equal((await enter(other.app, cookie)).statusCode, 503)
  t.equal((await postBypass(other.app, { secret })).statusCode, 403)
  const second = await app.maintenance.set(true, { bypass: true })
  const again = cookieOf(await postBypass(app, { secret: second.bypass?.secret }))
  t.equal((await enter(app, again)).statusCode, 200)
  t.notOk('bypass' in await app.maintenance.set(true, { bypass: false }))
  t.equal((await enter(app, again)).statusCode, 503)
  await app.maintenance.set(false)
  await app.maintenance.set(true)
  t.equal((await enter(app, again)).statusCode, 503)

  // two windows at once, each with its own secret
  const first = await app.maintenance.set(true, { bypass: true })
  const later = await app.maintenance.set(true, { startsAt: new Date(Date.now() + 300), bypass: true })
  const one_ = cookieOf(await postBypass(app, { secret: first.bypass?.secret }))
  await until('both close the site', () => app.maintenance.status().windows.filter(({ active }) => active).length === 2)
  t.equal((await enter(app, one_)).statusCode, 503, 'only one of two secrets')
  t.equal((await enter(app, one_, {
    'maintenance-bypass': later.bypass?.secret ?? ''
  })).statusCode, 200, 'one in the cookie, one in the header')
  const both = cookieOf(await postBypass(app, { secret: later.bypass?.secret }, { cookie: one_ }))
  t.equal((await enter(app, both)).statusCode, 200, 'the new cookie has both')
  await app.maintenance.set(false)

  // the same secret, in another window
  const one = createPass({ key: KEY, ttl: 60 }, 'one', hashSecret('one', 'same'))
  const two = createPass({ key: KEY, ttl: 60 }, 'two', hashSecret('two', 'same'))
  t.equal(two.expiryOf(one.makeCookie(Date.now())), 0)
})

t.test('reading the store is not enough to forge a cookie without the shared key', async t => {
  const hash = hashSecret('window', makeSecret())
  const fleet = createPass({ key: KEY, ttl: 60 }, 'window', hash)
  const reader = createPass({ ttl: 60 }, 'window', hash)
  t.equal(fleet.expiryOf(reader.makeCookie(Date.now())), 0)
})
