import cors from '@fastify/cors'
import type { InjectOptions } from 'fastify'
import { readFileSync, writeFileSync } from 'node:fs'
import { brotliDecompressSync } from 'node:zlib'
import t, { type Test } from 'tap'
import maintenance from '../index.ts'
import { keepFrameAncestors, NO_FRAMES } from '../lib/answer/frame-ancestors.ts'
import { chooseLanguage } from '../lib/util/accept-language.ts'
import { LANGUAGES, wordsOf } from '../lib/answer/texts.ts'
import type { FastifyMaintenanceOptions, MaintenanceChange, TemplateVariables } from '../types/index.ts'
import { bareApp, createApp, sendRaw, stateFile } from './fixtures/app.ts'
import { CLIENTS } from './fixtures/clients.ts'

// Beyond the standard bodies: events, the application's own JSON and texts, redirects, languages.

async function closedApp (t: Test, options: FastifyMaintenanceOptions = {}, change: MaintenanceChange = {}) {
  const { app, lines } = await createApp(t, options)
  await app.ready()
  await app.maintenance.set(true, change)
  const get = (url: string, headers: Record<string, string> = {}, more: InjectOptions = {}) =>
    app.inject({ url, headers, ...more })
  const page = async (language = 'en') => (await get('/', { accept: 'text/html', 'accept-language': language })).body
  return { app, lines, get, page }
}

t.test('an event stream answers GET only, and reconnects after a bounded random time', async t => {
  const { app, get } = await closedApp(t)
  const events = { accept: 'text/event-stream' }
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS'] as const) {
    const { statusCode, headers } = await get('/', events, { method })
    t.match({ statusCode, headers }, { statusCode: 503, headers: { 'content-type': /^application\/json/ } }, method)
  }
  t.equal((await get('/', { ...events, connection: 'upgrade', upgrade: 'websocket' })).statusCode, 503)
  t.match(
    (await get('/', { accept: 'text/event-stream, text/html;q=0.5' }, { method: 'POST' })).headers['content-type'],
    'text/html'
  )

  const retries = async () => {
    const times: number[] = []
    for (let i = 0; i < 20; i++) times.push(Number(/^retry: (\d+)\n/.exec((await get('/', events)).body)?.[1]))
    return { least: Math.min(...times), most: Math.max(...times) }
  }
  const cases = [
    [undefined, 150_000, 300_000], [60, 30_000, 60_000], [1, 1000, 1000], [31_536_000, 150_000, 300_000]
  ] as const
  for (const [retryAfter, min, max] of cases) {
    await app.maintenance.set(true, { retryAfter })
    const { least, most } = await retries()
    t.ok(least >= min && most <= max && (most > least || min === max), `${retryAfter}: ${least} to ${most}`)
  }
})

t.test("response.json: the application's own body, built when the state changes", async t => {
  const states: TemplateVariables[] = []
  const json = (state: TemplateVariables) => {
    states.push(state)
    return { errors: [{ title: state.message, mode: state.mode }] }
  }
  const { app, get } = await closedApp(t, { response: { json } }, { message: { en: 'Soon', de: 'Bald' } })
  const made = states.length
  for (const [language, title] of [['de', 'Bald'], ['fr', 'Soon'], ['', 'Soon']] as const) {
    const { headers, body } = await get('/', { 'accept-language': language })
    t.equal(body, JSON.stringify({ errors: [{ title, mode: 'full' }] }))
    t.match(headers, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': String(body.length),
      vary: 'Accept, Accept-Language'
    })
  }
  t.equal(states.length, made, 'not per request')
  t.strictSame(Object.keys(states[0] as object).sort(), [
    'endsAt', 'message', 'mode', 'retryAfter', 'site', 'startsAt', 'statusCode'
  ])
  t.match((await get('/', { accept: 'text/event-stream' })).body, 'data: {"errors":[{"title":"Soon"')
  t.equal(
    (await get('/', { accept: 'application/problem+json' })).json().status,
    503,
    'problem+json has its own members'
  )
  await app.maintenance.set(true, { mode: 'read-only', message: 'x' })
  t.strictSame((await get('/', {}, { method: 'POST' })).json(), { errors: [{ title: 'x', mode: 'read-only' }] })
})

