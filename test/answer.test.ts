import cors from '@fastify/cors'
import etag from '@fastify/etag'
import view from '@fastify/view'
import websocket from '@fastify/websocket'
import { Eta } from 'eta'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { AddressInfo } from 'node:net'
import { connect as connectHttp2 } from 'node:http2'
import t from 'tap'
import maintenance from '../index.ts'
import { negotiateFormat as negotiate } from '../lib/answer/negotiate.ts'
import type { FastifyMaintenanceOptions, MaintenanceChange } from '../types/index.ts'
import { LANGUAGES, TEXTS } from '../lib/answer/texts.ts'
import { chooseLanguage } from '../lib/util/accept-language.ts'
import { bareApp, counter, createApp, sendRaw, until, stateFile } from './fixtures/app.ts'
import { createTimedStore } from './fixtures/store.ts'

t.test('negotiation: specificity, weights, exclusion, ties', async t => {
  const cases: [string | undefined, string][] = [
    [undefined, 'json'], ['', 'json'], ['*/*', 'json'], ['image/webp', 'json'], ['image/webp,*/*', 'json'],
    ['text/html', 'html'], ['TEXT/HTML', 'html'], ['text/*', 'html'], ['text/plain', 'text'], ['application/*', 'json'],
    ['application/json', 'json'], ['application/problem+json', 'problem'],
    ['application/problem+json, application/json', 'json'],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8', 'html'],
    ['application/json, text/plain, */*', 'json'], ['text/plain, */*', 'text'], ['text/html, */*', 'html'],
    ['text/html;q=0.5, application/json;q=0.9', 'json'], ['text/html;q=0.9, application/json;q=0.5', 'html'],
    ['text/html;q=0.5, text/*;q=0.8', 'text'], ['text/html;q=0.4, */*;q=0.8', 'json'],
    ['text/html;q=0, */*', 'json'], ['application/json;q=0, */*', 'html'],
    ['application/json;q=0, text/html;q=0, */*', 'problem'],
    ['*/*;q=0', 'json'], ['text/html;q=0', 'json'], ['text/html; level=1 ; q=0.7, text/plain;q=0.6', 'html'],
    ['text/html;q=abc', 'json'], ['text/html;q=2', 'json'], ['text/html;q=-1', 'json'], [';;;,,,', 'json']
  ]
  for (const [accept, format] of cases) {
    t.equal(negotiate(accept), format, String(accept))
    t.equal(negotiate(accept), format, 'also when cached')
  }
})

t.test('negotiation: a flood of different headers is answered, and bounded in memory', async t => {
  for (let i = 0; i < 3000; i++) negotiate(`text/html;v=${i}`)
  t.equal(negotiate('text/plain'), 'text')
  t.equal(negotiate('text/html,'.repeat(2000)), 'html', 'a header too long to be cached')
  t.equal(negotiate(`${','.repeat(4000)}text/html`), 'json', 'a header too long to be parsed')
  t.equal(negotiate(`${'a,'.repeat(499)}text/html`), 'html', 'entries up to the limit are read')
  t.equal(negotiate(`${'a,'.repeat(500)}text/html`), 'json', 'later ones are not')
})

async function blockedAnswer (
  t: Parameters<typeof createApp>[0], options: FastifyMaintenanceOptions, change: MaintenanceChange, accept?: string
) {
  const { app } = await createApp(t, options)
  await app.maintenance.set(true, change)
  return app.inject({ url: '/', headers: accept === undefined ? {} : { accept } })
}

t.test('JSON, problem, text: the exact bodies', async t => {
  const json = await blockedAnswer(t, {}, {})
  t.equal(json.statusCode, 503)
  t.equal(
    json.body,
    '{"statusCode":503,"code":"FST_ERR_MAINTENANCE","error":"Service Unavailable","message":"We\'re doing some maintenance. Please check back soon.","retryAfter":300,"endsAt":null}'
  )
  t.match(json.headers, {
    'content-type': 'application/json; charset=utf-8',
    'retry-after': '300',
    'cache-control': 'no-store',
    vary: 'Accept',
    'maintenance-mode': 'full'
  })
  t.equal(json.headers['content-length'], String(Buffer.byteLength(json.body)))
  t.notOk('etag' in json.headers)

  const problem = await blockedAnswer(t, {}, { message: 'Größer' }, 'application/problem+json')
  t.match(problem.headers['content-type'], /^application\/problem\+json/)
  t.strictSame(problem.json(), {
    type: 'about:blank',
    title: 'Service Unavailable',
    status: 503,
    detail: 'Größer',
    code: 'FST_ERR_MAINTENANCE',
    retryAfter: 300,
    endsAt: null
  })

  const endsAt = new Date(Date.now() + 90_000)
  const text = await blockedAnswer(t, {}, { message: 'Back soon', endsAt }, 'text/plain')
  t.equal(text.body, `Back soon\nExpected back: ${endsAt.toISOString()}\n`)
  t.equal((await blockedAnswer(t, {}, { message: 'x' }, 'text/plain')).body, 'x\n')
})

