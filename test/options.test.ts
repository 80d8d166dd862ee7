import t from 'tap'
import { showType } from '../lib/util/show.ts'
import { messageOf, show } from '../lib/errors.ts'
import { didYouMean, suggest } from '../lib/util/did-you-mean.ts'
import { checkShape, text } from '../lib/util/validate.ts'
import { readOptions } from '../lib/options.ts'
import { checkCancelling, checkOpening, checkSet, checkUpdate } from '../lib/state/change.ts'
import { closeSite } from '../lib/state/edit.ts'
import { defaultText, messageByLanguage } from '../lib/state/message.ts'
import { createRecordParser, modeOf, NEVER_WRITTEN, parseRecord, serialiseRecord } from '../lib/state/record.ts'
import { NO_SCHEDULE } from '../lib/state/schedule.ts'
import { toTime } from '../lib/state/time.ts'
import { isActive, momentOf } from '../lib/state/window.ts'
import type { FastifyMaintenanceOptions } from '../types/index.ts'
import { createApp } from './fixtures/app.ts'
import { recordOf, storedWindow } from './fixtures/records.ts'

t.test('options: defaults', async t => {
  t.match(readOptions({}), {
    pinned: undefined,
    site: 'default',
    siteOf: null,
    sites: ['default'],
    store: 'memory',
    whenUnknown: 'open',
    ignore: { routes: [], ips: null, ipRules: 0, request: undefined },
    response: { statusCode: 503, retryAfter: 300, type: 'auto', headers: {} }
  })
  t.ok(Object.isFrozen(readOptions({})))
})

t.test('options: a string works as a list of one', async t => {
  const { ignore, sites } = readOptions({
    ignore: { routes: '/health', ips: '10.0.0.1' }, site: () => 'shop', sites: 'shop'
  })
  t.strictSame(ignore.routes, ['/health'])
  t.strictSame([ignore.ips?.('10.0.0.1'), ignore.ips?.('1'), ignore.ipRules], [true, false, 1])
  t.strictSame(sites, ['shop'])
  const expression = /^\/x$/
  t.equal(readOptions({ ignore: { routes: expression } }).ignore.routes[0], expression)
})