t.test('response.json: without a body, boot and set fail; later the standard body is sent', async t => {
  const circular: { self?: object } = {}
  circular.self = circular
  const wrong: (() => unknown)[] = [
    () => { throw new Error('no') }, async () => ({}), () => Promise.reject(new Error('no')), () => 'text', () => null,
    () => [], () => circular,
    () => ({ toJSON () {} })
  ]
  for (const json of wrong) {
    const { app } = await createApp(t, { response: { json: json as () => object } })
    await t.rejects(
      async () => { await app.ready() },
      { code: 'FST_ERR_MAINTENANCE_TEMPLATE', message: /option 'response.json' failed: / },
      String(json)
    )
  }

  let json: () => unknown = () => ({ mine: true })
  const file = stateFile(t)
  const { app, lines, get } =
    await closedApp(t, { store: { file }, response: { json: () => json() as object } }, { message: 'one' })
  json = () => 'text'
  await t.rejects(app.maintenance.set(true, { message: 'two' }), { code: 'FST_ERR_MAINTENANCE_TEMPLATE' })
  t.equal(app.maintenance.status().message, 'one', 'nothing changed')
  t.strictSame((await get('/')).json(), { mine: true })
  const other = await createApp(t, { store: { file } })
  await other.app.maintenance.set(true, { message: 'three' })
  await app.maintenance.refresh()
  t.match((await get('/')).json(), { code: 'FST_ERR_MAINTENANCE', message: 'three' })
  t.equal(lines.filter(({ level, msg }) => level === 50 && msg.includes('the JSON body of site')).length, 1)
})

t.test("response.texts: the application's own texts and languages; the rest are kept", async t => {
  const texts = {
    de: { title: 'Kurze <Pause>', 'read-only': { message: 'Nur lesen, bitte' }, waiting: undefined },
    da: { title: 'Vedligeholdelse' },
    he: { title: 'בתחזוקה' },
    'pt-br': { title: 'Voltamos já' },
    zh: { title: '马上回来' },
    en: { message: 'Gone fishing.' },
    ja: undefined
  }
  const { app, get, page } = await closedApp(t, { response: { texts } })
  const german = await page('de')
  t.match(german, '<h1>Kurze &lt;Pause&gt;</h1>')
  t.match(german, wordsOf({}, 'de', 'full').message)
  const danish = await page('da-DK')
  t.match(danish, '<html lang="da" dir="ltr">')
  t.match(danish, 'Gone fishing.', 'missing texts are English')
  t.match(danish, '<h1>Vedligeholdelse</h1>')
  t.match(await page('he'), '<html lang="he" dir="rtl">')
  t.match(
    await page('pt-BR'),
    `<h1>Voltamos já</h1>\n<p class="message" dir="auto">${wordsOf({}, 'pt', 'full').message}`
  )
  t.match(await page('pt-PT'), '<html lang="pt" dir="ltr">')
  t.match(await page('zh-CN'), '<html lang="zh-Hans" dir="ltr">')
  t.match(await page('zh-CN'), '<h1>马上回来</h1>')
  t.match(await page('zh-TW'), '<h1>網站維護中</h1>')
  t.match(await page('ja'), wordsOf({}, 'ja', 'full').title)
  t.equal((await get('/')).json().message, 'Gone fishing.')
  await app.maintenance.set(true, { mode: 'read-only' })
  const post = await get('/', { accept: 'text/html', 'accept-language': 'de' }, { method: 'POST' })
  t.match(post.body, 'Nur lesen, bitte')
  t.match(post.body, wordsOf({}, 'de', 'read-only').title)
})