t.test('short and long bodies, which are written differently, arrive intact', async t => {
  const { app } = await createApp(t)
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  for (const message of ['Größer, 日本', `${'日本 Größer '.repeat(300)}!`]) {
    await app.maintenance.set(true, { message })
    for (const encoding of ['identity', 'br', 'gzip']) {
      const response = await fetch(address, { headers: { accept: 'text/html', 'accept-encoding': encoding } })
      t.match(await response.text(), `>${message}</p>`, encoding)
    }
    const response = await fetch(address)
    const body = await response.text()
    t.equal(JSON.parse(body).message, message)
    t.equal(response.headers.get('content-length'), String(Buffer.byteLength(body)))
  }
})

t.test('HTML: one document that loads nothing, with everything escaped', async t => {
  const message = '<script>alert(1)</script> & "quotes"\nsecond line <%= process.version %>'
  const { headers, body } = await blockedAnswer(t, {}, { message, endsAt: new Date(Date.now() + 60_000) }, 'text/html')
  t.equal(headers['content-type'], 'text/html; charset=utf-8')
  t.match(
    headers['content-security-policy'],
    /^default-src 'none'; style-src 'sha256-.{44}'; script-src 'sha256-.{44}'; .*frame-ancestors 'none'$/
  )
  t.equal(body.match(/<script/g)?.length, 1, 'one script only')
  t.notMatch(body, /<script>alert|src=|href="[^"/]|v\d+\.\d/)
  t.match(
    body,
    '&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quotes&quot;\nsecond line &lt;%= process.version %&gt;'
  )
  t.match(body, /<time datetime="/)
  t.match((await blockedAnswer(t, {}, { mode: 'read-only' }, 'text/html')).statusCode, 404, 'reads are let through')
})

t.test('Retry-After: the end of the window, the record, the option, or none', async t => {
  const store = createTimedStore()
  const retryAfter = async (options: FastifyMaintenanceOptions, change: MaintenanceChange) => {
    const answer = await blockedAnswer(t, { store, ...options }, change)
    t.equal(
      answer.json().retryAfter,
      answer.headers['retry-after'] === undefined ? null : Number(answer.headers['retry-after'])
    )
    return answer.headers['retry-after']
  }
  t.equal(await retryAfter({}, {}), '300')
  t.equal(await retryAfter({ response: { retryAfter: 60 } }, {}), '60')
  t.equal(await retryAfter({ response: { retryAfter: false } }, {}), undefined)
  t.equal(await retryAfter({ response: { retryAfter: 60 } }, { retryAfter: 7 }), '7')
  t.equal(await retryAfter({ response: { retryAfter: false } }, {
    retryAfter: 7, endsAt: new Date(store.time + 120_500)
  }), '121')
  t.equal(await retryAfter({}, { endsAt: new Date(store.time + 400) }), '1', 'never below 1')
})

t.test('Retry-After decreases as the end approaches', async t => {
  const store = createTimedStore()
  const { app } = await createApp(t, { store })
  await app.maintenance.set(true, { endsAt: new Date(store.time + 600_000) })
  for (const left of [600, 500]) {
    const answer = await app.inject('/')
    t.equal(answer.headers['retry-after'], `${left}`)
    t.equal(answer.json().retryAfter, left)
    store.time += 100_000
  }
})

t.test("a route declared 'on' works while the site is open", async t => {
  const { app } = await createApp(t)
  app.get('/legacy', { config: { maintenance: 'on' } }, async () => 'never')
  const answer = await app.inject('/legacy')
  t.match(answer.headers, { 'retry-after': '300', 'maintenance-mode': 'full' })
})