t.test('options: invalid ones are rejected with name, value and expectation', async t => {
  const client = { duplicate () {}, defineCommand () {}, options: { password: 'S3cret' } }
  const wrong: [unknown, RegExp][] = [
    [null, /option 'options' is null, expected an object/],
    [[], /option 'options' is \[\], expected an object/],
    [{ ingore: {} }, /unknown option 'ingore'. Did you mean ignore\?/],
    [{ pinned: 'shut' }, /'pinned' is 'shut', expected 'open' or 'closed'/],
    [{ pinned: true }, /'pinned' is true/],
    [{ enabled: true }, /unknown option 'enabled'/],
    [{ site: '' }, /'site' is '', expected a name of letters/],
    [{ site: '-x' }, /'site' is '-x'/],
    [{ site: 'x'.repeat(65) }, /'site' is 'x+'/],
    [{ site: 3 }, /'site' is 3/],
    [{ site: () => 'x' }, /'sites' is undefined, expected the list of all sites/],
    [{ site: () => 'x', sites: [] }, /'sites' is \[\], expected one or more names, each once/],
    [{ sites: ['default', 'default'] }, /'sites' is .*each once/],
    [{ site: 'a', sites: ['b'] }, /sites must contain this server's own site. Set site: 'b', or add 'a' to sites/],
    [{ sites: ['default', 'a b'] }, /'sites\[1\]' is 'a b'/],
    [
      { store: 'redis' },
      /'store' is text that is no address, expected 'memory', redis:\/\/…, rediss:\/\/…, postgres:\/\/…, mysql:\/\/…, sqlite:PATH or file:PATH, \{ file: 'path' \}/
    ],
    [{ store: '' }, /'store' is empty/],
    [{ store: ' ' }, /'store' is empty/],
    [{ store: 'file:' }, /'store' is text that is no address/],
    [{ store: './state.json' }, /'store' is a path \(did you mean 'file:\.\/state\.json'\?\)/],
    [{ store: 'file://host/x' }, /'store' is an address of file:\/\//],
    [{ store: 'oracle://ops:S3cret w@host/db' }, /'store' is an address of oracle:\/\/, expected/],
    [{ store: 'ops:S3cret@host' }, /'store' is text that is no address/],
    [{ store: 'redis://ops:12/S3cret@host' }, /'store' is a malformed address of Redis \(encode its password/],
    [{ store: 'rediss://:S3cret%@host' }, /'store' is a malformed address of Redis/],
    [{ store: 3 }, /'store' is of type number/],
    [{ store: {} }, /'store' is an object with nothing in it/],
    [{ store: { host: 'redis.internal', password: 'S3cret' } }, /'store' is an object with host, password, expected/],
    [{ store: { file: '' } }, /'store.file' is ''/],
    [
      { store: { file: './x', mode: 1 } },
      /unknown option 'store.mode'. Expected one of store.file, store.mirror, store.pollInterval/
    ],
    [{ store: { read () {}, write () {} } }, /'store' is an object with read, write/],
    [{ store: null }, /'store' is null/],
    [
      { store: { redis: undefined } },
      /'store.redis' is undefined, expected a client \(register @fastify\/redis first and await it, then pass app.redis\)/
    ],
    [{ store: { redis: null } }, /'store.redis' is null, expected a client \(register/],
    [
      { store: { redis: 'localhost:6379' } },
      /'store.redis' is text that is no address, expected an address such as 'redis:/
    ],
    [{ store: { redis: 'https://x.upstash.io/S3cret' } }, /'store.redis' is an address of https:\/\/, expected/],
    [{ store: { redis: 'redis://:S3cret#@host' } }, /'store.redis' is a malformed address of Redis/],
    [{
      store: { redis: { url: 'https://x.upstash.io', token: 'S3cret' } }
    }, /'store.redis.url' is an address of https:\/\/, expected/],
    [{ store: { redis: { url: new URL('redis://:S3cret@host') } } }, /'store.redis.url' is of type object/],
    [
      { store: { redis: 6379 } },
      /'store.redis' is of type number, expected a client of ioredis, iovalkey or @fastify\/redis, an address/
    ],
    [
      { store: { redis: () => ({ password: 'S3cret' }) } }, /'store.redis' is a function or class, expected an instance/
    ],
    [{ store: { redis: [{ host: 'S3cret' }] } }, /'store.redis' is an array, expected a client of a Cluster/],
    [{ store: { redis: Promise.resolve() } }, /'store.redis' is a Promise, expected .* await it/],
    [{ store: { redis: new Map([['password', 'S3cret']]) } }, /'store.redis' is an instance of Map, expected/],
    [{ store: { redis: new (class { password = 'S3cret' })() } }, /'store.redis' is an instance of a class, expected/],
    [{
      store: { redis: Object.create(Object.create(Object.create(null))) }
    }, /'store.redis' is an instance of a class, expected/],
    [{
      store: { redis: { duplicate () {}, sendCommand () {} } }
    }, /'store.redis' is a client of another package \(redis or @redis\/client\), expected/],
    [
      { store: { redis: Object.assign(Object.create(null), { 'a b': client }) } },
      /'store.redis' is an object of clients, expected one of them: pass its member 'a b' \(of @fastify\/redis: app.redis\['a b'\]\)/
    ],
    [{
      store: { redis: { socket: { host: 'x' }, password: 'S3cret' } }
    }, /'store.redis' is options of another package \(redis\), expected/],
    [{ store: { redis: 'redis://localhost', pasword: 'S3cret' } }, /unknown option 'store.pasword'. Expected one of/],
    [{ store: { redis: 'redis://localhost', prefix: 'a\nb' } }, /'store.prefix' is 'a\\nb'/],
    [{ store: { redis: 'redis://localhost', mirror: '' } }, /'store.mirror' is ''/],
    [{
      store: { redis: 'redis://localhost', pollInterval: 5 }
    }, /'store.pollInterval' is 5, expected a duration such as 90s, .* or milliseconds, from 100ms to 1h/],
    [{ whenUnknown: 'off' }, /'whenUnknown' is 'off', expected 'open' or 'closed'/],
    [{ fallback: true }, /unknown option 'fallback'/],
    [{ ignore: [] }, /'ignore' is \[\], expected an object/],
    [{ ignore: { route: '/x' } }, /unknown option 'ignore.route'. Did you mean ignore.routes\?/],
    [{ ignore: { routes: 'health' } }, /'ignore.routes' is 'health', expected a path such as/],
    [{ ignore: { routes: ['/ok', '/a?b'] } }, /'ignore.routes\[1\]' is '\/a\?b'/],
    [{ ignore: { routes: [/x/g] } }, /'ignore.routes\[0\]' is \/x\/g/],
    [{ ignore: { routes: [/x/y] } }, /'ignore.routes\[0\]' is \/x\/y/],
    [
      { ignore: { routes: [/^\/(a+)+$/] } },
      /'ignore.routes\[0\]' is \/\^\\\/\(a\+\)\+\$\/. RegExp may be slow: nested or adjacent open-ended quantifiers \(see docs\/ignored-routes.md\)$/
    ],
    [{ ignore: { routes: /^\/(?<=a)b/ } }, /'ignore.routes' is .*\. unsupported: lookbehind \(see docs/],
    [{ ignore: { routes: [null] } }, /'ignore.routes\[0\]' is null/],
    [{ ignore: { ips: ['10.0.0.300'] } }, /'ignore.ips\[0\]' is '10.0.0.300', expected an address or a CIDR block/],
    [{ ignore: { ips: ['10.0.0.0/'] } }, /'ignore.ips\[0\]'/],
    [{ ignore: { ips: [1] } }, /'ignore.ips\[0\]' is 1/],
    [{ ignore: { request: true } }, /'ignore.request' is true, expected a function/],
    [{ response: { statusCode: 199 } }, /'response.statusCode' is 199, expected an integer from 200 to 599/],
    [{ response: { statusCode: '503' } }, /'response.statusCode' is '503'/],
    [
      { response: { retryAfter: 0 } },
      /'response.retryAfter' is 0, expected an integer from 1 to 31536000 \(seconds\), or false/
    ],
    [{ response: { retryAfter: NaN } }, /'response.retryAfter' is NaN/],
    [{ response: { retryAfter: -1 } }, /'response.retryAfter' is -1/],
    [{ response: { retryAfter: Infinity } }, /'response.retryAfter' is Infinity/],
    [{ response: { retryAfter: true } }, /'response.retryAfter' is true/],
    [{ response: { retryAfter: new Date() } }, /'response.retryAfter' is/],
    [
      { response: { type: 'xml' } },
      /'response.type' is 'xml', expected 'auto' or 'html' or 'json' or 'text', or a function/
    ],
    [{ response: { refresh: 1.5 } }, /'response.refresh' is 1.5/],
    [{ response: { headers: [] } }, /'response.headers' is \[\]/],
    [{ response: { headers: { 'x-a': 'b\r\nc: d' } } }, /'response.headers.x-a' is 'b\\r\\nc: d'/],
    [{ response: { headers: { 'x a': 'b' } } }, /'response.headers.x a' is 'b'/],
    [{ response: { headers: { 'x-a': 1 } } }, /'response.headers.x-a' is 1/],
    [{
      response: { headers: { 'Cache-Control': 'public' } }
    }, /'response.headers.Cache-Control' is 'public', expected no header for caches/],
    [{
      response: { headers: { 'surrogate-control': 'max-age=1' } }
    }, /'response.headers.surrogate-control' is 'max-age=1'/],
    [{
      response: { headers: { 'Netlify-CDN-Cache-Control': 'max-age=1' } }
    }, /'response.headers.Netlify-CDN-Cache-Control' is 'max-age=1'/],
    [{
      response: { headers: { 'Retry-After': '1' } }
    }, /'response.headers.Retry-After' is '1', expected no header of the answer itself/],
    [{ response: { redirect: '/' } }, /'response.redirect' is '\/', expected a local path such as/],
    [{ response: { redirect: '/?x=1' } }, /'response.redirect'/],
    [{ response: { redirect: '//evil.example' } }, /'response.redirect'/],
    [{ response: { redirect: '/\\evil' } }, /'response.redirect'/],
    [{ response: { redirect: '/%zz' } }, /'response.redirect'/],
    [{ response: { redirect: '/a/*/b' } }, /'response.redirect'/],
    [{ response: { redirect: 'down' } }, /'response.redirect'/],
    [{ response: { redirect: 'javascript:alert(1)' } }, /'response.redirect'/],
    [{ response: { redirect: 'https://' } }, /'response.redirect'/],
    [{ response: { redirect: '/a\r\nb' } }, /'response.redirect'/],
    [{ response: { redirect: 3 } }, /'response.redirect' is 3/],
    [{ response: { template: '' } }, /'response.template' is ''/],
    [{ response: { data: 'x' } }, /'response.data' is 'x', expected an object or a function/],
    [{
      schedule: { cron: '61 * * * *', duration: '1h' }
    }, /'schedule\[0\].cron' is '61 \* \* \* \*', expected a cron pattern .*Invalid value/],
    [{ schedule: [{ cron: '0 1 * * sun', duration: '1h', timeZone: 'Mars/X' }] }, /'schedule\[0\].cron'.*Mars/],
    [{ schedule: [{ cron: '0 1 * * sun' }] }, /'schedule\[0\].duration' is undefined, expected a duration such as 90s/],
    [{ schedule: [{ cron: '0 1 * * sun', duration: 60 }] }, /'schedule\[0\].duration' is 60/],
    [{ schedule: [{ cron: '0 1 * * sun', duration: '0m' }] }, /'schedule\[0\].duration' is '0m'/],
    [{ schedule: [{ duration: '1h' }] }, /'schedule\[0\].cron' is undefined, expected a cron pattern/],
    [{
      schedule: [{ cron: '0 0 30 2 *', duration: '1h' }]
    }, /'schedule\[0\].cron' is '0 0 30 2 \*', expected .*\(it never fires\)/],
    [
      { schedule: [{ cron: '0 * * * *', duration: '2h' }] },
      /'schedule\[0\].cron' is '0 \* \* \* \*', expected .*\(it starts again at .*, before the window before that has ended\)/
    ],
    [{ schedule: [{ cron: '0 1 * * sun', duration: '1h', message: {} }] }, /'schedule\[0\].message' is \{\}/],
    [{ schedule: [{ cron: '0 1 * * sun', duration: '1h', mode: 'half' }] }, /'schedule\[0\].mode' is 'half'/],
    [{ schedule: 'sundays' }, /'schedule\[0\]' is 'sundays', expected an object/],
    [{ hold: { max: 0 } }, /'hold.max' is 0, expected an integer from 1/],
    [{ hold: { timeout: Infinity } }, /'hold.timeout' is Infinity/],
    [{ bypass: { key: 'short' } }, /'bypass.key' is text, expected a secret of 32 to 1000 characters/],
    [{ bypass: { path: '/a/*' } }, /'bypass.path' is '\/a\/\*'/],
    [{ bypass: { ttl: 0 } }, /'bypass.ttl' is 0/],
    [{ bypass: { cookie: 'a b' } }, /'bypass.cookie' is 'a b'/],
    [{ bypass: true }, /'bypass' is true, expected an object/],
    [{ store: { redis: 'redis://localhost', prefix: 'x'.repeat(201) } }, /'store.prefix'/],
    [{ onBlocked: true }, /'onBlocked' is true, expected a function/],
    [{ onChange: 'log' }, /'onChange' is 'log', expected a function/]
  ]
  for (const [options, message] of wrong) {
    t.throws(
      () => readOptions(options as FastifyMaintenanceOptions),
      { code: 'FST_ERR_MAINTENANCE_OPTION', message: new RegExp(`^(?!.*S3cret).*${message.source}`) },
      String(message)
    )
  }
  t.throws(() => checkShape({ a: text(3) }, { a: 'long text' }, name => new Error(name)), { message: 'a' })
})

t.test('options: the forms of store', t => {
  t.strictSame(
    readOptions({ store: 'redis://ops:p%40ss@host:6380/2' }).store,
    { redis: 'redis://ops:p%40ss@host:6380/2' }
  )
  t.strictSame(readOptions({ store: 'file:./state.json' }).store, { file: './state.json' })
  t.strictSame(readOptions({ store: 'file:///var/lib/a%20b.json' }).store, { file: '/var/lib/a b.json' })
  const more = { file: './x', mode: undefined } as { file: string }
  t.equal(readOptions({ store: more }).store, more, 'undefined is the same as absent')
  for (const redis of [
    'rediss://host',
    { host: 'x', password: () => 'y' },
    { url: 'redis://host' },
    Object.create(null),
    { duplicate () {}, defineCommand () {}, options: {} }
  ]) {
    t.equal((readOptions({ store: { redis } }).store as { redis: unknown }).redis, redis)
  }
  const own = Object.assign(Object.create({
    read () {}, write () {}, watch () {}, close () {}
  }), { redis: {}, file: 'x' })
  t.equal(readOptions({ store: own }).store, own, 'a custom store may have members of any name')
  t.end()
})

t.test('times: only existing ones with a zone', async t => {
  t.equal(toTime('2026-12-01T03:00:00Z'), '2026-12-01T03:00:00.000Z')
  t.equal(toTime('2026-12-01T03:00+01:00'), '2026-12-01T02:00:00.000Z')
  t.equal(toTime('2026-12-01T03:00:00.5-0330'), '2026-12-01T06:30:00.500Z')
  t.equal(toTime('2028-02-29T00:00Z'), '2028-02-29T00:00:00.000Z')
  t.equal(toTime(new Date(0)), '1970-01-01T00:00:00.000Z')
  for (const wrong of ['2026-12-01T03:00:00', '2026-12-01', '2026-02-30T00:00Z', '2027-02-29T00:00Z', '2026-13-01T00:00Z', '2026-00-01T00:00Z', '2026-12-01T24:00Z', '2026-12-01T03:60Z',
    'tomorrow', '', ' 2026-12-01T03:00Z', '2026-12-01T03:00Z\n', '2026-12-01T03:00+25:00', 1796090400000, null,
    undefined, true, {}, new Date(NaN), new Date(8e15)]) {
    t.equal(toTime(wrong), null, String(wrong))
  }
})

t.test('changes: invalid ones are rejected', async t => {
  const now = Date.parse('2026-12-01T00:00:00Z')
  const close = (change: unknown) =>
    closeSite(checkSet(change))({ record: NEVER_WRITTEN, schedule: NO_SCHEDULE, moment: momentOf(now) })
  const wrong: [(change: unknown) => unknown, unknown, RegExp][] = [
    [close, null, /the change is null, expected an object/],
    [close, 'x', /the change is 'x'/],
    [close, { massage: 'x' }, /unknown field 'massage'. Did you mean message\?/],
    [close, { message: '' }, /message is '', expected text of 1 to 10000 characters/],
    [close, { message: 3 }, /message is 3/],
    [close, { message: 'x'.repeat(10_001) }, /message is 'xxx/],
    [close, { message: 'a\u0000b' }, /message is 'a\\x00b'/],
    [close, { message: 'a\ud800b' }, /message is 'a.*b'/],
    [close, { message: {} }, /message is \{\}/],
    [close, { message: { en: '' } }, /message is \{ en: '' \}/],
    [close, { message: { 'no language': 'x' } }, /message is/],
    [close, { mode: 'readonly' }, /mode is 'readonly', expected 'full' or 'read-only' or 'hold'/],
    [
      close,
      { startsAt: '2026-12-01T03:00:00' },
      /startsAt is '2026-12-01T03:00:00', expected a Date, ISO 8601 with a zone/
    ],
    [close, { startsAt: null }, /startsAt is null/],
    [
      close,
      { startsAt: '2026-11-30T23:58:59Z' },
      /startsAt is '2026-11-30T23:58:59.000Z', expected a time in the future, or leave it out/
    ],
    [
      close,
      { endsAt: '2026-11-30T23:59:59Z' },
      /endsAt is '2026-11-30T23:59:59.000Z', expected a time in the future \(now is 2026-12-01T00:00:00.000Z\)/
    ],
    [close, { endsAt: '+30' }, /endsAt is '\+30'/],
    [close, { endsAt: '-30m' }, /endsAt is '-30m'/],
    [close, { endsAt: 1796090400000 }, /endsAt is 1796090400000/],
    [close, {
      startsAt: '2026-12-02T00:00Z', endsAt: '2026-12-02T00:00Z'
    }, /endsAt is .* expected a time after startsAt/],
    [close, { retryAfter: 0 }, /retryAfter is 0/],
    [close, { retryAfter: '60' }, /retryAfter is '60'/],
    [close, { ignoreRoutes: '/x' }, /ignoreRoutes is '\/x', expected a list/],
    [close, { ignoreRoutes: [/x/] }, /ignoreRoutes\[0\].pattern is undefined/],
    [close, { ignoreRoutes: ['/a', 'b'] }, /ignoreRoutes\[1\].pattern is 'b', expected a path such as/],
    [close, { ignoreRoutes: [{}] }, /ignoreRoutes\[0\].pattern is undefined/],
    [close, { ignoreRoutes: [{ pattern: undefined }] }, /ignoreRoutes\[0\].pattern is undefined/],
    [close, { ignoreRoutes: [{ pattern: '/x', description: 3 }] }, /ignoreRoutes\[0\].description is 3/],
    [close, {
      ignoreRoutes: [{ pattern: '/x', describtion: 'y' }]
    }, /ignoreRoutes\[0\].describtion is 'y', expected only pattern and description/],
    [close, { ignoreIps: ['10.0.0.1', 'x'] }, /ignoreIps\[1\] is 'x', expected an address or a CIDR block/],
    [
      close,
      { onlyRoutes: [] },
      /onlyRoutes is \[\], expected at least one pattern; leave it out to close the whole site/
    ],
    [close, { onlyRoutes: ['x'] }, /onlyRoutes\[0\] is 'x'/],
    [close, { by: ' ' }, /by is ' '/],
    [close, { expectedRevision: -1 }, /expectedRevision is -1/],
    [close, { expectedRevision: '1' }, /expectedRevision is '1'/],
    [checkUpdate, {}, /the change is \{\}, expected at least one of/],
    [checkUpdate, { by: 'ops', message: undefined }, /expected at least one of/],
    [checkUpdate, { mode: 'half' }, /mode is 'half'/],
    [checkOpening, { message: 'x' }, /unknown field 'message'. Expected one of by, expectedRevision, force/],
    [checkOpening, { by: 1 }, /by is 1, expected text of 1 to 200 characters on one line \(with set\(false\)\)/],
    [checkOpening, null, /the options is null, expected an object/],
    [checkCancelling, { force: true }, /unknown field 'force'. Expected one of by, expectedRevision/]
  ]
  for (const [check, change, message] of wrong) {
    t.throws(() => check(change), { code: 'FST_ERR_MAINTENANCE_CHANGE', statusCode: 400, message }, String(message))
  }
  t.match(close({ message: undefined, startsAt: new Date(now - 1000), endsAt: '2026-12-01T01:00Z' }), {
    windows: [{ startsAt: '2026-11-30T23:59:59.000Z', endsAt: '2026-12-01T01:00:00.000Z', message: null }]
  })
  t.strictSame(checkUpdate({
    message: null, ignoreRoutes: null, ignoreIps: null, onlyRoutes: null, endsAt: null, bypass: null, mode: undefined
  }), { message: null, endsAt: null, ignoreRoutes: [], ignoreIps: [], onlyRoutes: [], secret: null }, 'null unsets')

  const { app } = await createApp(t)
  for (const on of ['on', undefined, 1]) {
    await t.rejects(app.maintenance.set(on as never), {
      code: 'FST_ERR_MAINTENANCE_CHANGE',
      message: /set\(\): the first argument must be true or false, got ('on'|undefined|1)/
    })
  }
})

t.test('messages: by language, and the default', t => {
  t.strictSame([...messageByLanguage({ de: 'Umzug', 'pt-BR': 'Mudança' })], [['de', 'Umzug'], ['pt-br', 'Mudança']])
  t.strictSame([...messageByLanguage('Moving')], [['', 'Moving']])
  t.strictSame([
    defaultText(null),
    defaultText('Moving'),
    defaultText({ de: 'Umzug', en: 'Moving' }),
    defaultText({ de: 'Umzug' }),
    defaultText({})
  ], [null, 'Moving', 'Moving', 'Umzug', null])
  t.equal(modeOf({ mode: 'half' }), 'full', 'a mode of a later version')
  t.end()
})

t.test('records: parsing reverses writing, keeps new members, and rejects invalid ones', async t => {
  const window = storedWindow({
    message: 'héllo "x"\n',
    by: 'ops',
    ignoreRoutes: [{ pattern: '/a', description: null }],
    endsAt: new Date(Date.now() + 1000).toISOString()
  })
  const record = recordOf([window])
  t.strictSame(parseRecord(serialiseRecord(record)), record)
  const later = { ...record, extra: 1, windows: [{ ...window, kind: 'alarm', mode: 'half', more: true }] }
  t.strictSame(parseRecord(JSON.stringify(later)), later)
  const wrong: [unknown, RegExp][] = [
    ['', /empty/], ['  ', /empty/], ['{', /not JSON/], ['null', /is null/], ['[]', /is \[\]/], ['"on"', /'on'/],
    [{ ...record, v: 1 }, /v is 1, expected 2/],
    [{ ...record, windows: undefined }, /windows is undefined, expected a list/],
    [{ ...record, windows: [null] }, /windows\[0\] is null, expected an object/],
    [{ ...record, at: undefined }, /at is undefined, expected a time with its zone/],
    [{ ...record, revision: 1.5 }, /revision is 1.5/],
    [{ ...record, revision: 2 ** 53 }, /revision is/],
    [{ ...record, revision: 1e300 }, /revision is/],
    ...['revision', 'at', 'openedAt'].map((name): [unknown, RegExp] => {
      const ahead = Date.now() + 2 * 86_400_000
      return [{ ...record, [name]: name === 'revision' ? ahead : new Date(ahead).toISOString() }, new RegExp(
        `${name} is .*more than a day ahead of the clock`
      )]
    }),
    ...Object.entries({
      id: 7,
      kind: null,
      mode: 1,
      message: 3,
      retryAfter: '60',
      endsAt: 'soon',
      startsAt: '2026-12-01T03:00',
      ignoreRoutes: {},
      ignoreIps: 'x',
      onlyRoutes: 0,
      bypass: 1,
      lease: 1,
      by: 1,
      at: null
    })
      .map(([name, value]): [unknown, RegExp] => [
        { ...record, windows: [window, { ...window, [name]: value }] }, new RegExp(`windows\\[1\\]\\.${name} is `)
      ]),
    ['{"__proto__":{"on":true}}', /v is undefined/]
  ]
  for (const [stored, message] of wrong) {
    const text = typeof stored === 'string' ? stored : JSON.stringify(stored)
    t.throws(() => parseRecord(text), { code: 'FST_ERR_MAINTENANCE_UNREADABLE', message }, String(message))
  }
  t.equal(({} as { on?: boolean }).on, undefined)
})

t.test('windows: closed from start to end', async t => {
  const window = storedWindow({ startsAt: '2026-12-01T00:00:00.000Z', endsAt: '2026-12-01T01:00:00.000Z' })
  const at = (time: string) => isActive(window, momentOf(Date.parse(time)))
  t.equal(at('2026-11-30T23:59:59.999Z'), false)
  t.equal(at('2026-12-01T00:00:00.000Z'), true)
  t.equal(at('2026-12-01T00:59:59.999Z'), true)
  t.equal(at('2026-12-01T01:00:00.000Z'), false)
})

t.test('options: no secret below store or bypass is shown, in any form', async t => {
  const secret = 'S3cret'
  class Client { options = { password: secret } }
  const client = Object.assign(new Client(), { password: secret, host: 'redis.internal' })
  const wrong: unknown[] = [
    ...[
      client, { url: 'redis://x', password: secret }, { host: 'x', password: secret }, secret, [secret],
      { file: './x', password: secret }, { password: secret, file: secret }, { file: { password: secret } },
      ...['prefix', 'mirror', 'pollInterval'].map(name => ({ redis: 'redis://x', [name]: { password: secret } }))
    ].map(store => ({ store })),
    ...[
      `http://user:${secret}@host`, `redis:/user:${secret}@host`, `redis://user:p ${secret} "'w@ho st`,
      `redis://us%65r:p@${secret}@`, secret, [secret], 6379
    ].map(redis => ({ store: { redis } })),
    ...['password', 'passwrd', 'url', 'prefx', 'username'].map(
      name => ({ store: { redis: 'redis://localhost', [name]: secret } })
    ),
    ...[
      { secret }, secret, [secret], { key: secret },
      { keys: `${secret}${secret}${secret}${secret}${secret}${secret}` }, { key: [secret] },
      { key: { value: secret } }, { path: { key: secret } }, { cookie: [secret] }
    ].map(bypass => ({ bypass }))
  ]
  for (const options of wrong) {
    try {
      readOptions(options as FastifyMaintenanceOptions)
      t.fail(JSON.stringify(options))
    } catch (error) {
      t.match(error, { code: 'FST_ERR_MAINTENANCE_OPTION' })
      t.notMatch(JSON.stringify(error) + String(error) + (error as Error).stack, secret)
    }
  }
})

t.test('unknown names: a suggestion', async t => {
  const meant: [object, string][] = [
    [{ ignoreRoutes: ['/x'] }, 'ignore.routes'], [{ ignore_ips: [] }, 'ignore.ips'],
    [{ retryAfter: 1 }, 'response.retryAfter'], [{ stroe: 'memory' }, 'store'],
    [{ ignore: { statusCode: 1 } }, 'response.statusCode'],
    [{ store: { redis: 'redis://x', pollinterval: 1 } }, 'store.pollInterval'],
    [{ bypass: { cokie: 'x' } }, 'bypass.cookie']
  ]
  for (const [options, name] of meant) {
    t.throws(() => readOptions(options as never), { message: `. Did you mean ${name}?` })
  }
  t.throws(() => readOptions({ whatever: 1 } as never), {
    message: /unknown option 'whatever'. Expected one of pinned, whenUnknown, fence, site, sites, store, /
  })
  t.throws(() => readOptions({ hold: { ['x'.repeat(1e6)]: 1 } } as never), {
    message: /unknown option 'hold.x{100}…'. Expected one of hold.max, hold.timeout/
  })
  t.equal(didYouMean('', ['on', 'off']), null)
  t.equal(didYouMean('sttaus', ['on', 'status']), 'status', 'swapped letters')
  t.equal(suggest('x', ['one', 'two']), 'Expected one of one, two')
})

t.test('any value in an error is short and on one line', async t => {
  const cases: [unknown, string][] = [
    ['x'.repeat(1e6), `'${'x'.repeat(100)}…'`], [{ ['k'.repeat(1e6)]: 1 }, `{ '${'k'.repeat(40)}…': 1 }`],
    [['a', { b: { c: 1 } }, {}], "[ 'a', { b: [Object] }, {} ]"], [[[[1]]], '[ [ [Array] ] ]'],
    [[1, 2, 3, 4, 5, 6, 7], '[ 1, 2, 3, 4, 5, … 2 more ]'], ['redis://us er:p"w\'@d@host', "'…@host'"],
    [`redis://:${'p'.repeat(200)}@host`, "'…@host'"], ['a\nb', "'a\\nb'"],
    [{ 'a@b': 1 }, "{ '…@b': 1 }"], [new (class Client { password = 'x' })(), '[Client]'],
    [new Map([['a', 1]]), '[Map]'], [null, 'null'], [10n, '10n'], [/x/, '/x/'], [Object.create(null), '{}'],
    [JSON.parse('{"__proto__":{"on":true}}'), '{ __proto__: { on: true } }']
  ]
  for (const [value, text] of cases) t.equal(show(value), text)
  t.ok(show(
    Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`${i}${'k'.repeat(50)}`, 'x'.repeat(100)]))
  ).length <= 301)
  t.equal(messageOf(new Error('x'.repeat(1e6))).length, 1001)
  t.equal(messageOf(new Error('cannot reach redis://user:p w@d@host')), 'cannot reach redis://…@host')
})

t.test('garbage of any shape costs bounded time, and is parsed once', async t => {
  const size = 1024 * 1024
  const whole = { ...NEVER_WRITTEN, revision: Date.now(), at: new Date().toISOString() }
  const keys = Object.fromEntries(Array.from({ length: 90_000 }, (_, i) => [`k${i}`, 1]))
  const garbage = [
    JSON.stringify({ ['k'.repeat(size - 10)]: 1 }), JSON.stringify('x'.repeat(size - 10)), '@'.repeat(size),
    '"'.repeat(size), "'".repeat(size), ' '.repeat(size), 'x'.repeat(2 * size), '1'.repeat(size), JSON.stringify(keys),
    '['.repeat(size / 2) + ']'.repeat(size / 2),
    JSON.stringify({ ...whole, windows: [{ ...storedWindow(), endsAt: '@'.repeat(size - 1000) }] }),
    JSON.stringify({ ...whole, at: "'".repeat(size - 1000) }),
    JSON.stringify({ ['k'.repeat(size - 1000)]: 1, ...whole }),
    JSON.stringify({
      ...whole, windows: [storedWindow({ ignoreRoutes: Array(25_000).fill({ pattern: '/x', description: null }) })]
    }), JSON.stringify({ ...whole, windows: Array(3000).fill(storedWindow()) })
  ]
  for (const text of garbage) {
    const parse = createRecordParser()
    const used = process.cpuUsage()
    const messages = Array.from({ length: 100 }, () => {
      try { parse(text); return '' } catch (error) { return (error as Error).message }
    })
    // generous: parsing it a hundred times would take seconds
    t.ok(process.cpuUsage(used).user < 1_000_000, text.slice(0, 20))
    t.ok(messages.every(message => message !== '' && message.length < 600))
  }
  const parse = createRecordParser()
  t.equal(parse(serialiseRecord(whole)), parse(serialiseRecord(whole)), 'the same record')
})

t.test('for possible secrets, only the type is shown', async t => {
  const kinds = [undefined, null, true, '', 'secret', ['secret'], { a: 'secret' }, 7].map(showType)
  t.strictSame(kinds, ['undefined', 'null', 'true', 'empty', 'text', 'a list', 'an object', 'a number'])
})