t.test('read-only, hold and an unknown end have their own texts in each language', async t => {
  const { app, get, page } = await closedApp(t)
  for (const language of LANGUAGES) {
    t.ok((await page(language)).includes(
      wordsOf({}, language, 'full').later.replaceAll("'", '&#39;')
    ), `${language}: no end known`)
  }
  await app.maintenance.set(true, { mode: 'read-only', endsAt: '+1h' })
  for (const language of LANGUAGES) {
    const { body } = await get('/', { accept: 'text/html', 'accept-language': language }, { method: 'POST' })
    const { title, expected } = wordsOf({}, language, 'read-only')
    t.ok(body.includes(`<h1>${title}</h1>`) && new RegExp(`${expected}\\s?<time`).test(body), `${language}: read-only`)
    t.notOk(expected === wordsOf({}, language, 'full').expected)
  }
  t.match(
    (await get('/', { accept: 'text/plain' }, { method: 'POST' })).body,
    /\nChanges expected to be possible again: 20/
  )

  const held = await closedApp(t, { hold: { timeout: 1 } }, { mode: 'hold' })
  for (const language of LANGUAGES) {
    t.ok((await held.page(language)).includes(`<h1>${wordsOf({}, language, 'hold').title}</h1>`), `${language}: hold`)
  }
  t.match((await held.get('/')).json(), { message: wordsOf({}, 'en', 'hold').message })
})

t.test('languages: Simplified and Traditional Chinese, and the nearest variety', async t => {
  const choices = [
    ['zh', 'zh-Hans'], ['zh-CN', 'zh-Hans'], ['zh-SG', 'zh-Hans'], ['zh-Hans-HK', 'zh-Hans'], ['zh-TW', 'zh-Hant'],
    ['zh-HK', 'zh-Hant'],
    ['zh-MO', 'zh-Hant'], ['zh-Hant', 'zh-Hant'], ['zh-Hant-TW', 'zh-Hant'], ['zh-TW, zh;q=0.9, en;q=0.8', 'zh-Hant'],
    ['nb, sv;q=0.5', 'sv'], ['xx', 'en']
  ] as const
  for (const [header, language] of choices) t.equal(chooseLanguage(header, LANGUAGES, 'en'), language, header)
  t.equal(chooseLanguage('zh-TW', ['zh', 'zh-Hant'], ''), 'zh-Hant')
  t.equal(chooseLanguage('zh-TW', ['zh', 'en'], 'en'), 'zh', 'better than English')
  t.equal(chooseLanguage('pt-AO', ['pt-BR', 'en'], 'en'), 'pt-BR')
  t.equal(chooseLanguage('zh-Hans', ['zh-TW', 'en'], 'en'), 'en')
})

t.test('brand: a name, a logo and a colour; nothing runs or is loaded', async t => {
  const logo = '<svg viewBox="0 0 1 1"><script>alert(1)</script></svg>'
  const { get } = await closedApp(t, { response: { brand: { name: 'A & B', logo, color: '#b3261e' } } })
  const { headers, body } = await get('/', { accept: 'text/html' })
  const [, source = ''] = /<img src="data:image\/svg\+xml;base64,([^"]*)" alt="">/.exec(body) ?? []
  t.equal(
    Buffer.from(source, 'base64').toString(),
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><script>alert(1)</script></svg>'
  )
  t.match(body, '<title>Down for maintenance – A &amp; B</title>')
  t.match(body, 'main { border-top-color: #b3261e }')
  t.match(body, '<meta name="theme-color" content="#b3261e">')
  t.match(headers['content-security-policy'], /; img-src data:; /)

  const url = 'data:image/png;base64,AAAA'
  t.match(await (await closedApp(t, { response: { brand: { logo: url } } })).page(), `<img src="${url}" alt="">`)
  const named = await closedApp(t, { response: { brand: { name: 'Shop' } } })
  t.match(await named.page(), '<span>Shop</span>')
  t.notMatch((await named.get('/', { accept: 'text/html' })).headers['content-security-policy'], 'img-src')
  const own = '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'
  t.match(
    await (await closedApp(t, { response: { brand: { logo: own } } })).page(),
    Buffer.from(own).toString('base64')
  )
})