t.test('the response options', async t => {
  const status =
    await blockedAnswer(t, { response: { statusCode: 599, headers: { 'X-Reason': 'upgrade', vary: 'Origin' } } }, {})
  t.equal(status.statusCode, 599)
  t.match(status.json(), { statusCode: 599, error: 'Maintenance' })
  t.match(status.headers, { 'x-reason': 'upgrade', vary: 'Accept, Origin' })
  const refresh = { response: { refresh: 30 } }
  t.equal((await blockedAnswer(t, refresh, {}, 'text/html')).headers.refresh, '30')
  t.equal((await blockedAnswer(t, refresh, {})).headers.refresh, undefined, 'with HTML only')
  const csp = { response: { headers: { 'Content-Security-Policy': "default-src 'self'" } } }
  t.equal((await blockedAnswer(t, csp, {}, 'text/html')).headers['content-security-policy'], "default-src 'self'")
  t.match(
    (await blockedAnswer(t, { response: { type: 'text' } }, {}, 'text/html')).headers['content-type'],
    /^text\/plain/
  )
  t.match(
    (await blockedAnswer(t, { response: { type: () => 'html' } }, {}, 'application/json')).headers['content-type'],
    /^text\/html/
  )
  t.match(
    (await blockedAnswer(t, { response: { type: () => 'pdf' as 'html' } }, {}, 'text/plain')).headers['content-type'],
    /^text\/plain/
  )
  t.match((await blockedAnswer(t, {
    response: { type: () => { throw new Error('no') } }
  }, {}, 'text/plain')).headers['content-type'], /^text\/plain/)
})

t.test('HEAD: the same headers, no body, and keep-alive', async t => {
  const { app } = await createApp(t)
  await app.maintenance.set(true)
  const answer =
    await sendRaw(app, 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  const [head, rest] = answer.split('HTTP/1.1 503 Service Unavailable').slice(1)
  t.match(head, /\r\nConnection: keep-alive\r\n/i)
  t.match(head, /content-length: 174\r\n/)
  t.ok(head?.endsWith('\r\n\r\n'))
  t.match(rest, /"statusCode":503/)
})

t.test("headers of earlier hooks are kept, the plugin's win, lists are joined", async t => {
  const { app } = bareApp(t)
  await app.register(cors, { origin: true, exposedHeaders: ['X-Total'] })
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers({
      'x-request-id': 'r1', etag: '"x"', 'cache-control': 'public', 'last-modified': 'x', 'set-cookie': ['a=1', 'b=2']
    })
  })
  await app.register(maintenance)
  await app.maintenance.set(true)
  const { headers } = await app.inject({
    url: '/', headers: { origin: 'https://a.example', 'if-none-match': '"x"', range: 'bytes=0-1' }
  })
  t.match(headers, {
    'x-request-id': 'r1',
    'cache-control': 'no-store',
    'access-control-allow-origin': 'https://a.example',
    'access-control-expose-headers': 'Retry-After, Maintenance-Mode, X-Total',
    vary: 'Accept, Origin',
    'set-cookie': ['a=1', 'b=2']
  })
  const simple = bareApp(t)
  await simple.app.register(cors)
  await simple.app.register(maintenance, { pinned: 'closed' })
  t.match((await simple.app.inject('/')).headers, {
    'access-control-allow-origin': '*', 'access-control-expose-headers': 'Retry-After, Maintenance-Mode', vary: 'Accept'
  })
  t.notOk('etag' in headers || 'last-modified' in headers)
})

t.test('an upgrade gets the 503, and its socket is closed', async t => {
  const { app } = await createApp(t)
  await app.maintenance.set(true)
  const handshake =
    'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
  t.match(await sendRaw(app, handshake), /^HTTP\/1\.1 503 [^]*connection: close\r\n[^]*"statusCode":503/i)
  t.equal(await new Promise(resolve => app.server.getConnections((_error, count) => resolve(count))), 0)
})