t.test('options are validated at boot', async t => {
  const wrong: [object, RegExp][] = [
    [{ response: { json: {} } }, /'response.json' is .*, expected a function/],
    [{ response: { texts: [] } }, /'response.texts'/],
    [{ response: { texts: { 'no language!': {} } } }, /language tag/],
    [{ response: { texts: { de: 'x' } } }, /'response.texts.de' is 'x', expected an object/],
    [{ response: { texts: { de: { titel: 'x' } } } }, /unknown option 'response.texts.de.titel'/],
    [{ response: { texts: { de: { title: '' } } } }, /'response.texts.de.title' is ''/],
    [{
      response: { texts: { de: { 'read-only': { back: 'x' } } } }
    }, /unknown option 'response.texts.de.read-only.back'/],
    [{ response: { brand: { colour: 'red' } } }, /unknown option 'response.brand.colour'/],
    [{ response: { brand: { color: 'red; }' } } }, /'response.brand.color'/],
    [{ response: { brand: { logo: 'https://a.example/logo.png' } } }, /'response.brand.logo'/],
    [{ response: { brand: { logo: 'data:text/html,<b>' } } }, /'response.brand.logo'/],
    [{ response: { brand: { name: ' ' } } }, /'response.brand.name'/],
    [{ response: { redirect: '/*' } }, /'response.redirect'/],
    [{ response: { redirect: '/:page' } }, /'response.redirect'/],
    [{ response: { redirect: '/./' } }, /'response.redirect'/],
    [{ response: { redirect: '/?next=%2F' } }, /'response.redirect'/],
    [{ publicStatus: 'status' }, /'publicStatus'/],
    [{ publicStatus: '/a/*' }, /'publicStatus'/]
  ]
  for (const [options, message] of wrong) {
    await t.rejects(createApp(t, options), { code: 'FST_ERR_MAINTENANCE_OPTION', message }, JSON.stringify(options))
  }
  const { app } = await createApp(t, {
    publicStatus: undefined, response: { json: undefined, texts: undefined, brand: { name: undefined } }
  })
  await app.ready()
})

t.test('redirect: an absolute target on this host is never redirected to itself, whatever the proxy', async t => {
  const { app, get } = await closedApp(t, { response: { redirect: 'https://www.shop.example/Caf%C3%A9/down/' } })
  const page = { accept: 'text/html' }
  for (const url of ['/Caf%C3%A9/down/', '/caf%c3%a9/down', '/Café/down?x=1', '/Caf%C3%A9/down//']) {
    t.equal((await get(encodeURI(decodeURI(url)), page)).statusCode, 503, url)
  }
  for (const url of ['/', '/down', '/caf%C3%A9/down/more']) t.equal((await get(url, page)).statusCode, 302, url)
  const proxied = bareApp(t, { rewriteUrl: ({ url = '' }) => url.replace('/public', '').replace('/%', '/x') })
  await proxied.app.register(maintenance, {
    pinned: 'closed', response: { redirect: 'https://www.shop.example/public/down' }
  })
  t.equal((await proxied.app.inject({ url: '/public/down', headers: page })).statusCode, 503)
  t.match(await sendRaw(
    proxied.app,
    'GET /% HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nConnection: close\r\n\r\n'
  ), /^HTTP\/1.1 302 /, 'a path that cannot be decoded is another path')
  t.match(await sendRaw(
    proxied.app,
    'GET // HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nConnection: close\r\n\r\n'
  ), /^HTTP\/1.1 503 /, 'a URL that cannot be parsed is not redirected')
  await app.maintenance.set(true, { message: { en: 'a', de: 'b' } })
  t.match((await get('/', page)).headers, { vary: 'Accept, Accept-Language' })
})