t.test('HTTP/2: the 503, without connection headers', async t => {
  const { app } = bareApp(t, { http2: true, forceCloseConnections: false } as object)
  await app.register(maintenance)
  await app.maintenance.set(true)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const warnings: string[] = []
  const onWarning = (warning: Error) => { warnings.push(warning.name) }
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const client = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(() => client.close())
  const stream = client.request({ ':path': '/', accept: 'text/plain' })
  const [headers] = await once(stream, 'response')
  t.match(headers, { ':status': 503, 'retry-after': '300' })
  let body = ''
  for await (const chunk of stream) body += chunk
  t.match(body, /doing some maintenance/)
  const head = client.request({ ':path': '/', ':method': 'HEAD' })
  t.match((await once(head, 'response'))[0], { ':status': 503, 'content-length': '174' })
  await once(head.resume(), 'close')
  t.strictSame(warnings.filter(name => name === 'UnsupportedWarning'), [])
  client.close()
})

t.test("languages: the bundled page is in the visitor's language", async t => {
  const { app } = await createApp(t)
  await app.maintenance.set(true)
  const get = (language: string) =>
    app.inject({ url: '/', headers: { accept: 'text/html', 'accept-language': language } })
  const explained = [
    ...readFileSync('docs/translating.md', 'utf8').matchAll(/^\| `(.*?)` \| \S/gm)
  ].map(([, key]) => key)
  for (const language of LANGUAGES) {
    const { headers, body, rawPayload } = await get(`xx, ${language}-XX;q=0.9, en;q=0.1`)
    t.match(body, `<html lang="${language}" dir="${language === 'ar' ? 'rtl' : 'ltr'}">`)
    t.ok(body.includes(TEXTS[language].message.replaceAll("'", '&#39;')))
    t.match(headers, { 'content-language': language, vary: 'Accept, Accept-Language, Accept-Encoding' })
    t.ok(rawPayload.length <= 14 * 1024, `${language}: ${rawPayload.length} bytes`)
    const { hold, 'read-only': readOnly, ...words } = TEXTS[language]
    t.ok([hold, readOnly, words].flatMap(texts => Object.values(texts)).every(text => text.length > 1))
    const keys = [
      ...Object.keys(words),
      ...Object.keys(readOnly).map(key => `read-only.${key}`),
      ...Object.keys(hold).map(key => `hold.${key}`)
    ]
    t.strictSame(keys, explained, `${language}: the texts in docs/translating.md`)
  }
  t.match((await get('xx')).body, '<html lang="en"')
  t.match((await get('de;q=0, *')).body, '<html lang="en"')
  t.strictSame(readdirSync('lib/answer/page/locales').sort(), LANGUAGES.map(language => `${language}.json`).sort())
  await app.maintenance.set(true, { message: 'As written' })
  t.match((await get('de')).body, /<p class="message" dir="auto">As written<\/p>/)
})

t.test('chooseLanguage: by weight, the exact tag before a shorter one, no excluded one', async t => {
  const available = ['en', 'fr', 'pt', 'pt-BR', 'zh', 'zh-Hant'] as const
  const choices = [
    ['fr-CA', 'fr'], ['pt-br', 'pt-BR'], ['PT-PT', 'pt'], ['zh-hant-TW', 'zh-Hant'], ['zh-Hans-CN', 'zh'],
    ['fr;q=0.2, pt;q=0.8', 'pt'], ['fr;q=0.5, pt;q=0.5', 'fr'], ['pt-BR;q=0, pt-br-x', 'pt'], ['fr-CA, fr;q=0', 'en'],
    ['fra, f, -, ,fr-', 'fr'], ['fre', 'en'], ['p', 'en'], ['*', 'en'], ['', 'en'], ['fr;q=2', 'en']
  ] as const
  for (const [header, language] of choices) t.equal(chooseLanguage(header, available, 'en'), language, header)
})

t.test('encodings: compressed in advance, the smallest accepted one is sent', async t => {
  const { app } = await createApp(t)
  await app.maintenance.set(true)
  const get = async (encoding: string, method: 'GET' | 'HEAD' = 'GET') =>
    app.inject({ url: '/', method, headers: { accept: 'text/html', 'accept-encoding': encoding } })
  const plain = (await get('identity')).body
  const cases: [string, string | undefined][] = [
    ['gzip, deflate, br', 'br'], ['gzip', 'gzip'], ['br;q=0, gzip;q=0.5', 'gzip'], ['*', 'br'], ['br;q=0, *', 'gzip'],
    ['deflate', undefined], ['', undefined]
  ]
  for (const [accept, encoding] of cases) {
    const { headers, rawPayload } = await get(accept)
    t.equal(headers['content-encoding'], encoding, accept)
    t.equal(headers['content-length'], String(rawPayload.length))
    const unpack = { br: brotliDecompressSync, gzip: gunzipSync }[encoding ?? '']
    t.equal((unpack === undefined ? rawPayload : unpack(rawPayload)).toString(), plain)
    if (encoding !== undefined) t.ok(rawPayload.length < plain.length / 2)
    t.equal((await get(accept, 'HEAD')).headers['content-length'], headers['content-length'])
  }
})