t.test('redirect: a local target needs a route, whatever its template; without one, no redirect', async t => {
  const page = { accept: 'text/html' }
  for (const template of ['/down', '/:page', '/*', '/dow*']) {
    const { app } = await createApp(t, { response: { redirect: '/down' } })
    app.get(template, async () => 'inside')
    await app.maintenance.set(true)
    t.match(
      await app.inject({ url: '/other', headers: page }),
      { statusCode: 302, headers: { location: '/down' } },
      template
    )
    t.equal((await app.inject({ url: '/down', headers: page })).body, 'inside', template)
  }
  const { app } = await createApp(t, { response: { redirect: '/down' } })
  app.post('/down', async () => 'inside')
  app.get('/downs', async () => 'inside')
  app.setNotFoundHandler(async () => 'a single-page application')
  await app.maintenance.set(true)
  for (const url of ['/', '/down', '/downs']) {
    t.match(await app.inject({ url, headers: page }), { statusCode: 503, body: /<html/ }, url)
  }

  const unknown = bareApp(t)
  unknown.app.printRoutes = () => 'of a later version of Fastify'
  await unknown.app.register(maintenance, { pinned: 'closed', response: { redirect: '/down' } })
  t.equal((await unknown.app.inject({ url: '/', headers: page })).statusCode, 302, 'unknown whether a route answers it')

  const outer = bareApp(t)
  outer.app.get('/down', async () => 'outside')
  await outer.app.register(async child => {
    await child.register(maintenance, { pinned: 'closed', response: { redirect: '/down' } })
    child.get('/shop', async () => 'inside')
  })
  t.match(
    await outer.app.inject({ url: '/shop', headers: page }),
    { statusCode: 302, headers: { location: '/down' } },
    'a route outside of the plugin'
  )
})

t.test("frames: headers of the application's earlier hooks count", async t => {
  const own = `default-src 'none'${NO_FRAMES}`
  const cases: [Record<string, string | string[]>, string][] = [
    [{}, own],
    [{ 'content-security-policy': "default-src 'self'" }, own],
    [{ 'x-frame-options': 'SAMEORIGIN' }, "default-src 'none'"],
    [{
      'content-security-policy': "default-src 'self'; Frame-Ancestors 'self' https://a.example;"
    }, "default-src 'none'; Frame-Ancestors 'self' https://a.example"],
    [{
      'content-security-policy': "frame-ancestors https://a.example; frame-ancestors 'none'", 'x-frame-options': 'DENY'
    }, "default-src 'none'; frame-ancestors https://a.example"],
    [{
      'content-security-policy': [
        'frame-ancestors https://a.example', "img-src 'self'", "x 'y', frame-ancestors https://b.example"
      ]
    }, "default-src 'none'; frame-ancestors https://a.example, frame-ancestors https://b.example"]
  ]
  for (const [foreign, expected] of cases) t.equal(keepFrameAncestors(own, foreign), expected)
  t.equal(keepFrameAncestors("default-src 'self'", {
    'content-security-policy': 'frame-ancestors *'
  }), "default-src 'self'", 'the headers option wins')

  const { app } = bareApp(t)
  app.addHook('onRequest', async (_request, reply) => {
    reply.raw.setHeader('Content-Security-Policy', 'frame-ancestors https://partner.example')
  })
  await app.register(maintenance, { pinned: 'closed' })
  const { headers } = await app.inject({ url: '/', headers: { accept: 'text/html' } })
  t.match(headers['content-security-policy'], /^default-src 'none'; .*; frame-ancestors https:\/\/partner\.example$/)
  t.equal(
    (await app.inject('/')).headers['content-security-policy'],
    'frame-ancestors https://partner.example',
    'JSON gets no policy from the plugin'
  )
})

t.test('pages are compressed once, at their first request', async t => {
  const { get } = await closedApp(t)
  const ask = () => get('/', { accept: 'text/html', 'accept-encoding': 'br' })
  const [first, second] = await Promise.all([ask(), ask()])
  const third = await ask()
  for (const { headers, rawPayload } of [first, second, third]) {
    t.match(headers, {
      'content-encoding': 'br',
      'content-length': String(rawPayload.length),
      vary: 'Accept, Accept-Language, Accept-Encoding'
    })
    t.match(brotliDecompressSync(rawPayload).toString(), '<!doctype html>')
  }
})