t.test('an event stream: 200 and the state, because any other status stops an EventSource', async t => {
  for (const type of ['auto', 'html'] as const) {
    const { app } = await createApp(t, { response: { type } })
    await app.maintenance.set(true, { message: 'Two\nlines', retryAfter: 20 })
    const { statusCode, headers, body } = await app.inject({ url: '/events', headers: { accept: 'text/event-stream' } })
    t.equal(statusCode, 200)
    t.match(headers, {
      'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', 'maintenance-mode': 'full'
    })
    t.equal(
      body.replace(/^retry: 1\d{4}\n/, ''),
      'event: maintenance\ndata: {"statusCode":503,"code":"FST_ERR_MAINTENANCE","error":"Service Unavailable","message":"Two\\nlines","retryAfter":20,"endsAt":null}\n\n'
    )
  }
  const { app } = await createApp(t, { response: { retryAfter: false } })
  await app.maintenance.set(true)
  t.match((await app.inject({
    url: '/', headers: { accept: 'text/event-stream' }
  })).body, /^retry: (1[5-9]|2\d)\d{4}\n/)
})

t.test('no code of the application touches the answer, wherever it is registered', async t => {
  for (const order of ['before', 'after'] as const) {
    const { app } = bareApp(t)
    const foreign = async () => {
      await app.register(etag)
      app.addHook('onSend', async () => { throw new Error('session store is down') })
      app.addHook('onSend', () => new Promise(() => {}))
      app.addHook('preSerialization', async () => ({ not: 'ours' }))
      app.setReplySerializer(() => 'not ours')
      app.setErrorHandler((_error, _request, reply) => reply.send('not ours'))
    }
    if (order === 'before') await foreign()
    await app.register(maintenance)
    if (order === 'after') await foreign()
    const run = counter()
    app.get('/', { schema: { response: { '5xx': { type: 'object', properties: { only: { type: 'string' } } } } } }, run)
    await app.maintenance.set(true)
    for (const conditions of [
      {}, { 'if-none-match': '*' }, { 'if-modified-since': new Date().toUTCString() }, { 'if-match': '"x"' },
      { range: 'bytes=0-1' }, { 'if-none-match': '*', range: 'bytes=0-1' }
    ]) {
      const { statusCode, headers, body } = await app.inject({ url: '/', headers: conditions })
      t.equal(statusCode, 503)
      t.equal(JSON.parse(body).code, 'FST_ERR_MAINTENANCE')
      t.notOk('etag' in headers || 'content-range' in headers)
    }
    t.equal(run.runs, 0)
  }
})

t.test('a client that sends its whole upload before it reads the answer', async t => {
  const { app } = await createApp(t)
  const run = counter()
  app.post('/upload', { bodyLimit: 1e8 }, run)
  await app.maintenance.set(true)
  const size = 20 * 1024 * 1024
  const head = `POST /upload HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${size}\r\n\r\n`
  const next = 'GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
  const answer = await sendRaw(app, Buffer.concat([Buffer.from(head), Buffer.alloc(size, 'a'), Buffer.from(next)]))
  t.equal(answer.match(/HTTP\/1\.1 503/g)?.length, 2, 'the connection stays usable')
  t.equal(run.runs, 0)
})

t.test('@fastify/websocket, before or after: a 503, and no socket is left', async t => {
  for (const order of ['before', 'after'] as const) {
    const { app } = bareApp(t)
    if (order === 'before') await app.register(websocket)
    await app.register(maintenance)
    if (order === 'after') await app.register(websocket)
    const run = counter()
    app.get('/ws', { websocket: true }, run)
    await app.maintenance.set(true)
    const handshake =
      'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
    for (let i = 0; i < 5; i++) t.match(await sendRaw(app, handshake), /^HTTP\/1\.1 503 [^]*connection: close\r\n/i)
    await until('no socket left', () => new Promise(
      resolve => app.server.getConnections((_error, count) => resolve(count === 0))
    ))
    t.equal(run.runs, 0)
  }
})