t.test('publicStatus: the state for every origin, never blocked', async t => {
  const { app } = bareApp(t)
  await app.register(cors, { origin: 'https://a.example', credentials: true })
  await app.register(maintenance, { publicStatus: '/maintenance/status', response: { retryAfter: 60 } })
  app.setReplySerializer(() => 'not ours')
  const get = (language = '', method: 'GET' | 'HEAD' = 'GET') => app.inject({
    url: '/maintenance/status', method, headers: { origin: 'https://b.example', 'accept-language': language }
  })
  const open = await get()
  t.equal(open.statusCode, 200)
  t.match(open.headers, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    'access-control-allow-origin': '*',
    'access-control-allow-credentials': undefined,
    'retry-after': undefined
  })
  t.strictSame(open.json(), {
    mode: null,
    message: null,
    startsAt: null,
    endsAt: null,
    retryAfter: null,
    onlyRoutes: null,
    site: 'default',
    active: false,
    upcoming: []
  })

  const [startsAt, endsAt] = [3, 4].map(hours => new Date(Date.now() + hours * 3_600_000).toISOString())
  await app.maintenance.set(true, { startsAt, endsAt, mode: 'read-only', message: { en: 'Later', de: 'Nachher' } })
  t.strictSame((await get('de')).json(), {
    ...open.json(), upcoming: [{ startsAt, endsAt, mode: 'read-only', message: 'Nachher' }]
  })

  await app.maintenance.set(true, { mode: 'hold', message: { en: 'Now', de: 'Jetzt' }, onlyRoutes: ['/shop/*'] })
  const closed = await get('de')
  t.match(closed.json(), {
    site: 'default',
    active: true,
    mode: 'hold',
    message: 'Jetzt',
    startsAt: null,
    endsAt: null,
    retryAfter: 60,
    onlyRoutes: ['/shop/*'],
    upcoming: [{ startsAt }]
  })
  t.match(closed.headers, { 'retry-after': '60', vary: 'Accept-Language' })
  t.match(await get('', 'HEAD'), { statusCode: 200, body: '' })
  await app.maintenance.set(true)
  t.match((await get()).json(), { message: null, mode: 'full', onlyRoutes: null })
  await app.maintenance.set(false)
  t.equal((await get()).json().active, false)
})

t.test('publicStatus: with several sites, below the prefix, and beside a route of the same path', async t => {
  const { app } = await createApp(t, {
    publicStatus: '/status', site: ({ hostname }) => hostname.split('.', 1)[0] as string, sites: ['shop', 'blog']
  })
  const get = async (host: string) => (await app.inject({ url: '/status', headers: { host } })).json()
  await app.maintenance.for('shop').set(true, { message: 'x' })
  t.match(await get('shop.example'), { site: 'shop', active: true, message: 'x' })
  t.match(await get('blog.example'), { site: 'blog', active: false })
  t.strictSame(await get('who.example'), {
    mode: null,
    message: null,
    startsAt: null,
    endsAt: null,
    retryAfter: null,
    onlyRoutes: null,
    site: null,
    active: true,
    upcoming: []
  })

  const prefixed = bareApp(t)
  await prefixed.app.register(async child => {
    await child.register(maintenance, { pinned: 'closed', publicStatus: '/status' })
    child.get('/', async () => 'inside')
  }, { prefix: '/api' })
  t.equal((await prefixed.app.inject('/api/status')).json().active, true)
  t.match((await prefixed.app.inject({
    url: '/api/', headers: { accept: 'text/html' }
  })).body, 'data-status="/api/status"')

  const taken = bareApp(t)
  taken.app.get('/status', async () => 'mine')
  await t.rejects(async () => {
    await taken.app.register(maintenance, { publicStatus: '/status' })
  }, { code: 'FST_ERR_DUPLICATED_ROUTE' })
})

t.test('@fastify/cors in a child context, or registered later: a warning at boot', async t => {
  const warnings = (lines: { level: number, msg: string }[]) =>
    lines.filter(({ level, msg }) => level === 40 && msg.includes('@fastify/cors')).map(({ msg }) => msg)
  const child = await createApp(t)
  await child.app.register(async api => {
    await api.register(cors)
    api.get('/', async () => 'open')
  }, { prefix: '/api' })
  await child.app.ready()
  t.match(warnings(child.lines), [/in a child context \(prefix '\/api'\)/])
  const later = await createApp(t)
  await later.app.register(cors)
  await later.app.ready()
  t.match(warnings(later.lines), [
    /registered after this plugin, or in a child context: blocked requests get no CORS headers/
  ])
  const before = bareApp(t)
  await before.app.register(cors)
  await before.app.register(maintenance)
  await before.app.ready()
  t.strictSame(warnings(before.lines), [])
})