t.test('responses of a closed site must not be cached', async t => {
  const { app } = await createApp(t, {
    ignore: { ips: '10.0.0.1', routes: '/health', request: request => request.headers['x-user'] === '1' }
  })
  await app.register(etag)
  app.addHook('onRequest', async (_request, reply) => { reply.header('cdn-cache-control', 'max-age=600') })
  app.get('/', async (_request, reply) => reply.header('Cache-Control', 'public, max-age=600').send('inside'))
  app.get('/health', async (_request, reply) => reply.header('Cache-Control', 'public, max-age=1').send('well'))
  app.get('/raw', (_request, reply) => {
    reply.hijack()
    reply.raw.setHeader('ETag', '"raw"')
    reply.raw.writeHead(200, 'OK', ['Cache-Control', 'public', 'X-A', '1'])
    reply.raw.end('raw')
  })
  app.get('/plain', (_request, reply) => {
    reply.hijack()
    reply.raw.setHeader('Cache-Control', 'public')
    reply.raw.end('plain')
  })
  const open = await app.inject('/')
  t.match(open.headers, { 'cache-control': 'public, max-age=600', 'cdn-cache-control': 'max-age=600' })
  t.ok('etag' in open.headers, 'an open site is left alone')
  await app.maintenance.set(true)
  for (const who of [{ remoteAddress: '10.0.0.1' }, { headers: { 'x-user': '1' } }]) {
    for (const [url, body] of [['/', 'inside'], ['/raw', 'raw'], ['/plain', 'plain']] as const) {
      const answer = await app.inject({ url, ...who })
      t.equal(answer.body, body)
      t.equal(answer.headers['cache-control'], 'private, no-store')
      t.notOk('etag' in answer.headers || 'cdn-cache-control' in answer.headers, url)
    }
    t.equal((await app.inject({ url: '/raw', ...who })).headers['x-a'], '1')
  }
  t.match(
    (await app.inject('/health')).headers,
    { 'cache-control': 'public, max-age=1', 'cdn-cache-control': 'max-age=600' },
    'ignored routes keep theirs'
  )
})

t.test('redirect: navigations only, and never in a loop', async t => {
  const { app } = await createApp(t, { response: { redirect: '/down?from=here' } })
  app.get('/down', async () => 'the other page')
  app.get('/legacy', { config: { maintenance: 'on' } }, async () => 'never')
  await app.maintenance.set(true)
  const get = (url: string, headers: Record<string, string> = {}, method: 'GET' | 'POST' | 'HEAD' = 'GET') =>
    app.inject({ url, method, headers: { accept: 'text/html', ...headers } })
  t.match(await get('/page'), {
    statusCode: 302,
    headers: {
      location: '/down?from=here', 'retry-after': '300', 'cache-control': 'no-store', 'maintenance-mode': 'full'
    }
  })
  t.equal((await get('/page', {}, 'HEAD')).statusCode, 302)
  t.equal((await get('/page', {}, 'POST')).statusCode, 303)
  t.equal((await get('/legacy')).statusCode, 302)
  t.equal((await get('/page', { 'sec-fetch-mode': 'navigate' })).statusCode, 302)
  t.equal((await get('/page', { 'sec-fetch-mode': 'cors' })).statusCode, 503)
  t.equal((await get('/page', { accept: 'application/json' })).statusCode, 503)
  t.equal((await get('/down?from=here')).body, 'the other page')

  const elsewhere = await createApp(t, { response: { redirect: 'https://status.example/now' } })
  await elsewhere.app.maintenance.set(true)
  t.match(await elsewhere.app.inject({ url: '/', headers: { accept: 'text/html' } }), {
    statusCode: 302, headers: { location: 'https://status.example/now' }
  })
  t.equal((await elsewhere.app.inject({
    url: '/now', headers: { accept: 'text/html', host: 'status.example' }
  })).statusCode, 503, 'the target is on this host')
  t.equal((await elsewhere.app.inject({
    url: '/', headers: { accept: 'text/html', host: 'a b' }
  })).statusCode, 302, 'the host does not matter')

  const nowhere = await createApp(t, { response: { redirect: '/not-there' } })
  await nowhere.app.maintenance.set(true)
  t.equal((await nowhere.app.inject({
    url: '/not-there', headers: { accept: 'text/html' }
  })).statusCode, 503, 'no route answers the target')
  t.equal((await nowhere.app.inject({
    url: '/', headers: { accept: 'text/html' }
  })).statusCode, 503, 'so there is no redirect')
})