t.test('a template of another engine is rejected at boot if @fastify/view is in a child context', async t => {
  const dir = t.testdir({
    'down.hbs': '<p>{{message}}</p>', 'down.html': '<p>{{ message }}</p>', 'down.txt': '{% if x %}<p>', 'plain.html': '<p>Down</p>', 'down.eta': '<p><%= it.message %></p> {{x}}'
  })
  for (const name of ['down.hbs', 'down.html', 'down.txt']) {
    for (const data of [undefined, () => ({})]) {
      const { app } = await createApp(t, { response: { template: `${dir}/${name}`, data } })
      await t.rejects(
        async () => { await app.ready() },
        { code: 'FST_ERR_MAINTENANCE_TEMPLATE', message: /a template of another engine.*register it there/ },
        name
      )
    }
  }
  for (const name of ['plain.html', 'down.eta']) {
    const { page } = await closedApp(t, { response: { template: `${dir}/${name}` } }, { message: 'Hi' })
    t.match(await page(), name === 'plain.html' ? '<p>Down</p>' : '<p>Hi</p> {{x}}', name)
  }
  const own = bareApp(t)
  own.app.decorate('view', Object.assign(async () => 'by handlebars', { clearCache () {} }) as never)
  await own.app.register(maintenance, { pinned: 'closed', response: { template: `${dir}/down.hbs` } })
  t.equal((await own.app.inject({ url: '/', headers: { accept: 'text/html' } })).body, 'by handlebars')
})

t.test('request.maintenance.refuse(): a write that only the handler detects', async t => {
  const { app } = await createApp(t, {
    ignore: { ips: '10.0.0.1', request: ({ headers }) => headers['x-user'] === '1' },
    response: { retryAfter: 60 }
  })
  for (const [url, config] of [
    ['/graphql', { maintenance: 'read' }], ['/status', { maintenance: 'off' }], ['/plain', {}]
  ] as const) {
    app.post(url, { config }, async request => {
      t.strictSame(
        JSON.parse(JSON.stringify(request.maintenance)),
        { ...request.maintenance },
        'refuse() is not in the log'
      )
      if (request.headers['x-write'] === '1') request.maintenance.refuse()
      return 'done'
    })
  }
  const mutate = (url = '/graphql', more: InjectOptions = {}) =>
    app.inject({ url, method: 'POST', ...more, headers: { 'x-write': '1', ...more.headers } })
  t.equal((await mutate()).body, 'done', 'an open site')
  await app.maintenance.set(true, { mode: 'read-only', message: { en: 'Only reads', de: 'Nur lesen' } })
  t.equal((await app.inject({ url: '/graphql', method: 'POST' })).body, 'done', 'a query')
  const blocked = await mutate('/graphql', { headers: { 'accept-language': 'de' } })
  t.match(blocked, {
    statusCode: 503, headers: { 'retry-after': '60', 'cache-control': 'no-store', 'maintenance-mode': 'read-only' }
  })
  t.strictSame(blocked.json(), {
    statusCode: 503, code: 'FST_ERR_MAINTENANCE', error: 'Service Unavailable', message: 'Nur lesen'
  })
  t.equal((await mutate('/status')).body, 'done', "a route declared 'off'")
  t.equal((await mutate('/graphql', { remoteAddress: '10.0.0.1' })).body, 'done', 'an ignored address')
  t.equal((await mutate('/graphql', { headers: { 'x-user': '1' } })).body, 'done', 'ignore.request')
  await app.maintenance.set(false)
  t.equal((await mutate()).body, 'done')
})

t.test('request.maintenance.refuse(): the error has the fields of GraphQL servers, and the current state', async t => {
  const { app } = await createApp(t, { response: { statusCode: 299, retryAfter: false } })
  let error: unknown
  app.get('/', async request => {
    await app.maintenance.set(true, { mode: 'read-only' })
    try { request.maintenance.refuse() } catch (thrown) { error = thrown }
    return 'done'
  })
  t.equal((await app.inject('/')).body, 'done')
  t.match(error, {
    statusCode: 503,
    code: 'FST_ERR_MAINTENANCE',
    headers: { 'retry-after': undefined, 'maintenance-mode': 'read-only' },
    extensions: { code: 'FST_ERR_MAINTENANCE', statusCode: 503, mode: 'read-only', retryAfter: null, endsAt: null }
  })
})