t.test('onBlocked runs before the answer, for blocked requests only, which stay blocked', async t => {
  const log: string[] = []
  let next: () => void | Promise<void> = () => {}
  const { app, lines } = await createApp(t, {
    ignore: { routes: '/health' },
    onBlocked: (request, reply) => {
      log.push(request.url)
      reply.header('set-cookie', 'session=; Max-Age=0')
      return next()
    }
  })
  const run = counter()
  app.get('/', run)
  app.get('/health', async () => 'well')
  await app.inject('/')
  await app.maintenance.set(true)
  await app.inject('/health')
  t.equal((await app.inject('/')).headers['set-cookie'], 'session=; Max-Age=0')
  next = () => { throw new Error('no session') }
  t.equal((await app.inject('/')).statusCode, 503)
  next = () => Promise.reject(new Error('no session'))
  t.equal((await app.inject('/')).statusCode, 503)
  next = () => new Promise(() => {})
  t.equal((await app.inject('/')).statusCode, 503)
  t.strictSame(log, ['/', '/', '/', '/'])
  t.equal(lines.filter(line => line.msg === 'maintenance: onBlocked failed').length, 3)
  t.equal(run.runs, 1)
})

t.test('template: a file, with the bundled Eta if the application has no @fastify/view', async t => {
  const dir = t.testdir({
    'down.eta': '<h1><%= it.site %></h1><p><%= it.message %></p><%= it.mode %> <%= it.statusCode %> <%= it.retryAfter %> <%= it.endsAt %> <%= it.team %>'
  })
  const { app } = await createApp(t, {
    response: { template: `${dir}/down.eta`, data: { team: 'ops', site: 'not ours' } }
  })
  await app.maintenance.set(true, { message: '<b>soon</b>' })
  const { headers, body } =
    await app.inject({ url: '/', headers: { accept: 'text/html', 'accept-language': 'de', 'accept-encoding': 'gzip' } })
      .then(answer => ({ headers: answer.headers, body: gunzipSync(answer.rawPayload).toString() }))
  t.equal(body, '<h1>default</h1><p>&lt;b&gt;soon&lt;/b&gt;</p>full 503 300 null ops')
  t.match(headers, {
    vary: 'Accept, Accept-Encoding', 'content-security-policy': undefined, 'content-language': undefined
  })
})

t.test("template: with the application's @fastify/view, registered before or after, under any name", async t => {
  const dir = t.testdir({ 'down.eta': 'own: <%= it.message %>' })
  for (const options of [{}, { propertyName: 'render' }]) {
    for (const order of ['before', 'after'] as const) {
      const { app } = bareApp(t)
      Object.defineProperty(app, 'trap', { get () { throw new Error('a getter is not run') }, enumerable: true })
      if (order === 'before') await app.register(view, { engine: { eta: new Eta() }, templates: dir, ...options })
      await app.register(maintenance, { response: { template: 'down.eta' } })
      if (order === 'after') await app.register(view, { engine: { eta: new Eta() }, templates: dir, ...options })
      await app.ready()
      await app.maintenance.set(true, { message: 'x' })
      t.equal((await app.inject({ url: '/', headers: { accept: 'text/html' } })).body, 'own: x')
    }
  }
})

t.test('template: one that is missing, throws, hangs or is invalid is rejected at boot', async t => {
  const dir = t.testdir({ 'throws.eta': '<% throw new Error("no") %>', 'syntax.eta': '<% if ( %>' })
  for (const name of ['missing.eta', 'throws.eta', 'syntax.eta']) {
    const { app } = await createApp(t, { response: { template: `${dir}/${name}` } })
    await t.rejects(async () => { await app.ready() }, {
      code: 'FST_ERR_MAINTENANCE_TEMPLATE',
      message: new RegExp(
      `the template '.*${name}' cannot be rendered: `
      )
    }, name)
  }
  const engines: [unknown, RegExp][] = [
    [() => new Promise(() => {}), /no answer within 1000 ms/], [async () => 42, /it returned no string/]
  ]
  for (const [render, message] of engines) {
    const { app } = bareApp(t)
    app.decorate('paint', Object.assign(render as () => void, { clearCache () {} }) as never)
    await app.register(maintenance, { response: { template: 'x' } })
    await t.rejects(async () => { await app.ready() }, { code: 'FST_ERR_MAINTENANCE_TEMPLATE', message })
  }
})

t.test('template: a failure rejects set(); a later one is replaced by the bundled page', async t => {
  let render = async (_page: string, { message }: { message: string }) => `own: ${message}`
  const { app, lines } = bareApp(t)
  app.decorate('view', Object.assign((
    page: string, variables: { message: string }
  ) => render(page, variables), { clearCache () {} }) as never)
  const file = stateFile(t)
  await app.register(maintenance, { store: { file }, response: { template: 'x' } })
  await app.ready()
  const page = async () => (await app.inject({ url: '/', headers: { accept: 'text/html' } })).body
  await app.maintenance.set(true, { message: 'one' })
  t.equal(await page(), 'own: one')

  render = async () => { throw new Error('secret /path') }
  await t.rejects(app.maintenance.set(true, { message: 'two' }), { code: 'FST_ERR_MAINTENANCE_TEMPLATE' })
  t.equal(app.maintenance.status().message, 'one', 'nothing changed')
  t.equal(await page(), 'own: one')

  const other = await createApp(t, { store: { file } })
  await other.app.maintenance.set(true, { message: 'three' })
  await app.maintenance.refresh()
  await until('the failure is logged', () => lines.some(
    line => line.level === 50 && line.msg.includes("the template of site 'default' failed, serving the bundled page")
  ))
  const body = await page()
  t.match(body, '<p class="message" dir="auto">three</p>')
  t.notMatch(body, 'secret')
  for (let i = 0; i < 10; i++) await page()
  t.equal(lines.filter(line => line.level === 50).length, 1, 'logged once')
  await app.maintenance.set(false)
  t.equal(app.maintenance.active, false, 'opening needs no page')
})

t.test('template: a slow one does not delay closing', async t => {
  let release: (html: string) => void = () => {}
  const { app } = bareApp(t)
  let slow = false
  app.decorate('view', Object.assign(
    () => slow ? new Promise(resolve => { release = resolve }) : Promise.resolve('fast'),
    { clearCache () {} }
  ) as never)
  const file = stateFile(t)
  await app.register(maintenance, { store: { file }, response: { template: 'x' } })
  await app.ready()
  slow = true
  const other = await createApp(t, { store: { file } })
  await other.app.maintenance.set(true)
  await app.maintenance.refresh()
  const page = async () => (await app.inject({
    url: '/', headers: { accept: 'text/html', 'accept-encoding': 'identity;q=1, gzip;q=0' }
  })).body
  t.match(await page(), '<!doctype html>')
  release('own page')
  await until('its own page', async () => await page() === 'own page')
})

t.test('data as a function: called for each page; if it fails, the bundled page is sent', async t => {
  const dir = t.testdir({ 'down.eta': 'hello <%= it.user.name %> <%= it.site %>' })
  let data: () => object | Promise<object> = () => ({ user: { name: 'Ann' }, site: 'not ours' })
  const { app, lines } = await createApp(t, { response: { template: `${dir}/down.eta`, data: () => data() } })
  await app.ready()
  await app.maintenance.set(true)
  const page = async () => (await app.inject({ url: '/', headers: { accept: 'text/html' } })).body
  t.equal(await page(), 'hello Ann default')
  data = async () => ({ user: { name: '<Bob>' } })
  t.equal(await page(), 'hello &lt;Bob&gt; default')
  for (const wrong of [
    () => { throw new Error('no') },
    async () => { throw new Error('no') },
    () => ({}),
    () => new Promise<object>(() => {})
  ]) {
    data = wrong
    t.match(await page(), '<!doctype html>')
  }
  t.equal(lines.filter(line => line.level === 50).length, 1, 'logged once per state change')
  t.equal((await app.inject('/')).json().code, 'FST_ERR_MAINTENANCE')
})