t.test('real clients get the answers in docs/what-clients-get.md', async t => {
  const PAGE = 'docs/what-clients-get.md'
  const { get } = await closedApp(t, {}, { retryAfter: 300 })
  const redirecting = await closedApp(t, { response: { redirect: 'https://status.example/' } })
  const rows: string[] = []
  for (const { name, method = 'GET', headers } of CLIENTS) {
    const answer = await get('/page', headers, { method })
    const { statusCode, headers: sent } = answer
    t.match(sent, { 'cache-control': 'no-store', 'retry-after': '300', 'maintenance-mode': 'full' }, name)
    t.equal(statusCode, sent['content-type'] === 'text/event-stream; charset=utf-8' ? 200 : 503, name)
    const { statusCode: redirected } = await redirecting.get('/page', headers, { method })
    const cells = [
      name, method, String(statusCode), String(sent['content-type']).replace('; charset=utf-8', ''),
      sent['content-language'], sent['content-encoding'], redirected === statusCode ? undefined : redirected
    ]
    rows.push(`| ${cells.map(cell => cell ?? '').join(' | ')} |`)
  }
  t.ok(CLIENTS.length >= 40)
  const table = `${rows.join('\n')}\n`
  const page = readFileSync(PAGE, 'utf8')
  const begin = page.indexOf('|\n', page.indexOf('| --- |')) + 2
  // UPDATE=1 writes the table
  if (process.env.UPDATE === '1') writeFileSync(PAGE, page.slice(0, begin) + table)
  t.equal(readFileSync(PAGE, 'utf8').slice(begin), table)
})

t.test('announce: responses name the next window, once it is near', async t => {
  const { app } = await createApp(t, { announce: '2h' })
  app.get('/', async () => 'open')
  const upcoming = async () => (await app.inject('/')).headers['maintenance-upcoming']
  t.equal(await upcoming(), undefined)
  const { upcoming: first } = await app.maintenance.set(true, { startsAt: '+1h', mode: 'read-only' })
  t.equal(await upcoming(), `${first?.startsAt}/..; mode=read-only`)
  await app.maintenance.update({ endsAt: '+30m' })
  t.equal(await upcoming(), `${first?.startsAt}/${app.maintenance.status().upcoming?.endsAt}; mode=read-only`)
  await app.maintenance.update({ endsAt: null, startsAt: '+3h' })
  t.equal(await upcoming(), undefined, 'too early')
  const silent = await createApp(t)
  await silent.app.maintenance.set(true, { startsAt: '+1h' })
  silent.app.get('/', async () => 'open')
  t.equal((await silent.app.inject('/')).headers['maintenance-upcoming'], undefined)
})

t.test('the client in docs/the-answer.md shows the state, waits and retries', async t => {
  const [, code = ''] = /```js\n(\/\/ maintenance-fetch\.js\n[^]*?)```/.exec(
    readFileSync('docs/the-answer.md', 'utf8')
  ) ?? []
  writeFileSync(`${t.testdir()}/maintenance-fetch.mjs`, code)
  const { createFetch } = await import(`${t.testdirName}/maintenance-fetch.mjs`)
  const { app } = await closedApp(t, {}, { message: 'Moving', retryAfter: 1 })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const seen: ({ message: string } | null)[] = []
  const fetchAgain = createFetch({
    retries: 1, onMaintenance: (state: { message: string } | null) => { seen.push(state) }
  })
  t.equal((await fetchAgain(address)).status, 503, 'until it gives up')
  t.match(seen, [{ message: 'Moving', retryAfter: 1 }, { message: 'Moving' }])
  const patient = createFetch({
    onMaintenance: (state: object | null) => {
      seen.push(state as null)
      if (state !== null) app.maintenance.set(false).catch(t.fail)
    }
  })
  t.equal((await patient(address)).status, 404, 'the site is open, and has no such page')
  t.equal(seen.at(-1), null, 'the banner disappears')
})
